//! Contacts: persons of a tenant who can be reached, with their addresses and preferences.
//!
//! Name, attributes and addresses are sealed with the contact's own key; what rules and lists need (zone, locale, country,
//! channels, times) stays readable. Whatever changes what may be sent locks the contact's row first, as the dispatch gate does.

mod addresses;
mod preferences;
mod read;
mod source;
mod update;
mod upsert;

pub use addresses::{
    AddressToMend, SoftBounces, add_address, make_primary, mark_known_bad, note_soft_bounce, remove_address,
    to_mend,
};
pub use preferences::{
    Preferences, PreferencesChange, note_whatsapp_inbound, start, stop, update_preferences,
};
pub use read::{find_by_address, get, get_by_external_id, get_many, list};
pub use source::{SourceWord, take_over};
pub use update::{ContactUpdate, update};
pub use upsert::{ContactInput, Given, UPSERT_LIMIT, Upserted, check, upsert, upsert_batch, upsert_given};

use crate::{BlindIndex, Result, StoreError, TenantKey, TenantTx};
use jiff::Timestamp;
use serde::Serialize;
use tidings_core::decide::facts::Window;
use tidings_core::redact::Private;
use tidings_core::{Address, AddressId, Channel, ContactId, word_enum};

/// The most addresses a contact may have.
pub const ADDRESSES_PER_CONTACT: usize = 20;

word_enum! {
    /// The family of an address.
    pub enum AddressKind {
        /// For the channel `email`.
        Email = "email",
        /// For `sms`, `whatsapp` and `whatsapp_web`.
        Phone = "phone",
    }
}

impl AddressKind {
    /// The channels that write to it.
    pub fn channels(self) -> impl Iterator<Item = Channel> {
        Channel::ALL
            .iter()
            .copied()
            .filter(move |channel| channel.uses_phone() == (self == Self::Phone))
    }

    /// The kind a channel writes to.
    pub fn of(channel: Channel) -> Self {
        if channel.uses_phone() {
            Self::Phone
        } else {
            Self::Email
        }
    }
}

/// A contact, opened.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Its id.
    pub id: ContactId,
    /// The tenant's own id of it.
    pub external_id: Option<String>,
    /// Its name.
    pub name: Option<Private<String>>,
    /// What the tenant knows of it, for templates.
    pub attributes: Private<serde_json::Map<String, serde_json::Value>>,
    /// IANA zone name as given; may be wrong.
    pub zone: Option<String>,
    /// Language and region (`de-AT`).
    pub locale: Option<String>,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// How and when it wants to be reached.
    pub preferences: Preferences,
    /// The last message it sent us on WhatsApp.
    pub last_whatsapp_inbound_at: Option<Timestamp>,
    /// The last message that went out to it.
    pub last_sent_at: Option<Timestamp>,
    /// When it was erased; then nothing personal is left.
    pub erased_at: Option<Timestamp>,
    /// Since when.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// Primary ones first, then the oldest.
    pub addresses: Vec<ContactAddress>,
}

/// An address of a contact, opened.
#[derive(Clone, Debug)]
pub struct ContactAddress {
    /// Its id.
    pub id: AddressId,
    /// Its family.
    pub kind: AddressKind,
    /// As given when malformed, else in its standard form.
    pub text: Private<String>,
    /// For finding it elsewhere.
    pub blind_index: BlindIndex,
    /// The one to use first.
    pub is_primary: bool,
    /// Well formed.
    pub valid: bool,
    /// Why it must not be used although it is well formed.
    pub known_bad: Option<String>,
    /// Soft bounces since the last delivery.
    pub soft_bounces: u32,
    /// Since when.
    pub created_at: Timestamp,
}

impl ContactAddress {
    /// The address, when it is well formed.
    pub fn address(&self) -> Option<Address> {
        let channel = match self.kind {
            AddressKind::Email => Channel::Email,
            AddressKind::Phone => Channel::Sms,
        };
        if self.valid {
            Address::parse(channel, self.text.expose(), None).ok()
        } else {
            None
        }
    }
}

/// An address as given. A malformed one is kept, marked and listed for follow-up; it is never an error.
#[derive(Clone, Debug)]
pub struct AddressInput {
    /// Its family.
    pub kind: AddressKind,
    /// The text.
    pub text: Private<String>,
    /// Make it the one to use first.
    pub primary: bool,
}

/// An address ready to be kept.
pub(crate) struct ReadAddress {
    pub kind: AddressKind,
    pub text: String,
    pub blind_index: BlindIndex,
    pub valid: bool,
    pub primary: bool,
}

impl AddressInput {
    fn check(&self) -> Result<()> {
        let text = self.text.expose().trim();
        if text.is_empty() || text.len() > 320 {
            return Err(StoreError::invalid(
                "address",
                "an address has 1 to 320 characters",
            ));
        }
        Ok(())
    }

    /// Parses with the tenant's default region for national phone forms.
    pub(crate) fn read(&self, key: &TenantKey, default_region: Option<&str>) -> Result<ReadAddress> {
        self.check()?;
        let text = self.text.expose().trim();
        let channel = match self.kind {
            AddressKind::Email => Channel::Email,
            AddressKind::Phone => Channel::Sms,
        };
        Ok(match Address::parse(channel, text, default_region) {
            Ok(address) => ReadAddress {
                kind: self.kind,
                text: address.as_str().to_owned(),
                blind_index: key.blind_index(&address),
                valid: true,
                primary: self.primary,
            },
            Err(_) => ReadAddress {
                kind: self.kind,
                text: text.to_owned(),
                blind_index: key.blind_index_of_malformed(self.kind.as_str(), text),
                valid: false,
                primary: self.primary,
            },
        })
    }
}

/// What an erased or unknown contact answers.
pub(crate) fn refuse_erased(id: ContactId, erased: bool) -> Result<()> {
    if erased {
        Err(StoreError::Erased(id))
    } else {
        Ok(())
    }
}

/// Locks the contact's row until the transaction ends: no dispatch to it begins meanwhile.
///
/// # Errors
/// When it is unknown or erased.
pub async fn lock(tx: &mut TenantTx, id: ContactId) -> Result<()> {
    let erased = sqlx::query_scalar!(
        "SELECT erased_at IS NOT NULL AS \"erased!\" FROM contacts WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        tx.tenant().0,
        id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    refuse_erased(id, erased.ok_or_else(|| StoreError::not_found("contact", id))?)
}

/// Locks the rows of contacts until the transaction ends, with everybody who shares an address with one of them, in order of id:
/// nobody who does the same waits in a circle. Unknown and erased ones are left out.
pub async fn lock_many(tx: &mut TenantTx, ids: &[ContactId]) -> Result<()> {
    crate::tracking::reports::lock_ahead(tx, ids, &[], &[]).await
}

/// Quiet hours as stored.
pub(crate) fn windows_json(windows: &[Window]) -> Result<serde_json::Value> {
    if windows.len() > 16 {
        return Err(StoreError::invalid("quiet_hours", "at most 16 windows"));
    }
    crate::columns::to_json("quiet_hours", &windows)
}

impl Serialize for Contact {
    /// For the contact's own tenant: API answers and exports. Not for logs.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        read::as_json(self).serialize(serializer)
    }
}
