//! Figures of deliveries by day: those of counting the ledger one by one, whenever it changes and however often it is counted.

use crate::world::{World, world};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use tidings_core::analytics::DeliveriesBy;
use tidings_core::{Dice, TenantId};
use tidings_store::analytics::{self, Counts, Range};
use uuid::Uuid;

const STATES: &[&str] = &[
    "queued",
    "dispatching",
    "retry_wait",
    "accepted",
    "delivered",
    "delivered",
    "delivered",
    "bounced",
    "bounced",
    "failed",
    "failed",
    "unknown",
    "held",
    "dropped",
    "stopped",
];
const CATEGORIES: &[&str] = &[
    "transient",
    "permanent",
    "rate_limit",
    "auth_failure",
    "invalid_input",
];
const EVENTS: &[(&str, Option<&str>)] = &[
    ("opened", None),
    ("machine_opened", None),
    ("clicked", None),
    ("complained", None),
    ("replied", None),
    ("delivered", None),
    ("deferred", None),
    ("bounced", Some("hard")),
    ("bounced", Some("soft")),
    ("bounced", Some("block")),
];
const PROVIDERS: [&str; 3] = ["smtp", "smtp", "twilio"];

/// A delivery as the ledger has it.
#[derive(Clone)]
struct Entry {
    id: Uuid,
    at: Timestamp,
    connection: Option<usize>,
    channel: &'static str,
    message_type: &'static str,
    state: &'static str,
    category: Option<&'static str>,
    accepted_at: Option<Timestamp>,
    /// Kind and class, and when it happened.
    events: Vec<(&'static str, Option<&'static str>, Timestamp)>,
}

fn connection(tenant: TenantId, number: usize) -> Uuid {
    Uuid::from_u128(tenant.0.as_u128() ^ (number as u128 + 1))
}

fn invent(dice: &mut Dice, now: Timestamp, count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    for _ in 0..count {
        let mut pick = |n: usize| usize::try_from(dice.below(n as u64)).unwrap();
        let at = now - SignedDuration::from_secs(i64::try_from(pick(3 * 86_400)).unwrap());
        let state = STATES[pick(STATES.len())];
        let accepted =
            matches!(state, "accepted" | "delivered" | "bounced") || state == "failed" && pick(3) == 0;
        let mut events: Vec<_> = (0..pick(4))
            .map(|_| {
                let (kind, class) = EVENTS[pick(EVENTS.len())];
                let after = SignedDuration::from_millis(i64::try_from(pick(400_000)).unwrap());
                (kind, class, at + after)
            })
            .collect();
        events.sort_by_key(|event| event.2);
        let entry = Entry {
            id: Uuid::nil(),
            at,
            connection: (pick(6) > 0).then(|| pick(PROVIDERS.len())),
            channel: ["email", "sms"][pick(2)],
            message_type: ["welcome", "reminder"][pick(2)],
            state,
            category: (state == "failed").then(|| CATEGORIES[pick(CATEGORIES.len())]),
            accepted_at: accepted
                .then(|| at + SignedDuration::from_millis(i64::try_from(pick(2_000)).unwrap())),
            events,
        };
        entries.push(Entry {
            id: dice.uuid(at),
            ..entry
        });
    }
    entries
}

fn quoted<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| format!("'{value}'"))
}

async fn all(world: &World, statements: Vec<String>) {
    let mut tx = world.owner().begin().await.unwrap();
    let replica = "SET LOCAL session_replication_role = replica".to_owned();
    for statement in std::iter::once(replica).chain(statements) {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&mut *tx)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}

async fn write(world: &World, entries: &[Entry]) {
    let tenant = world.tenant.0;
    let mut statements = Vec::new();
    for (number, provider) in PROVIDERS.iter().enumerate() {
        statements.push(format!(
            "INSERT INTO connections (tenant_id, id, name, channel, provider, enabled, created_at, updated_at)
             VALUES ('{tenant}', '{}', 'c{number}', 'email', '{provider}', true, now(), now()) ON CONFLICT DO NOTHING",
            connection(world.tenant, number),
        ));
    }
    for one in entries {
        let (id, at) = (one.id, one.at);
        let over = quoted(one.connection.map(|number| connection(world.tenant, number)));
        statements.push(format!(
            "INSERT INTO messages (tenant_id, id, contact_id, message_type, category, urgency, status, status_provenance, accepted_at)
             VALUES ('{tenant}', '{id}', '{id}', '{}', 'service', 'normal', 'sent', 'response', '{at}')",
            one.message_type
        ));
        statements.push(format!(
            "INSERT INTO deliveries (tenant_id, id, message_id, channel, position, chain, state, attempt_no, connection_id, error_category,
                 created_at, updated_at)
             VALUES ('{tenant}', '{id}', '{id}', '{}', 0, '{{email}}', '{}', 1, {over}, {}, '{at}', '{at}')",
            one.channel,
            one.state,
            quoted(one.category),
        ));
        let outcome = if one.accepted_at.is_some() {
            "accepted"
        } else {
            "rejected"
        };
        statements.push(format!(
            "INSERT INTO attempts (tenant_id, id, delivery_id, attempt_no, connection_id, outcome, intended_at, finished_at, node)
             VALUES ('{tenant}', '{id}', '{id}', 1, '{id}', '{outcome}', '{at}', {}, '{id}')",
            quoted(one.accepted_at),
        ));
        for (number, (kind, class, at)) in one.events.iter().enumerate() {
            statements.push(report(world.tenant, one.id, number, kind, *class, *at, *at));
        }
    }
    all(world, statements).await;
}

/// A report that was received at an instant.
fn report(
    tenant: TenantId,
    delivery: Uuid,
    number: usize,
    kind: &str,
    class: Option<&str>,
    occurred_at: Timestamp,
    received_at: Timestamp,
) -> String {
    let id = Dice::from_seed(number as u64 ^ delivery.as_u128() as u64).uuid(received_at);
    format!(
        "INSERT INTO delivery_events (tenant_id, id, connection_id, dedupe_key, delivery_id, message_id, kind, provenance, bounce_class,
             occurred_at, received_at)
         VALUES ('{}', '{id}', '{delivery}', '{number}', '{delivery}', '{delivery}', '{kind}', 'webhook', {}, '{occurred_at}', '{received_at}')",
        tenant.0,
        quoted(class)
    )
}

fn key(tenant: TenantId, one: &Entry, by: DeliveriesBy) -> String {
    match by {
        DeliveriesBy::Provider => one
            .connection
            .map_or("none", |number| PROVIDERS[number])
            .to_owned(),
        DeliveriesBy::Connection => one
            .connection
            .map_or(Uuid::nil(), |number| connection(tenant, number))
            .to_string(),
        DeliveriesBy::Channel => one.channel.to_owned(),
        DeliveriesBy::Type => one.message_type.to_owned(),
        DeliveriesBy::Day => day(one.at).to_string(),
    }
}

fn day(at: Timestamp) -> Date {
    at.to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// One by one, with the times of those that arrived.
fn counted<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    tenant: TenantId,
    by: DeliveriesBy,
) -> BTreeMap<String, (Counts, Vec<u64>)> {
    let mut lines: BTreeMap<String, (Counts, Vec<u64>)> = BTreeMap::new();
    for one in entries {
        let (counts, times) = lines.entry(key(tenant, one, by)).or_default();
        let heard = |kind: &str| one.events.iter().any(|event| event.0 == kind);
        let class = |class: &str| one.events.iter().any(|event| event.1 == Some(class));
        let add = |count: &mut i64, holds: bool| *count += i64::from(holds);
        add(&mut counts.deliveries, true);
        add(&mut counts.accepted, one.accepted_at.is_some());
        add(&mut counts.delivered, one.state == "delivered");
        let bounced = one.state == "bounced";
        add(&mut counts.bounced, bounced);
        add(&mut counts.bounced_hard, bounced && class("hard"));
        add(
            &mut counts.bounced_block,
            bounced && class("block") && !class("hard"),
        );
        add(
            &mut counts.bounced_soft,
            bounced && class("soft") && !class("block") && !class("hard"),
        );
        add(&mut counts.complained, heard("complained"));
        add(&mut counts.failed, one.state == "failed");
        add(&mut counts.failed_transient, one.category == Some("transient"));
        add(&mut counts.failed_permanent, one.category == Some("permanent"));
        add(&mut counts.failed_rate_limit, one.category == Some("rate_limit"));
        add(
            &mut counts.failed_auth_failure,
            one.category == Some("auth_failure"),
        );
        add(
            &mut counts.failed_invalid_input,
            one.category == Some("invalid_input"),
        );
        add(&mut counts.unknown, matches!(one.state, "unknown" | "held"));
        add(
            &mut counts.waiting,
            matches!(one.state, "queued" | "dispatching" | "retry_wait"),
        );
        add(&mut counts.dropped, one.state == "dropped");
        add(&mut counts.stopped, one.state == "stopped");
        add(&mut counts.opened, heard("opened"));
        add(
            &mut counts.machine_opened,
            heard("machine_opened") && !heard("opened"),
        );
        add(&mut counts.clicked, heard("clicked"));
        add(&mut counts.replied, heard("replied"));
        let arrived = one
            .events
            .iter()
            .filter(|event| event.0 == "delivered")
            .map(|event| event.2)
            .min();
        if let (true, Some(accepted), Some(arrived)) = (one.state == "delivered", one.accepted_at, arrived) {
            let took = arrived.duration_since(accepted).as_millis().max(0);
            times.push(u64::try_from(took).unwrap());
        }
    }
    lines
}

/// Counts everything that is due; returns how many days.
async fn count(world: &World, now: Timestamp) -> usize {
    let mut conn = world.store.worker_tx().await.unwrap();
    let marked = analytics::mark(&mut conn, world.tenant, now).await.unwrap();
    assert_eq!(marked.to, now);
    conn.commit().await.unwrap();
    for days in 0..100 {
        let mut tx = world.store.worker_tx().await.unwrap();
        if analytics::count_next(&mut tx, world.tenant)
            .await
            .unwrap()
            .is_none()
        {
            return days;
        }
        tx.commit().await.unwrap();
    }
    panic!("counting has no end");
}

/// What is told is what is counted one by one, by everything.
async fn agree(world: &World, entries: &[Entry], range: Range) {
    let mut tx = world.tx().await;
    for by in DeliveriesBy::ALL {
        let told = analytics::deliveries(&mut tx, range, *by).await.unwrap();
        let within = entries
            .iter()
            .filter(|one| day(one.at) >= range.from && day(one.at) <= range.to);
        let mut expected = counted(within, world.tenant, *by);
        assert_eq!(told.len(), expected.len(), "{by}");
        for line in told {
            let (counts, mut times) = expected.remove(&line.key).unwrap();
            assert_eq!(line.counts, counts, "{by} {}", line.key);
            times.sort_unstable();
            for (told, percent) in [(line.median_ms, 50), (line.p95_ms, 95)] {
                let rank = (times.len() * percent).div_ceil(100);
                let exact = rank.checked_sub(1).and_then(|rank| times.get(rank)).copied();
                let close = match (told, exact) {
                    (Some(told), Some(exact)) => told >= exact && told <= exact + exact / 10 + 1,
                    (told, exact) => told == exact,
                };
                assert!(close, "{by} {}: {told:?} for {exact:?}", line.key);
            }
            let named = line.name.is_some();
            assert_eq!(
                named,
                *by == DeliveriesBy::Connection && line.key != Uuid::nil().to_string()
            );
        }
    }
}

#[tokio::test]
async fn figures_are_those_of_the_ledger_and_counting_again_changes_nothing() {
    let world = world().await;
    let mut dice = Dice::from_seed(11);
    let entries = invent(&mut dice, world.now, 300);
    write(&world, &entries).await;
    let today = day(world.now);
    let whole = Range {
        from: day(world.now - SignedDuration::from_hours(96)),
        to: today,
    };
    assert!(count(&world, world.now).await >= 3);
    agree(&world, &entries, whole).await;
    let yesterday = day(world.now - SignedDuration::from_hours(24));
    let one_day = Range {
        from: yesterday,
        to: yesterday,
    };
    agree(&world, &entries, one_day).await;
    // Days on which something waits are counted again each time, to the same.
    assert!(count(&world, world.now).await >= 1);
    agree(&world, &entries, whole).await;
    let mut tx = world.store.tenant(world.other).tx().await.unwrap();
    let others = analytics::deliveries(&mut tx, whole, DeliveriesBy::Day)
        .await
        .unwrap();
    assert_eq!(others, []);
}

#[tokio::test]
async fn a_late_report_and_a_late_outcome_change_their_day_and_no_other_is_counted() {
    let world = world().await;
    let mut dice = Dice::from_seed(12);
    let mut entries = invent(&mut dice, world.now, 60);
    for one in &mut entries {
        // Nothing waits, so nothing is counted again by itself.
        if matches!(
            one.state,
            "queued" | "dispatching" | "retry_wait" | "unknown" | "held"
        ) {
            one.state = "stopped";
        }
    }
    write(&world, &entries).await;
    let range = Range {
        from: day(world.now - SignedDuration::from_hours(96)),
        to: day(world.now),
    };
    let much_later = world.now + SignedDuration::from_hours(5);
    let days = count(&world, world.now).await;
    assert!(days >= 3);
    let before = world.now + SignedDuration::from_hours(4);
    count(&world, before).await;
    assert_eq!(count(&world, before + SignedDuration::from_secs(1)).await, 0);

    let old = entries
        .iter()
        .position(|one| {
            day(one.at) == range.from.saturating_add(jiff::ToSpan::days(2)) && one.state == "delivered"
        })
        .unwrap();
    entries[old].events.push(("clicked", None, much_later));
    let id = entries[old].id;
    let late = report(world.tenant, id, 99, "clicked", None, much_later, much_later);
    all(&world, vec![late]).await;
    assert_eq!(count(&world, much_later).await, 1);
    agree(&world, &entries, range).await;

    // A little of the time before is looked at again each time, and counted to the same.
    count(&world, much_later + SignedDuration::from_mins(30)).await;
    agree(&world, &entries, range).await;

    // Somebody sends one of them again.
    let stopped = entries.iter().position(|one| one.state == "stopped").unwrap();
    let again = much_later + SignedDuration::from_hours(1);
    let (id, tenant) = (entries[stopped].id, world.tenant.0);
    (entries[stopped].state, entries[stopped].accepted_at) = ("accepted", Some(again));
    all(
        &world,
        vec![
            format!("UPDATE deliveries SET state = 'accepted', attempt_no = 2 WHERE id = '{id}'"),
            format!(
                "INSERT INTO attempts (tenant_id, id, delivery_id, attempt_no, connection_id, outcome, intended_at, finished_at, node)
                 VALUES ('{tenant}', '{tenant}', '{id}', 2, '{id}', 'accepted', '{again}', '{again}', '{id}')"
            ),
        ],
    )
    .await;
    assert_eq!(count(&world, again).await, 1);
    agree(&world, &entries, range).await;
}
