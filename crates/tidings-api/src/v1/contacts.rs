//! Contacts: make, find, read, change.

use crate::ApiState;
use crate::auth::Caller;
use crate::check::Checks;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, bounds};
use crate::problem::{Answer, Problem};
use crate::words::ChannelWord;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use jiff::civil::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::decide::facts::Window;
use tidings_core::redact::Private;
use tidings_core::{Channel, ContactId};
use tidings_engine::store::contacts::{
    self, AddressInput, AddressKind, Contact, ContactAddress, ContactInput, Preferences,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The most bytes of a contact's attributes, as JSON.
const ATTRIBUTES_MAX: usize = 32 * 1024;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(put_contact, list_contacts))
        .routes(routes!(lookup_contacts))
        .routes(routes!(get_contact, change_contact))
}

/// Make or update a contact
///
/// With an `external_id` that is known, the contact it names is updated: what is left out stays, addresses are added.
/// So an import may run twice.
#[utoipa::path(post, path = "/v1/contacts", tag = "contacts", request_body = NewContact,
    responses((status = 201, description = "Made", body = ContactView), (status = 200, description = "Updated", body = ContactView)),
    security(("api_key" = ["contacts:write"])))]
async fn put_contact(
    caller: Caller,
    State(state): State<ApiState>,
    Json(input): Json<NewContact>,
) -> Answer<(StatusCode, Json<ContactView>)> {
    let region = state.default_region(&caller).await?;
    let input = input.checked(region.as_deref())?;
    let mut tx = state.tenant(&caller).tx().await?;
    let done = contacts::upsert(&mut tx, input, region.as_deref(), &mut state.dice(), state.now()).await?;
    let contact = contacts::get(&mut tx, done.id).await?;
    tx.commit().await?;
    let status = if done.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(contact.into())))
}

/// List contacts
///
/// Newest first.
#[utoipa::path(get, path = "/v1/contacts", tag = "contacts", params(ContactQuery),
    responses((status = 200, description = "A page", body = Page<ContactView>)),
    security(("api_key" = ["contacts:read"])))]
async fn list_contacts(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<ContactQuery>,
) -> Answer<Json<Page<ContactView>>> {
    let bounds = bounds::<Uuid>(query.limit, query.cursor.as_deref())?;
    let mut tx = state.tenant(&caller).tx().await?;
    let rows = contacts::list(&mut tx, bounds.after.map(ContactId), bounds.limit).await?;
    Ok(Json(
        Page::of(rows.items, rows.next.map(|id| id.0)).map(ContactView::from),
    ))
}

/// Find contacts by address or your own id
#[utoipa::path(post, path = "/v1/contacts/lookup", tag = "contacts", request_body = ContactLookup,
    responses((status = 200, description = "Those found, or none", body = Page<ContactView>)),
    security(("api_key" = ["contacts:read"])))]
async fn lookup_contacts(
    caller: Caller,
    State(state): State<ApiState>,
    Json(input): Json<ContactLookup>,
) -> Answer<Json<Page<ContactView>>> {
    let wanted = input.checked(state.default_region(&caller).await?.as_deref())?;
    let mut tx = state.tenant(&caller).tx().await?;
    let found = match wanted {
        Wanted::Address(address) => {
            let ids = contacts::find_by_address(&mut tx, &address).await?;
            contacts::get_many(&mut tx, &ids).await?
        }
        Wanted::ExternalId(id) => match contacts::get_by_external_id(&mut tx, &id)
            .await
            .map_err(Problem::from)
        {
            Ok(contact) => vec![contact],
            Err(problem) if problem.status == StatusCode::NOT_FOUND => Vec::new(),
            Err(problem) => return Err(problem),
        },
    };
    Ok(Json(
        Page::<Contact>::of(found, None::<Uuid>).map(ContactView::from),
    ))
}

/// Read a contact
#[utoipa::path(get, path = "/v1/contacts/{contact_id}", tag = "contacts",
    params(("contact_id" = Uuid, Path, description = "The contact")),
    responses((status = 200, description = "The contact", body = ContactView)),
    security(("api_key" = ["contacts:read"])))]
async fn get_contact(
    caller: Caller,
    State(state): State<ApiState>,
    Path(contact): Path<Uuid>,
) -> Answer<Json<ContactView>> {
    let mut tx = state.tenant(&caller).tx().await?;
    Ok(Json(contacts::get(&mut tx, ContactId(contact)).await?.into()))
}

/// Change a contact
///
/// What is left out stays. Addresses, preferences and consents have operations of their own.
#[utoipa::path(patch, path = "/v1/contacts/{contact_id}", tag = "contacts", request_body = ContactChange,
    params(("contact_id" = Uuid, Path, description = "The contact")),
    responses((status = 200, description = "The contact", body = ContactView)),
    security(("api_key" = ["contacts:write"])))]
async fn change_contact(
    caller: Caller,
    State(state): State<ApiState>,
    Path(contact): Path<Uuid>,
    Json(change): Json<ContactChange>,
) -> Answer<Json<ContactView>> {
    let change = change.checked()?;
    let mut tx = state.tenant(&caller).tx().await?;
    contacts::update(&mut tx, ContactId(contact), change, state.now()).await?;
    let contact = contacts::get(&mut tx, ContactId(contact)).await?;
    tx.commit().await?;
    Ok(Json(contact.into()))
}

/// A contact to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "external_id": "C-1017",
    "name": "Ann Weaver",
    "addresses": [{"channel": "email", "value": "ann@example.com"}, {"channel": "sms", "value": "+14155550123"}],
    "zone": "America/Chicago", "locale": "en", "country": "US",
    "preferred_channels": ["email", "sms"],
    "attributes": {"plan": "gold"}
}))]
pub struct NewContact {
    /// Your own id of the contact; unique within the tenant.
    #[schema(min_length = 1, max_length = 200)]
    pub external_id: Option<String>,
    /// The name as it is greeted.
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// Ways to reach the contact; the first of a kind is its primary one. A malformed one is refused.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub addresses: Vec<NewAddress>,
    /// IANA time zone (`America/Chicago`); decides about quiet hours.
    #[schema(max_length = 64)]
    pub zone: Option<String>,
    /// BCP 47 language tag (`en`, `pt-BR`).
    #[schema(max_length = 35)]
    pub locale: Option<String>,
    /// ISO 3166 alpha-2 code in capitals; decides about legal windows.
    #[schema(pattern = "^[A-Z]{2}$")]
    pub country: Option<String>,
    /// Preferred channels, best first.
    #[serde(default)]
    #[schema(value_type = Vec<ChannelWord>, max_items = 4)]
    pub preferred_channels: Vec<Channel>,
    /// What else templates may use; at most 32 KiB as JSON.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub attributes: Map<String, Value>,
}

impl NewContact {
    fn checked(self, region: Option<&str>) -> Answer<ContactInput> {
        let mut checks = Checks::default();
        checks.optional_text("/external_id", self.external_id.as_deref(), 1, 200);
        checks.optional_text("/name", self.name.as_deref(), 1, 200);
        checks.zone("/zone", self.zone.as_deref());
        checks.locale("/locale", self.locale.as_deref());
        checks.country("/country", self.country.as_deref());
        checks.count("/preferred_channels", self.preferred_channels.len(), 0, 4);
        checks.count(
            "/addresses",
            self.addresses.len(),
            0,
            contacts::ADDRESSES_PER_CONTACT,
        );
        checks.object("/attributes", &self.attributes, ATTRIBUTES_MAX);
        for (index, address) in self.addresses.iter().enumerate() {
            checks.address(
                &format!("/addresses/{index}/value"),
                address.channel,
                &address.value,
                region,
            );
        }
        checks.finish()?;
        Ok(ContactInput {
            external_id: self.external_id,
            name: self.name.map(Private::new),
            attributes: (!self.attributes.is_empty()).then(|| Private::new(self.attributes)),
            zone: self.zone,
            locale: self.locale,
            country: self.country,
            preferred_channels: (!self.preferred_channels.is_empty()).then_some(self.preferred_channels),
            quiet_hours: None,
            addresses: self.addresses.into_iter().map(NewAddress::input).collect(),
        })
    }
}

/// An address to add.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"channel": "email", "value": "ann@example.com"}))]
pub struct NewAddress {
    /// Any channel of its kind: `email` for e-mail addresses; `sms` or `whatsapp` for phone numbers.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// The address. Phone numbers as `+14155550123`, or in national form where the tenant has a default region.
    #[schema(min_length = 3, max_length = 254)]
    pub value: String,
    /// Makes it the primary one of its kind.
    #[serde(default)]
    pub primary: bool,
}

impl NewAddress {
    /// For the store.
    pub(crate) fn input(self) -> AddressInput {
        AddressInput {
            kind: AddressKind::of(self.channel),
            text: Private::new(self.value),
            primary: self.primary,
        }
    }
}

/// What to change about a contact. What is left out stays; null empties.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Ann Weaver-Stone", "zone": "America/Denver"}))]
pub struct ContactChange {
    /// Your own id of the contact.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 200)]
    pub external_id: Option<Option<String>>,
    /// The name as it is greeted.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 200)]
    pub name: Option<Option<String>>,
    /// IANA time zone.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 64)]
    pub zone: Option<Option<String>>,
    /// BCP 47 language tag.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 35)]
    pub locale: Option<Option<String>>,
    /// ISO 3166 alpha-2 code in capitals.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, pattern = "^[A-Z]{2}$")]
    pub country: Option<Option<String>>,
    /// Replaces the attributes as a whole.
    #[schema(value_type = Option<Object>)]
    pub attributes: Option<Map<String, Value>>,
}

impl ContactChange {
    fn checked(self) -> Answer<contacts::ContactUpdate> {
        let mut checks = Checks::default();
        let given = |field: &'_ Option<Option<String>>| field.clone().flatten();
        checks.optional_text("/external_id", given(&self.external_id).as_deref(), 1, 200);
        checks.optional_text("/name", given(&self.name).as_deref(), 1, 200);
        checks.zone("/zone", given(&self.zone).as_deref());
        checks.locale("/locale", given(&self.locale).as_deref());
        checks.country("/country", given(&self.country).as_deref());
        if let Some(attributes) = &self.attributes {
            checks.object("/attributes", attributes, ATTRIBUTES_MAX);
        }
        checks.finish()?;
        Ok(contacts::ContactUpdate {
            external_id: self.external_id,
            name: self.name.map(|name| name.map(Private::new)),
            zone: self.zone,
            locale: self.locale,
            country: self.country,
            attributes: self.attributes.map(Private::new),
        })
    }
}

/// Tells an absent field from null.
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
pub(crate) fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// Whom to find: exactly one of the three. In a body, because addresses do not belong into URLs and their logs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "ann@example.com"}))]
pub struct ContactLookup {
    /// Your own id of the contact.
    #[schema(max_length = 200)]
    pub external_id: Option<String>,
    /// An e-mail address.
    #[schema(max_length = 254)]
    pub email: Option<String>,
    /// A phone number.
    #[schema(max_length = 64)]
    pub phone: Option<String>,
}

enum Wanted {
    Address(tidings_core::Address),
    ExternalId(String),
}

impl ContactLookup {
    fn checked(self, region: Option<&str>) -> Answer<Wanted> {
        let mut checks = Checks::default();
        let wanted = match (self.external_id, self.email, self.phone) {
            (Some(id), None, None) => Some(Wanted::ExternalId(id)),
            (None, Some(email), None) => checks
                .address("/email", Channel::Email, &email, None)
                .map(Wanted::Address),
            (None, None, Some(phone)) => checks
                .address("/phone", Channel::Sms, &phone, region)
                .map(Wanted::Address),
            _ => {
                checks.add(
                    "",
                    "field.choice",
                    "give exactly one of external_id, email and phone",
                );
                None
            }
        };
        checks.finish()?;
        wanted.ok_or_else(Problem::internal)
    }
}

/// A contact.
#[derive(Serialize, ToSchema)]
pub struct ContactView {
    /// Its id.
    pub id: Uuid,
    /// Your own id of it.
    pub external_id: Option<String>,
    /// Its name; null after erasure.
    pub name: Option<String>,
    /// Ways to reach it.
    pub addresses: Vec<AddressView>,
    /// IANA time zone.
    pub zone: Option<String>,
    /// Language.
    pub locale: Option<String>,
    /// Country.
    pub country: Option<String>,
    /// What else templates may use.
    #[schema(value_type = Object)]
    pub attributes: Value,
    /// Preferences and stops.
    pub preferences: PreferencesView,
    /// The last message that went out to it.
    pub last_sent_at: Option<Timestamp>,
    /// Set once it was erased; nothing personal is left.
    pub erased_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// An address of a contact.
#[derive(Serialize, ToSchema)]
pub struct AddressView {
    /// Its id.
    pub id: Uuid,
    /// `email` or `phone`.
    pub kind: &'static str,
    /// The address.
    pub value: String,
    /// Whether it is the one that is written to.
    pub primary: bool,
    /// Well formed.
    pub valid: bool,
    /// Why it must not be used although it is well formed.
    pub known_bad: Option<String>,
    /// Soft bounces in a row.
    pub soft_bounces: u32,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A window of the local day; start inclusive, end exclusive; may cross midnight.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"start": "22:00:00", "end": "08:00:00"}))]
pub struct QuietWindow {
    /// First quiet minute (`22:00`).
    #[schema(value_type = String)]
    pub start: Time,
    /// First minute after it (`08:00`).
    #[schema(value_type = String)]
    pub end: Time,
}

/// A contact's preferences.
#[derive(Serialize, ToSchema)]
pub struct PreferencesView {
    /// Preferred channels, best first.
    #[schema(value_type = Vec<ChannelWord>)]
    pub preferred_channels: Vec<Channel>,
    /// Channels opted out of: no marketing and no service there; transactional messages still go.
    #[schema(value_type = Vec<ChannelWord>)]
    pub opted_out: Vec<Channel>,
    /// Channels stopped by STOP: nothing goes there.
    #[schema(value_type = Vec<ChannelWord>)]
    pub stopped: Vec<Channel>,
    /// The contact's own quiet hours, in its zone.
    pub quiet_hours: Vec<QuietWindow>,
    /// No marketing or service before this instant.
    pub paused_until: Option<Timestamp>,
}

impl From<Preferences> for PreferencesView {
    fn from(preferences: Preferences) -> Self {
        Self {
            preferred_channels: preferences.preferred_channels,
            opted_out: preferences.opted_out,
            stopped: preferences.stopped,
            quiet_hours: preferences
                .quiet_hours
                .into_iter()
                .map(QuietWindow::from)
                .collect(),
            paused_until: preferences.paused_until,
        }
    }
}

impl From<Window> for QuietWindow {
    fn from(window: Window) -> Self {
        Self {
            start: window.start,
            end: window.end,
        }
    }
}

impl From<QuietWindow> for Window {
    fn from(window: QuietWindow) -> Self {
        Self {
            start: window.start,
            end: window.end,
        }
    }
}

impl From<ContactAddress> for AddressView {
    fn from(address: ContactAddress) -> Self {
        Self {
            id: address.id.0,
            kind: address.kind.as_str(),
            value: address.text.into_exposed(),
            primary: address.is_primary,
            valid: address.valid,
            known_bad: address.known_bad,
            soft_bounces: address.soft_bounces,
            created_at: address.created_at,
        }
    }
}

impl From<Contact> for ContactView {
    fn from(contact: Contact) -> Self {
        Self {
            id: contact.id.0,
            external_id: contact.external_id,
            name: contact.name.map(Private::into_exposed),
            addresses: contact.addresses.into_iter().map(AddressView::from).collect(),
            zone: contact.zone,
            locale: contact.locale,
            country: contact.country,
            attributes: Value::Object(contact.attributes.into_exposed()),
            preferences: contact.preferences.into(),
            last_sent_at: contact.last_sent_at,
            erased_at: contact.erased_at,
            created_at: contact.created_at,
            updated_at: contact.updated_at,
        }
    }
}

/// Which contacts to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ContactQuery {
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}
