//! Creating contacts, or bringing known ones up to date, in batches.

use super::{ADDRESSES_PER_CONTACT, AddressInput, ReadAddress, refuse_erased, windows_json};
use crate::columns::{channel_words, check_length};
use crate::{ContactKey, Keyring, Place, Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
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
    if inputs.len() > UPSERT_LIMIT {
        return Err(StoreError::invalid(
            "contacts",
            format!("at most {UPSERT_LIMIT} at once; send them in parts"),
        ));
    }
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let given: Vec<Given<'_>> = inputs
        .iter()
        .map(|input| Given {
            tenant,
            input,
            default_region,
        })
        .collect();
    upsert_given(tx, &keyring, &given, dice, now).await
}

/// A contact as given, of a tenant.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Whose contact.
    pub tenant: TenantId,
    /// What is given.
    pub input: &'a ContactInput,
    /// For phone numbers in national form.
    pub default_region: Option<&'a str>,
}

/// The same for contacts of several tenants, in the caller's transaction: as many statements as for one.
///
/// # Errors
/// As [`upsert_batch`].
pub async fn upsert_given(
    conn: &mut PgConnection,
    keyring: &Keyring,
    given: &[Given<'_>],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Vec<Upserted>> {
    check_all(given)?;
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let done = claim(conn, given, dice, now).await?;
    let tenants: Vec<TenantId> = given.iter().map(|one| one.tenant).collect();
    let owners = keyring.tenant_keys(conn, &tenants).await?;
    let pairs: Vec<_> = tenants
        .iter()
        .copied()
        .zip(done.iter().map(|upserted| upserted.id))
        .collect();
    let keys = keyring.contact_keys(conn, &pairs, now).await?;
    let mut details = Details::default();
    let mut rows = AddressRows::default();
    for (one, upserted) in given.iter().zip(&done) {
        let (tenant, input) = (one.tenant, one.input);
        let owner = owners
            .get(&tenant)
            .ok_or_else(|| StoreError::not_found("tenant", tenant))?;
        let key = keys.get(tenant, upserted.id)?;
        details.push(tenant, upserted.id, key, input)?;
        let mut read = Vec::with_capacity(input.addresses.len());
        for address in &input.addresses {
            read.push(address.read(owner, one.default_region)?);
        }
        rows.push(tenant, *upserted, key, read, dice, now)?;
    }
    details.write(conn).await?;
    rows.write(conn, now).await?;
    Ok(done)
}

fn check_all(given: &[Given<'_>]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for one in given {
        check(one.input)?;
        if let Some(external_id) = &one.input.external_id
            && !seen.insert((one.tenant, external_id))
        {
            return Err(StoreError::invalid(
                "external_id",
                format!("\"{external_id}\" comes twice in one batch"),
            ));
        }
    }
    Ok(())
}

/// What of an input can be checked without the database.
///
/// # Errors
/// [`StoreError::Invalid`] with the field and the limit it breaks.
pub fn check(input: &ContactInput) -> Result<()> {
    if let Some(external_id) = &input.external_id {
        check_length("external_id", external_id, 200)?;
    }
    if let Some(name) = &input.name {
        check_length("name", name.expose(), 200)?;
    }
    if input.addresses.len() > ADDRESSES_PER_CONTACT {
        return Err(StoreError::invalid(
            "addresses",
            format!("at most {ADDRESSES_PER_CONTACT} for one contact"),
        ));
    }
    for address in &input.addresses {
        address.check()?;
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
    let texts = [&input.external_id, &input.zone, &input.locale];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(StoreError::invalid(
            "contact",
            "holds a NUL character; take it out",
        ));
    }
    Ok(())
}

/// Inserts the rows or finds and locks the known ones; in order of tenant and external id, so that two batches do not wait
/// for each other.
async fn claim(
    conn: &mut PgConnection,
    given: &[Given<'_>],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Vec<Upserted>> {
    let fresh: Vec<Uuid> = given.iter().map(|_| dice.uuid(now)).collect();
    let tenants: Vec<Uuid> = given.iter().map(|one| one.tenant.0).collect();
    let external: Vec<Option<String>> = given.iter().map(|one| one.input.external_id.clone()).collect();
    let rows = sqlx::query!(
        r#"INSERT INTO contacts (tenant_id, id, external_id, created_at, updated_at)
           SELECT tenant_id, id, external_id, $4, $4
           FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS fresh (tenant_id, id, external_id)
           ORDER BY tenant_id, external_id, id
           ON CONFLICT (tenant_id, external_id) DO UPDATE SET updated_at = EXCLUDED.updated_at
           RETURNING tenant_id, id, external_id, erased_at IS NOT NULL AS "erased!""#,
        &tenants,
        &fresh,
        &external as _,
        now.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        refuse_erased(ContactId(row.id), row.erased)?;
        if let Some(external_id) = row.external_id {
            known.insert((row.tenant_id, external_id), row.id);
        }
    }
    let found = |(one, id): (&Given<'_>, &Uuid)| {
        let external = one.input.external_id.clone();
        let kept = external
            .and_then(|external_id| known.get(&(one.tenant.0, external_id)))
            .unwrap_or(id);
        Upserted {
            id: ContactId(*kept),
            created: kept == id,
        }
    };
    Ok(given.iter().zip(&fresh).map(found).collect())
}

/// Columns of the contacts that give anything beside their ids.
#[derive(Default)]
struct Details {
    tenants: Vec<Uuid>,
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
        let seal_name = |name: &Private<String>| key.seal(&place("name_sealed"), name.expose().as_bytes());
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
        self.tenants.push(tenant.0);
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

    async fn write(&self, conn: &mut PgConnection) -> Result<()> {
        sqlx::query!(
            "UPDATE contacts c SET name_sealed = coalesce(given.name, c.name_sealed),
                    attributes_sealed = coalesce(given.attributes, c.attributes_sealed),
                    zone = coalesce(given.zone, c.zone), locale = coalesce(given.locale, c.locale),
                    country = coalesce(given.country, c.country),
                    preferred_channels = coalesce(string_to_array(given.preferred, ','), c.preferred_channels),
                    quiet_hours = coalesce(given.quiet_hours, c.quiet_hours)
             FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[],
                         $9::jsonb[])
                  AS given (tenant_id, id, name, attributes, zone, locale, country, preferred, quiet_hours)
             WHERE c.tenant_id = given.tenant_id AND c.id = given.id",
            &self.tenants,
            &self.ids,
            &self.names as _,
            &self.attributes as _,
            &self.zones as _,
            &self.locales as _,
            &self.countries as _,
            &self.preferred as _,
            &self.quiet_hours as _,
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Addresses to insert, and which of known contacts should become primary.
#[derive(Default)]
pub(super) struct AddressRows {
    tenants: Vec<Uuid>,
    ids: Vec<Uuid>,
    contacts: Vec<Uuid>,
    kinds: Vec<String>,
    values: Vec<Vec<u8>>,
    indexes: Vec<Vec<u8>>,
    primary: Vec<bool>,
    valid: Vec<bool>,
    /// Contacts that existed: their primary addresses are settled after the insert.
    known: (Vec<Uuid>, Vec<Uuid>),
    wanted_tenants: Vec<Uuid>,
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
            self.tenants.push(tenant.0);
            self.ids.push(id.0);
            self.contacts.push(contact.id.0);
            self.kinds.push(address.kind.as_str().to_owned());
            self.values.push(key.seal(&place, address.text.as_bytes())?);
            self.indexes.push(address.blind_index.0.to_vec());
            self.primary.push(contact.created && leads);
            self.valid.push(address.valid);
            if !contact.created && address.primary && leads {
                self.wanted_tenants.push(tenant.0);
                self.wanted_contacts.push(contact.id.0);
                self.wanted_indexes.push(address.blind_index.0.to_vec());
            }
        }
        if !contact.created && !addresses.is_empty() {
            self.known.0.push(tenant.0);
            self.known.1.push(contact.id.0);
        }
        Ok(())
    }

    pub(super) async fn write(&self, conn: &mut PgConnection, now: Timestamp) -> Result<()> {
        if self.ids.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "INSERT INTO addresses (tenant_id, id, contact_id, kind, value_sealed, blind_index, is_primary, valid, created_at, updated_at)
             SELECT tenant_id, id, contact_id, kind, value, blind_index, is_primary, valid, $9, $9
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bytea[], $6::bytea[], $7::bool[], $8::bool[])
                  AS fresh (tenant_id, id, contact_id, kind, value, blind_index, is_primary, valid)
             ON CONFLICT (tenant_id, contact_id, blind_index) DO NOTHING",
            &self.tenants,
            &self.ids,
            &self.contacts,
            &self.kinds,
            &self.values,
            &self.indexes,
            &self.primary,
            &self.valid,
            now.to_sqlx() as _,
        )
        .execute(&mut *conn)
        .await?;
        let (tenants, known) = &self.known;
        if known.is_empty() {
            return Ok(());
        }
        let wanted = (&*self.wanted_tenants, &*self.wanted_contacts);
        super::addresses::promote(conn, wanted, &self.wanted_indexes, now).await?;
        super::addresses::fill_primaries(conn, (tenants, known), now).await
    }
}
