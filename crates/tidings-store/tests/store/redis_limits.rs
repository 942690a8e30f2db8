//! Buckets in a real Redis, and the handing over between it and the database.

use crate::connections::settings;
use crate::world::{World, world};
use secrecy::SecretString;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use std::collections::HashMap;
use tidings_core::limit::{Bucket, HANDOVER_US, Lease, RateLimit, Wish};
use tidings_core::{ConnectionId, Dice};
use tidings_store::connections;
use tidings_store::limits::{self, Keeper, Live, RedisBuckets, RedisFailure};
use tidings_testkit::Redis;

const START_US: i64 = 1_780_000_000_000_000;

struct Stage {
    world: World,
    redis: Redis,
    buckets: RedisBuckets,
    connection: ConnectionId,
}

/// None where no Redis is installed.
async fn stage() -> Option<Stage> {
    let Some(redis) = Redis::start().unwrap() else {
        eprintln!("no Redis is installed: not tested");
        return None;
    };
    let mut world = world().await;
    let mut tx = world.tx().await;
    let made = connections::create(&mut tx, &settings("limited"), &mut world.dice, world.now).await;
    let connection = made.unwrap().id;
    tx.commit().await.unwrap();
    let buckets = RedisBuckets::new(&SecretString::from(redis.url())).unwrap();
    Some(Stage {
        world,
        redis,
        buckets,
        connection,
    })
}

impl Stage {
    fn wish(&self, limit: u64, per_ms: u64, want: u32) -> Wish {
        Wish {
            tenant: self.world.tenant,
            connection: self.connection,
            pace: RateLimit::new(limit, per_ms).unwrap().pace(),
            want,
        }
    }

    async fn conn(&self) -> PoolConnection<Postgres> {
        self.world.store.worker().acquire().await.unwrap()
    }

    /// Redis keeps the buckets from now on.
    async fn enter(&self, now_us: i64) -> (Live, Keeper) {
        let mut conn = self.conn().await;
        let live = self.buckets.connect().await.unwrap();
        let known = limits::keeper(&mut conn).await.unwrap();
        let next = Keeper {
            redis_run: Some(live.run().to_owned()),
            epoch: known.epoch + 1,
            since_us: now_us,
            ..known
        };
        live.begin(&next).await.unwrap();
        assert!(limits::to_redis(&mut conn, &next).await.unwrap());
        (live, next)
    }
}

fn handed(connection: ConnectionId, bucket: Bucket) -> HashMap<ConnectionId, Bucket> {
    HashMap::from([(connection, bucket)])
}

#[tokio::test]
async fn redis_does_what_the_rule_says() {
    let Some(stage) = stage().await else { return };
    let (live, keeper) = stage.enter(START_US).await;
    let mut dice = Dice::from_seed(7);
    let mut now_us = START_US;
    let mut bucket = Bucket::default();
    let wish = stage.wish(600, 60_000, 1);
    for step in 0..300 {
        now_us += dice.below(wish.pace.interval_us as u64 * 4) as i64;
        if dice.below(12) == 0 {
            let quiet = now_us + dice.below(3_000_000) as i64;
            // A bucket that is not there yet needs no word.
            if bucket.next_us > 0 {
                bucket.refused(wish.pace, now_us, quiet);
            }
            live.refused(&keeper, stage.connection, wish.pace, now_us, quiet)
                .await
                .unwrap();
            continue;
        }
        let want = 1 + dice.below(40) as u32;
        let wish = Wish { want, ..wish };
        let first = handed(stage.connection, Bucket::default());
        let taken = live.take(&keeper, &[wish], &first, now_us).await.unwrap();
        assert_eq!(
            taken.leases[&stage.connection],
            bucket.take(wish.pace, now_us, want),
            "step {step}"
        );
    }
}

#[tokio::test]
async fn nodes_at_one_bucket_never_take_the_same_slot() {
    let Some(stage) = stage().await else { return };
    let (_, keeper) = stage.enter(START_US).await;
    let wish = stage.wish(1_000, 1_000, 3);
    let first = handed(stage.connection, Bucket::default());
    let mut nodes = Vec::new();
    for _ in 0..6 {
        nodes.push(stage.buckets.connect().await.unwrap());
    }
    let take = |live: &Live, now_us: i64| {
        let (live, keeper, first) = (live.clone(), keeper.clone(), first.clone());
        async move { live.take(&keeper, &[wish], &first, now_us).await.unwrap() }
    };
    let mut slots = Vec::new();
    for turn in 0..50 {
        let now_us = START_US + turn * 10_000;
        let taken = futures::future::join_all(nodes.iter().map(|live| take(live, now_us))).await;
        for lease in taken.iter().flat_map(|taken| taken.leases.values()) {
            let Lease { slots: taken, .. } = lease;
            slots.extend((0..i64::from(taken.count)).map(|n| taken.first_us + n * taken.interval_us));
        }
    }
    assert!(slots.len() > 500, "{}", slots.len());
    slots.sort_unstable();
    assert!(
        slots
            .windows(2)
            .all(|two| two[1] - two[0] >= wish.pace.interval_us)
    );
}

#[tokio::test]
async fn a_redis_that_forgot_is_noticed() {
    let Some(mut stage) = stage().await else { return };
    let (live, keeper) = stage.enter(START_US).await;
    let wish = stage.wish(10, 1_000, 1);
    let none = HashMap::new();
    let taken = live.take(&keeper, &[wish], &none, START_US).await.unwrap();
    assert_eq!((taken.leases.len(), taken.missing), (0, vec![wish]));
    let first = handed(stage.connection, Bucket::default());
    live.take(&keeper, &[wish], &first, START_US).await.unwrap();

    // Wrong data under the very key.
    let keys = stage.redis.say("KEYS *:rates:*:*").unwrap();
    let key = keys
        .lines()
        .find(|line| line.starts_with("tidings:"))
        .unwrap()
        .to_owned();
    stage.redis.say(&format!("SET {key} nonsense")).unwrap();
    let lost = live.take(&keeper, &[wish], &first, START_US).await.unwrap_err();
    assert!(matches!(lost, RedisFailure::Lost(_)), "{lost}");

    stage.redis.say("FLUSHALL").unwrap();
    let lost = live.take(&keeper, &[wish], &first, START_US).await.unwrap_err();
    assert!(matches!(lost, RedisFailure::Lost(_)), "{lost}");
    let refused = live.refused(&keeper, stage.connection, wish.pace, START_US, START_US);
    assert!(matches!(refused.await, Err(RedisFailure::Lost(_))));

    // Started again: the old connection is broken, a new one says that it is another run.
    assert!(stage.redis.restart().unwrap());
    let gone = live.take(&keeper, &[wish], &first, START_US).await.unwrap_err();
    assert!(matches!(gone, RedisFailure::Unreachable(_)), "{gone}");
    let again = stage.buckets.connect().await.unwrap();
    assert_ne!(Some(again.run()), keeper.redis_run.as_deref());
    stage.redis.kill();
    assert!(stage.buckets.connect().await.is_err());
}

#[tokio::test]
async fn the_database_gives_nothing_while_redis_keeps_the_buckets_and_takes_over_late_enough() {
    let Some(stage) = stage().await else { return };
    let mut conn = stage.conn().await;
    let wish = stage.wish(10, 1_000, 5);
    let before = limits::take(&mut conn, &[wish], START_US).await.unwrap();
    let before = before[&stage.connection].slots;
    assert_eq!(before.count, 5);
    let last_us = before.first_us + 4 * before.interval_us;

    let begun_us = START_US + 100_000;
    let (live, keeper) = stage.enter(begun_us).await;
    assert!(
        limits::take(&mut conn, &[wish], begun_us)
            .await
            .unwrap()
            .is_empty()
    );
    let over = limits::hand_over(&mut conn, &[wish], keeper.epoch).await.unwrap();
    let known = over[&stage.connection];
    assert!(known.first && !known.fresh);
    let first = handed(
        stage.connection,
        known.bucket.handed_over(wish.pace, keeper.since_us),
    );
    let later_us = begun_us + 10_000_000;
    let taken = live.take(&keeper, &[wish], &first, begun_us).await.unwrap();
    assert_eq!(
        taken.leases[&stage.connection].slots.count, 0,
        "not before the handover is over"
    );
    let taken = live.take(&keeper, &[wish], &first, later_us).await.unwrap();
    let taken = taken.leases[&stage.connection].slots;
    assert!(taken.first_us >= last_us + wish.pace.interval_us && taken.first_us >= begun_us + HANDOVER_US);
    let again = limits::hand_over(&mut conn, &[wish], keeper.epoch).await.unwrap();
    assert!(!again[&stage.connection].first, "once an epoch");

    // Only what was seen is changed, and once.
    let lost_us = later_us + 100_000;
    assert!(
        !limits::to_database(&mut conn, keeper.epoch - 1, lost_us, lost_us)
            .await
            .unwrap()
    );
    assert!(
        limits::to_database(&mut conn, keeper.epoch, lost_us, lost_us)
            .await
            .unwrap()
    );
    assert!(
        !limits::to_database(&mut conn, keeper.epoch, lost_us, lost_us)
            .await
            .unwrap()
    );
    assert!(!limits::to_redis(&mut conn, &keeper).await.unwrap());
    let back = limits::take(&mut conn, &[wish], lost_us).await.unwrap();
    assert_eq!(back[&stage.connection].slots.count, 0);
    let back = limits::take(&mut conn, &[wish], lost_us + 10_000_000)
        .await
        .unwrap();
    assert!(back[&stage.connection].slots.first_us >= lost_us + HANDOVER_US + wish.pace.interval_us);
}

#[tokio::test]
async fn what_nobody_used_begins_at_once() {
    let Some(stage) = stage().await else { return };
    let (_, keeper) = stage.enter(START_US).await;
    let mut conn = stage.conn().await;
    let wish = stage.wish(10, 1_000, 5);
    let over = limits::hand_over(&mut conn, &[wish], keeper.epoch).await.unwrap();
    assert!(over[&stage.connection].fresh);
    let again = limits::hand_over(&mut conn, &[wish], keeper.epoch).await.unwrap();
    assert!(!again[&stage.connection].fresh);
}

#[test]
fn an_address_that_is_none_is_refused_without_its_password() {
    for wrong in ["http://u:secret@host", "redis//u:secret@host", "secret"] {
        let error = RedisBuckets::new(&SecretString::from(wrong))
            .unwrap_err()
            .to_string();
        assert!(error.contains("redis://") && !error.contains("secret"), "{error}");
    }
}
