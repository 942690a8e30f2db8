//! WhatsApp, by Meta's document of its API.

use super::{asked, judges_around, names, refuses, set, with, written};
use crate::contract::{
    ButtonKind, Content, Media, MediaKind, MediaSource, Signal, WhatsappButton, WhatsappHeader,
    WhatsappTemplate,
};
use crate::samples;
use crate::stand_in::http::{Behaviour, HttpStandIn, Received, Reply};
use crate::tests::provider;
use rstest::rstest;
use serde_json::{Value, json};
use tidings_core::ProviderKind;
use tidings_testkit::documents::{self, Request};

fn settings() -> Value {
    json!({ "phone_number_id": "106540352242922", "preview_url": true })
}

fn token() -> Value {
    json!({ "token": "EAAtoken" })
}

/// Files of every kind, by link and by id.
fn files() -> impl Iterator<Item = Media> {
    let kinds = [
        MediaKind::Image,
        MediaKind::Document,
        MediaKind::Audio,
        MediaKind::Video,
    ];
    kinds.into_iter().flat_map(|kind| {
        let sources = [
            MediaSource::Link("https://brand.test/a.bin".to_owned()),
            MediaSource::Id("4711".to_owned()),
        ];
        sources.map(|source| Media {
            kind,
            source,
            caption: (kind != MediaKind::Audio).then(|| "Your file".to_owned()),
            filename: Some("a.bin".to_owned()),
        })
    })
}

fn template(header: Option<WhatsappHeader>, body: &[&str], buttons: &[(ButtonKind, &str)]) -> Content {
    let buttons = buttons
        .iter()
        .zip(0..)
        .map(|((kind, value), index)| WhatsappButton {
            index,
            kind: *kind,
            value: (*value).to_owned(),
        });
    Content::WhatsappTemplate(WhatsappTemplate {
        name: "order_ready".to_owned(),
        language: "en_US".to_owned(),
        header,
        body: body.iter().map(|&value| value.to_owned()).collect(),
        buttons: buttons.collect(),
        free_text: None,
    })
}

/// Content of every form there is.
fn contents() -> Vec<Content> {
    let mut all = vec![
        Content::Text {
            body: "Grüße & 漢字 😀\nhttps://brand.test".to_owned(),
        },
        template(None, &[], &[]),
        template(Some(WhatsappHeader::Text("42".to_owned())), &["Bob", "42"], &[]),
        template(
            None,
            &["Bob"],
            &[
                (ButtonKind::QuickReply, "confirm:42"),
                (ButtonKind::Url, "orders/42"),
                (ButtonKind::CopyCode, "SPRING"),
            ],
        ),
    ];
    for file in files() {
        if file.kind != MediaKind::Audio {
            let header = Media {
                caption: None,
                ..file.clone()
            };
            all.push(template(Some(WhatsappHeader::Media(header)), &[], &[]));
        }
        all.push(Content::Media(file));
    }
    all
}

async fn sent(content: Content) -> Received {
    let message = samples::whatsapp("+14155552671", content);
    written(ProviderKind::WhatsappCloud, &settings(), &token(), &message).await
}

#[tokio::test]
async fn metas_document_allows_every_message() {
    let operation = documents::whatsapp();
    for content in contents() {
        let request = sent(content).await;
        assert_eq!(operation.faults(&asked(&request)), [""; 0], "{}", request.body);
    }
}

/// What the document shows of the kinds that we send must pass, or it is read wrongly. Its examples of templates say neither
/// always `policy` nor always `recipient_type`, which its schemas ask for: those are not held against it.
#[tokio::test]
async fn metas_own_examples_pass() {
    let operation = documents::whatsapp();
    let request = sent(contents().remove(0)).await;
    let ours = ["text", "image", "document", "audio", "video"];
    let mut passed = 0;
    for (name, example) in operation.examples() {
        if !ours.iter().any(|kind| example["type"] == **kind) {
            continue;
        }
        let mut shown = request.clone();
        shown.body = example.to_string();
        assert_eq!(operation.faults(&asked(&shown)), [""; 0], "{name}");
        passed += 1;
    }
    assert!(passed >= 15, "{passed}");
}

/// Its schemas have no marks and no typing, but an example has.
#[tokio::test]
async fn typing_is_told_as_metas_example_tells_it() {
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(200, r#"{"success":true}"#)));
    let mut settings = settings();
    settings["base_url"] = json!(stand_in.url());
    let operation = documents::whatsapp();
    let examples = operation.examples();
    let (_, shown) = examples
        .iter()
        .find(|(_, body)| body["status"] == "read")
        .unwrap();
    let typing = Signal::Typing {
        provider_message_id: shown["message_id"].as_str().unwrap().to_owned(),
    };
    provider(ProviderKind::WhatsappCloud, settings, &token())
        .signal(&typing)
        .await;
    let told: Value = serde_json::from_str(&stand_in.received()[0].body).unwrap();
    assert_eq!(told, **shown);
}

#[rstest]
#[case("/messaging_product", Value::Null, "messaging_product")]
#[case("/recipient_type", json!("person"), "recipient_type")]
#[case("/to", Value::Null, "to")]
#[case("/too", json!("+14155552671"), "too")]
#[case("/type", json!("letter"), "letter")]
#[case("/type", json!("text"), "text")]
#[case("/biz_opaque_callback_data", json!("x".repeat(513)), "biz_opaque_callback_data")]
#[case("/template/name", Value::Null, "name")]
#[case("/template/language", json!("en_US"), "language")]
#[case("/template/language/policy", Value::Null, "policy")]
#[case("/template/language/policy", json!("fallback"), "policy")]
#[case("/template/components/0/type", json!("bodies"), "type")]
#[case("/template/components/1/sub_type", json!("call"), "sub_type")]
#[case("/template/components/1/index", json!(0), "index")]
#[case("/template/components/1/parameter", json!([]), "parameter")]
#[tokio::test]
async fn a_broken_message_is_refused_by_metas_document(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] named: &str,
) {
    let request = sent(contents().swap_remove(3)).await;
    let operation = documents::whatsapp();
    let broken = with(&request.body, pointer, value);
    names(&|request| operation.faults(request), &request, broken, named);
}

#[tokio::test]
async fn a_request_around_a_right_message_is_judged_too() {
    let operation = documents::whatsapp();
    let request = sent(contents().remove(0)).await;
    let judge = |request: &Request<'_>| operation.faults(request);
    judges_around(&judge, &request);
    let refused = |what, change: &dyn Fn(&mut Received)| refuses(&judge, &request, what, change);
    refused("another path", &|request| {
        request.line = request.line.replace("/messages", "/message");
    });
    refused("user agent", &|request| {
        set(request, "user-agent", "tidings".to_owned());
    });
}
