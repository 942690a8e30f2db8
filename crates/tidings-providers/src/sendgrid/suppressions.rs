//! SendGrid's own lists: bounces, addresses that cannot be, complaints, and who unsubscribed there.
//!
//! Blocks are not among them: they are about our reputation, and SendGrid goes on sending.

use super::errors;
use crate::contract::{ListQuestion, ListedSuppression, Rejection, SuppressBecause, SuppressionPage};
use crate::egress::EgressResponse;
use crate::feedback;
use crate::mask::mask;
use jiff::Timestamp;
use serde_json::Value;
use tidings_core::redact::Private;

/// The lists, as the last part of their path.
pub const LISTS: [&str; 4] = ["bounces", "invalid_emails", "spam_reports", "unsubscribes"];

/// Entries of a page; the most that SendGrid gives.
const PAGE: usize = 500;

/// The query of a page. A page is named by how many entries come before it.
pub fn query(question: &ListQuestion<'_>) -> Vec<(&'static str, String)> {
    let since = question.since.map_or(0, Timestamp::as_second).max(0);
    vec![
        ("start_time", since.to_string()),
        ("end_time", question.until.as_second().to_string()),
        ("limit", PAGE.to_string()),
        ("offset", offset(question).to_string()),
    ]
}

fn offset(question: &ListQuestion<'_>) -> usize {
    question.page.and_then(|page| page.parse().ok()).unwrap_or(0)
}

/// Reads a page.
pub fn read(question: &ListQuestion<'_>, answer: &EgressResponse) -> Result<SuppressionPage, Rejection> {
    if let Some(no) = errors::classify(answer.status, &answer.headers, &answer.body) {
        // A key that may only send is a good key.
        return Err(if answer.status == 403 {
            feedback::unsupported("the key lacks the scope suppression.read")
        } else {
            no
        });
    }
    let because = match question.list {
        "spam_reports" => SuppressBecause::Complaint,
        "unsubscribes" => SuppressBecause::Unsubscribe,
        _ => SuppressBecause::HardBounce,
    };
    let rows: Vec<Value> = feedback::body("SendGrid", answer)?;
    let full = rows.len() >= PAGE;
    let mut page = SuppressionPage {
        next: full.then(|| (offset(question) + rows.len()).to_string()),
        ..SuppressionPage::default()
    };
    for row in rows {
        match entry(&row, because) {
            Some(entry) => page.entries.push(entry),
            None => page.skipped += 1,
        }
    }
    Ok(page)
}

fn entry(row: &Value, because: SuppressBecause) -> Option<ListedSuppression> {
    let address = row.get("email")?.as_str()?.trim();
    let since = Timestamp::from_second(row.get("created")?.as_i64()?).ok()?;
    let code = row.get("status").and_then(Value::as_str);
    (!address.is_empty()).then(|| ListedSuppression {
        address: Private::new(address.to_owned()),
        because,
        since,
        code: code.filter(|code| !code.is_empty()).map(mask),
    })
}
