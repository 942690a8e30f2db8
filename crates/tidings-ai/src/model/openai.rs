//! `POST {base}/chat/completions`.

use super::failure::{cut_short, declined, unreadable};
use super::{Completion, Conversation, ModelFailure, Usage};
use crate::settings::ModelSettings;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn request(
    settings: &ModelSettings,
    conversation: &Conversation,
) -> (&'static str, Vec<(&'static str, SecretString)>, Value) {
    let system = [json!({ "role": "system", "content": conversation.system })];
    let turns = conversation
        .turns
        .iter()
        .map(|(role, text)| json!({ "role": role.as_str(), "content": text }));
    let mut body = json!({
        "model": settings.model(),
        "messages": system.into_iter().chain(turns).collect::<Vec<_>>(),
        "stream": false,
    });
    // OpenAI's newer models refuse the old name, most compatible servers do not know the new one.
    let limit = if settings.is_openai_itself() {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    body[limit] = json!(settings.max_output_tokens());
    if let Some(temperature) = settings.temperature() {
        body["temperature"] = json!(temperature);
    }
    if settings.json_mode() {
        body["response_format"] = json!({ "type": "json_object" });
    }
    let bearer = settings.api_key().map(|key| {
        let value = format!("Bearer {}", key.expose_secret());
        ("authorization", SecretString::from(value))
    });
    ("/chat/completions", bearer.into_iter().collect(), body)
}

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Content>,
    refusal: Option<String>,
}

/// Some compatible servers answer in parts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    prompt_tokens: u64,
    completion_tokens: u64,
}

pub(super) fn read(body: &[u8]) -> Result<Completion, ModelFailure> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| unreadable())?;
    let choice = answer.choices.into_iter().next().ok_or_else(unreadable)?;
    if choice.message.refusal.is_some_and(|words| !words.is_empty()) {
        return Err(declined());
    }
    match choice.finish_reason.as_deref() {
        // Some local servers leave the reason out, or empty.
        None | Some("stop" | "" | "eos") => {}
        Some("length") => return Err(cut_short()),
        Some("content_filter" | "refusal") => return Err(declined()),
        Some(_) => return Err(unreadable()),
    }
    let content = match choice.message.content {
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => parts.into_iter().map(|part| part.text).collect(),
        None => String::new(),
    };
    if content.trim().is_empty() {
        return Err(unreadable());
    }
    let tokens = answer.usage.unwrap_or_default();
    let usage = Usage {
        input_tokens: tokens.prompt_tokens,
        output_tokens: tokens.completion_tokens,
    };
    Ok(Completion { content, usage })
}
