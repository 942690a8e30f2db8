//! Changing a contact by its id: what is not given stays, what is given as none is emptied.

use super::lock;
use super::upsert::ATTRIBUTES_LIMIT;
use crate::columns::check_length;
use crate::{Place, Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use tidings_core::ContactId;
use tidings_core::redact::Private;

/// What to change about a contact.
#[derive(Clone, Debug, Default)]
pub struct ContactUpdate {
    /// The tenant's own id of it.
    pub external_id: Option<Option<String>>,
    /// Its name.
    pub name: Option<Option<Private<String>>>,
    /// IANA zone name.
    pub zone: Option<Option<String>>,
    /// Language and region.
    pub locale: Option<Option<String>>,
    /// ISO 3166 alpha-2.
    pub country: Option<Option<String>>,
    /// What the tenant knows of it; replaces all attributes.
    pub attributes: Option<Private<serde_json::Map<String, serde_json::Value>>>,
}

/// Changes a contact.
///
/// # Errors
/// [`StoreError::NotFound`], [`StoreError::Erased`], [`StoreError::Conflict`] when the external id is another contact's.
pub async fn update(tx: &mut TenantTx, id: ContactId, change: ContactUpdate, now: Timestamp) -> Result<()> {
    check(&change)?;
    lock(tx, id).await?;
    let tenant = tx.tenant();
    let keyring = tx.keyring();
    let keys = keyring.contact_keys(tx, &[(tenant, id)], now).await?;
    let key = keys.get(tenant, id)?;
    let place = |column| Place::new("contacts", column, tenant, id.0);
    let name = match change.name.as_ref().and_then(Option::as_ref) {
        Some(name) => Some(key.seal(&place("name_sealed"), name.expose().as_bytes())?),
        None => None,
    };
    let attributes = match &change.attributes {
        Some(attributes) => {
            let json = serde_json::to_vec(attributes.expose())
                .map_err(|error| StoreError::json("attributes", &error))?;
            if json.len() > ATTRIBUTES_LIMIT {
                return Err(StoreError::invalid(
                    "attributes",
                    format!("at most {ATTRIBUTES_LIMIT} bytes of JSON"),
                ));
            }
            Some(key.seal(&place("attributes_sealed"), &json)?)
        }
        None => None,
    };
    let done = sqlx::query!(
        "UPDATE contacts SET external_id = CASE WHEN $3 THEN $4 ELSE external_id END,
                name_sealed = CASE WHEN $5 THEN $6 ELSE name_sealed END,
                zone = CASE WHEN $7 THEN $8 ELSE zone END, locale = CASE WHEN $9 THEN $10 ELSE locale END,
                country = CASE WHEN $11 THEN $12 ELSE country END,
                attributes_sealed = coalesce($13, attributes_sealed), updated_at = $14
         WHERE tenant_id = $1 AND id = $2",
        tenant.0,
        id.0,
        change.external_id.is_some(),
        change.external_id.clone().flatten(),
        change.name.is_some(),
        name,
        change.zone.is_some(),
        change.zone.flatten(),
        change.locale.is_some(),
        change.locale.flatten(),
        change.country.is_some(),
        change.country.flatten(),
        attributes,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await
    .map_err(StoreError::from);
    match done {
        Err(error) if error.violates("contacts_tenant_id_external_id_key") => Err(StoreError::Conflict {
            what: "another contact has this external_id".to_owned(),
        }),
        other => other.map(drop),
    }
}

fn check(change: &ContactUpdate) -> Result<()> {
    let texts = [
        ("external_id", &change.external_id, 200),
        ("zone", &change.zone, 64),
        ("locale", &change.locale, 35),
    ];
    for (field, text, most) in texts {
        if let Some(Some(text)) = text {
            check_length(field, text, most)?;
        }
    }
    if let Some(Some(name)) = &change.name {
        check_length("name", name.expose(), 200)?;
    }
    if let Some(Some(country)) = &change.country
        && !(country.len() == 2 && country.chars().all(|c| c.is_ascii_uppercase()))
    {
        return Err(StoreError::invalid(
            "country",
            "use two upper-case letters of ISO 3166, such as DE",
        ));
    }
    Ok(())
}
