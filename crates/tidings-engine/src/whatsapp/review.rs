//! Reviews of approved templates: kept, logged, and obeyed by the facts of the next message.

use crate::error::EngineError;
use jiff::Timestamp;
use serde_json::json;
use tidings_core::Dice;
use tidings_providers::TemplateReport;
use tidings_store::TenantTx;
use tidings_store::events::{self, NewEvent};
use tidings_store::whatsapp::templates::{self, NewReview};

/// Notes the reviews of a webhook. A newer word is never undone by an older one.
pub(crate) async fn note(
    tx: &mut TenantTx,
    reports: &[TemplateReport],
    received_at: Timestamp,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    for report in reports {
        let review = NewReview {
            account: report.account.chars().take(64).collect(),
            name: report.name.clone(),
            language: report.language.clone(),
            standing: report.standing.as_str(),
            word: report.word.clone(),
            reason: report.reason.clone(),
            at: report.occurred_at.unwrap_or(received_at).min(now),
        };
        if !templates::note(tx, &review, now).await? {
            continue;
        }
        if !report.standing.is_usable() {
            tracing::warn!(template = %report.name, word = %report.word, "Meta stopped an approved template");
        }
        let entry = NewEvent {
            tenant: tx.tenant(),
            kind: "WhatsappTemplateReviewed".to_owned(),
            contact: None,
            message: None,
            subject: Some(report.name.clone()),
            data: json!({
                "language": report.language, "standing": report.standing, "word": report.word,
                "reason": report.reason
            }),
        };
        events::append(tx, &[entry], dice, now).await?;
    }
    Ok(())
}
