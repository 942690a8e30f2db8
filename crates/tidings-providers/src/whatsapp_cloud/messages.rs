//! Messages from users, of every type.

use super::webhook::{instant, list, number, text, user_id};
use crate::contract::{InboundMedia, InboundMessage, UserLink, WebhookParsed, WhatsappInbound};
use serde_json::Value;
use tidings_core::Channel;
use tidings_core::redact::Private;

/// The longest text kept, in characters; WhatsApp's own bound is 4,096, of a caption 1,024.
const LONGEST_TEXT: usize = 65_536;

/// The longest payload kept, in bytes.
const LONGEST_PAYLOAD: usize = 16 * 1024;

/// What a message of some type comes to.
#[derive(Default)]
struct Said {
    text: String,
    payload: Option<String>,
    media: Vec<InboundMedia>,
    in_reply_to: Option<String>,
    /// Nothing a person wrote as an answer.
    automatic: bool,
    /// A notice of WhatsApp, not of the user.
    notice: bool,
}

/// Reads a message; the error says why it was skipped.
pub fn read(element: &Value, value: &Value, parsed: &mut WebhookParsed) -> Result<(), String> {
    let id = text(element, "id")
        .filter(|id| id.len() <= 500)
        .ok_or("a message without an id")?;
    let phone = text(element, "from").and_then(number);
    let user = text(element, "from_user_id").and_then(user_id);
    let from = phone
        .clone()
        .or_else(|| user.clone())
        .ok_or("a message whose sender has neither number nor user id")?;
    let form: String = text(element, "type")
        .unwrap_or("unknown")
        .chars()
        .take(64)
        .collect();
    let said = said(element, &form);
    let context = element.get("context").and_then(|context| text(context, "id"));
    links(element, phone.as_deref(), user.as_deref(), context, parsed);
    let to = value
        .get("metadata")
        .and_then(|metadata| text(metadata, "phone_number_id"));
    parsed.inbound.push(InboundMessage {
        dedupe_key: id.to_owned(),
        channel: Channel::Whatsapp,
        from: Private::new(from),
        to: to.map(|to| Private::new(to.to_owned())),
        name: name(value, element).map(Private::new),
        subject: None,
        text: Private::new(
            said.text
                .chars()
                .filter(|c| *c != '\0')
                .take(LONGEST_TEXT)
                .collect(),
        ),
        provider_message_id: Some(id.to_owned()),
        occurred_at: instant(element, "timestamp"),
        media: said.media,
        handled_keyword: None,
        in_reply_to: said.in_reply_to.or_else(|| context.map(str::to_owned)),
        automatic: said.automatic,
        whatsapp: Some(WhatsappInbound {
            form,
            opens_window: !said.notice,
            user_id: user.map(Private::new),
            payload: said
                .payload
                .filter(|payload| payload.len() <= LONGEST_PAYLOAD)
                .map(Private::new),
        }),
    });
    Ok(())
}

fn said(element: &Value, form: &str) -> Said {
    let Some(part) = element.get(form) else {
        // Unsupported and future types: that something was written still counts.
        return Said::default();
    };
    match form {
        "text" => Said {
            text: text(part, "body").unwrap_or_default().to_owned(),
            ..Said::default()
        },
        "button" => Said {
            text: text(part, "text").unwrap_or_default().to_owned(),
            payload: text(part, "payload").map(str::to_owned),
            ..Said::default()
        },
        "interactive" => interactive(part),
        "image" | "video" | "audio" | "voice" | "document" | "sticker" => file(part),
        "reaction" => Said {
            payload: part.get("emoji").and_then(Value::as_str).map(str::to_owned),
            in_reply_to: text(part, "message_id").map(str::to_owned),
            automatic: true,
            ..Said::default()
        },
        "system" => Said {
            text: text(part, "body").unwrap_or_default().to_owned(),
            payload: Some(part.to_string()),
            automatic: true,
            notice: true,
            ..Said::default()
        },
        // Places, cards, orders, and types that are not known yet: as Meta gives them, and no text of the user.
        _ => Said {
            payload: Some(part.to_string()),
            ..Said::default()
        },
    }
}

fn interactive(part: &Value) -> Said {
    for reply in ["button_reply", "list_reply"] {
        if let Some(reply) = part.get(reply) {
            return Said {
                text: text(reply, "title").unwrap_or_default().to_owned(),
                payload: text(reply, "id").map(str::to_owned),
                ..Said::default()
            };
        }
    }
    let form = part.get("nfm_reply");
    Said {
        text: form
            .and_then(|form| text(form, "body"))
            .unwrap_or_default()
            .to_owned(),
        payload: form
            .and_then(|form| text(form, "response_json"))
            .map(str::to_owned)
            .or_else(|| Some(part.to_string())),
        ..Said::default()
    }
}

/// The id of the file; it is fetched from Meta alone, with the connection's token.
fn file(part: &Value) -> Said {
    let media = text(part, "id")
        .filter(|id| id.len() <= 256)
        .map(|id| InboundMedia {
            content_type: text(part, "mime_type")
                .unwrap_or("application/octet-stream")
                .chars()
                .take(200)
                .collect(),
            location: id.to_owned(),
        });
    Said {
        text: text(part, "caption").unwrap_or_default().to_owned(),
        payload: text(part, "filename").map(str::to_owned),
        media: media.into_iter().collect(),
        ..Said::default()
    }
}

/// The display name of the sender among the contacts of the change.
fn name(value: &Value, element: &Value) -> Option<String> {
    let (from, user) = (text(element, "from"), text(element, "from_user_id"));
    let contact = list(value, "contacts").take(1_000).find(|contact| {
        let same = |name, wanted: Option<&str>| wanted.is_some() && text(contact, name) == wanted;
        same("wa_id", from) || same("user_id", user)
    })?;
    let name = text(contact.get("profile")?, "name")?;
    Some(name.chars().filter(|c| !c.is_control()).take(200).collect())
}

/// What says whose a user id is: the number beside it, the message of ours it answers, the id it had before.
fn links(
    element: &Value,
    phone: Option<&str>,
    user: Option<&str>,
    context: Option<&str>,
    parsed: &mut WebhookParsed,
) {
    let Some(user) = user else { return };
    let link = |user: &str| UserLink {
        user_id: Private::new(user.to_owned()),
        phone: None,
        provider_message_id: None,
        replaces: None,
    };
    if phone.is_some() || context.is_some() {
        parsed.links.push(UserLink {
            phone: phone.map(|phone| Private::new(phone.to_owned())),
            provider_message_id: context.map(str::to_owned),
            ..link(user)
        });
    }
    let renamed = element
        .get("system")
        .filter(|system| text(system, "type") == Some("user_changed_user_id"))
        .and_then(|system| text(system, "user_id"))
        .and_then(user_id);
    if let Some(renamed) = renamed {
        parsed.links.push(UserLink {
            replaces: Some(Private::new(user.to_owned())),
            ..link(&renamed)
        });
    }
}
