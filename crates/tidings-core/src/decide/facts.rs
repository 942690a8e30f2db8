//! What the rules need to know of a message, its contact and its tenant: loaded in one round trip.

use crate::channel::Channel;
use crate::ids::MessageId;
use crate::message::{Category, MessageType, Urgency};
use jiff::Timestamp;
use jiff::civil::Time;
use serde::{Deserialize, Serialize};

/// Everything a rule may look at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// The request, reduced to what rules need.
    pub request: RequestFacts,
    /// The contact.
    pub contact: ContactFacts,
    /// One entry a channel the contact has an address on (at most one: the primary, else the oldest valid).
    pub addresses: Vec<AddressFacts>,
    /// Consents in force for this contact, newest per (channel, purpose).
    pub consents: Vec<ConsentFacts>,
    /// What was sent, or is about to be, inside the longest cap window.
    pub history: HistoryFacts,
    /// Channels with at least one enabled connection.
    pub connected_channels: Vec<Channel>,
}

/// The request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestFacts {
    /// Its type.
    pub message_type: MessageType,
    /// Its category.
    pub category: Category,
    /// Its urgency; `payload.urgent = true` has already made it critical.
    pub urgency: Urgency,
    /// The channel asked for.
    pub channel: Option<Channel>,
    /// Channels that can carry the content (a published template or direct content exists for them).
    pub renderable_channels: Vec<Channel>,
    /// Not before.
    pub send_at: Option<Timestamp>,
    /// Not after.
    pub expires_at: Option<Timestamp>,
    /// The earlier message with the same source reference or idempotency key.
    pub duplicate_of: Option<MessageId>,
    /// A person has already approved it.
    pub approved: bool,
    /// A batch has already gathered it.
    pub batched: bool,
    /// It is a bump-up (never by e-mail).
    pub bump_up: bool,
    /// An approved WhatsApp template exists for it.
    pub whatsapp_template: bool,
}

/// The contact.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContactFacts {
    /// IANA zone name as stored; may be unknown or wrong.
    pub zone: Option<String>,
    /// ISO 3166 alpha-2 country, for legal floors.
    pub country: Option<String>,
    /// Preferred channels, best first.
    pub preferred_channels: Vec<Channel>,
    /// Channels opted out of by preference (`opt_out_*`): stop marketing and service, not transactional.
    pub opted_out: Vec<Channel>,
    /// Channels stopped by STOP or an equivalent: nothing at all goes there.
    pub stopped: Vec<Channel>,
    /// The contact's own quiet hours (start inclusive, end exclusive, may cross midnight).
    pub quiet_hours: Vec<Window>,
    /// No marketing or service before this instant.
    pub paused_until: Option<Timestamp>,
    /// The last message the contact sent us on WhatsApp.
    pub last_whatsapp_inbound_at: Option<Timestamp>,
    /// The contact was erased.
    pub erased: bool,
}

/// One address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AddressFacts {
    /// The channel.
    pub channel: Channel,
    /// Parsed and valid in form.
    pub valid: bool,
    /// Known bad: why (a hard bounce, a provider's word).
    pub known_bad: Option<String>,
    /// Suppressed: why, one reason each.
    pub suppressions: Vec<SuppressionFacts>,
}

/// A suppression in force on an address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SuppressionFacts {
    /// Why.
    pub reason: SuppressionReason,
    /// Since when.
    pub since: Timestamp,
    /// Until when; none until it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

crate::word::word_enum! {
    /// Why an address must not be written to.
    pub enum SuppressionReason {
        /// The mailbox or number does not exist.
        HardBounce = "hard_bounce",
        /// The recipient called a message spam.
        Complaint = "complaint",
        /// The recipient unsubscribed (marketing and service only).
        Unsubscribe = "unsubscribe",
        /// The recipient sent STOP (everything on the channel).
        Stop = "stop",
        /// An operator entered it.
        Manual = "manual",
        /// The contact was erased.
        Erased = "erased",
        /// Soft bounces added up; ends by itself.
        SoftBounce = "soft_bounce",
    }
}

/// A consent in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsentFacts {
    /// For which channel; none means every channel.
    pub channel: Option<Channel>,
    /// For which category.
    pub purpose: Category,
    /// Given, or withdrawn.
    pub granted: bool,
    /// When.
    pub at: Timestamp,
}

/// What went before.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HistoryFacts {
    /// Send instants of other messages to this contact inside the longest cap window, sent or planned (held messages
    /// have no plan and are not listed; the message itself is not either). At the gate: only those dispatched.
    pub sent: Vec<(Category, Timestamp)>,
    /// When the last other message of any category went out to the contact.
    pub last_sent_at: Option<Timestamp>,
    /// Messages in the open batch of the same contact and channel, oldest first.
    pub open_batch: Option<OpenBatch>,
    /// When the newest other batch of this contact went out, or is planned to.
    pub last_batch_at: Option<Timestamp>,
}

/// A batch that still gathers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenBatch {
    /// Its channel.
    pub channel: Channel,
    /// How many messages it holds.
    pub size: u32,
    /// When the first was put in.
    pub opened_at: Timestamp,
}

/// A window of the local day; start inclusive, end exclusive; may cross midnight. Where start and end are equal,
/// a quiet window is empty and an open window (business hours, legal hours) is the whole day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First quiet or open minute.
    pub start: Time,
    /// First minute after it.
    pub end: Time,
}
