//! Reports about deliveries, applied: stored once, joined into what is known, and learned from. Indifferent to order
//! and repetition.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::figures;
use crate::late::{self, Meaning};
use crate::whatsapp;
use jiff::Timestamp;
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_core::soft_bounce::{self, Consequence};
use tidings_core::status::{self, Standing};
use tidings_core::{
    Address, Channel, ConnectionId, ContactId, DeliveryEventId, DeliveryId, DeliveryState, Dice,
    MessageStatus, Provenance,
};
use tidings_providers::{ReportedEvent, SuppressBecause};
use tidings_store::events::{self, NewEvent};
use tidings_store::suppressions::{self, NewSuppression};
use tidings_store::tracking::reports::{self, NewReport, Reported};
use tidings_store::{BlindIndex, TenantTx, contacts};

/// The reports of a webhook with the deliveries they are about.
pub(crate) struct Found<'a> {
    pairs: Vec<(&'a ReportedEvent, DeliveryId)>,
    /// How many found no delivery.
    pub unmatched: usize,
}

/// How reports became known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// The connection they are of.
    pub connection: ConnectionId,
    /// Told by the provider, or asked for.
    pub provenance: Provenance,
    /// When; it stands in for times that the provider does not tell.
    pub received_at: Timestamp,
}

impl Source {
    /// A verified webhook, or what stands in for one.
    pub const fn webhook(connection: ConnectionId, received_at: Timestamp) -> Self {
        Self {
            connection,
            provenance: Provenance::Webhook,
            received_at,
        }
    }

    /// The answer to a question.
    pub const fn poll(connection: ConnectionId, received_at: Timestamp) -> Self {
        Self {
            connection,
            provenance: Provenance::Poll,
            received_at,
        }
    }
}

/// Finds what reports are about. Preferences are left out: they were obeyed when their webhook was stored.
pub(crate) async fn find<'a>(
    tx: &mut TenantTx,
    connection: ConnectionId,
    channel: Option<Channel>,
    events: &'a [ReportedEvent],
) -> Result<Found<'a>, EngineError> {
    let mut found = Found {
        pairs: Vec::with_capacity(events.len()),
        unmatched: 0,
    };
    for event in events {
        if whatsapp::is_preference(channel, event) {
            continue;
        }
        let wanted = event.reference.as_deref().and_then(delivery_of);
        match reports::find(tx, connection, wanted, event.provider_message_id.as_deref()).await? {
            Some(delivery) => found.pairs.push((event, delivery)),
            None => found.unmatched += 1,
        }
    }
    Ok(found)
}

impl Found<'_> {
    /// Locks what the reports touch, and these contacts: contacts first and each in order of id, as everybody does, so that two
    /// webhooks, or a webhook and the gate, never wait for each other in a circle.
    pub async fn lock(&self, tx: &mut TenantTx, contacts: &[ContactId]) -> Result<(), EngineError> {
        let touching = self.pairs.iter().filter(|(event, _)| touches_contact(event));
        let touching: Vec<_> = touching.map(|(_, delivery)| *delivery).collect();
        let deliveries: Vec<_> = self.pairs.iter().map(|(_, delivery)| *delivery).collect();
        Ok(reports::lock_ahead(tx, contacts, &touching, &deliveries).await?)
    }
}

/// Applies reports that were found and locked.
pub(crate) async fn apply(
    inner: &Inner,
    tx: &mut TenantTx,
    source: Source,
    found: &Found<'_>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    for (event, delivery) in &found.pairs {
        let Some(reported) = reports::lock(tx, *delivery).await? else {
            continue;
        };
        let report = NewReport {
            id: DeliveryEventId(dice.uuid(now)),
            connection: source.connection,
            dedupe_key: event.dedupe_key.chars().take(500).collect(),
            delivery: Some(reported.delivery),
            message: Some(reported.message),
            kind: event.kind,
            provenance: source.provenance,
            bounce_class: event.bounce_class,
            error_category: event.error.as_ref().map(|error| error.0),
            code: event.error.as_ref().map(|error| error.1.clone()),
            detail: event.detail.clone(),
            occurred_at: event.occurred_at.unwrap_or(source.received_at),
        };
        record(inner, tx, &reported, report, event, dice, now).await?;
    }
    Ok(())
}

/// Whether a report may end in a suppression, a stop or a mark on an address.
fn touches_contact(event: &ReportedEvent) -> bool {
    event.suppress.is_some() || event.bounce_class == Some(BounceClass::Soft)
}

/// Stores one report and follows it, unless it is stored already.
async fn record(
    inner: &Inner,
    tx: &mut TenantTx,
    reported: &Reported,
    report: NewReport,
    event: &ReportedEvent,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    if is_outdated(reported, event) {
        // Kept, and the message does not follow: a newer attempt of the delivery is the one that counts. What it says of the
        // address stands, unless the newer one arrived there.
        let fresh = reports::insert(tx, std::slice::from_ref(&report), now).await?;
        if fresh.is_empty() || reported.state == DeliveryState::Delivered {
            return Ok(());
        }
        return learn(tx, reported, &report, event, dice, now).await;
    }
    let id = event.provider_message_id.as_deref();
    if !note(inner, tx, reported, &report, id, dice, now).await? {
        return Ok(());
    }
    metrics::counter!("tidings_delivery_events_total", "kind" => event.kind.as_str(), "channel" => reported.channel.as_str())
        .increment(1);
    // When we asked says nothing about when it arrived.
    let timed = report.provenance == Provenance::Webhook || event.occurred_at.is_some();
    if event.kind == DeliveryEventKind::Delivered
        && reported.state != DeliveryState::Delivered
        && timed
        && let Some(sent_at) = reported.sent_at
    {
        figures::delivery_time(reported.channel, report.occurred_at.duration_since(sent_at));
    }
    learn(tx, reported, &report, event, dice, now).await
}

/// A failure or bounce of an attempt that was followed by another.
fn is_outdated(reported: &Reported, event: &ReportedEvent) -> bool {
    let temporary = event
        .error
        .as_ref()
        .is_some_and(|error| late::is_temporary(error.0));
    if event.kind == DeliveryEventKind::Failed && temporary && reported.state == DeliveryState::RetryWait {
        // The second word for the failure it is being tried again after.
        return true;
    }
    let same = |ours: &Option<String>, theirs: &Option<String>| Some(ours.as_ref()? == theirs.as_ref()?);
    matches!(event.kind, DeliveryEventKind::Failed | DeliveryEventKind::Bounced)
        && !same(&reported.provider_message_id, &event.provider_message_id)
            .or_else(|| same(&reported.reference, &event.reference))
            .unwrap_or(reported.attempt_no <= 1)
}

/// Stores a report and moves delivery and message by it; false when it is stored already.
pub(crate) async fn note(
    inner: &Inner,
    tx: &mut TenantTx,
    reported: &Reported,
    report: &NewReport,
    provider_message_id: Option<&str>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<bool, EngineError> {
    if reports::insert(tx, std::slice::from_ref(report), now)
        .await?
        .is_empty()
    {
        return Ok(false);
    }
    if late::may_come_again(reported, report) && late::again(inner, tx, reported, report, dice, now).await? {
        return Ok(true);
    }
    if let Some(state) = moved_to(reported.state, report.kind) {
        let provider = provider_message_id.map(|id| (report.connection, id));
        reports::set_delivery(tx, reported.delivery, state, provider, now).await?;
    }
    let meaning = late::meaning(reported, report);
    match meaning {
        Meaning::Counts => {}
        Meaning::PassedOver => return Ok(true),
        Meaning::GivesWay(next) => {
            late::give_way(inner, tx, reported, report, next, dice, now).await?;
            return Ok(true);
        }
        Meaning::Arrived => late::call_off(tx, reported, dice, now).await?,
    }
    if let Some(proven) = status::proves(report.kind) {
        let told = Standing::new(proven, report.provenance);
        let standing = if meaning == Meaning::Arrived {
            // One channel that arrived is enough, whatever became of the one that took over.
            status::roll_up([reported.standing, told]).unwrap_or(told)
        } else {
            reported.standing.join(told)
        };
        if standing != reported.standing {
            count(reported, standing.status);
            reports::set_standing(tx, reported.message, standing, report.occurred_at).await?;
            let tenant = tx.tenant();
            let event = NewEvent {
                tenant,
                kind: log_kind(standing.status).to_owned(),
                contact: Some(reported.contact),
                message: Some(reported.message),
                subject: None,
                data: serde_json::json!({ "channel": reported.channel, "provenance": report.provenance }),
            };
            events::append(tx, &[event], dice, now).await?;
        }
    }
    Ok(true)
}

/// Counts a status that the message had not reached. What arrived was sent before, also where its answer was lost.
fn count(reported: &Reported, status: MessageStatus) {
    use MessageStatus as Status;
    let before = reported.standing.status;
    let went = |status| {
        matches!(
            status,
            Status::Sent | Status::Delivered | Status::Opened | Status::Clicked
        )
    };
    if !matches!(before, Status::Bounced | Status::Failed) && !went(before) && went(status) {
        figures::communication(Some(reported.channel), &reported.message_type, Status::Sent);
    }
    if status != before && status != Status::Sent {
        figures::communication(Some(reported.channel), &reported.message_type, status);
    }
}

/// Where a delivery stands after a report; none when the report says nothing new about it.
const fn moved_to(state: DeliveryState, kind: DeliveryEventKind) -> Option<DeliveryState> {
    use DeliveryEventKind as Kind;
    use DeliveryState as State;
    let open = matches!(
        state,
        State::Queued | State::Dispatching | State::RetryWait | State::Unknown | State::Held | State::Dropped
    );
    match kind {
        Kind::Accepted | Kind::Deferred if open => Some(State::Accepted),
        Kind::Delivered
        | Kind::MachineOpened
        | Kind::Opened
        | Kind::Clicked
        | Kind::Complained
        | Kind::Replied
            if open || matches!(state, State::Accepted | State::Failed) =>
        {
            Some(State::Delivered)
        }
        Kind::Bounced if !matches!(state, State::Bounced) => Some(State::Bounced),
        Kind::Failed if open || matches!(state, State::Accepted) => Some(State::Failed),
        _ => None,
    }
}

const fn log_kind(status: MessageStatus) -> &'static str {
    match status {
        MessageStatus::Pending => "MessagePending",
        MessageStatus::Queued => "MessageQueued",
        MessageStatus::Sent => "MessageSent",
        MessageStatus::Delivered => "MessageDelivered",
        MessageStatus::Opened => "MessageOpened",
        MessageStatus::Clicked => "MessageClicked",
        MessageStatus::Failed => "MessageFailed",
        MessageStatus::Bounced => "MessageBounced",
        MessageStatus::Suppressed => "MessageSuppressed",
        MessageStatus::Cancelled => "MessageCancelled",
    }
}

/// What a report teaches about the address: suppressions, bad addresses, soft bounces that add up. A block is about the
/// connection's reputation or the content; it is counted for the connection and never against the address.
async fn learn(
    tx: &mut TenantTx,
    reported: &Reported,
    report: &NewReport,
    event: &ReportedEvent,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let class = event
        .bounce_class
        .filter(|_| event.kind == DeliveryEventKind::Bounced);
    if let Some(class) = class {
        metrics::counter!("tidings_bounces_total", "connection" => report.connection.to_string(), "class" => class.as_str())
            .increment(1);
    }
    // Without a code a soft bounce says nothing about the address.
    let soft = class == Some(BounceClass::Soft) && event.error.is_some();
    if event.suppress.is_none() && !soft {
        return Ok(());
    }
    if whatsapp::withdraws_marketing(event) {
        return whatsapp::withdraw_marketing(tx, reported.contact, reported.channel, dice, now).await;
    }
    let Some(address) = address_of(tx, reported, event).await? else {
        tracing::warn!(message = %reported.message, "a report names a recipient that is none of the contact's; nothing was suppressed");
        return Ok(());
    };
    match event.suppress {
        Some(because) => suppress(tx, reported, report, address, because, dice, now).await,
        None => {
            count_soft_bounce(
                tx,
                reported,
                address,
                report.occurred_at.min(now),
                report.code.clone(),
                dice,
                now,
            )
            .await
        }
    }
}

/// Notes a soft bounce and, when they add up, leaves the address alone for a while.
async fn count_soft_bounce(
    tx: &mut TenantTx,
    reported: &Reported,
    address: BlindIndex,
    bounced_at: Timestamp,
    code: Option<String>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let known = contacts::note_soft_bounce(tx, reported.channel, address, bounced_at, now).await?;
    let Consequence::LeaveAlone { until } = soft_bounce::judge(&known.at, known.delivered_at, now) else {
        return Ok(());
    };
    let reason = SuppressionReason::SoftBounce;
    let item = NewSuppression {
        tenant: tx.tenant(),
        channel: reported.channel,
        blind_index: address,
        reason,
        source: "soft bounces on three days".to_owned(),
        detail: code,
    };
    suppressions::add_until(tx, item, until, dice, now).await?;
    log_suppressed(tx, reported, reason, Some(until), dice, now).await
}

/// Why an address is suppressed, as it is kept.
pub(crate) const fn reason_of(because: SuppressBecause) -> SuppressionReason {
    match because {
        SuppressBecause::HardBounce => SuppressionReason::HardBounce,
        SuppressBecause::Complaint => SuppressionReason::Complaint,
        SuppressBecause::Unsubscribe | SuppressBecause::MarketingStop => SuppressionReason::Unsubscribe,
        SuppressBecause::Stop => SuppressionReason::Stop,
    }
}

async fn suppress(
    tx: &mut TenantTx,
    reported: &Reported,
    report: &NewReport,
    address: BlindIndex,
    because: SuppressBecause,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let tenant = tx.tenant();
    let reason = reason_of(because);
    let item = NewSuppression {
        tenant,
        channel: reported.channel,
        blind_index: address,
        reason,
        source: format!("provider {}", report.provenance),
        detail: report.code.clone(),
    };
    suppressions::add(tx, &[item], dice, now).await?;
    match because {
        SuppressBecause::HardBounce => {
            let why = report.code.as_deref().unwrap_or(reason.as_str());
            let why: String = why.chars().take(64).collect();
            contacts::mark_known_bad(tx, tenant, address, &why, now).await?;
        }
        SuppressBecause::Stop => contacts::stop(tx, reported.contact, reported.channel, now).await?,
        SuppressBecause::Complaint | SuppressBecause::Unsubscribe | SuppressBecause::MarketingStop => {}
    }
    log_suppressed(tx, reported, reason, None, dice, now).await
}

async fn log_suppressed(
    tx: &mut TenantTx,
    reported: &Reported,
    reason: SuppressionReason,
    until: Option<Timestamp>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let event = NewEvent {
        tenant: tx.tenant(),
        kind: "AddressSuppressed".to_owned(),
        contact: Some(reported.contact),
        message: Some(reported.message),
        subject: None,
        data: serde_json::json!({ "channel": reported.channel, "reason": reason, "until": until }),
    };
    events::append(tx, &[event], dice, now).await?;
    tracing::info!(message = %reported.message, reason = reason.as_str(), "an address was suppressed");
    Ok(())
}

/// The address a report is about. A named recipient counts only when it is one of the contact's: a report must not
/// suppress a stranger.
pub(crate) async fn address_of(
    tx: &mut TenantTx,
    reported: &Reported,
    event: &ReportedEvent,
) -> Result<Option<BlindIndex>, EngineError> {
    let primary = reports::primary_index(tx, reported.contact, reported.channel).await?;
    let Some(named) = &event.recipient else {
        return Ok(primary);
    };
    let Ok(address) = Address::parse(reported.channel, named.expose(), None) else {
        return Ok(primary);
    };
    let tenant = tx.tenant();
    let keyring = tx.keyring();
    let index = keyring.tenant_key(tx, tenant).await?.blind_index(&address);
    let holders = contacts::find_by_address(tx, &address).await?;
    Ok(holders.contains(&reported.contact).then_some(index))
}

/// The delivery in a reference of ours.
pub(crate) fn delivery_of(reference: &str) -> Option<DeliveryId> {
    attempt_of(reference).map(|attempt| attempt.0)
}

/// The delivery and the number of the attempt in a reference of ours: `<delivery id>-<attempt number>`.
pub(crate) fn attempt_of(reference: &str) -> Option<(DeliveryId, i32)> {
    let (id, number) = reference.rsplit_once('-')?;
    Some((id.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_its_delivery() {
        let id = "0197a2b0-0000-7000-8000-000000000001";
        assert_eq!(
            delivery_of(&format!("{id}-3"))
                .map(|id| id.to_string())
                .as_deref(),
            Some(id)
        );
        for wrong in ["", "x", id, "0197a2b0-3", &format!("{id}-x")] {
            assert_eq!(delivery_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_delivery_never_moves_back() {
        use DeliveryEventKind as Kind;
        use DeliveryState as State;
        for (from, kind, to) in [
            (State::Dispatching, Kind::Accepted, Some(State::Accepted)),
            (State::Unknown, Kind::Delivered, Some(State::Delivered)),
            (State::Accepted, Kind::Accepted, None),
            (State::Delivered, Kind::Accepted, None),
            (State::Delivered, Kind::Failed, None),
            (State::Delivered, Kind::Bounced, Some(State::Bounced)),
            (State::Bounced, Kind::Delivered, None),
            (State::Bounced, Kind::Bounced, None),
            (State::Accepted, Kind::Failed, Some(State::Failed)),
            (State::Accepted, Kind::Unsubscribed, None),
        ] {
            assert_eq!(moved_to(from, kind), to, "{from} {kind}");
        }
    }
}
