//! What goes to the vendors, and how their answers are classed.

use super::{BODY, SUBJECT, request, settings};
use crate::settings::GivenModelSettings;
use crate::stand_in::{Received, Reply, StandInModel};
use crate::{DraftRefused, ModelSettings, RefusalReason, draft};
use rstest::rstest;
use std::time::Duration;
use tidings_core::ErrorCategory;

async fn asked(settings: &ModelSettings) -> Received {
    let model = StandInModel::new([Reply::draft(SUBJECT, BODY)]);
    draft(&model, settings, &request()).await.expect("a draft");
    model.received().remove(0)
}

#[tokio::test]
async fn openai_gets_its_form() {
    let call = asked(&settings("openai", "http://127.0.0.1:11434/v1/")).await;
    assert_eq!(call.url, "http://127.0.0.1:11434/v1/chat/completions");
    assert_eq!(call.header("authorization"), Some("Bearer sk-secret"));
    assert_eq!(call.body["model"], "small-1");
    assert_eq!(call.body["max_tokens"], 1024);
    assert_eq!(call.body["temperature"], 0.5);
    assert_eq!(call.body["messages"][0]["role"], "system");
    assert_eq!(call.body["messages"][1]["role"], "user");
    assert!(call.body.get("response_format").is_none() && call.body.get("max_completion_tokens").is_none());
}

#[tokio::test]
async fn openai_itself_wants_the_newer_name_and_may_be_asked_for_json() {
    let given: GivenModelSettings =
        serde_json::from_str(r#"{"kind":"openai","model":"m","json_mode":true}"#).expect("settings");
    let call = asked(&ModelSettings::new(given, None).expect("usable")).await;
    assert_eq!(call.url, "https://api.openai.com/v1/chat/completions");
    assert_eq!(call.body["max_completion_tokens"], 1024);
    assert_eq!(call.body["response_format"]["type"], "json_object");
    assert!(call.body.get("max_tokens").is_none() && call.body.get("temperature").is_none());
    assert_eq!(call.header("authorization"), None);
}

#[rstest]
#[case("https://api.anthropic.com")]
#[case("https://api.anthropic.com/v1/")]
#[tokio::test]
async fn anthropic_gets_its_form(#[case] base_url: &str) {
    let call = asked(&settings("anthropic", base_url)).await;
    assert_eq!(call.url, "https://api.anthropic.com/v1/messages");
    assert_eq!(
        (call.header("x-api-key"), call.header("authorization")),
        (Some("sk-secret"), None)
    );
    assert_eq!(call.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(call.body["max_tokens"], 1024);
    assert!(
        call.body["system"]
            .as_str()
            .is_some_and(|system| system.contains("Be brief."))
    );
    assert_eq!(call.body["messages"][0]["role"], "user");
}

async fn refused(kind: &str, reply: Reply) -> DraftRefused {
    let model = StandInModel::new([reply]);
    draft(&model, &settings(kind, "https://model.example"), &request())
        .await
        .expect_err("no draft")
}

#[rstest]
#[case(
    400,
    "invalid_request_error",
    RefusalReason::ModelRefusedRequest,
    ErrorCategory::InvalidInput
)]
#[case(
    401,
    "authentication_error",
    RefusalReason::ModelAuthFailed,
    ErrorCategory::AuthFailure
)]
#[case(
    402,
    "billing_error",
    RefusalReason::ModelAuthFailed,
    ErrorCategory::AuthFailure
)]
#[case(
    403,
    "permission_error",
    RefusalReason::ModelAuthFailed,
    ErrorCategory::AuthFailure
)]
#[case(
    404,
    "not_found_error",
    RefusalReason::ModelAuthFailed,
    ErrorCategory::AuthFailure
)]
#[case(301, "moved", RefusalReason::ModelAuthFailed, ErrorCategory::AuthFailure)]
#[case(
    413,
    "request_too_large",
    RefusalReason::ModelRefusedRequest,
    ErrorCategory::InvalidInput
)]
#[case(
    429,
    "rate_limit_error",
    RefusalReason::ModelRateLimited,
    ErrorCategory::RateLimit
)]
#[case(
    429,
    "insufficient_quota",
    RefusalReason::ModelAuthFailed,
    ErrorCategory::AuthFailure
)]
#[case(500, "api_error", RefusalReason::ModelFailed, ErrorCategory::Transient)]
#[case(
    503,
    "server_is_overloaded",
    RefusalReason::ModelFailed,
    ErrorCategory::Transient
)]
#[case(529, "overloaded_error", RefusalReason::ModelFailed, ErrorCategory::Transient)]
#[tokio::test]
async fn errors_are_classed(
    #[case] status: u16,
    #[case] word: &'static str,
    #[case] reason: RefusalReason,
    #[case] category: ErrorCategory,
) {
    for kind in ["openai", "anthropic"] {
        let refused = refused(kind, Reply::Error(status, word, Some("7"))).await;
        assert_eq!(
            (refused.reason, refused.category),
            (reason, Some(category)),
            "{kind}"
        );
        assert_eq!(
            (refused.retry_after, refused.tries),
            (Some(Duration::from_secs(7)), 1)
        );
        assert!(
            refused.detail.contains(&format!("{status} {word}")),
            "{}",
            refused.detail
        );
        assert!(!format!("{refused:?}").contains("sk-secret") && !format!("{refused}").contains("Anna"));
    }
}

#[rstest]
#[case(Reply::Declines, RefusalReason::ModelDeclined)]
#[case(Reply::Filtered, RefusalReason::ModelDeclined)]
#[case(Reply::CutShort("{\"body\": \"Hi An".into()), RefusalReason::ModelRefusedRequest)]
#[case(Reply::ErrorInSuccess("overloaded_error"), RefusalReason::ModelFailed)]
#[case(Reply::ErrorInSuccess("rate_limit_error"), RefusalReason::ModelRateLimited)]
#[case(Reply::ErrorInSuccess("insufficient_quota"), RefusalReason::ModelAuthFailed)]
#[case(Reply::Html, RefusalReason::ModelAnswerUnreadable)]
#[case(Reply::Empty, RefusalReason::ModelAnswerUnreadable)]
#[case(Reply::HalfJson, RefusalReason::ModelAnswerUnreadable)]
#[case(Reply::WrongTypes, RefusalReason::ModelAnswerUnreadable)]
#[case(Reply::Huge, RefusalReason::ModelAnswerUnreadable)]
#[case(Reply::Close, RefusalReason::ModelUnreachable)]
#[case(Reply::Words(String::new()), RefusalReason::ModelAnswerUnreadable)]
#[tokio::test]
async fn other_answers_are_no_drafts(#[case] reply: Reply, #[case] reason: RefusalReason) {
    for kind in ["openai", "anthropic"] {
        let refused = refused(kind, reply.clone()).await;
        assert_eq!((refused.reason, refused.tries), (reason, 1), "{kind} {refused}");
    }
}

#[rstest]
#[case("0.5", Some(Duration::from_millis(500)))]
#[case("1e99", Some(Duration::from_hours(24)))]
#[case("-1", None)]
#[case("soon", None)]
#[tokio::test]
async fn the_wait_is_read_and_bounded(#[case] wait: &'static str, #[case] expect: Option<Duration>) {
    let refused = refused("openai", Reply::Error(429, "rate_limit_error", Some(wait))).await;
    assert_eq!(refused.retry_after, expect);
}
