//! What the sandbox reports later in a provider's place: bounces and complaints that a person or a setting asked for.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::track::{self, Heard, Source};
use tidings_core::ErrorCategory;
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_providers::{ReportedEvent, SuppressBecause};
use tidings_store::messages::sandbox::{self as ledger, SandboxReport};

/// Reports applied in one round.
const AT_ONCE: i64 = 100;

/// Applies the reports that are due, each in a transaction of its own; true when there were any.
pub(crate) async fn report_due(inner: &Inner) -> Result<bool, EngineError> {
    let now = inner.now();
    let mut conn = inner.conn().await?;
    let due = ledger::due_reports(&mut conn, now, AT_ONCE).await?;
    drop(conn);
    let mut dice = inner.dice();
    for report in &due {
        let mut tx = inner.store.worker_tenant(report.tenant).tx().await?;
        if ledger::take_report(&mut tx, report.tenant, report.id).await? {
            let event = reported(report);
            let heard = Heard {
                source: Source::webhook(report.connection, now),
                channel: None,
                events: std::slice::from_ref(&event),
            };
            let found = track::find(&mut tx, &[heard]).await?;
            found.lock(&mut tx, &[]).await?;
            track::apply(inner, &mut tx, &found, &mut dice, now).await?;
            if found.unmatched != [0] {
                tracing::warn!(reference = %report.reference, "the sandbox reports about a delivery that is gone");
            }
        }
        tx.commit().await?;
    }
    Ok(!due.is_empty())
}

fn reported(report: &SandboxReport) -> ReportedEvent {
    let (bounce_class, suppress, error) = match report.kind {
        DeliveryEventKind::Bounced => (
            Some(BounceClass::Hard),
            Some(SuppressBecause::HardBounce),
            Some((ErrorCategory::Permanent, "5.1.1".to_owned())),
        ),
        DeliveryEventKind::Complained => (None, Some(SuppressBecause::Complaint), None),
        _ => (None, None, None),
    };
    ReportedEvent {
        dedupe_key: format!("sandbox:{}:{}", report.id, report.kind),
        kind: report.kind,
        occurred_at: None,
        provider_message_id: Some(report.provider_message_id.clone()),
        reference: Some(report.reference.clone()),
        recipient: None,
        bounce_class,
        error,
        suppress,
        detail: None,
    }
}
