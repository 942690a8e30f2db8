//! The circuit breaker of a connection: a pure state machine, persisted and shared by the engine.
//!
//! Closed: calls go. After a run of failures, or one refused credential: open, no calls. When its time is over, one call
//! is let through as a probe (half open); its outcome closes the breaker or opens it for longer.

use crate::attempt::ErrorCategory;
use crate::dice::Dice;
use crate::word::word_enum;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Failures in a row that open it.
pub const FAILURES_TO_OPEN: u32 = 5;
/// How long it stays open the first time.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// How long at most.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// How long after a refused credential.
const AUTH_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// A probe that has not answered by then is lost; another may go.
const PROBE_TIME: SignedDuration = SignedDuration::from_mins(1);

word_enum! {
    /// The position of a breaker.
    pub enum BreakerState {
        /// Calls go.
        Closed = "closed",
        /// No calls.
        Open = "open",
        /// One call, as a probe.
        HalfOpen = "half_open",
    }
}

/// A breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Breaker {
    /// Calls go.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// No calls.
    Open {
        /// When a probe may go.
        retry_at: Timestamp,
        /// How often it opened in a row; sets how long.
        trips: u32,
    },
    /// One call is out as a probe.
    HalfOpen {
        /// When the probe counts as lost.
        probe_until: Timestamp,
        /// How often it opened in a row.
        trips: u32,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Yes.
    Call,
    /// Yes, one, after [`Breaker::probe`] was recorded.
    Probe,
    /// Not before the instant.
    Wait(Timestamp),
}

/// What a call brought, as far as the connection's health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallResult {
    /// The provider took the message, or refused it for its own sake: it works.
    Answered,
    /// It failed, timed out or could not be reached.
    Failed,
    /// It refused the credential.
    AuthRefused,
}

impl From<ErrorCategory> for CallResult {
    fn from(category: ErrorCategory) -> Self {
        match category {
            ErrorCategory::Transient => Self::Failed,
            ErrorCategory::AuthFailure => Self::AuthRefused,
            // The provider answered; limits are kept elsewhere.
            ErrorCategory::RateLimit | ErrorCategory::Permanent | ErrorCategory::InvalidInput => {
                Self::Answered
            }
        }
    }
}

impl Breaker {
    /// The position, as a word.
    pub const fn state(&self) -> BreakerState {
        match self {
            Self::Closed { .. } => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether a call may be made now.
    pub fn permit(&self, now: Timestamp) -> Permit {
        match self {
            Self::Closed { .. } => Permit::Call,
            Self::Open { retry_at: until, .. }
            | Self::HalfOpen {
                probe_until: until, ..
            } if *until > now => Permit::Wait(*until),
            Self::Open { .. } | Self::HalfOpen { .. } => Permit::Probe,
        }
    }

    /// The breaker with one probe out. Whoever records it first (compare and set) may make the call.
    #[must_use]
    pub fn probe(self, now: Timestamp) -> Self {
        match self {
            Self::Closed { .. } => self,
            Self::Open { trips, .. } | Self::HalfOpen { trips, .. } => Self::HalfOpen {
                probe_until: later(now, PROBE_TIME),
                trips,
            },
        }
    }

    /// The breaker after a call. Answers to calls made before it opened change nothing.
    #[must_use]
    pub fn after(self, result: CallResult, now: Timestamp, dice: &mut Dice) -> Self {
        match (self, result) {
            (Self::Open { .. }, _) => self,
            (Self::Closed { .. } | Self::HalfOpen { .. }, CallResult::Answered) => Self::default(),
            (Self::Closed { .. }, CallResult::AuthRefused) => Self::open(1, AUTH_PAUSE, now, dice),
            (Self::HalfOpen { trips, .. }, CallResult::AuthRefused) => {
                Self::open(trips.saturating_add(1), AUTH_PAUSE, now, dice)
            }
            (Self::Closed { failures }, CallResult::Failed)
                if failures.saturating_add(1) < FAILURES_TO_OPEN =>
            {
                Self::Closed {
                    failures: failures.saturating_add(1),
                }
            }
            (Self::Closed { .. }, CallResult::Failed) => Self::open(1, FIRST_PAUSE, now, dice),
            (Self::HalfOpen { trips, .. }, CallResult::Failed) => {
                let trips = trips.saturating_add(1);
                Self::open(trips, pause(trips), now, dice)
            }
        }
    }

    /// Opened by hand, for a drill or maintenance.
    #[must_use]
    pub const fn open_until(retry_at: Timestamp) -> Self {
        Self::Open { retry_at, trips: 1 }
    }

    /// Up to a fifth longer than the pause, so that nodes and connections do not come back together.
    fn open(trips: u32, pause: SignedDuration, now: Timestamp, dice: &mut Dice) -> Self {
        let pause = SignedDuration::from_secs_f64(pause.as_secs_f64() * (1.0 + 0.2 * dice.fraction()));
        Self::Open {
            retry_at: later(now, pause),
            trips,
        }
    }
}

/// Doubles with every trip.
fn pause(trips: u32) -> SignedDuration {
    let doublings = trips.saturating_sub(1).min(8);
    FIRST_PAUSE
        .checked_mul(1 << doublings)
        .unwrap_or(LONGEST_PAUSE)
        .min(LONGEST_PAUSE)
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(Timestamp::MAX)
}
