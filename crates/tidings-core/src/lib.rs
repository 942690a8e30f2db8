//! The vocabulary of Tidings and every rule it decides by.
//!
//! This crate touches nothing: no network, database, clock or randomness of its own. Time, dice and
//! identifiers are handed in, so the same rules run live, in `explain`, in a simulation and in tests.

pub mod address;
pub mod alert;
pub mod analytics;
pub mod attempt;
pub mod breaker;
pub mod campaign;
pub mod channel;
pub mod clock;
pub mod crash;
pub mod decide;
pub mod delivery;
pub mod dice;
pub mod event;
pub mod idempotency;
pub mod ids;
pub mod job;
pub mod keyword;
pub mod limit;
pub mod message;
pub mod reconcile;
pub mod redact;
pub mod retry;
pub mod route;
pub mod sms;
pub mod soft_bounce;
pub mod status;
pub mod template_standing;
pub mod time_limit;
pub mod traffic;
pub mod unknown;
pub mod word;
pub mod zone;

pub use address::{Address, EmailAddress, PhoneNumber};
pub use attempt::{AttemptOutcome, DeliveryState, ErrorCategory};
pub use channel::{Channel, ProviderKind};
pub use clock::Clock;
pub use dice::Dice;
pub use ids::*;
pub use jiff::Timestamp;
pub use message::{Category, DecisionStage, MessageStatus, MessageType, Provenance, Urgency, WaitsFor};
pub use template_standing::TemplateStanding;
