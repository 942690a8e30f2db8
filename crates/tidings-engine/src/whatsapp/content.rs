//! A message that goes as free text or as an approved template, by what the service window allows when the call is made.

use tidings_providers::{
    ButtonKind, Content, Media, MediaKind, MediaSource, WhatsappButton, WhatsappHeader, WhatsappTemplate,
};
use tidings_render::{ButtonWord, HeaderKind, RenderedHeader, RenderedWhatsapp};

/// The content of a message that is bound to an approved template.
pub(crate) fn content(bound: RenderedWhatsapp, free_text: String) -> WhatsappTemplate {
    WhatsappTemplate {
        name: bound.name,
        language: bound.language,
        header: bound.header.map(header),
        body: bound.body,
        buttons: bound
            .buttons
            .into_iter()
            .map(|(index, kind, value)| WhatsappButton {
                index,
                kind: button(kind),
                value,
            })
            .collect(),
        free_text: Some(free_text),
    }
}

/// What goes now: inside the window the free text, outside the approved template.
pub(crate) fn for_now(content: Content, window_open: bool) -> Content {
    match content {
        Content::WhatsappTemplate(mut template) => match template.free_text.take() {
            Some(body) if window_open => Content::Text { body },
            _ => Content::WhatsappTemplate(template),
        },
        other => other,
    }
}

fn header(header: RenderedHeader) -> WhatsappHeader {
    let kind = match header.kind {
        HeaderKind::Text => return WhatsappHeader::Text(header.value),
        HeaderKind::Image => MediaKind::Image,
        HeaderKind::Document => MediaKind::Document,
        HeaderKind::Video => MediaKind::Video,
    };
    let by_id = header.value.bytes().all(|byte| byte.is_ascii_digit());
    WhatsappHeader::Media(Media {
        kind,
        source: if by_id {
            MediaSource::Id(header.value)
        } else {
            MediaSource::Link(header.value)
        },
        caption: None,
        filename: header.filename,
    })
}

const fn button(kind: ButtonWord) -> ButtonKind {
    match kind {
        ButtonWord::QuickReply => ButtonKind::QuickReply,
        ButtonWord::Url => ButtonKind::Url,
        ButtonWord::CopyCode => ButtonKind::CopyCode,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn template() -> WhatsappTemplate {
        let bound = RenderedWhatsapp {
            name: "order_ready".to_owned(),
            language: "en_US".to_owned(),
            header: Some(RenderedHeader {
                kind: HeaderKind::Document,
                value: "https://acme.example/a.pdf".to_owned(),
                filename: Some("a.pdf".to_owned()),
            }),
            body: vec!["Ann".to_owned()],
            buttons: vec![(1, ButtonWord::Url, "x".to_owned())],
        };
        content(bound, "Hello Ann".to_owned())
    }

    #[test]
    fn the_window_chooses() {
        let free = Content::Text {
            body: "Hello Ann".to_owned(),
        };
        assert_eq!(for_now(Content::WhatsappTemplate(template()), true), free);
        let Content::WhatsappTemplate(outside) = for_now(Content::WhatsappTemplate(template()), false) else {
            unreachable!("the window is closed")
        };
        assert_eq!((outside.free_text.as_deref(), outside.body.len()), (None, 1));
        assert_eq!(for_now(free.clone(), false), free);
    }

    #[test]
    fn stored_content_of_every_age_opens() {
        let old: Content = serde_json::from_value(json!({"kind": "text", "body": "hi"})).unwrap();
        assert_eq!(old.preview(), "hi");
        let content = Content::WhatsappTemplate(template());
        let stored = serde_json::to_value(&content).unwrap();
        assert_eq!(stored["kind"], "whatsapp_template");
        assert_eq!(serde_json::from_value::<Content>(stored).unwrap(), content);
        let bare: Content =
            serde_json::from_value(json!({"kind": "whatsapp_template", "name": "a", "language": "en"}))
                .unwrap();
        assert_eq!(bare.preview(), "[template a (en)]");
    }
}
