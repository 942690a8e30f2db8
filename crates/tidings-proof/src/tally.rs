//! Counting against the providers' ledgers: what was acknowledged, what was accepted, and what the database says of it.

use anyhow::{Result, ensure};
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};
use tidings_stand_in::{Entry, Query, StandIn};

/// How often an installation that settles is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Examples that are named on standard error.
const NAMED: usize = 10;

/// What of a message that nobody knows the outcome of ends the waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// That a person is waited for: before, the provider is asked.
    Held,
    /// That it is listed: this provider cannot be asked.
    Listed,
}

/// Which calls count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// What was accepted: a call that the provider recognised by its key and did not take again is none.
    Accepted,
    /// Every call, those under a key that was taken before included.
    Every,
}

/// The count.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Acknowledged, neither accepted nor listed as unknown: addresses.
    pub lost: Vec<String>,
    /// Accepted more than once: addresses.
    pub duplicate: Vec<String>,
    /// Listed as unknown.
    pub unknown: usize,
    /// Neither ended nor waiting for a person.
    pub unsettled: i64,
    /// Acknowledged messages.
    pub acknowledged: usize,
    /// Recipients of whom at least one call was accepted.
    pub accepted: usize,
}

/// Calls by what tells messages apart, over whole ledgers.
pub fn calls(
    ledgers: &[&StandIn],
    which: Calls,
    key: impl Fn(&Entry) -> Option<String>,
) -> Result<BTreeMap<String, u32>> {
    let mut calls = BTreeMap::new();
    for stand_in in ledgers {
        let mut query = Query::default();
        loop {
            let page = stand_in.ledger().entries(&query);
            let Some(last) = page.last() else { break };
            query.after = last.seq;
            let counted = page.iter().filter(|entry| which == Calls::Every || !entry.replay);
            for key in counted.filter_map(&key) {
                *calls.entry(key).or_insert(0) += 1;
            }
        }
        let forgotten = stand_in.ledger().summary().forgotten;
        ensure!(
            forgotten == 0,
            "the ledger let {forgotten} entries go: the count would be wrong"
        );
    }
    Ok(calls)
}

/// The delivery that a call was for: its reference is the delivery and the number of the attempt.
pub fn delivery(entry: &Entry) -> Option<String> {
    let reference = entry.reference.as_deref()?;
    Some(
        reference
            .rsplit_once('-')
            .map_or(reference, |(delivery, _)| delivery)
            .to_owned(),
    )
}

/// Waits until nothing is on its way any more; says how much still is, and how long it took.
pub async fn settle(
    database: &mut PgConnection,
    unknown: Unknown,
    limit: Duration,
) -> Result<(i64, Duration)> {
    let started = Instant::now();
    loop {
        let open = on_the_way(database, unknown).await?;
        if open == 0 || started.elapsed() >= limit {
            return Ok((open, started.elapsed()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Counts what was acknowledged (ids by address) against the ledgers.
pub async fn count(
    database: &mut PgConnection,
    acknowledged: &HashMap<String, String>,
    ledgers: &[&StandIn],
    which: Calls,
    waiting: Unknown,
) -> Result<Tally> {
    let calls = calls(ledgers, which, |entry| Some(entry.recipient.expose().clone()))?;
    let listed = unknown(database).await?;
    let lost: Vec<String> = acknowledged
        .iter()
        .filter(|(address, id)| !calls.contains_key(*address) && !listed.contains(*id))
        .map(|(address, _)| address.clone())
        .collect();
    let duplicate: Vec<String> = calls
        .iter()
        .filter(|(_, count)| **count > 1)
        .map(|(address, _)| address.clone())
        .collect();
    for (what, who) in [("lost", &lost), ("duplicate", &duplicate)] {
        for address in who.iter().take(NAMED) {
            let id = acknowledged
                .get(address)
                .map_or("not acknowledged", String::as_str);
            eprintln!("{what}: {address} ({id})");
        }
    }
    Ok(Tally {
        lost,
        duplicate,
        unknown: listed.len(),
        unsettled: on_the_way(database, waiting).await?,
        acknowledged: acknowledged.len(),
        accepted: calls.len(),
    })
}

/// Messages whose end is not known yet and not waited for by a person.
pub async fn on_the_way(database: &mut PgConnection, unknown: Unknown) -> Result<i64> {
    let open: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM messages m WHERE m.status IN ('pending', 'queued')
         AND NOT EXISTS (SELECT FROM unknown_deliveries u WHERE u.tenant_id = m.tenant_id AND u.message_id = m.id
             AND (u.held OR $1))",
    )
    .bind(unknown == Unknown::Listed)
    .fetch_one(database)
    .await?;
    Ok(open)
}

/// Messages with a delivery that is listed as unknown.
pub async fn unknown(database: &mut PgConnection) -> Result<HashSet<String>> {
    let ids: Vec<String> = sqlx::query_scalar("SELECT message_id::text FROM unknown_deliveries")
        .fetch_all(database)
        .await?;
    Ok(ids.into_iter().collect())
}
