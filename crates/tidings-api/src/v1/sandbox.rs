//! What the sandbox captured instead of sending, and answers as the customer.

use crate::words::ChannelWord;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_core::Channel;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A captured message, for a list.
#[derive(Serialize, ToSchema)]
pub struct CapturedView {
    /// Its id in the sandbox.
    pub id: Uuid,
    /// The message.
    pub message_id: String,
    /// Our reference of the dispatch.
    pub reference: String,
    /// The channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// The recipient.
    pub to: String,
    /// Subject line.
    pub subject: Option<String>,
    /// The first 200 characters of the text.
    pub text: Option<String>,
    /// The same reference was accepted before: a fault was injected, or something was sent twice.
    pub duplicate: bool,
    /// When.
    pub captured_at: Timestamp,
}

/// A captured message with its content.
#[derive(Serialize, ToSchema)]
pub struct CapturedDetail {
    /// Its id in the sandbox.
    pub id: Uuid,
    /// The message.
    pub message_id: String,
    /// Our reference of the dispatch.
    pub reference: String,
    /// The sandbox's id of it.
    pub provider_message_id: String,
    /// The channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// The recipient.
    pub to: String,
    /// Subject line.
    pub subject: Option<String>,
    /// HTML part. Not cleaned: show it only in a frame that runs no scripts.
    pub html: Option<String>,
    /// Text part, or the text of a short channel.
    pub text: Option<String>,
    /// One-click unsubscribe address of its headers.
    pub unsubscribe_url: Option<String>,
    /// Files, without their content.
    pub attachments: Vec<CapturedAttachment>,
    /// The same reference was accepted before.
    pub duplicate: bool,
    /// When.
    pub captured_at: Timestamp,
}

/// A file of a captured message.
#[derive(Serialize, ToSchema)]
pub struct CapturedAttachment {
    /// File name.
    pub filename: String,
    /// MIME type.
    pub content_type: String,
}

/// Which captured messages to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CapturedQuery {
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// An answer as the customer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"text": "STOP"}))]
pub struct SandboxReply {
    /// What the customer writes.
    #[schema(min_length = 1, max_length = 4000)]
    pub text: String,
}

/// What became of an answer.
#[derive(Serialize, ToSchema)]
pub struct ReplyTaken {
    /// The keyword that was understood (`stop`, `start`, `help`), if any.
    pub keyword: Option<String>,
    /// How many inbound messages were taken in.
    pub taken: u64,
}
