//! What WhatsApp's page looks like: every selector, and nothing about it anywhere else.
//!
//! The page has no interface and changes without notice, so each thing has several selectors, the likeliest first; the first
//! that finds something counts. When the page has changed, this is the file to mend.

use serde_json::{Value, json};

/// Words of the dialog about a number that is not on WhatsApp. The browser is started in English.
pub const NOT_ON_WHATSAPP: [&str; 3] = [
    "phone number shared via url is invalid",
    "isn't on whatsapp",
    "not on whatsapp",
];

/// Words of a page about an account that WhatsApp has locked.
pub const LOCKED: [&str; 3] = [
    "not allowed to use whatsapp",
    "account is restricted",
    "account has been banned",
];

/// The selectors, as the page's script takes them.
pub fn selectors() -> Value {
    json!({
        // The element that carries the pairing code, and the attribute it is in.
        "qr": ["div[data-ref]", "[data-testid='qrcode'][data-ref]"],
        "qr_attribute": "data-ref",
        // Makes a new code when the old one has expired.
        "qr_reload": ["button[data-testid='refresh-large']", "div[data-ref] button", "[aria-label*='reload' i]"],
        // There once the chats are.
        "ready": ["#pane-side", "[data-testid='chat-list']", "[aria-label='Chat list']"],
        // A bar about a lost connection.
        "offline": ["[data-icon='alert-computer']", "[data-icon='alert-phone']", "[data-testid='alert-computer']"],
        // Anything that lies over the page.
        "modal": ["[data-animate-modal-popup='true']", "[role='dialog'][aria-modal='true']", "[role='dialog']"],
        // Chats in the list, the mark of unread ones, and the mark of groups.
        "rows": ["#pane-side [role='listitem']", "#pane-side [role='row']", "[data-testid='cell-frame-container']"],
        "unread": ["[data-testid='icon-unread-count']", "span[aria-label*='unread' i]", "[data-icon='unread-count']"],
        "group": ["[data-icon='default-group']", "[data-icon='default-group-refreshed']", "[data-testid='default-group']"],
        // The open chat, its title, the box, and the button that sends.
        "chat": ["#main"],
        "title": ["header [data-testid='conversation-info-header-chat-title']", "header span[title]", "header [role='button'] span[dir='auto']"],
        "box": ["footer [contenteditable='true'][role='textbox']", "[data-testid='conversation-compose-box-input']", "footer [contenteditable='true']"],
        "send": ["footer button[aria-label='Send']", "[data-testid='send']", "footer [data-icon='send']", "footer [data-icon='wds-ic-send-filled']"],
        // A message, whose it is, what it says, and who wrote it.
        "bubble": ["[data-id]"],
        "outgoing": [".message-out"],
        "incoming": [".message-in"],
        "text": [".selectable-text.copyable-text", "[data-testid='selectable-text']", ".selectable-text"],
        "author": ["[data-pre-plain-text]"],
        "author_attribute": "data-pre-plain-text",
        "media": ["img[src^='blob:']", "video", "audio", "[data-icon='audio-play']", "[data-icon='media-play']", "[data-icon='document']"],
        // Marks on a message of ours, the one that says most first.
        "ticks": {
            "failed": ["[data-icon='msg-error']", "[data-icon='error']"],
            "read": ["[data-icon='msg-dblcheck-ack']", "[data-icon='msg-dblcheck'][aria-label*='Read']"],
            "delivered": ["[data-icon='msg-dblcheck']"],
            "sent": ["[data-icon='msg-check']"],
            "pending": ["[data-icon='msg-time']"],
        },
        "locked_words": LOCKED,
    })
}
