//! Parts of a contact: its addresses, preferences and consents.

use super::contacts::{ContactView, NewAddress, PreferencesView, QuietWindow, present};
use crate::ApiState;
use crate::auth::Caller;
use crate::check::Checks;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, bounds};
use crate::problem::{Answer, Problem};
use crate::words::{CategoryWord, ChannelWord};
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_core::decide::facts::Window;
use tidings_core::{AddressId, Category, Channel, ConsentId, ContactId};
use tidings_engine::store::consents::{self, Consent, NewConsent};
use tidings_engine::store::contacts::{self, PreferencesChange};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(add_address))
        .routes(routes!(remove_address))
        .routes(routes!(make_primary))
        .routes(routes!(get_preferences, change_preferences))
        .routes(routes!(list_consents, record_consent))
}

/// Add an address
#[utoipa::path(post, path = "/v1/contacts/{contact_id}/addresses", tag = "contacts", request_body = NewAddress,
    params(("contact_id" = Uuid, Path, description = "The contact")),
    responses((status = 201, description = "The contact with the address", body = ContactView)),
    security(("api_key" = ["contacts:write"])))]
async fn add_address(
    caller: Caller,
    State(state): State<ApiState>,
    Path(contact): Path<Uuid>,
    Json(input): Json<NewAddress>,
) -> Answer<(StatusCode, Json<ContactView>)> {
    let region = state.default_region(&caller).await?;
    let mut checks = Checks::default();
    checks.address("/value", input.channel, &input.value, region.as_deref());
    checks.finish()?;
    let mut tx = state.tenant(&caller).tx().await?;
    let (id, input, region) = (ContactId(contact), input.input(), region.as_deref());
    contacts::add_address(&mut tx, id, input, region, &mut state.dice(), state.now()).await?;
    let contact = contacts::get(&mut tx, id).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(contact.into())))
}

/// Remove an address
#[utoipa::path(delete, path = "/v1/contacts/{contact_id}/addresses/{address_id}", tag = "contacts",
    params(("contact_id" = Uuid, Path, description = "The contact"), ("address_id" = Uuid, Path, description = "The address")),
    responses((status = 200, description = "The contact without it", body = ContactView)),
    security(("api_key" = ["contacts:write"])))]
async fn remove_address(
    caller: Caller,
    State(state): State<ApiState>,
    Path((contact, address)): Path<(Uuid, Uuid)>,
) -> Answer<Json<ContactView>> {
    let mut tx = state.tenant(&caller).tx().await?;
    contacts::remove_address(&mut tx, ContactId(contact), AddressId(address), state.now()).await?;
    let contact = contacts::get(&mut tx, ContactId(contact)).await?;
    tx.commit().await?;
    Ok(Json(contact.into()))
}

/// Make an address the primary one of its kind
#[utoipa::path(post, path = "/v1/contacts/{contact_id}/addresses/{address_id}/primary", tag = "contacts",
    params(("contact_id" = Uuid, Path, description = "The contact"), ("address_id" = Uuid, Path, description = "The address")),
    responses((status = 200, description = "The contact", body = ContactView)),
    security(("api_key" = ["contacts:write"])))]
async fn make_primary(
    caller: Caller,
    State(state): State<ApiState>,
    Path((contact, address)): Path<(Uuid, Uuid)>,
) -> Answer<Json<ContactView>> {
    let mut tx = state.tenant(&caller).tx().await?;
    contacts::make_primary(&mut tx, ContactId(contact), AddressId(address), state.now()).await?;
    let contact = contacts::get(&mut tx, ContactId(contact)).await?;
    tx.commit().await?;
    Ok(Json(contact.into()))
}

/// Preferences to change. What is left out stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"preferred_channels": ["sms", "email"], "opted_out": ["whatsapp"], "quiet_hours": [{"start": "22:00", "end": "08:00"}]}))]
pub struct PreferencesBody {
    /// Preferred channels, best first; replaces the list.
    #[schema(value_type = Option<Vec<ChannelWord>>, max_items = 4)]
    pub preferred_channels: Option<Vec<Channel>>,
    /// Channels opted out of; replaces the list. In force for every dispatch that begins after the answer.
    #[schema(value_type = Option<Vec<ChannelWord>>, max_items = 4)]
    pub opted_out: Option<Vec<Channel>>,
    /// The contact's own quiet hours, in its zone; replaces the list.
    #[schema(max_items = 8)]
    pub quiet_hours: Option<Vec<QuietWindow>>,
    /// No marketing or service before this instant; null ends the pause.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Timestamp>)]
    pub paused_until: Option<Option<Timestamp>>,
    /// IANA time zone.
    #[schema(max_length = 64)]
    pub zone: Option<String>,
    /// BCP 47 language tag.
    #[schema(max_length = 35)]
    pub locale: Option<String>,
}

impl PreferencesBody {
    /// Checked, for the store.
    pub(crate) fn checked(self) -> Answer<PreferencesChange> {
        let mut checks = Checks::default();
        checks.count(
            "/preferred_channels",
            self.preferred_channels.as_ref().map_or(0, Vec::len),
            0,
            4,
        );
        checks.count("/opted_out", self.opted_out.as_ref().map_or(0, Vec::len), 0, 4);
        checks.count(
            "/quiet_hours",
            self.quiet_hours.as_ref().map_or(0, Vec::len),
            0,
            8,
        );
        checks.zone("/zone", self.zone.as_deref());
        checks.locale("/locale", self.locale.as_deref());
        checks.finish()?;
        Ok(PreferencesChange {
            preferred_channels: self.preferred_channels,
            opted_out: self.opted_out,
            quiet_hours: self
                .quiet_hours
                .map(|windows| windows.into_iter().map(Window::from).collect()),
            paused_until: self.paused_until,
            locale: self.locale.map(Some),
            zone: self.zone.map(Some),
        })
    }
}

/// Read preferences
#[utoipa::path(get, path = "/v1/contacts/{contact_id}/preferences", tag = "contacts",
    params(("contact_id" = Uuid, Path, description = "The contact")),
    responses((status = 200, description = "The preferences", body = PreferencesView)),
    security(("api_key" = ["contacts:read"])))]
async fn get_preferences(
    caller: Caller,
    State(state): State<ApiState>,
    Path(contact): Path<Uuid>,
) -> Answer<Json<PreferencesView>> {
    let mut tx = state.tenant(&caller).tx().await?;
    Ok(Json(
        contacts::get(&mut tx, ContactId(contact))
            .await?
            .preferences
            .into(),
    ))
}

/// Change preferences
#[utoipa::path(patch, path = "/v1/contacts/{contact_id}/preferences", tag = "contacts", request_body = PreferencesBody,
    params(("contact_id" = Uuid, Path, description = "The contact")),
    responses((status = 200, description = "The preferences", body = PreferencesView)),
    security(("api_key" = ["contacts:write"])))]
async fn change_preferences(
    caller: Caller,
    State(state): State<ApiState>,
    Path(contact): Path<Uuid>,
    Json(input): Json<PreferencesBody>,
) -> Answer<Json<PreferencesView>> {
    let change = input.checked()?;
    let mut tx = state.tenant(&caller).tx().await?;
    let preferences = contacts::update_preferences(&mut tx, ContactId(contact), change, state.now()).await?;
    tx.commit().await?;
    Ok(Json(preferences.into()))
}

/// A consent to record: given, or withdrawn.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"purpose": "marketing", "channel": "email", "granted": true, "source": "signup form", "wording": "Yes, send me news."}))]
pub struct ConsentBody {
    /// For what.
    #[schema(value_type = CategoryWord)]
    pub purpose: Category,
    /// For which channel; every channel when left out.
    #[schema(value_type = Option<ChannelWord>)]
    pub channel: Option<Channel>,
    /// Given (true) or withdrawn (false).
    pub granted: bool,
    /// Where it was said.
    #[schema(min_length = 1, max_length = 200)]
    pub source: String,
    /// In which words.
    #[schema(max_length = 4000)]
    pub wording: Option<String>,
}

/// A recorded consent.
#[derive(Serialize, ToSchema)]
pub struct ConsentView {
    /// Its id.
    pub id: Uuid,
    /// For what.
    #[schema(value_type = CategoryWord)]
    pub purpose: Category,
    /// For which channel; null for every channel.
    #[schema(value_type = Option<ChannelWord>)]
    pub channel: Option<Channel>,
    /// Given or withdrawn.
    pub granted: bool,
    /// Where it was said.
    pub source: String,
    /// In which words.
    pub wording: Option<String>,
    /// When it was recorded.
    pub at: Timestamp,
}

impl From<Consent> for ConsentView {
    fn from(consent: Consent) -> Self {
        Self {
            id: consent.id.0,
            purpose: consent.purpose,
            channel: consent.channel,
            granted: consent.granted,
            source: consent.source,
            wording: consent.wording,
            at: consent.at,
        }
    }
}

/// Which consents to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConsentQuery {
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// List consents
///
/// The whole record, newest first; the newest of a purpose and channel is in force.
#[utoipa::path(get, path = "/v1/contacts/{contact_id}/consents", tag = "contacts",
    params(("contact_id" = Uuid, Path, description = "The contact"), ConsentQuery),
    responses((status = 200, description = "A page", body = Page<ConsentView>)),
    security(("api_key" = ["contacts:read"])))]
async fn list_consents(
    caller: Caller,
    State(state): State<ApiState>,
    Path(contact): Path<Uuid>,
    Query(query): Query<ConsentQuery>,
) -> Answer<Json<Page<ConsentView>>> {
    let bounds = bounds::<Uuid>(query.limit, query.cursor.as_deref())?;
    let mut tx = state.tenant(&caller).tx().await?;
    contacts::get(&mut tx, ContactId(contact)).await?;
    let before = bounds.after.map(ConsentId);
    let rows = consents::history(&mut tx, ContactId(contact), before, bounds.limit).await?;
    Ok(Json(
        Page::of(rows.items, rows.next.map(|id| id.0)).map(ConsentView::from),
    ))
}

/// Record a consent
///
/// Appended, never changed: withdrawing is a record of its own, in force for every dispatch that begins after the answer.
#[utoipa::path(post, path = "/v1/contacts/{contact_id}/consents", tag = "contacts", request_body = ConsentBody,
    params(("contact_id" = Uuid, Path, description = "The contact")),
    responses((status = 201, description = "Recorded", body = ConsentView)),
    security(("api_key" = ["contacts:write"])))]
async fn record_consent(
    caller: Caller,
    State(state): State<ApiState>,
    Path(contact): Path<Uuid>,
    Json(input): Json<ConsentBody>,
) -> Answer<(StatusCode, Json<ConsentView>)> {
    let consent = input.checked(ContactId(contact))?;
    let mut tx = state.tenant(&caller).tx().await?;
    consents::record(&mut tx, consent, &mut state.dice(), state.now()).await?;
    let newest = consents::history(&mut tx, ContactId(contact), None, 1)
        .await?
        .items
        .pop();
    tx.commit().await?;
    let newest = newest.ok_or_else(Problem::internal)?;
    Ok((StatusCode::CREATED, Json(newest.into())))
}

impl ConsentBody {
    fn checked(self, contact: ContactId) -> Answer<NewConsent> {
        let mut checks = Checks::default();
        checks.text("/source", &self.source, 1, 200);
        if self
            .wording
            .as_ref()
            .is_some_and(|wording| wording.chars().count() > 4000)
        {
            checks.add("/wording", "value.length", "at most 4000 characters");
        }
        checks.finish()?;
        Ok(NewConsent {
            contact,
            purpose: self.purpose,
            channel: self.channel,
            granted: self.granted,
            source: self.source,
            wording: self.wording,
        })
    }
}
