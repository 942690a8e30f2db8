//! The figures that alerts are judged by, against the same counted one by one.

use crate::world::{World, run, world};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use tidings_core::alert::{CALLS_MOST, Figures, ProviderFigures, Thresholds};
use tidings_core::attempt::HELD_BACK;
use tidings_core::{ConnectionId, Dice, ProviderKind, TenantId};
use tidings_store::alerts::figures;
use uuid::Uuid;

/// Outcome, category and code of a call, as they are stored.
const KINDS: &[(&str, Option<&str>, Option<&str>)] = &[
    ("intended", None, None),
    ("accepted", None, None),
    ("accepted", None, None),
    // A repetition that was refused, of a call that was reported to have arrived.
    ("accepted", Some("auth_failure"), Some("401")),
    ("rejected", Some("transient"), Some("503")),
    ("rejected", Some("permanent"), Some("550")),
    ("rejected", Some("auth_failure"), Some("401")),
    ("rejected", Some("rate_limit"), Some("429")),
    ("rejected", Some("rate_limit"), Some(HELD_BACK)),
    ("unknown", None, None),
    ("unknown", Some("permanent"), Some("550")),
    ("unknown", Some("auth_failure"), Some("401")),
];
const STATES: &[&str] = &[
    "queued",
    "dispatching",
    "accepted",
    "delivered",
    "bounced",
    "failed",
    "unknown",
];
const PROVIDERS: [ProviderKind; 3] = [ProviderKind::Smtp, ProviderKind::Smtp, ProviderKind::Twilio];

#[derive(Clone)]
struct Call {
    connection: usize,
    kind: usize,
    attempt_no: i32,
    at: Timestamp,
}

struct Delivery {
    state: usize,
    calls: Vec<Call>,
}

impl Call {
    fn held(&self) -> bool {
        KINDS[self.kind].2 == Some(HELD_BACK)
    }
}

fn invent(dice: &mut Dice, now: Timestamp) -> Vec<Delivery> {
    let mut pick = |n: usize| usize::try_from(dice.below(n as u64)).unwrap();
    let mut deliveries = Vec::new();
    for _ in 0..80 {
        let calls = (1..=1 + pick(4)).map(|number| Call {
            connection: pick(PROVIDERS.len()),
            kind: pick(KINDS.len()),
            attempt_no: i32::try_from(number).unwrap(),
            at: now - SignedDuration::from_secs(i64::try_from(pick(7_200)).unwrap()),
        });
        let calls = calls.collect();
        deliveries.push(Delivery {
            state: pick(STATES.len()),
            calls,
        });
    }
    deliveries
}

fn connection(tenant: TenantId, number: usize) -> Uuid {
    Uuid::from_u128(tenant.0.as_u128() ^ (number as u128 + 1))
}

fn quoted(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), |text| format!("'{text}'"))
}

async fn connect_all(world: &World, tenant: TenantId) {
    for (number, provider) in PROVIDERS.iter().enumerate() {
        let statement = format!(
            "INSERT INTO connections (tenant_id, id, name, channel, provider, enabled, created_at, updated_at)
             VALUES ('{}', '{}', 'c{number}', 'email', '{provider}', true, now(), now())",
            tenant.0,
            connection(tenant, number),
        );
        run(&world.owner(), statement).await.unwrap();
    }
}

/// Writes the deliveries alone: what they belong to does not matter here.
async fn write(world: &World, tenant: TenantId, deliveries: &[Delivery], dice: &mut Dice) {
    let (mut rows, mut calls) = (Vec::new(), Vec::new());
    for one in deliveries {
        let (id, tenant_id) = (dice.uuid(world.now), tenant.0);
        let last = one.calls.len();
        rows.push(format!(
            "('{tenant_id}', '{id}', '{id}', 'email', 0, '{{email}}', '{}', {last}, now(), now())",
            STATES[one.state]
        ));
        for call in &one.calls {
            let (outcome, category, code) = KINDS[call.kind];
            calls.push(format!(
                "('{tenant_id}', '{id}', '{id}', {}, '{}', '{outcome}', {}, {}, '{}', timestamptz '{}' + interval '1 second', '{id}')",
                call.attempt_no,
                connection(tenant, call.connection),
                quoted(category),
                quoted(code),
                call.at,
                call.at,
            ));
        }
    }
    let mut tx = world.owner().begin().await.unwrap();
    for statement in [
        "SET LOCAL session_replication_role = replica".to_owned(),
        format!(
            "INSERT INTO deliveries (tenant_id, id, message_id, channel, position, chain, state, attempt_no, created_at, updated_at)
             VALUES {}",
            rows.join(", ")
        ),
        format!(
            "INSERT INTO attempts (tenant_id, id, delivery_id, attempt_no, connection_id, outcome, category, code, intended_at,
                 finished_at, node) VALUES {}",
            calls.join(", ")
        ),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// One by one, as the page on alerts says it.
fn counted(deliveries: &[Delivery], since: Timestamp) -> BTreeMap<String, ProviderFigures> {
    let mut all: BTreeMap<String, ProviderFigures> = BTreeMap::new();
    for one in deliveries {
        for (index, call) in one.calls.iter().enumerate().filter(|(_, call)| call.at >= since) {
            let provider = PROVIDERS[call.connection];
            let figures = all.entry(provider.to_string()).or_insert(ProviderFigures {
                provider,
                calls: 0,
                errors: 0,
                repeated: 0,
                reached: 0,
                lost: 0,
            });
            let (outcome, category, _) = KINDS[call.kind];
            if outcome != "intended" && !call.held() {
                let repeats = one.calls[..index].iter().any(|before| !before.held());
                figures.calls += 1;
                figures.errors += u64::from(outcome != "accepted" && category != Some("permanent"));
                figures.repeated += u64::from(repeats);
            }
            if index + 1 == one.calls.len() {
                figures.reached += u64::from(matches!(STATES[one.state], "accepted" | "delivered"));
                figures.lost += u64::from(matches!(STATES[one.state], "bounced" | "failed"));
            }
        }
    }
    all.retain(|_, one| one.calls > 0);
    all
}

/// When a connection was last refused for its credentials, and last took a call.
fn heard(deliveries: &[Delivery], number: usize, since: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
    let calls = || {
        let all = deliveries.iter().flat_map(|one| &one.calls);
        all.filter(move |call| call.connection == number && call.at >= since)
    };
    let last = |of: &dyn Fn(&Call) -> bool| {
        let at = calls().filter(|call| of(call)).map(|call| call.at).max();
        at.map(|at| at + SignedDuration::from_secs(1))
    };
    let refused =
        last(&|call| KINDS[call.kind].0 != "accepted" && KINDS[call.kind].1 == Some("auth_failure"));
    let taken = last(&|call| {
        KINDS[call.kind].0 == "accepted"
            || KINDS[call.kind].0 == "rejected" && KINDS[call.kind].1 == Some("permanent")
    });
    (refused, taken)
}

async fn load(world: &World, tenants: &[TenantId], since: Timestamp) -> HashMap<TenantId, Figures> {
    let mut conn = world.store.worker_conn().await.unwrap();
    let tenants: Vec<_> = tenants.iter().map(|id| (*id, Thresholds::default())).collect();
    figures::load(&mut conn, &tenants, since).await.unwrap()
}

#[tokio::test]
async fn figures_are_those_of_counting_one_by_one() {
    let world = world().await;
    let since = world.now - SignedDuration::from_hours(1);
    for seed in 0..6 {
        let mut dice = Dice::from_seed(100 + seed);
        let tenant = crate::world::new_tenant(&world.store, &format!("t{seed}"), &mut dice, world.now).await;
        connect_all(&world, tenant).await;
        let deliveries = invent(&mut dice, world.now);
        write(&world, tenant, &deliveries, &mut dice).await;
        // Others at the same time change nothing.
        let mut loaded = load(&world, &[world.tenant, tenant, world.other], since).await;
        let found = loaded.remove(&tenant).unwrap();
        let by_provider: BTreeMap<String, ProviderFigures> = found
            .providers
            .iter()
            .map(|one| (one.provider.to_string(), *one))
            .collect();
        assert_eq!(by_provider, counted(&deliveries, since), "seed {seed}");
        for (number, _) in PROVIDERS.iter().enumerate() {
            let id = ConnectionId(connection(tenant, number));
            let one = found.connections.iter().find(|one| one.id == id).unwrap();
            assert_eq!(
                (one.refused_at, one.taken_at),
                heard(&deliveries, number, since),
                "seed {seed}, connection {number}"
            );
        }
        assert_eq!(loaded[&world.other], Figures::default());
    }
}

#[tokio::test]
async fn a_refusal_is_found_behind_any_number_of_other_calls() {
    let world = world().await;
    let mut dice = Dice::from_seed(5);
    connect_all(&world, world.tenant).await;
    let one = |connection, kind, at| Delivery {
        state: 2,
        calls: vec![Call {
            connection,
            kind,
            attempt_no: 1,
            at,
        }],
    };
    let refused = KINDS
        .iter()
        .position(|kind| kind.2 == Some("401") && kind.0 == "rejected")
        .unwrap();
    let before = world.now - SignedDuration::from_mins(30);
    let mut deliveries: Vec<Delivery> = (0..=CALLS_MOST).map(|_| one(0, 1, world.now)).collect();
    deliveries.push(one(2, refused, before));
    write(&world, world.tenant, &deliveries, &mut dice).await;
    let found = load(&world, &[world.tenant], world.now - SignedDuration::from_hours(1)).await;
    let found = &found[&world.tenant];
    let id = ConnectionId(connection(world.tenant, 2));
    let connection = found.connections.iter().find(|one| one.id == id).unwrap();
    assert_eq!(
        (connection.refused_at, connection.taken_at),
        (Some(before + SignedDuration::from_secs(1)), None)
    );
    // Rates are those of the newest calls, however many there are.
    assert_eq!(found.providers.len(), 1);
    assert_eq!(found.providers[0].calls, u64::from(CALLS_MOST));
}

#[tokio::test]
async fn backlogs_are_counted_just_beyond_their_threshold() {
    let world = world().await;
    let letters = 10_050;
    let statement = format!(
        "INSERT INTO dead_letters (tenant_id, job_id, job_type, priority, cause, category, died_at)
         SELECT '{}', n, CASE WHEN n <= 5 THEN 'alert.notify' ELSE 'send_sms' END, 50, 'x', 'permanent', timestamptz '{}'
         FROM generate_series(1, {letters}) n",
        world.tenant.0, world.now
    );
    run(&world.owner(), statement).await.unwrap();
    let mut conn = world.store.worker_conn().await.unwrap();
    for (most, found) in [(10, 10_000), (10_020, 10_021), (1_000_000, letters - 5)] {
        let limits = Thresholds {
            dead_letters_max: most,
            ..Thresholds::default()
        };
        let loaded = figures::load(&mut conn, &[(world.tenant, limits)], world.now)
            .await
            .unwrap();
        assert_eq!(loaded[&world.tenant].new_dead_letters, found, "threshold {most}");
    }
}

#[tokio::test]
async fn opened_mail_is_that_of_counting_one_by_one() {
    let world = world().await;
    let mut dice = Dice::from_seed(3);
    connect_all(&world, world.tenant).await;
    let (from, to) = (
        world.now - SignedDuration::from_hours(168),
        world.now - SignedDuration::from_hours(24),
    );
    let (mut messages, mut deliveries) = (Vec::new(), Vec::new());
    let mut counted: BTreeMap<(String, &str), (u64, u64)> = BTreeMap::new();
    for _ in 0..300 {
        let accepted = world.now - SignedDuration::from_mins(i64::try_from(dice.below(12_000)).unwrap());
        let (id, tenant) = (dice.uuid(accepted), world.tenant.0);
        let number = usize::try_from(dice.below(3)).unwrap();
        let kind = ["welcome", "reminder"][usize::try_from(dice.below(2)).unwrap()];
        let channel = ["email", "sms"][usize::from(dice.below(5) == 0)];
        let state = STATES[usize::try_from(dice.below(STATES.len() as u64)).unwrap()];
        let (sent, opened) = (dice.below(5) > 0, dice.below(2) == 0);
        let when = |known: bool| {
            if known {
                format!("'{accepted}'")
            } else {
                "NULL".to_owned()
            }
        };
        messages.push(format!(
            "('{tenant}', '{id}', '{id}', '{kind}', 'service', 'normal', 'sent', 'response', '{accepted}', {}, {})",
            when(sent),
            when(opened)
        ));
        deliveries.push(format!(
            "('{tenant}', '{id}', '{id}', '{channel}', 0, '{{email}}', '{state}', 1, '{}', now(), now())",
            connection(world.tenant, number)
        ));
        let counts = channel == "email" && matches!(state, "accepted" | "delivered");
        if counts && sent && accepted >= from && accepted < to {
            let one = counted.entry((PROVIDERS[number].to_string(), kind)).or_default();
            one.0 += 1;
            one.1 += u64::from(opened);
        }
    }
    let mut tx = world.owner().begin().await.unwrap();
    for statement in [
        "SET LOCAL session_replication_role = replica".to_owned(),
        format!(
            "INSERT INTO messages (tenant_id, id, contact_id, message_type, category, urgency, status, status_provenance, accepted_at,
                 sent_at, opened_at) VALUES {}",
            messages.join(", ")
        ),
        format!(
            "INSERT INTO deliveries (tenant_id, id, message_id, channel, position, chain, state, attempt_no, connection_id, created_at,
                 updated_at) VALUES {}",
            deliveries.join(", ")
        ),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut conn = world.store.worker_conn().await.unwrap();
    let found: BTreeMap<(String, String), (u64, u64)> = figures::opens(&mut conn, &[world.tenant], from, to)
        .await
        .unwrap()
        .into_iter()
        .map(|one| {
            (
                (one.provider.to_string(), one.message_type.to_string()),
                (one.mails, one.opened),
            )
        })
        .collect();
    let counted: BTreeMap<(String, String), (u64, u64)> = counted
        .into_iter()
        .map(|((provider, kind), counts)| ((provider, kind.to_owned()), counts))
        .collect();
    assert!(counted.len() == 4, "{counted:?}");
    assert_eq!(found, counted);
}
