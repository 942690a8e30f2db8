//! Alerts from the command line: set by a file, tried, listed.

use crate::world::{SHOP, World};

const ALERTS: &str = r#"
[tenants.alerts]
pagerduty = { routing_key = "0123456789abcdef0123456789abcdef", base_url = "http://127.0.0.1:9" }
digest = { to = "ops@example.com" }
thresholds = { retries_max_percent = 30 }
"#;

#[tokio::test]
async fn alerts_are_set_once_tried_and_listed() {
    let world = World::new().await;
    let file = world.write("shop.toml", &format!("{SHOP}{ALERTS}"));
    let path = file.to_str().unwrap();
    let first = world.run(&["apply", path]).ok();
    assert!(first.out.contains("+ alerts shop"), "{}", first.out);
    assert!(world.run(&["apply", path]).ok().out.contains("nothing to do"));

    let changed = std::fs::read_to_string(&file)
        .unwrap()
        .replace(
            "0123456789abcdef0123456789abcdef",
            "ffffffffffffffffffffffffffffffff",
        )
        .replace("= 30", "= 35");
    std::fs::write(&file, changed).unwrap();
    let shown = world.run(&["apply", path]).ok();
    for part in [
        "thresholds.retries_max_percent: 30 -> 35",
        "pagerduty.routing_key: changed",
    ] {
        assert!(shown.out.contains(part), "{}", shown.out);
    }
    assert!(
        !shown.out.contains("ffffffff") && !shown.out.contains("ops@"),
        "{}",
        shown.out
    );
    let sealed = world
        .texts("SELECT encode(secrets_sealed, 'escape') FROM alert_settings")
        .await;
    assert!(!sealed[0].contains("ffffffff") && !sealed[0].contains("ops@"));

    for word in ["alert", "alerts"] {
        assert!(world.run(&[word, "list"]).ok().out.contains("no alerts"));
    }
    let tried = world.run(&["alert", "test"]).ok();
    assert!(
        tried.out.contains("pagerduty: told nothing, waiting"),
        "{}",
        tried.out
    );
    let listed = world.run(&["alert", "list", "--json"]).ok().json();
    assert_eq!(
        (&listed["items"][0]["rule"], &listed["items"][0]["state"]),
        (&"test".into(), &"open".into())
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM communication_jobs WHERE job_type = 'alert.notify'")
            .await,
        1
    );
}

#[tokio::test]
async fn wrong_settings_of_alerts_are_refused_without_their_secrets() {
    let world = World::new().await;
    for (from, to, says) in [
        ("0123456789abcdef0123456789abcdef", "s3cret-9", "routing_key"),
        ("ops@example.com", "s3cret-9", "digest.to"),
        ("= 30", "= 100", "retries_max_percent is 100"),
        ("retries_max_percent", "retry_percent", "retry_percent"),
        ("http://127.0.0.1:9", "https://10.0.0.1", "pagerduty.base_url"),
    ] {
        let file = world.write("shop.toml", &format!("{SHOP}{ALERTS}").replace(from, to));
        let refused = world
            .run(&["apply", file.to_str().unwrap()])
            .exit(3)
            .says(&[says]);
        assert!(!format!("{refused:?}").contains("s3cret-9"), "{refused:?}");
    }
    assert_eq!(world.count("SELECT count(*) FROM tenants").await, 0);
}
