//! From "to whom" to a contact: by id, by the tenant's own id, or as given.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::request::{AcceptError, InlineContact, Recipient};
use crate::tenancy::TenantView;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use tidings_core::{Address, Channel, ContactId, Dice, TenantId, zone};
use tidings_store::contacts::{self, AddressInput, AddressKind, ContactInput, Upserted};
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
    if let Err(StoreError::Invalid { field, problem }) = contacts::check(&input(contact)) {
        return Err(AcceptError::Invalid {
            field: format!("to.contact.{field}"),
            problem,
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

/// A contact given with a request.
#[derive(Debug)]
pub(crate) struct Inline {
    /// Which submission, and which request of it.
    pub place: (usize, usize),
    pub tenant: TenantId,
    pub contact: InlineContact,
}

/// Who a contact is: the tenant's own id of it, else the first address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Identity {
    External(String),
    Address(BlindIndex),
}

/// Finds the contacts given with requests, or makes them, in the caller's transaction: what it refuses leaves none behind.
/// The answers stand in the order of what was given, which was checked before. Who is given twice is one contact.
pub(crate) async fn bring_in(
    inner: &Inner,
    conn: &mut Conn,
    given: &[Inline],
    views: &HashMap<TenantId, TenantView>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Vec<Upserted>, EngineError> {
    let region = |tenant: TenantId| views.get(&tenant)?.policy().default_region.as_deref();
    let indexes: Vec<Vec<BlindIndex>> = given
        .iter()
        .map(|one| match views.get(&one.tenant) {
            Some(view) => addresses(&one.contact, &view.key, region(one.tenant)),
            None => Vec::new(),
        })
        .collect();
    let unnamed = given
        .iter()
        .zip(&indexes)
        .filter(|(one, _)| one.contact.external_id.is_none());
    let wanted: Vec<(TenantId, BlindIndex)> = unnamed
        .flat_map(|(one, indexes)| indexes.iter().map(|index| (one.tenant, *index)))
        .collect();
    let mut known: HashMap<(TenantId, Identity), Upserted> = contacts_by::addresses(conn, &wanted)
        .await?
        .into_iter()
        .map(|((tenant, index), id)| ((tenant, Identity::Address(index)), found(id)))
        .collect();
    // By address: the first that is known; else the first, under which it becomes known.
    let by_address = |tenant: TenantId, indexes: &[BlindIndex]| {
        let mut addresses = indexes.iter().map(|index| (tenant, Identity::Address(*index)));
        addresses
            .clone()
            .find(|one| known.contains_key(one))
            .or_else(|| addresses.next())
    };
    let identities: Vec<Option<(TenantId, Identity)>> = given
        .iter()
        .zip(&indexes)
        .map(|(one, indexes)| match &one.contact.external_id {
            Some(id) => Some((one.tenant, Identity::External(id.clone()))),
            None => by_address(one.tenant, indexes),
        })
        .collect();
    // Of somebody given twice the last word counts.
    let mut fresh: BTreeMap<&(TenantId, Identity), &InlineContact> = BTreeMap::new();
    for (identity, one) in identities.iter().zip(given) {
        if let Some(identity) = identity.as_ref().filter(|one| !known.contains_key(one)) {
            fresh.insert(identity, &one.contact);
        }
    }
    let inputs: Vec<(TenantId, ContactInput)> = fresh
        .iter()
        .map(|(identity, contact)| (identity.0, input(contact)))
        .collect();
    let rows: Vec<contacts::Given<'_>> = inputs
        .iter()
        .map(|(tenant, input)| contacts::Given {
            tenant: *tenant,
            input,
            default_region: region(*tenant),
        })
        .collect();
    let made = contacts::upsert_given(conn, inner.store.keyring(), &rows, dice, now).await?;
    let made: Vec<_> = fresh
        .keys()
        .map(|identity| (*identity).clone())
        .zip(made)
        .collect();
    known.extend(made);
    identities
        .iter()
        .map(|identity| {
            let one = identity.as_ref().and_then(|one| known.get(one).copied());
            one.ok_or_else(|| EngineError::NotFound {
                what: "contact",
                id: "as given".to_owned(),
            })
        })
        .collect()
}

const fn found(id: ContactId) -> Upserted {
    Upserted { id, created: false }
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
