//! Creating contacts, or bringing known ones up to date, in batches.

use super::{ADDRESSES_PER_CONTACT, AddressInput, ReadAddress, refuse_erased, windows_json};
use crate::columns::{channel_words, check_length};
use crate::{ContactKey, Place, Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use std::collections::{BTreeSet, HashMap};
use tidings_core::decide::facts::Window;
use tidings_core::redact::Private;
use tidings_core::{AddressId, Channel, ContactId, Dice, TenantId};
use uuid::Uuid;

/// The most contacts one call takes.
pub const UPSERT_LIMIT: usize = 1000;

/// The most a contact's attributes may hold, as JSON, in bytes.
pub(super) const ATTRIBUTES_LIMIT: usize = 65_536;

/// A contact as given. `None` leaves what is known; addresses are added to those known.
#[derive(Clone, Debug, Default)]
pub struct ContactInput {
    /// The tenant's own id; the same id is the same contact. Without one, a new contact.
    pub external_id: Option<String>,
    /// Its name.
    pub name: Option<Private<String>>,
    /// What the tenant knows of it; replaces all attributes.
    pub attributes: Option<Private<serde_json::Map<String, serde_json::Value>>>,
    /// IANA zone name.
    pub zone: Option<String>,
    /// Language and region.
    pub locale: Option<String>,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// Preferred channels, best first.
    pub preferred_channels: Option<Vec<Channel>>,
    /// Its own quiet hours.
    pub quiet_hours: Option<Vec<Window>>,
    /// Ways to reach it.
    pub addresses: Vec<AddressInput>,
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upserted {
    /// The contact.
    pub id: ContactId,
    /// It was not known before.
    pub created: bool,
}

/// One contact; see [`upsert_batch`].
pub async fn upsert(
    tx: &mut TenantTx,
    input: ContactInput,
    default_region: Option<&str>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Upserted> {
    let done = upsert_batch(tx, &[input], default_region, dice, now).await?;
    done.into_iter()
        .next()
        .ok_or_else(|| StoreError::invalid("contacts", "nothing was given"))
}

/// Creates contacts or brings known ones up to date, at most [`UPSERT_LIMIT`]; the answers are in the order of the inputs.
///
/// # Errors
/// [`StoreError::Invalid`] when an input breaks a limit or an external id comes twice, [`StoreError::Erased`] never: an erased
/// contact has lost its external id, so the same person comes back as a new contact, held back by what was suppressed.
pub async fn upsert_batch(
    tx: &mut TenantTx,
    inputs: &[ContactInput],
    default_region: Option<&str>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Vec<Upserted>> {
    check(inputs)?;
    if inputs.is_empty() {
        return Ok(Vec::new());
    }
    let done = claim(tx, inputs, dice, now).await?;
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let owner = keyring.tenant_key(tx, tenant).await?;
    let pairs: Vec<_> = done.iter().map(|upserted| (tenant, upserted.id)).collect();
    let keys = keyring.contact_keys(tx, &pairs, now).await?;
    let mut details = Details::default();
    let mut rows = AddressRows::default();
    for (input, upserted) in inputs.iter().zip(&done) {
        let key = keys.get(tenant, upserted.id)?;
        details.push(tenant, upserted.id, key, input)?;
        let mut read = Vec::with_capacity(input.addresses.len());
        for address in &input.addresses {
            read.push(address.read(&owner, default_region)?);
        }
        rows.push(tenant, *upserted, key, read, dice, now)?;
    }
    details.write(tx).await?;
    rows.write(tx, now).await?;
    Ok(done)
}

fn check(inputs: &[ContactInput]) -> Result<()> {
    if inputs.len() > UPSERT_LIMIT {
        return Err(StoreError::invalid(
            "contacts",
            format!("at most {UPSERT_LIMIT} at once; send them in parts"),
        ));
    }
    let mut seen = BTreeSet::new();
    for input in inputs {
        if let Some(external_id) = &input.external_id {
            check_length("external_id", external_id, 200)?;
            if !seen.insert(external_id) {
                return Err(StoreError::invalid(
                    "external_id",
                    format!("\"{external_id}\" comes twice in one batch"),
                ));
            }
        }
        if input.addresses.len() > ADDRESSES_PER_CONTACT {
            return Err(StoreError::invalid(
                "addresses",
                format!("at most {ADDRESSES_PER_CONTACT} for one contact"),
            ));
        }
        if let Some(country) = &input.country
            && !(country.len() == 2 && country.chars().all(|c| c.is_ascii_uppercase()))
        {
            return Err(StoreError::invalid(
                "country",
                "use two upper-case letters of ISO 3166, such as DE",
            ));
        }
        for (field, text, most) in [("zone", &input.zone, 64), ("locale", &input.locale, 35)] {
            if let Some(text) = text {
                check_length(field, text, most)?;
            }
        }
    }
    Ok(())
}

/// Inserts the rows or finds and locks the known ones; in order of external id, so that two batches do not wait for each other.
async fn claim(
    tx: &mut TenantTx,
    inputs: &[ContactInput],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Vec<Upserted>> {
    let fresh: Vec<Uuid> = inputs.iter().map(|_| dice.uuid(now)).collect();
    let external: Vec<Option<String>> = inputs.iter().map(|input| input.external_id.clone()).collect();
    let rows = sqlx::query!(
        r#"INSERT INTO contacts (tenant_id, id, external_id, created_at, updated_at)
           SELECT $1, id, external_id, $4, $4
           FROM unnest($2::uuid[], $3::text[]) AS fresh (id, external_id) ORDER BY external_id, id
           ON CONFLICT (tenant_id, external_id) DO UPDATE SET updated_at = EXCLUDED.updated_at
           RETURNING id, external_id, erased_at IS NOT NULL AS "erased!""#,
        tx.tenant().0,
        &fresh,
        &external as _,
        now.to_sqlx() as _,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        refuse_erased(ContactId(row.id), row.erased)?;
        if let Some(external_id) = row.external_id {
            known.insert(external_id, row.id);
        }
    }
    let found = |(input, id): (&ContactInput, &Uuid)| {
        let kept = input
            .external_id
            .as_ref()
            .and_then(|external_id| known.get(external_id))
            .unwrap_or(id);
        Upserted {
            id: ContactId(*kept),
            created: kept == id,
        }
    };
    Ok(inputs.iter().zip(&fresh).map(found).collect())
}

/// Columns of the contacts that give anything beside their ids.
#[derive(Default)]
struct Details {
    ids: Vec<Uuid>,
    names: Vec<Option<Vec<u8>>>,
    attributes: Vec<Option<Vec<u8>>>,
    zones: Vec<Option<String>>,
    locales: Vec<Option<String>>,
    countries: Vec<Option<String>>,
    preferred: Vec<Option<String>>,
    quiet_hours: Vec<Option<serde_json::Value>>,
}

impl Details {
    fn push(
        &mut self,
        tenant: TenantId,
        id: ContactId,
        key: &ContactKey,
        input: &ContactInput,
    ) -> Result<()> {
        let place = |column| Place::new("contacts", column, tenant, id.0);
        let seal_name = |name: &Private<String>| {
            check_length("name", name.expose(), 200)?;
            Ok::<_, StoreError>(key.seal(&place("name_sealed"), name.expose().as_bytes())?)
        };
        let seal_attributes = |attributes: &Private<serde_json::Map<String, serde_json::Value>>| {
            let json = serde_json::to_vec(attributes.expose())
                .map_err(|error| StoreError::json("attributes", &error))?;
            if json.len() > ATTRIBUTES_LIMIT {
                return Err(StoreError::invalid(
                    "attributes",
                    format!("at most {ATTRIBUTES_LIMIT} bytes of JSON"),
                ));
            }
            Ok(key.seal(&place("attributes_sealed"), &json)?)
        };
        let preferred = input
            .preferred_channels
            .as_deref()
            .map(|channels| channel_words(channels).join(","));
        self.ids.push(id.0);
        self.names.push(input.name.as_ref().map(seal_name).transpose()?);
        self.attributes
            .push(input.attributes.as_ref().map(seal_attributes).transpose()?);
        self.zones.push(input.zone.clone());
        self.locales.push(input.locale.clone());
        self.countries.push(input.country.clone());
        self.preferred.push(preferred);
        self.quiet_hours
            .push(input.quiet_hours.as_deref().map(windows_json).transpose()?);
        Ok(())
    }

    async fn write(&self, tx: &mut TenantTx) -> Result<()> {
        sqlx::query!(
            "UPDATE contacts c SET name_sealed = coalesce(given.name, c.name_sealed),
                    attributes_sealed = coalesce(given.attributes, c.attributes_sealed),
                    zone = coalesce(given.zone, c.zone), locale = coalesce(given.locale, c.locale),
                    country = coalesce(given.country, c.country),
                    preferred_channels = coalesce(string_to_array(given.preferred, ','), c.preferred_channels),
                    quiet_hours = coalesce(given.quiet_hours, c.quiet_hours)
             FROM unnest($2::uuid[], $3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[], $9::jsonb[])
                  AS given (id, name, attributes, zone, locale, country, preferred, quiet_hours)
             WHERE c.tenant_id = $1 AND c.id = given.id",
            tx.tenant().0,
            &self.ids,
            &self.names as _,
            &self.attributes as _,
            &self.zones as _,
            &self.locales as _,
            &self.countries as _,
            &self.preferred as _,
            &self.quiet_hours as _,
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

/// Addresses to insert, and which of known contacts should become primary.
#[derive(Default)]
pub(super) struct AddressRows {
    ids: Vec<Uuid>,
    contacts: Vec<Uuid>,
    kinds: Vec<String>,
    values: Vec<Vec<u8>>,
    indexes: Vec<Vec<u8>>,
    primary: Vec<bool>,
    valid: Vec<bool>,
    /// Contacts that existed: their primary addresses are settled after the insert.
    known: Vec<Uuid>,
    wanted_contacts: Vec<Uuid>,
    wanted_indexes: Vec<Vec<u8>>,
}

impl AddressRows {
    pub(super) fn push(
        &mut self,
        tenant: TenantId,
        contact: Upserted,
        key: &ContactKey,
        addresses: Vec<ReadAddress>,
        dice: &mut Dice,
        now: Timestamp,
    ) -> Result<()> {
        let mut seen = BTreeSet::new();
        let addresses: Vec<_> = addresses
            .into_iter()
            .filter(|address| seen.insert(address.blind_index))
            .collect();
        let first = |kind| {
            let of_kind = || addresses.iter().filter(move |address| address.kind == kind);
            of_kind()
                .find(|a| a.primary)
                .or_else(|| of_kind().find(|a| a.valid))
                .or_else(|| of_kind().next())
        };
        for address in &addresses {
            let id = AddressId(dice.uuid(now));
            let place = Place::new("addresses", "value_sealed", tenant, id.0);
            let leads = first(address.kind).is_some_and(|leader| leader.blind_index == address.blind_index);
            self.ids.push(id.0);
            self.contacts.push(contact.id.0);
            self.kinds.push(address.kind.as_str().to_owned());
            self.values.push(key.seal(&place, address.text.as_bytes())?);
            self.indexes.push(address.blind_index.0.to_vec());
            self.primary.push(contact.created && leads);
            self.valid.push(address.valid);
            if !contact.created && address.primary && leads {
                self.wanted_contacts.push(contact.id.0);
                self.wanted_indexes.push(address.blind_index.0.to_vec());
            }
        }
        if !contact.created && !addresses.is_empty() {
            self.known.push(contact.id.0);
        }
        Ok(())
    }

    pub(super) async fn write(&self, tx: &mut TenantTx, now: Timestamp) -> Result<()> {
        if self.ids.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "INSERT INTO addresses (tenant_id, id, contact_id, kind, value_sealed, blind_index, is_primary, valid, created_at, updated_at)
             SELECT $1, id, contact_id, kind, value, blind_index, is_primary, valid, $9, $9
             FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::bytea[], $6::bytea[], $7::bool[], $8::bool[])
                  AS fresh (id, contact_id, kind, value, blind_index, is_primary, valid)
             ON CONFLICT (tenant_id, contact_id, blind_index) DO NOTHING",
            tx.tenant().0,
            &self.ids,
            &self.contacts,
            &self.kinds,
            &self.values,
            &self.indexes,
            &self.primary,
            &self.valid,
            now.to_sqlx() as _,
        )
        .execute(&mut **tx)
        .await?;
        if self.known.is_empty() {
            return Ok(());
        }
        super::addresses::promote(tx, &self.wanted_contacts, &self.wanted_indexes, now).await?;
        super::addresses::fill_primaries(tx, &self.known, now).await
    }
}
