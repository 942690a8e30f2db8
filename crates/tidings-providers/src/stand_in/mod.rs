//! Wire-level stand-ins: real sockets on this machine that answer as providers do, and as they should not.
//!
//! They run on plain threads with blocking sockets, so that they can do what no library lets a server do: stop in
//! the middle, close without a word, drip. Each ends when it is dropped.

pub mod http;
pub mod smtp;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The longest a stand-in waits for its client.
const PATIENCE: Duration = Duration::from_secs(20);

/// A listener on a free port of the loopback address.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Listener {
    /// Starts; `serve` gets each connection on a thread of its own.
    ///
    /// # Panics
    /// When no port can be opened; a test cannot go on then.
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener =
            TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("no free port: {error}"));
        let address = listener
            .local_addr()
            .unwrap_or_else(|error| panic!("no address: {error}"));
        let ended = Arc::new(AtomicBool::new(false));
        let (flag, serve) = (ended.clone(), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if flag.load(Ordering::SeqCst) {
                    break;
                }
                let serve = serve.clone();
                // Without limits a test that goes wrong would hang instead of failing.
                let limited = stream
                    .set_read_timeout(Some(PATIENCE))
                    .and(stream.set_write_timeout(Some(PATIENCE)));
                if limited.is_ok() {
                    thread::spawn(move || serve(stream));
                }
            }
        });
        Self { address, ended }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, so that it sees the flag.
        drop(TcpStream::connect(self.address));
    }
}

/// A port of this machine where nobody listens.
///
/// # Panics
/// When no port can be opened.
pub fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("no free port: {error}"));
    listener.local_addr().map_or(1, |address| address.port())
}
