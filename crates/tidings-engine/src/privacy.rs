//! A contact's own data, and their end, from the preference page.
//!
//! The link alone is not enough: mails are forwarded, and the page shows addresses masked. Whoever names one of the
//! contact's addresses in full is taken for the contact.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::preferences::{Visited, visited};
use tidings_core::{Address, Channel};
use tidings_store::TenantTx;
use tidings_store::audit::{self, AuditEntry};
use tidings_store::erasure::{self, ErasureCertificate};
use tidings_store::events::{self, NewEvent};
use tidings_store::export::{self, ContactExport};

/// Who did it, as the audit log says it.
const ACTOR: &str = "contact, by the preference page";

/// The longest address that is looked at, in bytes.
const MAX_GIVEN_BYTES: usize = 320;

/// What became of a request for one's own data.
#[derive(Debug)]
pub enum Proven<T> {
    /// Done.
    Done(T),
    /// The address given is none of the contact's. Nothing was done.
    AddressDiffers,
    /// The token is not ours, or the contact is gone.
    Unknown,
}

impl Engine {
    /// The contact's data for the contact, once an address of theirs is named.
    pub async fn export_own_data(
        &self,
        token: &str,
        address: &str,
    ) -> Result<Proven<Box<ContactExport>>, EngineError> {
        let Some((tenant, contact)) = self.preference_holder(token).await? else {
            return Ok(Proven::Unknown);
        };
        let now = self.now();
        let mut tx = self.store().worker_tenant(tenant).tx().await?;
        let Some(visited) = visited(&mut tx, contact).await? else {
            return Ok(Proven::Unknown);
        };
        if !is_theirs(&mut tx, &visited, address).await? {
            return Ok(Proven::AddressDiffers);
        }
        let export = export::contact(&mut tx, contact, now).await?;
        let entry = AuditEntry {
            tenant,
            actor: ACTOR.to_owned(),
            action: "contact.export".to_owned(),
            object: format!("contact {contact}"),
            contact: None,
            detail: None,
        };
        let keyring = tx.keyring();
        audit::append(&mut tx, &keyring, entry, now).await?;
        tx.commit().await?;
        Ok(Proven::Done(Box::new(export)))
    }

    /// Erases the contact, once an address of theirs is named.
    pub async fn erase_own_data(
        &self,
        token: &str,
        address: &str,
    ) -> Result<Proven<ErasureCertificate>, EngineError> {
        let Some((tenant, contact)) = self.preference_holder(token).await? else {
            return Ok(Proven::Unknown);
        };
        let now = self.now();
        let mut dice = self.dice();
        let mut tx = self.store().worker_tenant(tenant).tx().await?;
        let Some(visited) = visited(&mut tx, contact).await? else {
            return Ok(Proven::Unknown);
        };
        if !is_theirs(&mut tx, &visited, address).await? {
            return Ok(Proven::AddressDiffers);
        }
        let certificate = erasure::erase(&mut tx, contact, ACTOR, &mut dice, now).await?;
        let event = NewEvent {
            tenant,
            kind: "ContactErased".to_owned(),
            contact: Some(contact),
            message: None,
            subject: None,
            data: serde_json::json!({ "by": "preference page" }),
        };
        events::append(&mut tx, &[event], &mut dice, now).await?;
        tx.commit().await?;
        erasure::forget(self.store().keyring(), &certificate).await;
        metrics::counter!("tidings_contacts_erased_total").increment(1);
        Ok(Proven::Done(certificate))
    }
}

/// Whether a text names one of the contact's addresses.
async fn is_theirs(tx: &mut TenantTx, visited: &Visited, text: &str) -> Result<bool, EngineError> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_GIVEN_BYTES {
        return Ok(false);
    }
    let channel = if text.contains('@') {
        Channel::Email
    } else {
        Channel::Sms
    };
    let Ok(address) = Address::parse(channel, text, visited.tenant.policy.default_region.as_deref()) else {
        return Ok(false);
    };
    let keyring = tx.keyring();
    let index = keyring
        .tenant_key(tx, visited.tenant.id)
        .await?
        .blind_index(&address);
    Ok(visited
        .contact
        .addresses
        .iter()
        .any(|held| held.blind_index == index))
}
