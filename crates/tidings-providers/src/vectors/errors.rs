//! Error classification vectors.

use super::Answer;
use super::case::{Case, Verdict};
use crate::classify::{
    self, Stage, classify_http, classify_pagerduty, classify_slack, classify_smtp, classify_twilio_code,
};
use crate::contract::{Rejection, RejectionEffect};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tidings_core::ProviderKind;

pub fn http(case: Case<'_>, elsewhere: &dyn Fn(&str, &Answer) -> Option<classify::Verdict>) -> Verdict {
    let name = case.text("provider").unwrap_or_default();
    let Some(response) = case.get("response").map(Case::new) else {
        return Verdict::Failed("the case has no response".to_owned());
    };
    let answer = answer(response);
    let (status, headers, body) = (answer.status, answer.headers.as_slice(), answer.body.as_slice());
    let by_kind = |kind| Some(classify_http(kind, status, headers, body));
    let verdict = match name {
        "twilio_sms" | "twilio" => by_kind(ProviderKind::Twilio),
        "sendgrid" => by_kind(ProviderKind::Sendgrid),
        "ses" => by_kind(ProviderKind::Ses),
        "resend" => by_kind(ProviderKind::Resend),
        "whatsapp" | "whatsapp_cloud" => by_kind(ProviderKind::WhatsappCloud),
        "pagerduty" => Some(classify_pagerduty(status, headers, body)),
        "slack" | "slack_webhook" => Some(classify_slack(status, headers, body)),
        other => elsewhere(other, &answer),
    };
    match verdict {
        Some(verdict) => compare(case, name, &verdict),
        None => Verdict::Skipped(format!("nobody here knows {name}")),
    }
}

fn answer(response: Case<'_>) -> Answer {
    let headers = response.get("headers").and_then(Value::as_object);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Answer {
        status: response
            .number("status")
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or_default(),
        headers: headers
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.to_ascii_lowercase(), text(value)))
            .collect(),
        body: response.bytes("body").unwrap_or_default(),
    }
}

pub fn smtp(_: &Path, case: Case<'_>) -> Verdict {
    let stage = match case
        .text("phase")
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "connect" | "greeting" | "banner" => Stage::Connect,
        "ehlo" | "helo" | "hello" => Stage::Hello,
        "starttls" | "tls" => Stage::StartTls,
        "auth" => Stage::Auth,
        "mail" | "mail_from" => Stage::Mail,
        "rcpt" | "rcpt_to" => Stage::Rcpt,
        "data" | "data_end" | "end" | "dot" | "final_dot" => Stage::End,
        other => return Verdict::Skipped(format!("the phase {other} is not known")),
    };
    compare(
        case,
        "smtp",
        &classify_smtp(stage, case.text("reply").unwrap_or_default()),
    )
}

fn compare(case: Case<'_>, provider: &str, verdict: &classify::Verdict) -> Verdict {
    match verdict {
        classify::Verdict::NoProvider => Verdict::Skipped(format!("there is no provider {provider} yet")),
        classify::Verdict::Success => compare_class(case, "ok", None),
        classify::Verdict::Unclear => compare_class(case, "unknown", None),
        classify::Verdict::No(rejection) => {
            let class = rejection.category.to_string();
            match compare_class(case, &class, rejection.effect) {
                Verdict::Passed => compare_wait(case, rejection),
                other => other,
            }
        }
    }
}

fn compare_wait(case: Case<'_>, rejection: &Rejection) -> Verdict {
    match case.get("retry_after_s").and_then(Value::as_f64) {
        None => Verdict::Passed,
        Some(seconds) => {
            let expected = Duration::from_secs_f64(seconds.max(0.0));
            Verdict::of(rejection.retry_after == Some(expected), || {
                format!("waits {:?}", rejection.retry_after)
            })
        }
    }
}

fn compare_class(case: Case<'_>, class: &str, effect: Option<RejectionEffect>) -> Verdict {
    let accepted = case.list("accept_class");
    if !accepted.contains(&class) {
        return Verdict::Failed(format!("classed {class}, should be one of {accepted:?}"));
    }
    let expected = case
        .get("effects")
        .and_then(|effects| effects.get("suppress_recipient"));
    match expected {
        None | Some(Value::Null) => Verdict::Passed,
        Some(Value::Bool(false)) => Verdict::of(effect.is_none(), || format!("has the effect {effect:?}")),
        Some(_) => Verdict::of(effect.is_some(), || "should suppress the recipient".to_owned()),
    }
}

pub fn twilio_callback(_: &Path, case: Case<'_>) -> Verdict {
    let form = case.get("form").map(Case::new);
    let Some(code) = form
        .and_then(|form| form.number("ErrorCode"))
        .and_then(|code| u32::try_from(code).ok())
    else {
        return compare_class(case, "ok", None);
    };
    let (category, effect) = classify_twilio_code(code);
    compare_class(case, &category.to_string(), effect)
}
