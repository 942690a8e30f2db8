//! Points at which a test may end the process, to prove that nothing is lost or sent twice.
//!
//! Armed only in builds with the feature `fail-points`; otherwise a point costs nothing. A point is armed as `name`
//! (the first time it is passed) or `name@7` (the seventh time).

#[cfg(feature = "fail-points")]
use std::collections::HashMap;
#[cfg(feature = "fail-points")]
use std::sync::atomic::{AtomicU64, Ordering};

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
    "rescue_before_commit",
    "resolve_before_commit",
    "batch_before_commit",
    "campaign_decided_after_commit",
    "campaign_claimed_after_commit",
    "campaign_proposed",
    "campaign_page_after_commit",
];

/// The points that are armed in this process.
#[derive(Debug, Default)]
pub struct FailPoints {
    #[cfg(feature = "fail-points")]
    armed: HashMap<String, AtomicU64>,
}

/// A point that does not exist, or cannot be armed in this build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailPointError {
    /// No point has this name.
    #[error("there is no fail point \"{0}\"; use one of {list}, with @N for the N-th time", list = NAMES.join(", "))]
    Unknown(String),
    /// The build has no fail points.
    #[error("this build has no fail points; build with the feature fail-points")]
    NotBuilt,
}

impl FailPoints {
    /// Arms points by their words.
    pub fn arm(words: &[String]) -> Result<Self, FailPointError> {
        for word in words {
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
        Ok(Self {
            armed: words.iter().map(read).collect(),
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_points_are_refused() {
        for word in ["nowhere", "accept_before_commit@0", "accept_before_commit@x"] {
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
