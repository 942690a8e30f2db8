//! The words of public pages: ours, or the tenant's own where it has set them (`settings.public_texts`, by the same keys).

use axum::http::HeaderMap;
use serde::Serialize;
use std::collections::BTreeMap;
use tidings_engine::Sender;

/// Every text, by key. `{sender}` stands for the tenant's name.
const ENGLISH: &[(&str, &str)] = &[
    ("language", "en"),
    ("email", "E-mail"),
    ("sms", "Text messages (SMS)"),
    ("whatsapp", "WhatsApp"),
    ("whatsapp_web", "WhatsApp (web)"),
    ("channel_email", "e\u{2011}mail"),
    ("channel_sms", "text message"),
    ("channel_whatsapp", "WhatsApp"),
    ("unsubscribe_title", "Unsubscribe?"),
    (
        "unsubscribe_lead",
        "{sender} will stop sending you offers, news and reminders by {channel}.",
    ),
    ("unsubscribe_button", "Unsubscribe"),
    ("unsubscribe_instead", "Choose what you get instead"),
    ("unsubscribed_title", "You are unsubscribed"),
    (
        "unsubscribed_lead",
        "{sender} will not send you offers, news or reminders by {channel} any more.",
    ),
    ("unsubscribed_change", "Change your preferences"),
    (
        "still_coming",
        "Messages about something you have ordered or booked, such as receipts, still arrive.",
    ),
    ("preferences_title", "Your preferences"),
    ("preferences_lead", "Choose how {sender} may reach you."),
    ("your_addresses", "For"),
    ("channels", "How we may write to you"),
    (
        "stopped_hint",
        "Stopped by your STOP. Text START to the same number to hear from us here again.",
    ),
    ("topics", "What you want to hear about"),
    ("topic_marketing", "Offers and news"),
    ("topic_service", "Reminders and service notices"),
    ("topic_transactional", "Orders and bookings"),
    ("quiet", "Quiet hours"),
    ("quiet_from", "From"),
    ("quiet_to", "Until"),
    (
        "quiet_hint",
        "We write outside these hours only when it cannot wait.",
    ),
    (
        "quiet_hint_zone",
        "Your local time ({zone}). We write in these hours only when it cannot wait.",
    ),
    (
        "quiet_wrong",
        "Please give both times of your quiet hours, or neither.",
    ),
    ("speak", "Language"),
    ("save", "Save"),
    ("saved_done", "Saved."),
    ("pause", "Take a break"),
    (
        "pause_lead",
        "Hear nothing from us for 30 days, except about what you have ordered or booked.",
    ),
    ("pause_button", "Pause for 30 days"),
    ("paused_until", "Paused until {date}."),
    ("paused_done", "Paused. You will hear nothing for 30 days."),
    ("resume_button", "Resume now"),
    ("resumed_done", "Welcome back: messages come again as you chose."),
    ("everything_off", "Stop everything"),
    (
        "everything_off_lead",
        "Turns off every channel and topic at once.",
    ),
    ("everything_off_button", "Unsubscribe from everything"),
    (
        "everything_off_done",
        "Done. You will get nothing from us, except about what you have ordered or booked.",
    ),
    ("your_data", "Your data"),
    (
        "your_data_lead",
        "To be sure that it is you, enter one of your addresses in full.",
    ),
    ("address", "Your e-mail address or phone number"),
    (
        "address_wrong",
        "That is not one of the addresses we have for you. Nothing was done.",
    ),
    ("export_button", "Download my data"),
    ("erase_button", "Erase my data"),
    ("erase_title", "Erase your data?"),
    (
        "erase_lead",
        "We delete your name, addresses and messages for good. We keep a code that cannot be read back, only to make \
      sure that we do not write to you again. This cannot be undone.",
    ),
    ("erase_confirm_button", "Erase for good"),
    ("erase_cancel", "Keep my data"),
    ("erased_title", "Your data is erased"),
    (
        "erased_lead",
        "We hold nothing about you any more and will not write to you.",
    ),
    ("link_unknown_title", "This link does not work"),
    (
        "link_unknown_lead",
        "It may be cut off or very old. Open it again from the message, or copy it whole.",
    ),
    ("form_unknown_title", "That did not work"),
    (
        "form_unknown_lead",
        "The page did not get what it needs, and nothing was changed. Open the link in the message again.",
    ),
    ("unavailable_title", "Just a moment"),
    (
        "unavailable_lead",
        "We cannot do this right now, and nothing was changed. Please try again in a minute.",
    ),
    ("questions", "Questions?"),
];

/// The texts of one page.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Texts(BTreeMap<String, String>);

impl Texts {
    /// Ours, in English.
    pub(super) fn english() -> Self {
        Self(
            ENGLISH
                .iter()
                .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }

    /// The sender's, over ours.
    pub(super) fn of(sender: &Sender, _language: Option<&str>, _headers: &HeaderMap) -> Self {
        let mut texts = Self::english();
        for (key, text) in &mut texts.0 {
            if let Some(own) = sender.texts.get(key) {
                own.clone_into(text);
            }
            *text = text.replace("{sender}", &sender.name);
        }
        texts
    }

    /// One text; the key itself where there is none, which a test excludes for every key in use.
    pub(super) fn get<'a>(&'a self, key: &'a str) -> &'a str {
        self.0.get(key).map_or(key, String::as_str)
    }

    /// The language of the texts.
    pub(super) fn language(&self) -> &str {
        self.get("language")
    }
}

/// A language's name in itself.
pub(super) fn language_name(tag: &str) -> &str {
    match tag.split(['-', '_']).next().unwrap_or(tag) {
        "ar" => "العربية",
        "cs" => "Čeština",
        "da" => "Dansk",
        "de" => "Deutsch",
        "el" => "Ελληνικά",
        "en" => "English",
        "es" => "Español",
        "fi" => "Suomi",
        "fr" => "Français",
        "he" => "עברית",
        "hi" => "हिन्दी",
        "hu" => "Magyar",
        "it" => "Italiano",
        "ja" => "日本語",
        "ko" => "한국어",
        "nb" | "no" => "Norsk",
        "nl" => "Nederlands",
        "pl" => "Polski",
        "pt" => "Português",
        "ro" => "Română",
        "ru" => "Русский",
        "sv" => "Svenska",
        "tr" => "Türkçe",
        "uk" => "Українська",
        "vi" => "Tiếng Việt",
        "zh" => "中文",
        _ => tag,
    }
}
