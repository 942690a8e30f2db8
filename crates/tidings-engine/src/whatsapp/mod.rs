//! What is WhatsApp's alone: approved templates beside free text, marketing preferences, users without a number, reviews of
//! templates, read marks.

mod content;
mod preference;
mod review;
mod signal;
mod users;

pub(crate) use content::{content, for_now};
pub(crate) use preference::{
    apply as apply_preference, chooser, is_preference, withdraw_marketing, withdraws_marketing,
};
pub(crate) use review::note as note_reviews;
pub use signal::{SignalError, SignalKind};
pub(crate) use users::{author, link, linked, lock_users};
