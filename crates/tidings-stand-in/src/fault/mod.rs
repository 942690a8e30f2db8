//! Faults: what goes wrong, with which call.

mod magic;
mod rules;

pub(crate) use magic::{Magic, magic};
pub(crate) use rules::{Call, Rules, Strike, between};
pub use rules::{Rule, RuleState};

use serde::{Deserialize, Serialize};

/// Where a redirect leads unless a rule says otherwise: the metadata service of clouds, which nobody may be led to.
const INTERNAL: &str = "http://169.254.169.254/latest/meta-data/";

/// One way in which a provider misbehaves.
///
/// Faults that a vendor expresses in words of its own (`rate_limited` to `error_in_success`) are answered in the
/// vendor's real shape; the others happen on the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Answers rightly, but late.
    Latency {
        /// At least so many milliseconds.
        min_ms: u64,
        /// At most so many.
        max_ms: u64,
    },
    /// The vendor's 429 (SMTP: 454).
    RateLimited {
        /// `Retry-After`, in seconds, if the answer is to have one.
        #[serde(default)]
        retry_after_s: Option<u32>,
        /// Leaves the vendor's own rate headers out.
        #[serde(default)]
        bare: bool,
    },
    /// The vendor's own 503 (SMTP: 451).
    ServerError,
    /// A 502 whose body is the HTML page of a proxy (SMTP: 421).
    HtmlError,
    /// The key is not accepted, 401 or 403 (SMTP: 535).
    AuthFailure,
    /// The request is called wrong (SMTP: 501).
    InvalidInput,
    /// The recipient does not exist (SMTP: 550 5.1.1).
    NoRecipient,
    /// The recipient has opted out, where the vendor has a word for it; else as `no_recipient`.
    OptedOut,
    /// 200 with the body of an error inside (SMTP: 250).
    ErrorInSuccess,
    /// 302 to an address inside (SMTP: 551).
    Redirect {
        /// Where to.
        #[serde(default = "internal")]
        location: String,
    },
    /// Reads everything, takes nothing, says nothing.
    TimeoutBeforeAccept,
    /// Takes the message and says nothing.
    TimeoutAfterAccept,
    /// Takes the message and closes in an orderly way without an answer.
    HalfClose,
    /// Resets the connection without an answer.
    Reset,
    /// Answers with bytes that are not of the protocol.
    Garbage,
    /// Answers with the right status and a body that means nothing.
    Nonsense,
    /// Answers with a chunk that breaks off.
    TruncatedChunk,
    /// Answers with a byte a second.
    Drip,
    /// Answers with ten mebibytes.
    Huge,
}

fn internal() -> String {
    INTERNAL.to_owned()
}

impl Fault {
    /// Whether the message is taken unless a rule says otherwise.
    pub fn accepts(&self) -> bool {
        match self {
            Self::Latency { .. }
            | Self::TimeoutAfterAccept
            | Self::HalfClose
            | Self::Garbage
            | Self::Nonsense
            | Self::TruncatedChunk
            | Self::Drip
            | Self::Huge => true,
            Self::RateLimited { .. }
            | Self::ServerError
            | Self::HtmlError
            | Self::AuthFailure
            | Self::InvalidInput
            | Self::NoRecipient
            | Self::OptedOut
            | Self::ErrorInSuccess
            | Self::Redirect { .. }
            | Self::TimeoutBeforeAccept
            | Self::Reset => false,
        }
    }
}
