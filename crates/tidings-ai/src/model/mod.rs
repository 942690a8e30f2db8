//! One turn with a model: a conversation in, its words out. Both vendors' forms.

mod anthropic;
mod failure;
mod openai;

pub use failure::ModelFailure;

use crate::settings::{ModelKind, ModelSettings};
use crate::transport::{ModelAnswer, ModelCall, Transport};
use std::time::Duration;
use tidings_core::ErrorCategory;

/// A finished answer of some hundred words is far smaller.
const LONGEST_ANSWER_BYTES: usize = 256 * 1024;

/// Tokens, as the endpoint counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Read.
    pub input_tokens: u64,
    /// Written.
    pub output_tokens: u64,
}

impl Usage {
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
        }
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// We.
    User,
    /// The model.
    Assistant,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// A system prompt and the turns so far.
#[derive(Clone)]
pub(crate) struct Conversation {
    pub system: String,
    pub turns: Vec<(Role, String)>,
}

/// What the model wrote, complete.
pub(crate) struct Completion {
    pub content: String,
    pub usage: Usage,
}

/// Classes an endpoint's answer by its status and the words of its error; nothing for one that may hold a text.
pub fn classify(kind: ModelKind, answer: &ModelAnswer) -> Option<ModelFailure> {
    failure::of_answer(kind, answer)
}

/// Asks for the next turn, within the settings' limit or what is left of the draft's.
pub(crate) async fn complete(
    transport: &dyn Transport,
    settings: &ModelSettings,
    conversation: &Conversation,
    left: Duration,
) -> Result<Completion, ModelFailure> {
    let (path, headers, body) = match settings.kind() {
        ModelKind::Openai => openai::request(settings, conversation),
        ModelKind::Anthropic => anthropic::request(settings, conversation),
    };
    let timeout = settings.timeout().min(left);
    let call = ModelCall {
        url: settings.endpoint(path),
        headers,
        body: body.to_string().into_bytes(),
        timeout,
        max_body_bytes: LONGEST_ANSWER_BYTES,
    };
    // The transport has the limit too; whoever wrote it, nothing waits longer.
    let answer = match tokio::time::timeout(timeout, transport.post_json(call)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(ModelFailure::of_transport(&error)),
        Err(_) => return Err(ModelFailure::timed_out()),
    };
    if let Some(failure) = failure::of_answer(settings.kind(), &answer) {
        return Err(failure);
    }
    if answer.cut || answer.body.len() > LONGEST_ANSWER_BYTES {
        return Err(ModelFailure::new(
            ErrorCategory::Transient,
            "answer_cut",
            "the answer was larger than 256 KiB, or broke off",
        ));
    }
    match settings.kind() {
        ModelKind::Openai => openai::read(&answer.body),
        ModelKind::Anthropic => anthropic::read(&answer.body),
    }
}
