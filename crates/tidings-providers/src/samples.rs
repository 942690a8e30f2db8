//! Submissions for tests and stand-ins.

use crate::contract::{Content, EmailContent, Submission};
use tidings_core::redact::Private;
use tidings_core::{Address, Category, Channel};

/// An e-mail to an address.
pub fn email(to: &str) -> Submission {
    let content = EmailContent {
        subject: "Your order".to_owned(),
        html: Some("<p>Ready.</p>".to_owned()),
        text: "Ready.".to_owned(),
        message_id_header: "0197.1@brand.test".to_owned(),
        auto_submitted: true,
        ..EmailContent::default()
    };
    submission(Channel::Email, to, Content::Email(content))
}

/// A text message to a number.
pub fn text(to: &str) -> Submission {
    submission(
        Channel::Sms,
        to,
        Content::Text {
            body: "Ready.".to_owned(),
        },
    )
}

/// A text message to a number, typed into WhatsApp Web.
pub fn whatsapp_web(to: &str) -> Submission {
    let body = "Ready.".to_owned();
    submission(Channel::WhatsappWeb, to, Content::Text { body })
}

/// A WhatsApp message to a number.
pub fn whatsapp(to: &str, content: Content) -> Submission {
    submission(Channel::Whatsapp, to, content)
}

fn submission(channel: Channel, to: &str, content: Content) -> Submission {
    let to = Address::parse(channel, to, None).unwrap_or_else(|error| panic!("{to} as {channel}: {error}"));
    Submission {
        reference: "0197c0de-0000-7000-8000-000000000001.1".to_owned(),
        message_id: "0197c0de-0000-7000-8000-00000000000a".to_owned(),
        channel,
        category: Category::Transactional,
        to: Private::new(to),
        to_name: None,
        content: Private::new(content),
        status_callback: None,
        time_limit: std::time::Duration::from_secs(20),
    }
}
