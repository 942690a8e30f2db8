//! The sockets: connections accepted, bounded, and driven through a [`Session`].

use crate::session::{Limits, Mail, Session, Step, Verdict};
use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
            mails_of_one_peer: 4,
            patience: Duration::from_secs(20),
            mail: Duration::from_mins(3),
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
    peers: Mutex<HashMap<IpAddr, Peer>>,
}

/// What one peer has.
#[derive(Debug)]
struct Peer {
    connections: usize,
    mails: Arc<Semaphore>,
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
    mails: Arc<Semaphore>,
}

impl<P> PeerPlace<P> {
    fn take(shared: &Arc<Shared<P>>, address: IpAddr) -> Option<Self> {
        let peer = network(address);
        let mut peers = shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = peers.entry(peer).or_insert_with(|| Peer {
            connections: 0,
            mails: Arc::new(Semaphore::new(shared.bounds.mails_of_one_peer.max(1))),
        });
        if known.connections >= shared.bounds.of_one_peer {
            return None;
        }
        known.connections += 1;
        Some(Self {
            shared: Arc::clone(shared),
            peer,
            mails: Arc::clone(&known.mails),
        })
    }
}

/// Who counts as one peer: an address of IPv4, a network of 64 bits of IPv6, which one subscriber has whole.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

impl<P> Drop for PeerPlace<P> {
    fn drop(&mut self) {
        let mut peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = peers.get_mut(&self.peer) {
            known.connections -= 1;
            if known.connections == 0 {
                peers.remove(&self.peer);
            }
        }
    }
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

async fn drive<P: Post>(
    mut stream: TcpStream,
    shared: &Shared<P>,
    mails_of_peer: &Semaphore,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let mut session = Session::new(shared.host.clone(), shared.bounds.session);
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
                    receiving.as_ref().map(|mail| mail.until),
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
        read = tokio::time::timeout_at(until, stream.read(chunk)) => match read {
            Ok(read) => Ok(Heard::Bytes(read?)),
            Err(_) => Ok(Heard::Enough(why)),
        },
    }
}

async fn write(stream: &mut TcpStream, text: &str, silence: Duration) -> std::io::Result<()> {
    match tokio::time::timeout(silence, stream.write_all(text.as_bytes())).await {
        Ok(written) => written,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("192.0.2.1", "192.0.2.2", false)]
    #[case("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true)]
    #[case("2001:db8:1:2::1", "2001:db8:1:3::1", false)]
    #[case("::ffff:192.0.2.1", "192.0.2.1", true)]
    fn a_subscriber_is_one_peer(#[case] one: &str, #[case] other: &str, #[case] same: bool) {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of(one) == of(other), same);
    }
}
