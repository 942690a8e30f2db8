//! The JSON of a message, and the answer to it.

use super::settings::WhatsappCloudSettings;
use crate::contract::{
    ButtonKind, Content, Media, MediaSource, Signal, Submission, WhatsappButton, WhatsappHeader,
    WhatsappTemplate,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The longest text, in characters.
const LONGEST_TEXT: usize = 4_096;
/// The longest caption, in characters.
const LONGEST_CAPTION: usize = 1_024;
/// The longest value of a template, in characters.
const LONGEST_VALUE: usize = 1_024;
/// The most values of a template's body, and the most buttons.
const MOST_VALUES: usize = 100;
const MOST_BUTTONS: usize = 10;

/// What Meta answers to a message it took.
#[derive(Deserialize)]
struct Taken {
    messages: Vec<TakenMessage>,
}

#[derive(Deserialize)]
struct TakenMessage {
    id: String,
}

/// The id in a success; none where there is none to read. `message_status` (`accepted`, `held_for_quality_assessment`,
/// `paused`) changes nothing: the message is with Meta, and a status webhook tells how it ends.
pub fn message_id(body: &[u8]) -> Option<String> {
    let taken: Taken = serde_json::from_slice(body).ok()?;
    let id = taken.messages.into_iter().next()?.id;
    let plain = (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    plain.then_some(id)
}

/// The request; the error says why there is none.
pub fn message(submission: &Submission, settings: &WhatsappCloudSettings) -> Result<Value, String> {
    let (kind, part) = match submission.content.expose() {
        Content::Email(_) => return Err("WhatsApp carries no e-mails".to_owned()),
        Content::Text { body } => {
            check("the text", body, LONGEST_TEXT)?;
            (
                "text",
                json!({ "body": body, "preview_url": settings.preview_url }),
            )
        }
        Content::WhatsappTemplate(of) => ("template", template(of)?),
        Content::Media(of) => (of.kind.as_str(), media(of, true)?),
    };
    let mut request = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": submission.to.expose().as_str(),
        "type": kind,
        "biz_opaque_callback_data": submission.reference,
    });
    request[kind] = part;
    Ok(request)
}

/// The request of a signal; typing marks the message as read as well.
pub fn signal(signal: &Signal) -> Value {
    let (Signal::Read { provider_message_id } | Signal::Typing { provider_message_id }) = signal;
    let mut request = json!({
        "messaging_product": "whatsapp",
        "status": "read",
        "message_id": provider_message_id,
    });
    if matches!(signal, Signal::Typing { .. }) {
        request["typing_indicator"] = json!({ "type": "text" });
    }
    request
}

fn template(of: &WhatsappTemplate) -> Result<Value, String> {
    let name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    if of.name.is_empty() || of.name.len() > 512 || !of.name.bytes().all(name) {
        return Err("a template's name has lower-case letters, digits and _ only".to_owned());
    }
    if of.body.len() > MOST_VALUES || of.buttons.len() > MOST_BUTTONS {
        return Err(format!(
            "a template takes {MOST_VALUES} values and {MOST_BUTTONS} buttons at most"
        ));
    }
    let mut components = Vec::new();
    if let Some(header) = &of.header {
        components.push(json!({ "type": "header", "parameters": [header_value(header)?] }));
    }
    if !of.body.is_empty() {
        let values: Result<Vec<Value>, String> = of.body.iter().map(|value| text_value(value)).collect();
        components.push(json!({ "type": "body", "parameters": values? }));
    }
    for button in &of.buttons {
        components.push(button_value(button)?);
    }
    // The policy has one value, and Meta's document asks for it.
    let language = json!({ "policy": "deterministic", "code": of.language });
    let mut template = json!({ "name": of.name, "language": language });
    if !components.is_empty() {
        template["components"] = Value::Array(components);
    }
    Ok(template)
}

/// A value in running text. Meta refuses line breaks, tabs and five blanks in a row.
fn text_value(value: &str) -> Result<Value, String> {
    check("a template's value", value, LONGEST_VALUE)?;
    let plain = !value.contains(['\n', '\r', '\t']) && !value.contains("     ");
    if !plain {
        return Err(
            "a template's value holds a line break, a tab or more than four blanks in a row".to_owned(),
        );
    }
    Ok(json!({ "type": "text", "text": value }))
}

fn header_value(header: &WhatsappHeader) -> Result<Value, String> {
    match header {
        WhatsappHeader::Text(text) => text_value(text),
        WhatsappHeader::Media(file) => {
            let kind = file.kind.as_str();
            let mut value = Map::new();
            value.insert("type".to_owned(), json!(kind));
            value.insert(kind.to_owned(), media(file, false)?);
            Ok(Value::Object(value))
        }
    }
}

fn button_value(button: &WhatsappButton) -> Result<Value, String> {
    check("a button's value", &button.value, LONGEST_VALUE)?;
    let (kind, parameter) = match button.kind {
        ButtonKind::QuickReply => (
            "quick_reply",
            json!({ "type": "payload", "payload": button.value }),
        ),
        ButtonKind::Url => ("url", json!({ "type": "text", "text": button.value })),
        ButtonKind::CopyCode => (
            "copy_code",
            json!({ "type": "coupon_code", "coupon_code": button.value }),
        ),
    };
    Ok(json!({
        "type": "button", "sub_type": kind, "index": button.index.to_string(), "parameters": [parameter]
    }))
}

fn media(file: &Media, with_caption: bool) -> Result<Value, String> {
    use crate::contract::MediaKind;
    let mut value = match &file.source {
        MediaSource::Id(id) => {
            check("a media id", id, 256)?;
            json!({ "id": id })
        }
        MediaSource::Link(link) => {
            let https = url::Url::parse(link).is_ok_and(|url| url.scheme() == "https");
            if !https || link.len() > 2_048 {
                return Err("a media link must be an https URL of at most 2048 characters".to_owned());
            }
            json!({ "link": link })
        }
    };
    if let Some(caption) = file.caption.as_deref().filter(|_| with_caption) {
        if file.kind == MediaKind::Audio {
            return Err("audio has no caption".to_owned());
        }
        check("a caption", caption, LONGEST_CAPTION)?;
        value["caption"] = json!(caption);
    }
    if let Some(filename) = file
        .filename
        .as_deref()
        .filter(|_| file.kind == MediaKind::Document)
    {
        check("a file name", filename, 240)?;
        value["filename"] = json!(filename);
    }
    Ok(value)
}

fn check(what: &str, text: &str, most: usize) -> Result<(), String> {
    let count = text.chars().count();
    if count == 0 || count > most {
        return Err(format!("{what} needs 1 to {most} characters; it has {count}"));
    }
    if text.contains('\0') {
        return Err(format!("{what} holds a NUL character"));
    }
    Ok(())
}
