//! Rule 8: messages that need a person's yes.

use super::{Facts, Policy, ReasonCode, Remark};
use jiff::{SignedDuration, Timestamp};

/// Whether a person is asked.
pub(super) enum Approval {
    /// No need, or already given.
    Clear(Remark),
    /// A person must say yes before the instant.
    Ask(Timestamp, Remark),
}

pub(super) fn check(facts: &Facts, policy: &Policy, now: Timestamp) -> Approval {
    let request = &facts.request;
    let needed = policy.approval_all || policy.approval_types.contains(&request.message_type);
    // Nobody is asked about what can no longer go.
    if !needed || request.expires_at.is_some_and(|at| at < now) {
        return Approval::Clear(Remark::new(
            ReasonCode::ApprovalNotNeeded,
            "Nobody needs to approve this message.",
        ));
    }
    if request.approved {
        return Approval::Clear(Remark::new(
            ReasonCode::ApprovalGiven,
            "A person approved this message.",
        ));
    }
    let wait = SignedDuration::from_hours(i64::from(policy.approval_expires_hours));
    let longest = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
    let until = request.expires_at.map_or(longest, |at| at.min(longest));
    Approval::Ask(
        until,
        Remark::new(
            ReasonCode::ApprovalNeeded,
            format!("A person must approve this message before {until}."),
        ),
    )
}
