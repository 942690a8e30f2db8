//! The sockets: connections accepted, bounded, and driven through a [`Session`].

use crate::peers::Peers;
use crate::session::{Limits, Session, Tls};
use crate::step::{Mail, Reply, Step, Verdict};
use crate::tls::Certificate;
use crate::wire::Wire;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// It cannot be said, or kept, at the moment; the client should try again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Later(pub String);

/// Whose mail is taken, and where it is kept.
pub trait Post: Send + Sync + 'static {
    /// Whether mail for the address is taken.
    fn knows(&self, recipient: &str) -> impl Future<Output = Result<bool, Later>> + Send;

    /// Keeps a mail for all its recipients, durably when this returns.
    fn keep(&self, mail: &Mail) -> impl Future<Output = Result<(), Later>> + Send;
}

/// Bounds of the whole server.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// Connections of one peer at once.
    pub of_one_peer: usize,
    /// Mails that are being received at once: what they need of memory is this many times the longest.
    pub mails: usize,
    /// Of them, mails of one peer: nobody alone keeps the others out.
    pub mails_of_one_peer: usize,
    /// How long a mail waits for its turn before its sender is told to come again.
    pub patience: Duration,
    /// How long the text of one mail may take, however steadily it comes.
    pub mail: Duration,
    /// How long a client may be silent.
    pub silence: Duration,
    /// How long a handshake of TLS may take, from `STARTTLS` to its end.
    pub handshake: Duration,
    /// How long ago the files of the certificate may have been looked at; a handshake after that looks again.
    pub certificate_age: Duration,
    /// How long a connection may last, handshake included.
    pub connection: Duration,
    /// Of each connection.
    pub session: Limits,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 200,
            of_one_peer: 20,
            mails: 8,
            mails_of_one_peer: 4,
            patience: Duration::from_secs(20),
            mail: Duration::from_mins(3),
            silence: Duration::from_mins(1),
            handshake: Duration::from_secs(20),
            certificate_age: Duration::from_secs(30),
            connection: Duration::from_mins(10),
            session: Limits::default(),
        }
    }
}

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;

#[derive(Debug)]
struct Shared<P> {
    post: P,
    host: String,
    certificate: Option<Certificate>,
    bounds: Bounds,
    mails: Semaphore,
}

impl<P> Shared<P> {
    fn session(&self) -> Session {
        let tls = if self.certificate.is_some() {
            Tls::Offered
        } else {
            Tls::Unavailable
        };
        Session::new(self.host.clone(), self.bounds.session, tls)
    }
}

/// Serves until `stop` is cancelled; then mails that are being received may end within the connection's own bounds. With a
/// certificate STARTTLS is offered, and no client has to take it: a server that refused plain text would lose mail (RFC 3207
/// section 4).
pub async fn serve<P: Post>(
    listener: TcpListener,
    host: String,
    certificate: Option<Certificate>,
    post: P,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let shared = Arc::new(Shared {
        mails: Semaphore::new(bounds.mails.max(1)),
        post,
        host,
        certificate,
        bounds,
    });
    let places = Arc::new(Semaphore::new(bounds.connections.max(1)));
    let peers = Peers::new(bounds.of_one_peer, bounds.mails_of_one_peer);
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a mail connection could not be accepted");
                // Out of descriptors, most likely: not at once again.
                let _ = tokio::time::timeout(Duration::from_millis(100), stop.cancelled()).await;
                continue;
            }
        };
        let place = Arc::clone(&places).try_acquire_owned().ok();
        let peer = place.and_then(|place| Some((place, peers.take(peer.ip())?)));
        let Some(held) = peer else {
            count("crowded");
            tasks.spawn(turn_away(stream));
            continue;
        };
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tasks.spawn(async move {
            let driven = drive(stream, &shared, &held.1.mails, &stop);
            let lasting = tokio::time::timeout(shared.bounds.connection, driven).await;
            count(match lasting {
                Ok(Ok(())) => "ended",
                Ok(Err(_)) => "broken",
                Err(_) => "too_long",
            });
            drop(held);
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// Says on `/metrics` what the figures of the mail server mean.
pub fn describe_figures() {
    metrics::describe_counter!(
        "tidings_mail_connections_total",
        "Connections to the mail server, by how they ended"
    );
    metrics::describe_counter!(
        "tidings_mail_taken_total",
        "Mails the mail server took, by whether they came over TLS"
    );
    metrics::describe_counter!(
        "tidings_mail_handshakes_total",
        "TLS handshakes of the mail server, by how they ended"
    );
    metrics::describe_counter!(
        "tidings_mail_certificates_total",
        "Certificates of the mail server whose files were changed, by what became of them"
    );
}

fn count(outcome: &'static str) {
    metrics::counter!("tidings_mail_connections_total", "outcome" => outcome).increment(1);
}

async fn turn_away(mut stream: TcpStream) {
    let said = stream.write_all(b"421 4.3.2 too many connections; try again later\r\n");
    let _ = tokio::time::timeout(Duration::from_secs(5), said).await;
}

/// The place of a mail that is being received, and when it must have come whole.
struct Receiving<'a> {
    _places: (SemaphorePermit<'a>, SemaphorePermit<'a>),
    until: Instant,
}

/// Waits for the turn of a mail: first among those of its peer, then among all.
async fn turn<'a, P>(
    shared: &'a Shared<P>,
    of_peer: &'a Semaphore,
    stop: &CancellationToken,
) -> Option<Receiving<'a>> {
    let places = async { Some((of_peer.acquire().await.ok()?, shared.mails.acquire().await.ok()?)) };
    let places = tokio::select! {
        () = stop.cancelled() => return None,
        waited = tokio::time::timeout(shared.bounds.patience, places) => waited.ok()??,
    };
    Some(Receiving {
        _places: places,
        until: Instant::now() + shared.bounds.mail,
    })
}

/// Says that TLS may begin, and negotiates it.
async fn secure<P>(
    mut wire: Wire,
    reply: &Reply,
    shared: &Shared<P>,
    stop: &CancellationToken,
) -> std::io::Result<Wire> {
    let Some(certificate) = &shared.certificate else {
        return Err(std::io::ErrorKind::Unsupported.into());
    };
    let negotiated = async {
        // First: nobody who was told to begin waits for a slow disk.
        let config = certificate.config(shared.bounds.certificate_age).await;
        wire.write(&reply.to_wire()).await?;
        wire.secure(config).await
    };
    let negotiated = tokio::select! {
        () = stop.cancelled() => return Err(std::io::ErrorKind::Interrupted.into()),
        negotiated = tokio::time::timeout(shared.bounds.handshake, negotiated) => negotiated,
    };
    let (outcome, secured) = match negotiated {
        Ok(Ok(wire)) => ("done", Ok(wire)),
        Ok(Err(error)) => ("failed", Err(error)),
        Err(_) => ("too_long", Err(std::io::ErrorKind::TimedOut.into())),
    };
    metrics::counter!("tidings_mail_handshakes_total", "outcome" => outcome).increment(1);
    if let Err(error) = &secured {
        tracing::info!(%error, "a TLS handshake of the mail server failed");
    }
    secured
}

async fn drive<P: Post>(
    stream: TcpStream,
    shared: &Shared<P>,
    mails_of_peer: &Semaphore,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let mut wire = Wire::Plain(stream);
    let mut session = shared.session();
    let mut receiving: Option<Receiving<'_>> = None;
    let mut chunk = vec![0u8; CHUNK];
    let mut step = Step::Say(session.greeting());
    loop {
        step = match step {
            Step::Say(reply) => {
                if !session.is_receiving() {
                    // Also of a mail that was refused for its length.
                    receiving = None;
                }
                say(&mut wire, &reply.to_wire(), shared.bounds.silence).await?;
                session.step()
            }
            Step::StartTls(reply) => {
                wire = secure(wire, &reply, shared, stop).await?;
                session.secured()
            }
            Step::End(reply) => return part(&mut wire, &reply.to_wire(), shared.bounds.silence).await,
            Step::Read => {
                match listen(
                    &mut wire,
                    &mut chunk,
                    receiving.as_ref().map(|mail| mail.until),
                    shared.bounds.silence,
                    stop,
                )
                .await?
                {
                    Heard::Bytes(0) => return Ok(()),
                    Heard::Bytes(count) => session.feed(&chunk[..count]),
                    Heard::Enough(bye) => return part(&mut wire, bye, shared.bounds.silence).await,
                }
                session.step()
            }
            Step::Ask(recipient) => session.recipient(knows(&shared.post, &recipient).await),
            Step::Begin => {
                receiving = turn(shared, mails_of_peer, stop).await;
                session.begin(if receiving.is_some() {
                    Verdict::Yes
                } else {
                    Verdict::Later
                })
            }
            Step::Keep(mail) => {
                let verdict = keep(&shared.post, &mail).await;
                drop(mail);
                if verdict == Verdict::Yes {
                    metrics::counter!("tidings_mail_taken_total", "transport" => wire.transport())
                        .increment(1);
                }
                session.kept(verdict)
            }
        };
    }
}

async fn knows<P: Post>(post: &P, recipient: &str) -> Verdict {
    match post.knows(recipient).await {
        Ok(true) => Verdict::Yes,
        Ok(false) => Verdict::No,
        Err(error) => {
            tracing::warn!(%error, "a recipient of mail could not be looked up");
            Verdict::Later
        }
    }
}

async fn keep<P: Post>(post: &P, mail: &Mail) -> Verdict {
    match post.keep(mail).await {
        Ok(()) => Verdict::Yes,
        Err(error) => {
            tracing::warn!(%error, "a mail could not be stored; its sender will try again");
            Verdict::Later
        }
    }
}

/// What came of listening.
enum Heard {
    /// So many bytes; none: the client has closed.
    Bytes(usize),
    /// The connection ends with these words.
    Enough(&'static str),
}

async fn listen(
    wire: &mut Wire,
    chunk: &mut [u8],
    receiving: Option<Instant>,
    silence: Duration,
    stop: &CancellationToken,
) -> std::io::Result<Heard> {
    let silent = Instant::now() + silence;
    let (until, why) = match receiving {
        Some(until) if until < silent => (until, "421 4.4.2 the mail takes too long\r\n"),
        _ => (silent, "421 4.4.2 silent for too long\r\n"),
    };
    tokio::select! {
        // What is being received may end; a connection that only waits is told to come again.
        () = stop.cancelled(), if receiving.is_none() => {
            Ok(Heard::Enough("421 4.3.2 the server is stopping; try again later\r\n"))
        }
        read = tokio::time::timeout_at(until, wire.read(chunk)) => match read {
            Ok(read) => Ok(Heard::Bytes(read?)),
            Err(_) => Ok(Heard::Enough(why)),
        },
    }
}

async fn say(wire: &mut Wire, text: &str, silence: Duration) -> std::io::Result<()> {
    within(silence, wire.write(text)).await
}

/// The last words, and the end of the connection.
async fn part(wire: &mut Wire, text: &str, silence: Duration) -> std::io::Result<()> {
    say(wire, text, silence).await?;
    within(silence, wire.close()).await
}

/// A client must take what is sent to it within the time it may be silent.
async fn within(silence: Duration, sent: impl Future<Output = std::io::Result<()>>) -> std::io::Result<()> {
    match tokio::time::timeout(silence, sent).await {
        Ok(sent) => sent,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}
