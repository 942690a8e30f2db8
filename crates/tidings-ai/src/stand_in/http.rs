//! The stand-in behind a real socket on this machine, on plain threads: so that it can stop in the middle.

use super::wire::{Wire, wire};
use super::{Received, Reply, Script};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The longest it waits for its client; without a limit a test that goes wrong would hang.
const PATIENCE: Duration = Duration::from_secs(20);
/// A body that is refused by every reader.
const HUGE_BYTES: usize = 8 << 20;

/// A model on a free port of the loopback address; it ends when it is dropped.
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    received: Arc<Mutex<Vec<Received>>>,
    /// Silent connections wait on the other end; dropping this ends them.
    _alive: Sender<()>,
}

struct Served {
    script: Script,
    received: Arc<Mutex<Vec<Received>>>,
    ended: Mutex<Receiver<()>>,
}

impl ModelServer {
    /// Starts, answering with these replies in order; the last one is repeated.
    ///
    /// # Panics
    /// When no port can be opened, or there are no replies; a test cannot go on then.
    pub fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener =
            TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("no free port: {error}"));
        let address = listener
            .local_addr()
            .unwrap_or_else(|error| panic!("no address: {error}"));
        let (alive, over) = channel();
        let received = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let served = Arc::new(Served {
            script: Script::new(replies),
            received: received.clone(),
            ended: Mutex::new(over),
        });
        let flag = ended.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if flag.load(Ordering::SeqCst) {
                    break;
                }
                let served = served.clone();
                let limited = stream
                    .set_read_timeout(Some(PATIENCE))
                    .and(stream.set_write_timeout(Some(PATIENCE)));
                if limited.is_ok() {
                    thread::spawn(move || serve(stream, &served));
                }
            }
        });
        Self {
            address,
            ended,
            received,
            _alive: alive,
        }
    }

    /// Its base URL, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls so far.
    pub fn received(&self) -> Vec<Received> {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, so that it sees the flag.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: TcpStream, served: &Served) {
    let Some(request) = read(&stream) else { return };
    let answer = wire(&served.script.next(), &request.url, &request.body);
    served
        .received
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request);
    // The client may be gone; what it saw is its own matter.
    let _ = act(stream, answer, &served.ended);
}

fn read(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, length)| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Received {
        url: line.split(' ').nth(1).unwrap_or_default().to_owned(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

fn act(mut stream: TcpStream, answer: Wire, ended: &Mutex<Receiver<()>>) -> std::io::Result<()> {
    match answer {
        Wire::Answer {
            status,
            headers,
            body,
        } => {
            let mut head = format!(
                "HTTP/1.1 {status} Stand-in\r\ncontent-length: {}\r\nconnection: close\r\n",
                body.len()
            );
            for (name, value) in headers {
                head.extend([name, ": ", &value, "\r\n"]);
            }
            stream.write_all(format!("{head}\r\n{body}").as_bytes())
        }
        Wire::Huge => {
            let head =
                format!("HTTP/1.1 200 Stand-in\r\ncontent-length: {HUGE_BYTES}\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            let piece = vec![b' '; 1 << 16];
            for _ in 0..HUGE_BYTES / piece.len() {
                stream.write_all(&piece)?;
            }
            Ok(())
        }
        Wire::Silence => {
            // Ends with the stand-in, not by a clock.
            let _ = ended
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv_timeout(PATIENCE);
            Ok(())
        }
        Wire::Close => Ok(()),
    }
}
