//! The vectors of RFC 8058: run against the HTTP face in process, with the links of messages that were really sent.
//!
//! A case names its URL in words, between braces. The words decide which link is meant: another tenant's, a changed one, a
//! preference link, one of an erased contact, the same twice. A case in words nobody here knows is skipped, never passed.

use anyhow::{Context, Result, anyhow};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tidings_api::{ApiSettings, ApiState};
use tidings_core::clock::FixedClock;
use tidings_core::decide::Policy;
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::redact::Private;
use tidings_core::retry::Schedule;
use tidings_core::{
    Category, Channel, Clock, ContactId, Dice, MessageStatus, MessageType, ProviderKind, TenantId,
};
use tidings_engine::{
    AcceptRequest, DirectContent, Engine, EngineOptions, FailPoints, Limits, Recipient, sandbox_mail,
};
use tidings_providers::egress::{Egress, EgressPolicy};
use tidings_providers::{Content, EmailContent};
use tidings_store::connections::{self, ConnectionSettings};
use tidings_store::consents::{self, NewConsent};
use tidings_store::contacts::{self, AddressInput, AddressKind, ContactInput};
use tidings_store::suppressions::{self, SuppressionFilter};
use tidings_store::tenants::{self, NewTenant, TenantSettings};
use tidings_store::{Keyring, Store, StoreOptions, erasure};
use tower::ServiceExt;

/// The file these vectors are in.
pub const FILE: &str = "list_unsubscribe.json";

/// A Tuesday afternoon, so that no quiet hours hold a message back.
const NOW: &str = "2026-06-16T15:00:00Z";

/// What came of each case, by its JSON; none for a case that nothing here can run.
pub type Verdicts = HashMap<String, Option<Result<(), String>>>;

/// Runs every case of the file on a database of its own.
pub async fn run(database_url: &str, dir: &Path) -> Result<Verdicts> {
    let file: Value = serde_json::from_slice(&std::fs::read(dir.join(FILE))?)?;
    let mut house = House::open(database_url).await?;
    let mut verdicts = Verdicts::new();
    for (section, cases) in file.as_object().into_iter().flatten() {
        for case in cases.as_array().into_iter().flatten() {
            let verdict = match section.as_str() {
                "one_click" => house.one_click(case).await?,
                "headers" => house.headers(case).await?,
                _ => None,
            };
            verdicts.insert(case.to_string(), verdict);
        }
    }
    house.engine.close().await;
    house.store.close().await;
    Ok(verdicts)
}

/// An installation of its own.
struct House {
    store: Store,
    engine: Engine,
    router: Router,
    clock: Arc<FixedClock>,
    dice: Dice,
    tenants: u32,
}

/// A tenant with one contact who got one message.
struct Mailed {
    tenant: TenantId,
    contact: ContactId,
    mail: EmailContent,
}

impl House {
    async fn open(database_url: &str) -> Result<Self> {
        let clock = Arc::new(FixedClock::new(NOW.parse()?));
        let options = StoreOptions::new(database_url);
        let store = Store::connect(options, Keyring::random()?, clock.now()).await?;
        store.migrate(clock.now()).await?;
        let engine = Engine::new(EngineOptions {
            store: store.clone(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            seed: 8058,
            node_name: "vectors".to_owned(),
            public_base_url: "https://tidings.example".parse()?,
            egress: Egress::new(EgressPolicy::default())?,
            limits: Limits::default(),
            schedule: Schedule::default(),
            disabled_types: std::collections::BTreeSet::new(),
            environment: std::collections::BTreeMap::new(),
            redis: None,
            fail_points: FailPoints::default(),
        });
        let settings = ApiSettings {
            metrics: Arc::new(String::new),
        };
        let router = tidings_api::router(ApiState::new(engine.clone(), settings), "vectors");
        Ok(Self {
            store,
            engine,
            router,
            clock,
            dice: Dice::from_seed(8058),
            tenants: 0,
        })
    }

    /// A fresh tenant whose contact got a message of the category.
    async fn mailed(&mut self, category: Category) -> Result<Mailed> {
        let now = self.clock.now();
        self.tenants += 1;
        let tenant = TenantId(self.dice.uuid(now));
        let mut conn = self.store.worker_conn().await?;
        let settings = TenantSettings {
            postal_address: Some("1 Main St".to_owned()),
            ..TenantSettings::default()
        };
        let slug = format!("tenant-{}", self.tenants);
        let new = NewTenant {
            id: tenant,
            slug,
            name: "Acme".to_owned(),
            policy: Policy::default(),
            settings,
        };
        tenants::create(&mut conn, self.store.keyring(), new, now).await?;
        drop(conn);
        let mut tx = self.store.worker_tenant(tenant).tx().await?;
        connections::create(&mut tx, &sandbox(), &mut self.dice, now).await?;
        let address = AddressInput {
            kind: AddressKind::Email,
            text: Private::new("ann@example.com".to_owned()),
            primary: true,
        };
        let input = ContactInput {
            zone: Some("UTC".to_owned()),
            addresses: vec![address],
            ..ContactInput::default()
        };
        let contact = contacts::upsert(&mut tx, input, None, &mut self.dice, now)
            .await?
            .id;
        let consent = NewConsent {
            contact,
            purpose: Category::Marketing,
            channel: None,
            granted: true,
            source: "vectors".to_owned(),
            wording: None,
        };
        consents::record(&mut tx, consent, &mut self.dice, now).await?;
        tx.commit().await?;
        self.accept(tenant, contact, category).await?;
        self.engine.run_due().await?;
        let sent = sandbox_mail(&self.store, tenant, None, 1).await?;
        match sent.first().map(|mail| mail.content.expose()) {
            Some(Content::Email(mail)) => Ok(Mailed {
                tenant,
                contact,
                mail: mail.clone(),
            }),
            _ => Err(anyhow!("the message of the vectors was not sent")),
        }
    }

    async fn accept(
        &self,
        tenant: TenantId,
        contact: ContactId,
        category: Category,
    ) -> Result<MessageStatus> {
        let mut request = AcceptRequest::new(Recipient::ContactId(contact), MessageType::parse("direct")?);
        request.category = Some(category);
        request.channel = Some(Channel::Email);
        let text = |text: &str| Private::new(text.to_owned());
        request.content = Some(DirectContent {
            subject: Some(text("News")),
            body: text("Something new."),
            media: None,
        });
        let accepted = self
            .engine
            .accept(tenant, vec![request])
            .await
            .pop()
            .context("no answer")??;
        Ok(accepted.status)
    }

    async fn unsubscribed(&self, tenant: TenantId) -> Result<bool> {
        let mut tx = self.store.worker_tenant(tenant).tx().await?;
        let filter = SuppressionFilter {
            reason: Some(SuppressionReason::Unsubscribe),
            ..SuppressionFilter::default()
        };
        Ok(!suppressions::list(&mut tx, filter, None, 1)
            .await?
            .items
            .is_empty())
    }

    async fn one_click(&mut self, case: &Value) -> Result<Option<Result<(), String>>> {
        let words = words_of(case);
        let ours = self.mailed(Category::Marketing).await?;
        let theirs = self.mailed(Category::Marketing).await?;
        let link = |mailed: &Mailed| {
            mailed
                .mail
                .unsubscribe_url
                .clone()
                .context("the message has no unsubscribe link")
        };
        let named = case["request"]["url"].as_str().unwrap_or_default().to_lowercase();
        let Some(url) = chosen(&named, &link(&ours)?, &link(&theirs)?) else {
            return Ok(None);
        };
        if words.contains("erased") || words.contains("deleted") {
            let mut tx = self.store.worker_tenant(ours.tenant).tx().await?;
            erasure::erase(&mut tx, ours.contact, "vectors", &mut self.dice, self.clock.now()).await?;
            tx.commit().await?;
        }
        let twice = ["second", "again", "twice", "repeat", "replay", "idempotent"]
            .iter()
            .any(|word| words.contains(word));
        let mut answer = self.call(&case["request"], &url).await?;
        if twice {
            answer = self.call(&case["request"], &url).await?;
        }
        let (ours, theirs) = (
            self.unsubscribed(ours.tenant).await?,
            self.unsubscribed(theirs.tenant).await?,
        );
        Ok(Some(judged(&case["expect"], answer.0, answer.1, ours, theirs)))
    }

    /// Sends the case's request as it stands; the answer is the status and whether it set a cookie.
    async fn call(&self, request: &Value, url: &str) -> Result<(StatusCode, bool)> {
        let method = request["method"].as_str().unwrap_or("POST");
        let path = url.strip_prefix("https://tidings.example").unwrap_or(url);
        let mut builder = Request::builder().method(method).uri(path);
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            builder = builder.header(name, value.as_str().unwrap_or_default());
        }
        let body = request["body"].as_str().unwrap_or_default().to_owned();
        let answer = self
            .router
            .clone()
            .oneshot(builder.body(Body::from(body))?)
            .await?;
        Ok((answer.status(), answer.headers().contains_key("set-cookie")))
    }

    /// The headers of a sent message, and what the link in them does to messages that are owed.
    async fn headers(&mut self, case: &Value) -> Result<Option<Result<(), String>>> {
        let category = match case["message"].as_str().unwrap_or_default() {
            "marketing" => Category::Marketing,
            "service" => Category::Service,
            "transactional" => Category::Transactional,
            _ => return Ok(None),
        };
        let mailed = self.mailed(category).await?;
        let link = mailed.mail.unsubscribe_url.clone();
        if let Some(url) = &link {
            let one_click = json!({"body": "List-Unsubscribe=One-Click"});
            self.call(&one_click, url).await?;
        }
        let owed = self
            .accept(mailed.tenant, mailed.contact, Category::Transactional)
            .await?;
        if owed == MessageStatus::Suppressed {
            return Ok(Some(Err(
                "unsubscribing stopped a transactional message".to_owned()
            )));
        }
        for (name, expected) in case["expect"].as_object().into_iter().flatten() {
            let present = match name.as_str() {
                "List-Unsubscribe" => link.as_ref().map(|url| format!("<{url}>")),
                "List-Unsubscribe-Post" => link.as_ref().map(|_| tidings_providers::ONE_CLICK.to_owned()),
                _ => return Ok(None),
            };
            match header_verdict(expected.as_str().unwrap_or_default(), present.as_deref()) {
                Some(true) => {}
                Some(false) => return Ok(Some(Err(format!("{name} is {present:?}, expected {expected}")))),
                None => return Ok(None),
            }
        }
        Ok(Some(Ok(())))
    }
}

fn sandbox() -> ConnectionSettings {
    ConnectionSettings {
        name: "sandbox".to_owned(),
        channel: Channel::Email,
        provider: ProviderKind::Sandbox,
        config: json!({}),
        credentials: None,
        priority: 0,
        weight: 1,
        enabled: true,
        call_limit_ms: None,
        rate_limit: None,
    }
}

/// What a case says of its URL and itself, in lower case.
fn words_of(case: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
    format!("{} {}", text(&case["request"]["url"]), text(&case["description"]))
}

/// The URL that the words mean.
fn chosen(words: &str, ours: &str, theirs: &str) -> Option<String> {
    let has = |list: &[&str]| list.iter().any(|word| words.contains(word));
    if has(&["tenant b", "another tenant", "other tenant"]) {
        return Some(theirs.to_owned());
    }
    if has(&[
        "tamper", "forged", "modified", "altered", "changed", "flipped", "invalid", "unknown", "random",
        "guessed",
    ]) {
        let mut changed = ours.to_owned();
        let last = if changed.pop()? == 'A' { 'B' } else { 'A' };
        // A character in the middle: the last one may carry unused bits.
        let middle = changed.len() - 20;
        let other = if changed.as_bytes()[middle] == b'A' {
            "B"
        } else {
            "A"
        };
        changed.replace_range(middle..=middle, other);
        changed.push(last);
        return Some(changed);
    }
    has(&["valid", "one-click", "same", "erased", "deleted", "unsubscribe"]).then(|| ours.to_owned())
}

/// Whether an answer is what a case expects. An expectation that is not read here is named, never passed over.
fn judged(expect: &Value, status: StatusCode, cookie: bool, ours: bool, theirs: bool) -> Result<(), String> {
    for (name, expected) in expect.as_object().into_iter().flatten() {
        let right = match (name.as_str(), expected) {
            ("status", Value::Array(list)) => list.contains(&json!(status.as_u16())),
            ("status", one) => *one == json!(status.as_u16()),
            ("redirect", Value::Bool(wanted)) => status.is_redirection() == *wanted,
            ("cookie" | "cookies" | "set_cookie", Value::Bool(wanted)) => cookie == *wanted,
            ("unsubscribed", Value::Bool(wanted)) => ours == *wanted,
            ("unsubscribed", Value::String(words)) if words.to_lowercase().contains("tenant b") => !ours,
            _ => return Err(format!("expects {name} = {expected}, which is not understood")),
        };
        if !right {
            let got = format!(
                "status {status}, unsubscribed {ours} (the other tenant's {theirs}), cookie {cookie}"
            );
            return Err(format!("expected {name} = {expected}, got {got}"));
        }
    }
    Ok(())
}

/// Whether a header is as a case has it: in its own words, or literally.
fn header_verdict(expected: &str, present: Option<&str>) -> Option<bool> {
    let words = expected.to_lowercase();
    if words.contains("absent or present") {
        return Some(true);
    }
    if words.starts_with("absent") {
        return Some(present.is_none());
    }
    if words.contains("https") {
        let one = present.and_then(|text| text.strip_prefix('<')?.strip_suffix('>'));
        return Some(
            one.is_some_and(|url| url.starts_with("https://") && !url.contains([',', '<', '>', ' '])),
        );
    }
    if words.starts_with("present") {
        return Some(present.is_some());
    }
    expected.contains('=').then(|| present == Some(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_choose_the_link() {
        let (ours, theirs) = (
            "https://t.example/u/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "https://t.example/u/BBBB",
        );
        assert_eq!(
            chosen("{valid one-click url of a marketing message}", ours, theirs).as_deref(),
            Some(ours)
        );
        assert_eq!(
            chosen("{tenant b token on tenant a host}", ours, theirs).as_deref(),
            Some(theirs)
        );
        assert_ne!(
            chosen("{url with a tampered token}", ours, theirs).as_deref(),
            Some(ours)
        );
        assert_eq!(chosen("{something else}", ours, theirs), None);
    }

    #[test]
    fn what_is_not_understood_does_not_pass() {
        let ok = StatusCode::OK;
        assert!(
            judged(
                &json!({"status": [200, 204], "unsubscribed": true}),
                ok,
                false,
                true,
                false
            )
            .is_ok()
        );
        assert!(judged(&json!({"unsubscribed": false}), ok, false, true, false).is_err());
        assert!(judged(&json!({"sings": true}), ok, false, true, false).is_err());
        assert_eq!(header_verdict("whatever", None), None);
        assert_eq!(
            header_verdict("List-Unsubscribe=One-Click", Some("List-Unsubscribe=One-Click")),
            Some(true)
        );
    }
}
