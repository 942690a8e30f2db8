//! An SMTP server that says what it is told to, with TLS if wanted.

use super::Listener;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

/// What follows the final dot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AfterDot {
    /// `250 2.0.0 Ok: queued as 4C1234`.
    #[default]
    Accept,
    /// A reply.
    Say(&'static str),
    /// The connection is closed without a word.
    Close,
    /// Nothing until the client gives up.
    Silence,
}

/// What the server says. Empty replies mean the usual ones.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Instead of `220`.
    pub greeting: &'static str,
    /// Further lines of the answer to `EHLO`.
    pub extensions: Vec<&'static str>,
    /// Instead of `235`.
    pub auth: &'static str,
    /// Instead of `250`.
    pub mail: &'static str,
    /// Instead of `250`.
    pub rcpt: &'static str,
    /// Instead of `354`.
    pub data: &'static str,
    /// What follows the final dot.
    pub after_dot: AfterDot,
    /// Closes after so many bytes of the message.
    pub close_after_bytes: Option<usize>,
    /// Closes a connection after so many messages, without a word.
    pub messages_per_connection: Option<usize>,
    /// Speaks TLS from the start.
    pub tls: bool,
}

/// A message that was taken, or at least came.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    /// The commands, without line ends.
    pub commands: Vec<String>,
    /// The message, with dots unstuffed.
    pub data: String,
    /// It came over TLS.
    pub encrypted: bool,
}

/// The stand-in.
#[derive(Debug)]
pub struct SmtpStandIn {
    listener: Listener,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    mails: Vec<Mail>,
    connections: usize,
}

/// The certificate authority of the stand-ins; trusted by nobody else.
pub const TEST_AUTHORITY: &str = include_str!("../../tests/tls/ca.pem");

impl SmtpStandIn {
    /// Starts.
    pub fn start(script: Script) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let shared = log.clone();
        let tls = server_config();
        let listener = Listener::start(move |stream| {
            shared.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
            let session = Session {
                script: &script,
                tls: &tls,
                log: &shared,
            };
            // A client that goes away ends the session; the log says how far it came.
            let _ = session.run(stream);
        });
        Self { listener, log }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.listener.address().port()
    }

    /// The messages that came as far as the final dot.
    pub fn mails(&self) -> Vec<Mail> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .mails
            .clone()
    }

    /// The connections opened.
    pub fn connections(&self) -> usize {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .connections
    }
}

fn server_config() -> Arc<ServerConfig> {
    let broken = "the test certificate cannot be read";
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(include_bytes!("../../tests/tls/cert.pem"))
            .filter_map(Result::ok)
            .collect();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../tests/tls/key.pem"))
        .unwrap_or_else(|error| panic!("{broken}: {error}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .unwrap_or_else(|error| panic!("{broken}: {error}"));
    Arc::new(config)
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

struct Session<'s> {
    script: &'s Script,
    tls: &'s Arc<ServerConfig>,
    log: &'s Mutex<Log>,
}

/// Whether the dialogue goes on, and how.
enum Next {
    On,
    Upgrade,
    End,
}

impl Session<'_> {
    fn run(&self, stream: TcpStream) -> std::io::Result<()> {
        if self.script.tls {
            return self
                .dialogue(&mut BufReader::new(self.encrypt(stream)?), true, true)
                .map(|_| ());
        }
        let plain = stream.try_clone()?;
        if self.dialogue(&mut BufReader::new(plain), true, false)? {
            self.dialogue(&mut BufReader::new(self.encrypt(stream)?), false, true)?;
        }
        Ok(())
    }

    fn encrypt(&self, stream: TcpStream) -> std::io::Result<StreamOwned<ServerConnection, TcpStream>> {
        let connection = ServerConnection::new(self.tls.clone()).map_err(std::io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }

    /// Speaks until the end; true when the client asked for STARTTLS.
    fn dialogue<W: Wire>(
        &self,
        wire: &mut BufReader<W>,
        greet: bool,
        encrypted: bool,
    ) -> std::io::Result<bool> {
        if greet {
            say(wire, self.script.greeting, "220 stand-in ESMTP")?;
        }
        let mut mail = Mail {
            encrypted,
            ..Mail::default()
        };
        let mut taken = 0;
        loop {
            let mut line = String::new();
            if wire.read_line(&mut line)? == 0 {
                return Ok(false);
            }
            if self.script.messages_per_connection == Some(taken) {
                return Ok(false);
            }
            let line = line.trim_end().to_owned();
            mail.commands.push(line.clone());
            match self.command(wire, &line, &mut mail, &mut taken)? {
                Next::On => {}
                Next::Upgrade => return Ok(true),
                Next::End => return Ok(false),
            }
        }
    }

    fn command<W: Wire>(
        &self,
        wire: &mut BufReader<W>,
        line: &str,
        mail: &mut Mail,
        taken: &mut usize,
    ) -> std::io::Result<Next> {
        let script = self.script;
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                let mut lines = vec!["250-stand-in".to_owned()];
                lines.extend(script.extensions.iter().map(|e| format!("250-{e}")));
                lines.push("250 8BITMIME".to_owned());
                say(wire, &lines.join("\r\n"), "")?;
            }
            "STARTTLS" => {
                say(wire, "", "220 2.0.0 go ahead")?;
                return Ok(Next::Upgrade);
            }
            "AUTH" => say(wire, script.auth, "235 2.7.0 welcome")?,
            "MAIL" => say(wire, script.mail, "250 2.1.0 Ok")?,
            "RCPT" => say(wire, script.rcpt, "250 2.1.5 Ok")?,
            "DATA" => {
                say(wire, script.data, "354 go on")?;
                if script.data.is_empty() {
                    return self.message(wire, mail, taken);
                }
            }
            "QUIT" => {
                say(wire, "", "221 2.0.0 bye")?;
                return Ok(Next::End);
            }
            _ => say(wire, "", "250 2.0.0 Ok")?,
        }
        Ok(Next::On)
    }

    fn message<W: Wire>(
        &self,
        wire: &mut BufReader<W>,
        mail: &mut Mail,
        taken: &mut usize,
    ) -> std::io::Result<Next> {
        loop {
            let mut line = Vec::new();
            if wire.read_until(b'\n', &mut line)? == 0 {
                return Ok(Next::End);
            }
            if line == b".\r\n" {
                break;
            }
            let line = if line.starts_with(b".") {
                &line[1..]
            } else {
                &line[..]
            };
            mail.data.push_str(&String::from_utf8_lossy(line));
            if self
                .script
                .close_after_bytes
                .is_some_and(|bytes| mail.data.len() >= bytes)
            {
                return Ok(Next::End);
            }
        }
        let done = std::mem::replace(
            mail,
            Mail {
                encrypted: mail.encrypted,
                ..Mail::default()
            },
        );
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .mails
            .push(done);
        *taken += 1;
        match self.script.after_dot {
            AfterDot::Accept => say(wire, "", "250 2.0.0 Ok: queued as 4C1234")?,
            AfterDot::Say(reply) => say(wire, reply, "")?,
            AfterDot::Close => return Ok(Next::End),
            AfterDot::Silence => {
                let mut rest = Vec::new();
                wire.read_to_end(&mut rest)?;
                return Ok(Next::End);
            }
        }
        Ok(Next::On)
    }
}

fn say<W: Wire>(wire: &mut BufReader<W>, scripted: &str, usual: &str) -> std::io::Result<()> {
    let reply = if scripted.is_empty() { usual } else { scripted };
    wire.get_mut().write_all(reply.as_bytes())?;
    wire.get_mut().write_all(b"\r\n")?;
    wire.get_mut().flush()
}
