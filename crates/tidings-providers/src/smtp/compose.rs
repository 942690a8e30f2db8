//! From a submission to the bytes of a message.

use super::dkim::Signer;
use super::settings::SmtpSettings;
use super::verp::{self, Purpose};
use crate::contract::{Attachment, EmailContent, Rejection, Submission};
use crate::email_headers::{self, wrong};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment as MimeAttachment, Mailbox, MessageBuilder, MultiPart, SinglePart};
use lettre::{Address, Message};
use tidings_core::EmailAddress;

/// A message ready for the wire.
#[derive(Debug)]
pub struct Composed {
    /// Envelope sender and recipient.
    pub envelope: Envelope,
    /// The whole message with CRLF line ends.
    pub bytes: Vec<u8>,
}

/// Builds and signs. Every refusal is `invalid_input`: nothing was sent.
pub fn compose(
    submission: &Submission,
    email: &EmailContent,
    settings: &SmtpSettings,
    signers: &[Signer],
    bounce_key: Option<&[u8]>,
) -> Result<Composed, Rejection> {
    email_headers::check(submission, email)?;
    let recipient = address(submission.to.expose().as_str(), "recipient")?;
    let sender = address(settings.from_email.as_str(), "sender")?;
    let answers_to = match (&settings.reply_domain, bounce_key, &email.reply_to) {
        (Some(domain), Some(key), None) => verp::address(Purpose::Reply, &submission.reference, key, domain)
            .map(|text| address(&text, "reply address"))
            .transpose()?
            .map(|reply| Mailbox::new(settings.from_name.clone(), reply)),
        _ => None,
    };
    let envelope_from = match (&settings.bounce_domain, bounce_key) {
        (Some(domain), Some(key)) => verp::address(Purpose::Bounce, &submission.reference, key, domain)
            .map_or(Ok(sender.clone()), |text| address(&text, "bounce address"))?,
        _ => sender.clone(),
    };
    let envelope = Envelope::new(Some(envelope_from), vec![recipient])
        .map_err(|_| wrong("the envelope cannot be built".to_owned()))?;
    let from = Mailbox::new(settings.from_name.clone(), sender);
    let unsigned = built(submission, email, from, answers_to, envelope.clone())?;
    let mut bytes = Vec::with_capacity(unsigned.len() + 1_024);
    for signer in signers {
        let line = signer
            .sign(&unsigned)
            .ok_or_else(|| wrong("the message cannot be signed".to_owned()))?;
        bytes.extend_from_slice(line.as_bytes());
    }
    bytes.extend_from_slice(&unsigned);
    Ok(Composed { envelope, bytes })
}

/// The bytes of a message that somebody else signs and delivers.
pub fn unsigned_message(
    submission: &Submission,
    email: &EmailContent,
    from_email: &EmailAddress,
    from_name: Option<&str>,
) -> Result<Vec<u8>, Rejection> {
    let recipient = address(submission.to.expose().as_str(), "recipient")?;
    let sender = address(from_email.as_str(), "sender")?;
    let envelope = Envelope::new(Some(sender.clone()), vec![recipient])
        .map_err(|_| wrong("the envelope cannot be built".to_owned()))?;
    let from = Mailbox::new(from_name.map(str::to_owned), sender);
    built(submission, email, from, None, envelope)
}

fn built(
    submission: &Submission,
    email: &EmailContent,
    from: Mailbox,
    answers_to: Option<Mailbox>,
    envelope: Envelope,
) -> Result<Vec<u8>, Rejection> {
    let recipient = address(submission.to.expose().as_str(), "recipient")?;
    let name = submission.to_name.as_ref().map(|name| name.expose().clone());
    let builder = Message::builder()
        .from(from)
        .to(Mailbox::new(name, recipient))
        .subject(email.subject.clone())
        .message_id(Some(format!("<{}>", email.message_id_header)))
        .envelope(envelope);
    let mut builder = optional_headers(builder, email)?;
    if let Some(mailbox) = answers_to {
        builder = builder.reply_to(mailbox);
    }
    let message = match body(email)? {
        Body::Single(part) => builder.singlepart(part),
        Body::Multi(part) => builder.multipart(part),
    }
    .map_err(|_| wrong("the message cannot be built".to_owned()))?;
    Ok(message.formatted())
}

/// An address with its domain in ASCII form, so that only a non-ASCII local part asks for SMTPUTF8.
fn address(text: &str, what: &str) -> Result<Address, Rejection> {
    let refused = || wrong(format!("the {what} is not an address that SMTP can carry"));
    let (local, domain) = text.rsplit_once('@').ok_or_else(refused)?;
    let Ok(url::Host::Domain(domain)) = url::Host::parse(domain) else {
        return Err(refused());
    };
    Address::new(local, domain).map_err(|_| refused())
}

fn optional_headers(mut builder: MessageBuilder, email: &EmailContent) -> Result<MessageBuilder, Rejection> {
    if let Some(reply_to) = &email.reply_to {
        let mailbox = reply_to
            .parse::<Mailbox>()
            .map_err(|_| wrong("the reply-to is not an address".to_owned()))?;
        builder = builder.reply_to(mailbox);
    }
    if let Some(id) = &email.in_reply_to {
        builder = builder.in_reply_to(id.clone()).references(id.clone());
    }
    for (name, value) in email_headers::automatic(email) {
        builder = builder.raw_header(raw(name, &value));
    }
    Ok(builder)
}

/// A header as it stands. `email_headers::check` has refused everything but visible ASCII here, and the encoder
/// would break a long URL in two.
fn raw(name: &'static str, value: &str) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str(name);
    HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), value.to_owned())
}

enum Body {
    Single(SinglePart),
    Multi(MultiPart),
}

/// mixed( alternative( text, related( html, inline images ) ), files ), less what is not there.
fn body(email: &EmailContent) -> Result<Body, Rejection> {
    let text = SinglePart::plain(line_ends(&email.text));
    let (inline, files): (Vec<_>, Vec<_>) = email
        .attachments
        .iter()
        .partition(|file| file.content_id.is_some() && email.html.is_some());
    let content = match &email.html {
        None => Body::Single(text),
        Some(html) => {
            let html = SinglePart::html(line_ends(html));
            let alternative = MultiPart::alternative().singlepart(text);
            Body::Multi(if inline.is_empty() {
                alternative.singlepart(html)
            } else {
                let mut related = MultiPart::related().singlepart(html);
                for file in inline {
                    related = related.singlepart(attachment(file)?);
                }
                alternative.multipart(related)
            })
        }
    };
    if files.is_empty() {
        return Ok(content);
    }
    let mut mixed = match content {
        Body::Single(part) => MultiPart::mixed().singlepart(part),
        Body::Multi(part) => MultiPart::mixed().multipart(part),
    };
    for file in files {
        mixed = mixed.singlepart(attachment(file)?);
    }
    Ok(Body::Multi(mixed))
}

fn attachment(file: &Attachment) -> Result<SinglePart, Rejection> {
    let bytes = STANDARD
        .decode(file.content_base64.as_bytes())
        .map_err(|_| wrong("an attachment's content is not base64".to_owned()))?;
    let kind = ContentType::parse(&file.content_type)
        .map_err(|_| wrong("an attachment's type is not a MIME type".to_owned()))?;
    let part = match &file.content_id {
        Some(id)
            if id
                .bytes()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>')) =>
        {
            MimeAttachment::new_inline_with_name(id.clone(), file.filename.clone())
        }
        Some(_) => {
            return Err(wrong(
                "an attachment's content id holds a character that none may hold".to_owned(),
            ));
        }
        None => MimeAttachment::new(file.filename.clone()),
    };
    Ok(part.body(bytes, kind))
}

/// CRLF only: a bare CR or LF on the wire is how messages are smuggled.
fn line_ends(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\n', "\r\n")
}
