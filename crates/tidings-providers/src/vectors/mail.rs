//! Bounces and replies.

use super::case::{Case, Verdict};
use crate::bounce::{Envelope, MailKind, MailReport, RecipientReport, StatusClass, read};
use std::path::Path;

pub fn bounce(_: &Path, case: Case<'_>) -> Verdict {
    let raw = case.bytes("raw").unwrap_or_default();
    let envelope = Envelope {
        mail_from: case.text("smtp_mail_from").unwrap_or_default(),
        rcpt_to: case.text("smtp_rcpt_to").unwrap_or_default(),
    };
    let Some(expected) = case.get("expected").map(Case::new) else {
        return Verdict::Failed("the case has no expected".to_owned());
    };
    let Some(report) = read(&raw, &envelope) else {
        let kinds = kinds(expected);
        return Verdict::of(kinds.contains(&"unknown") || kinds.contains(&"other"), || {
            "not read as mail".to_owned()
        });
    };
    match compare(expected, &report) {
        Ok(()) => Verdict::Passed,
        Err(why) => Verdict::Failed(why),
    }
}

fn kinds(expected: Case<'_>) -> Vec<&str> {
    let mut kinds = expected.list("kind");
    kinds.extend(expected.list("accept_kind"));
    kinds
}

fn compare(expected: Case<'_>, report: &MailReport) -> Result<(), String> {
    let kinds = kinds(expected);
    let unclear = report.kind == MailKind::Bounce
        && report
            .recipients
            .iter()
            .all(|r| r.class == Some(StatusClass::Unclear));
    let kind = word(report.kind);
    let right = kinds.is_empty() || kinds.contains(&kind) || (unclear && kinds.contains(&"unknown"));
    if !right {
        return Err(format!("read as {kind}, should be one of {kinds:?}"));
    }
    if let Some(recipients) = expected.get("recipients").and_then(serde_json::Value::as_array) {
        for wanted in recipients.iter().map(Case::new) {
            compare_recipient(wanted, report)?;
        }
    }
    if let Some(token) = expected.text("verp_token")
        && report.verp_token.as_deref() != Some(token)
    {
        return Err(format!("token {:?}, should be {token}", report.verp_token));
    }
    let bare = |id: &str| id.trim_matches(['<', '>']).to_owned();
    match expected.text("original_message_id") {
        Some(id) if report.original_message_id.as_deref().map(bare) != Some(bare(id)) => Err(format!(
            "original {:?}, should be {id}",
            report.original_message_id
        )),
        _ => Ok(()),
    }
}

fn word(kind: MailKind) -> &'static str {
    match kind {
        MailKind::Bounce => "bounce",
        MailKind::Delay => "delay",
        MailKind::Delivered => "delivered",
        MailKind::Complaint => "complaint",
        MailKind::AutoReply => "auto_reply",
        MailKind::Reply => "reply",
        MailKind::Unsubscribe => "unsubscribe",
        MailKind::Other => "other",
    }
}

fn compare_recipient(wanted: Case<'_>, report: &MailReport) -> Result<(), String> {
    let address = wanted.text("address").unwrap_or_default();
    let same = |r: &&RecipientReport| {
        r.address
            .as_ref()
            .is_some_and(|a| a.expose().eq_ignore_ascii_case(address))
            || address.is_empty()
    };
    let Some(found) = report.recipients.iter().find(same) else {
        let given: Vec<_> = report
            .recipients
            .iter()
            .map(|r| r.address.as_ref().map(|a| a.expose().as_str()))
            .collect();
        return Err(format!("{address} is not among {given:?}"));
    };
    if let Some(action) = wanted.text("action")
        && found.action.as_deref() != Some(action)
    {
        return Err(format!("action {:?}, should be {action}", found.action));
    }
    if let Some(status) = wanted.text("status")
        && found.status.as_deref() != Some(status)
    {
        return Err(format!("status {:?}, should be {status}", found.status));
    }
    let accepted = wanted.list("accept_class");
    let class = class_word(report.kind, found);
    if !accepted.is_empty() && !accepted.contains(&class) {
        return Err(format!("classed {class}, should be one of {accepted:?}"));
    }
    Ok(())
}

fn class_word(kind: MailKind, recipient: &RecipientReport) -> &'static str {
    match (recipient.class, recipient.action.as_deref()) {
        (Some(StatusClass::Hard), _) => "hard",
        (Some(StatusClass::Soft), _) => "soft",
        (Some(StatusClass::Block), _) => "block",
        (Some(StatusClass::Unclear), _) => "unknown",
        (None, Some("delayed")) => "delay",
        (None, Some("delivered" | "relayed" | "expanded")) => "delivered",
        (None, _) => word(kind),
    }
}
