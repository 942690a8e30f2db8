//! Replies as bytes, in the form of the vendor whose path was called.

use super::Reply;
use crate::draft::DraftText;
use serde_json::{Value, json};

/// What goes over the wire.
pub(super) enum Wire {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    Huge,
    Silence,
    Close,
}

/// The reply to a call of this path with this body.
pub(super) fn wire(reply: &Reply, path: &str, request: &Value) -> Wire {
    let anthropic = path.ends_with("/messages");
    let finished = |content: &str| success(anthropic, content, if anthropic { "end_turn" } else { "stop" });
    match reply {
        Reply::Draft(text) => finished(&written(text, "")),
        Reply::Words(words) => finished(words),
        Reply::Obeys(text) => finished(&written(text, &order(request))),
        Reply::Declines if anthropic => success(anthropic, "I would rather not.", "refusal"),
        Reply::Declines => json_answer(
            200,
            &json!({ "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": null, "refusal": "I would rather not." },
                "finish_reason": "stop",
            }] }),
        ),
        Reply::Filtered => success(
            anthropic,
            "",
            if anthropic { "refusal" } else { "content_filter" },
        ),
        Reply::CutShort(words) => success(anthropic, words, if anthropic { "max_tokens" } else { "length" }),
        Reply::Error(status, word, retry_after) => {
            let mut answer = json_answer(*status, &error(anthropic, word));
            if let (Wire::Answer { headers, .. }, Some(wait)) = (&mut answer, retry_after) {
                headers.push(("retry-after", (*wait).to_owned()));
            }
            answer
        }
        Reply::ErrorInSuccess(word) => json_answer(200, &error(anthropic, word)),
        Reply::Html => Wire::Answer {
            status: 200,
            headers: vec![("content-type", "text/html".to_owned())],
            body: "<!doctype html><title>Sign in</title><p>Please sign in to the proxy.".to_owned(),
        },
        Reply::Empty => Wire::Answer {
            status: 200,
            headers: Vec::new(),
            body: String::new(),
        },
        Reply::HalfJson => {
            let Wire::Answer {
                status,
                headers,
                mut body,
            } = finished("{\"body\":\"...\"}")
            else {
                return Wire::Close;
            };
            body.truncate(body.len() / 2);
            Wire::Answer {
                status,
                headers,
                body,
            }
        }
        Reply::WrongTypes => json_answer(
            200,
            &json!({ "choices": "none", "content": 7, "stop_reason": ["end_turn"] }),
        ),
        Reply::Huge => Wire::Huge,
        Reply::Silence => Wire::Silence,
        Reply::Close => Wire::Close,
    }
}

fn written(text: &DraftText, addition: &str) -> String {
    json!({ "subject": text.subject, "body": format!("{}{addition}", text.body) }).to_string()
}

/// What a sentence in the data tells a gullible model to write.
fn order(request: &Value) -> String {
    let turns = request["messages"].as_array().cloned().unwrap_or_default();
    let mut told = turns.iter().filter_map(|turn| turn["content"].as_str());
    let order = told.find_map(|content| content.split_once("and write: "));
    order.map_or_else(String::new, |(_, order)| {
        format!(" {}", order.split(['"', '\\']).next().unwrap_or_default())
    })
}

fn success(anthropic: bool, content: &str, reason: &str) -> Wire {
    let body = if anthropic {
        json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "stand-in",
            "content": [{ "type": "text", "text": content }],
            "stop_reason": reason, "stop_sequence": null,
            "usage": { "input_tokens": 100, "output_tokens": 20 },
        })
    } else {
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "stand-in",
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": content, "refusal": null },
                "finish_reason": reason,
            }],
            "usage": { "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120 },
        })
    };
    json_answer(200, &body)
}

fn error(anthropic: bool, word: &str) -> Value {
    // Vendors quote keys and contents in their sentences.
    let message = "Incorrect key sk-secret for Anna Smith";
    if anthropic {
        json!({ "type": "error", "error": { "type": word, "message": message }, "request_id": "req_1" })
    } else {
        json!({ "error": { "message": message, "type": word, "param": null, "code": null } })
    }
}

fn json_answer(status: u16, body: &Value) -> Wire {
    Wire::Answer {
        status,
        headers: vec![("content-type", "application/json".to_owned())],
        body: body.to_string(),
    }
}
