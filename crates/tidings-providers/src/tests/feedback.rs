//! What providers answer when they are asked for feedback, on the wire.

use super::provider;
use crate::contract::{
    Capabilities, ListQuestion, ListedSuppression, Provider, Rejection, Report, SuppressBecause, UNSUPPORTED,
};
use crate::feedback::{LISTING, REPORTING};
use crate::stand_in::closed_port;
use crate::stand_in::http::{Behaviour, HttpStandIn, Reply};
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::event::{BounceClass, DeliveryEventKind as Kind};
use tidings_core::redact::Private;
use tidings_core::{ErrorCategory, ProviderKind};

const SID: &str = "SMa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";
const ACCOUNT: &str = "ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const MAIL: &str = "4ef9a417-02e9-4d39-ad75-9611e0fcc33c";

fn at(kind: ProviderKind, url: &str) -> Arc<dyn Provider> {
    let (settings, credentials) = match kind {
        ProviderKind::Twilio => (
            json!({ "account_sid": ACCOUNT, "from": "+15005550006", "base_url": url }),
            json!({ "auth_token": "token" }),
        ),
        ProviderKind::Ses => (
            json!({ "from_email": "shop@brand.test", "region": "eu-west-1", "base_url": url }),
            json!({ "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "secret" }),
        ),
        ProviderKind::Resend => (
            json!({ "from_email": "shop@brand.test", "base_url": url }),
            json!({ "api_key": "re_key" }),
        ),
        _ => (
            json!({ "from_email": "shop@brand.test", "base_url": url }),
            json!({ "api_key": "SG.key" }),
        ),
    };
    provider(kind, settings, &credentials)
}

fn answering(kind: ProviderKind, status: u16, body: &Value) -> (Arc<dyn Provider>, HttpStandIn) {
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(status, &body.to_string())));
    (at(kind, &stand_in.url()), stand_in)
}

async fn report(kind: ProviderKind, status: u16, body: &Value) -> Report {
    let (provider, _stand_in) = answering(kind, status, body);
    provider.report(id_of(kind)).await
}

fn id_of(kind: ProviderKind) -> &'static str {
    if kind == ProviderKind::Twilio { SID } else { MAIL }
}

fn refused(report: Report) -> Rejection {
    match report {
        Report::Unanswered(no) => no,
        other => panic!("{other:?}"),
    }
}

fn text(status: &str, code: &Value) -> Value {
    json!({ "sid": SID, "account_sid": ACCOUNT, "status": status, "error_code": code, "to": "+14155550123",
        "date_updated": "Fri, 20 Nov 2026 09:30:00 +0000", "num_segments": "1" })
}

#[rstest]
#[case("delivered", json!(null), Kind::Delivered, None)]
#[case("read", json!(null), Kind::Opened, None)]
#[case("undelivered", json!(30005), Kind::Failed, Some(SuppressBecause::HardBounce))]
#[case("undelivered", json!(30003), Kind::Failed, None)]
#[case("failed", json!(21610), Kind::Failed, Some(SuppressBecause::Stop))]
#[case("canceled", json!(null), Kind::Failed, None)]
#[tokio::test]
async fn twilio_tells_what_its_callback_would_have_told(
    #[case] status: &str,
    #[case] code: Value,
    #[case] kind: Kind,
    #[case] suppress: Option<SuppressBecause>,
) {
    let (provider, stand_in) = answering(ProviderKind::Twilio, 200, &text(status, &code));
    let Report::Known(events) = provider.report(SID).await else {
        panic!("{status}")
    };
    let [event] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((event.kind, event.suppress), (kind, suppress));
    // The key of the callback: one that comes late is a repetition.
    assert_eq!(event.dedupe_key, format!("{SID}:{status}"));
    assert_eq!(event.provider_message_id.as_deref(), Some(SID));
    assert_eq!(event.recipient, Some(Private::new("+14155550123".to_owned())));
    assert_eq!(
        event.error.as_ref().map(|error| json!(error.1)),
        code.as_u64().map(|code| json!(code.to_string()))
    );
    let told: Timestamp = "2026-11-20T09:30:00Z".parse().unwrap();
    assert_eq!(event.occurred_at, Some(told));
    let request = &stand_in.received()[0];
    let path = format!("GET /2010-04-01/Accounts/{ACCOUNT}/Messages/{SID}.json HTTP/1.1");
    assert_eq!(request.line, path);
    assert!(
        request
            .headers
            .iter()
            .any(|(name, value)| name == "authorization" && value.starts_with("Basic "))
    );
}

#[rstest]
#[case(ProviderKind::Twilio, text("accepted", &json!(null)))]
#[case(ProviderKind::Twilio, text("queued", &json!(null)))]
#[case(ProviderKind::Twilio, text("sending", &json!(null)))]
#[case(ProviderKind::Twilio, text("sent", &json!(null)))]
#[case(ProviderKind::Resend, json!({ "id": MAIL, "last_event": "sent" }))]
#[case(ProviderKind::Resend, json!({ "id": MAIL, "last_event": "queued" }))]
#[case(ProviderKind::Resend, json!({ "id": MAIL, "last_event": "delivery_delayed" }))]
#[tokio::test]
async fn what_is_on_its_way_is_nothing_new(#[case] kind: ProviderKind, #[case] body: Value) {
    assert_eq!(report(kind, 200, &body).await, Report::Nothing);
}

#[rstest]
#[case("delivered", Kind::Delivered, None, None)]
#[case("opened", Kind::Opened, None, None)]
#[case("clicked", Kind::Clicked, None, None)]
#[case("complained", Kind::Complained, None, Some(SuppressBecause::Complaint))]
// Whether it was for good is not told: it counts against nobody.
#[case("bounced", Kind::Bounced, Some(BounceClass::Soft), None)]
#[case("suppressed", Kind::Failed, None, Some(SuppressBecause::HardBounce))]
#[case("failed", Kind::Failed, None, None)]
#[tokio::test]
async fn resend_tells_the_last_event(
    #[case] last: &str,
    #[case] kind: Kind,
    #[case] class: Option<BounceClass>,
    #[case] suppress: Option<SuppressBecause>,
) {
    let mail = json!({ "object": "email", "id": MAIL, "to": ["Bob <bob@example.com>"], "last_event": last,
        "tags": [{ "name": "tidings_reference", "value": "d1-1" }], "html": "<p>Hello</p>" });
    let (provider, stand_in) = answering(ProviderKind::Resend, 200, &mail);
    let Report::Known(events) = provider.report(MAIL).await else {
        panic!("{last}")
    };
    let event = &events[0];
    assert_eq!(
        (event.kind, event.bounce_class, event.suppress),
        (kind, class, suppress)
    );
    assert_eq!(event.dedupe_key, format!("{MAIL}:{last}"));
    assert_eq!(event.reference.as_deref(), Some("d1-1"));
    assert_eq!(event.recipient, Some(Private::new("bob@example.com".to_owned())));
    assert_eq!(
        stand_in.received()[0].line,
        format!("GET /emails/{MAIL} HTTP/1.1")
    );
}

#[rstest]
#[case(ProviderKind::Twilio, json!({ "code": 20404, "message": "not found", "status": 404 }))]
#[case(ProviderKind::Resend, json!({ "statusCode": 404, "name": "not_found", "message": "Email not found" }))]
#[tokio::test]
async fn what_the_provider_does_not_have_is_not_known(#[case] kind: ProviderKind, #[case] body: Value) {
    assert_eq!(report(kind, 404, &body).await, Report::NotKnown);
}

#[tokio::test]
async fn an_id_that_is_none_of_twilios_is_not_asked_for() {
    let (twilio, stand_in) = answering(ProviderKind::Twilio, 200, &text("delivered", &json!(null)));
    for id in ["", "SM1", "../Calls/x"] {
        assert_eq!(twilio.report(id).await, Report::NotKnown, "{id}");
    }
    assert!(stand_in.received().is_empty());
}

#[rstest]
#[case(json!({ "sid": SID, "status": 7 }))]
#[case(json!({ "sid": SID, "status": "delivered", "error_code": "30005" }))]
#[case(json!({ "sid": SID }))]
#[case(json!({ "sid": SID, "status": "teleported" }))]
#[case(json!({ "sid": "SMc1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1", "status": "delivered" }))]
#[case(json!([]))]
#[case(json!(null))]
#[tokio::test]
async fn an_answer_of_other_types_or_about_another_message_is_none(#[case] body: Value) {
    let no = refused(report(ProviderKind::Twilio, 200, &body).await);
    assert_eq!(
        (no.category, no.code.as_str()),
        (ErrorCategory::Transient, "unreadable")
    );
    let mut mail = body;
    if let Some(fields) = mail.as_object_mut() {
        let id = if fields["sid"] == SID { MAIL } else { "another" };
        fields.insert("id".to_owned(), json!(id));
        if let Some(status) = fields.remove("status") {
            fields.insert("last_event".to_owned(), status);
        }
        if fields.remove("error_code").is_some() {
            fields.insert("last_event".to_owned(), json!({}));
        }
    }
    let no = refused(report(ProviderKind::Resend, 200, &mail).await);
    assert_eq!(no.code, "unreadable");
}

#[rstest]
#[case(ProviderKind::Twilio)]
#[case(ProviderKind::Resend)]
#[tokio::test]
async fn what_is_not_the_providers_own_answer_changes_nothing(#[case] kind: ProviderKind) {
    let html = |status| Reply {
        status,
        headers: vec![("Content-Type", "text/html".to_owned())],
        body: "<html><body>nginx</body></html>".to_owned(),
    };
    let good = if kind == ProviderKind::Twilio {
        text("delivered", &json!(null)).to_string()
    } else {
        json!({ "id": MAIL, "last_event": "delivered" }).to_string()
    };
    for behaviour in [
        Behaviour::Answer(html(200)),
        Behaviour::Answer(html(404)),
        Behaviour::Answer(html(502)),
        Behaviour::Answer(Reply::json(200, "")),
        Behaviour::Answer(Reply::json(204, "")),
        Behaviour::Garbage,
        Behaviour::Close,
        Behaviour::Silence,
        Behaviour::CutShort(Reply::json(200, &good)),
        Behaviour::Huge(Reply::json(200, &good)),
        Behaviour::Drip(Reply::json(200, &good)),
    ] {
        let stand_in = HttpStandIn::start(behaviour.clone());
        let no = refused(at(kind, &stand_in.url()).report(id_of(kind)).await);
        assert_eq!(no.category, ErrorCategory::Transient, "{behaviour:?}");
    }
    let nobody = format!("http://127.0.0.1:{}", closed_port());
    let no = refused(at(kind, &nobody).report(id_of(kind)).await);
    assert_eq!(
        (no.category, no.code.as_str()),
        (ErrorCategory::Transient, "not_sent")
    );
}

#[rstest]
#[case(ProviderKind::Twilio, 401, json!({ "code": 20003, "message": "Authenticate" }), ErrorCategory::AuthFailure)]
#[case(ProviderKind::Twilio, 429, json!({ "code": 20429 }), ErrorCategory::RateLimit)]
#[case(ProviderKind::Twilio, 500, json!({ "code": 20500 }), ErrorCategory::Transient)]
#[case(ProviderKind::Resend, 403, json!({ "name": "invalid_api_key" }), ErrorCategory::AuthFailure)]
#[case(ProviderKind::Resend, 429, json!({ "name": "rate_limit_exceeded" }), ErrorCategory::RateLimit)]
#[tokio::test]
async fn a_no_keeps_its_category_and_its_wait(
    #[case] kind: ProviderKind,
    #[case] status: u16,
    #[case] body: Value,
    #[case] category: ErrorCategory,
) {
    let reply = Reply::json(status, &body.to_string()).with("Retry-After", "30");
    let stand_in = HttpStandIn::start(Behaviour::Answer(reply));
    let no = refused(at(kind, &stand_in.url()).report(id_of(kind)).await);
    assert_eq!(
        (no.category, no.retry_after),
        (category, Some(Duration::from_secs(30)))
    );
}

#[tokio::test]
async fn a_key_that_may_only_send_is_no_wrong_key() {
    let body = json!({ "statusCode": 401, "name": "restricted_api_key", "message": "sending only" });
    let no = refused(report(ProviderKind::Resend, 401, &body).await);
    assert_eq!(
        (no.category, no.code.as_str()),
        (ErrorCategory::InvalidInput, UNSUPPORTED)
    );
    let body = json!({ "code": 20008, "message": "test credentials", "status": 403 });
    assert_eq!(
        refused(report(ProviderKind::Twilio, 403, &body).await).code,
        UNSUPPORTED
    );
    let body = json!({ "code": 20003, "message": "Authenticate", "status": 403 });
    let no = refused(report(ProviderKind::Twilio, 403, &body).await);
    assert_eq!(no.category, ErrorCategory::AuthFailure);
    let errors = json!({ "errors": [{ "message": "access forbidden", "field": null }] });
    let no = page_of(ProviderKind::Sendgrid, 403, &errors, None)
        .await
        .unwrap_err();
    assert_eq!(no.code, UNSUPPORTED);
    let denied = json!({ "__type": "AccessDeniedException", "message": "not authorized" });
    let no = page_of(ProviderKind::Ses, 403, &denied, None).await.unwrap_err();
    assert_eq!(no.code, UNSUPPORTED);
}

#[tokio::test]
async fn who_can_be_asked_says_so() {
    for kind in [
        ProviderKind::Twilio,
        ProviderKind::Resend,
        ProviderKind::Sendgrid,
        ProviderKind::Ses,
    ] {
        let provider = at(kind, "http://127.0.0.1:1");
        let Capabilities { reports, .. } = provider.capabilities();
        assert_eq!(reports, REPORTING.contains(&kind), "{kind}");
        assert_eq!(
            !provider.suppression_lists().is_empty(),
            LISTING.contains(&kind),
            "{kind}"
        );
        if !reports {
            assert_eq!(refused(provider.report("x").await).code, UNSUPPORTED, "{kind}");
        }
    }
}

fn question<'q>(list: &'q str, page: Option<&'q str>) -> ListQuestion<'q> {
    ListQuestion {
        list,
        since: Some("2026-11-20T08:00:00Z".parse().unwrap()),
        until: "2026-11-20T10:00:00Z".parse().unwrap(),
        page,
    }
}

async fn page_of(
    kind: ProviderKind,
    status: u16,
    body: &Value,
    page: Option<&str>,
) -> Result<crate::SuppressionPage, Rejection> {
    let (provider, _stand_in) = answering(kind, status, body);
    let list = provider.suppression_lists()[0];
    provider.suppressions(&question(list, page)).await
}

fn listed(address: &str, because: SuppressBecause, since: &str, code: Option<&str>) -> ListedSuppression {
    ListedSuppression {
        address: Private::new(address.to_owned()),
        because,
        since: since.parse().unwrap(),
        code: code.map(str::to_owned),
    }
}

#[rstest]
#[case("bounces", SuppressBecause::HardBounce)]
#[case("invalid_emails", SuppressBecause::HardBounce)]
#[case("spam_reports", SuppressBecause::Complaint)]
#[case("unsubscribes", SuppressBecause::Unsubscribe)]
#[tokio::test]
async fn sendgrids_lists_are_read_row_by_row(#[case] list: &str, #[case] because: SuppressBecause) {
    let body = json!([
        { "created": 1_795_168_800, "email": "bob@example.com", "reason": "550", "status": "5.1.1" },
        { "created": "yesterday", "email": "eve@example.com" },
        { "created": 1_795_168_800 },
        { "created": 1_795_168_800, "email": 7 },
        { "created": 1_795_168_800, "email": "" },
        "eve@example.com",
        { "created": 1_795_168_801, "email": "ann@example.com" },
    ]);
    let (sendgrid, stand_in) = answering(ProviderKind::Sendgrid, 200, &body);
    let page = sendgrid.suppressions(&question(list, None)).await.unwrap();
    let expected = [
        listed("bob@example.com", because, "2026-11-20T10:00:00Z", Some("5.1.1")),
        listed("ann@example.com", because, "2026-11-20T10:00:01Z", None),
    ];
    assert_eq!(page.entries, expected);
    assert_eq!((page.skipped, page.next), (5, None));
    assert_eq!(
        stand_in.received()[0].line,
        format!(
            "GET /v3/suppression/{list}?start_time=1795161600&end_time=1795168800&limit=500&offset=0 HTTP/1.1"
        )
    );
}

#[tokio::test]
async fn a_full_page_of_sendgrids_has_another_behind_it() {
    let row = json!({ "created": 1_795_168_800, "email": "bob@example.com" });
    let (sendgrid, stand_in) = answering(ProviderKind::Sendgrid, 200, &Value::Array(vec![row; 500]));
    let first = sendgrid.suppressions(&question("bounces", None)).await.unwrap();
    assert_eq!(first.next.as_deref(), Some("500"));
    let second = sendgrid
        .suppressions(&question("bounces", first.next.as_deref()))
        .await
        .unwrap();
    assert_eq!(second.next.as_deref(), Some("1000"));
    assert!(stand_in.received()[1].line.contains("offset=500 "));
}

#[tokio::test]
async fn sess_list_is_read_row_by_row_and_signed() {
    let body = json!({ "SuppressedDestinationSummaries": [
        { "EmailAddress": "bob@example.com", "Reason": "BOUNCE", "LastUpdateTime": 1_795_168_800.25 },
        { "EmailAddress": "ann@example.com", "Reason": "COMPLAINT", "LastUpdateTime": "2026-11-20T10:00:00Z" },
        { "EmailAddress": "eve@example.com", "Reason": "WHIM", "LastUpdateTime": 1_795_168_800 },
        { "EmailAddress": "eve@example.com", "Reason": "BOUNCE", "LastUpdateTime": null },
        { "Reason": "BOUNCE", "LastUpdateTime": 1_795_168_800 },
    ], "NextToken": "a+b/c=" });
    let (ses, stand_in) = answering(ProviderKind::Ses, 200, &body);
    let page = ses.suppressions(&question("account", None)).await.unwrap();
    let expected = [
        listed(
            "bob@example.com",
            SuppressBecause::HardBounce,
            "2026-11-20T10:00:00.25Z",
            None,
        ),
        listed(
            "ann@example.com",
            SuppressBecause::Complaint,
            "2026-11-20T10:00:00Z",
            None,
        ),
    ];
    assert_eq!(page.entries, expected);
    assert_eq!((page.skipped, page.next.as_deref()), (3, Some("a+b/c=")));
    ses.suppressions(&question("account", page.next.as_deref()))
        .await
        .unwrap();
    let received = stand_in.received();
    let path = "GET /v2/email/suppression/addresses?EndDate=2026-11-20T10%3A00%3A00Z&PageSize=1000&StartDate=2026-11-20T08%3A00%3A00Z";
    assert_eq!(received[0].line, format!("{path} HTTP/1.1"));
    assert_eq!(
        received[1].line,
        format!("{path}&NextToken=a%2Bb%2Fc%3D HTTP/1.1")
    );
    for name in ["authorization", "x-amz-date"] {
        assert!(
            received[0].headers.iter().any(|(header, _)| header == name),
            "{name}"
        );
    }
}

#[rstest]
#[case(ProviderKind::Sendgrid)]
#[case(ProviderKind::Ses)]
#[tokio::test]
async fn a_page_that_is_no_list_is_no_page(#[case] kind: ProviderKind) {
    for body in [
        json!(null),
        json!("x"),
        json!({ "errors": [] }),
        json!({ "SuppressedDestinationSummaries": {} }),
        json!(7),
    ] {
        let no = page_of(kind, 200, &body, None).await.unwrap_err();
        assert_eq!(
            (no.category, no.code.as_str()),
            (ErrorCategory::Transient, "unreadable"),
            "{body}"
        );
    }
    let html = Reply {
        status: 200,
        headers: vec![("Content-Type", "text/html".to_owned())],
        body: "<html></html>".to_owned(),
    };
    let good = if kind == ProviderKind::Ses {
        r#"{"SuppressedDestinationSummaries":[]}"#
    } else {
        "[]"
    };
    for behaviour in [
        Behaviour::Answer(html),
        Behaviour::Garbage,
        Behaviour::Silence,
        Behaviour::CutShort(Reply::json(200, good)),
        Behaviour::Huge(Reply::json(200, good)),
    ] {
        let stand_in = HttpStandIn::start(behaviour.clone());
        let provider = at(kind, &stand_in.url());
        let list = provider.suppression_lists()[0];
        let no = provider.suppressions(&question(list, None)).await.unwrap_err();
        assert_eq!(no.category, ErrorCategory::Transient, "{behaviour:?}");
    }
    let (empty, _stand_in) = answering(kind, 200, &serde_json::from_str(good).unwrap());
    let list = empty.suppression_lists()[0];
    let page = empty.suppressions(&question(list, None)).await.unwrap();
    assert_eq!(page, crate::SuppressionPage::default());
    for (status, category) in [
        (401, ErrorCategory::AuthFailure),
        (404, ErrorCategory::InvalidInput),
        (429, ErrorCategory::RateLimit),
        (503, ErrorCategory::Transient),
    ] {
        let no = page_of(kind, status, &json!({}), None).await.unwrap_err();
        assert_eq!(no.category, category, "{status}");
    }
}
