//! The approved WhatsApp template of a template version, as the API has it.

use crate::words::{ButtonKindWord, HeaderKindWord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_engine::render::{ButtonBinding, ButtonWord, HeaderBinding, HeaderKind, WhatsappBinding};
use tidings_engine::store::whatsapp::templates::Review;
use utoipa::ToSchema;

/// A template approved at Meta, and where its values come from. Every value is itself a template over the message's variables.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "order_ready", "language": "en_US", "body": ["{{ first_name }}", "{{ order_number }}"],
    "buttons": [{"index": 0, "kind": "quick_reply", "value": "confirm:{{ order_number }}"}]
}))]
pub struct WhatsappTemplateBody {
    /// Its name at Meta.
    #[schema(min_length = 1, max_length = 512, pattern = "^[a-z0-9_]+$")]
    pub name: String,
    /// Its language at Meta (`en_US`).
    #[schema(min_length = 2, max_length = 15)]
    pub language: String,
    /// The value of its header.
    #[serde(default)]
    pub header: Option<WhatsappHeaderBody>,
    /// The values of its body, in the order of `{{1}}`, `{{2}}` ...
    #[serde(default)]
    #[schema(max_items = 100)]
    pub body: Vec<String>,
    /// The values of its buttons.
    #[serde(default)]
    #[schema(max_items = 10)]
    pub buttons: Vec<WhatsappButtonBody>,
}

/// The value of a header.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhatsappHeaderBody {
    /// What it is.
    #[schema(value_type = HeaderKindWord)]
    pub kind: HeaderKind,
    /// A text, or the file's public `https` URL or id at Meta.
    pub value: String,
    /// File name of a document.
    #[serde(default)]
    pub filename: Option<String>,
}

/// The value of a button.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhatsappButtonBody {
    /// Its place among the template's buttons, from 0.
    #[schema(maximum = 9)]
    pub index: u8,
    /// What it does.
    #[schema(value_type = ButtonKindWord)]
    pub kind: ButtonWord,
    /// The payload, the end of the URL, or the code.
    pub value: String,
}

/// What Meta last said of an approved template.
#[derive(Serialize, ToSchema)]
pub struct WhatsappReviewView {
    /// `approved`, `pending`, `rejected`, `paused`, `disabled` or `other`; only an approved one is used.
    pub standing: String,
    /// Meta's own word.
    pub word: String,
    /// Meta's reason.
    pub reason: Option<String>,
    /// When.
    pub reported_at: Timestamp,
}

impl From<Review> for WhatsappReviewView {
    fn from(review: Review) -> Self {
        Self {
            standing: review.standing,
            word: review.word,
            reason: review.reason,
            reported_at: review.reported_at,
        }
    }
}

impl From<WhatsappTemplateBody> for WhatsappBinding {
    fn from(body: WhatsappTemplateBody) -> Self {
        Self {
            name: body.name,
            language: body.language,
            header: body.header.map(|header| HeaderBinding {
                kind: header.kind,
                value: header.value,
                filename: header.filename,
            }),
            body: body.body,
            buttons: body
                .buttons
                .into_iter()
                .map(|button| ButtonBinding {
                    index: button.index,
                    kind: button.kind,
                    value: button.value,
                })
                .collect(),
        }
    }
}

impl From<WhatsappBinding> for WhatsappTemplateBody {
    fn from(binding: WhatsappBinding) -> Self {
        Self {
            name: binding.name,
            language: binding.language,
            header: binding.header.map(|header| WhatsappHeaderBody {
                kind: header.kind,
                value: header.value,
                filename: header.filename,
            }),
            body: binding.body,
            buttons: binding
                .buttons
                .into_iter()
                .map(|button| WhatsappButtonBody {
                    index: button.index,
                    kind: button.kind,
                    value: button.value,
                })
                .collect(),
        }
    }
}
