//! The dialogue: EHLO, AUTH, MAIL, RCPT, DATA, RSET, NOOP, VRFY, QUIT.

use super::mail::{self, Envelope};
use super::wire::{Data, Wire};
use crate::account::DEFAULT;
use crate::fault::{Fault, Magic, magic};
use crate::take::{Taking, take};
use crate::vendor::{Problem, Vendor, is_email};
use crate::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_mins(5);
/// Recipients of a mail; RFC 5321 asks for a hundred at least.
const MOST_RECIPIENTS: usize = 100;
/// Bytes of a reply that is far too long.
const HUGE: usize = 10 << 20;

/// Whether the dialogue goes on.
enum Next {
    On,
    End,
}

struct Session {
    world: Arc<World>,
    wire: Wire,
    largest: usize,
    greeted: bool,
    account: Option<String>,
    envelope: Envelope,
}

/// Serves one connection to its end.
pub(crate) async fn connection(
    world: Arc<World>,
    stream: TcpStream,
    open: CancellationToken,
    largest: usize,
) {
    let ended = world.ended().clone();
    let mut session = Session {
        world,
        wire: Wire::new(stream, ended),
        largest,
        greeted: false,
        account: None,
        envelope: Envelope::default(),
    };
    // A client that goes away ends its session: what was taken by then is in the ledger.
    let _ = session.run(&open).await;
}

impl Session {
    async fn run(&mut self, open: &CancellationToken) -> io::Result<()> {
        self.wire.say("220 stand-in ESMTP").await?;
        loop {
            let line = tokio::select! {
                line = tokio::time::timeout(PATIENCE, self.wire.line()) => match line {
                    Ok(line) => line?,
                    Err(_) => return self.wire.say("421 4.4.2 too long a silence").await,
                },
                () = open.cancelled() => return self.wire.say("421 4.3.2 shutting down").await,
            };
            if matches!(self.command(&line).await?, Next::End) {
                return Ok(());
            }
        }
    }

    async fn command(&mut self, line: &str) -> io::Result<Next> {
        let verb = line
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                (self.greeted, self.envelope) = (true, Envelope::default());
                let size = self.largest;
                let lines = format!(
                    "250-stand-in\r\n250-SIZE {size}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN LOGIN"
                );
                self.wire.say(&lines).await?;
            }
            "HELO" => {
                self.greeted = true;
                self.wire.say("250 stand-in").await?;
            }
            "NOOP" => self.wire.say("250 2.0.0 Ok").await?,
            "RSET" => {
                self.envelope = Envelope::default();
                self.wire.say("250 2.0.0 Ok").await?;
            }
            "VRFY" => self.wire.say("252 2.0.0 cannot tell").await?,
            "QUIT" => {
                self.wire.say("221 2.0.0 Bye").await?;
                return Ok(Next::End);
            }
            _ if !self.greeted => self.wire.say("503 5.5.1 send EHLO first").await?,
            "AUTH" => self.auth(line).await?,
            "MAIL" => self.mail(line).await?,
            "RCPT" => self.recipient(line).await?,
            "DATA" => return self.data().await,
            "STARTTLS" => self.wire.say("502 5.5.1 not offered").await?,
            _ => self.wire.say("500 5.5.2 not a command").await?,
        }
        Ok(Next::On)
    }

    async fn auth(&mut self, line: &str) -> io::Result<()> {
        let mut words = line.split_whitespace().skip(1);
        let method = words.next().unwrap_or_default().to_ascii_uppercase();
        let first = words.next().map(str::to_owned);
        let said = match (method.as_str(), first) {
            ("PLAIN", Some(text)) => plain(&text),
            ("PLAIN", None) => {
                let text = self.asked("").await?;
                plain(&text)
            }
            ("LOGIN", user) => {
                let user = match user {
                    Some(user) => user,
                    None => self.asked("VXNlcm5hbWU6").await?,
                };
                let password = self.asked("UGFzc3dvcmQ6").await?;
                decoded(&user).zip(decoded(&password))
            }
            _ => return self.wire.say("504 5.5.4 PLAIN or LOGIN").await,
        };
        let Some((user, password)) = said else {
            return self.wire.say("501 5.5.2 cannot be decoded").await;
        };
        let account = self.world.account(Vendor::Smtp, &user);
        let right = account
            .as_ref()
            .and_then(|account| account.secrets.api_key.as_ref());
        if user.is_empty() || right.map_or(password.is_empty(), |right| right.expose_secret() != password) {
            return self.wire.say("535 5.7.8 authentication failed").await;
        }
        self.account = Some(user);
        self.wire.say("235 2.7.0 authentication successful").await
    }

    async fn asked(&mut self, question: &str) -> io::Result<String> {
        self.wire.say(&format!("334 {question}")).await?;
        self.wire.line().await
    }

    async fn mail(&mut self, line: &str) -> io::Result<()> {
        let wants_login = self
            .world
            .account(Vendor::Smtp, DEFAULT)
            .is_some_and(|account| account.secrets.api_key.is_some());
        let reply = match mail::path(line, "MAIL FROM:") {
            _ if wants_login && self.account.is_none() => "530 5.7.0 authentication required",
            _ if self.envelope.from.is_some() => "503 5.5.1 one sender only",
            None => "501 5.5.4 MAIL FROM:<address>",
            Some((from, _)) if !from.is_empty() && !is_email(from) => "553 5.1.7 not an address",
            Some((_, parameters)) if mail::size(parameters).is_some_and(|size| size > self.largest) => {
                "552 5.3.4 too large"
            }
            Some((from, _)) => {
                self.envelope.from = Some(from.to_owned());
                "250 2.1.0 Ok"
            }
        };
        self.wire.say(reply).await
    }

    async fn recipient(&mut self, line: &str) -> io::Result<()> {
        let reply = match mail::path(line, "RCPT TO:") {
            _ if self.envelope.from.is_none() => "503 5.5.1 send MAIL first",
            _ if self.envelope.to.len() >= MOST_RECIPIENTS => "452 4.5.3 too many recipients",
            None => "501 5.5.4 RCPT TO:<address>",
            Some((to, _)) if !is_email(to) => "553 5.1.3 not an address",
            Some((to, _)) if self.world.magic && magic(to) == Some(Magic::Fault(Fault::NoRecipient)) => {
                "550 5.1.1 no such user"
            }
            Some((to, _)) => {
                self.envelope.to.push(to.to_owned());
                "250 2.1.5 Ok"
            }
        };
        self.wire.say(reply).await
    }

    async fn data(&mut self) -> io::Result<Next> {
        if self.envelope.to.is_empty() {
            self.wire.say("503 5.5.1 send RCPT first").await?;
            return Ok(Next::On);
        }
        self.wire.say("354 end with a dot on a line").await?;
        let data = tokio::time::timeout(PATIENCE, self.wire.data(self.largest)).await;
        let envelope = std::mem::take(&mut self.envelope);
        let message = match data.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
            Data::Whole(message) => message,
            Data::TooLarge => {
                self.wire.say("552 5.3.4 too large").await?;
                return Ok(Next::On);
            }
            Data::BareLineEnd => {
                self.wire.say("550 5.6.0 lines must end with CRLF").await?;
                return Ok(Next::On);
            }
        };
        let under_way = self.world.enter();
        let account = self.account.clone().unwrap_or_else(|| DEFAULT.to_owned());
        let draft = mail::draft(&account, &envelope, &message);
        let taking = take(&self.world, &draft).await;
        drop(under_way);
        self.answer(taking).await
    }

    async fn answer(&mut self, taking: Taking) -> io::Result<Next> {
        let id = match &taking.taken {
            Ok(Some((id, _))) => id.clone(),
            Ok(None) => String::new(),
            Err(no) => {
                self.wire.say(in_words(*no)).await?;
                return Ok(Next::On);
            }
        };
        let fine = format!("250 2.0.0 Ok: queued as {id}");
        let reply = match &taking.fault {
            None | Some(Fault::Latency { .. } | Fault::ErrorInSuccess) => fine.as_str(),
            Some(fault) => {
                let Some(reply) = words(fault) else {
                    let ended = self.world.ended().clone();
                    return tokio::select! {
                        broken = self.broken(fault, &fine) => broken,
                        () = ended.cancelled() => Ok(Next::End),
                    };
                };
                reply
            }
        };
        self.wire.say(reply).await?;
        Ok(if reply.starts_with("421") {
            Next::End
        } else {
            Next::On
        })
    }

    /// The faults of the socket.
    async fn broken(&mut self, fault: &Fault, fine: &str) -> io::Result<Next> {
        let stream = &mut self.wire.stream;
        match fault {
            Fault::Reset => stream.set_zero_linger()?,
            Fault::HalfClose => stream.shutdown().await?,
            Fault::Garbage => stream.write_all(b"\x00\xff this is no reply\r\n").await?,
            Fault::Nonsense => stream.write_all(b"250 \xff\xfe <!--\r\n").await?,
            Fault::TruncatedChunk => stream.write_all(&fine.as_bytes()[..5]).await?,
            Fault::Drip => {
                for byte in fine.as_bytes() {
                    stream.write_all(&[*byte]).await?;
                    if !self.world.sleep(Duration::from_secs(1)).await {
                        break;
                    }
                }
                stream.write_all(b"\r\n").await?;
            }
            Fault::Huge => {
                let line = format!("250-{}\r\n", "x".repeat(1_000));
                for _ in 0..HUGE / line.len() {
                    stream.write_all(line.as_bytes()).await?;
                }
            }
            _ => {
                let mut ignored = [0; 1_024];
                tokio::select! {
                    () = async { while matches!(stream.read(&mut ignored).await, Ok(read) if read > 0) {} } => {}
                    _ = self.world.sleep(PATIENCE) => {}
                }
            }
        }
        Ok(Next::End)
    }
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()
}

/// `authorisation NUL user NUL password`.
fn plain(text: &str) -> Option<(String, String)> {
    let decoded = decoded(text)?;
    let mut parts = decoded.split('\0').skip(1);
    Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
}

fn in_words(no: Problem) -> &'static str {
    match no {
        Problem::RateLimited { .. } => "454 4.7.0 Throttling failure: Maximum sending rate exceeded.",
        Problem::Broken | Problem::Concurrent => "451 4.3.0 try again later",
        Problem::AuthFailure => "535 5.7.8 authentication failed",
        Problem::InvalidInput | Problem::KeyReused => "501 5.5.4 the message is wrong",
        Problem::NoRecipient => "550 5.1.1 no such user",
        Problem::OptedOut => "550 5.7.1 the recipient does not want this",
    }
}

/// What a fault says, if it is one of words.
fn words(fault: &Fault) -> Option<&'static str> {
    let problem = match fault {
        Fault::RateLimited { retry_after_s, bare } => Problem::RateLimited {
            retry_after_s: *retry_after_s,
            bare: *bare,
        },
        Fault::ServerError => Problem::Broken,
        Fault::HtmlError => return Some("421 4.3.2 service not available"),
        Fault::AuthFailure => Problem::AuthFailure,
        Fault::InvalidInput => Problem::InvalidInput,
        Fault::NoRecipient => Problem::NoRecipient,
        Fault::OptedOut => Problem::OptedOut,
        Fault::Redirect { .. } => return Some("551 5.1.6 user not local"),
        _ => return None,
    };
    Some(in_words(problem))
}
