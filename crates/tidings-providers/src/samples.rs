//! Submissions for tests and stand-ins.

use crate::contract::{Attachment, Content, EmailContent, Submission};
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

/// E-mails of every form there is, each with what is special about it.
pub fn emails(to: &str) -> Vec<(&'static str, Submission)> {
    type Change = fn(&mut EmailContent);
    let forms: [(&'static str, Change); 9] = [
        ("text and html", |_| {}),
        ("text alone", |email| email.html = None),
        ("html alone", |email| email.text = String::new()),
        ("reply-to", |email| {
            email.reply_to = Some("help@brand.test".to_owned());
        }),
        ("reply-to with a name", |email| {
            email.reply_to = Some("\"Zoë, help\" <help@brand.test>".to_owned());
        }),
        ("unsubscribe", |email| {
            email.unsubscribe_url = Some("https://brand.test/u/abc".to_owned());
        }),
        ("answer", |email| {
            email.in_reply_to = Some("<m-41@brand.test>".to_owned());
        }),
        ("inline image", |email| {
            email.html = Some("<p><img src=\"cid:logo\">Ready.</p>".to_owned());
            email
                .attachments
                .push(file("logo.png", "image/png", Some("logo")));
        }),
        ("attachments", |email| {
            email.attachments.push(file("räk.pdf", "application/pdf", None));
            email.attachments.push(file("terms.txt", "text/plain", None));
        }),
    ];
    let built = |changes: &[Change]| {
        let mut sample = email(to);
        let Content::Email(mut content) = sample.content.into_exposed() else {
            unreachable!("samples of e-mail are e-mail")
        };
        for change in changes {
            change(&mut content);
        }
        sample.content = Private::new(Content::Email(content));
        sample
    };
    let mut all: Vec<_> = forms
        .iter()
        .map(|(name, change)| (*name, built(&[*change])))
        .collect();
    let mut named = built(&[]);
    named.to_name = Some(Private::new("Zoë \"Z\" Miller".to_owned()));
    all.push(("named recipient", named));
    // Without the forms that take the text or the HTML away.
    let changes: Vec<Change> = forms[3..].iter().map(|(_, change)| *change).collect();
    all.push(("everything", built(&changes)));
    all
}

fn file(name: &str, content_type: &str, content_id: Option<&str>) -> Attachment {
    Attachment {
        filename: name.to_owned(),
        content_type: content_type.to_owned(),
        content_base64: "AAEC".to_owned(),
        content_id: content_id.map(str::to_owned),
    }
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

/// Text messages of every form there is, each with what is special about it.
pub fn texts(to: &str) -> Vec<(&'static str, Submission)> {
    let mut long = text(to);
    let body = "Grüße & 100 % – 漢字 + 😀\n".repeat(20);
    long.content = Private::new(Content::Text { body });
    let mut reported = text(to);
    reported.status_callback = Some("https://engine.test/webhooks/twilio/1?a=b".to_owned());
    vec![("short", text(to)), ("long", long), ("reported", reported)]
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
