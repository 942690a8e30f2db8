//! `apply`: the difference, once; wrong files change nothing.

use crate::world::{SHOP, World};
use serde_json::json;

const TEMPLATE: &str = r#"
[[tenants.templates]]
message_type = "reminder"
channel = "email"
locale = "de"
subject = "Ihr Termin am {{ due_date }}"
body = "<p>Bis {{ due_date }}.</p>"
"#;

async fn tenants(world: &World) -> i64 {
    world.count("SELECT count(*) FROM tenants").await
}

#[tokio::test]
async fn a_file_is_applied_once_and_changes_are_shown() {
    let world = World::new().await;
    let file = world.write("shop.toml", &format!("{SHOP}{TEMPLATE}"));
    let apply = |more: &[&str]| {
        world
            .run(&[&["apply", file.to_str().unwrap()], more].concat())
            .ok()
    };

    let dry = apply(&["--dry-run"]);
    assert!(
        dry.out.contains("+ tenant shop") && dry.out.contains("nothing was changed"),
        "{}",
        dry.out
    );
    assert_eq!(tenants(&world).await, 0);
    let first = apply(&["--json"]).json();
    assert_eq!((&first["changed"], &first["dry_run"]), (&json!(5), &json!(false)));
    assert!(
        first["entries"]
            .as_array()
            .unwrap()
            .iter()
            .all(|entry| entry["change"] == "created")
    );
    assert!(apply(&[]).out.contains("nothing to do: all 5"));

    let changed = std::fs::read_to_string(&file).unwrap();
    let changed = changed
        .replace("Corner Shop\"\n\n", "Big Shop\"\n\n")
        .replace("slow_ms = 1500", "slow_ms = 20")
        .replace("\"Kim\"", "\"Kim Lee\"");
    std::fs::write(&file, changed).unwrap();
    let expected = [
        "name: \"Corner Shop\" -> \"Big Shop\"",
        "settings.slow_ms: 1500 -> 20",
        "name: changed",
    ];
    for args in [&["--dry-run"][..], &[]] {
        let shown = apply(args);
        assert!(
            expected.iter().all(|part| shown.out.contains(part)),
            "{}",
            shown.out
        );
        assert!(
            !shown.out.contains("Kim") && shown.out.contains("3 "),
            "{}",
            shown.out
        );
    }
    assert_eq!(apply(&["--json"]).json()["changed"], 0);
    assert_eq!(world.texts("SELECT name FROM tenants").await, ["Big Shop"]);
}

#[tokio::test]
async fn wrong_files_say_what_and_where_and_change_nothing() {
    let world = World::new().await;
    let cases = [
        ("slug = \"shop\"", "slug = shop", &["line 3"][..]),
        (
            "name = \"mail\"",
            "name = \"mail\"\ncolour = \"red\"",
            &["colour", "line"],
        ),
        (
            "provider = \"sandbox\"",
            "provider = \"pigeon\"",
            &["pigeon", "sandbox"],
        ),
        (
            "zone = \"Europe/Vienna\"",
            "zone = \"Europe/Wien\"",
            &["Europe/Wien"],
        ),
        (
            "email = \"kim@example.com\"",
            "email = \"kim@@example\"",
            &["contact shop/4711"],
        ),
        (
            "external_id = \"4711\"",
            "external_id = \"4711\"\nzone = \"Mars/Olympus\"",
            &["contact shop/4711", "Mars/Olympus"],
        ),
        (
            "{ slow_ms = 1500 }",
            "{ slow_ms = -1 }",
            &["connection shop/mail", "slow_ms"],
        ),
        (
            "{ slow_ms = 1500 }",
            "{ slowness = 1 }",
            &["connection shop/mail", "slowness"],
        ),
        (
            "\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
            "{ env = \"SHOP_SECRET\" }",
            &["shop", "SHOP_SECRET", "not set"],
        ),
        ("slug = \"shop\"", "slug = \"Shop 1\"", &["slug"]),
        (
            "[tenants.settings]",
            "[tenants.settings]\nslogan = \"x\"",
            &["slogan"],
        ),
    ];
    for (from, to, parts) in cases {
        assert!(SHOP.contains(from));
        let file = world.write("wrong.toml", &SHOP.replacen(from, to, 1));
        for mode in [&["--dry-run"][..], &[]] {
            let args = [&["apply", file.to_str().unwrap()], mode].concat();
            world.run(&args).exit(3).says(parts);
        }
        assert_eq!(tenants(&world).await, 0, "{to}: half a tenant was left");
    }
    world
        .run(&["apply", "nowhere.toml"])
        .exit(1)
        .says(&["nowhere.toml"]);
}

#[tokio::test]
async fn a_template_that_does_not_compile_is_refused_with_its_place() {
    let world = World::shop().await;
    for (body, parts) in [
        ("<p>{{ due_date </p>", &["template shop/reminder email de"][..]),
        ("<p>{% if due_date %}</p>", &["template shop/reminder email de"]),
        ("<p>{{ due_date | sparkle }}</p>", &["sparkle"]),
    ] {
        let broken = TEMPLATE.replace("<p>Bis {{ due_date }}.</p>", body);
        let file = world.write(
            "broken.toml",
            &format!("{}{broken}", SHOP.replace("Corner Shop\"\n\n", "Renamed\"\n\n")),
        );
        world.run(&["apply", file.to_str().unwrap()]).exit(3).says(parts);
    }
    assert_eq!(
        world.texts("SELECT name FROM tenants").await,
        ["Corner Shop"],
        "the tenant is as it was"
    );
    assert_eq!(world.count("SELECT count(*) FROM templates").await, 0);
}

#[tokio::test]
async fn secrets_come_from_the_environment_and_are_never_shown() {
    let world = World::new().await;
    let file = world.write(
        "shop.toml",
        &SHOP.replace(
            "\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
            "{ env = \"SHOP_SECRET\" }",
        ),
    );
    let apply = |secret: &str| {
        world
            .run_with(&[("SHOP_SECRET", secret)], &["apply", file.to_str().unwrap()], "")
            .ok()
    };
    let first = apply("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let second = apply("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert!(second.out.contains("credentials: changed"), "{}", second.out);
    for done in [&first, &second] {
        assert!(!done.out.contains("whsec") && !done.err.contains("whsec"));
    }
    let environment = world.write(
        "tidings.env",
        "# secrets\nexport SHOP_SECRET='whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'\n",
    );
    let from_file = [("ENV_FILE", environment.to_str().unwrap())];
    let third = world
        .run_with(&from_file, &["apply", file.to_str().unwrap()], "")
        .ok();
    assert!(third.out.contains("nothing to do"), "{}", third.out);
}

#[tokio::test]
async fn the_documented_file_works_as_it_stands() {
    let page = include_str!("../../../../docs/cli.md");
    let text = page
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let world = World::new().await;
    world.write("reminder.de.html", "<p>Bis {{ due_date }}.</p>");
    let file = world.write("shop.toml", text);
    let secret = [("SHOP_SMTP_PASSWORD", "secret")];
    let applied = world
        .run_with(&secret, &["apply", file.to_str().unwrap()], "")
        .ok();
    assert!(applied.out.contains("4 changed"), "{}", applied.out);
}

#[tokio::test]
async fn a_model_is_applied_and_its_key_is_never_shown() {
    let world = World::new().await;
    let apply = |model: &str, environment: &[(&str, &str)]| {
        let file = world.write("shop.toml", &format!("{SHOP}\n[tenants.model]\n{model}\n"));
        let done = world
            .run_with(environment, &["apply", file.to_str().unwrap()], "")
            .ok();
        assert!(
            !done.out.contains("sk-") && !done.err.contains("sk-"),
            "{}",
            done.out
        );
        done.out
    };
    let small = "kind = \"openai\"\nmodel = \"small\"";
    let first = apply(small, &[("OPENAI_API_KEY", "sk-first")]);
    assert!(first.contains("+ model shop"), "{first}");
    let same = apply(small, &[("OPENAI_API_KEY", "sk-first")]);
    assert!(same.contains("nothing to do"), "{same}");
    let other = apply(small, &[("OPENAI_API_KEY", "sk-second")]);
    assert!(other.contains("api_key: changed"), "{other}");
    // Without a word about the key, the one that is stored stays.
    let kept = apply(&format!("{small}\ntemperature = 0.5"), &[]);
    assert!(
        kept.contains("settings.temperature: null -> 0.5") && !kept.contains("api_key"),
        "{kept}"
    );
    // It does not go to another endpoint, and neither does OpenAI's from the environment.
    let local = "kind = \"openai\"\nmodel = \"small\"\nbase_url = \"http://127.0.0.1:11434/v1\"";
    let moved = apply(local, &[("OPENAI_API_KEY", "sk-second")]);
    assert!(moved.contains("api_key: taken away"), "{moved}");
    let named = apply(
        &format!("{local}\napi_key = {{ env = \"SHOP_KEY\" }}\nenabled = false"),
        &[("SHOP_KEY", "sk-3")],
    );
    assert!(
        named.contains("api_key: given") && named.contains("enabled: true -> false"),
        "{named}"
    );
    let texts = world.texts("SELECT settings::text FROM models").await;
    assert!(
        texts.len() == 1 && !texts[0].contains("sk-") && !texts[0].contains("api_key"),
        "{texts:?}"
    );
}

#[tokio::test]
async fn a_wrong_model_is_refused_with_what_is_right() {
    let world = World::new().await;
    for (model, parts) in [
        (
            "kind = \"oracle\"\nmodel = \"m\"",
            &["model shop", "oracle", "openai"][..],
        ),
        ("kind = \"openai\"", &["model shop", "missing field", "model"]),
        (
            "kind = \"openai\"\nmodel = \"m\"\ntemp = 1",
            &["model shop", "temp"],
        ),
        (
            "kind = \"openai\"\nmodel = \"m\"\ntemperature = 3.0",
            &["temperature", "from 0 to 2"],
        ),
        ("kind = \"anthropic\"\nmodel = \"m\"", &["api_key", "needs one"]),
        (
            "kind = \"openai\"\nmodel = \"m\"\napi_key = { env = \"NO_SUCH\" }",
            &["model.api_key", "NO_SUCH", "not set"],
        ),
    ] {
        let file = world.write("wrong.toml", &format!("{SHOP}\n[tenants.model]\n{model}\n"));
        world.run(&["apply", file.to_str().unwrap()]).exit(3).says(parts);
    }
    assert_eq!(tenants(&world).await, 0, "half a tenant was left");
}
