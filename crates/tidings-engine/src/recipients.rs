//! From "to whom" to a contact: by id, by the tenant's own id, or as given.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::request::{AcceptError, InlineContact, Recipient};
use std::collections::{BTreeMap, HashMap};
use tidings_core::{Address, Channel, ContactId, TenantId, zone};
use tidings_store::contacts::{self, AddressInput, AddressKind, ContactInput};
use tidings_store::messages::contacts_by;
use tidings_store::{BlindIndex, Conn, StoreError, TenantKey};

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

/// Finds or creates the contacts given with the requests of one tenant, in one transaction; the answers stand in their
/// order. All were checked before. Who is given twice is one contact.
pub(crate) async fn inline(
    inner: &Inner,
    tenant: TenantId,
    given: &[&InlineContact],
    default_region: Option<&str>,
) -> Result<Vec<Result<ContactId, AcceptError>>, EngineError> {
    match together(inner, tenant, given, default_region).await {
        Ok(ids) => return Ok(ids.into_iter().map(Ok).collect()),
        // One that the store refuses would refuse them all: each is asked alone, so that the others are served.
        Err(EngineError::Store(StoreError::Invalid { .. })) => {}
        Err(error) => return Err(error),
    }
    let mut answers = Vec::with_capacity(given.len());
    for contact in given {
        answers.push(match together(inner, tenant, &[contact], default_region).await {
            Ok(ids) => ids.first().copied().ok_or_else(|| AcceptError::UnknownContact {
                reference: "as given".to_owned(),
            }),
            Err(EngineError::Store(StoreError::Invalid { field, problem })) => Err(AcceptError::Invalid {
                field: format!("to.contact.{field}"),
                problem,
            }),
            Err(error) => return Err(error),
        });
    }
    Ok(answers)
}

/// Who a contact is: the tenant's own id of it, else the first address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Identity {
    External(String),
    Address(BlindIndex),
}

async fn together(
    inner: &Inner,
    tenant: TenantId,
    given: &[&InlineContact],
    default_region: Option<&str>,
) -> Result<Vec<ContactId>, EngineError> {
    let now = inner.now();
    let mut dice = inner.dice();
    let mut tx = inner.store.worker_tenant(tenant).tx().await?;
    let key = tx.keyring().tenant_key(&mut tx, tenant).await?;
    let indexes: Vec<Vec<BlindIndex>> = given
        .iter()
        .map(|contact| addresses(contact, &key, default_region))
        .collect();
    let unnamed = given
        .iter()
        .zip(&indexes)
        .filter(|(contact, _)| contact.external_id.is_none());
    let wanted: Vec<BlindIndex> = unnamed.flat_map(|(_, indexes)| indexes.iter().copied()).collect();
    let mut known: HashMap<Identity, ContactId> = contacts_by::addresses(&mut tx, tenant, &wanted)
        .await?
        .into_iter()
        .map(|(index, id)| (Identity::Address(index), id))
        .collect();
    // By address: the first that is known; else the first, under which it becomes known.
    let by_address = |place: usize| {
        let addresses = indexes[place].iter().map(|index| Identity::Address(*index));
        addresses
            .clone()
            .find(|one| known.contains_key(one))
            .or_else(|| addresses.clone().next())
    };
    let identity = |place: usize| {
        let external = given[place].external_id.clone().map(Identity::External);
        external.or_else(|| by_address(place))
    };
    let identities: Vec<Option<Identity>> = (0..given.len()).map(identity).collect();
    // Of somebody given twice the last word counts.
    let mut fresh: BTreeMap<&Identity, &InlineContact> = BTreeMap::new();
    for (identity, contact) in identities.iter().zip(given) {
        if let Some(identity) = identity.as_ref().filter(|one| !known.contains_key(one)) {
            fresh.insert(identity, contact);
        }
    }
    let inputs: Vec<ContactInput> = fresh.values().map(|contact| input(contact)).collect();
    let made = contacts::upsert_batch(&mut tx, &inputs, default_region, &mut dice, now).await?;
    tx.commit().await?;
    let made: Vec<_> = fresh
        .keys()
        .map(|identity| (*identity).clone())
        .zip(made.iter().map(|one| one.id))
        .collect();
    known.extend(made);
    let found = |identity: &Option<Identity>| identity.as_ref().and_then(|one| known.get(one).copied());
    identities
        .iter()
        .map(|identity| {
            found(identity).ok_or_else(|| EngineError::NotFound {
                what: "contact",
                id: "as given".to_owned(),
            })
        })
        .collect()
}

fn addresses(contact: &InlineContact, key: &TenantKey, default_region: Option<&str>) -> Vec<BlindIndex> {
    [(Channel::Email, &contact.email), (Channel::Sms, &contact.phone)]
        .into_iter()
        .filter_map(|(channel, text)| Address::parse(channel, text.as_ref()?.expose(), default_region).ok())
        .map(|address| key.blind_index(&address))
        .collect()
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
