//! Writing an answer, rightly or in one of the ways in which servers break.

use super::Reply;
use jiff::Timestamp;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest a connection that says nothing is held.
const LONGEST_SILENCE: Duration = Duration::from_mins(10);
/// Between two bytes of an answer that drips.
const DRIP: Duration = Duration::from_secs(1);
/// Bytes of an answer that drips, so that it ends some day.
const MOST_DRIPS: usize = 600;
/// Bytes of an answer that is far too long.
const HUGE: usize = 10 << 20;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it should be.
    Whole,
    /// Not at all, and the connection stays open.
    Silence,
    /// Not at all, and the connection is closed in an orderly way.
    Close,
    /// Not at all, and the connection is reset.
    Reset,
    /// Bytes that are not HTTP.
    Garbage,
    /// The right status, and a body that means nothing.
    Nonsense,
    /// Chunked, and the chunk breaks off.
    TruncatedChunk,
    /// The head, then a byte a second.
    Drip,
    /// The right status, and ten mebibytes.
    Huge,
}

/// Writes; true when the connection can be used again.
pub(crate) async fn write(
    stream: &mut TcpStream,
    reply: &Reply,
    manner: Manner,
    now: Timestamp,
    keep_alive: bool,
) -> io::Result<bool> {
    let known = |length: usize| format!("Content-Length: {length}");
    match manner {
        Manner::Whole => {
            let mut bytes = reply.head(now, &known(reply.body.len()), keep_alive);
            bytes.extend_from_slice(&reply.body);
            stream.write_all(&bytes).await?;
            return Ok(keep_alive);
        }
        Manner::Silence => until_gone(stream).await,
        Manner::Close => stream.shutdown().await?,
        Manner::Reset => stream.set_zero_linger()?,
        Manner::Garbage => {
            stream
                .write_all(b"\x00\xff\x16\x03this is not HTTP\r\n\r\n")
                .await?;
        }
        Manner::Nonsense => {
            let body = b"{\"id\": <!-- \xff\xfe";
            stream
                .write_all(&reply.head(now, &known(body.len()), false))
                .await?;
            stream.write_all(body).await?;
        }
        Manner::TruncatedChunk => {
            let mut bytes = reply.head(now, "Transfer-Encoding: chunked", false);
            bytes.extend_from_slice(b"ff\r\n");
            bytes.extend_from_slice(&reply.body[..reply.body.len().min(16)]);
            stream.write_all(&bytes).await?;
        }
        Manner::Drip => drip(stream, reply, now).await?,
        Manner::Huge => {
            stream.write_all(&reply.head(now, &known(HUGE), false)).await?;
            let piece = vec![b'x'; 1 << 16];
            for _ in 0..HUGE / piece.len() {
                stream.write_all(&piece).await?;
            }
        }
    }
    Ok(false)
}

async fn drip(stream: &mut TcpStream, reply: &Reply, now: Timestamp) -> io::Result<()> {
    let length = reply.body.len().max(MOST_DRIPS);
    stream
        .write_all(&reply.head(now, &format!("Content-Length: {length}"), false))
        .await?;
    for at in 0..MOST_DRIPS {
        let byte = reply.body.get(at).copied().unwrap_or(b' ');
        stream.write_all(&[byte]).await?;
        tokio::time::sleep(DRIP).await;
    }
    Ok(())
}

/// Waits until the client gives up, or for the longest time.
async fn until_gone(stream: &mut TcpStream) {
    let mut ignored = [0; 1024];
    let gone = async { while matches!(stream.read(&mut ignored).await, Ok(read) if read > 0) {} };
    // Either way the connection ends; which of the two came first changes nothing.
    let _ = tokio::time::timeout(LONGEST_SILENCE, gone).await;
}
