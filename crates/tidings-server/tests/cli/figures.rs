//! `/metrics`: the figures that people build on, as the real process shows them.

use crate::world::{Serving, World, answer, until};
use serde_json::{Value, json};
use tidings_providers::signature::standard;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The value of a figure with exactly these labels.
fn figure(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    text.lines().find_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, "}"));
        let mut given: Vec<&str> = rest
            .trim_end_matches('}')
            .split(',')
            .filter(|l| !l.is_empty())
            .collect();
        let mut wanted: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{value}\""))
            .collect();
        given.sort_unstable();
        wanted.sort_unstable();
        (found == name && given == wanted).then(|| value.parse().ok())?
    })
}

async fn first(world: &World, query: &str) -> String {
    world.texts(query).await.remove(0)
}

/// The sandbox's mail provider reports what became of the newest message.
async fn report(world: &World, serving: &Serving, kind: &str) {
    let connection = first(world, "SELECT id FROM connections WHERE channel = 'email'").await;
    let reference = first(
        world,
        "SELECT reference FROM deliveries WHERE state = 'accepted' OR state = 'delivered'",
    )
    .await;
    let seconds: i64 = first(world, "SELECT extract(epoch FROM now())::bigint")
        .await
        .parse()
        .unwrap();
    let event = json!({
        "dedupe_key": kind, "kind": kind, "occurred_at": null, "provider_message_id": null, "reference": reference,
        "recipient": null, "bounce_class": null, "error": null, "suppress": null, "detail": null,
    });
    let body = json!({"events": [event]}).to_string();
    let at = jiff::Timestamp::from_second(seconds).unwrap();
    let signature = standard::sign(kind, at, body.as_bytes(), SECRET).unwrap();
    #[expect(clippy::disallowed_methods, reason = "calls go to the process under test")]
    let client = reqwest::Client::new();
    let request = client
        .post(format!(
            "http://{}/webhooks/sandbox/{connection}",
            serving.address()
        ))
        .header("webhook-id", kind)
        .header("webhook-timestamp", seconds.to_string())
        .header("webhook-signature", signature)
        .header("content-type", "application/json")
        .body(body);
    let taken = answer(request).await;
    assert!(taken.status < 300, "{}: {}", taken.status, taken.body);
}

fn message(to: &str, message_type: &str) -> Value {
    json!({"to": {"contact": {"email": to}}, "message_type": message_type, "urgency": "critical",
           "content": {"subject": "Hello", "body": "Your car is ready."}})
}

#[tokio::test]
async fn figures_count_what_became_of_communications() {
    let world = World::shop().await;
    let key = world.key(&[]);
    let serving = world.serve(&[]);
    serving.until("/readyz", "", |answer| answer.status == 200).await;
    // A type that the tenant made up, and one of ours that the provider refuses.
    for (to, message_type) in [
        ("guest@example.com", "spring_sale"),
        ("rejected@example.com", "welcome"),
    ] {
        serving
            .post("/v1/messages", &key, &message(to, message_type))
            .await
            .expect(201);
    }
    until(&world, "SELECT count(*) FROM dead_letters", 1).await;
    until(&world, "SELECT count(*) FROM messages WHERE status = 'sent'", 1).await;
    for kind in ["delivered", "opened"] {
        report(&world, &serving, kind).await;
    }
    let rate = |text: &str| figure(text, "crm_open_rate", &[("message_type", "other")]);
    let text = serving
        .until("/metrics", "", |answer| rate(&answer.body) == Some(1.0))
        .await
        .body;

    let communications = |message_type, status| {
        let labels = [
            ("message_type", message_type),
            ("channel", "email"),
            ("status", status),
        ];
        figure(&text, "crm_communications_total", &labels)
    };
    for status in ["sent", "delivered", "opened"] {
        assert_eq!(communications("other", status), Some(1.0), "{status} in {text}");
    }
    assert_eq!(communications("welcome", "failed"), Some(1.0), "{text}");
    assert_eq!(
        communications("welcome", "sent"),
        Some(0.0),
        "there from the start"
    );
    let calls = [("api", "sandbox")];
    assert_eq!(
        figure(&text, "tidings_provider_calls_total", &calls),
        Some(2.0),
        "{text}"
    );
    let times = figure(&text, "crm_delivery_time_seconds_count", &[("channel", "email")]);
    assert_eq!(times, Some(1.0), "{text}");
    let errors = [("api", "sandbox"), ("error_type", "permanent")];
    assert_eq!(
        figure(&text, "crm_api_errors_total", &errors),
        Some(1.0),
        "{text}"
    );
    let dead = [("job_type", "send_email"), ("state", "dead")];
    assert_eq!(figure(&text, "tidings_queue_jobs", &dead), Some(1.0), "{text}");
    for (name, kind) in [
        ("crm_communications_total", "counter"),
        ("crm_delivery_time_seconds", "histogram"),
        ("crm_open_rate", "gauge"),
        ("crm_api_errors_total", "counter"),
    ] {
        assert!(
            text.contains(&format!("# TYPE {name} {kind}\n")),
            "{name} in {text}"
        );
        assert!(text.contains(&format!("# HELP {name} ")), "{name} in {text}");
    }
    let tenant = first(&world, "SELECT id FROM tenants").await;
    for private in ["example.com", "spring_sale", &tenant, "shop"] {
        assert!(!text.contains(private), "{private} in {text}");
    }
}

#[tokio::test]
async fn every_role_shows_its_figures_at_an_address_of_its_own() {
    let world = World::shop().await;
    for role in ["worker", "scheduler"] {
        let arguments = ["serve", "--role", role, "--metrics-listen", "127.0.0.1:0"];
        let serving = world.serve_as(&arguments, &[]);
        assert_eq!(serving.get("/healthz", "").await.status, 200, "{role}");
        serving.until("/readyz", "", |answer| answer.status == 200).await;
        let text = serving.get("/metrics", "").await.body;
        // What rules ask for begins at nothing, or its first increase would not be seen.
        for (name, labels) in [
            (
                "crm_api_errors_total",
                vec![("api", "twilio"), ("error_type", "auth_failure")],
            ),
            (
                "tidings_alert_notifications_total",
                vec![("notifier", "slack"), ("outcome", "failed")],
            ),
            ("tidings_unknown_outcomes_total", vec![("channel", "email")]),
            ("tidings_provider_calls_total", vec![("api", "smtp")]),
        ] {
            assert_eq!(
                figure(&text, name, &labels),
                Some(0.0),
                "{role}: {name} in {text}"
            );
        }
        // And nothing else is answered there.
        assert_eq!(serving.get("/v1/messages", "").await.status, 404, "{role}");
    }
}

#[tokio::test]
async fn an_address_for_figures_that_is_taken_is_said_so() {
    let world = World::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    world
        .run_with(
            &[("TIDINGS_METRICS_LISTEN", &address)],
            &["serve", "--role", "worker"],
            "",
        )
        .exit(1)
        .says(&[&address, "TIDINGS_METRICS_LISTEN"]);
}
