//! Reading a request, within bounds.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::form_urlencoded;

/// Bytes of a request's head.
const LONGEST_HEAD: usize = 64 * 1024;
/// Bytes of a body; the largest any vendor documents is 40 MB.
const LONGEST_BODY: usize = 41 << 20;
/// Headers of a request.
const MOST_HEADERS: usize = 100;

/// A request as it arrived.
#[derive(Clone)]
pub(crate) struct Request {
    /// `POST`.
    pub method: String,
    /// Path and query as they were written.
    pub target: String,
    /// The path's segments, decoded.
    pub path: Vec<String>,
    /// What follows the question mark.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, unchunked.
    pub body: Bytes,
    /// Whether the connection stays open afterwards.
    pub keep_alive: bool,
}

impl Request {
    /// The first header of that name (lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter of the query.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The path's segments, to match on.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// Whether the content type is this one, whatever its parameters.
    pub(crate) fn is(&self, content_type: &str) -> bool {
        let given = self.header("content-type").unwrap_or_default();
        given
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case(content_type))
    }

    /// What follows `Bearer`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
            .filter(|token| !token.is_empty())
    }
}

/// Why there is no request.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The client has gone.
    Ended,
    /// It sent what is not HTTP/1.1, or too much: the status that says so.
    Refused(u16),
}

impl From<std::io::Error> for ReadError {
    fn from(_: std::io::Error) -> Self {
        Self::Ended
    }
}

/// Reads one request; `buffer` keeps what came after it.
pub(crate) async fn read(stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<Request, ReadError> {
    let (mut request, length) = loop {
        if let Some((request, length, head)) = parse(buffer)? {
            buffer.advance(head);
            break (request, length);
        }
        if buffer.len() > LONGEST_HEAD {
            return Err(ReadError::Refused(431));
        }
        more(stream, buffer).await?;
    };
    if request
        .header("expect")
        .is_some_and(|expect| expect.eq_ignore_ascii_case("100-continue"))
    {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    request.body = match length {
        Length::Known(length) => {
            while buffer.len() < length {
                more(stream, buffer).await?;
            }
            buffer.split_to(length).freeze()
        }
        Length::Chunked => chunks(stream, buffer).await?,
    };
    Ok(request)
}

enum Length {
    Known(usize),
    Chunked,
}

async fn more(stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<(), ReadError> {
    if stream.read_buf(buffer).await? == 0 {
        return Err(ReadError::Ended);
    }
    Ok(())
}

/// The head, how long the body is, and how many bytes the head took; nothing while it is incomplete.
fn parse(buffer: &BytesMut) -> Result<Option<(Request, Length, usize)>, ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let bytes = match head.parse(buffer) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(ReadError::Refused(400)),
    };
    let target = head.path.unwrap_or("/").to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let owned: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|header| {
            let value = String::from_utf8_lossy(header.value).trim().to_owned();
            (header.name.to_ascii_lowercase(), value)
        })
        .collect();
    let connection = owned.iter().find(|(name, _)| name == "connection");
    let close = connection.is_some_and(|(_, value)| value.eq_ignore_ascii_case("close"));
    let length = length_of(&owned)?;
    let request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        path: path.split('/').skip(1).map(decoded).collect(),
        query: query.to_owned(),
        headers: owned,
        body: Bytes::new(),
        keep_alive: head.version == Some(1) && !close,
        target,
    };
    Ok(Some((request, length, bytes)))
}

fn length_of(headers: &[(String, String)]) -> Result<Length, ReadError> {
    let header = |name: &str| headers.iter().find(|(key, _)| key == name);
    if let Some((_, coding)) = header("transfer-encoding") {
        return if coding.eq_ignore_ascii_case("chunked") {
            Ok(Length::Chunked)
        } else {
            Err(ReadError::Refused(501))
        };
    }
    let Some((_, length)) = header("content-length") else {
        return Ok(Length::Known(0));
    };
    match length.parse() {
        Ok(length) if length <= LONGEST_BODY => Ok(Length::Known(length)),
        Ok(_) => Err(ReadError::Refused(413)),
        Err(_) => Err(ReadError::Refused(400)),
    }
}

async fn chunks(stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<Bytes, ReadError> {
    let mut body = BytesMut::new();
    loop {
        let size = match httparse::parse_chunk_size(buffer) {
            Ok(httparse::Status::Complete((head, size))) => {
                buffer.advance(head);
                usize::try_from(size).unwrap_or(usize::MAX)
            }
            Ok(httparse::Status::Partial) => {
                more(stream, buffer).await?;
                continue;
            }
            Err(_) => return Err(ReadError::Refused(400)),
        };
        if size > LONGEST_BODY || body.len() + size > LONGEST_BODY {
            return Err(ReadError::Refused(413));
        }
        while buffer.len() < size + 2 {
            more(stream, buffer).await?;
        }
        body.extend_from_slice(&buffer.split_to(size));
        if !buffer.starts_with(b"\r\n") {
            // Trailers are not read: no client of ours sends any.
            return Err(ReadError::Refused(400));
        }
        buffer.advance(2);
        if size == 0 {
            return Ok(body.freeze());
        }
    }
}

/// Percent decoding; what is no escape stays as it is.
fn decoded(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| hex::decode(digits).ok());
        if let Some(byte) = escape {
            out.extend(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn head(text: &str) -> Result<Option<(Request, Length, usize)>, ReadError> {
        parse(&BytesMut::from(text))
    }

    #[test]
    fn reads_segments_queries_and_lengths() {
        let text = "POST /lookup/a%2Fb%20c?x=1&y=%26 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
        let (request, length, taken) = head(text).unwrap().unwrap();
        assert_eq!(request.segments(), ["lookup", "a/b c"]);
        assert_eq!(request.query("y").as_deref(), Some("&"));
        assert!(matches!(length, Length::Known(3)) && request.keep_alive);
        assert_eq!(&text[taken..], "abc");
        assert!(head("POST / HTTP/1.1\r\nHost:").unwrap().is_none());
    }

    #[test]
    fn refuses_what_it_cannot_bound() {
        for (text, status) in [
            ("POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
            ("\u{0}nonsense\r\n\r\n", 400),
        ] {
            assert!(
                matches!(head(text), Err(ReadError::Refused(given)) if given == status),
                "{text:?}"
            );
        }
    }
}
