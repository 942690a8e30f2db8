//! Inbound payloads of the WhatsApp Cloud API.

use super::case::{Case, Verdict};
use super::inbound;
use crate::contract::{InboundMessage, TemplateReport};
use crate::signature::meta;
use serde_json::{Value, json};
use std::path::Path;
use tidings_core::{Channel, ProviderKind};

const SECRET: &str = "vector-secret";
const NUMBER: &str = "106540352242922";
const ACCOUNT: &str = "102290129340398";

/// How long a message opens the service window, in seconds.
const WINDOW_S: i64 = 24 * 60 * 60;

pub fn cloud(_: &Path, case: Case<'_>) -> Verdict {
    let Some(body) = case.bytes("body") else {
        return Verdict::Failed("the case has no body".to_owned());
    };
    let headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("x-hub-signature-256".to_owned(), meta::sign(&body, SECRET)),
    ];
    let provider = inbound::provider(
        ProviderKind::WhatsappCloud,
        Channel::Whatsapp,
        json!({ "phone_number_id": NUMBER, "business_account_id": ACCOUNT }),
        &json!({ "token": "EAAvector", "app_secret": SECRET, "verify_token": "vector" }),
    );
    inbound::run(case, provider, headers, body)
}

/// Until when a message opens the window, where the case says so.
pub fn compare_window(wanted: Case<'_>, message: &InboundMessage) -> Option<String> {
    let until = wanted.number("opens_window_until")?;
    let opens = message.whatsapp.as_ref().is_some_and(|of| of.opens_window);
    let given = message
        .occurred_at
        .map(|at| at.as_second() + WINDOW_S)
        .filter(|_| opens);
    (given != Some(until)).then(|| format!("the window is open until {given:?}, should be {until}"))
}

/// What of a template's report differs.
pub fn compare(wanted: Case<'_>, report: &TemplateReport) -> Vec<String> {
    let mut wrong = Vec::new();
    let names = [
        ("template", &report.name),
        ("template_name", &report.name),
        ("language", &report.language),
    ];
    for (name, given) in names {
        if wanted.text(name).is_some_and(|wanted| wanted != given) {
            wrong.push(format!("{name} is {given}"));
        }
    }
    for name in ["status", "event", "standing"] {
        let word = wanted.get(name).and_then(Value::as_str);
        let given = [report.word.as_str(), report.standing.as_str()];
        if word.is_some_and(|word| !given.iter().any(|given| given.eq_ignore_ascii_case(word))) {
            wrong.push(format!("{name} is {given:?}"));
        }
    }
    wrong
}
