//! Mail that comes back: believed as far as its address proves, applied once, by the same job as webhooks.

use crate::hooks::{self, events, picture, suppressions};
use crate::world::{World, welcome};
use serde_json::json;
use tidings_core::{Channel, ConnectionId, ContactId, MessageId, MessageStatus, ProviderKind};
use tidings_engine::MailTaken;
use tidings_engine::providers::smtp::verp::{self, Purpose};

const DOMAIN: &str = "bounce.acme.example";
const KEY: &str = "the bounce key of acme";

struct Back {
    world: World,
    connection: ConnectionId,
    ann: ContactId,
    message: MessageId,
    reference: String,
}

async fn smtp(world: &mut World, name: &str, key: &str) -> ConnectionId {
    let config = json!({
        "host": "127.0.0.1", "tls": "none", "from_email": "news@bounce.acme.example",
        "bounce_domain": DOMAIN, "reply_domain": DOMAIN,
    });
    let credentials = json!({"bounce_key": key});
    hooks::connect(
        world,
        name,
        ProviderKind::Smtp,
        Channel::Email,
        config,
        credentials,
    )
    .await
}

/// A message that went to Ann over an SMTP connection.
async fn back() -> Back {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let message = world.accept(welcome(ann)).await.unwrap().message_id;
    world.run().await;
    let connection = smtp(&mut world, "relay", KEY).await;
    // What the sandbox took counts as taken by the relay: the way back is what is tested.
    world
        .database
        .execute(&format!("UPDATE attempts SET connection_id = '{connection}'"))
        .await;
    let reference = hooks::reference(&world, message).await;
    Back {
        world,
        connection,
        ann,
        message,
        reference,
    }
}

impl Back {
    fn bounces(&self) -> String {
        verp::address(Purpose::Bounce, &self.reference, KEY.as_bytes(), DOMAIN).unwrap()
    }

    fn answers(&self) -> String {
        verp::address(Purpose::Reply, &self.reference, KEY.as_bytes(), DOMAIN).unwrap()
    }

    /// Hands a mail in and lets the job read it.
    async fn take(&self, from: &str, to: &str, raw: &str) -> MailTaken {
        let recipient = self.world.engine.mail_recipient(to).await.unwrap().unwrap();
        let raw = raw.replace('\n', "\r\n");
        let taken = self
            .world
            .engine
            .receive_mail(&recipient, from, raw.as_bytes())
            .await
            .unwrap();
        self.world.run().await;
        taken
    }

    async fn status(&self) -> MessageStatus {
        self.world.explain(self.message).await.status
    }

    async fn inbound(&self) -> Vec<String> {
        let query = "SELECT concat(coalesce(contact_id::text, 'nobody'), ' ', coalesce(in_reply_to::text, 'nothing'), ' ',
            automatic) FROM inbound_messages ORDER BY id";
        self.world.database.texts(query).await
    }

    async fn reported(&self) -> Vec<String> {
        let query = "SELECT concat(kind, coalesce(' ' || bounce_class, '')) FROM delivery_events
            WHERE connection_id <> '00000000-0000-0000-0000-000000000000' ORDER BY received_at, id";
        self.world.database.texts(query).await
    }
}

fn dsn(recipient: &str, action: &str, status: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.example.com\nTo: <x@y>\nSubject: Delivery Status\nMIME-Version: 1.0\n\
         Auto-Submitted: auto-replied\nContent-Type: multipart/report; report-type=delivery-status; boundary=b1\n\n\
         --b1\nContent-Type: text/plain\n\nIt could not be delivered.\n\n\
         --b1\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.com\n\n\
         Final-Recipient: rfc822; {recipient}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: smtp; 550 {status} no\n\n\
         --b1--\n"
    )
}

fn feedback(kind: &str, recipient: &str) -> String {
    format!(
        "From: fbl@mail.example\nTo: <x@y>\nSubject: complaint\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=b1\n\n\
         --b1\nContent-Type: text/plain\n\nA complaint.\n\n\
         --b1\nContent-Type: message/feedback-report\n\nFeedback-Type: {kind}\nVersion: 1\nUser-Agent: x/1\n\
         Original-Rcpt-To: <{recipient}>\n\n--b1--\n"
    )
}

fn letter(from: &str, more: &str) -> String {
    format!("From: Ann <{from}>\nTo: <x@y>\nMessage-ID: <1@example.com>\n{more}\n\nI will come at five.\n")
}

#[tokio::test]
async fn a_hard_bounce_suppresses_and_is_applied_once() {
    let back = back().await;
    let mail = dsn("ann@example.com", "failed", "5.1.1");
    assert_eq!(back.take("", &back.bounces(), &mail).await, MailTaken::Stored);
    assert_eq!(back.status().await, MessageStatus::Bounced);
    assert_eq!(suppressions(&back.world).await, ["email hard_bounce"]);
    assert_eq!(back.reported().await, ["bounced hard"]);
    let before = picture(&back.world).await;
    assert_eq!(back.take("", &back.bounces(), &mail).await, MailTaken::Known);
    // The same report by another way round differs in a line, and says nothing new.
    let again = format!("Received: by another server\n{mail}");
    assert_eq!(back.take("", &back.bounces(), &again).await, MailTaken::Stored);
    assert_eq!(picture(&back.world).await, before);
}

#[tokio::test]
async fn soft_bounces_delays_and_blocks_suppress_nobody() {
    for (action, status, reported, expect) in [
        ("failed", "5.2.2", "bounced soft", MessageStatus::Bounced),
        ("failed", "5.7.1", "bounced block", MessageStatus::Bounced),
        ("delayed", "4.4.1", "deferred", MessageStatus::Sent),
    ] {
        let back = back().await;
        back.take("", &back.bounces(), &dsn("ann@example.com", action, status))
            .await;
        assert_eq!(back.status().await, expect, "{action} {status}");
        assert_eq!(back.reported().await, [reported]);
        assert!(suppressions(&back.world).await.is_empty(), "{action} {status}");
    }
}

#[tokio::test]
async fn a_report_about_somebody_else_changes_nothing() {
    let mut back = back().await;
    back.world.contact(Some("bob@example.com"), None).await;
    let before = picture(&back.world).await;
    for mail in [
        dsn("bob@example.com", "failed", "5.1.1"),
        dsn("nobody@example.com", "failed", "5.1.1"),
        feedback("abuse", "bob@example.com"),
    ] {
        back.take("", &back.bounces(), &mail).await;
        assert_eq!(picture(&back.world).await, before);
    }
}

#[tokio::test]
async fn what_proves_nothing_is_no_recipient() {
    let back = back().await;
    let forged = verp::address(
        Purpose::Bounce,
        &back.reference,
        b"a key that was guessed",
        DOMAIN,
    )
    .unwrap();
    let exchanged = back.answers().replacen("r+", "b+", 1);
    let elsewhere = back.bounces().replace(DOMAIN, "mail.example");
    for address in [
        forged.as_str(),
        &exchanged,
        &elsewhere,
        "ann@example.com",
        "postmaster@bounce.acme.example",
        "b+x@bounce.acme.example",
        "nonsense",
        "@",
        "",
        &"a".repeat(400),
    ] {
        let found = back.world.engine.mail_recipient(address).await.unwrap();
        assert!(found.is_none(), "{address}");
    }
}

#[tokio::test]
async fn another_tenants_token_reaches_nothing_of_ours() {
    let mut back = back().await;
    let acme = back.world.tenant;
    back.world.tenant = back.world.make_tenant("other").await;
    smtp(&mut back.world, "relay", "the bounce key of another").await;
    back.world.tenant = acme;
    let before = picture(&back.world).await;
    // They know the reference and prove it with their own key: it is none of their deliveries.
    let theirs = verp::address(
        Purpose::Bounce,
        &back.reference,
        b"the bounce key of another",
        DOMAIN,
    )
    .unwrap();
    back.take("", &theirs, &dsn("ann@example.com", "failed", "5.1.1"))
        .await;
    assert_eq!(picture(&back.world).await, before);
    // And the shared domain does not hide ours.
    back.take("", &back.bounces(), &dsn("ann@example.com", "failed", "5.1.1"))
        .await;
    assert_eq!(back.status().await, MessageStatus::Bounced);
}

#[tokio::test]
async fn another_connections_token_reaches_nothing() {
    let mut back = back().await;
    smtp(&mut back.world, "second relay", "the key of the second relay").await;
    let before = picture(&back.world).await;
    let other = verp::address(
        Purpose::Bounce,
        &back.reference,
        b"the key of the second relay",
        DOMAIN,
    )
    .unwrap();
    back.take("", &other, &dsn("ann@example.com", "failed", "5.1.1"))
        .await;
    assert_eq!(picture(&back.world).await, before);
    assert!(back.reported().await.is_empty(), "{}", back.connection);
}

#[tokio::test]
async fn a_complaint_suppresses_and_not_spam_does_not() {
    let back = back().await;
    let before = picture(&back.world).await;
    back.take("", &back.bounces(), &feedback("not-spam", "ann@example.com"))
        .await;
    assert_eq!(picture(&back.world).await, before);
    back.take("", &back.bounces(), &feedback("abuse", "ann@example.com"))
        .await;
    assert_eq!(suppressions(&back.world).await, ["email complaint"]);
    assert_eq!(back.reported().await, ["complained"]);
}

#[tokio::test]
async fn out_of_office_is_recorded_and_stops_nothing() {
    let back = back().await;
    let status = back.status().await;
    let mail = letter(
        "ann@example.com",
        "Auto-Submitted: auto-replied\nSubject: Out of office",
    );
    back.take("", &back.bounces(), &mail).await;
    assert_eq!(back.inbound().await, [format!("{} {} t", back.ann, back.message)]);
    assert!(suppressions(&back.world).await.is_empty());
    assert!(back.reported().await.is_empty());
    assert_eq!(back.status().await, status);
}

#[tokio::test]
async fn a_reply_is_joined_by_its_token() {
    let back = back().await;
    back.take(
        "ann@example.com",
        &back.answers(),
        &letter("ann@example.com", "Subject: Re: hello"),
    )
    .await;
    assert_eq!(back.inbound().await, [format!("{} {} f", back.ann, back.message)]);
    assert_eq!(back.status().await, MessageStatus::Delivered);
    assert_eq!(events(&back.world, "MessageReceived").await, 1);
}

#[tokio::test]
async fn a_reply_in_anothers_name_is_kept_and_concludes_nothing() {
    let mut back = back().await;
    back.world.contact(Some("mallory@example.com"), None).await;
    let status = back.status().await;
    back.take(
        "m@example.com",
        &back.answers(),
        &letter("mallory@example.com", "Subject: Re: hello"),
    )
    .await;
    assert_eq!(back.inbound().await, [format!("nobody {} f", back.message)]);
    assert_eq!(back.status().await, status);
    assert_eq!(events(&back.world, "MessageReceived").await, 0);
}

#[tokio::test]
async fn a_reply_to_our_own_address_is_joined_by_what_it_names() {
    let back = back().await;
    let ours = format!("In-Reply-To: <{}@tidings.example>", back.message.0.simple());
    back.take(
        "ann@example.com",
        "news@bounce.acme.example",
        &letter("ann@example.com", &ours),
    )
    .await;
    let foreign = "In-Reply-To: <0197a2b0000070008000000000000001@tidings.example>";
    let mail = letter("ann@example.com", foreign).replace("<1@", "<2@");
    back.take("ann@example.com", "news@bounce.acme.example", &mail)
        .await;
    // Both came in the same instant.
    let mut inbound = back.inbound().await;
    inbound.sort();
    let mut joined = [
        format!("{} {} f", back.ann, back.message),
        format!("{} nothing f", back.ann),
    ];
    joined.sort();
    assert_eq!(inbound, joined);
    // Reports are for return paths: elsewhere they prove nothing, in whatever form, and whatever message they name.
    let before = picture(&back.world).await;
    let old_form = format!(
        "From: MAILER-DAEMON@x.example\nSubject: failure notice\n\n<ann@example.com>: 550 5.1.1 user unknown\n\n\
         Message-ID: <{}@tidings.example>\n",
        back.message.0.simple()
    );
    for address in ["news@bounce.acme.example".to_owned(), back.answers()] {
        for mail in [&dsn("ann@example.com", "failed", "5.1.1"), &old_form] {
            back.take("", &address, mail).await;
            assert_eq!(picture(&back.world).await, before);
        }
    }
}

#[tokio::test]
async fn unsubscribing_by_mail_is_for_the_recipient_only() {
    let mut back = back().await;
    back.world.contact(Some("mallory@example.com"), None).await;
    let mail = |from: &str| letter(from, "Subject: unsubscribe");
    back.take("m@example.com", &back.answers(), &mail("mallory@example.com"))
        .await;
    assert!(suppressions(&back.world).await.is_empty());
    back.take("ann@example.com", &back.answers(), &mail("ann@example.com"))
        .await;
    assert_eq!(suppressions(&back.world).await, ["email unsubscribe"]);
}

/// Mail made to be hard to read is read to an end, whatever it says, and changes nothing.
#[tokio::test]
async fn hostile_mail_changes_nothing() {
    let back = back().await;
    let before = picture(&back.world).await;
    let levels: Vec<String> = (0..20_000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n"))
        .collect();
    let nested = levels.concat();
    let forwarded = "Content-Type: message/rfc822\n\n".repeat(20_000);
    let parts = format!(
        "Content-Type: multipart/mixed; boundary=b\n\n{}",
        "--b\nContent-Type: text/plain\n\nx\n".repeat(100_000)
    );
    let header = format!("Subject: {}\n\nx\n", "a ".repeat(1_000_000));
    let garbage: String = (0..200_000u32)
        .map(|n| char::from_u32(n.wrapping_mul(7919) % 0x2fff).unwrap_or('\n'))
        .collect();
    for (name, mail) in [
        ("nested", &nested),
        ("forwarded", &forwarded),
        ("parts", &parts),
        ("header", &header),
        ("garbage", &garbage),
    ] {
        let mail =
            format!("From: MAILER-DAEMON@x.example\nAuto-Submitted: auto-replied\nX-Case: {name}\n{mail}");
        back.take("", &back.bounces(), &mail).await;
        assert!(suppressions(&back.world).await.is_empty(), "{name}");
    }
    let events = |picture: Vec<String>| picture.len();
    assert!(events(picture(&back.world).await) >= events(before));
}
