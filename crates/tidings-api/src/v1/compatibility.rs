//! Paths that integrations of earlier systems call; each does what its counterpart under `/v1` does.

use super::contact_parts::PreferencesBody;
use super::contacts::{PreferencesView, QuietWindow};
use super::dead_letters::{DeadLetterSelection, SelectionOutcome, replay};
use super::queue::{QueueStatsView, figures};
use crate::ApiState;
use crate::auth::Caller;
use crate::check::Checks;
use crate::extract::{self, Json};
use crate::problem::{Answer, Problem};
use crate::words::ChannelWord;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::civil::Time;
use serde::{Deserialize, Serialize};
use tidings_core::redact::Private;
use tidings_core::{Channel, ConnectionId, ContactId};
use tidings_engine::providers::InboundMessage;
use tidings_engine::store::contacts::{self, AddressInput, AddressKind, ContactInput};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(inbound_message))
        .routes(routes!(queue_stats_compatible))
        .routes(routes!(replay_compatible))
        .routes(routes!(preferences_compatible))
}

/// A message from a contact, handed in by an integration.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"channel": "sms", "from": "+14155552671", "text": "Can we move the appointment?", "name": "Ann Weaver", "external_message_id": "in-4711"}))]
pub struct InboundBody {
    /// The channel it came by.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// Who wrote: an address of the channel. A contact is made when nobody has it.
    #[schema(min_length = 3, max_length = 254)]
    pub from: String,
    /// What was written.
    #[schema(min_length = 1, max_length = 20_000)]
    pub text: String,
    /// Display name, for a new contact.
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// Your id of the message: the same one again is taken in once.
    #[schema(min_length = 1, max_length = 200)]
    pub external_message_id: Option<String>,
}

/// What became of an inbound message.
#[derive(Serialize, ToSchema)]
pub struct InboundTaken {
    /// Whose it is.
    pub contact_id: Uuid,
    /// The contact was made for it.
    pub contact_created: bool,
    /// The keyword that was understood; `none` for other texts.
    pub keyword: String,
}

/// Take in a message from a contact
///
/// Makes the contact when it is missing, obeys STOP, START and HELP, joins it to what it answers. Idempotent by
/// `external_message_id`.
#[utoipa::path(post, path = "/inbound-message", tag = "compatibility", request_body = InboundBody,
    responses((status = 201, description = "Taken in", body = InboundTaken)),
    security(("api_key" = ["messages:write"])))]
async fn inbound_message(
    caller: Caller,
    State(state): State<ApiState>,
    Json(input): Json<InboundBody>,
) -> Answer<(StatusCode, Json<InboundTaken>)> {
    let region = state.default_region(&caller).await?;
    let (contact, inbound) = input.checked(region.as_deref(), &state)?;
    let (contact, created) = find_or_make(&caller, &state, contact, region.as_deref()).await?;
    let nobody = ConnectionId(Uuid::nil());
    let keyword = state.engine().receive(caller.tenant, nobody, &inbound).await?;
    let taken = InboundTaken {
        contact_id: contact.0,
        contact_created: created,
        keyword: keyword.to_owned(),
    };
    Ok((StatusCode::CREATED, Json(taken)))
}

impl InboundBody {
    fn checked(self, region: Option<&str>, state: &ApiState) -> Answer<(NewSender, InboundMessage)> {
        let mut checks = Checks::default();
        let address = checks.address("/from", self.channel, &self.from, region);
        checks.optional_text("/name", self.name.as_deref(), 1, 200);
        checks.optional_text(
            "/external_message_id",
            self.external_message_id.as_deref(),
            1,
            200,
        );
        if self.text.is_empty() || self.text.chars().count() > 20_000 {
            checks.add("/text", "value.length", "1 to 20000 characters");
        }
        checks.finish()?;
        let address = address.ok_or_else(Problem::internal)?;
        let key = self
            .external_message_id
            .unwrap_or_else(|| state.dice().uuid(state.now()).to_string());
        let inbound = InboundMessage {
            dedupe_key: format!("inbound:{key}"),
            channel: self.channel,
            from: Private::new(address.as_str().to_owned()),
            to: None,
            name: self.name.clone().map(Private::new),
            subject: None,
            text: Private::new(self.text),
            provider_message_id: None,
            occurred_at: Some(state.now()),
            media: Vec::new(),
            handled_keyword: None,
            in_reply_to: None,
            automatic: false,
            whatsapp: None,
        };
        Ok((
            NewSender {
                channel: self.channel,
                address,
                name: self.name,
            },
            inbound,
        ))
    }
}

struct NewSender {
    channel: Channel,
    address: tidings_core::Address,
    name: Option<String>,
}

async fn find_or_make(
    caller: &Caller,
    state: &ApiState,
    sender: NewSender,
    region: Option<&str>,
) -> Answer<(ContactId, bool)> {
    let mut tx = state.tenant(caller).tx().await?;
    if let Some(known) = contacts::find_by_address(&mut tx, &sender.address).await?.first() {
        return Ok((*known, false));
    }
    let address = AddressInput {
        kind: AddressKind::of(sender.channel),
        text: Private::new(sender.address.as_str().to_owned()),
        primary: true,
    };
    let input = ContactInput {
        name: sender.name.map(Private::new),
        addresses: vec![address],
        ..ContactInput::default()
    };
    let made = contacts::upsert(&mut tx, input, region, &mut state.dice(), state.now()).await?;
    tx.commit().await?;
    Ok((made.id, true))
}

/// Queue figures
///
/// The same as `GET /v1/queue/stats`.
#[utoipa::path(get, path = "/queue/stats", tag = "compatibility",
    responses((status = 200, description = "The figures", body = QueueStatsView)),
    security(("api_key" = ["queue:read"])))]
async fn queue_stats_compatible(
    caller: Caller,
    State(state): State<ApiState>,
) -> Answer<Json<QueueStatsView>> {
    figures(&caller, &state).await.map(Json)
}

/// How many dead letters to replay.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"limit": 100}))]
pub struct ReplayBody {
    /// At most so many, 1 to 1000; 100 when left out.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// Replay dead letters
///
/// Every dead letter of the tenant, up to a limit, less those that could reach a contact a second time. The body may be
/// left out. `POST /v1/queue/dead-letters/replay` can choose.
#[utoipa::path(post, path = "/admin/dlq/replay", tag = "compatibility", request_body = ReplayBody,
    responses((status = 200, description = "What became of them", body = SelectionOutcome)),
    security(("api_key" = ["queue:write"])))]
async fn replay_compatible(
    caller: Caller,
    State(state): State<ApiState>,
    extract::OptionalJson(input): extract::OptionalJson<ReplayBody>,
) -> Answer<Json<SelectionOutcome>> {
    let limit = Some(input.unwrap_or_default().limit.unwrap_or(100));
    let selection = DeadLetterSelection {
        all: true,
        limit,
        ..DeadLetterSelection::default()
    };
    replay(&caller, &state, &selection).await.map(Json)
}

/// Preferences as the earlier system names them. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"client_id": "C-1017", "preferred_channels": ["email"], "timezone": "America/Chicago", "quiet_hours_start": "22:00", "quiet_hours_end": "08:00", "opt_out_sms": true}))]
pub struct ClientPreferences {
    /// Your own id of the contact.
    #[schema(min_length = 1, max_length = 200)]
    pub client_id: String,
    /// Preferred channels, best first.
    #[schema(value_type = Option<Vec<ChannelWord>>, max_items = 4)]
    pub preferred_channels: Option<Vec<Channel>>,
    /// IANA time zone.
    #[schema(max_length = 64)]
    pub timezone: Option<String>,
    /// First quiet minute; with `quiet_hours_end`.
    #[schema(value_type = Option<String>)]
    pub quiet_hours_start: Option<Time>,
    /// First minute after it.
    #[schema(value_type = Option<String>)]
    pub quiet_hours_end: Option<Time>,
    /// No marketing and no service by e-mail.
    pub opt_out_email: Option<bool>,
    /// No marketing and no service by SMS.
    pub opt_out_sms: Option<bool>,
    /// No marketing and no service by WhatsApp.
    pub opt_out_whatsapp: Option<bool>,
}

/// Change a contact's preferences
///
/// The same as `PATCH /v1/contacts/{contact_id}/preferences`, by your own id of the contact.
#[utoipa::path(post, path = "/api/crm/preferences", tag = "compatibility", request_body = ClientPreferences,
    responses((status = 200, description = "The preferences", body = PreferencesView), (status = 404, description = "No contact has this id", body = Problem, content_type = "application/problem+json")),
    security(("api_key" = ["contacts:write"])))]
async fn preferences_compatible(
    caller: Caller,
    State(state): State<ApiState>,
    Json(input): Json<ClientPreferences>,
) -> Answer<Json<PreferencesView>> {
    let mut tx = state.tenant(&caller).tx().await?;
    let contact = contacts::get_by_external_id(&mut tx, &input.client_id).await?;
    let change = input.over(&contact.preferences.opted_out)?.checked()?;
    let preferences = contacts::update_preferences(&mut tx, contact.id, change, state.now()).await?;
    tx.commit().await?;
    Ok(Json(preferences.into()))
}

impl ClientPreferences {
    /// In our own words; an opt-out that is not named stays as it is.
    fn over(self, opted_out: &[Channel]) -> Answer<PreferencesBody> {
        let quiet_hours = match (self.quiet_hours_start, self.quiet_hours_end) {
            (Some(start), Some(end)) => Some(vec![QuietWindow { start, end }]),
            (None, None) => None,
            _ => {
                let detail = "give both quiet_hours_start and quiet_hours_end";
                return Err(Problem::invalid_field("/quiet_hours_end", "field.choice", detail));
            }
        };
        let mut out: Vec<Channel> = opted_out.to_vec();
        let said = [
            (self.opt_out_email, Channel::Email),
            (self.opt_out_sms, Channel::Sms),
            (self.opt_out_whatsapp, Channel::Whatsapp),
        ];
        for (word, channel) in said {
            match word {
                Some(true) if !out.contains(&channel) => out.push(channel),
                Some(false) => out.retain(|one| *one != channel),
                _ => {}
            }
        }
        Ok(PreferencesBody {
            preferred_channels: self.preferred_channels,
            opted_out: Some(out),
            quiet_hours,
            zone: self.timezone,
            ..PreferencesBody::default()
        })
    }
}
