//! When a failed job is tried again: back-off tables, and what each kind of failure costs.

use crate::attempt::ErrorCategory;
use crate::dice::Dice;
use crate::job::JobKind;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// A longer `Retry-After` than this is not believed.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// The waits between tries. `Schedule::default()` is SPEC section 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Waits of send jobs, by try; the last repeats. `RETRY_DELAY_MINUTES` replaces it.
    pub send: Vec<Duration>,
    /// Waits of conversational and internal jobs, by try; the last repeats.
    pub other: Vec<Duration>,
    /// Tries again after the first of a send job. `MAX_RETRIES` replaces it.
    pub send_retries: u32,
    /// Tries again after the first of any other job.
    pub other_retries: u32,
    /// Wait after a rate limit that names no time.
    pub rate_limit: Duration,
    /// Wait after a refused credential.
    pub auth_failure: Duration,
    /// How long waits that cost no try (rate limits, refused credentials) may go on in all.
    pub patience: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        let seconds = |list: &[u64]| list.iter().copied().map(Duration::from_secs).collect();
        Self {
            send: seconds(&[60, 300, 900]),
            other: seconds(&[5, 20, 60, 180, 600]),
            send_retries: 3,
            other_retries: 5,
            rate_limit: Duration::from_mins(1),
            auth_failure: Duration::from_mins(5),
            patience: Duration::from_hours(72),
        }
    }
}

impl Schedule {
    /// How often a job of the kind is tried again by default; the job's row may say otherwise.
    pub const fn max_retries(&self, kind: JobKind) -> u32 {
        if kind.is_send() {
            self.send_retries
        } else {
            self.other_retries
        }
    }

    fn wait(&self, kind: JobKind, retries: u32) -> Duration {
        let table = if kind.is_send() { &self.send } else { &self.other };
        let index = usize::try_from(retries)
            .unwrap_or(usize::MAX)
            .min(table.len().saturating_sub(1));
        table.get(index).copied().unwrap_or(self.rate_limit)
    }
}

/// A job that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub category: ErrorCategory,
    /// Counted tries again so far (`retry_count`), without the one that follows.
    pub retries: u32,
    /// How many the job may have (`max_retries`).
    pub max_retries: u32,
    /// How long the provider asked us to wait.
    pub retry_after: Option<Duration>,
    /// When the job was first due; bounds the waits that cost no try.
    pub first_due_at: Timestamp,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextTry {
    /// Try again.
    At {
        /// When.
        at: Timestamp,
        /// Whether it costs one of the tries.
        counts: bool,
    },
    /// A dead letter.
    GiveUp,
}

/// When a failed job is tried again, if at all. Waits vary by up to a tenth, never below what the provider asked for.
pub fn next_try(
    failure: &Failure,
    kind: JobKind,
    schedule: &Schedule,
    now: Timestamp,
    dice: &mut Dice,
) -> NextTry {
    let asked = failure.retry_after.unwrap_or(Duration::ZERO).min(LONGEST_WAIT);
    match failure.category {
        ErrorCategory::Permanent | ErrorCategory::InvalidInput => NextTry::GiveUp,
        ErrorCategory::Transient if failure.retries >= failure.max_retries => NextTry::GiveUp,
        ErrorCategory::Transient => {
            let wait = jittered(schedule.wait(kind, failure.retries), dice).max(asked);
            NextTry::At {
                at: later(now, wait),
                counts: true,
            }
        }
        ErrorCategory::RateLimit | ErrorCategory::AuthFailure if out_of_patience(failure, schedule, now) => {
            NextTry::GiveUp
        }
        ErrorCategory::RateLimit => {
            let wait = if asked.is_zero() {
                schedule.rate_limit
            } else {
                asked
            };
            NextTry::At {
                at: later(now, lengthened(wait, dice)),
                counts: false,
            }
        }
        ErrorCategory::AuthFailure => {
            let wait = schedule.auth_failure.max(asked);
            NextTry::At {
                at: later(now, lengthened(wait, dice)),
                counts: false,
            }
        }
    }
}

fn out_of_patience(failure: &Failure, schedule: &Schedule, now: Timestamp) -> bool {
    let waited = now.duration_since(failure.first_due_at);
    waited > SignedDuration::try_from(schedule.patience).unwrap_or(SignedDuration::MAX)
}

/// 90 to 110 hundredths of the wait.
fn jittered(wait: Duration, dice: &mut Dice) -> Duration {
    wait.mul_f64(0.9 + 0.2 * dice.fraction())
}

/// 100 to 110 hundredths of the wait: for waits somebody else set.
fn lengthened(wait: Duration, dice: &mut Dice) -> Duration {
    wait.mul_f64(1.0 + 0.1 * dice.fraction())
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
