//! Marketing switched off or on by the contact in WhatsApp itself: an entry of the consent ledger, for WhatsApp only.
//! Other messages go on.

use super::users;
use crate::error::EngineError;
use jiff::Timestamp;
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::event::DeliveryEventKind;
use tidings_core::{Category, Channel, ContactId, Dice};
use tidings_providers::{ReportedEvent, SuppressBecause};
use tidings_store::consents::{self, NewConsent};
use tidings_store::events::{self, NewEvent};
use tidings_store::suppressions::{self, NewSuppression};
use tidings_store::{BlindIndex, TenantTx, contacts};

/// Where the entry comes from.
const SOURCE: &str = "WhatsApp";

/// Whether a report is about a user's preference and no delivery. Only WhatsApp tells of such; an unsubscription that any other
/// channel reports is about a delivery, or about none of ours.
pub(crate) fn is_preference(channel: Option<Channel>, event: &ReportedEvent) -> bool {
    let switch = matches!(
        event.kind,
        DeliveryEventKind::Unsubscribed | DeliveryEventKind::Resubscribed
    );
    channel == Some(Channel::Whatsapp)
        && switch
        && event.reference.is_none()
        && event.provider_message_id.is_none()
        && event.recipient.is_some()
}

/// Obeys a preference, in the transaction that stores its webhook. Entries stand at the time of the choice, so that a late
/// or repeated report undoes nothing newer.
pub(crate) async fn apply(
    tx: &mut TenantTx,
    event: &ReportedEvent,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let Some(recipient) = &event.recipient else {
        return Ok(());
    };
    let channel = Channel::Whatsapp;
    let granted = event.kind == DeliveryEventKind::Resubscribed;
    let (index, holders) = users::sender(tx, channel, recipient.expose()).await?;
    if holders.is_empty() {
        return remember(tx, channel, index, granted, dice, now).await;
    }
    let at = event.occurred_at.unwrap_or(now).min(now);
    for contact in holders {
        record(tx, contact, channel, granted, dice, at, now).await?;
    }
    Ok(())
}

/// The contacts that a preference is about.
pub(crate) async fn chooser(tx: &mut TenantTx, event: &ReportedEvent) -> Result<Vec<ContactId>, EngineError> {
    match &event.recipient {
        Some(recipient) => Ok(users::sender(tx, Channel::Whatsapp, recipient.expose()).await?.1),
        None => Ok(Vec::new()),
    }
}

/// Keeps what a user chose of whom nobody knows yet who it is; it is carried over when that is seen.
async fn remember(
    tx: &mut TenantTx,
    channel: Channel,
    user: BlindIndex,
    granted: bool,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let reason = SuppressionReason::Unsubscribe;
    if granted {
        suppressions::lift_matching(tx, channel, user, &[reason], SOURCE, now).await?;
    } else {
        let item = NewSuppression {
            tenant: tx.tenant(),
            channel,
            blind_index: user,
            reason,
            source: SOURCE.to_owned(),
            detail: None,
        };
        suppressions::add(tx, &[item], dice, now).await?;
    }
    Ok(())
}

/// The contact wants no marketing on a channel any more, as a provider's error said.
pub(crate) async fn withdraw_marketing(
    tx: &mut TenantTx,
    contact: ContactId,
    channel: Channel,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    record(tx, contact, channel, false, dice, now, now).await
}

async fn record(
    tx: &mut TenantTx,
    contact: ContactId,
    channel: Channel,
    granted: bool,
    dice: &mut Dice,
    at: Timestamp,
    now: Timestamp,
) -> Result<(), EngineError> {
    let known = contacts::get_many(tx, &[contact]).await?;
    if known.first().is_none_or(|known| known.erased_at.is_some()) {
        return Ok(());
    }
    let consent = NewConsent {
        contact,
        purpose: Category::Marketing,
        channel: Some(channel),
        granted,
        source: SOURCE.to_owned(),
        wording: None,
    };
    consents::record(tx, consent, dice, at).await?;
    let kind = if granted {
        "ConsentGiven"
    } else {
        "ConsentWithdrawn"
    };
    let entry = NewEvent {
        tenant: tx.tenant(),
        kind: kind.to_owned(),
        contact: Some(contact),
        message: None,
        subject: None,
        data: serde_json::json!({ "channel": channel, "purpose": Category::Marketing, "source": SOURCE }),
    };
    events::append(tx, &[entry], dice, now).await?;
    Ok(())
}

/// Whether a report's consequence is a withdrawal rather than a suppression.
pub(crate) fn withdraws_marketing(event: &ReportedEvent) -> bool {
    event.suppress == Some(SuppressBecause::MarketingStop)
}
