//! SES, by the service model that Amazon makes its libraries from.

use super::{asked, judges_around, names, refuses, set, with, written};
use crate::contract::{ListQuestion, Provider};
use crate::samples;
use crate::stand_in::http::{Behaviour, HttpStandIn, Received, Reply};
use crate::tests::provider;
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;
use tidings_core::ProviderKind;
use tidings_testkit::documents::{self, Request};

fn plain() -> Value {
    json!({ "from_email": "shop@brand.test", "region": "eu-west-1" })
}

fn full() -> Value {
    json!({
        "from_email": "shop@brand.test", "from_name": "Bränd, Ltd", "region": "eu-west-1", "configuration_set": "cs",
        "identity_arn": "arn:aws:ses:eu-west-1:123456789012:identity/brand.test", "tags": { "kind": "orders" },
    })
}

fn keys() -> Value {
    json!({ "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG" })
}

#[rstest]
#[case(plain())]
#[case(full())]
#[tokio::test]
async fn amazons_model_allows_every_mail(#[case] settings: Value) {
    let model = documents::ses();
    let mut raw = 0;
    for (form, mail) in samples::emails("bob@example.com") {
        let request = written(ProviderKind::Ses, &settings, &keys(), &mail).await;
        assert_eq!(
            model.faults(&asked(&request)),
            [""; 0],
            "{form}: {}",
            request.body
        );
        raw += usize::from(request.body.contains("\"Raw\""));
    }
    // A name of a file that simple content cannot say is among the forms, alone and with everything.
    assert_eq!(raw, 2);
}

/// What SES is asked by.
async fn question(ask: impl AsyncFnOnce(Arc<dyn Provider>)) -> Received {
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(
        200,
        r#"{"SuppressedDestinationSummaries":[]}"#,
    )));
    let mut settings = plain();
    settings["base_url"] = json!(stand_in.url());
    ask(provider(ProviderKind::Ses, settings, &keys())).await;
    stand_in.received().remove(0)
}

#[rstest]
#[case::first(None, None)]
#[case::further(Some("2026-11-20T09:00:00.25Z"), Some("a+b/c=&x"))]
#[tokio::test]
async fn amazons_model_allows_questions_about_its_list(
    #[case] since: Option<&str>,
    #[case] page: Option<&str>,
) {
    let request = question(async |ses| {
        let question = ListQuestion {
            list: "account",
            since: since.map(|since| since.parse().unwrap()),
            until: "2026-11-20T10:00:00Z".parse().unwrap(),
            page,
        };
        ses.suppressions(&question).await.unwrap();
    })
    .await;
    let model = documents::ses();
    assert_eq!(model.faults(&asked(&request)), [""; 0], "{}", request.line);
    for (from, to, named) in [
        ("EndDate", "Until", "Until"),
        ("EndDate=2026-11-20", "EndDate=20.11.2026", "EndDate"),
        ("PageSize=1000", "PageSize=many", "PageSize"),
        ("PageSize=1000", "PageSize=1&PageSize=2", "PageSize"),
        ("PageSize=1000", "Reason=SPAM", "Reason"),
    ] {
        let mut broken = request.clone();
        assert!(broken.line.contains(from), "{}", broken.line);
        broken.line = broken.line.replacen(from, to, 1);
        let faults = model.faults(&asked(&broken));
        assert!(faults.iter().any(|fault| fault.contains(named)), "{faults:?}");
    }
}

#[tokio::test]
async fn amazons_model_allows_the_question_about_the_account() {
    let request = question(async |ses| {
        ses.check().await;
    })
    .await;
    let model = documents::ses();
    assert_eq!(model.faults(&asked(&request)), [""; 0], "{}", request.line);
    let mut broken = request.clone();
    "{}".clone_into(&mut broken.body);
    assert_eq!(model.faults(&asked(&broken)), ["a body, where there is none"]);
}

/// A request that is right, for breaking.
async fn right() -> Received {
    let mut all = samples::emails("bob@example.com").into_iter();
    // The fullest of those that simple content can say.
    let (_, inline) = all.find(|(form, _)| *form == "inline image").unwrap();
    written(ProviderKind::Ses, &full(), &keys(), &inline).await
}

#[rstest]
#[case("/Content", Value::Null, "Content")]
#[case("/FromEmailAdress", json!("shop@brand.test"), "FromEmailAdress")]
#[case("/Destination/ToAddresses", json!("bob@example.com"), "ToAddresses")]
#[case("/Destination/To", json!(["bob@example.com"]), "To")]
#[case("/EmailTags/0/Value", Value::Null, "Value")]
#[case("/EmailTags/0/Key", json!("x"), "Key")]
#[case("/Content/Simple/Subject", json!("Hello"), "Subject")]
#[case("/Content/Simple/Body/Text/Charset", json!(8), "Charset")]
#[case("/Content/Simple/Headers/0/Name", json!("A Header"), "Name")]
#[case("/Content/Simple/Headers/0/Value", json!("Zoë"), "Value")]
#[case("/Content/Simple/Attachments/0/FileName", json!("x".repeat(256)), "FileName")]
#[case("/Content/Simple/Attachments/0/RawContent", json!("!"), "RawContent")]
#[case("/Content/Simple/Attachments/0/ContentDisposition", json!("inline"), "ContentDisposition")]
#[case("/Content/Simple/Attachments/0/ContentTransferEncoding", json!("base64"), "ContentTransferEncoding")]
#[tokio::test]
async fn a_broken_mail_is_refused_by_amazons_model(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] named: &str,
) {
    let request = right().await;
    let model = documents::ses();
    let broken = with(&request.body, pointer, value);
    names(&|request| model.faults(request), &request, broken, named);
}

#[tokio::test]
async fn a_request_around_a_right_mail_is_judged_too() {
    let model = documents::ses();
    let request = right().await;
    let judge = |request: &Request<'_>| model.faults(request);
    judges_around(&judge, &request);
    let refused = |what, change: &dyn Fn(&mut Received)| refuses(&judge, &request, what, change);
    refused("another version", &|request| {
        request.line = request.line.replace("/v2/", "/v1/");
    });
    refused("no authorization", &|request| {
        request.headers.retain(|(name, _)| name != "authorization");
    });
    refused("another service", &|request| {
        let signed = request
            .headers
            .iter()
            .find(|(name, _)| name == "authorization")
            .unwrap();
        let other = signed.1.replace("/ses/", "/sns/");
        set(request, "authorization", other);
    });
}
