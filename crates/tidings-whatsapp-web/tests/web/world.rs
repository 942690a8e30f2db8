//! A companion, the phone behind its page, and Tidings' end of the webhook.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidings_core::clock::{Clock as _, FixedClock};
use tidings_core::redact::Private;
use tidings_core::{Address, Category, Channel, ProviderKind};
use tidings_providers::egress::{Egress, EgressPolicy, EgressRequest, EgressResponse, EgressUrl};
use tidings_providers::sandbox::MemoryCapture;
use tidings_providers::whatsapp_web::wire::SessionState;
use tidings_providers::{
    ConnectionConfig, Content, Credentials, Provider, Submission, WebhookParsed, WebhookRequest,
};
use tidings_testkit::phone::Phone;
use tidings_testkit::{TemporaryFolder, fixed_clock};
use tidings_whatsapp_web::{BrowserOptions, Companion, CompanionError, Driver, Limits, Options, Webhook};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

pub const TOKEN: &str = "a-token-of-the-test";
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Everything of a test.
pub struct World {
    pub phone: Phone,
    pub clock: Arc<FixedClock>,
    pub companion: Companion,
    pub hook: Hook,
    folder: TemporaryFolder,
    browser: tidings_testkit::Browser,
    egress: Egress,
}

impl World {
    /// A world in which the session has this state; none where there is no browser, which is said.
    pub async fn new(phone: Phone, state: SessionState) -> Option<Self> {
        let browser = tidings_testkit::browser()?;
        let folder = TemporaryFolder::new("whatsapp-web");
        let clock = fixed_clock();
        let hook = Hook::start().await;
        let companion = Companion::start(options(&phone, &clock, &hook, &folder, &browser))
            .await
            .unwrap();
        let policy = EgressPolicy {
            total_timeout: Duration::from_mins(2),
            ..EgressPolicy::for_stand_ins()
        };
        let egress = Egress::new(policy).unwrap().with_clock(clock.clone());
        let world = Self {
            phone,
            clock,
            companion,
            hook,
            folder,
            browser,
            egress,
        };
        world.reaches(state).await;
        Some(world)
    }

    /// Ends the companion and starts another on the same folder.
    pub async fn restart(self) -> Self {
        let Self {
            phone,
            clock,
            companion,
            hook,
            folder,
            browser,
            egress,
        } = self;
        companion.stop().await;
        let companion = Companion::start(options(&phone, &clock, &hook, &folder, &browser))
            .await
            .unwrap();
        let world = Self {
            phone,
            clock,
            companion,
            hook,
            folder,
            browser,
            egress,
        };
        world.reaches(SessionState::Ready).await;
        world
    }

    /// What is kept of the message that was sent last.
    pub fn last_message(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("account/last_message.jsonl")).unwrap()
    }

    /// What a second companion on the same folder comes to.
    pub async fn second(&self) -> Result<Companion, CompanionError> {
        Companion::start(options(
            &self.phone,
            &self.clock,
            &self.hook,
            &self.folder,
            &self.browser,
        ))
        .await
    }

    pub async fn end(self) {
        self.companion.stop().await;
    }

    pub async fn reaches(&self, state: SessionState) {
        let mut states = self.companion.states();
        states.wait_for(|now| *now == state).await.unwrap();
    }

    pub async fn get(&self, path: &[&str]) -> EgressResponse {
        self.call(EgressRequest::get(self.url(path))).await
    }

    pub async fn withdraw(&self, reference: &str) -> Value {
        let request = EgressRequest::delete(self.url(&["messages", reference]));
        json_of(&self.call(request).await)
    }

    pub async fn post(&self, reference: &str, to: &str, text: &str) -> (u16, Value) {
        let answer = self.post_as_is(reference, to, text).await;
        (answer.status, json_of(&answer))
    }

    pub async fn post_as_is(&self, reference: &str, to: &str, text: &str) -> EgressResponse {
        let body = json!({ "reference": reference, "to": to, "text": text }).to_string();
        self.call(EgressRequest::post(
            self.url(&["messages"]),
            "application/json",
            body,
        ))
        .await
    }

    pub fn url(&self, path: &[&str]) -> EgressUrl {
        let base = format!("http://{}", self.companion.address());
        self.egress.url(&base).unwrap().join(path, &[])
    }

    /// Lets the clock run until the account may write again, whatever was drawn.
    pub fn next_slot(&self) {
        self.clock.advance(jiff::SignedDuration::from_secs(90));
    }

    /// The provider of Tidings that speaks to this companion.
    pub fn provider(&self) -> Arc<dyn Provider> {
        let credentials = json!({ "token": TOKEN, "webhook_secret": SECRET });
        let config = ConnectionConfig {
            kind: ProviderKind::WhatsappWeb,
            channel: Channel::WhatsappWeb,
            settings: json!({
                "base_url": format!("http://{}", self.companion.address()), "number": "+436641111111"
            }),
            credentials: Credentials::new(SecretString::from(credentials.to_string())),
        };
        tidings_providers::build(&config, &self.egress, Arc::new(MemoryCapture::new())).unwrap()
    }

    /// The next webhook, read by Tidings' own provider.
    pub async fn hears(&mut self) -> WebhookParsed {
        let request = self.hook.requests.recv().await.unwrap();
        self.provider().webhook(&request, self.clock.now()).await.unwrap()
    }

    async fn call(&self, request: EgressRequest) -> EgressResponse {
        let request = request
            .secret_header("authorization", &format!("Bearer {TOKEN}"))
            .unwrap()
            .response_limit(8 << 20);
        self.egress.call(request).await.unwrap()
    }

    /// Without a token, or with another.
    pub async fn status_with(&self, bearer: &str) -> u16 {
        let request = EgressRequest::get(self.url(&["state"]));
        let request = request.secret_header("authorization", bearer).unwrap();
        self.egress.call(request).await.unwrap().status
    }
}

pub fn json_of(answer: &EgressResponse) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

pub fn submission(reference: &str, to: &str, text: &str) -> Submission {
    Submission {
        reference: reference.to_owned(),
        message_id: "0197c0de-0000-7000-8000-00000000000a".to_owned(),
        channel: Channel::WhatsappWeb,
        category: Category::Transactional,
        to: Private::new(Address::parse(Channel::WhatsappWeb, to, None).unwrap()),
        to_name: None,
        content: Private::new(Content::Text {
            body: text.to_owned(),
        }),
        status_callback: None,
        time_limit: Duration::from_mins(2),
    }
}

fn options(
    phone: &Phone,
    clock: &Arc<FixedClock>,
    hook: &Hook,
    folder: &TemporaryFolder,
    browser: &tidings_testkit::Browser,
) -> Options {
    Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        token: SecretString::from(TOKEN.to_owned()),
        folder: folder.path().join("account"),
        browser: BrowserOptions {
            driver: Driver::Program(browser.driver.clone()),
            program: Some(browser.program.clone()),
            page_url: phone.url().parse().unwrap(),
            headless: true,
            // Tests may run as root.
            no_sandbox: true,
            limits: Limits {
                opens: Duration::from_secs(8),
                shows: Duration::from_secs(2),
                sends: Duration::from_secs(3),
                marks: Duration::from_secs(20),
                covered: Duration::from_mins(1),
            },
            flags: Vec::new(),
        },
        webhook: Some(Webhook {
            url: hook.url.clone(),
            secret: SecretString::from(SECRET.to_owned()),
        }),
        look_every: Duration::from_millis(200),
        answer_within: Duration::from_mins(2),
        clock: clock.clone(),
        seed: 7,
    }
}

/// Where the companion posts to.
pub struct Hook {
    url: String,
    /// What was taken.
    pub requests: mpsc::UnboundedReceiver<WebhookRequest>,
    /// What was refused.
    pub refused: mpsc::UnboundedReceiver<()>,
    takes: Arc<AtomicBool>,
}

#[derive(Clone)]
struct Taking {
    taken: mpsc::UnboundedSender<WebhookRequest>,
    refused: mpsc::UnboundedSender<()>,
    takes: Arc<AtomicBool>,
}

impl Hook {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/webhooks/whatsapp_web/1",
            listener.local_addr().unwrap()
        );
        let (taken, requests) = mpsc::unbounded_channel();
        let (refused, refusals) = mpsc::unbounded_channel();
        let takes = Arc::new(AtomicBool::new(true));
        let taking = Taking {
            taken,
            refused,
            takes: takes.clone(),
        };
        let routes = Router::new()
            .route("/webhooks/whatsapp_web/1", post(take))
            .with_state(taking);
        TaskTracker::new().spawn(async move { axum::serve(listener, routes).await });
        Self {
            url,
            requests,
            refused: refusals,
            takes,
        }
    }

    /// Whether it answers 200 or 503.
    pub fn takes(&self, takes: bool) {
        self.takes.store(takes, Ordering::SeqCst);
    }
}

async fn take(State(taking): State<Taking>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if !taking.takes.load(Ordering::SeqCst) {
        let _ = taking.refused.send(());
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()));
    let request = WebhookRequest {
        method: "POST".to_owned(),
        url: "http://engine.test/webhooks/whatsapp_web/1".to_owned(),
        headers: headers.collect(),
        body,
    };
    let _ = taking.taken.send(request);
    StatusCode::OK
}
