//! The circuit breaker of a connection: a pure state machine, persisted and shared by the engine.
//!
//! Closed: calls go. After a run of failures, a share of failures, or one refused credential: open, no calls. When its
//! time is over, one call is let through as a probe (half open); its outcome closes the breaker or opens it for longer.
//! A breaker that closed gives the connection its share back in steps (10, 25, 50, then 100 of a hundred); a failure
//! meanwhile opens it again at once.
//!
//! What calls brought is counted by each node for itself ([`Traffic`]); the positions are shared. So a connection that
//! works causes no writes.

use crate::attempt::ErrorCategory;
use crate::dice::Dice;
use crate::traffic::Traffic;
use crate::word::word_enum;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Failures in a row that open it.
pub const FAILURES_TO_OPEN: u32 = 5;
/// Calls within ten seconds from which on the share of failures counts; more than half of them open it.
pub const CALLS_FOR_RATE: u32 = 10;
/// How long it stays open the first time.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// How long at most.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// How long after a refused credential.
const AUTH_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// A probe that has not answered by then is lost; another may go.
const PROBE_TIME: SignedDuration = SignedDuration::from_mins(1);
/// How long each step of the ramp lasts.
pub const RAMP_STEP: SignedDuration = SignedDuration::from_secs(10);
/// The steps of the ramp, in hundredths of the connection's share; then all of it.
pub const RAMP: [u8; 3] = [10, 25, 50];
/// The longest drill.
pub const LONGEST_DRILL: SignedDuration = SignedDuration::from_hours(1);

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

word_enum! {
    /// Why a breaker opened.
    pub enum TripCause {
        /// Five calls in a row failed.
        FailuresInARow = "failures_in_a_row",
        /// More than half of ten calls or more within ten seconds failed.
        FailureRate = "failure_rate",
        /// The provider refused the credential.
        AuthRefused = "auth_refused",
        /// The probe failed.
        ProbeFailed = "probe_failed",
        /// A call failed while the connection was given its share back.
        RampFailed = "ramp_failed",
        /// Broken on purpose.
        Drill = "drill",
    }
}

/// A breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Breaker {
    /// Calls go.
    Closed {
        /// It closed lately, and the connection gets its share back in steps.
        ramp: Option<Ramp>,
    },
    /// No calls.
    Open {
        /// When a probe may go.
        retry_at: Timestamp,
        /// How often it opened in a row; sets how long.
        trips: u32,
        /// Why.
        cause: TripCause,
    },
    /// One call is out as a probe.
    HalfOpen {
        /// When the probe counts as lost. Names the probe: the answers of other calls change nothing.
        probe_until: Timestamp,
        /// How often it opened in a row.
        trips: u32,
        /// Why it opened.
        cause: TripCause,
    },
}

/// The way back after a breaker closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ramp {
    /// When it closed.
    pub since: Timestamp,
    /// How often it had opened in a row.
    pub trips: u32,
}

impl Ramp {
    /// Hundredths of its share at an instant; all of it when the ramp is over.
    pub fn share(&self, now: Timestamp) -> u8 {
        let steps = now.duration_since(self.since).as_millis() / RAMP_STEP.as_millis();
        let step = usize::try_from(steps.max(0)).unwrap_or(usize::MAX);
        RAMP.get(step).copied().unwrap_or(100)
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { ramp: None }
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

/// A call that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What it brought.
    pub result: CallResult,
    /// When it began: what began before a breaker closed says nothing about the time after.
    pub began: Timestamp,
    /// The probe it was, by [`Breaker::HalfOpen`]'s `probe_until`.
    pub probe: Option<Timestamp>,
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

    /// Why it is not closed.
    pub const fn cause(&self) -> Option<TripCause> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { cause, .. } | Self::HalfOpen { cause, .. } => Some(*cause),
        }
    }

    /// Hundredths of its share that the connection may have now.
    pub fn share(&self, now: Timestamp) -> u8 {
        match self {
            Self::Closed { ramp } => ramp.map_or(100, |ramp| ramp.share(now)),
            Self::Open { .. } | Self::HalfOpen { .. } => 0,
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
            Self::Open { trips, cause, .. } | Self::HalfOpen { trips, cause, .. } => Self::HalfOpen {
                probe_until: whole_micros(later(now, PROBE_TIME)),
                trips,
                cause,
            },
        }
    }

    /// The breaker after a call, which `traffic` has counted already. Answers to calls made before it opened, and to
    /// others than the probe while there is one, change nothing.
    #[must_use]
    pub fn after(self, call: Ended, traffic: &Traffic, now: Timestamp, dice: &mut Dice) -> Self {
        match self {
            Self::HalfOpen {
                probe_until,
                trips,
                cause,
            } if call.probe == Some(probe_until) => after_probe(call.result, trips, cause, now, dice),
            Self::Open { .. } | Self::HalfOpen { .. } => self,
            Self::Closed { ramp } => self.while_closed(ramp, call, traffic, now, dice),
        }
    }

    /// Broken on purpose until an instant, whatever it was before. It ends like any other: by a probe.
    #[must_use]
    pub const fn drilled(until: Timestamp) -> Self {
        Self::Open {
            retry_at: until,
            trips: 0,
            cause: TripCause::Drill,
        }
    }

    fn while_closed(
        self,
        ramp: Option<Ramp>,
        call: Ended,
        traffic: &Traffic,
        now: Timestamp,
        dice: &mut Dice,
    ) -> Self {
        let ramp = ramp.filter(|ramp| ramp.share(now) < 100);
        let trips = ramp.map_or(1, |ramp| ramp.trips.saturating_add(1));
        if ramp.is_some_and(|ramp| call.began < ramp.since) {
            return self;
        }
        match call.result {
            CallResult::Answered => self,
            CallResult::AuthRefused => Self::open(trips, TripCause::AuthRefused, now, dice),
            CallResult::Failed if ramp.is_some() => Self::open(trips, TripCause::RampFailed, now, dice),
            CallResult::Failed if traffic.failures_in_a_row() >= FAILURES_TO_OPEN => {
                Self::open(trips, TripCause::FailuresInARow, now, dice)
            }
            CallResult::Failed => {
                let lately = traffic.lately(now);
                if lately.calls >= CALLS_FOR_RATE && lately.failed.saturating_mul(2) > lately.calls {
                    return Self::open(trips, TripCause::FailureRate, now, dice);
                }
                self
            }
        }
    }

    /// Up to a fifth longer than the pause, so that nodes and connections do not come back together.
    fn open(trips: u32, cause: TripCause, now: Timestamp, dice: &mut Dice) -> Self {
        let pause = match cause {
            TripCause::AuthRefused => AUTH_PAUSE,
            _ => pause(trips),
        };
        let pause = SignedDuration::from_secs_f64(pause.as_secs_f64() * (1.0 + 0.2 * dice.fraction()));
        Self::Open {
            // What is kept is kept in microseconds.
            retry_at: whole_micros(later(now, pause)),
            trips,
            cause,
        }
    }
}

fn after_probe(result: CallResult, trips: u32, cause: TripCause, now: Timestamp, dice: &mut Dice) -> Breaker {
    let again = trips.saturating_add(1);
    match result {
        CallResult::Answered => Breaker::Closed {
            ramp: Some(Ramp { since: now, trips }),
        },
        CallResult::AuthRefused => Breaker::open(again, TripCause::AuthRefused, now, dice),
        // A drill that ends on a connection that is broken indeed: an opening like any first.
        CallResult::Failed if cause == TripCause::Drill => {
            Breaker::open(1, TripCause::ProbeFailed, now, dice)
        }
        CallResult::Failed => Breaker::open(again, TripCause::ProbeFailed, now, dice),
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

fn whole_micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}
