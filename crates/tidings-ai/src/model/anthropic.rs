//! `POST {base}/v1/messages`.

use super::failure::{cut_short, declined, unreadable};
use super::{Completion, Conversation, ModelFailure, Usage};
use crate::settings::ModelSettings;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

/// The form of the interface this file speaks.
const VERSION: &str = "2023-06-01";

pub(super) fn request(
    settings: &ModelSettings,
    conversation: &Conversation,
) -> (&'static str, Vec<(&'static str, SecretString)>, Value) {
    let turns = conversation
        .turns
        .iter()
        .map(|(role, text)| json!({ "role": role.as_str(), "content": text }));
    let mut body = json!({
        "model": settings.model(),
        "max_tokens": settings.max_output_tokens(),
        "system": conversation.system,
        "messages": turns.collect::<Vec<_>>(),
    });
    if let Some(temperature) = settings.temperature() {
        // The vendor's scale ends at 1.
        body["temperature"] = json!(temperature.min(1.0));
    }
    let key = settings.api_key().map(|key| ("x-api-key", key.clone()));
    let version = ("anthropic-version", SecretString::from(VERSION));
    // People give the base with and without the version.
    let path = if settings.endpoint("").ends_with("/v1") {
        "/messages"
    } else {
        "/v1/messages"
    };
    (path, key.into_iter().chain([version]).collect(), body)
}

#[derive(Deserialize)]
struct Answer {
    content: Vec<Block>,
    stop_reason: Option<String>,
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    input_tokens: u64,
    output_tokens: u64,
}

pub(super) fn read(body: &[u8]) -> Result<Completion, ModelFailure> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| unreadable())?;
    match answer.stop_reason.as_deref() {
        Some("end_turn" | "stop_sequence") => {}
        Some("max_tokens" | "model_context_window_exceeded") => return Err(cut_short()),
        Some("refusal") => return Err(declined()),
        _ => return Err(unreadable()),
    }
    let texts = answer.content.into_iter().filter(|block| block.kind == "text");
    let content: String = texts.filter_map(|block| block.text).collect();
    if content.trim().is_empty() {
        return Err(unreadable());
    }
    let tokens = answer.usage.unwrap_or_default();
    let usage = Usage {
        input_tokens: tokens.input_tokens,
        output_tokens: tokens.output_tokens,
    };
    Ok(Completion { content, usage })
}
