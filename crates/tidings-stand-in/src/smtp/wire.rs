//! Lines and messages over a socket, within bounds.

use bytes::{Buf, BytesMut};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of a command line; RFC 5321 asks for 512, extensions and AUTH for more.
const LONGEST_COMMAND: usize = 12_288;

/// A socket, and what was read ahead.
pub(super) struct Wire {
    pub stream: TcpStream,
    buffer: BytesMut,
}

/// A message's bytes, or why there are none.
pub(super) enum Data {
    Whole(Vec<u8>),
    TooLarge,
    /// A line that ends in a bare LF or CR: how smuggled messages begin.
    BareLineEnd,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
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
        self.stream.write_all(format!("{reply}\r\n").as_bytes()).await
    }
}
