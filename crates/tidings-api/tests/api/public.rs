//! What strangers reach without a key: webhooks, pixel, click links, unsubscribing, preferences.

use crate::support::{Reply, Tenant, TestApi};
use axum::body::Body;
use axum::http::{Method, Request};
use secrecy::SecretString;
use serde_json::{Value, json};
use tidings_core::redact::Private;
use tidings_core::{Address, Channel, ConnectionId, ContactId, Dice, MessageId, ProviderKind};
use tidings_engine::links::{Links, Unsubscriber};
use tidings_engine::providers::signature::standard;
use tidings_engine::store::connections::{self, ConnectionSettings};
use tidings_engine::store::contacts::{self, AddressInput, AddressKind, ContactInput};
use tidings_engine::store::suppressions::{self, SuppressionFilter};
use tidings_engine::store::tenants::{self, TenantChanges};
use uuid::Uuid;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TARGET: &str = "https://shop.example/offers?id=7&x=%C3%A4";
const MESSAGE: MessageId = MessageId(Uuid::from_u128(0x17));

/// A contact of a tenant, and the links in a message to it.
struct Linked {
    contact: ContactId,
    unsubscribe: String,
    preferences: String,
    click: String,
    pixel: String,
}

async fn linked(api: &TestApi, tenant: &Tenant) -> Linked {
    let mut tx = api.store.tenant(tenant.id).tx().await.unwrap();
    let address = |kind, text: &str| AddressInput {
        kind,
        text: Private::new(text.to_owned()),
        primary: true,
    };
    let input = ContactInput {
        name: Some(Private::new("Ann Example".to_owned())),
        zone: Some("America/Chicago".to_owned()),
        addresses: vec![
            address(AddressKind::Email, "ann@example.com"),
            address(AddressKind::Phone, "+12025550123"),
        ],
        ..ContactInput::default()
    };
    let mut dice = Dice::from_seed(11);
    let contact = contacts::upsert(&mut tx, input, None, &mut dice, api.now)
        .await
        .unwrap()
        .id;
    let key = api.store.keyring().tenant_key(&mut tx, tenant.id).await.unwrap();
    tx.commit().await.unwrap();
    connect(api, tenant).await;
    let address = Address::parse(Channel::Email, "ann@example.com", None).unwrap();
    let who = Unsubscriber {
        contact,
        message: MESSAGE,
        channel: Channel::Email,
        address: *key.blind_index(&address).as_bytes(),
    };
    let links = Links::new(api.engine.public_base_url(), &key).unwrap();
    let base = api
        .engine
        .public_base_url()
        .as_str()
        .trim_end_matches('/')
        .to_owned();
    let path = |url: String| url.strip_prefix(&base).unwrap().to_owned();
    Linked {
        contact,
        unsubscribe: path(links.unsubscribe(&who)),
        preferences: path(links.preferences(contact)),
        click: path(links.click(MESSAGE, TARGET)),
        pixel: path(links.open_pixel(MESSAGE)),
    }
}

async fn connect(api: &TestApi, tenant: &Tenant) -> ConnectionId {
    let settings = ConnectionSettings {
        name: "mail".to_owned(),
        channel: Channel::Email,
        provider: ProviderKind::Sandbox,
        config: json!({}),
        credentials: Some(SecretString::from(json!({"webhook_secret": SECRET}).to_string())),
        priority: 0,
        weight: 1,
        enabled: true,
        call_limit_ms: None,
        rate_limit: None,
    };
    let mut tx = api.store.tenant(tenant.id).tx().await.unwrap();
    let made = connections::create(&mut tx, &settings, &mut Dice::from_seed(12), api.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    made.id
}

async fn suppressed(api: &TestApi, tenant: &Tenant) -> usize {
    let mut tx = api.store.tenant(tenant.id).tx().await.unwrap();
    suppressions::list(&mut tx, SuppressionFilter::default(), None, 100)
        .await
        .unwrap()
        .items
        .len()
}

async fn get(api: &TestApi, path: &str) -> Reply {
    api.get("", path).await
}

async fn post(api: &TestApi, path: &str, content_type: &str, body: &str) -> Reply {
    let builder = Request::builder().method(Method::POST).uri(path);
    let builder = if content_type.is_empty() {
        builder
    } else {
        builder.header("content-type", content_type)
    };
    api.send(builder.body(Body::from(body.to_owned())).unwrap()).await
}

async fn press(api: &TestApi, path: &str, fields: &[(&str, &str)]) -> Reply {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    post(api, path, "application/x-www-form-urlencoded", &body).await
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.to_vec()).unwrap()
}

/// What holds for every page of a stranger: nothing loaded, nothing kept, nothing indexed, nobody's address.
#[track_caller]
fn is_page(reply: &Reply, status: u16) -> String {
    let page = text(reply);
    assert_eq!(reply.status.as_u16(), status, "{page}");
    let header = |name: &str| reply.headers[name].to_str().unwrap().to_owned();
    let policy = header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(
        policy.contains("form-action 'self'") && !policy.contains("unsafe") && !policy.contains("script-src"),
        "{policy}"
    );
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert!(header("x-robots-tag").contains("noindex"));
    assert!(!reply.headers.contains_key("set-cookie") && !reply.headers.contains_key("location"));
    assert!(page.starts_with("<!doctype html>") && page.contains("<html lang=\"en\">"));
    assert!(
        !page.contains("<script")
            && !page.contains(" src=")
            && !page.contains(" style=")
            && !has_handler(&page),
        "{page}"
    );
    assert!(
        !page.contains("ann@example.com") && !page.contains("2025550123") && !page.contains("Ann Example"),
        "{page}"
    );
    page
}

/// An attribute such as `onclick=`.
fn has_handler(page: &str) -> bool {
    page.split(" on").skip(1).any(|rest| {
        rest.trim_start_matches(|c: char| c.is_ascii_alphabetic())
            .starts_with('=')
    })
}

#[tokio::test]
async fn the_pixel_is_always_there() {
    let api = TestApi::new().await;
    let linked = linked(&api, &api.ann).await;
    for path in [
        linked.pixel.as_str(),
        "/t/o/x",
        &linked.click.replace("/t/c/", "/t/o/"),
    ] {
        let reply = get(&api, path).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers["content-type"], "image/gif");
        assert_eq!(reply.headers["cache-control"], "no-store");
        assert_eq!(reply.headers["cross-origin-resource-policy"], "cross-origin");
        assert!(reply.body.starts_with(b"GIF89a") && reply.body.len() < 64);
    }
}

#[tokio::test]
async fn a_click_leads_to_what_was_signed_and_nowhere_else() {
    let api = TestApi::new().await;
    let linked = linked(&api, &api.ann).await;
    let reply = get(&api, &linked.click).await;
    assert_eq!(
        (reply.status.as_u16(), reply.headers["location"].to_str().unwrap()),
        (302, TARGET)
    );
    assert_eq!(reply.headers["referrer-policy"], "no-referrer");
    assert_eq!(reply.headers["cache-control"], "no-store");
    for path in [
        "/t/c/x",
        "/t/c/https%3A%2F%2Fevil.example",
        "/t/c/x?url=https://evil.example",
        &linked.pixel.replace("/t/o/", "/t/c/"),
    ] {
        is_page(&get(&api, path).await, 404);
    }
}

#[tokio::test]
async fn ten_thousand_changed_tokens_lead_nowhere() {
    let api = TestApi::new().await;
    let linked = linked(&api, &api.ann).await;
    let token = linked.click.strip_prefix("/t/c/").unwrap();
    let letters: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['-', '_'])
        .collect();
    let mut dice = Dice::from_seed(4);
    for _ in 0..10_000 {
        let mut changed: Vec<char> = token.chars().collect();
        let at = usize::try_from(dice.below(changed.len() as u64)).unwrap();
        let was = changed[at];
        while changed[at] == was {
            changed[at] = letters[usize::try_from(dice.below(letters.len() as u64)).unwrap()];
        }
        let changed: String = changed.into_iter().collect();
        let reply = get(&api, &format!("/t/c/{changed}")).await;
        assert!(
            reply.status == 404 && !reply.headers.contains_key("location"),
            "{changed}: {}",
            reply.status
        );
    }
}

#[tokio::test]
async fn looking_unsubscribes_nobody() {
    let api = TestApi::new().await;
    let linked = linked(&api, &api.ann).await;
    for method in [Method::GET, Method::HEAD] {
        let request = Request::builder()
            .method(method)
            .uri(&linked.unsubscribe)
            .body(Body::empty())
            .unwrap();
        assert_eq!(api.send(request).await.status, 200);
    }
    let page = is_page(&get(&api, &linked.unsubscribe).await, 200);
    assert!(
        page.contains("Unsubscribe?") && page.contains("a***@example.com") && page.contains("Tenant ann")
    );
    assert!(page.contains("<form method=\"post\">"));
    assert_eq!(suppressed(&api, &api.ann).await, 0);
}

#[tokio::test]
async fn one_click_unsubscribes_without_context() {
    let multipart =
        "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n";
    for (content_type, body) in [
        ("application/x-www-form-urlencoded", "List-Unsubscribe=One-Click"),
        ("multipart/form-data; boundary=x", multipart),
        ("", "List-Unsubscribe=One-Click"),
    ] {
        let api = TestApi::new().await;
        let linked = linked(&api, &api.ann).await;
        for _ in 0..2 {
            let reply = post(&api, &linked.unsubscribe, content_type, body).await;
            assert!(is_page(&reply, 200).contains("You are unsubscribed"));
            assert_eq!(suppressed(&api, &api.ann).await, 1);
        }
    }
}

#[tokio::test]
async fn other_posts_and_other_tokens_unsubscribe_nobody() {
    let api = TestApi::new().await;
    let linked = linked(&api, &api.ann).await;
    for body in ["", "List-Unsubscribe=No", "action=unsubscribe_all"] {
        is_page(
            &post(
                &api,
                &linked.unsubscribe,
                "application/x-www-form-urlencoded",
                body,
            )
            .await,
            400,
        );
    }
    let token = linked.unsubscribe.strip_prefix("/u/").unwrap();
    let other_purpose = linked.preferences.replace("/p/", "/u/");
    for path in [
        "/u/x".to_owned(),
        other_purpose,
        format!("/u/{}", &token[1..]),
        format!("/u/{token}A"),
    ] {
        is_page(&post(&api, &path, "", "List-Unsubscribe=One-Click").await, 404);
    }
    assert_eq!(suppressed(&api, &api.ann).await, 0);
}

#[tokio::test]
async fn preferences_go_round() {
    let api = TestApi::new().await;
    let linked = linked(&api, &api.ann).await;
    let page = is_page(&get(&api, &linked.preferences).await, 200);
    assert!(page.contains("a***@example.com") && page.contains("(Chicago)"));
    // Marketing wants a consent first, and there is none.
    assert!(page.contains("value=\"email\" checked") && !page.contains("value=\"marketing\" checked"));
    let fields = [
        ("action", "save"),
        ("topic", "service"),
        ("quiet_from", "21:30"),
        ("quiet_to", "06:45"),
    ];
    let page = is_page(&press(&api, &linked.preferences, &fields).await, 200);
    assert!(page.contains("Saved.") && page.contains("value=\"21:30\"") && page.contains("value=\"06:45\""));
    assert!(!page.contains("value=\"email\" checked") && !page.contains("value=\"marketing\" checked"));
    assert!(page.contains("value=\"service\" checked"));
    assert_eq!(
        is_page(&get(&api, &linked.preferences).await, 200)
            .matches(" checked")
            .count(),
        1
    );
    // Half an answer changes nothing.
    let wrong = [("action", "save"), ("quiet_from", "21:30")];
    assert!(is_page(&press(&api, &linked.preferences, &wrong).await, 422).contains("role=\"alert\""));
    assert!(is_page(&get(&api, &linked.preferences).await, 200).contains("value=\"06:45\""));
    let page = is_page(
        &press(&api, &linked.preferences, &[("action", "pause")]).await,
        200,
    );
    assert!(page.contains("Paused until 16 July 2026."), "{page}");
    is_page(
        &press(&api, &linked.preferences, &[("action", "resume")]).await,
        200,
    );
    let page = is_page(
        &press(&api, &linked.preferences, &[("action", "unsubscribe_all")]).await,
        200,
    );
    assert_eq!(page.matches(" checked").count(), 0);
    for fields in [&[("action", "nonsense")][..], &[]] {
        is_page(&press(&api, &linked.preferences, fields).await, 400);
    }
}

#[tokio::test]
async fn own_data_want_an_address() {
    let api = TestApi::new().await;
    let linked = linked(&api, &api.ann).await;
    let page = is_page(
        &press(
            &api,
            &linked.preferences,
            &[("action", "export"), ("address", "bob@example.com")],
        )
        .await,
        422,
    );
    assert!(page.contains("not one of the addresses"));
    let reply = press(
        &api,
        &linked.preferences,
        &[("action", "export"), ("address", "ANN@example.com")],
    )
    .await;
    assert_eq!(
        (
            reply.status.as_u16(),
            reply.headers["content-type"].to_str().unwrap()
        ),
        (200, "application/json")
    );
    assert!(
        reply.headers["content-disposition"]
            .to_str()
            .unwrap()
            .starts_with("attachment")
    );
    assert_eq!(reply.headers["cache-control"], "no-store");
    assert_eq!(reply.json()["contact"]["name"], "Ann Example");
    // Erasing asks first, then wants an address.
    let page = is_page(
        &press(&api, &linked.preferences, &[("action", "erase")]).await,
        200,
    );
    assert!(page.contains("Erase your data?"));
    let wrong = [("action", "erase_confirmed"), ("address", "")];
    is_page(&press(&api, &linked.preferences, &wrong).await, 422);
    let path = format!("/v1/contacts/{}", linked.contact);
    assert_eq!(
        api.get(&api.ann.key, &path).await.expect(200)["erased_at"],
        Value::Null
    );
    let right = [("action", "erase_confirmed"), ("address", "ann@example.com")];
    assert!(is_page(&press(&api, &linked.preferences, &right).await, 200).contains("Your data is erased"));
    assert!(is_page(&get(&api, &linked.preferences).await, 200).contains("Your data is erased"));
    // The old unsubscribe link still works.
    assert!(
        is_page(
            &post(&api, &linked.unsubscribe, "", "List-Unsubscribe=One-Click").await,
            200
        )
        .contains("You are unsubscribed")
    );
}

#[tokio::test]
async fn a_page_of_a_tenant_shows_its_words_as_text() {
    let api = TestApi::new().await;
    let settings = json!({
        "postal_address": "1 Main St", "support_email": "help@acme.example",
        "branding": {"accent_colour": "#b3261e"}, "public_texts": {"preferences_lead": "Hello from <i>{sender}</i>"},
    });
    let changes = TenantChanges {
        name: Some("A<b>&\"c\" </style><script>".to_owned()),
        settings: Some(serde_json::from_value(settings).unwrap()),
        ..TenantChanges::default()
    };
    let mut conn = api.store.worker_conn().await.unwrap();
    tenants::update(&mut conn, api.ann.id, changes, api.now)
        .await
        .unwrap();
    drop(conn);
    let linked = linked(&api, &api.ann).await;
    for path in [&linked.preferences, &linked.unsubscribe] {
        let page = is_page(&get(&api, path).await, 200);
        assert!(
            page.contains("A&lt;b&gt;&amp;") && !page.contains("<b>"),
            "{page}"
        );
    }
    assert!(is_page(&get(&api, &linked.preferences).await, 200).contains("Hello from &lt;i&gt;"));
}

fn signed(connection: ConnectionId, api: &TestApi, body: &str) -> Request<Body> {
    let signature = standard::sign("w1", api.now, body.as_bytes(), SECRET).unwrap();
    Request::builder()
        .method(Method::POST)
        .uri(format!("/webhooks/sandbox/{connection}"))
        .header("webhook-id", "w1")
        .header("webhook-timestamp", api.now.as_second().to_string())
        .header("webhook-signature", signature)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

#[tokio::test]
async fn webhooks_answer_by_what_they_are() {
    let api = TestApi::new().await;
    let connection = connect(&api, &api.ann).await;
    assert_eq!(api.send(signed(connection, &api, "{}")).await.status, 204);
    assert_eq!(
        api.send(signed(connection, &api, "[1]"))
            .await
            .problem(400, "webhook.malformed")["detail"]
            .as_str()
            .map(str::is_empty),
        Some(false)
    );
    let path = format!("/webhooks/sandbox/{connection}");
    post(&api, &path, "", "{}").await.problem(401, "webhook.unsigned");
    let mut forged = signed(connection, &api, "{}");
    *forged.body_mut() = Body::from("{ }");
    api.send(forged).await.problem(403, "webhook.signature");
    let foreign = format!("/webhooks/twilio/{connection}");
    for path in [
        foreign.as_str(),
        "/webhooks/sandbox/0197a2b0-0000-7000-8000-000000000001",
        "/webhooks/nobody/x",
    ] {
        post(&api, path, "", "{}").await.problem(404, "webhook.unknown");
        get(&api, path).await.problem(404, "webhook.unknown");
    }
    // Nothing of a stranger's body is read; a connection's own is bounded.
    let big = "x".repeat(30 * 1024 * 1024 + 1);
    post(&api, "/webhooks/nobody/x", "", &big)
        .await
        .problem(404, "webhook.unknown");
    post(&api, &path, "", &big).await.problem(413, "body.too_large");
}

#[tokio::test]
async fn a_webhook_that_cannot_be_stored_is_to_be_sent_again() {
    let api = TestApi::new().await;
    let connection = connect(&api, &api.ann).await;
    let request = signed(connection, &api, "{}");
    api.store.close().await;
    let reply = api.send(request).await;
    reply.problem(503, "database.unreachable");
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!(get(&api, "/t/o/x").await.status, 200);
}

/// The shipped vectors of RFC 8058.
#[tokio::test]
async fn the_list_unsubscribe_vectors_hold() {
    let vectors: Value = serde_json::from_str(include_str!(
        "../../../tidings-providers/tests/vectors/list_unsubscribe.json"
    ))
    .unwrap();
    for case in vectors["one_click"].as_array().unwrap() {
        let api = TestApi::new().await;
        let ann = linked(&api, &api.ann).await;
        let bob = linked(&api, &api.bob).await;
        let request = &case["request"];
        let to_bob = request["url"].as_str().unwrap().contains("tenant B");
        let path = if to_bob {
            &bob.unsubscribe
        } else {
            &ann.unsubscribe
        };
        let content_type = request["headers"]["Content-Type"].as_str().unwrap_or_default();
        let reply = post(
            &api,
            path,
            content_type,
            request["body"].as_str().unwrap_or_default(),
        )
        .await;
        let status = Value::from(reply.status.as_u16());
        assert!(
            case["expect"]["status"].as_array().unwrap().contains(&status),
            "{case}: {status}"
        );
        assert!(!reply.status.is_redirection());
        if to_bob {
            assert_eq!(suppressed(&api, &api.ann).await, 0, "{case}");
        } else {
            assert_eq!(
                suppressed(&api, &api.ann).await == 1,
                case["expect"]["unsubscribed"].as_bool().unwrap(),
                "{case}"
            );
        }
    }
}
