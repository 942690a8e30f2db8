//! The way out, handed in: one POST of JSON, with bounds.

use async_trait::async_trait;
use secrecy::SecretString;
use std::fmt;
use std::time::Duration;

/// Makes one call. The engine implements it over the egress client, tests over a stand-in.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Posts the body and reads the answer: nothing is repeated, no redirect is followed, and no more than
    /// [`ModelCall::max_body_bytes`] of the answer are kept. It should end within [`ModelCall::timeout`]; the caller
    /// stops waiting then in any case.
    async fn post_json(&self, call: ModelCall) -> Result<ModelAnswer, TransportError>;
}

/// A call to a model's endpoint. The content type is `application/json`.
#[derive(Clone)]
pub struct ModelCall {
    /// Where to.
    pub url: String,
    /// Further headers, names in lower case. The values are secret: keep them out of logs.
    pub headers: Vec<(&'static str, SecretString)>,
    /// The body, JSON. It holds personal data.
    pub body: Vec<u8>,
    /// How long the call may take, the answer's body included.
    pub timeout: Duration,
    /// How much of the answer is read.
    pub max_body_bytes: usize,
}

impl fmt::Debug for ModelCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelCall")
            .field("url", &self.url)
            .field("body_bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .field("max_body_bytes", &self.max_body_bytes)
            .finish_non_exhaustive()
    }
}

/// An answer, perhaps cut.
#[derive(Clone)]
pub struct ModelAnswer {
    /// HTTP status.
    pub status: u16,
    /// Headers. `retry-after`, `retry-after-ms` and `date` are read.
    pub headers: Vec<(String, String)>,
    /// The body, at most as long as the call allowed.
    pub body: Vec<u8>,
    /// The body was longer than allowed, or broke off.
    pub cut: bool,
}

impl ModelAnswer {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

impl fmt::Debug for ModelAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelAnswer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .field("cut", &self.cut)
            .finish_non_exhaustive()
    }
}

/// Why there is no answer. The texts hold no personal data and no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The operator does not allow this address: a matter of configuration.
    #[error("the address of the model is not allowed: {0}")]
    Forbidden(String),
    /// No connection to the model.
    #[error("the model cannot be reached: {0}")]
    NotSent(String),
    /// The connection broke off before an answer came.
    #[error("the model did not answer: {0}")]
    Broken(String),
    /// No answer within the limit.
    #[error("the model did not answer in time")]
    TimedOut,
}
