//! An HTTP server that does as it is told.

use super::Listener;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A recorded answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: String,
}

impl Reply {
    /// A JSON answer.
    pub fn json(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", "application/json".to_owned())],
            body: body.to_owned(),
        }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// What happens once a request was read.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// It is answered.
    Answer(Reply),
    /// Nothing comes, and the connection stays open.
    Silence,
    /// The connection is closed without a word.
    Close,
    /// Bytes that are not HTTP.
    Garbage,
    /// The answer, with a body of ten mebibytes.
    Huge(Reply),
    /// The answer, whose body comes a byte at a time and never ends.
    Drip(Reply),
    /// The answer, whose body breaks off.
    CutShort(Reply),
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// `POST /path HTTP/1.1`.
    pub line: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

/// The stand-in.
#[derive(Debug)]
pub struct HttpStandIn {
    listener: Listener,
    received: Arc<Mutex<Vec<Received>>>,
    /// Silent connections wait on the other end; dropping this ends them.
    _alive: Sender<()>,
}

impl HttpStandIn {
    /// Starts, with the same behaviour for every request.
    pub fn start(behaviour: Behaviour) -> Self {
        Self::script(vec![behaviour])
    }

    /// Starts, with one behaviour a request; the last one goes on. Without any, connections are closed.
    pub fn script(behaviours: Vec<Behaviour>) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let (alive, ended) = channel();
        let (log, ended) = (received.clone(), Mutex::new(ended));
        let listener = Listener::start(move |stream| {
            if let Some(request) = read_request(&stream) {
                let turn = {
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push(request);
                    log.len() - 1
                };
                let behaviour = behaviours
                    .get(turn)
                    .or(behaviours.last())
                    .unwrap_or(&Behaviour::Close);
                // The client may be gone; what it saw is its own matter.
                let _ = act(stream, behaviour, &ended);
            }
        });
        Self {
            listener,
            received,
            _alive: alive,
        }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// What arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = Vec::new();
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
        .and_then(|(_, n)| n.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Received {
        line: line.trim_end().to_owned(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn act(mut stream: TcpStream, behaviour: &Behaviour, ended: &Mutex<Receiver<()>>) -> std::io::Result<()> {
    match behaviour {
        Behaviour::Answer(reply) => {
            stream.write_all(head(reply, reply.body.len()).as_bytes())?;
            stream.write_all(reply.body.as_bytes())
        }
        Behaviour::Close => Ok(()),
        Behaviour::Garbage => stream.write_all(b"\x00\xffthis is not HTTP\r\n\r\n"),
        Behaviour::Silence => {
            // Ends with the stand-in, not by a clock.
            let _ = ended
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv_timeout(super::PATIENCE);
            Ok(())
        }
        Behaviour::Huge(reply) => {
            stream.write_all(head(reply, 10 << 20).as_bytes())?;
            let piece = vec![b'x'; 1 << 16];
            for _ in 0..160 {
                stream.write_all(&piece)?;
            }
            Ok(())
        }
        Behaviour::Drip(reply) => {
            stream.write_all(head(reply, 1 << 20).as_bytes())?;
            loop {
                stream.write_all(b" ")?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Behaviour::CutShort(reply) => {
            stream.write_all(head(reply, reply.body.len() + 100).as_bytes())?;
            stream.write_all(reply.body.as_bytes())
        }
    }
}

fn head(reply: &Reply, length: usize) -> String {
    let mut head = format!(
        "HTTP/1.1 {} Stand-in\r\nContent-Length: {length}\r\nConnection: close\r\n",
        reply.status
    );
    for (name, value) in &reply.headers {
        head.extend([name, ": ", value.as_str(), "\r\n"]);
    }
    head.push_str("\r\n");
    head
}
