//! What whoever starts the companion must have read.

/// The risk, as it is printed where it was not accepted, and at every start.
pub const RISK: &str = "\
WhatsApp Web is not an interface for programs. Driving it breaks WhatsApp's terms of service.
  - WhatsApp may ban the number at any time, without warning and for good. Use a number that you can lose.
  - Nothing is promised: the page changes without notice, and a message may then not go, or nobody can tell whether it went.
  - Whoever has the profile folder has the account: every chat, past and future.
  - It is slow by design: one message in 60 to 90 seconds.
Where WhatsApp matters to your business, use the WhatsApp Cloud API (provider whatsapp_cloud).";
