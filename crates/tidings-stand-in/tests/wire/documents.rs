//! What is answered, judged by the vendors' own documents.

use super::recorded::{JSON, ses_email, ses_headers};
use super::{StandIn, call, stand_in};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rstest::rstest;
use serde_json::{Value, json};
use tidings_stand_in::{Account, Event, Fault, Rule, Step, Vendor};
use tidings_testkit::documents::{self, Answer, Operation};

const KEY: &str = "AKIDEXAMPLE";
const OUTBOUND: &str = "/v2/email/outbound-emails";

/// An answer, its headers taken apart.
struct Told {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Told {
    fn answer(&self) -> Answer<'_> {
        Answer {
            status: self.status,
            headers: &self.headers,
            body: &self.body,
        }
    }
}

async fn told(stand_in: &StandIn, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Told {
    let (status, head, body) = call(stand_in, method, target, headers, body).await;
    let headers = head.lines().filter_map(|line| line.split_once(": "));
    Told {
        status,
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body,
    }
}

async fn ses(stand_in: &StandIn, method: &str, target: &str, body: &str) -> Told {
    let authorization = ses_headers(KEY);
    let headers = [
        JSON,
        ("Authorization", authorization.as_str()),
        ("X-Amz-Date", "20261125T223000Z"),
    ];
    told(stand_in, method, target, &headers, body).await
}

/// Nothing on the list, something on it, and a page of it behind which there is more.
#[tokio::test]
async fn amazons_model_allows_what_ses_is_told() {
    let stand_in = stand_in().await;
    let model = documents::ses();
    let list = "/v2/email/suppression/addresses";
    let page = format!("{list}?PageSize=1");
    let judged = async |operation: &str, method: &str, target: &str, body: &str| {
        let told = ses(&stand_in, method, target, body).await;
        let faults = model.faults_of_answer(operation, &told.answer());
        assert_eq!(
            (told.status, faults),
            (200, Vec::new()),
            "{target}: {}",
            told.body
        );
        serde_json::from_str::<Value>(&told.body).unwrap()
    };
    judged("ListSuppressedDestinations", "GET", list, "").await;
    let account = Account {
        script: vec![Step::of(Event::BouncedHard)],
        ..Account::default()
    };
    stand_in.account(Vendor::Ses, KEY, account).unwrap();
    for to in ["bob@example.com", "ann@example.com"] {
        judged("SendEmail", "POST", OUTBOUND, &ses_email(to)).await;
    }
    judged("GetAccount", "GET", "/v2/email/account", "").await;
    let all = judged("ListSuppressedDestinations", "GET", list, "").await;
    assert_eq!(
        all["SuppressedDestinationSummaries"].as_array().map(Vec::len),
        Some(2)
    );
    let first = judged("ListSuppressedDestinations", "GET", &page, "").await;
    assert!(first["NextToken"].is_string(), "{first}");
}

/// Those that Amazon has for every service are in no model.
#[rstest]
#[case(Fault::RateLimited { retry_after_s: None, bare: false }, 429)]
#[case(Fault::InvalidInput, 400)]
#[case(Fault::NoRecipient, 400)]
#[case(Fault::OptedOut, 400)]
#[tokio::test]
async fn amazons_model_knows_the_errors_of_ses(#[case] fault: Fault, #[case] status: u16) {
    let stand_in = stand_in().await;
    stand_in.fault(Rule::always(fault)).unwrap();
    let told = ses(&stand_in, "POST", OUTBOUND, &ses_email("bob@example.com")).await;
    let faults = documents::ses().faults_of_answer("SendEmail", &told.answer());
    assert_eq!((told.status, faults), (status, Vec::new()), "{}", told.body);
}

#[test]
fn a_broken_answer_is_refused_by_amazons_model() {
    let model = documents::ses();
    let headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("x-amzn-errortype".to_owned(), "BadRequestException".to_owned()),
    ];
    for (operation, status, body) in [
        ("SendEmail", 200, json!({ "MessageID": "m-1" })),
        ("SendEmail", 200, json!({ "MessageId": 1 })),
        ("SendEmail", 429, json!({ "message": "slower" })),
        ("SendEmail", 400, json!({ "error": "no" })),
        (
            "ListSuppressedDestinations",
            200,
            json!({ "SuppressedDestinationSummaries": [], "NextToken": null }),
        ),
        (
            "ListSuppressedDestinations",
            200,
            json!({ "SuppressedDestinationSummaries": [{
                "EmailAddress": "bob@example.com", "Reason": "BOUNCE", "LastUpdateTime": "2026-11-25T22:30:00Z"
            }] }),
        ),
    ] {
        let told = Told {
            status,
            headers: headers.clone(),
            body: body.to_string(),
        };
        assert!(
            !model.faults_of_answer(operation, &told.answer()).is_empty(),
            "{body}"
        );
    }
}

/// The document has nothing against an answer, and something against it with any of these words changed.
fn judged(operation: &Operation, mut told: Told, status: u16, changes: &[(&str, &str)]) {
    let faults = operation.faults_of_answer(&told.answer());
    assert_eq!((told.status, faults), (status, Vec::new()), "{}", told.body);
    let right = told.body.clone();
    for (from, to) in changes {
        told.body = right.replacen(from, to, 1);
        assert_ne!(told.body, right, "{from}");
        assert!(!operation.faults_of_answer(&told.answer()).is_empty(), "{to}");
    }
}

#[tokio::test]
async fn metas_document_allows_the_answer_to_a_message() {
    let stand_in = stand_in().await;
    let body = json!({ "messaging_product": "whatsapp", "to": "+16505551234", "type": "text", "text": { "body": "Hi" } });
    let headers = [JSON, ("Authorization", "Bearer EAA")];
    let path = "/v26.0/100200300/messages";
    let told = told(&stand_in, "POST", path, &headers, &body.to_string()).await;
    let changes = [
        ("\"contacts\"", "\"contact\""),
        ("\"wa_id\"", "\"waid\""),
        ("\"accepted\"", "\"taken\""),
    ];
    judged(&documents::whatsapp(), told, 200, &changes);
}

#[tokio::test]
async fn resends_document_allows_the_answer_to_a_mail() {
    let stand_in = stand_in().await;
    let body = json!({ "from": "shop@brand.test", "to": ["bob@example.com"], "subject": "Hi", "html": "x" });
    let headers = [JSON, ("Authorization", "Bearer re_key")];
    let told = told(&stand_in, "POST", "/emails", &headers, &body.to_string()).await;
    judged(
        &documents::resend(),
        told,
        200,
        &[("\"id\"", "\"ids\""), ("{", "{\"object\":\"email\",")],
    );
}

#[tokio::test]
async fn twilios_document_allows_the_answer_to_a_text() {
    let stand_in = stand_in().await;
    let account = "ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    let basic = format!("Basic {}", STANDARD.encode(format!("{account}:t")));
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Authorization", basic.as_str()),
    ];
    let path = format!("/2010-04-01/Accounts/{account}/Messages.json");
    let form = "To=%2B14155552671&From=%2B15005550006&Body=Hi";
    let told = told(&stand_in, "POST", &path, &headers, form).await;
    let changes = [
        ("\"num_media\":\"0\"", "\"num_media\":0"),
        ("\"outbound-api\"", "\"outbound\""),
        ("\"sid\":\"SM", "\"sid\":\"XX"),
        ("\"queued\"", "\"waiting\""),
        ("+0000", "UTC+0"),
        ("\"num_segments\"", "\"segments\""),
    ];
    judged(&documents::twilio(), told, 201, &changes);
}

/// Its 429 and 503 are in no document.
#[rstest]
#[case(None, 202, &[])]
#[case(Some(Fault::InvalidInput), 400, &[("\"message\"", "\"msg\""), ("\"errors\"", "\"error\"")])]
#[case(Some(Fault::AuthFailure), 401, &[("[{", "{"), ("\"field\":null", "\"field\":1")])]
#[tokio::test]
async fn sendgrids_document_allows_the_answer_to_a_mail(
    #[case] fault: Option<Fault>,
    #[case] status: u16,
    #[case] changes: &[(&str, &str)],
) {
    let stand_in = stand_in().await;
    if let Some(fault) = fault {
        stand_in.fault(Rule::always(fault)).unwrap();
    }
    let body = json!({
        "personalizations": [{ "to": [{ "email": "bob@example.com" }] }], "from": { "email": "shop@brand.test" },
        "subject": "Hi", "content": [{ "type": "text/plain", "value": "x" }],
    });
    let headers = [JSON, ("Authorization", "Bearer SG.key")];
    let told = told(&stand_in, "POST", "/v3/mail/send", &headers, &body.to_string()).await;
    let operation = documents::sendgrid();
    judged(&operation, told, status, changes);
}

#[test]
fn sendgrid_says_nothing_beside_202() {
    let told = Told {
        status: 202,
        headers: Vec::new(),
        body: "{}".to_owned(),
    };
    assert!(!documents::sendgrid().faults_of_answer(&told.answer()).is_empty());
}
