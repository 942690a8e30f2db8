//! A real Postfix takes our mail, and what it returns by itself comes in through our own listener, over STARTTLS, and is read.

use super::{egress_by, policy, provider_over};
use crate::bounce::{Envelope, MailKind, StatusClass, read_inbound, reported};
use crate::contract::{MailAddress, Provider, RejectionEffect, SendOutcome, SuppressBecause};
use crate::egress::EgressPolicy;
use crate::samples;
use crate::stand_in::smtp::{Script, SmtpStandIn};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_core::{ErrorCategory, ProviderKind};
use tidings_mail::{Bounds, Certificate, Later, Mail, Post, TlsFiles, serve};
use tidings_testkit::{Postfix, PostfixJob};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// The longest a mail may take from Postfix's queue to us; a returned one waits in it for seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// A port where nobody listens, now or later: a free one may be taken by another test before Postfix gives up.
const NOBODY: u16 = 1;

/// Takes mail for the customer and for whatever address the connection calls its own.
struct Desk {
    connection: Arc<dyn Provider>,
    mails: UnboundedSender<Mail>,
}

impl Post for Desk {
    async fn knows(&self, recipient: &str) -> Result<bool, Later> {
        Ok(recipient == "bob@customers.test" || self.connection.mail_address(recipient).is_some())
    }

    async fn keep(&self, mail: &Mail) -> Result<(), Later> {
        self.mails
            .send(mail.clone())
            .map_err(|_| Later("the test has ended".to_owned()))
    }
}

/// The next mail that comes in.
async fn next(mails: &mut UnboundedReceiver<Mail>, postfix: &Postfix) -> Mail {
    match tokio::time::timeout(PATIENCE, mails.recv()).await {
        Ok(Some(mail)) => mail,
        _ => panic!("no mail came back:\n{}", postfix.log()),
    }
}

/// What a mail that came back says: its kind, and of the first recipient address, status and class.
struct Returned {
    kind: MailKind,
    address: Option<String>,
    status: Option<String>,
    class: Option<StatusClass>,
    event: DeliveryEventKind,
    bounce_class: Option<BounceClass>,
    suppress: Option<SuppressBecause>,
}

fn returned(mail: &Mail, connection: &dyn Provider, reference: &str) -> Returned {
    let rcpt_to = mail.to[0].as_str();
    assert_eq!(mail.from, "", "reports have no sender");
    let proved = MailAddress::Bounce {
        reference: reference.to_owned(),
    };
    assert_eq!(connection.mail_address(rcpt_to), Some(proved));
    let envelope = Envelope {
        mail_from: &mail.from,
        rcpt_to,
    };
    let content = read_inbound(&mail.raw, &envelope).unwrap();
    assert!(content.is_report);
    assert_eq!(
        content.report.original_message_id.as_deref(),
        Some("<0197.1@brand.test>")
    );
    let [recipient] = &content.report.recipients[..] else {
        panic!("{:?}", content.report)
    };
    let events = reported(&content.report, reference, "digest");
    let [event] = &events[..] else {
        panic!("{events:?}")
    };
    Returned {
        kind: content.report.kind,
        address: recipient.address.as_ref().map(|address| address.expose().clone()),
        status: recipient.status.clone(),
        class: recipient.class,
        event: event.kind,
        bounce_class: event.bounce_class,
        suppress: event.suppress,
    }
}

struct Stage {
    postfix: Postfix,
    connection: Arc<dyn Provider>,
    mails: UnboundedReceiver<Mail>,
    stop: CancellationToken,
    /// The servers behind Postfix that refuse what it hands on.
    _behind: [SmtpStandIn; 3],
}

/// Our listener, the servers behind Postfix, Postfix, and a connection to it; none where there is no Postfix.
async fn stage() -> Option<Stage> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = listener.local_addr().unwrap().port();
    let behind = [
        "550 5.1.1 no such mailbox here",
        "552 5.2.2 the mailbox is full",
        "554 5.7.1 not wanted",
    ]
    .map(|rcpt| {
        SmtpStandIn::start(Script {
            rcpt,
            ..Script::default()
        })
    });
    let job = PostfixJob {
        certificate: include_str!("../../tests/tls/cert.pem"),
        key: include_str!("../../tests/tls/key.pem"),
        recipients: &[
            ("bob@customers.test", ours),
            ("gone@customers.test", behind[0].port()),
            ("full@customers.test", behind[1].port()),
            ("guarded@customers.test", behind[2].port()),
            ("unreachable@customers.test", NOBODY),
        ],
        returns: ("bounce.brand.test", ours),
    };
    let postfix = Postfix::start(&job).unwrap()?;
    let connection = connection(postfix.port(), "starttls");
    let (sender, mails) = unbounded_channel();
    let (desk, stop) = (
        Desk {
            connection: connection.clone(),
            mails: sender,
        },
        CancellationToken::new(),
    );
    // Postfix hands over to us with TLS alone: without STARTTLS nothing would come.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    let files = TlsFiles {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    };
    let certificate = Certificate::open(files).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    tokio::spawn(serve(
        listener,
        "brand.test".to_owned(),
        Some(certificate),
        desk,
        Bounds::default(),
        stop.clone(),
    ));
    Some(Stage {
        postfix,
        connection,
        mails,
        stop,
        _behind: behind,
    })
}

fn connection(port: u16, tls: &str) -> Arc<dyn Provider> {
    let settings = json!({
        "host": "localhost", "port": port, "tls": tls, "from_email": "shop@brand.test", "from_name": "Bränd",
        "bounce_domain": "bounce.brand.test", "timeout_s": 20
    });
    // A busy machine starts a process for the connection before it is greeted.
    let egress = egress_by(EgressPolicy {
        connect_timeout: Duration::from_secs(20),
        ..policy()
    });
    provider_over(
        &egress,
        ProviderKind::Smtp,
        settings,
        &json!({ "bounce_key": "a bounce key of some length" }),
    )
}

#[tokio::test]
async fn postfix_takes_our_mail_and_what_it_returns_is_understood() {
    let Some(mut stage) = stage().await else { return };
    let (postfix, mails) = (&stage.postfix, &mut stage.mails);
    let connection = stage.connection.as_ref();

    // Every form of mail passes, over TLS, and comes out as it went in.
    for (form, submission) in samples::emails("bob@customers.test") {
        let outcome = connection.send(&submission).await;
        let SendOutcome::Accepted {
            provider_message_id: Some(queue_id),
        } = outcome
        else {
            panic!("{form}: {outcome:?}\n{}", postfix.log())
        };
        let mail = next(mails, postfix).await;
        let raw = String::from_utf8_lossy(&mail.raw);
        assert!(
            raw.contains(&format!("with ESMTPS id {queue_id}")),
            "{form}: {raw}"
        );
        assert_eq!(mail.to, ["bob@customers.test"], "{form}");
        let proved = MailAddress::Bounce {
            reference: submission.reference.clone(),
        };
        assert_eq!(connection.mail_address(&mail.from), Some(proved), "{form}");
        assert!(
            raw.contains("Message-ID: <0197.1@brand.test>\r\n"),
            "{form}: {raw}"
        );
    }

    refusals(postfix, connection).await;

    // What Postfix took and could not hand on comes back as its own report.
    let hard = (BounceClass::Hard, Some(SuppressBecause::HardBounce));
    let soft = (BounceClass::Soft, None);
    let block = (BounceClass::Block, None);
    for (to, status, class, (bounce_class, suppress)) in [
        ("gone@customers.test", "5.1.1", StatusClass::Hard, hard),
        ("full@customers.test", "5.2.2", StatusClass::Soft, soft),
        ("guarded@customers.test", "5.7.1", StatusClass::Block, block),
    ] {
        let submission = samples::email(to);
        let outcome = connection.send(&submission).await;
        assert!(
            matches!(outcome, SendOutcome::Accepted { .. }),
            "{to}: {outcome:?}"
        );
        let said = returned(&next(mails, postfix).await, connection, &submission.reference);
        assert_eq!(
            (said.kind, said.event),
            (MailKind::Bounce, DeliveryEventKind::Bounced),
            "{to}"
        );
        assert_eq!(said.address.as_deref(), Some(to));
        assert_eq!(
            (said.status.as_deref(), said.class),
            (Some(status), Some(class)),
            "{to}"
        );
        assert_eq!(
            (said.bounce_class, said.suppress),
            (Some(bounce_class), suppress),
            "{to}"
        );
    }

    // A way that stays closed is a warning first and a soft bounce in the end, of a temporary status that failed for good.
    let submission = samples::email("unreachable@customers.test");
    connection.send(&submission).await;
    for (kind, event, bounce_class) in [
        (MailKind::Delay, DeliveryEventKind::Deferred, None),
        (
            MailKind::Bounce,
            DeliveryEventKind::Bounced,
            Some(BounceClass::Soft),
        ),
    ] {
        let said = returned(&next(mails, postfix).await, connection, &submission.reference);
        assert_eq!(
            (said.kind, said.event, said.bounce_class),
            (kind, event, bounce_class)
        );
        assert_eq!((said.status.as_deref(), said.suppress), (Some("4.4.1"), None));
    }
    stage.stop.cancel();
}

/// What Postfix refuses while we speak to it.
async fn refusals(postfix: &Postfix, connection: &dyn Provider) {
    let plain = self::connection(postfix.port(), "none");
    let addressed = |to: &str| samples::email(to);
    for (over, to, code, category, effect) in [
        (
            connection,
            "nobody@customers.test",
            "550 5.1.1",
            ErrorCategory::Permanent,
            Some(RejectionEffect::AddressBad),
        ),
        (
            connection,
            "bob@elsewhere.test",
            "554 5.7.1",
            ErrorCategory::Permanent,
            None,
        ),
        // It asks for TLS before anything else.
        (
            plain.as_ref(),
            "bob@customers.test",
            "530 5.7.0",
            ErrorCategory::AuthFailure,
            None,
        ),
    ] {
        let outcome = over.send(&addressed(to)).await;
        let SendOutcome::Rejected(no) = outcome else {
            panic!("{to}: {outcome:?}")
        };
        assert_eq!(
            (no.code.as_str(), no.category, no.effect),
            (code, category, effect),
            "{to}: {no:?}"
        );
    }
    let report = connection.check().await;
    assert!(report.ok, "{report:?}");
}
