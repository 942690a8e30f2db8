//! Contacts: make, find, read, change, erase.

use crate::words::ChannelWord;
use jiff::Timestamp;
use jiff::civil::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::Channel;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

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

/// Tells an absent field from null.
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
    pub soft_bounces: i32,
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
