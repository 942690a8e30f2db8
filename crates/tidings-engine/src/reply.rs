//! Messages from contacts: keywords obeyed, replies joined to what they answer.

use crate::accept::{self, Submission};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::request::{AcceptError, AcceptRequest, MAX_REQUESTS, MAX_SOURCE_REFERENCE, Recipient};
use crate::{track, unsubscribe, whatsapp};
use jiff::Timestamp;
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::event::DeliveryEventKind;
use tidings_core::keyword::{self, Keyword};
use tidings_core::{
    Address, Category, Channel, ConnectionId, ContactId, DeliveryEventId, DeliveryId, Dice, MessageId,
    MessageType, Provenance, TenantId, Urgency,
};
use tidings_providers::InboundMessage;
use tidings_store::contacts::{self, AddressKind};
use tidings_store::events::{self, NewEvent};
use tidings_store::suppressions::{self, NewSuppression};
use tidings_store::tracking::inbound::{self, NewInbound};
use tidings_store::tracking::inbox::WebhookTarget;
use tidings_store::tracking::reports::{self, NewReport};
use tidings_store::whatsapp::users;
use tidings_store::{BlindIndex, TenantTx};

/// The contacts that the keyword of a message is about; none where it has no keyword to obey.
pub(crate) async fn touched(
    tx: &mut TenantTx,
    target: &WebhookTarget,
    message: &InboundMessage,
) -> Result<Vec<ContactId>, EngineError> {
    if matches!(keyword_of(message), Keyword::OptOut | Keyword::OptIn) {
        Ok(whatsapp::author(tx, target.connection, message).await?.1)
    } else {
        Ok(Vec::new())
    }
}

/// Obeys STOP and START at once, in the transaction that stores the webhook: when the provider has its answer, no
/// dispatch to the sender begins any more. The users and contacts it is about are locked already. By e-mail a wish to be left
/// alone unsubscribes, and nothing is begun again.
pub(crate) async fn apply_keyword(
    tx: &mut TenantTx,
    target: &WebhookTarget,
    message: &InboundMessage,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let word = keyword_of(message);
    if !matches!(word, Keyword::OptOut | Keyword::OptIn) {
        return Ok(());
    }
    if message.channel == Channel::Email {
        return unsubscribe::by_mail(tx, message.from.expose(), dice, now).await;
    }
    // A user of WhatsApp may have no number; a sender of anything else that is no address is nobody.
    let known = Address::parse(message.channel, message.from.expose(), None).is_ok();
    if !known && message.channel != Channel::Whatsapp {
        return Ok(());
    }
    let tenant = tx.tenant();
    let (index, holders) = whatsapp::author(tx, target.connection, message).await?;
    let source = format!("keyword over {}", target.connection);
    if word == Keyword::OptOut {
        let item = NewSuppression {
            tenant,
            channel: message.channel,
            blind_index: index,
            reason: SuppressionReason::Stop,
            source,
            detail: None,
        };
        suppressions::add(tx, &[item], dice, now).await?;
        for contact in &holders {
            contacts::stop(tx, *contact, message.channel, now).await?;
        }
    } else {
        let known = contacts::get_many(tx, &holders).await?;
        let mut lifted = 0;
        for index in remembered(tx, message, index, &known).await? {
            lifted += suppressions::lift_matching(tx, message.channel, index, reasons(message), &source, now)
                .await?;
        }
        let stopped = known
            .iter()
            .any(|contact| contact.preferences.stopped.contains(&message.channel));
        if lifted == 0 && !stopped {
            // A "yes" that answers a question of ours, most likely.
            return Ok(());
        }
        for contact in &holders {
            contacts::start(tx, *contact, message.channel, now).await?;
        }
    }
    let kind = if word == Keyword::OptOut {
        "ContactStopped"
    } else {
        "ContactStarted"
    };
    let entries: Vec<_> = holders
        .iter()
        .map(|contact| entry(tx, kind, *contact, None, message.channel))
        .collect();
    events::append(tx, &entries, dice, now).await?;
    Ok(())
}

/// Under what a START is looked for: the sender, and by WhatsApp whatever else the same person was seen under. A stop that a user
/// without a number gave stands under the user, and would come back when the user is joined to a contact again.
async fn remembered(
    tx: &mut TenantTx,
    message: &InboundMessage,
    sender: BlindIndex,
    known: &[contacts::Contact],
) -> Result<Vec<BlindIndex>, EngineError> {
    let mut indexes = vec![sender];
    if message.channel != Channel::Whatsapp {
        return Ok(indexes);
    }
    let has_number = Address::parse(Channel::Whatsapp, message.from.expose(), None).is_ok();
    for contact in known {
        indexes.extend(users::of_contact(tx, contact.id).await?);
        if !has_number {
            let addresses = contact.addresses.iter();
            let phones = addresses.filter(|address| address.kind == AddressKind::Phone);
            indexes.extend(phones.map(|address| address.blind_index));
        }
    }
    Ok(indexes)
}

/// What a START lifts. "Yes" undoes a STOP, as providers have it, but is no subscription: it may answer something else.
fn reasons(message: &InboundMessage) -> &'static [SuppressionReason] {
    if is_yes(message) {
        &[SuppressionReason::Stop]
    } else {
        &[SuppressionReason::Stop, SuppressionReason::Unsubscribe]
    }
}

fn is_yes(message: &InboundMessage) -> bool {
    message
        .text
        .expose()
        .trim()
        .trim_end_matches(['.', '!'])
        .eq_ignore_ascii_case("yes")
}

/// A keyword that its sender gets one answer to.
#[derive(Clone, Debug)]
pub(crate) struct ToAnswer {
    /// Who wrote.
    pub contact: ContactId,
    /// By which channel.
    pub channel: Channel,
    /// The built-in message type of the answer.
    pub message_type: &'static str,
    /// The same for the same message, so that it is answered once.
    pub source_reference: String,
}

/// What a message from a contact is an answer to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answered {
    /// The newest message that went to its sender; the provider vouches for the sender.
    Newest,
    /// What its address or its headers prove, if they prove anything. A mail's `From` is only a claim.
    Proven(Option<Proven>),
}

/// A delivery that a mail was proved to be about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proven {
    /// The message.
    pub message: MessageId,
    /// Its delivery.
    pub delivery: DeliveryId,
    /// To whom it went.
    pub contact: ContactId,
}

/// Stores a message and joins it to what it answers. The answer says what keyword wants a
/// confirmation; it says so again when the same message comes again.
pub(crate) async fn store(
    inner: &Inner,
    tx: &mut TenantTx,
    connection: ConnectionId,
    message: &InboundMessage,
    given: &Answered,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Option<ToAnswer>, EngineError> {
    let (index, holders) = whatsapp::author(tx, connection, message).await?;
    let (contact, answered) = match (given, holders.first().copied()) {
        (Answered::Newest, None) => (None, None),
        (Answered::Newest, Some(contact)) => (
            Some(contact),
            reports::last_sent_to(tx, contact, message.channel).await?,
        ),
        // Filed with who its From names, and nothing more: it joins no message and proves no arrival.
        (Answered::Proven(None), contact) => (contact, None),
        // Somebody else who holds the address of the answer: kept with it, but nothing is concluded about the contact.
        (Answered::Proven(Some(proven)), _) => (
            holders.contains(&proven.contact).then_some(proven.contact),
            Some((proven.message, Some(proven.delivery))),
        ),
    };
    let claimed = matches!(given, Answered::Proven(None));
    let word = keyword_of(message);
    let content = serde_json::to_vec(message).map_err(|error| EngineError::Conflict {
        problem: format!("an inbound message cannot be kept: {error}"),
    })?;
    let occurred_at = message.occurred_at.unwrap_or(now);
    let id = dice.uuid(now);
    let row = NewInbound {
        id,
        contact,
        connection,
        channel: message.channel,
        dedupe_key: message.dedupe_key.clone(),
        from_index: index,
        content,
        provider_message_id: message.provider_message_id.clone(),
        in_reply_to: answered.map(|pair| pair.0),
        keyword: (word != Keyword::None).then(|| word.as_str()),
        automatic: message.automatic,
        occurred_at,
    };
    let answer = contact.and_then(|contact| answer_to(message, word, contact));
    if !inbound::insert(tx, &row, now).await? {
        return Ok(answer);
    }
    metrics::counter!("tidings_inbound_messages_total", "channel" => message.channel.as_str()).increment(1);
    let Some(contact) = contact else {
        tracing::info!(inbound = %id, "a message came from an address no contact has");
        return Ok(None);
    };
    let opens_window = message.whatsapp.as_ref().is_none_or(|of| of.opens_window);
    if message.channel == Channel::Whatsapp && opens_window {
        // By the message's own time, but never beyond ours: a clock that runs ahead must not lengthen the window.
        contacts::note_whatsapp_inbound(tx, contact, occurred_at.min(now)).await?;
    }
    if let Some((_, Some(delivery))) = answered
        && !message.automatic
        && let Some(reported) = reports::lock(tx, delivery).await?
    {
        let report = NewReport {
            id: DeliveryEventId(dice.uuid(now)),
            connection,
            dedupe_key: format!("reply:{}", row.dedupe_key).chars().take(500).collect(),
            delivery: Some(reported.delivery),
            message: Some(reported.message),
            kind: DeliveryEventKind::Replied,
            provenance: Provenance::Webhook,
            bounce_class: None,
            error_category: None,
            code: None,
            detail: None,
            occurred_at,
        };
        track::note(inner, tx, reported, &report, dice, now).await?;
    }
    let kind = if word == Keyword::Review {
        "OptOutReviewNeeded"
    } else {
        "MessageReceived"
    };
    let mut event = entry(tx, kind, contact, answered.map(|pair| pair.0), message.channel);
    if claimed {
        // Only its From names the contact: whoever acts on the entry should know.
        event.data = serde_json::json!({ "channel": message.channel, "proved": false });
    }
    events::append(tx, &[event], dice, now).await?;
    Ok(answer)
}

/// HELP and START are answered once, unless the provider has done so. STOP gets no answer of ours: what a stopped channel
/// carries last is the provider's own confirmation.
fn answer_to(message: &InboundMessage, word: Keyword, contact: ContactId) -> Option<ToAnswer> {
    let message_type = match word {
        Keyword::Help => "sms_help",
        Keyword::OptIn => "sms_opt_in",
        Keyword::OptOut | Keyword::None | Keyword::Review => return None,
    };
    let open = message.handled_keyword.is_none() && !is_yes(message);
    open.then(|| ToAnswer {
        contact,
        channel: message.channel,
        message_type,
        source_reference: format!("keyword:{}", message.dedupe_key)
            .chars()
            .take(MAX_SOURCE_REFERENCE)
            .collect(),
    })
}

/// Accepts the answers, each once.
pub(crate) async fn answer(
    inner: &Inner,
    tenant: TenantId,
    answers: Vec<ToAnswer>,
) -> Result<(), EngineError> {
    let mut requests = Vec::with_capacity(answers.len());
    for answer in answers {
        let message_type =
            MessageType::parse(answer.message_type).map_err(|error| EngineError::Conflict {
                problem: error.to_string(),
            })?;
        let mut request = AcceptRequest::new(Recipient::ContactId(answer.contact), message_type);
        request.channel = Some(answer.channel);
        request.category = Some(Category::Transactional);
        request.urgency = Some(Urgency::Critical);
        request.source_reference = Some(answer.source_reference);
        requests.push(request);
    }
    for requests in requests.chunks(MAX_REQUESTS) {
        let submission = Submission {
            tenant,
            requests: requests.to_vec(),
            key: None,
            carrier: None,
        };
        for refused in accept::accept_batch(inner, vec![submission])
            .await
            .into_iter()
            .flatten()
            .filter_map(Result::err)
        {
            if let AcceptError::Unavailable { reason } = refused {
                return Err(EngineError::Conflict { problem: reason });
            }
            tracing::warn!(error = %refused, "the answer to a keyword was not accepted");
        }
    }
    Ok(())
}

/// What a message asks for. The provider's own reading counts where it gives one.
pub(crate) fn keyword_of(message: &InboundMessage) -> Keyword {
    if message.channel == Channel::Email {
        return match message.handled_keyword.as_deref() {
            Some(InboundMessage::UNSUBSCRIBE) => Keyword::OptOut,
            _ => Keyword::None,
        };
    }
    if message.automatic {
        return Keyword::None;
    }
    match message.handled_keyword.as_deref() {
        Some("STOP") => Keyword::OptOut,
        Some("START") => Keyword::OptIn,
        Some("HELP") => Keyword::Help,
        _ => keyword::classify(message.text.expose()),
    }
}

fn entry(
    tx: &TenantTx,
    kind: &str,
    contact: ContactId,
    message: Option<MessageId>,
    channel: Channel,
) -> NewEvent {
    NewEvent {
        tenant: tx.tenant(),
        kind: kind.to_owned(),
        contact: Some(contact),
        message,
        subject: None,
        data: serde_json::json!({ "channel": channel }),
    }
}
