//! Drafts of lifecycle messages by a language model, and the checks a draft must pass. It never sends.
//!
//! [`draft`] asks a model for a text, with the facts of one row as data, and checks every figure, date, link and
//! name of the answer against them ([`check`]). A text that does not pass is a [`DraftRefused`] with a reason, and
//! the caller sends the template instead. The crate opens no connection of its own: a [`Transport`] is handed in,
//! which the engine implements over the product's one egress client.

mod answer;
pub mod check;
pub mod draft;
pub mod facts;
pub mod figure;
pub mod model;
pub mod prompt;
pub mod request;
pub mod settings;
#[cfg(any(test, feature = "test-support"))]
pub mod stand_in;
#[cfg(test)]
mod tests;
pub mod transport;

pub use check::{Check, Finding, FindingCode, check};
pub use draft::{Draft, DraftRefused, DraftText, RefusalReason, draft};
pub use facts::{Fact, Facts, FactsError};
pub use figure::Figure;
pub use model::{ModelFailure, Usage, classify};
pub use prompt::prompt;
pub use request::{Base, BaseRole, Brand, DraftRequest, Limits};
pub use settings::{GivenModelSettings, ModelKind, ModelSettings, ModelSettingsError};
pub use transport::{ModelAnswer, ModelCall, Transport, TransportError};
