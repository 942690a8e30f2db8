//! SES's own list: the account's, of addresses that bounced or complained (`ListSuppressedDestinations`).

use super::errors;
use crate::contract::{ListQuestion, ListedSuppression, Rejection, SuppressBecause, SuppressionPage};
use crate::egress::EgressResponse;
use crate::feedback;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tidings_core::redact::Private;

/// The one list.
pub const LISTS: [&str; 1] = ["account"];

/// Entries of a page; the most that SES gives.
const PAGE: &str = "1000";

/// Bytes of the name of a page: as many as are kept.
const LONGEST_TOKEN: usize = 4_096;

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "SuppressedDestinationSummaries")]
    rows: Vec<Value>,
    #[serde(rename = "NextToken")]
    next: Option<String>,
}

/// The query of a page. A page is named by SES.
pub fn query(question: &ListQuestion<'_>) -> Vec<(&'static str, String)> {
    let mut query = vec![
        ("EndDate", seconds(question.until)),
        ("PageSize", PAGE.to_owned()),
    ];
    query.extend(question.since.map(|since| ("StartDate", seconds(since))));
    query.extend(question.page.map(|page| ("NextToken", page.to_owned())));
    query
}

/// A time of a query, to the second.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads a page.
pub fn read(answer: &EgressResponse) -> Result<SuppressionPage, Rejection> {
    match errors::classify(answer.status, &answer.headers, &answer.body) {
        // A key that may only send is a good key.
        Some(no) if matches!(no.code.as_str(), "AccessDenied" | "AccessDeniedException") => {
            return Err(feedback::unsupported(
                "the key lacks the permission ses:ListSuppressedDestinations",
            ));
        }
        Some(no) => return Err(no),
        None => {}
    }
    let body: Body = feedback::body("SES", answer)?;
    if body.next.as_ref().is_some_and(|next| next.len() > LONGEST_TOKEN) {
        return Err(feedback::unreadable("SES", answer.status));
    }
    let mut page = SuppressionPage {
        next: body.next.filter(|next| !next.is_empty()),
        ..SuppressionPage::default()
    };
    for row in body.rows {
        match entry(&row) {
            Some(entry) => page.entries.push(entry),
            None => page.skipped += 1,
        }
    }
    Ok(page)
}

fn entry(row: &Value) -> Option<ListedSuppression> {
    let address = row.get("EmailAddress")?.as_str()?.trim();
    let because = match row.get("Reason")?.as_str()? {
        "BOUNCE" => SuppressBecause::HardBounce,
        "COMPLAINT" => SuppressBecause::Complaint,
        _ => return None,
    };
    let since = time(row.get("LastUpdateTime")?)?;
    (!address.is_empty()).then(|| ListedSuppression {
        address: Private::new(address.to_owned()),
        because,
        since,
        code: None,
    })
}

/// Seconds, as AWS writes times into JSON, or a text.
fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(seconds) => Timestamp::from_millisecond((seconds.as_f64()? * 1_000.0) as i64).ok(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
