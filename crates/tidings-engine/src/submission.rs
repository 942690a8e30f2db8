//! What a provider is handed: the sealed content and recipient of a delivery, opened for one call.

use crate::compose::{is_erased, open_content};
use crate::tenancy::TenantView;
use crate::whatsapp;
use std::time::Duration;
use tidings_core::Address;
use tidings_core::redact::Private;
use tidings_providers::{Content, Submission};
use tidings_store::messages::dispatch::Dispatchable;
use tidings_store::seal::ContactKeys;
use tidings_store::{Place, SealError};

/// Why a delivery has nothing to send, or nobody to send it to.
pub(crate) struct Unsendable {
    pub code: &'static str,
    pub detail: &'static str,
}

/// Opens what a call needs; `window_open` chooses between an approved WhatsApp template and free text.
pub(crate) fn submission(
    keys: &ContactKeys,
    view: &TenantView,
    row: &Dispatchable,
    window_open: bool,
    reference: String,
    time_limit: Duration,
) -> Result<Submission, Unsendable> {
    let erased = Unsendable {
        code: "consent.erased",
        detail: "the contact was erased",
    };
    let unreadable = Unsendable {
        code: "content.unreadable",
        detail: "the sealed content or address cannot be opened",
    };
    let lost = |error: &SealError| {
        if is_erased(error) {
            Unsendable {
                code: "consent.erased",
                detail: "the contact was erased",
            }
        } else {
            Unsendable {
                code: "content.unreadable",
                detail: "the sealed content or address cannot be opened",
            }
        }
    };
    let (tenant, contact) = (row.tenant, row.message.contact);
    let key = keys.get(tenant, contact).map_err(|error| lost(&error))?;
    let recipient = row.recipient.as_ref().ok_or(Unsendable {
        code: "address.missing",
        detail: "the contact has no address",
    })?;
    let place = Place::new("addresses", "value_sealed", tenant, recipient.id.0);
    let text = key
        .open_text(&place, &recipient.sealed)
        .map_err(|error| lost(&error))?;
    let region = view.policy().default_region.as_deref();
    let to = Address::parse(row.channel, text.expose(), region).map_err(|_| Unsendable {
        code: "address.invalid",
        detail: "the address is malformed",
    })?;
    let sealed = row.content.as_ref().ok_or(erased)?;
    let content: Content =
        open_content(key, tenant, row.message.id, row.channel, sealed).map_err(|_| unreadable)?;
    let to_name = row.name_sealed.as_ref().and_then(|sealed| {
        let place = Place::new("contacts", "name_sealed", tenant, contact.0);
        key.open_text(&place, sealed).ok()
    });
    Ok(Submission {
        reference,
        message_id: row.message.id.to_string(),
        channel: row.channel,
        category: row.message.category,
        to: Private::new(to),
        to_name,
        content: Private::new(whatsapp::for_now(content, window_open)),
        status_callback: None,
        time_limit,
    })
}
