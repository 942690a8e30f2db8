//! What a report teaches about the address it is about: suppressions, bad addresses, soft bounces that add up. A named
//! recipient counts only when it is one of the contact's.

use crate::error::EngineError;
use crate::whatsapp;
use jiff::Timestamp;
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_core::soft_bounce::{self, Consequence};
use tidings_core::{Address, Dice};
use tidings_providers::{ReportedEvent, SuppressBecause};
use tidings_store::events::{self, NewEvent};
use tidings_store::suppressions::{self, NewSuppression};
use tidings_store::tracking::reports::{self, NewReport, Reported};
use tidings_store::{BlindIndex, TenantTx, contacts};

/// Whether a report may end in a suppression, a stop or a mark on an address.
pub(crate) fn touches_contact(event: &ReportedEvent) -> bool {
    event.suppress.is_some() || event.bounce_class == Some(BounceClass::Soft)
}

/// What a report teaches about the address: suppressions, bad addresses, soft bounces that add up. A block is about the
/// connection's reputation or the content; it is counted for the connection and never against the address.
pub(crate) async fn learn(
    tx: &mut TenantTx,
    reported: &Reported,
    report: &NewReport,
    event: &ReportedEvent,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let class = event
        .bounce_class
        .filter(|_| event.kind == DeliveryEventKind::Bounced);
    if let Some(class) = class {
        metrics::counter!("tidings_bounces_total", "connection" => report.connection.to_string(), "class" => class.as_str())
            .increment(1);
    }
    // Without a code a soft bounce says nothing about the address.
    let soft = class == Some(BounceClass::Soft) && event.error.is_some();
    if event.suppress.is_none() && !soft {
        return Ok(());
    }
    if whatsapp::withdraws_marketing(event) {
        return whatsapp::withdraw_marketing(tx, reported.contact, reported.channel, dice, now).await;
    }
    let Some(address) = address_of(tx, reported, event).await? else {
        tracing::warn!(message = %reported.message, "a report names a recipient that is none of the contact's; nothing was suppressed");
        return Ok(());
    };
    match event.suppress {
        Some(because) => suppress(tx, reported, report, address, because, dice, now).await,
        None => {
            count_soft_bounce(
                tx,
                reported,
                address,
                report.occurred_at.min(now),
                report.code.clone(),
                dice,
                now,
            )
            .await
        }
    }
}

/// Notes a soft bounce and, when they add up, leaves the address alone for a while.
async fn count_soft_bounce(
    tx: &mut TenantTx,
    reported: &Reported,
    address: BlindIndex,
    bounced_at: Timestamp,
    code: Option<String>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let known = contacts::note_soft_bounce(tx, reported.channel, address, bounced_at, now).await?;
    let Consequence::LeaveAlone { until } = soft_bounce::judge(&known.at, known.delivered_at, now) else {
        return Ok(());
    };
    let reason = SuppressionReason::SoftBounce;
    let item = NewSuppression {
        tenant: tx.tenant(),
        channel: reported.channel,
        blind_index: address,
        reason,
        source: "soft bounces on three days".to_owned(),
        detail: code,
    };
    suppressions::add_until(tx, item, until, dice, now).await?;
    log_suppressed(tx, reported, reason, Some(until), dice, now).await
}

/// Why an address is suppressed, as it is kept.
pub(crate) const fn reason_of(because: SuppressBecause) -> SuppressionReason {
    match because {
        SuppressBecause::HardBounce => SuppressionReason::HardBounce,
        SuppressBecause::Complaint => SuppressionReason::Complaint,
        SuppressBecause::Unsubscribe | SuppressBecause::MarketingStop => SuppressionReason::Unsubscribe,
        SuppressBecause::Stop => SuppressionReason::Stop,
    }
}

async fn suppress(
    tx: &mut TenantTx,
    reported: &Reported,
    report: &NewReport,
    address: BlindIndex,
    because: SuppressBecause,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let tenant = tx.tenant();
    let reason = reason_of(because);
    let item = NewSuppression {
        tenant,
        channel: reported.channel,
        blind_index: address,
        reason,
        source: format!("provider {}", report.provenance),
        detail: report.code.clone(),
    };
    suppressions::add(tx, &[item], dice, now).await?;
    match because {
        SuppressBecause::HardBounce => {
            let why = report.code.as_deref().unwrap_or(reason.as_str());
            let why: String = why.chars().take(64).collect();
            contacts::mark_known_bad(tx, tenant, address, &why, now).await?;
        }
        SuppressBecause::Stop => contacts::stop(tx, reported.contact, reported.channel, now).await?,
        SuppressBecause::Complaint | SuppressBecause::Unsubscribe | SuppressBecause::MarketingStop => {}
    }
    log_suppressed(tx, reported, reason, None, dice, now).await
}

async fn log_suppressed(
    tx: &mut TenantTx,
    reported: &Reported,
    reason: SuppressionReason,
    until: Option<Timestamp>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let event = NewEvent {
        tenant: tx.tenant(),
        kind: "AddressSuppressed".to_owned(),
        contact: Some(reported.contact),
        message: Some(reported.message),
        subject: None,
        data: serde_json::json!({ "channel": reported.channel, "reason": reason, "until": until }),
    };
    events::append(tx, &[event], dice, now).await?;
    tracing::info!(message = %reported.message, reason = reason.as_str(), "an address was suppressed");
    Ok(())
}

/// The address a report is about. A named recipient counts only when it is one of the contact's: a report must not
/// suppress a stranger.
async fn address_of(
    tx: &mut TenantTx,
    reported: &Reported,
    event: &ReportedEvent,
) -> Result<Option<BlindIndex>, EngineError> {
    let primary = reports::primary_index(tx, reported.contact, reported.channel).await?;
    let Some(named) = &event.recipient else {
        return Ok(primary);
    };
    let Ok(address) = Address::parse(reported.channel, named.expose(), None) else {
        return Ok(primary);
    };
    let tenant = tx.tenant();
    let keyring = tx.keyring();
    let index = keyring.tenant_key(tx, tenant).await?.blind_index(&address);
    let holders = contacts::find_by_address(tx, &address).await?;
    Ok(holders.contains(&reported.contact).then_some(index))
}
