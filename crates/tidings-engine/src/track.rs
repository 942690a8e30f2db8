//! Reports about deliveries, applied: stored once, joined into what is known, and learned from. Indifferent to order
//! and repetition.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::figures;
use crate::late::{self, Meaning};
use crate::learn::{learn, touches_contact};
use crate::whatsapp;
use jiff::Timestamp;
use tidings_core::event::DeliveryEventKind;
use tidings_core::status::{self, Standing};
use tidings_core::{
    Channel, ConnectionId, ContactId, DeliveryEventId, DeliveryId, DeliveryState, Dice, MessageId,
    MessageStatus, Provenance,
};
use tidings_providers::ReportedEvent;
use tidings_store::TenantTx;
use tidings_store::events::{self, NewEvent};
use tidings_store::tracking::moves::{self, Move};
use tidings_store::tracking::reports::{self, NewReport, Reported, Wanted};

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

/// Reports that became known together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard<'a> {
    /// How.
    pub source: Source,
    /// The connection's channel; none when it was removed since.
    pub channel: Option<Channel>,
    /// What was said.
    pub events: &'a [ReportedEvent],
}

/// Reports with the deliveries they are about.
pub(crate) struct Found<'a> {
    pairs: Vec<Pair<'a>>,
    /// How many found no delivery, of each part that was heard.
    pub unmatched: Vec<usize>,
}

struct Pair<'a> {
    source: Source,
    event: &'a ReportedEvent,
    delivery: DeliveryId,
}

/// Finds what reports are about. Preferences are left out: they were obeyed when their webhook was stored.
pub(crate) async fn find<'a>(tx: &mut TenantTx, heard: &[Heard<'a>]) -> Result<Found<'a>, EngineError> {
    let about: Vec<(usize, Source, &ReportedEvent)> = heard
        .iter()
        .enumerate()
        .flat_map(|(part, one)| one.events.iter().map(move |event| (part, one, event)))
        .filter(|(_, one, event)| !whatsapp::is_preference(one.channel, event))
        .map(|(part, one, event)| (part, one.source, event))
        .collect();
    let wanted: Vec<Wanted<'_>> = about
        .iter()
        .map(|(_, source, event)| Wanted {
            connection: source.connection,
            delivery: event.reference.as_deref().and_then(delivery_of),
            provider_message_id: event.provider_message_id.as_deref(),
        })
        .collect();
    let mut found = Found {
        pairs: Vec::with_capacity(about.len()),
        unmatched: vec![0; heard.len()],
    };
    let deliveries = reports::find_all(tx, &wanted).await?;
    for ((part, source, event), delivery) in about.into_iter().zip(deliveries) {
        match delivery {
            Some(delivery) => found.pairs.push(Pair {
                source,
                event,
                delivery,
            }),
            None => {
                if let Some(count) = found.unmatched.get_mut(part) {
                    *count += 1;
                }
            }
        }
    }
    Ok(found)
}

impl Found<'_> {
    /// Locks what the reports touch, and these contacts: contacts first and each in order of id, as everybody does, so that two
    /// webhooks, or a webhook and the gate, never wait for each other in a circle.
    pub async fn lock(&self, tx: &mut TenantTx, contacts: &[ContactId]) -> Result<(), EngineError> {
        let touching = self.pairs.iter().filter(|pair| touches_contact(pair.event));
        let touching: Vec<_> = touching.map(|pair| pair.delivery).collect();
        Ok(reports::lock_ahead(tx, contacts, &touching, &self.deliveries()).await?)
    }

    fn deliveries(&self) -> Vec<DeliveryId> {
        self.pairs.iter().map(|pair| pair.delivery).collect()
    }
}

/// Applies reports that were found and locked, in their order.
pub(crate) async fn apply(
    inner: &Inner,
    tx: &mut TenantTx,
    found: &Found<'_>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let mut known = reports::lock_all(tx, &found.deliveries()).await?;
    let mut told = Vec::with_capacity(found.pairs.len());
    for pair in &found.pairs {
        // One that retention removed meanwhile is passed over.
        if let Some(reported) = known.get(&pair.delivery) {
            told.push((pair.event, report_of(pair, reported, dice, now)));
        }
    }
    let all: Vec<NewReport> = told.iter().map(|(_, report)| report.clone()).collect();
    let fresh = reports::insert(tx, &all, now).await?;
    let mut changes = Changes::default();
    for (event, report) in told.iter().filter(|(_, report)| fresh.contains(&report.id)) {
        let Some(delivery) = report.delivery else { continue };
        if !known.contains_key(&delivery) {
            changes.write(tx, dice, now).await?;
            known.extend(reports::lock_all(tx, &[delivery]).await?);
        }
        let Some(reported) = known.get_mut(&delivery) else {
            continue;
        };
        let effect = record(inner, tx, &mut changes, reported, report, event, dice, now).await?;
        let message = reported.message;
        match effect {
            Effect::Nothing => {}
            // Another delivery of the message sees it differently now.
            Effect::Moved => known.retain(|id, other| other.message != message || *id == delivery),
            Effect::Elsewhere => known.retain(|_, other| other.message != message),
        }
    }
    changes.write(tx, dice, now).await
}

fn report_of(pair: &Pair<'_>, reported: &Reported, dice: &mut Dice, now: Timestamp) -> NewReport {
    let Pair { source, event, .. } = pair;
    NewReport {
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
    }
}

/// What a report did to what is known of its delivery and message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Nothing changes.
    Nothing,
    /// It changed, and what is known was changed with it.
    Moved,
    /// It was changed in the database; whoever goes on must look again.
    Elsewhere,
}

/// What reports change, gathered so that many are written by a few statements. A delivery and a message stand in it once.
#[derive(Default)]
struct Changes {
    moves: Vec<Move>,
    standings: Vec<(MessageId, Standing, Timestamp)>,
    events: Vec<NewEvent>,
}

impl Changes {
    async fn write(&mut self, tx: &mut TenantTx, dice: &mut Dice, now: Timestamp) -> Result<(), EngineError> {
        let changes = std::mem::take(self);
        if !changes.moves.is_empty() {
            moves::move_deliveries(tx, &changes.moves, now).await?;
        }
        if !changes.standings.is_empty() {
            moves::set_standings(tx, &changes.standings).await?;
        }
        Ok(events::append(tx, &changes.events, dice, now).await?)
    }

    fn holds(&self, reported: &Reported) -> bool {
        self.moves.iter().any(|one| one.delivery == reported.delivery)
            || self.standings.iter().any(|one| one.0 == reported.message)
    }
}

/// Follows a report that was stored just now.
#[expect(clippy::too_many_arguments, reason = "one step of a batch")]
async fn record(
    inner: &Inner,
    tx: &mut TenantTx,
    changes: &mut Changes,
    reported: &mut Reported,
    report: &NewReport,
    event: &ReportedEvent,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Effect, EngineError> {
    if is_outdated(reported, event) {
        // Kept, and the message does not follow: a newer attempt of the delivery is the one that counts. What it says of the
        // address stands, unless the newer one arrived there.
        if reported.state != DeliveryState::Delivered {
            learn(tx, reported, report, event, dice, now).await?;
        }
        return Ok(Effect::Nothing);
    }
    let (state, sent_at) = (reported.state, reported.sent_at);
    let id = event.provider_message_id.as_deref();
    let effect = follow(inner, tx, changes, reported, report, id, dice, now).await?;
    metrics::counter!("tidings_delivery_events_total", "kind" => event.kind.as_str(), "channel" => reported.channel.as_str())
        .increment(1);
    // When we asked says nothing about when it arrived.
    let timed = report.provenance == Provenance::Webhook || event.occurred_at.is_some();
    if event.kind == DeliveryEventKind::Delivered
        && state != DeliveryState::Delivered
        && timed
        && let Some(sent_at) = sent_at
    {
        figures::delivery_time(reported.channel, report.occurred_at.duration_since(sent_at));
    }
    if touches_contact(event) {
        // In the log the message's own news comes first.
        changes.write(tx, dice, now).await?;
    }
    learn(tx, reported, report, event, dice, now).await?;
    Ok(effect)
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

/// Stores a report and moves delivery and message by it, unless it is stored already.
pub(crate) async fn note(
    inner: &Inner,
    tx: &mut TenantTx,
    mut reported: Reported,
    report: &NewReport,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let fresh = reports::insert(tx, std::slice::from_ref(report), now).await?;
    if fresh.is_empty() {
        return Ok(());
    }
    let mut changes = Changes::default();
    follow(inner, tx, &mut changes, &mut reported, report, None, dice, now).await?;
    changes.write(tx, dice, now).await
}

/// Moves a delivery and its message by a report that was stored just now.
#[expect(clippy::too_many_arguments, reason = "one step of a batch")]
async fn follow(
    inner: &Inner,
    tx: &mut TenantTx,
    changes: &mut Changes,
    reported: &mut Reported,
    report: &NewReport,
    provider_message_id: Option<&str>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Effect, EngineError> {
    if changes.holds(reported) {
        changes.write(tx, dice, now).await?;
    }
    if late::may_come_again(reported, report) && late::again(inner, tx, reported, report, dice, now).await? {
        return Ok(Effect::Elsewhere);
    }
    // As it stood: what the report means does not depend on what it does to the delivery.
    let meaning = late::meaning(reported, report);
    let mut effect = Effect::Nothing;
    if let Some(state) = moved_to(reported.state, report.kind) {
        changes.moves.push(Move {
            delivery: reported.delivery,
            state,
            provider_message: provider_message_id.map(|id| (report.connection, id.to_owned())),
        });
        reported.state = state;
        if reported.provider_message_id.is_none() {
            reported.provider_message_id = provider_message_id.map(str::to_owned);
        }
        effect = Effect::Moved;
    }
    match meaning {
        Meaning::Counts => {}
        Meaning::PassedOver => return Ok(effect),
        Meaning::GivesWay(next) => {
            changes.write(tx, dice, now).await?;
            late::give_way(inner, tx, reported, report, next, dice, now).await?;
            return Ok(Effect::Elsewhere);
        }
        Meaning::Arrived => {
            changes.write(tx, dice, now).await?;
            late::call_off(tx, reported, dice, now).await?;
            effect = Effect::Elsewhere;
        }
    }
    let Some(proven) = status::proves(report.kind) else {
        return Ok(effect);
    };
    let told = Standing::new(proven, report.provenance);
    let standing = if meaning == Meaning::Arrived {
        // One channel that arrived is enough, whatever became of the one that took over.
        status::roll_up([reported.standing, told]).unwrap_or(told)
    } else {
        reported.standing.join(told)
    };
    if standing == reported.standing {
        return Ok(effect);
    }
    count(reported, standing.status);
    changes
        .standings
        .push((reported.message, standing, report.occurred_at));
    changes.events.push(NewEvent {
        tenant: tx.tenant(),
        kind: log_kind(standing.status).to_owned(),
        contact: Some(reported.contact),
        message: Some(reported.message),
        subject: None,
        data: serde_json::json!({ "channel": reported.channel, "provenance": report.provenance }),
    });
    reported.standing = standing;
    if was_sent(standing.status) {
        reported.sent_at = reported.sent_at.or(Some(report.occurred_at));
    }
    Ok(if effect == Effect::Nothing {
        Effect::Moved
    } else {
        effect
    })
}

/// Counts a status that the message had not reached. What arrived was sent before, also where its answer was lost.
fn count(reported: &Reported, status: MessageStatus) {
    use MessageStatus as Status;
    let before = reported.standing.status;
    if !matches!(before, Status::Bounced | Status::Failed) && !was_sent(before) && was_sent(status) {
        figures::communication(Some(reported.channel), &reported.message_type, Status::Sent);
    }
    if status != before && status != Status::Sent {
        figures::communication(Some(reported.channel), &reported.message_type, status);
    }
}

/// Whether a message of the status has left.
const fn was_sent(status: MessageStatus) -> bool {
    use MessageStatus as Status;
    matches!(
        status,
        Status::Sent | Status::Delivered | Status::Opened | Status::Clicked
    )
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
