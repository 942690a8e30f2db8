//! What providers, recipients and polls report after an attempt.

use crate::message::Provenance;
use crate::word::word_enum;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

word_enum! {
    /// The kind of a delivery event.
    pub enum DeliveryEventKind {
        /// The provider took it (again): `processed`, `queued`, `sent` to the carrier.
        Accepted = "accepted",
        /// The provider is still trying.
        Deferred = "deferred",
        /// It arrived.
        Delivered = "delivered",
        /// A person opened it.
        Opened = "opened",
        /// A scanner or prefetcher opened it; not engagement.
        MachineOpened = "machine_opened",
        /// A link was clicked.
        Clicked = "clicked",
        /// Returned; the class says whether the address is bad.
        Bounced = "bounced",
        /// The provider gave it up before sending.
        Failed = "failed",
        /// The recipient called it spam.
        Complained = "complained",
        /// The recipient unsubscribed.
        Unsubscribed = "unsubscribed",
        /// The recipient subscribed again.
        Resubscribed = "resubscribed",
        /// The recipient answered.
        Replied = "replied",
    }
}

word_enum! {
    /// What a bounce says about the address.
    pub enum BounceClass {
        /// Stop using the address.
        Hard = "hard",
        /// Keep it; count.
        Soft = "soft",
        /// Policy or reputation; the address is fine.
        Block = "block",
    }
}

/// One report about one delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryEvent {
    /// What happened.
    pub kind: DeliveryEventKind,
    /// When it happened, by the reporter.
    pub occurred_at: Timestamp,
    /// How it became known.
    pub provenance: Provenance,
    /// Set for `bounced`.
    pub bounce_class: Option<BounceClass>,
}
