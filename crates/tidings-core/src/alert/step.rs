//! From a verdict to what is done: raised once, resolved once, and not before it has been well for a while.

use super::AlertRule;
use super::assess::Verdict;
use jiff::{SignedDuration, Timestamp};

/// The longest a tenant may have an alert held, in seconds.
pub const HOLD_MAX_S: u32 = 86_400;

/// A rate nobody can tell for so long is no alert any more.
pub const LAPSE: SignedDuration = SignedDuration::from_hours(6);

/// What is done about one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// An alert is opened.
    Raise,
    /// The open alert still holds.
    Seen,
    /// The open alert is over.
    Resolve,
}

/// What follows from a verdict. `open_seen`: when the alert that is open was last seen to hold; none: no alert is open.
pub fn step(
    rule: AlertRule,
    open_seen: Option<Timestamp>,
    verdict: &Verdict,
    hold: SignedDuration,
    now: Timestamp,
) -> Step {
    let Some(seen) = open_seen else {
        return match verdict {
            Verdict::Bad(_) => Step::Raise,
            Verdict::Good | Verdict::Unclear => Step::Nothing,
        };
    };
    let quiet = now.duration_since(seen);
    match verdict {
        Verdict::Bad(_) => Step::Seen,
        Verdict::Good if quiet >= hold => Step::Resolve,
        Verdict::Unclear if rule.lapses() && quiet >= LAPSE.max(hold) => Step::Resolve,
        Verdict::Good | Verdict::Unclear => Step::Nothing,
    }
}
