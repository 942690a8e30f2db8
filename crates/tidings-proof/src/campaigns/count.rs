//! The count: what was due by the rules over the whole source, against messages and the provider's ledger.

use super::dealer::{self, Dealer};
use crate::tally::{Calls, Unknown, calls, on_the_way, unknown};
use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tidings_core::campaign::{
    Assessment, Cell, Customer, Definition, Row, RunWindow, assess, source_reference,
};
use tidings_core::{Address, Channel, zone};
use tidings_stand_in::StandIn;

/// Examples that are named on standard error.
const NAMED: usize = 10;

/// A message by what it was proposed for.
struct Proposed {
    id: String,
    status: String,
}

/// Counts everything.
pub async fn count(database: &mut PgConnection, dealer: &Dealer, standin: &StandIn) -> Result<Value> {
    let (mut due, mut found) = (BTreeSet::new(), BTreeSet::new());
    for definition in dealer::definitions()? {
        for (key, reference) in due_rows(database, dealer, &definition).await? {
            found.insert((definition.name.to_string(), key));
            due.insert(reference);
        }
    }
    // What was added must be due whatever the rules' own code says.
    let overlooked: Vec<_> = dealer
        .due
        .iter()
        .filter(|(campaign, key)| !found.contains(&((*campaign).to_owned(), key.clone())))
        .collect();
    let proposed = proposed(database).await?;
    let unknown = unknown(database).await?;
    let calls = calls(&[standin], Calls::Every, |entry| entry.message_id.clone())?;
    let accepted_twice = calls.values().filter(|calls| **calls > 1).count();
    let taken: BTreeSet<String> = calls.into_keys().collect();
    let arrived = |message: &Proposed| {
        message.status == "suppressed" || unknown.contains(&message.id) || taken.contains(&message.id)
    };
    let lost: Vec<&String> = due
        .iter()
        .filter(|reference| {
            !proposed
                .get(*reference)
                .is_some_and(|all| all.iter().any(arrived))
        })
        .collect();
    let unexpected: Vec<&String> = proposed
        .keys()
        .filter(|reference| !due.contains(*reference))
        .collect();
    let twice = proposed.values().filter(|all| all.len() > 1).count();
    let accepted = taken.len();
    for (what, names) in [("lost", &lost), ("unexpected", &unexpected)] {
        for name in names.iter().take(NAMED) {
            eprintln!("{what}: {name}");
        }
    }
    for (campaign, key) in overlooked.iter().take(NAMED) {
        eprintln!("lost: {campaign} {key} was never due");
    }
    let suppressed = proposed
        .values()
        .flatten()
        .filter(|message| message.status == "suppressed")
        .count();
    Ok(json!({
        "kills": 0,
        "due": due.len(),
        "lost": lost.len() + overlooked.len(),
        "duplicate": twice + accepted_twice + several(database, dealer).await?,
        "unbalanced_runs": unbalanced(database).await?,
        "unfinished_runs": super::open_runs(database).await?,
        "unexpected": unexpected.len(),
        "added": dealer.due.len(),
        "messages": proposed.values().map(Vec::len).sum::<usize>(),
        "suppressed": suppressed,
        "accepted_by_provider": accepted,
        "unknown": unknown.len(),
        "unsettled": on_the_way(database, Unknown::Held).await?,
        "runs": runs(database).await?,
    }))
}

/// The keys and references of rows that were due in the first or the last run's eyes, or between, and whose customer can
/// be written to.
async fn due_rows(
    database: &mut PgConnection,
    dealer: &Dealer,
    definition: &Definition,
) -> Result<Vec<(String, String)>> {
    let (first, last): (Option<jiff_sqlx::Timestamp>, Option<jiff_sqlx::Timestamp>) = sqlx::query_as(
        "SELECT min(as_of), max(as_of) FILTER (WHERE NOT by_hand) FROM campaign_runs WHERE state = 'complete' AND campaign = $1",
    )
    .bind(definition.name.as_str())
    .fetch_one(database)
    .await?;
    let none = || format!("no run of {} is complete; see serve.log", definition.name);
    let first: Timestamp = first.with_context(none)?.to_jiff();
    let last: Timestamp = last.with_context(none)?.to_jiff();
    let windows = [
        RunWindow {
            as_of: first,
            previous: None,
        },
        RunWindow {
            as_of: last,
            previous: Some(first),
        },
    ];
    let source = dealer.source()?;
    let mut pages = source.pages(definition, last, &[], None).await?;
    let mut due = Vec::new();
    while let Some(page) = pages.next_page().await? {
        for row in page.rows.iter().filter(|row| reachable(row)) {
            for window in &windows {
                if let Assessment::Due(found) = assess(definition, row, &zone_of(row), window) {
                    let reference = source_reference(&definition.name, &row.key, &found.occurrence);
                    due.push((row.key.clone(), reference));
                }
            }
        }
    }
    source.close().await;
    Ok(due)
}

fn zone_of(row: &Row) -> TimeZone {
    let own = row
        .customer
        .as_ref()
        .and_then(|customer| match customer.cell("zone") {
            Cell::Text(zone) => Some(zone.expose().clone()),
            _ => None,
        });
    zone::resolve(own.as_deref(), "UTC")
}

/// Whether the customer is there and has an address.
fn reachable(row: &Row) -> bool {
    let well_formed = |channel, customer: &Customer| {
        let addresses = if channel == Channel::Email {
            &customer.emails
        } else {
            &customer.phones
        };
        addresses
            .iter()
            .any(|address| Address::parse(channel, address.expose().trim(), None).is_ok())
    };
    row.customer
        .as_ref()
        .is_some_and(|customer| well_formed(Channel::Email, customer) || well_formed(Channel::Sms, customer))
}

/// Every message a campaign proposed, by its reference.
async fn proposed(database: &mut PgConnection) -> Result<HashMap<String, Vec<Proposed>>> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT source_reference, id::text, status FROM messages WHERE source_reference LIKE 'campaign:proof%'",
    )
    .fetch_all(database)
    .await?;
    let mut by_reference: HashMap<String, Vec<Proposed>> = HashMap::new();
    for (reference, id, status) in rows {
        by_reference
            .entry(reference)
            .or_default()
            .push(Proposed { id, status });
    }
    Ok(by_reference)
}

/// Rows that were added and have more than one message of a campaign, under whatever reference.
async fn several(database: &mut PgConnection, dealer: &Dealer) -> Result<usize> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT source_reference FROM messages WHERE source_reference LIKE 'campaign:proof%'")
            .fetch_all(database)
            .await?;
    let mut by_row: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for (reference,) in &rows {
        let mut parts = reference.split(':').skip(1);
        if let (Some(campaign), Some(key)) = (parts.next(), parts.next()) {
            *by_row.entry((campaign, key)).or_default() += 1;
        }
    }
    Ok(dealer
        .due
        .iter()
        .filter(|(campaign, key)| {
            by_row
                .get(&(*campaign, key.as_str()))
                .is_some_and(|count| *count > 1)
        })
        .count())
}

/// Complete runs whose outcomes do not add up to the due rows, or which name a message that is not there.
async fn unbalanced(database: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM campaign_runs r WHERE r.state = 'complete' AND (
            r.due <> (SELECT count(*) FROM campaign_rows w WHERE w.tenant_id = r.tenant_id AND w.run_id = r.id)
            OR EXISTS (SELECT FROM campaign_rows w WHERE w.tenant_id = r.tenant_id AND w.run_id = r.id AND w.message_id IS NOT NULL
                AND NOT EXISTS (SELECT FROM messages m WHERE m.tenant_id = w.tenant_id AND m.id = w.message_id)))",
    )
    .fetch_one(database)
    .await?)
}

/// Runs by how they ended.
async fn runs(database: &mut PgConnection) -> Result<BTreeMap<String, i64>> {
    let rows: Vec<(String, i64)> = sqlx::query_as("SELECT state, count(*) FROM campaign_runs GROUP BY state")
        .fetch_all(database)
        .await?;
    Ok(rows.into_iter().collect())
}
