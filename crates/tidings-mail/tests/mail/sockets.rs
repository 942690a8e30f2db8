//! The server on real sockets, and an independent client.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_mail::{Bounds, Certificate, Later, Mail, Post, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

#[derive(Clone, Default)]
pub struct Shelf {
    pub mails: Arc<Mutex<Vec<Mail>>>,
}

impl Post for Shelf {
    async fn knows(&self, recipient: &str) -> Result<bool, Later> {
        match recipient {
            "away@b.example" => Err(Later("the database is away".to_owned())),
            other => Ok(other.ends_with("@b.example")),
        }
    }

    async fn keep(&self, mail: &Mail) -> Result<(), Later> {
        if mail.raw.starts_with(b"Subject: full") {
            return Err(Later("the disk is full".to_owned()));
        }
        self.mails.lock().unwrap().push(mail.clone());
        Ok(())
    }
}

pub struct Served {
    pub address: std::net::SocketAddr,
    pub shelf: Shelf,
    pub stop: CancellationToken,
    pub server: tokio::task::JoinHandle<()>,
}

async fn served(bounds: Bounds) -> Served {
    served_with(None, bounds).await
}

pub async fn served_with(certificate: Option<Certificate>, bounds: Bounds) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shelf, stop) = (Shelf::default(), CancellationToken::new());
    #[expect(clippy::disallowed_methods, reason = "the test joins it when it is stopped")]
    let server = tokio::spawn(serve(
        listener,
        "mx.example".to_owned(),
        certificate,
        shelf.clone(),
        bounds,
        stop.clone(),
    ));
    Served {
        address,
        shelf,
        stop,
        server,
    }
}

impl Served {
    /// Runs a client in Python to its end, with host, port and these as its arguments; the mails that were taken.
    pub async fn after(&self, client: &str, more: &[&str]) -> Vec<Mail> {
        let output = tokio::process::Command::new("python3")
            .args(["-c", client, "127.0.0.1", &self.address.port().to_string()])
            .args(more)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), "done", "{}", String::from_utf8_lossy(&output.stderr));
        self.shelf.mails.lock().unwrap().clone()
    }

    /// Writes, and returns what was answered until the server closed.
    async fn say(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        heard
    }
}

/// Python's own SMTP client: EHLO, pipelining unaware, dot-stuffing of its own.
const CLIENT: &str = r"
import smtplib, sys
host, port = sys.argv[1], int(sys.argv[2])
with smtplib.SMTP(host, port, timeout=20) as smtp:
    smtp.ehlo('client.example')
    assert smtp.has_extn('size') and smtp.has_extn('8bitmime') and smtp.has_extn('smtputf8')
    smtp.sendmail('', ['b+1@b.example'], 'Subject: one\n\n.a line with a dot\nend')
    refused = smtp.sendmail('x@y.example', ['b+1@b.example', 'ann@c.example'], 'Subject: two\n\n' + 'x' * 200000)
    assert refused['ann@c.example'][0] == 550, refused
    for to, text, code in [('away@b.example', 'x', 451), ('b+1@b.example', 'Subject: full\n\nx', 451)]:
        try:
            smtp.sendmail('x@y.example', [to], text)
            raise SystemExit('taken: ' + to)
        except smtplib.SMTPRecipientsRefused as no:
            assert no.recipients[to][0] == code, no
        except smtplib.SMTPDataError as no:
            assert no.smtp_code == code, no
print('done')
";

#[tokio::test]
async fn an_independent_client_is_understood() {
    let served = served(Bounds::default()).await;
    let mails = served.after(CLIENT, &[]).await;
    assert_eq!(mails.len(), 2);
    assert_eq!(
        (mails[0].from.as_str(), mails[1].from.as_str()),
        ("", "x@y.example")
    );
    assert_eq!(mails[0].raw, b"Subject: one\r\n\r\n.a line with a dot\r\nend\r\n");
    assert_eq!(mails[1].to, ["b+1@b.example"]);
}

#[tokio::test]
async fn silence_and_crowds_are_bounded() {
    let bounds = Bounds {
        silence: Duration::from_millis(200),
        of_one_peer: 1,
        ..Bounds::default()
    };
    let served = served(bounds).await;
    let mut first = TcpStream::connect(served.address).await.unwrap();
    let mut greeting = [0u8; 3];
    first.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220");
    // Another of the same peer is turned away while the first is there.
    assert!(served.say("").await.starts_with("421"));
    let mut rest = String::new();
    first.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("421 4.4.2"), "{rest}");
}

#[tokio::test]
async fn stopping_ends_those_who_wait() {
    let served = served(Bounds::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let mut greeting = [0u8; 3];
    stream.read_exact(&mut greeting).await.unwrap();
    served.stop.cancel();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("421 4.3.2"), "{rest}");
    served.server.await.unwrap();
    assert!(served.shelf.mails.lock().unwrap().is_empty());
}

const BEGUN: &str = "EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<b+1@b.example>\r\nDATA\r\n";

impl Served {
    /// A connection whose mail has begun, read up to the answer to DATA.
    async fn begun(&self) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(BEGUN.as_bytes()).await.unwrap();
        let mut heard = String::new();
        let mut chunk = [0u8; 512];
        while !["354 ", "451 ", "421 "].iter().any(|code| heard.contains(code)) {
            let count = stream.read(&mut chunk).await.unwrap();
            assert!(count > 0, "closed after {heard}");
            heard.push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
        (stream, heard)
    }
}

/// A mail that does not end holds its place for so long and no longer, also while its client is not silent for long.
#[tokio::test]
async fn a_mail_that_does_not_end_is_ended() {
    let served = served(Bounds {
        mail: Duration::from_millis(300),
        ..Bounds::default()
    })
    .await;
    let (mut stream, heard) = served.begun().await;
    assert!(heard.contains("354 "), "{heard}");
    stream.write_all(b"Subject: one\r\n").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("421 4.4.2 the mail takes too long"), "{rest}");
    assert!(served.shelf.mails.lock().unwrap().is_empty());
}

/// A peer that has its share of mails is told to come again; when one ends there is a turn for the next.
#[tokio::test]
async fn one_peer_has_its_share_of_mails() {
    let served = served(Bounds {
        mails: 2,
        mails_of_one_peer: 1,
        patience: Duration::from_millis(200),
        ..Bounds::default()
    })
    .await;
    let (mut first, heard) = served.begun().await;
    assert!(heard.contains("354 "), "{heard}");
    let (_, heard) = served.begun().await;
    assert!(heard.contains("451 4.3.1"), "{heard}");
    first
        .write_all(b"Subject: one\r\n\r\nx\r\n.\r\nQUIT\r\n")
        .await
        .unwrap();
    let mut rest = String::new();
    first.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("250 2.0.0"), "{rest}");
    let (_, heard) = served.begun().await;
    assert!(heard.contains("354 "), "{heard}");
}
