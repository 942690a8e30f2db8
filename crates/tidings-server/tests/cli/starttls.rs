//! `serve --mail-listen` with a certificate: a bounce comes back over STARTTLS, and files that cannot be used stop the start.

use crate::world::{Serving, World, shop_over};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use tidings_providers::stand_in::smtp::{Script, SmtpStandIn};

const AUTHORITY: &str = include_str!("../../../tidings-mail/tests/tls/authority.pem");
const CERTIFICATE: &str = include_str!("../../../tidings-mail/tests/tls/first.pem");
const KEY: &str = include_str!("../../../tidings-mail/tests/tls/first.key.pem");
const ANOTHER_KEY: &str = include_str!("../../../tidings-mail/tests/tls/renewed.key.pem");

/// The shop, whose mail goes to a server on this port.
fn shop(port: u16) -> String {
    shop_over(&format!(
        r#"
[[tenants.connections]]
name = "relay"
provider = "smtp"
channel = "email"
settings = {{ host = "127.0.0.1", port = {port}, tls = "none", from_email = "hello@bounce.shop.example", bounce_domain = "bounce.shop.example" }}
credentials = {{ bounce_key = "a bounce key of some length" }}
"#
    ))
}

const BOUNCE: &str = "From: MAILER-DAEMON@mx.example.com\r\nTo: <x@y.example>\r\nSubject: Undelivered mail\r\nMIME-Version: 1.0\r\n\
    Auto-Submitted: auto-replied\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b1\r\n\r\n\
    --b1\r\nContent-Type: text/plain\r\n\r\nIt could not be delivered.\r\n\r\n\
    --b1\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.com\r\n\r\n\
    Final-Recipient: rfc822; kim@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no\r\n\r\n\
    --b1--\r\n";

/// A client's side of SMTP, one line and its answer after the other.
struct Dialogue<S>(BufReader<S>);

impl<S: Read + Write> Dialogue<S> {
    /// Says something, and hears an answer with this code.
    fn say(&mut self, text: &str, code: &str) -> String {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
        self.0.get_mut().flush().unwrap();
        let (mut heard, mut line) = (String::new(), String::new());
        while line.as_bytes().get(3) != Some(&b' ') {
            line.clear();
            assert!(
                self.0.read_line(&mut line).unwrap() > 0,
                "closed after {text:?}: {heard}"
            );
            heard.push_str(&line);
        }
        assert!(heard.starts_with(code), "{text:?}: {heard}");
        heard
    }
}

/// Hands a mail over as a mail server does, over TLS.
fn hand_over(address: &str, to: &str, mail: &str) {
    let mut plain = Dialogue(BufReader::new(TcpStream::connect(address).unwrap()));
    plain.say("", "220");
    assert!(plain.say("EHLO mx.example.com\r\n", "250").contains("STARTTLS"));
    plain.say("STARTTLS\r\n", "220");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut secure = Dialogue(BufReader::new(StreamOwned::new(connection, plain.0.into_inner())));
    let extensions = secure.say("EHLO mx.example.com\r\n", "250");
    assert!(!extensions.contains("STARTTLS"), "{extensions}");
    secure.say("MAIL FROM:<>\r\n", "250");
    secure.say(&format!("RCPT TO:<{to}>\r\n"), "250");
    secure.say("DATA\r\n", "354");
    secure.say(&format!("{mail}.\r\n"), "250");
    secure.say("QUIT\r\n", "221");
}

/// Where mail that came back is taken.
fn mail_address(serving: &Serving) -> String {
    let log = serving.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut taking = lines.filter(|line| line["message"] == "taking mail that came back");
    let line = taking.next().unwrap();
    assert_eq!(line["starttls"], true);
    line["address"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_bounce_comes_back_over_starttls() {
    let world = World::new().await;
    let relay = SmtpStandIn::start(Script::default());
    world.apply(&shop(relay.port()));
    let certificate = world.write("fullchain.pem", CERTIFICATE);
    let key = world.write("privkey.pem", KEY);
    let serving = world.serve_as(
        &["serve", "--listen", "127.0.0.1:0", "--mail-listen", "127.0.0.1:0"],
        &[
            ("TIDINGS_ALLOW_LOOPBACK", "true"),
            ("TIDINGS_MAIL_TLS_CERTIFICATE", certificate.to_str().unwrap()),
            ("TIDINGS_MAIL_TLS_KEY", key.to_str().unwrap()),
        ],
    );
    let api_key = world.key(&[]);
    let message = json!({"to": {"external_id": "4711"}, "message_type": "welcome", "urgency": "critical",
        "context": {"client_name": "Kim", "event_type": "wedding"}});
    let sent = serving.post("/v1/messages", &api_key, &message).await.expect(201);
    let path = format!("/v1/messages/{}", sent["message_id"].as_str().unwrap());
    let status = |wanted: &'static str| {
        let (serving, path, api_key) = (&serving, &path, &api_key);
        async move {
            serving
                .until(path, api_key, |answer| answer.expect(200)["status"] == wanted)
                .await
        }
    };
    status("sent").await;
    let mails = relay.mails();
    let sender = mails[0]
        .commands
        .iter()
        .find_map(|line| line.strip_prefix("MAIL FROM:<"));
    let (return_path, _) = sender.unwrap().split_once('>').unwrap();

    hand_over(&mail_address(&serving), return_path, BOUNCE);
    status("bounced").await;
    let figures = serving.get("/metrics", "").await.body;
    for counted in [
        r#"tidings_mail_taken_total{transport="tls"} 1"#,
        r#"tidings_mail_handshakes_total{outcome="done"} 1"#,
    ] {
        assert!(figures.contains(counted), "no {counted} in {figures}");
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_stop_the_start() {
    let world = World::new().await;
    let write = |name: &str, text: &str| world.write(name, text).to_str().unwrap().to_owned();
    let certificate = write("fullchain.pem", CERTIFICATE);
    let key = write("privkey.pem", KEY);
    let another = write("another.pem", ANOTHER_KEY);
    let empty = write("empty.pem", "");
    let [certificate, key, another, empty] = [&certificate, &key, &another, &empty].map(String::as_str);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--mail-listen", "127.0.0.1:0"];
    let names = ["TIDINGS_MAIL_TLS_CERTIFICATE", "TIDINGS_MAIL_TLS_KEY"];
    for (certificate, key, says) in [
        ("nowhere.pem", key, "nowhere.pem cannot be read (No such file"),
        (empty, key, "empty.pem holds no certificate"),
        (key, key, "privkey.pem holds no certificate"),
        (
            certificate,
            certificate,
            "fullchain.pem holds no private key; it must hold one in PEM form",
        ),
        (
            certificate,
            another,
            "another.pem is not that of the first certificate in",
        ),
    ] {
        let files = [(names[0], certificate), (names[1], key)];
        let done = world.run_with(&files, &serve, "").exit(1);
        assert!(done.err.contains("error: "), "{}", done.err);
        done.says(&names).says(&[says]);
        let doctor = world.run_with(&files, &["doctor"], "").exit(1);
        let told = doctor.out.lines().find(|line| line.contains("mail tls")).unwrap();
        assert!(told.starts_with("bad ") && told.contains(says), "{}", doctor.out);
    }
    for (set, missing) in [(names[0], names[1]), (names[1], names[0])] {
        world
            .run_with(&[(set, "x.pem")], &serve, "")
            .exit(1)
            .says(&[&format!("{set} is set and {missing} is not")]);
    }
    let half = [&serve[..], &["--mail-tls-key", "x.pem"]].concat();
    world.run(&half).exit(2).says(&["--mail-tls-certificate"]);
}
