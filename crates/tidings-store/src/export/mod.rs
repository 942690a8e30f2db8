//! A contact's data, for the contact: everything this store holds of it, readable by machines.

mod messages;

pub use messages::{ExportedInbound, ExportedMessage};

use crate::consents::{self, Consent};
use crate::contacts::{self, Contact};
use crate::events::{self, Event, EventFilter};
use crate::suppressions::{self, Suppression, SuppressionFilter};
use crate::{Result, TenantTx};
use jiff::Timestamp;
use serde::Serialize;
use tidings_core::ContactId;

/// The most entries of each list; a list that is longer says so.
const LIMIT: u32 = crate::columns::PAGE_LIMIT;

/// Pages of each list that are read.
const PAGES: usize = 20;

/// A contact's data.
#[derive(Clone, Debug, Serialize)]
pub struct ContactExport {
    /// The form of this export.
    pub format: &'static str,
    /// When it was made.
    pub exported_at: Timestamp,
    /// Name, attributes, addresses, preferences.
    pub contact: Contact,
    /// What was agreed to and withdrawn, newest first.
    pub consents: Vec<Consent>,
    /// Why addresses are not written to.
    pub suppressions: Vec<Suppression>,
    /// What happened, newest first.
    pub events: Vec<Event>,
    /// Messages to the contact, newest first.
    pub messages: Vec<ExportedMessage>,
    /// Messages from the contact, newest first.
    pub received: Vec<ExportedInbound>,
    /// A list was longer than the export's limit of 10 000 entries and was cut.
    pub truncated: bool,
}

/// Collects a contact's data.
///
/// # Errors
/// When the contact is unknown. An erased one exports as what is left of it.
pub async fn contact(tx: &mut TenantTx, id: ContactId, now: Timestamp) -> Result<ContactExport> {
    let contact = contacts::get(tx, id).await?;
    let mut export = ContactExport {
        format: "tidings-contact-1",
        exported_at: now,
        contact,
        consents: Vec::new(),
        suppressions: Vec::new(),
        events: Vec::new(),
        messages: Vec::new(),
        received: Vec::new(),
        truncated: false,
    };
    let mut before = None;
    for _ in 0..PAGES {
        let page = consents::history(tx, id, before, LIMIT).await?;
        export.consents.extend(page.items);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    export.truncated |= before.is_some();
    let mut before = None;
    for _ in 0..PAGES {
        let filter = EventFilter {
            contact: Some(id),
            ..EventFilter::default()
        };
        let page = events::list(tx, filter, before, LIMIT).await?;
        export.events.extend(page.items);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    export.truncated |= before.is_some();
    let most = LIMIT as usize * PAGES;
    let (sent, more_sent) = messages::sent(tx, id, most).await?;
    let (received, more_received) = messages::received(tx, id, most).await?;
    export.messages = sent;
    export.received = received;
    export.truncated |= more_sent || more_received;
    let indexes: Vec<_> = export
        .contact
        .addresses
        .iter()
        .map(|address| address.blind_index)
        .collect();
    for index in indexes {
        let filter = SuppressionFilter {
            address: Some(index),
            with_lifted: true,
            ..SuppressionFilter::default()
        };
        let page = suppressions::list(tx, filter, None, LIMIT).await?;
        export.truncated |= page.next.is_some();
        export.suppressions.extend(page.items);
    }
    Ok(export)
}
