//! Attempts: one call to one connection, and the state machine of a delivery around it.

use crate::word::word_enum;

/// The code of an attempt whose call was called off before it was made: its turn under a rate limit had passed. Nobody was
/// called, so it is no call in any figure.
pub const HELD_BACK: &str = "held_back";

word_enum! {
    /// What is known of one call to a provider.
    pub enum AttemptOutcome {
        /// Committed before the first byte leaves.
        Intended = "intended",
        /// The provider took the message.
        Accepted = "accepted",
        /// The provider said no.
        Rejected = "rejected",
        /// The request may or may not have arrived. Never resent silently.
        Unknown = "unknown",
    }
}

word_enum! {
    /// Why a call failed; decides what happens next.
    pub enum ErrorCategory {
        /// Retry with back-off; may fail over.
        Transient = "transient",
        /// Recipient or policy; no retry.
        Permanent = "permanent",
        /// Retry when the window opens; does not count as a try.
        RateLimit = "rate_limit",
        /// Account, credential or configuration: alert, stop using the connection, wait.
        AuthFailure = "auth_failure",
        /// The request or template is wrong; no retry.
        InvalidInput = "invalid_input",
    }
}

word_enum! {
    /// Where a delivery stands. Only an expired `claimed` is queued again by itself.
    pub enum DeliveryState {
        /// Waits for its job.
        Queued = "queued",
        /// Intent committed; the provider may have been called.
        Dispatching = "dispatching",
        /// The provider said no, and a later try is planned.
        RetryWait = "retry_wait",
        /// The provider took it.
        Accepted = "accepted",
        /// Delivered, or further (opened, clicked).
        Delivered = "delivered",
        /// Bounced after acceptance.
        Bounced = "bounced",
        /// The provider said no for good, or tries ran out.
        Failed = "failed",
        /// Timed out after the request was written, or the worker died.
        Unknown = "unknown",
        /// Unknown, and waits for a person.
        Held = "held",
        /// Given up by policy or by a person; never resent.
        Dropped = "dropped",
        /// A rule or a cancellation stopped it before dispatch.
        Stopped = "stopped",
    }
}
