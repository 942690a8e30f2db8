//! Buckets in the database against the rule: the same steps bring the same slots.

use crate::connections::settings;
use crate::world::{run, world};
use std::collections::HashMap;
use tidings_core::limit::{Bucket, RateLimit, Wish};
use tidings_core::{ConnectionId, Dice};
use tidings_store::{connections, limits};

#[tokio::test]
async fn the_database_does_the_arithmetic_of_the_rule() {
    let mut world = world().await;
    let tenant = world.tenant;
    let mut tx = world.tx().await;
    let made = connections::create(&mut tx, &settings("limited"), &mut world.dice, world.now).await;
    let connection = made.unwrap().id;
    tx.commit().await.unwrap();
    let mut conn = world.store.worker().acquire().await.unwrap();
    let mut dice = Dice::from_seed(7);
    for (limit, per_ms) in [(50, 1_000), (600, 60_000), (100, 3_600_000), (10, 86_400_000)] {
        let pace = RateLimit::new(limit, per_ms).unwrap().pace();
        run(&world.owner(), "DELETE FROM rate_buckets".to_owned())
            .await
            .unwrap();
        let mut bucket = Bucket::default();
        let mut now_us = 1_780_000_000_000_000_i64;
        for step in 0..300 {
            now_us += dice.below(pace.interval_us as u64 * 4) as i64;
            if dice.below(12) == 0 {
                let quiet = now_us + dice.below(3_000_000) as i64;
                bucket.refused(pace, now_us, quiet);
                limits::refused(&mut conn, tenant, connection, pace, now_us, quiet)
                    .await
                    .unwrap();
                continue;
            }
            let want = 1 + dice.below(40) as u32;
            let wish = Wish {
                tenant,
                connection,
                pace,
                want,
            };
            let leases: HashMap<ConnectionId, _> = limits::take(&mut conn, &[wish], now_us).await.unwrap();
            let expected = bucket.take(pace, now_us, want);
            let lease = leases[&connection];
            assert_eq!(
                lease.slots.count, expected.slots.count,
                "{limit}/{per_ms} step {step}"
            );
            assert_eq!(lease.more_us, expected.more_us, "{limit}/{per_ms} step {step}");
            if expected.slots.count > 0 {
                assert_eq!(lease.slots, expected.slots, "{limit}/{per_ms} step {step}");
            }
        }
    }
}
