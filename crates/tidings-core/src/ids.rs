//! Identifiers. All are UUID version 7 except jobs, which are `bigint` rows of `communication_jobs`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }
    )+};
}

id! {
    /// A company whose customers are written to.
    TenantId,
    /// A person of a tenant who can be reached.
    ContactId,
    /// One way to reach a contact on a channel.
    AddressId,
    /// One communication to one contact.
    MessageId,
    /// A message on its way over one channel.
    DeliveryId,
    /// One try to deliver over one connection.
    AttemptId,
    /// A tenant's account at a provider.
    ConnectionId,
    /// One alert, from its raising to its end.
    AlertId,
    /// One version of a template.
    TemplateId,
    /// A recorded verdict of the rules.
    DecisionId,
    /// An entry of the event log.
    EventId,
    /// A delivery event reported by a provider, recipient or poll.
    DeliveryEventId,
    /// A group of low-urgency messages sent as one.
    BatchId,
    /// An API key.
    ApiKeyId,
    /// One look of a campaign at its source.
    CampaignRunId,
    /// A recorded consent.
    ConsentId,
    /// An address that must not be written to.
    SuppressionId,
    /// A running process of Tidings.
    NodeId,
}

/// A row of `communication_jobs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
