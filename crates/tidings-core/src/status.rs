//! What is known of a message, joined from reports in any order and any number.
//!
//! A [`Standing`] is a status with its provenance. Joining takes the greater by a fixed order of knowledge, so the
//! outcome is the same whatever order reports arrive in and however often. What Tidings concluded by itself
//! (`inferred`: failed, suppressed, cancelled) stands below every word of a provider; a provider's `failed` is final but
//! for a bounce.

use crate::event::{DeliveryEvent, DeliveryEventKind};
use crate::message::{MessageStatus, Provenance};
use serde::{Deserialize, Serialize};

/// A status and how it became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Standing {
    /// The status.
    pub status: MessageStatus,
    /// How it became known.
    pub provenance: Provenance,
}

impl Standing {
    /// A status with its provenance.
    pub const fn new(status: MessageStatus, provenance: Provenance) -> Self {
        Self { status, provenance }
    }

    /// What both say together: the greater in the order of knowledge, and of equals the better proven.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        if other.weight() > self.weight() {
            other
        } else {
            self
        }
    }

    /// Position in the order of knowledge; equal only for equal standings.
    const fn weight(self) -> (u8, u8) {
        let proven = match self.provenance {
            Provenance::Inferred => 0,
            Provenance::Poll => 1,
            Provenance::Response => 2,
            Provenance::Webhook => 3,
        };
        let inferred = matches!(self.provenance, Provenance::Inferred);
        let known = match self.status {
            MessageStatus::Pending => 0,
            MessageStatus::Queued => 1,
            MessageStatus::Failed if inferred => 2,
            MessageStatus::Suppressed => 3,
            MessageStatus::Cancelled => 4,
            MessageStatus::Sent => 5,
            MessageStatus::Delivered => 6,
            MessageStatus::Opened => 7,
            MessageStatus::Clicked => 8,
            MessageStatus::Failed => 9,
            MessageStatus::Bounced => 10,
        };
        (known, proven)
    }
}

/// The status an event proves, if it proves one.
pub const fn proves(kind: DeliveryEventKind) -> Option<MessageStatus> {
    match kind {
        DeliveryEventKind::Accepted | DeliveryEventKind::Deferred => Some(MessageStatus::Sent),
        // A prefetcher, a complaint and an answer prove that it arrived, not that a person opened it.
        DeliveryEventKind::Delivered
        | DeliveryEventKind::MachineOpened
        | DeliveryEventKind::Complained
        | DeliveryEventKind::Replied => Some(MessageStatus::Delivered),
        DeliveryEventKind::Opened => Some(MessageStatus::Opened),
        DeliveryEventKind::Clicked => Some(MessageStatus::Clicked),
        DeliveryEventKind::Bounced => Some(MessageStatus::Bounced),
        DeliveryEventKind::Failed => Some(MessageStatus::Failed),
        // About the address, not about this delivery.
        DeliveryEventKind::Unsubscribed | DeliveryEventKind::Resubscribed => None,
    }
}

/// The standing of a delivery after a report. Monotone: any order, any repetition.
pub fn apply(standing: Standing, event: &DeliveryEvent) -> Standing {
    match proves(event.kind) {
        Some(status) => standing.join(Standing::new(status, event.provenance)),
        None => standing,
    }
}

/// The standing of a message that went out by more than one channel or connection: the best of its deliveries, since
/// one that arrived is enough. None where there are no deliveries.
pub fn roll_up(deliveries: impl IntoIterator<Item = Standing>) -> Option<Standing> {
    deliveries
        .into_iter()
        .max_by_key(|standing| (success(standing.status), standing.weight()))
}

/// How far towards the recipient; a delivery still on its way beats one that failed.
const fn success(status: MessageStatus) -> u8 {
    match status {
        MessageStatus::Cancelled => 0,
        MessageStatus::Suppressed => 1,
        MessageStatus::Failed => 2,
        MessageStatus::Bounced => 3,
        MessageStatus::Pending => 4,
        MessageStatus::Queued => 5,
        MessageStatus::Sent => 6,
        MessageStatus::Delivered => 7,
        MessageStatus::Opened => 8,
        MessageStatus::Clicked => 9,
    }
}
