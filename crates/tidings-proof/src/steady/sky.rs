//! The highest rate that holds: doubled until it does not, then halved towards it.

use super::{DELIVERY_P99_MS, SETTLE_LIMIT, SUBMISSION_P99_MS, Stage, WARM_UP, end};
use crate::rate;
use crate::tally::{self, Unknown};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tokio::process::Child;

/// How long one try of a rate lasts.
const SECONDS: u64 = 15;
/// How often a rate is tried before it counts as too high: whatever else the machine does for a moment spoils a try, but
/// not three.
const TRIES: u32 = 3;
/// How much longer than that the submissions may take.
const BEHIND: Duration = Duration::from_secs(1);
/// Where the search begins.
const FIRST: u64 = 100;
/// Nothing is tried beyond.
const LAST: u64 = 6_400;
/// Halvings after the first rate that does not hold.
const HALVINGS: u32 = 3;

/// Processes of an installation.
#[derive(Clone, Copy, Debug)]
pub enum Fleet {
    /// One that does everything.
    One,
    /// One that answers HTTP and runs what is scheduled, and so many workers.
    Workers(u32),
}

/// Those that are measured.
pub const FLEETS: [Fleet; 4] = [
    Fleet::One,
    Fleet::Workers(1),
    Fleet::Workers(2),
    Fleet::Workers(4),
];

impl Stage {
    /// The name of a fleet and the highest of the rates tried that it held.
    pub(super) async fn highest(&mut self, fleet: Fleet, talk: bool) -> Result<(String, u64)> {
        let name = match fleet {
            Fleet::One => "one_process".to_owned(),
            Fleet::Workers(count) => format!("workers_{count}"),
        };
        let children = self.launch(fleet).await?;
        // What processes do for the first time, on each of their connections, is not what they hold.
        let warm = format!("{name}-warm-");
        let count = WARM_UP * u64::try_from(children.len())?;
        rate::submit(&self.engine, &warm, FIRST, count).await?;
        self.delivered(&warm, count).await?;
        let (mut held, mut rate, mut halvings) = (0, FIRST, 0);
        let mut too_much = None;
        while halvings <= HALVINGS && rate <= LAST {
            if self.holds(&name, rate, talk).await {
                held = rate;
            } else {
                too_much = Some(rate);
            }
            rate = match too_much {
                None => rate * 2,
                Some(above) => {
                    halvings += 1;
                    held.midpoint(above)
                }
            };
        }
        end(children).await?;
        Ok((name, held))
    }

    async fn launch(&self, fleet: Fleet) -> Result<Vec<Child>> {
        let mut children = Vec::new();
        match fleet {
            Fleet::One => children.push(self.engine.serve("all", None)?),
            Fleet::Workers(count) => {
                children.push(self.engine.serve("api", None)?);
                children.push(self.engine.serve("scheduler", None)?);
                for _ in 0..count {
                    children.push(self.engine.serve("worker", None)?);
                }
            }
        }
        if let Some(first) = children.first_mut() {
            self.engine.up(first).await?;
        }
        Ok(children)
    }

    /// Waits until nothing is on its way, within a limit.
    async fn settled(&mut self) {
        // Where it fails the next rate fails too, and that is told.
        let _ = tally::settle(&mut self.database, Unknown::Held, SETTLE_LIMIT).await;
    }

    /// Whether a rate holds in one of its tries. What fails because there is too much is a no like any other.
    async fn holds(&mut self, name: &str, rate: u64, talk: bool) -> bool {
        for number in 1..=TRIES {
            let tried = self.attempt(&format!("{name}-{rate}-{number}-"), rate).await;
            if talk {
                match &tried {
                    Ok(()) => eprintln!("{name}: {rate} a second holds"),
                    Err(why) => eprintln!("{name}: {rate} a second does not hold in try {number}: {why:#}"),
                }
            }
            if tried.is_ok() {
                return true;
            }
            // What is left must not burden the next.
            self.settled().await;
        }
        false
    }

    /// Whether a rate holds now; why not.
    async fn attempt(&mut self, prefix: &str, rate: u64) -> Result<()> {
        let count = rate * SECONDS;
        let begun = Instant::now();
        let submitted = rate::submit(&self.engine, prefix, rate, count).await?;
        let took = begun.elapsed();
        let delivered = self.delivered(prefix, count).await?;
        let (submission, delivery) = (submitted.at(0.99), delivered.at(0.99));
        ensure!(
            took < Duration::from_secs(SECONDS) + BEHIND,
            "the submissions took {took:.1?} instead of {SECONDS} s"
        );
        ensure!(
            submission <= SUBMISSION_P99_MS,
            "submissions p99 {submission} ms, at most {SUBMISSION_P99_MS}"
        );
        ensure!(
            delivery <= DELIVERY_P99_MS,
            "messages p99 {delivery} ms, at most {DELIVERY_P99_MS}"
        );
        Ok(())
    }
}
