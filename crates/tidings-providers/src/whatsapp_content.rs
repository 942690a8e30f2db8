//! What WhatsApp carries beside text: approved templates and media.
//!
//! Stored sealed as part of [`Content`](crate::contract::Content), so a field may only be added with a default.

use serde::{Deserialize, Serialize};

/// An approved template of Meta, filled in. Outside the 24 h service window nothing else may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatsappTemplate {
    /// Its name at Meta (`order_ready`).
    pub name: String,
    /// Its language at Meta (`en_US`).
    pub language: String,
    /// What fills its header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<WhatsappHeader>,
    /// What fills `{{1}}`, `{{2}}` ... of its body, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub body: Vec<String>,
    /// What fills its buttons, each at its index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<WhatsappButton>,
    /// What goes instead while the service window is open. The engine chooses when the call is made; a provider is handed
    /// either this text or the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_text: Option<String>,
}

/// What fills a template's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhatsappHeader {
    /// Its one variable.
    Text(String),
    /// A picture, video or document.
    Media(Media),
}

/// What fills a button of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatsappButton {
    /// Its place among the template's buttons, from 0.
    pub index: u8,
    /// What it does.
    pub kind: ButtonKind,
    /// The payload that comes back, the rest of the URL, or the code.
    pub value: String,
}

/// What a button does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ButtonKind {
    /// Answers with a payload.
    QuickReply,
    /// Opens a URL whose end varies.
    Url,
    /// Copies a code.
    CopyCode,
}

/// A media file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// What it is. Content is told apart by `kind`, so in JSON this has another name; headers were stored under the first one.
    #[serde(rename = "file", alias = "kind")]
    pub kind: MediaKind,
    /// Where it is.
    pub source: MediaSource,
    /// Text under it, at most 1,024 characters; audio has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// File name of a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
}

/// What a media file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A document.
    Document,
    /// Sound.
    Audio,
    /// A video.
    Video,
}

impl MediaKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Document => "document",
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// Where a media file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaSource {
    /// A public `https` URL; the provider fetches it.
    Link(String),
    /// An id that an upload to the provider returned.
    Id(String),
}

impl WhatsappTemplate {
    /// The template as a person reads it in a preview: Meta keeps its words, so name and values are shown.
    pub fn describe(&self) -> String {
        let mut lines = vec![format!("[template {} ({})]", self.name, self.language)];
        match &self.header {
            Some(WhatsappHeader::Text(text)) => lines.push(format!("header: {text}")),
            Some(WhatsappHeader::Media(media)) => lines.push(format!("header: {}", media.describe())),
            None => {}
        }
        let values = self.body.iter().enumerate();
        lines.extend(values.map(|(at, value)| format!("{{{{{}}}}}: {value}", at + 1)));
        let buttons = self.buttons.iter();
        lines.extend(buttons.map(|button| format!("button {}: {}", button.index, button.value)));
        lines.join("\n")
    }
}

impl Media {
    /// The file as a person reads it in a preview.
    pub fn describe(&self) -> String {
        let place = match &self.source {
            MediaSource::Link(link) => link,
            MediaSource::Id(id) => id,
        };
        let caption = self.caption.as_deref().unwrap_or_default();
        format!("[{} {place}] {caption}", self.kind.as_str())
            .trim_end()
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::contract::Content;
    use serde_json::json;

    /// Content is kept as JSON until it goes.
    #[test]
    fn a_file_comes_back_as_it_was_kept() {
        let file = Media {
            kind: MediaKind::Document,
            source: MediaSource::Id("12".to_owned()),
            caption: Some("The plan.".to_owned()),
            filename: Some("plan.pdf".to_owned()),
        };
        let kept = serde_json::to_string(&Content::Media(file.clone())).unwrap();
        assert_eq!(
            serde_json::from_str::<Content>(&kept).unwrap(),
            Content::Media(file.clone())
        );
        let older = json!({"kind": "document", "source": {"id": "12"}, "caption": "The plan.", "filename": "plan.pdf"});
        assert_eq!(serde_json::from_value::<Media>(older).unwrap(), file);
    }
}
