//! SMTP on the wire.

use super::provider;
use crate::contract::{
    Attachment, Content, EmailContent, MailAddress, Provider, Rejection, SendOutcome, Submission,
};
use crate::egress::{Egress, EgressPolicy};
use crate::samples;
use crate::smtp::dkim::Signer;
use crate::stand_in::smtp::{AfterDot, Mail, Script, SmtpStandIn};
use mail_parser::{MessageParser, MimeHeaders};
use serde_json::{Value, json};
use std::sync::Arc;
use tidings_core::redact::Private;
use tidings_core::{ErrorCategory, ProviderKind};

fn smtp(stand_in: &SmtpStandIn, more: &Value, credentials: &Value) -> Arc<dyn Provider> {
    let mut settings = json!({
        "host": "127.0.0.1", "port": stand_in.port(), "tls": "none", "from_email": "shop@brand.test",
        "from_name": "Bränd", "timeout_s": 1
    });
    for (key, value) in more.as_object().unwrap() {
        settings[key] = value.clone();
    }
    provider(ProviderKind::Smtp, settings, credentials)
}

fn with(change: impl FnOnce(&mut EmailContent)) -> Submission {
    let mut submission = samples::email("bob@example.com");
    let Content::Email(mut email) = submission.content.into_exposed() else {
        unreachable!()
    };
    change(&mut email);
    submission.content = Private::new(Content::Email(email));
    submission
}

async fn send_one(submission: &Submission) -> Mail {
    let stand_in = SmtpStandIn::start(Script::default());
    let outcome = smtp(&stand_in, &json!({}), &json!({})).send(submission).await;
    assert_eq!(
        outcome,
        SendOutcome::Accepted {
            provider_message_id: Some("4C1234".to_owned())
        }
    );
    stand_in.mails().remove(0)
}

async fn rejected(script: Script, more: &Value, credentials: &Value) -> Rejection {
    let stand_in = SmtpStandIn::start(script);
    match smtp(&stand_in, more, credentials)
        .send(&samples::email("bob@example.com"))
        .await
    {
        SendOutcome::Rejected(no) => no,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_has_its_headers_and_parts() {
    let submission = with(|email| {
        email.subject = "Grüße, your order".to_owned();
        email.unsubscribe_url = Some(format!("https://brand.test/u/{}", "a".repeat(200)));
        email.in_reply_to = Some("<m-41@brand.test>".to_owned());
        email.reply_to = Some("help@brand.test".to_owned());
        for (name, id) in [("logo.png", Some("logo")), ("räk.pdf", None)] {
            email.attachments.push(Attachment {
                filename: name.to_owned(),
                content_type: "application/octet-stream".to_owned(),
                content_base64: "AAEC".to_owned(),
                content_id: id.map(str::to_owned),
            });
        }
    });
    let mail = send_one(&submission).await;
    assert_eq!(mail.commands[0], "EHLO brand.test");
    assert!(
        mail.commands
            .iter()
            .any(|c| c.starts_with("MAIL FROM:<shop@brand.test>"))
    );
    assert!(mail.commands.contains(&"RCPT TO:<bob@example.com>".to_owned()));
    let message = MessageParser::default().parse(mail.data.as_bytes()).unwrap();
    assert_eq!(message.subject(), Some("Grüße, your order"));
    assert_eq!(message.message_id(), Some("0197.1@brand.test"));
    assert_eq!(message.from().unwrap().first().unwrap().name(), Some("Bränd"));
    let header = |name: &'static str| message.header_raw(name).map(str::trim).map(str::to_owned);
    let unsubscribe = format!("<https://brand.test/u/{}>", "a".repeat(200));
    assert_eq!(header("List-Unsubscribe"), Some(unsubscribe));
    assert_eq!(
        header("List-Unsubscribe-Post").as_deref(),
        Some("List-Unsubscribe=One-Click")
    );
    assert_eq!(header("Auto-Submitted").as_deref(), Some("auto-generated"));
    assert!(header("Date").is_some() && header("MIME-Version").as_deref() == Some("1.0"));
    assert_eq!(mail.data.matches("List-Unsubscribe:").count(), 1);
    assert_eq!(message.body_text(0).unwrap().trim(), "Ready.");
    assert_eq!(message.body_html(0).unwrap().trim(), "<p>Ready.</p>");
    let names: Vec<_> = message
        .attachments()
        .filter_map(|part| part.attachment_name())
        .collect();
    assert!(names.contains(&"räk.pdf"), "{names:?}");
    assert!(
        message
            .attachments()
            .any(|part| part.content_id() == Some("logo"))
    );
    assert!(mail.data.lines().all(|line| line.len() <= 998));
}

#[tokio::test]
async fn dots_and_bare_line_ends_do_not_smuggle() {
    let mail = send_one(&with(|email| {
        email.html = None;
        email.text = "a\n.\r\nMAIL FROM:<x@y>\r.\nb".to_owned();
    }))
    .await;
    let message = MessageParser::default().parse(mail.data.as_bytes()).unwrap();
    assert_eq!(
        message.body_text(0).unwrap().trim_end(),
        "a\r\n.\r\nMAIL FROM:<x@y>\r\n.\r\nb"
    );
}

#[tokio::test]
async fn connections_are_used_again_and_replaced_when_the_server_ended_them() {
    let stand_in = SmtpStandIn::start(Script::default());
    let provider = smtp(&stand_in, &json!({}), &json!({}));
    for _ in 0..3 {
        assert!(matches!(
            provider.send(&samples::email("bob@example.com")).await,
            SendOutcome::Accepted { .. }
        ));
    }
    assert_eq!((stand_in.mails().len(), stand_in.connections()), (3, 1));
    let impatient = SmtpStandIn::start(Script {
        messages_per_connection: Some(1),
        ..Script::default()
    });
    let provider = smtp(&impatient, &json!({}), &json!({}));
    for _ in 0..3 {
        assert!(matches!(
            provider.send(&samples::email("bob@example.com")).await,
            SendOutcome::Accepted { .. }
        ));
    }
    assert_eq!((impatient.mails().len(), impatient.connections()), (3, 3));
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_usable() {
    let stand_in = SmtpStandIn::start(Script {
        rcpt: "550 5.1.1 no",
        ..Script::default()
    });
    let provider = smtp(&stand_in, &json!({}), &json!({}));
    for _ in 0..2 {
        assert!(matches!(
            provider.send(&samples::email("bob@example.com")).await,
            SendOutcome::Rejected(_)
        ));
    }
    assert_eq!(stand_in.connections(), 1);
}

#[tokio::test]
async fn before_the_final_dot_nothing_was_taken() {
    let big = with(|email| email.text = "x y z\r\n".repeat(1_000_000));
    let stand_in = SmtpStandIn::start(Script {
        close_after_bytes: Some(1_000),
        ..Script::default()
    });
    let outcome = smtp(&stand_in, &json!({ "timeout_s": 20 }), &json!({}))
        .send(&big)
        .await;
    let SendOutcome::Rejected(no) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(no.category, ErrorCategory::Transient, "{no:?}");
    assert!(no.detail.contains("before the final dot"), "{no:?}");
    let stand_in = SmtpStandIn::start(Script {
        after_dot: AfterDot::Close,
        ..Script::default()
    });
    let outcome = smtp(&stand_in, &json!({}), &json!({}))
        .send(&samples::email("bob@example.com"))
        .await;
    assert!(matches!(outcome, SendOutcome::Unknown { .. }), "{outcome:?}");
}

#[tokio::test]
async fn tls_is_verified_both_ways_of_starting_it() {
    let login = json!({ "password": "s3cret" });
    for (mode, script) in [
        (
            "starttls",
            Script {
                extensions: vec!["STARTTLS", "AUTH PLAIN LOGIN"],
                ..Script::default()
            },
        ),
        (
            "tls",
            Script {
                tls: true,
                extensions: vec!["AUTH PLAIN LOGIN"],
                ..Script::default()
            },
        ),
    ] {
        let stand_in = SmtpStandIn::start(script);
        let provider = smtp(
            &stand_in,
            &json!({ "tls": mode, "host": "localhost", "username": "u" }),
            &login,
        );
        let outcome = provider.send(&samples::email("bob@example.com")).await;
        assert!(
            matches!(outcome, SendOutcome::Accepted { .. }),
            "{mode}: {outcome:?}"
        );
        let mail = stand_in.mails().remove(0);
        assert!(
            mail.encrypted && mail.commands.iter().any(|c| c.starts_with("AUTH PLAIN ")),
            "{mode}"
        );
        assert!(provider.check().await.ok);
        assert!(!format!("{provider:?}").contains("s3cret"));
    }
    // The same server, without its authority among the trusted ones.
    let stand_in = SmtpStandIn::start(Script {
        tls: true,
        ..Script::default()
    });
    let wary = Egress::new(EgressPolicy::for_stand_ins()).unwrap();
    let settings = json!({
        "host": "localhost", "port": stand_in.port(), "tls": "tls", "from_email": "shop@brand.test", "timeout_s": 1
    });
    let provider = super::provider_over(&wary, ProviderKind::Smtp, settings, &json!({}));
    let outcome = provider.send(&samples::email("bob@example.com")).await;
    assert!(
        matches!(&outcome, SendOutcome::Rejected(no) if no.detail.contains("TLS")),
        "{outcome:?}"
    );
    assert!(stand_in.mails().is_empty());
}

/// Signed with fixed keys over a fixed message. Both signatures were verified with dkimpy 1.1.8 when the file was
/// made; RSA PKCS #1 v1.5 and Ed25519 give the same bytes every time.
#[test]
fn dkim_signatures_are_those_that_another_implementation_verified() {
    let message = include_bytes!("../../tests/dkim_unsigned.eml");
    let rsa = Signer::new("brand.test", "rsa", include_str!("../../tests/dkim_test_rsa.pem")).unwrap();
    let ed25519 = Signer::new("brand.test", "ed", "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=").unwrap();
    let signed = format!("{}{}", rsa.sign(message).unwrap(), ed25519.sign(message).unwrap());
    assert_eq!(signed, include_str!("../../tests/dkim_signatures.txt"));
}

#[tokio::test]
async fn mail_is_signed_when_keys_are_set() {
    let stand_in = SmtpStandIn::start(Script::default());
    let dkim = json!({ "dkim": [{ "domain": "brand.test", "selector": "s1" }] });
    let keys = json!({ "dkim_private_keys": { "s1": "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=" } });
    let provider = smtp(&stand_in, &dkim, &keys);
    provider
        .send(&with(|email| {
            email.unsubscribe_url = Some("https://brand.test/u/1".to_owned());
        }))
        .await;
    let mail = stand_in.mails().remove(0);
    let signer = Signer::new("brand.test", "s1", "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=").unwrap();
    let (_, unsigned) = mail.data.split_once("\r\nFrom: ").unwrap();
    let again = signer.sign(format!("From: {unsigned}").as_bytes()).unwrap();
    assert!(mail.data.starts_with(&again), "{}", mail.data);
    assert!(
        again.contains("List-Unsubscribe:\r\n\t List-Unsubscribe-Post"),
        "{again}"
    );
}

#[tokio::test]
async fn a_server_without_starttls_gets_nothing() {
    let no = rejected(
        Script::default(),
        &json!({ "tls": "starttls", "host": "localhost" }),
        &json!({}),
    )
    .await;
    assert_eq!(
        (no.category, no.code.as_str()),
        (ErrorCategory::AuthFailure, "no_starttls")
    );
}

#[tokio::test]
async fn a_wrong_password_is_the_connections_failure() {
    let script = Script {
        extensions: vec!["AUTH PLAIN"],
        auth: "535 5.7.8 bad credentials",
        ..Script::default()
    };
    let no = rejected(
        script,
        &json!({ "username": "u" }),
        &json!({ "password": "wrong" }),
    )
    .await;
    assert_eq!(
        (no.category, no.code.as_str()),
        (ErrorCategory::AuthFailure, "535 5.7.8")
    );
    let no = rejected(
        Script::default(),
        &json!({ "username": "u" }),
        &json!({ "password": "wrong" }),
    )
    .await;
    assert_eq!(
        (no.category, no.code.as_str()),
        (ErrorCategory::AuthFailure, "no_auth")
    );
}

#[tokio::test]
async fn addresses_that_are_not_ascii_need_smtputf8() {
    let stand_in = SmtpStandIn::start(Script::default());
    let provider = smtp(&stand_in, &json!({}), &json!({}));
    let SendOutcome::Rejected(no) = provider.send(&samples::email("zoë@example.com")).await else {
        panic!()
    };
    assert_eq!(
        (no.category, no.code.as_str()),
        (ErrorCategory::Permanent, "smtputf8")
    );
    // The domain alone is written in its ASCII form.
    assert!(matches!(
        provider.send(&samples::email("bob@bücher.example")).await,
        SendOutcome::Accepted { .. }
    ));
    assert!(
        stand_in.mails()[0]
            .commands
            .contains(&"RCPT TO:<bob@xn--bcher-kva.example>".to_owned())
    );
}

#[tokio::test]
async fn bounces_find_their_message() {
    let stand_in = SmtpStandIn::start(Script::default());
    let key = "a bounce key of some length";
    let provider = smtp(
        &stand_in,
        &json!({ "bounce_domain": "bounce.brand.test" }),
        &json!({ "bounce_key": key }),
    );
    let submission = samples::email("bob@example.com");
    provider.send(&submission).await;
    let mail = stand_in.mails().remove(0);
    let from = mail
        .commands
        .iter()
        .find_map(|c| c.strip_prefix("MAIL FROM:<"))
        .unwrap();
    let address = from.split('>').next().unwrap();
    let reference = submission.reference.clone();
    assert_eq!(
        provider.mail_address(address),
        Some(MailAddress::Bounce { reference })
    );
    let other = smtp(
        &stand_in,
        &json!({ "bounce_domain": "bounce.brand.test" }),
        &json!({ "bounce_key": "another bounce key of some length" }),
    );
    assert_eq!(other.mail_address(address), None);
    assert_eq!(provider.mail_address("b+x-y@bounce.brand.test"), None);
    assert_eq!(provider.mail_address("shop@brand.test"), None);
}

#[tokio::test]
async fn answers_find_their_message() {
    let stand_in = SmtpStandIn::start(Script::default());
    let provider = smtp(
        &stand_in,
        &json!({ "reply_domain": "brand.test" }),
        &json!({ "bounce_key": "a bounce key of some length" }),
    );
    let submission = with(|email| email.reply_to = None);
    provider.send(&submission).await;
    let reply_to = |mail: &str| {
        mail.lines()
            .find_map(|line| line.strip_prefix("Reply-To: "))
            .map(|to| to.trim().rsplit('<').next().unwrap().trim_matches('>').to_owned())
    };
    let data = stand_in.mails()[0].data.replace("\r\n ", " ");
    let address = reply_to(&data).unwrap();
    let reference = submission.reference.clone();
    assert_eq!(
        provider.mail_address(&address),
        Some(MailAddress::Reply { reference })
    );
    // As a return path it proves nothing, and one's own address is known to everybody.
    assert_eq!(provider.mail_address(&address.replacen("r+", "b+", 1)), None);
    assert_eq!(provider.mail_address("Shop@Brand.test"), Some(MailAddress::Own));
    // A reply address that the message names stays.
    let submission = with(|email| email.reply_to = Some("desk@brand.test".to_owned()));
    provider.send(&submission).await;
    let data = stand_in.mails()[1].data.clone();
    assert_eq!(reply_to(&data).as_deref(), Some("desk@brand.test"));
}

#[test]
fn settings_that_cannot_work_are_named() {
    use crate::config::{ConnectionConfig, Credentials, build};
    let base = json!({ "host": "mail.brand.test", "from_email": "shop@brand.test" });
    let cases = [
        (json!({ "tls": "none" }), "settings.tls"),
        (json!({ "host": "http://x" }), "settings.host"),
        (json!({ "username": "u" }), "settings.username"),
        (json!({ "bounce_domain": "b.test" }), "credentials.bounce_key"),
        (json!({ "timeout_s": 0 }), "settings.timeout_s"),
        (json!({ "from_email": "nobody" }), "settings.from_email"),
        (
            json!({ "dkim": [{ "domain": "brand.test", "selector": "s1" }] }),
            "credentials.dkim_private_keys",
        ),
    ];
    for (change, place) in cases {
        let mut settings = base.clone();
        for (key, value) in change.as_object().unwrap() {
            settings[key] = value.clone();
        }
        let config = ConnectionConfig {
            kind: ProviderKind::Smtp,
            channel: tidings_core::Channel::Email,
            settings,
            credentials: Credentials::none(),
        };
        let capture = Arc::new(crate::sandbox::MemoryCapture::new());
        let error = build(&config, &super::egress(), capture).unwrap_err();
        assert!(error.place.contains(place), "{error}");
    }
}
