//! Points at which a test may end the process, to prove that nothing is lost or sent twice.
//!
//! Armed only in builds with the feature `fail-points`; otherwise a point costs nothing. A point is armed as `name`
//! (the first time it is passed) or `name@7` (the seventh time). A message is made poison as `poison_panic=ID`: whoever
//! is about to dispatch it ends that way, every time.

#[cfg(feature = "fail-points")]
use std::collections::HashMap;
use std::str::FromStr as _;
#[cfg(feature = "fail-points")]
use std::sync::atomic::{AtomicU64, Ordering};
use tidings_core::MessageId;

/// Every point there is, in the order of the path.
pub const NAMES: &[&str] = &[
    "accept_before_commit",
    "accept_after_commit",
    "claim_after_commit",
    "gate_before_commit",
    "dispatch_after_commit",
    "provider_before_call",
    "provider_after_accept",
    "outcome_before_commit",
    "outcome_after_commit",
    "webhook_before_commit",
    "webhook_after_commit",
    "reconcile_before_commit",
    "reconcile_after_commit",
    "drain_begun",
    "rescue_before_commit",
    "resolve_before_commit",
    "batch_before_commit",
    "campaign_decided_after_commit",
    "campaign_claimed_after_commit",
    "campaign_proposed",
    "campaign_page_after_commit",
];

/// The ways in which a message may be poison: a bug that unwinds, one that overflows the stack, and an end from outside.
const POISONS: &[&str] = &["poison_panic", "poison_overflow", "poison_abort"];

/// The points that are armed in this process.
#[derive(Debug, Default)]
pub struct FailPoints {
    #[cfg(feature = "fail-points")]
    armed: HashMap<String, AtomicU64>,
    #[cfg(feature = "fail-points")]
    poison: HashMap<MessageId, String>,
}

/// A point that does not exist, or cannot be armed in this build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailPointError {
    /// No point has this name.
    #[error("there is no fail point \"{0}\"; use one of {list}, with @N for the N-th time, or {poisons} with =ID of a message", list = NAMES.join(", "), poisons = POISONS.join(", "))]
    Unknown(String),
    /// The build has no fail points.
    #[error("this build has no fail points; build with the feature fail-points")]
    NotBuilt,
}

impl FailPoints {
    /// Arms points by their words.
    pub fn arm(words: &[String]) -> Result<Self, FailPointError> {
        for word in words {
            if let Some((name, id)) = word.split_once('=') {
                if !POISONS.contains(&name) || MessageId::from_str(id).is_err() {
                    return Err(FailPointError::Unknown(word.clone()));
                }
                continue;
            }
            let name = word.split('@').next().unwrap_or(word);
            let times = word
                .split_once('@')
                .map_or(Ok(1), |(_, times)| times.parse::<u64>());
            if !NAMES.contains(&name) || !times.is_ok_and(|times| times > 0) {
                return Err(FailPointError::Unknown(word.clone()));
            }
        }
        Self::armed(words)
    }

    #[cfg(feature = "fail-points")]
    fn armed(words: &[String]) -> Result<Self, FailPointError> {
        let read = |word: &String| {
            let (name, times) = word.split_once('@').unwrap_or((word, "1"));
            (name.to_owned(), AtomicU64::new(times.parse().unwrap_or(1)))
        };
        let poison = |word: &String| {
            let (name, id) = word.split_once('=')?;
            Some((MessageId::from_str(id).ok()?, name.to_owned()))
        };
        Ok(Self {
            armed: words
                .iter()
                .filter(|word| !word.contains('='))
                .map(read)
                .collect(),
            poison: words.iter().filter_map(poison).collect(),
        })
    }

    #[cfg(not(feature = "fail-points"))]
    fn armed(words: &[String]) -> Result<Self, FailPointError> {
        if words.is_empty() {
            Ok(Self::default())
        } else {
            Err(FailPointError::NotBuilt)
        }
    }

    /// Ends the process when the point is armed and its time has come.
    #[cfg(feature = "fail-points")]
    pub(crate) fn pass(&self, name: &str) {
        if let Some(left) = self.armed.get(name)
            && left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            // No unwinding, no flushing: what a power cut leaves.
            std::process::abort();
        }
    }

    #[cfg(not(feature = "fail-points"))]
    #[expect(clippy::unused_self, reason = "the same shape as in builds with fail points")]
    pub(crate) const fn pass(&self, _name: &str) {}

    /// Ends whoever is about to dispatch a message that is poison.
    #[cfg(feature = "fail-points")]
    pub(crate) fn swallow(&self, message: MessageId) {
        match self.poison.get(&message).map(String::as_str) {
            None => {}
            Some("poison_panic") => panic!("the message is poison"),
            Some("poison_overflow") => {
                std::hint::black_box(overflow(1));
            }
            Some(_) => std::process::abort(),
        }
    }

    #[cfg(not(feature = "fail-points"))]
    #[expect(clippy::unused_self, reason = "the same shape as in builds with fail points")]
    pub(crate) const fn swallow(&self, _message: MessageId) {}
}

/// Calls itself until the stack is used up.
#[cfg(feature = "fail-points")]
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 512]);
    if depth == 0 {
        return 0;
    }
    overflow(depth + 1) + frame[(depth % 512) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_points_are_refused() {
        for word in [
            "nowhere",
            "accept_before_commit@0",
            "accept_before_commit@x",
            "poison_panic",
            "poison_panic=bob",
            "poison_tea=0197c0de-0000-7000-8000-000000000000",
        ] {
            assert!(
                matches!(
                    FailPoints::arm(&[word.to_owned()]),
                    Err(FailPointError::Unknown(_))
                ),
                "{word}"
            );
        }
        assert!(FailPoints::arm(&[]).is_ok());
    }
}
