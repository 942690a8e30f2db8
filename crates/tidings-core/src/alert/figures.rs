//! What the rules look at: figures of one tenant over a window, without a name or address in them.

use crate::breaker::BreakerState;
use crate::channel::{Channel, ProviderKind};
use crate::ids::ConnectionId;
use jiff::{SignedDuration, Timestamp};

/// The figures of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Its enabled connections.
    pub connections: Vec<ConnectionHealth>,
    /// Calls and deliveries of the window, by provider; providers without any are left out.
    pub providers: Vec<ProviderFigures>,
    /// Mail that had a day to be opened, by provider; none where this round did not look.
    pub opens: Option<Vec<OpenFigures>>,
    /// Jobs given up within the window, those of the notifiers themselves left out.
    pub new_dead_letters: u64,
    /// Unknown outcomes that wait for a person.
    pub held_unknown: u64,
    /// Campaigns whose newest run has failed, or fails.
    pub failing_runs: Vec<RunHealth>,
    /// How long the oldest due job has been waiting.
    pub queue_age: Option<SignedDuration>,
}

/// A connection, as far as alerts go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionHealth {
    /// Its id.
    pub id: ConnectionId,
    /// Its channel.
    pub channel: Channel,
    /// Its provider.
    pub provider: ProviderKind,
    /// Its breaker.
    pub breaker: BreakerState,
    /// When its credentials were last refused, within the window.
    pub refused_at: Option<Timestamp>,
    /// When a call was last taken, within the window.
    pub taken_at: Option<Timestamp>,
}

/// Calls to a provider and what became of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderFigures {
    /// The provider.
    pub provider: ProviderKind,
    /// Calls that ended.
    pub calls: u64,
    /// Of those: refused for another reason than the recipient, or without an answer.
    pub errors: u64,
    /// Of those: a second or later call for the same delivery.
    pub repeated: u64,
    /// Deliveries that the provider took and nothing bad was heard of.
    pub reached: u64,
    /// Deliveries that bounced or failed for good.
    pub lost: u64,
}

/// Mail over a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFigures {
    /// The provider.
    pub provider: ProviderKind,
    /// Mails whose opens are tracked.
    pub mails: u64,
    /// Those that a person opened.
    pub opened: u64,
}

/// A campaign whose source cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunHealth {
    /// The campaign.
    pub campaign: String,
    /// Failed tries of its newest run.
    pub tries: u32,
    /// The run was given up.
    pub given_up: bool,
}
