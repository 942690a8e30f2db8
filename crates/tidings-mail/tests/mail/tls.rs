//! STARTTLS on real sockets: other people's TLS, what goes wrong in a handshake, and certificates that are renewed.

use crate::sockets::{Served, served_with};
use rstest::rstest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tidings_mail::{Bounds, Certificate, TlsFiles};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const AUTHORITY: &str = include_str!("../tls/authority.pem");
const FIRST: (&str, &str) = (
    include_str!("../tls/first.pem"),
    include_str!("../tls/first.key.pem"),
);
const RENEWED: (&str, &str) = (
    include_str!("../tls/renewed.pem"),
    include_str!("../tls/renewed.key.pem"),
);

/// Each handshake looks at the files.
const ALWAYS: Duration = Duration::ZERO;

/// The files of one test. Dropping it removes them.
struct Files(PathBuf);

impl Drop for Files {
    fn drop(&mut self) {
        // What is left in the folder of tests does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Files {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mail-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = Self(folder);
        files.write(FIRST.0, FIRST.1);
        files
    }

    fn write(&self, certificate: &str, key: &str) {
        std::fs::write(self.names().certificate, certificate).unwrap();
        std::fs::write(self.names().key, key).unwrap();
    }

    fn names(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.0.join("fullchain.pem"),
            key: self.0.join("privkey.pem"),
        }
    }

    async fn open(&self) -> Certificate {
        Certificate::open(self.names()).await.unwrap()
    }
}

async fn served(bounds: Bounds) -> Served {
    served_with(Some(Files::new().open().await), bounds).await
}

/// One side of a dialogue, line by line.
struct Talk<S>(BufReader<S>);

impl Talk<TcpStream> {
    /// Connected, greeted, and answered to EHLO.
    async fn begin(served: &Served) -> Self {
        let mut talk = Self(BufReader::new(TcpStream::connect(served.address).await.unwrap()));
        assert!(talk.reply().await.starts_with("220 "));
        let extensions = talk.say("EHLO c.example\r\n").await;
        assert!(extensions.contains("STARTTLS"), "{extensions}");
        talk
    }

    /// Asked for TLS, and told to begin.
    async fn asked(served: &Served) -> TcpStream {
        let mut talk = Self::begin(served).await;
        assert!(talk.say("STARTTLS\r\n").await.starts_with("220 "));
        assert!(talk.0.buffer().is_empty());
        talk.0.into_inner()
    }

    /// With TLS, before the second EHLO.
    async fn secure(served: &Served) -> Talk<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(der(AUTHORITY)).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("mx.example").unwrap();
        let stream = Talk::asked(served).await;
        let secure = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        Talk(BufReader::new(secure.unwrap()))
    }
}

impl Talk<TlsStream<TcpStream>> {
    /// The certificate that the server showed.
    fn shown(&self) -> CertificateDer<'static> {
        let (_, connection) = self.0.get_ref().get_ref();
        connection.peer_certificates().unwrap()[0].clone()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    async fn say(&mut self, text: &str) -> String {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
        self.reply().await
    }

    /// All lines of a reply; what there is when the server closes.
    async fn reply(&mut self) -> String {
        let mut heard = String::new();
        loop {
            let begin = heard.len();
            let count = self.0.read_line(&mut heard).await.unwrap();
            if count == 0 || heard.as_bytes().get(begin + 3) == Some(&b' ') {
                return heard;
            }
        }
    }
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// Python's SMTP client over OpenSSL, which checks the certificate and its name.
const CLIENT: &str = r"
import smtplib, ssl, sys
host, port, authority = sys.argv[1], int(sys.argv[2]), sys.argv[3]
for name in ['TLSv1_2', 'TLSv1_3']:
    context = ssl.create_default_context(cafile=authority)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[name]
    with smtplib.SMTP(host, port, timeout=20) as smtp:
        smtp.ehlo('client.example')
        assert smtp.has_extn('starttls')
        smtp.starttls(context=context)
        assert smtp.sock.version() == name.replace('_', '.'), smtp.sock.version()
        smtp.ehlo('client.example')
        assert not smtp.has_extn('starttls') and smtp.has_extn('size')
        smtp.sendmail('', ['b+1@b.example'], 'Subject: ' + name + '\n\n.a line with a dot\n' + 'x' * 200000)
print('done')
";

#[tokio::test]
async fn an_independent_client_sends_over_tls() {
    let served = served(Bounds::default()).await;
    let authority = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls/authority.pem");
    let mails = served.after(CLIENT, &[authority.to_str().unwrap()]).await;
    assert_eq!(mails.len(), 2);
    for (mail, version) in mails.iter().zip(["TLSv1_2", "TLSv1_3"]) {
        let whole = format!(
            "Subject: {version}\r\n\r\n.a line with a dot\r\n{}\r\n",
            "x".repeat(200_000)
        );
        assert_eq!((mail.from.as_str(), mail.raw == whole.as_bytes()), ("", true));
    }
}

#[tokio::test]
async fn a_client_that_wants_no_tls_is_served_as_before() {
    let served = served(Bounds::default()).await;
    let mut talk = Talk::begin(&served).await;
    talk.say("MAIL FROM:<>\r\n").await;
    talk.say("RCPT TO:<b+1@b.example>\r\n").await;
    assert!(talk.say("DATA\r\n").await.starts_with("354 "));
    assert!(talk.say("Subject: one\r\n.\r\n").await.starts_with("250 "));
    assert_eq!(served.shelf.mails.lock().unwrap().len(), 1);
}

/// Command injection: in one packet with STARTTLS it is refused, behind the answer it is no handshake.
#[tokio::test]
async fn commands_in_plain_text_behind_starttls_are_not_obeyed() {
    const INJECTED: &str = "EHLO evil\r\nMAIL FROM:<>\r\nRCPT TO:<b+1@b.example>\r\n";
    let served = served(Bounds::default()).await;
    let mut talk = Talk::begin(&served).await;
    let refused = talk.say(&format!("STARTTLS\r\n{INJECTED}")).await;
    assert!(refused.starts_with("503 5.5.0 "), "{refused}");
    assert_eq!(talk.reply().await, "", "closed");

    let mut stream = Talk::asked(&served).await;
    stream.write_all(INJECTED.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    // It may be closed with what is unread in it, which the system tells as a reset.
    let _ = stream.read_to_end(&mut heard).await;
    assert!(!heard.windows(3).any(|three| three == b"250"), "{heard:?}");

    // Nobody else is the worse for it.
    let mut talk = Talk::secure(&served).await;
    assert!(talk.say("MAIL FROM:<>\r\n").await.starts_with("503 "));
    let extensions = talk.say("EHLO c.example\r\n").await;
    assert!(!extensions.contains("STARTTLS"), "{extensions}");
    assert!(talk.say("QUIT\r\n").await.starts_with("221 "));
    assert_eq!(talk.reply().await, "", "closed with the farewell of TLS");
}

#[rstest]
#[case::nothing(b"")]
#[case::noise(b"\x00\xff\x17garbage that is no record of TLS\r\n\r\n")]
#[case::a_record_without_a_hello(b"\x16\x03\x01\x00\x05hello")]
#[case::an_alert(b"\x15\x03\x01\x00\x02\x02\x28")]
#[tokio::test]
async fn a_handshake_that_fails_ends_its_connection_alone(#[case] bytes: &[u8]) {
    let served = served(Bounds::default()).await;
    let mut stream = Talk::asked(&served).await;
    stream.write_all(bytes).await.unwrap();
    // The server may have closed already.
    let _ = stream.shutdown().await;
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    // At most an alert of TLS.
    assert!(heard.len() <= 7, "{heard:?}");
    let mut talk = Talk::secure(&served).await;
    assert!(talk.say("EHLO c.example\r\n").await.contains("250 "));
}

#[tokio::test]
async fn a_handshake_that_stalls_is_cut() {
    let bounds = Bounds {
        handshake: Duration::from_millis(200),
        ..Bounds::default()
    };
    let served = served(bounds).await;
    let mut stream = Talk::asked(&served).await;
    // The beginning of a record, and no more.
    stream.write_all(b"\x16\x03\x01").await.unwrap();
    let mut heard = Vec::new();
    // It may be cut with what is unread in it, which the system tells as a reset.
    let _ = stream.read_to_end(&mut heard).await;
    assert_eq!(heard, b"");
}

/// It has its place among the connections, and does not keep the server from stopping.
#[tokio::test]
async fn a_handshake_counts_as_a_connection_and_ends_with_the_server() {
    let bounds = Bounds {
        of_one_peer: 1,
        handshake: Duration::from_mins(10),
        ..Bounds::default()
    };
    let served = served(bounds).await;
    let mut stream = Talk::asked(&served).await;
    let mut other = Talk(BufReader::new(TcpStream::connect(served.address).await.unwrap()));
    assert!(other.reply().await.starts_with("421 "));
    served.stop.cancel();
    served.server.await.unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"");
}

#[tokio::test]
async fn silence_is_bounded_over_tls_too() {
    let bounds = Bounds {
        silence: Duration::from_secs(1),
        ..Bounds::default()
    };
    let served = served(bounds).await;
    let mut talk = Talk::secure(&served).await;
    assert!(talk.reply().await.starts_with("421 4.4.2 "));
    assert_eq!(talk.reply().await, "", "closed");
}

#[tokio::test]
async fn renewed_files_are_used_without_a_restart() {
    let files = Files::new();
    let bounds = Bounds {
        certificate_age: ALWAYS,
        ..Bounds::default()
    };
    let served = served_with(Some(files.open().await), bounds).await;
    let mut old = Talk::secure(&served).await;
    assert_eq!(old.shown(), der(FIRST.0));
    // One file is written and the other not yet: what was there stays in use.
    files.write(RENEWED.0, FIRST.1);
    assert_eq!(Talk::secure(&served).await.shown(), der(FIRST.0));
    files.write(RENEWED.0, RENEWED.1);
    assert_eq!(Talk::secure(&served).await.shown(), der(RENEWED.0));
    files.write("", "");
    assert_eq!(Talk::secure(&served).await.shown(), der(RENEWED.0));
    std::fs::remove_file(files.names().certificate).unwrap();
    assert_eq!(Talk::secure(&served).await.shown(), der(RENEWED.0));
    // A connection of before goes on.
    assert!(old.say("EHLO c.example\r\n").await.contains("250 "));
}

#[tokio::test]
async fn files_are_looked_at_now_and_then_and_a_bad_one_is_told_once() {
    let files = Files::new();
    let certificate = files.open().await;
    let looks = |age: Duration| certificate.look(age);
    assert!(!looks(ALWAYS).await.unwrap(), "nothing was changed");
    files.write(RENEWED.0, RENEWED.1);
    assert!(!looks(Duration::from_hours(1)).await.unwrap(), "not yet");
    assert!(looks(ALWAYS).await.unwrap());
    files.write(RENEWED.0, "");
    let told = looks(ALWAYS).await.unwrap_err().to_string();
    assert!(told.contains("privkey.pem holds no private key"), "{told}");
    assert!(!looks(ALWAYS).await.unwrap(), "told once");
    std::fs::remove_file(files.names().key).unwrap();
    let told = looks(ALWAYS).await.unwrap_err().to_string();
    assert!(told.contains("privkey.pem cannot be read"), "{told}");
    assert!(!looks(ALWAYS).await.unwrap(), "told once");
    files.write(RENEWED.0, RENEWED.1);
    assert!(looks(ALWAYS).await.unwrap(), "mended");
}

/// Certificate, key, and what the error says.
#[rstest]
#[case::empty("", FIRST.1, &["fullchain.pem holds no certificate"])]
#[case::no_pem("not a certificate\n", FIRST.1, &["fullchain.pem holds no certificate"])]
#[case::exchanged(FIRST.1, FIRST.0, &["fullchain.pem holds no certificate"])]
#[case::no_key(FIRST.0, FIRST.0, &["privkey.pem holds no private key", "without a password"])]
#[case::with_a_password(
    FIRST.0,
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
    &["privkey.pem holds no private key", "without a password"]
)]
#[case::mismatch(FIRST.0, RENEWED.1, &["privkey.pem is not that of the first certificate in", "fullchain.pem"])]
#[case::cut("-----BEGIN CERTIFICATE-----\nMIIB\n", FIRST.1, &["fullchain.pem is damaged (a section has no end)"])]
#[case::no_base64(
    "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
    FIRST.1,
    &["fullchain.pem is damaged"]
)]
#[case::no_certificate(
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    FIRST.1,
    &["fullchain.pem is damaged (certificate number 1 is not one)"]
)]
#[case::no_usable_key(
    FIRST.0,
    "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
    &["fullchain.pem", "privkey.pem", "TLS cannot work with"]
)]
#[tokio::test]
async fn files_that_cannot_be_used_say_why(
    #[case] certificate: &str,
    #[case] key: &str,
    #[case] expect: &[&str],
) {
    let files = Files::new();
    files.write(certificate, key);
    let error = Certificate::open(files.names()).await.unwrap_err().to_string();
    assert!(expect.iter().all(|part| error.contains(part)), "{error}");
    assert!(!error.contains("MIIB") && !error.contains("[45"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_not_there_or_no_file_or_endless_is_an_error() {
    let files = Files::new();
    let open = |certificate: &str| {
        Certificate::open(TlsFiles {
            certificate: files.0.join(certificate),
            key: files.names().key,
        })
    };
    for (name, expect) in [
        ("nowhere.pem", "nowhere.pem cannot be read"),
        ("", "cannot be read"),
        ("/dev/zero", "/dev/zero has more than"),
    ] {
        let error = open(name).await.unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }
}

/// As they are in a full chain, and both in one file.
#[tokio::test]
async fn a_chain_and_its_key_may_share_a_file() {
    let files = Files::new();
    let all = format!("{}{}{AUTHORITY}", FIRST.1, FIRST.0);
    files.write(&all, &all);
    let names = TlsFiles {
        key: files.names().certificate,
        ..files.names()
    };
    let certificate = Certificate::open(names).await.unwrap();
    let served = served_with(Some(certificate), Bounds::default()).await;
    assert_eq!(Talk::secure(&served).await.shown(), der(FIRST.0));
}
