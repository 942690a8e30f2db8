//! Mail that comes back: reports of delivery, complaints, automatic answers, and what people answer. However it arrives, it
//! is stored before it is acknowledged, and a job reads it.
//!
//! Nothing is believed that an address did not prove. A report counts for the one dispatch whose token it came to, and for a
//! recipient of that message; an answer is joined by its own token or by the `Message-ID` it names. `From` proves nothing, with
//! one exception: who asks to be left alone in somebody's name closes that very address for marketing and service, before the
//! mail is acknowledged. A forged wish costs its victim an advertisement, and is undone on the preference page; a true one that
//! is not obeyed breaks the law.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::keep::Kept;
use crate::reply::{Answered, Proven};
use crate::track;
use crate::webhook::{self, route};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tidings_core::redact::Private;
use tidings_core::{Channel, ConnectionId, DeliveryId, MessageId};
use tidings_providers::bounce::{Envelope, MailContent, MailKind, read_inbound, reported};
use tidings_providers::{InboundMedia, InboundMessage, MailAddress, ReportedEvent};
use tidings_store::tracking::inbox::{self, WebhookTarget};
use tidings_store::tracking::reports::{self, Reported, Wanted};
use tidings_store::{TenantTx, contacts};
use uuid::Uuid;

/// The longest mail that is taken, in bytes.
pub const MOST_MAIL_BYTES: usize = 25 * 1024 * 1024;

/// An address that mail is taken for, and whose it is.
#[derive(Clone, Debug)]
pub struct MailRecipient {
    target: WebhookTarget,
    about: MailAddress,
    address: Private<String>,
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTaken {
    /// It is stored and will be read.
    Stored,
    /// The same mail to the same address was stored before.
    Known,
}

/// A mail as it came, until it is read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptMail {
    from: Private<String>,
    to: Private<String>,
    about: MailAddress,
    digest: String,
    raw_base64: Private<String>,
    /// Who asks to be left alone; obeyed when the mail is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaver: Option<Private<String>>,
}

/// Takes a mail apart: strangers wrote it, so not on a thread that serves others.
async fn read(raw: Vec<u8>, from: String, to: String) -> Result<Option<MailContent>, EngineError> {
    tokio::task::spawn_blocking(move || {
        let envelope = Envelope {
            mail_from: &from,
            rcpt_to: &to,
        };
        read_inbound(&raw, &envelope)
    })
    .await
    .map_err(|error| EngineError::Conflict {
        problem: format!("reading a mail was cut short: {error}"),
    })
}

/// The attempt that the local part of a return path or reply address names, unproved.
fn claimed(local: &str) -> Option<(DeliveryId, i32)> {
    let local = local.to_ascii_lowercase();
    let token = local.strip_prefix("b+").or_else(|| local.strip_prefix("r+"))?;
    track::attempt_of(token.rsplit_once('-')?.0)
}

impl Engine {
    /// Whose mail an address takes: the return path of a dispatch, the reply address of a message (each with a token that the
    /// connection of that very dispatch proves), or a sender's own address at its reply domain, whose holder the store knows.
    /// None for everything else: mail is never passed on.
    ///
    /// # Errors
    /// When the database cannot be asked, or the connection it belongs to cannot be used as it is configured; the sender should
    /// try again later.
    pub async fn mail_recipient(&self, address: &str) -> Result<Option<MailRecipient>, EngineError> {
        let Some((local, domain)) = address.rsplit_once('@') else {
            return Ok(None);
        };
        if address.len() > 320 || domain.is_empty() {
            return Ok(None);
        }
        let mut conn = self.inner.conn().await?;
        let found = match claimed(local) {
            Some((delivery, attempt_no)) => {
                inbox::connection_of_attempt(&mut conn, delivery, attempt_no, domain).await?
            }
            None => inbox::connection_of_sender(&mut conn, address).await?,
        };
        let Some(found) = found else {
            count("none", "unknown_recipient");
            return Ok(None);
        };
        let target = found.target;
        let keyring = self.store().keyring();
        let key = keyring.tenant_key(&mut conn, target.tenant).await?;
        let provider = self.inner.providers.of(&key, &route(found)).map_err(|problem| {
            count("none", "misconfigured");
            tracing::error!(connection = %target.connection, %problem,
                "mail waits at its sender: the connection it is for cannot be used");
            EngineError::Conflict {
                problem: format!("the connection {} cannot be used: {problem}", target.connection),
            }
        })?;
        let Some(about) = provider.mail_address(address) else {
            count("none", "unknown_recipient");
            return Ok(None);
        };
        Ok(Some(MailRecipient {
            target,
            about,
            address: Private::new(address.to_owned()),
        }))
    }

    /// Takes a mail for one recipient: stored durably when this returns, with the job that will read it. A wish to be left alone
    /// is obeyed in the same commit.
    ///
    /// # Errors
    /// When it could not be stored, or is too long; then nothing is.
    pub async fn receive_mail(
        &self,
        recipient: &MailRecipient,
        from: &str,
        raw: &[u8],
    ) -> Result<MailTaken, EngineError> {
        if raw.len() > MOST_MAIL_BYTES {
            return Err(EngineError::Conflict {
                problem: format!(
                    "a mail of more than {} MiB is not taken",
                    MOST_MAIL_BYTES / 1_048_576
                ),
            });
        }
        let to = recipient.address.expose();
        let digest = digest(&to.to_ascii_lowercase(), raw);
        let content = read(raw.to_vec(), from.to_owned(), to.clone()).await?;
        let leaver = content
            .filter(MailContent::wants_out)
            .map(|content| content.from.unwrap_or_else(|| Private::new(from.to_owned())));
        let kept = Kept {
            mail: Some(KeptMail {
                from: Private::new(from.to_owned()),
                to: Private::new(to.clone()),
                about: recipient.about.clone(),
                digest: hex::encode(&digest),
                raw_base64: Private::new(STANDARD.encode(raw)),
                leaver,
            }),
            ..Kept::default()
        };
        let fresh = self.keep(&recipient.target, &kept, digest, self.now()).await?;
        count("any", if fresh { "stored" } else { "known" });
        Ok(if fresh {
            MailTaken::Stored
        } else {
            MailTaken::Known
        })
    }
}

fn count(kind: &'static str, outcome: &'static str) {
    metrics::counter!("tidings_mail_total", "kind" => kind, "outcome" => outcome).increment(1);
}

fn digest(to: &str, raw: &[u8]) -> Vec<u8> {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(b"mail\n");
    context.update(to.as_bytes());
    context.update(b"\n");
    context.update(raw);
    context.finish().as_ref().to_vec()
}

const fn name_of(kind: MailKind) -> &'static str {
    match kind {
        MailKind::Bounce => "bounce",
        MailKind::Delay => "delay",
        MailKind::Delivered => "delivered",
        MailKind::Complaint => "complaint",
        MailKind::AutoReply => "auto_reply",
        MailKind::Reply => "reply",
        MailKind::Unsubscribe => "unsubscribe",
        MailKind::Other => "other",
    }
}

/// Reads a kept mail into what webhooks are made of: events about a proved dispatch, or a message with what it answers.
pub(crate) async fn open(
    tx: &mut TenantTx,
    connection: ConnectionId,
    mail: KeptMail,
) -> Result<(Kept, Answered), EngineError> {
    let nothing = (Kept::default(), Answered::Proven(None));
    let raw = STANDARD
        .decode(mail.raw_base64.expose())
        .map_err(|error| EngineError::Conflict {
            problem: format!("a stored mail cannot be read: {error}"),
        })?;
    let (from, to) = (mail.from.expose().clone(), mail.to.expose().clone());
    let read = read(raw, from, to).await?;
    let Some(content) = read else {
        count("none", "unreadable");
        tracing::warn!(%connection, "a mail cannot be read as one; nothing follows");
        return Ok(nothing);
    };
    let kind = content.report.kind;
    let Some(reported_about) = proven(tx, connection, &mail.about, &content).await? else {
        return Ok(unproven(connection, &mail, content));
    };
    let reference = reference_of(&mail.about, &reported_about);
    let mut events = reported(&content.report, &reference, &mail.digest);
    if content.wants_out() {
        // By its sender, who must be who the message went to; one that names none is nobody.
        let sender = content.from.as_ref().unwrap_or(&mail.from);
        for event in &mut events {
            event.recipient = Some(sender.clone());
        }
    }
    events.iter_mut().for_each(webhook::bound);
    let before = events.len();
    let events = of_recipients(tx, &reported_about, events).await?;
    if events.len() < before {
        count(name_of(kind), "stranger");
        tracing::warn!(%connection, message = %reported_about.message,
            "a mail reports about somebody the message did not go to; nothing follows for them");
    }
    if is_letter(&content) {
        count(name_of(kind), "joined");
        let answered = Answered::Proven(Some(Proven {
            message: reported_about.message,
            delivery: reported_about.delivery,
            contact: reported_about.contact,
        }));
        let kept = Kept {
            events,
            ..letter(&mail, content)
        };
        return Ok((kept, answered));
    }
    count(
        name_of(kind),
        if events.is_empty() { "ignored" } else { "applied" },
    );
    let kept = Kept {
        events,
        ..Kept::default()
    };
    Ok((kept, nothing.1))
}

/// What no address and no header proves to be about a message: a letter is kept, all else changes nothing.
fn unproven(connection: ConnectionId, mail: &KeptMail, content: MailContent) -> (Kept, Answered) {
    let kind = name_of(content.report.kind);
    if is_letter(&content) {
        count(kind, "unjoined");
        return (letter(mail, content), Answered::Proven(None));
    }
    count(kind, "unproved");
    tracing::warn!(%connection, kind, "a mail is about no message that this connection sent; nothing follows");
    (Kept::default(), Answered::Proven(None))
}

/// A person's words, or a machine's answer in a person's place.
fn is_letter(content: &MailContent) -> bool {
    matches!(content.report.kind, MailKind::Reply | MailKind::AutoReply)
        || matches!(content.report.kind, MailKind::Other | MailKind::Unsubscribe) && !content.is_report
}

/// What a message is an answer to that came by mail and was handed in by a provider: what its headers name, if that went over
/// this connection.
pub(crate) async fn answered(
    tx: &mut TenantTx,
    connection: ConnectionId,
    message: &InboundMessage,
) -> Result<Answered, EngineError> {
    let named = message.in_reply_to.as_deref().and_then(message_of);
    let delivery = match named {
        Some(named) => reports::of_message(tx, connection, named).await?,
        None => None,
    };
    let Some(delivery) = delivery else {
        return Ok(Answered::Proven(None));
    };
    let proven = reports::lock(tx, delivery).await?.map(|reported| Proven {
        message: reported.message,
        delivery: reported.delivery,
        contact: reported.contact,
    });
    Ok(Answered::Proven(proven))
}

/// The delivery a mail is about: by the token of its address, or at our own address by the `Message-ID` it answers. Only what
/// went over this connection counts. Reports are believed at a return path alone.
async fn proven(
    tx: &mut TenantTx,
    connection: ConnectionId,
    about: &MailAddress,
    content: &MailContent,
) -> Result<Option<Reported>, EngineError> {
    let reports_delivery = matches!(
        content.report.kind,
        MailKind::Bounce | MailKind::Delay | MailKind::Delivered | MailKind::Complaint
    );
    if (reports_delivery || content.is_report) && !matches!(about, MailAddress::Bounce { .. }) {
        return Ok(None);
    }
    let delivery = match about {
        MailAddress::Bounce { reference } | MailAddress::Reply { reference } => {
            let delivery = track::delivery_of(reference);
            let wanted = Wanted {
                connection,
                delivery,
                provider_message_id: None,
            };
            reports::find(tx, wanted).await?
        }
        MailAddress::Own => {
            let answered = content.report.original_message_id.as_deref().and_then(message_of);
            match answered {
                Some(message) => reports::of_message(tx, connection, message).await?,
                None => None,
            }
        }
    };
    let Some(delivery) = delivery else {
        return Ok(None);
    };
    reports::lock_ahead(tx, &[], &[delivery], &[delivery]).await?;
    Ok(reports::lock(tx, delivery).await?)
}

/// The message of a `Message-ID` of ours: `<message id in 32 digits>@<host>`.
fn message_of(header: &str) -> Option<MessageId> {
    let id = header.trim().trim_matches(['<', '>']).split_once('@')?.0;
    (id.len() == 32)
        .then(|| Uuid::try_parse(id).ok())
        .flatten()
        .map(MessageId)
}

fn reference_of(about: &MailAddress, reported: &Reported) -> String {
    match about {
        MailAddress::Bounce { reference } | MailAddress::Reply { reference } => reference.clone(),
        MailAddress::Own => format!("{}-{}", reported.delivery, reported.attempt_no),
    }
}

/// The events that name nobody, or a recipient of the message.
async fn of_recipients(
    tx: &mut TenantTx,
    reported: &Reported,
    events: Vec<ReportedEvent>,
) -> Result<Vec<ReportedEvent>, EngineError> {
    let mut kept = Vec::new();
    for event in events {
        let ours = match &event.recipient {
            None => true,
            Some(named) => match tidings_core::Address::parse(Channel::Email, named.expose(), None) {
                Ok(address) => contacts::find_by_address(tx, &address)
                    .await?
                    .contains(&reported.contact),
                Err(_) => false,
            },
        };
        if ours {
            kept.push(event);
        }
    }
    Ok(kept)
}

fn letter(mail: &KeptMail, content: MailContent) -> Kept {
    let handled_keyword = content
        .wants_out()
        .then(|| InboundMessage::UNSUBSCRIBE.to_owned());
    let from = content.from.unwrap_or_else(|| mail.from.clone());
    let key = content.message_id.as_deref().unwrap_or(&mail.digest);
    let media = content.attachments.into_iter().enumerate();
    let mut message = InboundMessage {
        dedupe_key: format!("mail:{key}"),
        channel: Channel::Email,
        from,
        to: Some(mail.to.clone()),
        name: content.name,
        subject: content.subject,
        text: content.text,
        whatsapp: None,
        provider_message_id: content.message_id,
        occurred_at: None,
        media: media
            .map(|(number, content_type)| InboundMedia {
                content_type,
                location: format!("part {}", number + 1),
            })
            .collect(),
        handled_keyword,
        in_reply_to: content.report.original_message_id,
        automatic: content.automatic,
    };
    webhook::bound_message(&mut message);
    Kept {
        inbound: vec![message],
        ..Kept::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_attempt() {
        let id = Uuid::from_u128(0x0197_a2b0_0000_7000_8000_0000_0000_0001);
        let mac = "0123456789abcdef0123";
        for purpose in ["b", "R"] {
            assert_eq!(
                claimed(&format!("{purpose}+{id}-12-{mac}")),
                Some((DeliveryId(id), 12))
            );
        }
        for wrong in [
            "",
            "b+",
            "news",
            &format!("x+{id}-1-{mac}"),
            &format!("b+{id}-{mac}"),
            &format!("b+{id}-x-{mac}"),
        ] {
            assert_eq!(claimed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_message_id_of_ours_names_its_message() {
        let id = Uuid::from_u128(0x0197_a2b0_0000_7000_8000_0000_0000_0001);
        let header = format!("<{}@tidings.example>", id.simple());
        assert_eq!(message_of(&header), Some(MessageId(id)));
        for wrong in ["", "<>", "<x@y>", &format!("<{id}@y>"), &id.simple().to_string()] {
            assert_eq!(message_of(wrong), None, "{wrong}");
        }
    }
}
