//! One connection: opening it, and one message over it, with the stage at which it ended.

use super::compose::Composed;
use super::errors::{Stage, classify};
use super::settings::{SmtpSettings, TlsMode};
use crate::contract::{Rejection, SendOutcome};
use crate::egress::address::{ResolveError, resolve};
use crate::egress::{EgressPolicy, find, tls_failure};
use crate::mask::mask;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use std::error::Error as StdError;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidings_core::ErrorCategory;
use tokio::time::{Instant, timeout, timeout_at};

/// How to reach a server.
pub struct Server {
    host: String,
    port: u16,
    tls: TlsMode,
    hello: ClientId,
    parameters: TlsParameters,
    credentials: Option<Credentials>,
    policy: EgressPolicy,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// How a message over an open connection ended.
#[derive(Debug)]
pub enum Ended {
    /// The server answered every command; the connection can be used again.
    Told(SendOutcome),
    /// The connection is gone or in doubt.
    Broken(SendOutcome),
    /// It broke before the server took the first command: another connection may be tried.
    NotBegun(Rejection),
}

/// Addresses of a host that are tried.
const MOST_ADDRESSES: usize = 4;

impl Server {
    /// Reads the settings; contacts nobody.
    pub fn new(
        settings: &SmtpSettings,
        credentials: Option<Credentials>,
        policy: &EgressPolicy,
    ) -> Result<Self, String> {
        let mut builder = TlsParameters::builder(settings.host.trim_matches(['[', ']']).to_owned());
        for pem in &policy.extra_roots_pem {
            let root =
                Certificate::from_pem(pem.as_bytes()).map_err(|_| "an extra root is not PEM".to_owned())?;
            builder = builder.add_root_certificate(root);
        }
        let parameters = builder.build().map_err(|error| mask(&error.to_string()))?;
        let own_domain = settings
            .from_email
            .as_str()
            .rsplit_once('@')
            .map_or("localhost", |(_, domain)| domain);
        let hello = settings.hello_name.as_deref().unwrap_or(own_domain);
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port(),
            tls: settings.tls,
            hello: ClientId::Domain(hello.to_owned()),
            parameters,
            credentials,
            policy: policy.clone(),
        })
    }

    /// Opens a connection, protected and authenticated. A failure means that nothing was sent.
    pub async fn open(&self, deadline: Instant) -> Result<AsyncSmtpConnection, Rejection> {
        let addresses = match timeout_at(deadline, resolve(&self.host, self.port, &self.policy)).await {
            Err(_) => return Err(not_sent("resolving the host took too long")),
            Ok(Err(ResolveError::NoAddress)) => return Err(not_sent("the host name cannot be resolved")),
            Ok(Err(refused @ ResolveError::Forbidden)) => {
                let category = ErrorCategory::AuthFailure;
                return Err(Rejection {
                    category,
                    code: "forbidden_address".to_owned(),
                    ..not_sent(&refused.to_string())
                });
            }
            Ok(Ok(addresses)) => addresses,
        };
        let mut last = not_sent("no connection");
        for address in addresses.into_iter().take(MOST_ADDRESSES) {
            let wrapped = (self.tls == TlsMode::Tls).then(|| self.parameters.clone());
            let limit = Some(self.policy.connect_timeout);
            let connecting = AsyncSmtpConnection::connect_tokio1(address, limit, &self.hello, wrapped, None);
            match step(deadline, Stage::Connect, connecting).await {
                Ok(connection) => return self.secure(connection, deadline).await,
                Err(Failure::Said(rejection)) => return Err(rejection),
                Err(Failure::Silent(detail)) => last = not_sent(&detail),
            }
        }
        Err(last)
    }

    async fn secure(
        &self,
        mut connection: AsyncSmtpConnection,
        deadline: Instant,
    ) -> Result<AsyncSmtpConnection, Rejection> {
        if self.tls == TlsMode::Starttls {
            if !connection.can_starttls() {
                close(connection).await;
                let rejection = not_sent("the server offers no STARTTLS; use another port or \"tls\"");
                return Err(Rejection {
                    category: ErrorCategory::AuthFailure,
                    code: "no_starttls".to_owned(),
                    ..rejection
                });
            }
            let upgrade = connection.starttls(self.parameters.clone(), &self.hello);
            step(deadline, Stage::StartTls, upgrade)
                .await
                .map_err(Failure::into_rejection)?;
        }
        if let Some(credentials) = &self.credentials {
            let login = connection.auth(&[Mechanism::Plain, Mechanism::Login], credentials);
            step(deadline, Stage::Auth, login)
                .await
                .map_err(Failure::into_rejection)?;
        }
        Ok(connection)
    }
}

/// What kept a step from succeeding.
enum Failure {
    /// The server said no.
    Said(Rejection),
    /// No reply: time, network, TLS, or something that is not SMTP.
    Silent(String),
}

impl Failure {
    fn into_rejection(self) -> Rejection {
        match self {
            Self::Said(rejection) => rejection,
            Self::Silent(detail) => not_sent(&detail),
        }
    }
}

async fn step<T>(
    deadline: Instant,
    stage: Stage,
    work: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
) -> Result<T, Failure> {
    match timeout_at(deadline, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failure_of(stage, &error)),
        Err(_) => Err(Failure::Silent(format!("no answer in time ({stage:?})"))),
    }
}

fn failure_of(stage: Stage, error: &lettre::transport::smtp::Error) -> Failure {
    if let Some(code) = error.status() {
        let text = error.source().map(ToString::to_string).unwrap_or_default();
        if let Some(rejection) = classify(stage, &format!("{code} {text}")) {
            return Failure::Said(rejection);
        }
    }
    if error.is_client() && stage == Stage::Auth {
        let rejection = not_sent("the server offers neither AUTH PLAIN nor AUTH LOGIN");
        let category = ErrorCategory::AuthFailure;
        return Failure::Said(Rejection {
            category,
            code: "no_auth".to_owned(),
            ..rejection
        });
    }
    if error.is_tls() || find::<rustls::Error>(error).is_some() {
        return Failure::Silent(tls_failure(error));
    }
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_response() {
        "an answer that is not SMTP, or a closed connection"
    } else {
        "the connection broke off"
    };
    Failure::Silent(format!("{what} ({stage:?})"))
}

fn not_sent(detail: &str) -> Rejection {
    Rejection {
        category: ErrorCategory::Transient,
        code: "not_sent".to_owned(),
        detail: detail.to_owned(),
        retry_after: None,
        effect: None,
    }
}

/// Sends one message over an open connection.
pub async fn transmit(connection: &mut AsyncSmtpConnection, message: &Composed, deadline: Instant) -> Ended {
    let mut options = Vec::new();
    let addresses = message.envelope.from().into_iter().chain(message.envelope.to());
    if addresses
        .into_iter()
        .any(|address| !AsRef::<str>::as_ref(address).is_ascii())
    {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Ended::Told(SendOutcome::Rejected(Rejection {
                category: ErrorCategory::Permanent,
                code: "smtputf8".to_owned(),
                ..not_sent("the address is not ASCII and the server does not support SMTPUTF8")
            }));
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    if !message.bytes.is_ascii() && connection.server_info().supports_feature(Extension::EightBitMime) {
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    let mail = Mail::new(message.envelope.from().cloned(), options);
    match step(deadline, Stage::Mail, connection.command(mail)).await {
        Ok(_) => {}
        Err(Failure::Said(rejection)) => return refused(connection, rejection, deadline).await,
        Err(Failure::Silent(detail)) => return Ended::NotBegun(not_sent(&detail)),
    }
    for recipient in message.envelope.to() {
        let rcpt = Rcpt::new(recipient.clone(), Vec::new());
        match step(deadline, Stage::Rcpt, connection.command(rcpt)).await {
            Ok(_) => {}
            Err(Failure::Said(rejection)) => return refused(connection, rejection, deadline).await,
            Err(Failure::Silent(detail)) => return Ended::Broken(SendOutcome::Rejected(not_sent(&detail))),
        }
    }
    match step(deadline, Stage::Data, connection.command(Data)).await {
        Ok(_) => content(connection, &message.bytes, deadline).await,
        Err(Failure::Said(rejection)) => refused(connection, rejection, deadline).await,
        Err(Failure::Silent(detail)) => Ended::Broken(SendOutcome::Rejected(not_sent(&detail))),
    }
}

/// The message and the final dot. A failure while the message is still being written means that the server cannot
/// have taken it; from the moment the dot is due, only a reply tells.
async fn content(connection: &mut AsyncSmtpConnection, bytes: &[u8], deadline: Instant) -> Ended {
    let dot_due = AtomicBool::new(false);
    // The connection asks for the next piece only once the one before is written and flushed.
    let pieces = std::iter::once(bytes).chain(std::iter::from_fn(|| {
        dot_due.store(true, Ordering::Relaxed);
        None
    }));
    match step(deadline, Stage::End, connection.message_iter(pieces)).await {
        Ok(reply) => Ended::Told(SendOutcome::Accepted {
            provider_message_id: queue_id(&reply),
        }),
        Err(Failure::Said(rejection)) => Ended::Told(SendOutcome::Rejected(rejection)),
        Err(Failure::Silent(detail)) if dot_due.load(Ordering::Relaxed) => {
            Ended::Broken(SendOutcome::Unknown {
                detail: format!("after the final dot: {detail}"),
            })
        }
        Err(Failure::Silent(detail)) => Ended::Broken(SendOutcome::Rejected(not_sent(&format!(
            "before the final dot: {detail}"
        )))),
    }
}

/// After a no the transaction is reset, so that the connection can carry the next message.
async fn refused(connection: &mut AsyncSmtpConnection, rejection: Rejection, deadline: Instant) -> Ended {
    let closing = rejection.code.starts_with("421");
    let outcome = SendOutcome::Rejected(rejection);
    if !closing
        && step(deadline, Stage::Mail, connection.command(Rset))
            .await
            .is_ok()
    {
        Ended::Told(outcome)
    } else {
        Ended::Broken(outcome)
    }
}

/// The server's id of the message, from `250 2.0.0 Ok: queued as 4C1234`.
fn queue_id(reply: &lettre::transport::smtp::response::Response) -> Option<String> {
    let line = reply.first_line()?;
    let (_, id) = line.split_once("queued as ")?;
    let id: String = id
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(64)
        .collect();
    (!id.is_empty()).then_some(id)
}

/// Says goodbye, briefly.
pub async fn close(mut connection: AsyncSmtpConnection) {
    // The connection is dropped either way; a server that does not answer QUIT changes nothing.
    let _ = timeout(Duration::from_secs(1), connection.abort()).await;
}
