//! `mail receive`: what a mail server's pipe is told by the exit code.

use crate::world::World;

const CONNECTION: &str = r#"
[[tenants]]
slug = "shop"
name = "Corner Shop"

[[tenants.connections]]
name = "relay"
provider = "smtp"
channel = "email"
settings = { host = "127.0.0.1", tls = "none", from_email = "hello@bounce.shop.example", bounce_domain = "bounce.shop.example", reply_domain = "bounce.shop.example" }
credentials = { bounce_key = "a bounce key of some length" }
"#;

const LETTER: &str = "From: Kim <kim@example.com>\r\nMessage-ID: <1@example.com>\r\nSubject: a question\r\n\r\nWhen do you open?\r\n";

fn receive(world: &World, to: &str, mail: &str) -> crate::world::Done {
    let args = ["mail", "receive", "--from", "kim@example.com", "--to", to];
    world.run_with(&[], &args, mail)
}

#[tokio::test]
async fn the_exit_code_tells_the_mail_server() {
    let world = World::new().await;
    world.apply(CONNECTION).ok();
    let own = "hello@bounce.shop.example";
    assert_eq!(receive(&world, own, LETTER).ok().out.trim(), "stored");
    assert_eq!(receive(&world, own, LETTER).ok().out.trim(), "known");
    assert_eq!(
        world
            .count("SELECT count(*) FROM webhook_inbox WHERE processed_at IS NULL")
            .await,
        1
    );
    for unknown in [
        "b+0197a2b0-0000-7000-8000-000000000001-1-00000000000000000000@bounce.shop.example",
        "hello@elsewhere.example",
        "nonsense",
        "",
    ] {
        receive(&world, unknown, LETTER).exit(67).says(&["5.1.1"]);
    }
    receive(&world, own, "").exit(65).says(&["no mail"]);
    let huge = "x".repeat(25 * 1024 * 1024 + 1);
    receive(&world, own, &huge)
        .exit(65)
        .says(&["25"])
        .says(&["not taken"]);
    // The address is on nobody's screen.
    let away = [("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")];
    let args = ["mail", "receive", "--to", own];
    let told = world
        .run_with(&away, &args, LETTER)
        .exit(75)
        .says(&["try again later"]);
    assert!(!told.err.contains("kim@example.com"), "{}", told.err);

    let wrong = [("POLL_INTERVAL_MS", "soon")];
    world
        .run_with(&wrong, &args, LETTER)
        .exit(75)
        .says(&["POLL_INTERVAL_MS"]);

    // A connection that cannot be used keeps mail at its sender; mended, it takes it.
    let stop = LETTER.replace("a question", "Unsubscribe").replace("<1@", "<2@");
    world
        .database()
        .execute("UPDATE connections SET config = config || '{\"tls\": \"sometimes\"}'")
        .await;
    receive(&world, own, &stop).exit(75).says(&["cannot be used"]);
    world
        .database()
        .execute("UPDATE connections SET config = config || '{\"tls\": \"none\"}'")
        .await;
    // A wish to be left alone holds when the pipe has its answer.
    receive(&world, own, &stop).ok();
    let left = "SELECT count(*) FROM suppressions WHERE reason = 'unsubscribe' AND lifted_at IS NULL";
    assert_eq!(world.count(left).await, 1);

    // A serving process reads it.
    let _serving = world.serve(&[]);
    crate::world::until(&world, "SELECT count(*) FROM inbound_messages", 2).await;
}
