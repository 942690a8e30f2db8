//! Reading contacts, opened.

use super::preferences::Columns;
use super::{AddressKind, Contact, ContactAddress};
use crate::columns::{Page, rows_for, word};
use crate::seal::ContactKeys;
use crate::{BlindIndex, Place, Result, StoreError, TenantTx};
use std::collections::HashMap;
use tidings_core::redact::Private;
use tidings_core::{Address, AddressId, ContactId, TenantId};
use uuid::Uuid;

/// The most contacts that are named for one address.
const SHARED_LIMIT: i64 = 100;

struct Row {
    id: Uuid,
    external_id: Option<String>,
    name_sealed: Option<Vec<u8>>,
    attributes_sealed: Option<Vec<u8>>,
    zone: Option<String>,
    locale: Option<String>,
    country: Option<String>,
    preferred_channels: Vec<String>,
    opted_out: Vec<String>,
    stopped: Vec<String>,
    quiet_hours: serde_json::Value,
    paused_until: Option<jiff_sqlx::Timestamp>,
    last_whatsapp_inbound_at: Option<jiff_sqlx::Timestamp>,
    last_sent_at: Option<jiff_sqlx::Timestamp>,
    erased_at: Option<jiff_sqlx::Timestamp>,
    created_at: jiff_sqlx::Timestamp,
    updated_at: jiff_sqlx::Timestamp,
}

/// One contact.
pub async fn get(tx: &mut TenantTx, id: ContactId) -> Result<Contact> {
    get_many(tx, &[id])
        .await?
        .pop()
        .ok_or_else(|| StoreError::not_found("contact", id))
}

/// One contact by the tenant's own id.
pub async fn get_by_external_id(tx: &mut TenantTx, external_id: &str) -> Result<Contact> {
    let id = sqlx::query_scalar!(
        "SELECT id FROM contacts WHERE tenant_id = $1 AND external_id = $2",
        tx.tenant().0,
        external_id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    get(
        tx,
        ContactId(id.ok_or_else(|| StoreError::not_found("contact", external_id))?),
    )
    .await
}

/// Many contacts, newest first; unknown ids are left out.
pub async fn get_many(tx: &mut TenantTx, ids: &[ContactId]) -> Result<Vec<Contact>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, external_id, name_sealed, attributes_sealed, zone, locale, country, preferred_channels, opted_out, stopped,
                quiet_hours, paused_until, last_whatsapp_inbound_at, last_sent_at, erased_at, created_at, updated_at
         FROM contacts WHERE tenant_id = $1 AND id = ANY ($2) ORDER BY id DESC",
        tx.tenant().0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    open(tx, rows).await
}

/// The tenant's contacts, newest first, without erased ones.
pub async fn list(
    tx: &mut TenantTx,
    before: Option<ContactId>,
    limit: u32,
) -> Result<Page<Contact, ContactId>> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, external_id, name_sealed, attributes_sealed, zone, locale, country, preferred_channels, opted_out, stopped,
                quiet_hours, paused_until, last_whatsapp_inbound_at, last_sent_at, erased_at, created_at, updated_at
         FROM contacts WHERE tenant_id = $1 AND erased_at IS NULL AND ($2::uuid IS NULL OR id < $2)
         ORDER BY id DESC LIMIT $3",
        tx.tenant().0,
        before.map(|id| id.0),
        rows_for(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    let contacts = open(tx, rows).await?;
    Ok(Page::from_rows(contacts, limit, |contact| contact.id))
}

/// Contacts that have this address, oldest first, at most 100.
pub async fn find_by_address(tx: &mut TenantTx, address: &Address) -> Result<Vec<ContactId>> {
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let index = keyring.tenant_key(tx, tenant).await?.blind_index(address);
    let ids = sqlx::query_scalar!(
        "SELECT contact_id FROM addresses WHERE tenant_id = $1 AND blind_index = $2 ORDER BY contact_id LIMIT $3",
        tenant.0,
        index.as_bytes().as_slice(),
        SHARED_LIMIT,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(ContactId).collect())
}

async fn open(tx: &mut TenantTx, rows: Vec<Row>) -> Result<Vec<Contact>> {
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let pairs: Vec<_> = rows.iter().map(|row| (tenant, ContactId(row.id))).collect();
    let keys = keyring.existing_contact_keys(tx, &pairs).await?;
    let mut addresses = addresses_of(tx, &keys, &rows).await?;
    rows.into_iter()
        .map(|row| {
            let addresses = addresses.remove(&row.id).unwrap_or_default();
            open_row(tenant, &keys, row, addresses)
        })
        .collect()
}

fn open_row(
    tenant: TenantId,
    keys: &ContactKeys,
    row: Row,
    addresses: Vec<ContactAddress>,
) -> Result<Contact> {
    let id = ContactId(row.id);
    let place = |column| Place::new("contacts", column, tenant, id.0);
    let name = match &row.name_sealed {
        Some(sealed) => Some(keys.get(tenant, id)?.open_text(&place("name_sealed"), sealed)?),
        None => None,
    };
    let attributes = match &row.attributes_sealed {
        Some(sealed) => {
            let json = keys.get(tenant, id)?.open(&place("attributes_sealed"), sealed)?;
            serde_json::from_slice(&json)
                .map_err(|error| StoreError::json("contacts.attributes_sealed", &error))?
        }
        None => serde_json::Map::new(),
    };
    let preferences = Columns {
        preferred_channels: row.preferred_channels,
        opted_out: row.opted_out,
        stopped: row.stopped,
        quiet_hours: row.quiet_hours,
        paused_until: row.paused_until,
    };
    Ok(Contact {
        id,
        external_id: row.external_id,
        name,
        attributes: Private::new(attributes),
        zone: row.zone,
        locale: row.locale,
        country: row.country,
        preferences: preferences.read()?,
        last_whatsapp_inbound_at: row.last_whatsapp_inbound_at.map(jiff_sqlx::Timestamp::to_jiff),
        last_sent_at: row.last_sent_at.map(jiff_sqlx::Timestamp::to_jiff),
        erased_at: row.erased_at.map(jiff_sqlx::Timestamp::to_jiff),
        created_at: row.created_at.to_jiff(),
        updated_at: row.updated_at.to_jiff(),
        addresses,
    })
}

async fn addresses_of(
    tx: &mut TenantTx,
    keys: &ContactKeys,
    contacts: &[Row],
) -> Result<HashMap<Uuid, Vec<ContactAddress>>> {
    let tenant = tx.tenant();
    let ids: Vec<Uuid> = contacts.iter().map(|row| row.id).collect();
    let rows = sqlx::query!(
        "SELECT id, contact_id, kind, value_sealed, blind_index, is_primary, valid, known_bad, soft_bounces, created_at
         FROM addresses WHERE tenant_id = $1 AND contact_id = ANY ($2)
         ORDER BY contact_id, kind, is_primary DESC, created_at, id",
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut found: HashMap<Uuid, Vec<ContactAddress>> = HashMap::with_capacity(contacts.len());
    for row in rows {
        let place = Place::new("addresses", "value_sealed", tenant, row.id);
        let text = keys
            .get(tenant, ContactId(row.contact_id))?
            .open_text(&place, &row.value_sealed)?;
        let kind: AddressKind = word("addresses.kind", &row.kind)?;
        found.entry(row.contact_id).or_default().push(ContactAddress {
            id: AddressId(row.id),
            kind,
            text,
            blind_index: BlindIndex::from_column(&row.blind_index)?,
            is_primary: row.is_primary,
            valid: row.valid,
            known_bad: row.known_bad,
            soft_bounces: row.soft_bounces.unsigned_abs(),
            created_at: row.created_at.to_jiff(),
        });
    }
    Ok(found)
}

/// The contact as the API and exports show it to its own tenant.
pub(super) fn as_json(contact: &Contact) -> serde_json::Value {
    let addresses: Vec<_> = contact
        .addresses
        .iter()
        .map(|address| {
            serde_json::json!({
                "id": address.id,
                "kind": address.kind,
                "value": address.text.expose(),
                "primary": address.is_primary,
                "valid": address.valid,
                "known_bad": address.known_bad,
                "created_at": address.created_at,
            })
        })
        .collect();
    serde_json::json!({
        "id": contact.id,
        "external_id": contact.external_id,
        "name": contact.name.as_ref().map(Private::expose),
        "attributes": contact.attributes.expose(),
        "zone": contact.zone,
        "locale": contact.locale,
        "country": contact.country,
        "preferences": contact.preferences,
        "last_whatsapp_inbound_at": contact.last_whatsapp_inbound_at,
        "last_sent_at": contact.last_sent_at,
        "erased_at": contact.erased_at,
        "created_at": contact.created_at,
        "updated_at": contact.updated_at,
        "addresses": addresses,
    })
}
