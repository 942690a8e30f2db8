//! The sockets: connections accepted, bounded, and driven through a [`Session`].

use crate::session::{Limits, Mail, Session, Step, Verdict};
use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
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
    /// How long a client may be silent.
    pub silence: Duration,
    /// How long a connection may last.
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
            silence: Duration::from_mins(1),
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
    bounds: Bounds,
    mails: Semaphore,
    peers: Mutex<HashMap<IpAddr, usize>>,
}

/// Serves until `stop` is cancelled; then mails that are being received may end within the connection's own bounds.
pub async fn serve<P: Post>(
    listener: TcpListener,
    host: String,
    post: P,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let shared = Arc::new(Shared {
        mails: Semaphore::new(bounds.mails.max(1)),
        peers: Mutex::default(),
        post,
        host,
        bounds,
    });
    let places = Arc::new(Semaphore::new(bounds.connections.max(1)));
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
        let peer = place.and_then(|place| Some((place, PeerPlace::take(&shared, peer.ip())?)));
        let Some(held) = peer else {
            count("crowded");
            tasks.spawn(turn_away(stream));
            continue;
        };
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tasks.spawn(async move {
            let _held = held;
            let lasting = tokio::time::timeout(shared.bounds.connection, drive(stream, &shared, &stop)).await;
            count(match lasting {
                Ok(Ok(())) => "ended",
                Ok(Err(_)) => "broken",
                Err(_) => "too_long",
            });
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
}

fn count(outcome: &'static str) {
    metrics::counter!("tidings_mail_connections_total", "outcome" => outcome).increment(1);
}

async fn turn_away(mut stream: TcpStream) {
    let said = stream.write_all(b"421 4.3.2 too many connections; try again later\r\n");
    let _ = tokio::time::timeout(Duration::from_secs(5), said).await;
}

/// A place among the connections of one peer, until it is dropped.
struct PeerPlace<P> {
    shared: Arc<Shared<P>>,
    peer: IpAddr,
}

impl<P> PeerPlace<P> {
    fn take(shared: &Arc<Shared<P>>, peer: IpAddr) -> Option<Self> {
        let mut peers = shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(peer).or_insert(0);
        if *count >= shared.bounds.of_one_peer {
            return None;
        }
        *count += 1;
        Some(Self {
            shared: Arc::clone(shared),
            peer,
        })
    }
}

impl<P> Drop for PeerPlace<P> {
    fn drop(&mut self) {
        let mut peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

async fn drive<P: Post>(
    mut stream: TcpStream,
    shared: &Shared<P>,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let mut session = Session::new(shared.host.clone(), shared.bounds.session);
    let mut receiving = None;
    let mut chunk = vec![0u8; CHUNK];
    let mut step = Step::Say(session.greeting());
    loop {
        step = match step {
            Step::Say(reply) => {
                if !session.is_receiving() {
                    // Also of a mail that was refused for its length.
                    receiving = None;
                }
                write(&mut stream, &reply.to_wire(), shared.bounds.silence).await?;
                session.step()
            }
            Step::End(reply) => {
                write(&mut stream, &reply.to_wire(), shared.bounds.silence).await?;
                return stream.shutdown().await;
            }
            Step::Read => {
                match listen(
                    &mut stream,
                    &mut chunk,
                    receiving.is_some(),
                    shared.bounds.silence,
                    stop,
                )
                .await?
                {
                    Heard::Bytes(0) => return Ok(()),
                    Heard::Bytes(count) => session.feed(&chunk[..count]),
                    Heard::Enough(bye) => return write(&mut stream, bye, shared.bounds.silence).await,
                }
                session.step()
            }
            Step::Ask(recipient) => session.recipient(knows(&shared.post, &recipient).await),
            Step::Begin => {
                receiving = shared.mails.try_acquire().ok();
                session.begin(if receiving.is_some() {
                    Verdict::Yes
                } else {
                    Verdict::Later
                })
            }
            Step::Keep(mail) => {
                let verdict = keep(&shared.post, &mail).await;
                drop(mail);
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
    stream: &mut TcpStream,
    chunk: &mut [u8],
    receiving: bool,
    silence: Duration,
    stop: &CancellationToken,
) -> std::io::Result<Heard> {
    tokio::select! {
        // What is being received may end; a connection that only waits is told to come again.
        () = stop.cancelled(), if !receiving => {
            Ok(Heard::Enough("421 4.3.2 the server is stopping; try again later\r\n"))
        }
        read = tokio::time::timeout(silence, stream.read(chunk)) => match read {
            Ok(read) => Ok(Heard::Bytes(read?)),
            Err(_) => Ok(Heard::Enough("421 4.4.2 silent for too long\r\n")),
        },
    }
}

async fn write(stream: &mut TcpStream, text: &str, silence: Duration) -> std::io::Result<()> {
    match tokio::time::timeout(silence, stream.write_all(text.as_bytes())).await {
        Ok(written) => written,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}
