//! Lines and messages over a socket, within bounds.

use bytes::{Buf, BytesMut};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Bytes of a command line; RFC 5321 asks for 512, extensions and AUTH for more.
const LONGEST_COMMAND: usize = 12_288;

/// How long a client may take to read a reply, and how long one that ends still tries to say so.
const REPLY_LIMIT: Duration = Duration::from_mins(1);
const LAST_WORD_LIMIT: Duration = Duration::from_millis(500);

/// A socket, and what was read ahead. No read and no write outlives the stand-in.
pub(super) struct Wire {
    pub stream: TcpStream,
    buffer: BytesMut,
    ended: CancellationToken,
}

/// A message's bytes, or why there are none.
pub(super) enum Data {
    Whole(Vec<u8>),
    TooLarge,
    /// A line that ends in a bare LF or CR: how smuggled messages begin.
    BareLineEnd,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, ended: CancellationToken) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            ended,
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        let read = tokio::select! {
            read = self.stream.read_buf(&mut self.buffer) => read?,
            () = self.ended.cancelled() => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// A command, without its line end.
    pub(super) async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(at + 1);
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.buffer.len() > LONGEST_COMMAND {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.more().await?;
        }
    }

    /// Everything up to the final dot, with dots unstuffed. What is too large is read to its end nevertheless.
    pub(super) async fn data(&mut self, largest: usize) -> io::Result<Data> {
        let (mut message, mut too_large, mut bare) = (Vec::new(), false, false);
        loop {
            let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') else {
                if self.buffer.len() > largest.max(LONGEST_COMMAND) {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                self.more().await?;
                continue;
            };
            let line = &self.buffer[..=at];
            if line == b".\r\n" {
                self.buffer.advance(at + 1);
                break;
            }
            let text = line.strip_suffix(b"\r\n").unwrap_or(&line[..at]);
            bare |= !line.ends_with(b"\r\n") || text.contains(&b'\r');
            let line = line.strip_prefix(b".").unwrap_or(line);
            too_large |= message.len() + line.len() > largest;
            if !too_large {
                message.extend_from_slice(line);
            }
            self.buffer.advance(at + 1);
        }
        Ok(if too_large {
            Data::TooLarge
        } else if bare {
            Data::BareLineEnd
        } else {
            Data::Whole(message)
        })
    }

    pub(super) async fn say(&mut self, reply: &str) -> io::Result<()> {
        let line = format!("{reply}\r\n");
        tokio::select! {
            written = tokio::time::timeout(REPLY_LIMIT, self.stream.write_all(line.as_bytes())) => {
                written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
            }
            () = async {
                self.ended.cancelled().await;
                tokio::time::sleep(LAST_WORD_LIMIT).await;
            } => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}
