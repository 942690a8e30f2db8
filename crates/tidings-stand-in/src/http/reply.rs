//! An answer, before it is written.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::Value;

/// An answer.
#[derive(Clone)]
pub(crate) struct Reply {
    /// Status.
    pub status: u16,
    /// Headers besides length, date and connection.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// JSON.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::of(status, "application/json", body.to_string())
    }

    /// A body of a type.
    pub(crate) fn of(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", content_type.to_owned())],
            body: body.into(),
        }
    }

    /// The page of a proxy in front of a vendor.
    pub(crate) fn html(status: u16) -> Self {
        let title = format!("{status} {}", phrase(status));
        let page = format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
        );
        Self::of(status, "text/html", page)
    }

    /// With one more header.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Status line and headers. `framing` says how long the body is: a `Content-Length` or a `Transfer-Encoding`.
    pub(crate) fn head(&self, now: Timestamp, framing: &str, keep_alive: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, phrase(self.status));
        // A date that cannot be written (far outside our time) is left out.
        if let Ok(date) = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now) {
            head.extend(["Date: ", &date, "\r\n"]);
        }
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let connection = if keep_alive { "keep-alive" } else { "close" };
        head.extend([framing, "\r\nConnection: ", connection, "\r\n\r\n"]);
        head.into_bytes()
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Request Entity Too Large",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Answer",
    }
}
