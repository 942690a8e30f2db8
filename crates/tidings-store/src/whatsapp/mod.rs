//! What is kept for WhatsApp alone: reviews of approved templates, and which of Meta's users are which contacts.

pub mod templates;
pub mod users;
