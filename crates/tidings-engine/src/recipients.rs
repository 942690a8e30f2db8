//! From "to whom" to a contact: by id, by the tenant's own id, or as given.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::request::{AcceptError, InlineContact, Recipient};
use std::collections::HashMap;
use tidings_core::{Address, Channel, ContactId, TenantId, zone};
use tidings_store::contacts::{self, AddressInput, AddressKind, ContactInput};
use tidings_store::messages::contacts_by;
use tidings_store::{Conn, StoreError, TenantKey};

/// Checks what can be checked without the database.
pub(crate) fn check(to: &Recipient, default_region: Option<&str>) -> Result<(), AcceptError> {
    match to {
        Recipient::ContactId(_) => Ok(()),
        Recipient::ExternalId(id) => check_external_id(id),
        Recipient::Contact(contact) => check_inline(contact, default_region),
    }
}

fn check_external_id(id: &str) -> Result<(), AcceptError> {
    if id.is_empty() || id.chars().count() > 200 {
        let problem = "use 1 to 200 characters".to_owned();
        return Err(AcceptError::Invalid {
            field: "to.external_id".to_owned(),
            problem,
        });
    }
    Ok(())
}

fn check_inline(contact: &InlineContact, default_region: Option<&str>) -> Result<(), AcceptError> {
    if let Some(id) = &contact.external_id {
        check_external_id(id)?;
    }
    if contact.external_id.is_none() && contact.email.is_none() && contact.phone.is_none() {
        let problem = "give an external_id, an email or a phone".to_owned();
        return Err(AcceptError::Invalid {
            field: "to.contact".to_owned(),
            problem,
        });
    }
    if let Some(name) = &contact.zone
        && zone::find(name).is_none()
    {
        return Err(AcceptError::WrongZone {
            zone: name.chars().take(64).collect(),
        });
    }
    for (field, channel, text) in [
        ("email", Channel::Email, &contact.email),
        ("phone", Channel::Sms, &contact.phone),
    ] {
        if let Some(text) = text
            && let Err(error) = Address::parse(channel, text.expose(), default_region)
        {
            return Err(AcceptError::MalformedAddress {
                field: field.to_owned(),
                problem: error.to_string(),
            });
        }
    }
    Ok(())
}

/// Resolves the external ids of a batch in one query.
pub(crate) async fn by_external_id(
    conn: &mut Conn,
    wanted: Vec<(TenantId, String)>,
) -> Result<HashMap<(TenantId, String), ContactId>, EngineError> {
    Ok(contacts_by::external_ids(conn, &wanted).await?)
}

/// Finds or creates a contact as given. It was checked before.
pub(crate) async fn inline(
    inner: &Inner,
    tenant: TenantId,
    key: &TenantKey,
    contact: &InlineContact,
    default_region: Option<&str>,
) -> Result<ContactId, EngineError> {
    let mut tx = inner.store.worker_tenant(tenant).tx().await?;
    if contact.external_id.is_none()
        && let Some(found) = find(&mut tx, contact, default_region).await?
    {
        return Ok(found);
    }
    tracing::debug!(tenant = %key.tenant(), "a contact given inline is created or brought up to date");
    let mut dice = inner.dice();
    let upserted = contacts::upsert(&mut tx, input(contact), default_region, &mut dice, inner.now()).await?;
    tx.commit().await?;
    Ok(upserted.id)
}

async fn find(
    tx: &mut tidings_store::TenantTx,
    contact: &InlineContact,
    default_region: Option<&str>,
) -> Result<Option<ContactId>, StoreError> {
    for (channel, text) in [(Channel::Email, &contact.email), (Channel::Sms, &contact.phone)] {
        let Some(text) = text else { continue };
        let Ok(address) = Address::parse(channel, text.expose(), default_region) else {
            continue;
        };
        if let Some(found) = contacts::find_by_address(tx, &address).await?.into_iter().next() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn input(contact: &InlineContact) -> ContactInput {
    let addresses = [
        (AddressKind::Email, &contact.email),
        (AddressKind::Phone, &contact.phone),
    ]
    .into_iter()
    .filter_map(|(kind, text)| {
        text.clone().map(|text| AddressInput {
            kind,
            text,
            primary: true,
        })
    })
    .collect();
    ContactInput {
        external_id: contact.external_id.clone(),
        name: contact.name.clone(),
        zone: contact.zone.clone(),
        locale: contact.locale.clone(),
        country: contact.country.clone(),
        addresses,
        ..ContactInput::default()
    }
}
