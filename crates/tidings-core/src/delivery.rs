//! The state machine of a delivery: which step leads from where to where. A step that is not listed is a mistake or a
//! lost race, and changes nothing.

use crate::attempt::DeliveryState::{
    self, Accepted, Bounced, Delivered, Dispatching, Dropped, Failed, Held, Queued, RetryWait, Stopped,
    Unknown,
};
use crate::word::word_enum;

word_enum! {
    /// What happens to a delivery.
    pub enum DeliveryStep {
        /// The intent is committed; the provider is called next.
        Dispatch = "dispatch",
        /// The provider took it, by answer, lookup or report.
        Accept = "accept",
        /// The provider said no; a later try is planned.
        Retry = "retry",
        /// The provider said no for good, or tries ran out.
        Fail = "fail",
        /// Nobody knows whether it arrived.
        Lose = "lose",
        /// Into the queue again.
        Requeue = "requeue",
        /// A person decides.
        Hold = "hold",
        /// Given up without knowing.
        Drop = "drop",
        /// A rule or a cancellation, before dispatch.
        Stop = "stop",
        /// Reported as delivered, opened or clicked.
        Deliver = "deliver",
        /// Reported as returned.
        Bounce = "bounce",
    }
}

/// The state after the step; none where the step is not allowed.
///
/// From `dispatching` nothing leads back to the queue by itself: only a provider's no (retry) or, through `unknown`, a
/// policy or a person. What a provider reports outranks what Tidings concluded (`unknown`, `held`, `dropped`).
pub const fn step(state: DeliveryState, step: DeliveryStep) -> Option<DeliveryState> {
    use DeliveryStep as Step;
    Some(match (state, step) {
        (Queued | RetryWait, Step::Dispatch) => Dispatching,
        (Queued | RetryWait, Step::Stop) => Stopped,
        (Queued | RetryWait | Unknown | Held, Step::Requeue) => Queued,
        (Dispatching, Step::Retry) => RetryWait,
        // Queued: a repetition that was waiting until the provider no longer recognises it.
        (Queued | Dispatching, Step::Lose) => Unknown,
        (Unknown, Step::Hold) => Held,
        (Unknown | Held, Step::Drop) => Dropped,
        // Reports, in any order: bounced outranks failed, failed delivered, delivered accepted.
        (Dispatching | Unknown | Held | Dropped | Accepted, Step::Accept) => Accepted,
        (Dispatching | Unknown | Held | Dropped | Accepted, Step::Deliver)
        | (Delivered, Step::Accept | Step::Deliver) => Delivered,
        (RetryWait | Dispatching | Unknown | Held | Dropped | Accepted | Delivered, Step::Fail)
        | (Failed, Step::Accept | Step::Deliver | Step::Fail) => Failed,
        (Dispatching | Unknown | Held | Dropped | Accepted | Delivered | Failed, Step::Bounce)
        | (Bounced, Step::Accept | Step::Deliver | Step::Fail | Step::Bounce) => Bounced,
        _ => return None,
    })
}

/// Whether the provider can no longer be called for it.
pub const fn is_settled(state: DeliveryState) -> bool {
    matches!(state, Accepted | Delivered | Bounced | Failed | Dropped | Stopped)
}
