//! `serve`, `whatsapp-web serve` and a browser at once: what is submitted over HTTP arrives on a page that behaves as WhatsApp's,
//! once, whoever is killed over it.

use crate::whatsapp_web::Running;
use crate::world::{Serving, World, shop_over, until, until_so};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use tidings_testkit::Browser;
use tidings_testkit::phone::{Chat, Phone};

const KIM: &str = "436642222222@c.us";
const TEXT: &str = "Your car is ready.\n\nBye";
const TOKEN: &str = "a-token-of-the-test";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// An installation whose tenant writes by a companion.
struct Wired {
    serving: Serving,
    // Goes after the process that works on it.
    world: World,
    key: String,
    phone: Phone,
    browser: Browser,
    /// Where the companion listens, in every life.
    port: u16,
}

impl Wired {
    /// None where there is no browser, which is said.
    async fn new() -> Option<Self> {
        let browser = tidings_testkit::browser()?;
        let phone = Phone::paired(vec![Chat::of("436642222222", "Kim")]).await;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let world = World::new().await;
        for (name, secret) in [("token", TOKEN), ("secret", SECRET)] {
            let file = world.write(name, secret);
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        // The pace is the companion's own matter: the rate limit beside it would put a second call off.
        let connection = format!(
            r#"
[[tenants.connections]]
name = "web"
provider = "whatsapp_web"
channel = "whatsapp_web"
rate_limit = {{ limit = 1000, per_ms = 1000 }}
settings = {{ base_url = "http://127.0.0.1:{port}", number = "+436641111111" }}
credentials = {{ token = "{TOKEN}", webhook_secret = "{SECRET}" }}
"#
        );
        let tenant = shop_over(&connection);
        world.apply(&tenant.replace("default_region", "whatsapp_web_enabled = true\ndefault_region"));
        let key = world.key(&[]);
        let serving = world.serve(&[("TIDINGS_ALLOW_LOOPBACK", "true")]);
        Some(Self {
            serving,
            world,
            key,
            phone,
            browser,
            port,
        })
    }

    /// A companion whose session is ready.
    async fn companion(&self) -> Running {
        let connection = self
            .world
            .texts("SELECT id::text FROM connections")
            .await
            .remove(0);
        let webhook = format!(
            "http://{}/webhooks/whatsapp_web/{connection}",
            self.serving.address()
        );
        let listen = format!("127.0.0.1:{}", self.port);
        let mut command = self.world.command(&[], &["whatsapp-web", "serve", "--json"]);
        command
            .args([
                "--i-accept-the-risk",
                "--profile",
                "account",
                "--token-file",
                "token",
            ])
            .args([
                "--listen",
                &listen,
                "--page-url",
                self.phone.url(),
                "--look-every",
                "1",
            ])
            .args(["--webhook-url", &webhook, "--webhook-secret-file", "secret"])
            .arg("--driver")
            .arg(&self.browser.driver)
            .arg("--browser")
            .arg(&self.browser.program);
        let running = Running::of(command);
        let pair = [
            "whatsapp-web",
            "pair",
            "--token-file",
            "token",
            "--within",
            "60",
            "--url",
        ];
        self.world
            .run(&[&pair[..], &[running.url.as_str()]].concat())
            .ok();
        running
    }

    /// Submits a text to Kim; where its message is read.
    async fn submit(&self) -> String {
        let message = json!({
            "to": { "contact": { "phone": "+436642222222" } }, "channel": "whatsapp_web", "message_type": "proof",
            "urgency": "critical", "category": "transactional", "content": { "body": TEXT },
        });
        let accepted = self.serving.post("/v1/messages", &self.key, &message).await;
        let accepted = accepted.expect(201);
        format!("/v1/messages/{}", accepted["message_id"].as_str().unwrap())
    }

    async fn reaches(&self, path: &str, status: &str) -> Value {
        let so = |answer: &crate::world::Answer| answer.expect(200)["status"] == status;
        self.serving.until(path, &self.key, so).await.expect(200)
    }

    /// Waits for a call of which nobody knows the outcome.
    async fn unknown_call(&self, attempt: u32) {
        let query =
            format!("SELECT count(*) FROM attempts WHERE attempt_no = {attempt} AND outcome = 'unknown'");
        until(&self.world, &query, 1).await;
    }
}

// The page is served while the test waits for a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_arrives_on_the_page_once_and_its_ticks_come_back() {
    let Some(wired) = Wired::new().await else { return };
    let companion = wired.companion().await;
    let message = wired.submit().await;
    wired.reaches(&message, "sent").await;
    assert_eq!(wired.phone.sent(KIM), [TEXT]);
    wired.phone.tick(KIM, "delivered");
    wired.reaches(&message, "delivered").await;
    wired.phone.tick(KIM, "read");
    let opened = "SELECT count(*) FROM delivery_events WHERE kind = 'opened'";
    until(&wired.world, opened, 1).await;
    let reported = "SELECT kind FROM delivery_events ORDER BY kind";
    assert_eq!(
        wired.world.texts(reported).await,
        ["accepted", "delivered", "opened"]
    );
    assert_eq!(wired.phone.sent(KIM), [TEXT]);
    drop(companion);
}

// The page is served while the test waits for a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_companion_that_is_killed_over_a_message_types_it_once_and_finds_it_again() {
    let Some(wired) = Wired::new().await else { return };
    // Killed while the text stands in the box: it was never sent, the companion's next life says so, and it goes again.
    wired.phone.change(|shown| shown.no_button = true);
    let mut companion = wired.companion().await;
    let message = wired.submit().await;
    until_so("the text is written", || {
        !wired.phone.shown().chats[0].draft.is_empty()
    })
    .await;
    companion.kill();
    wired.unknown_call(1).await;
    assert_eq!(wired.phone.sent(KIM), [""; 0]);

    // Killed between the click and the answer: the phone has no connection, so the companion waits for a tick.
    wired
        .phone
        .change(|shown| (shown.no_button, shown.offline) = (false, true));
    let mut companion = wired.companion().await;
    until_so("the text is sent", || !wired.phone.sent(KIM).is_empty()).await;
    companion.kill();
    wired.unknown_call(2).await;

    // It has gone, and nobody saw it: the next life looks for it in its chat, and types nothing.
    wired.phone.tick(KIM, "sent");
    let _companion = wired.companion().await;
    wired.reaches(&message, "sent").await;
    assert_eq!(wired.phone.sent(KIM), [TEXT]);
    until(&wired.world, "SELECT count(*) FROM unknown_deliveries", 0).await;
    // The first call is known not to have arrived.
    let rejected = "SELECT attempt_no FROM attempts WHERE outcome = 'rejected'";
    assert_eq!(wired.world.texts(rejected).await, ["1"]);
}

// The page is served while the test waits for a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_sees_after_the_click_is_named_and_never_typed_again() {
    let Some(wired) = Wired::new().await else { return };
    wired.phone.change(|shown| shown.swallows = true);
    let mut companion = wired.companion().await;
    wired.submit().await;
    let clicked =
        || std::fs::read_to_string(wired.world.folder.join("account/ledger.jsonl")).unwrap_or_default();
    until_so("the button is clicked", || clicked().contains("\"click\"")).await;
    companion.kill();
    wired.unknown_call(1).await;
    wired.phone.change(|shown| shown.swallows = false);
    // The next life is asked, and called again under the same reference.
    let _companion = wired.companion().await;
    wired.unknown_call(2).await;
    until(
        &wired.world,
        "SELECT count(*) FROM unknown_deliveries WHERE held",
        1,
    )
    .await;
    assert_eq!(wired.phone.sent(KIM), [""; 0]);
}
