//! What a session wants done next: something said, something asked, a mail kept.

use std::borrow::Cow;

/// A reply; each line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// Its lines, at least one.
    pub lines: Vec<Cow<'static, str>>,
}

impl Reply {
    pub(crate) fn new(code: u16, text: &'static str) -> Self {
        Self {
            code,
            lines: vec![Cow::Borrowed(text)],
        }
    }

    /// As it goes over the wire.
    pub fn to_wire(&self) -> String {
        let last = self.lines.len().saturating_sub(1);
        let line = |(at, text): (usize, &Cow<'static, str>)| {
            let mark = if at == last { ' ' } else { '-' };
            format!("{}{mark}{text}\r\n", self.code)
        };
        self.lines.iter().enumerate().map(line).collect()
    }
}

/// A whole mail.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// `MAIL FROM`; empty for reports.
    pub from: String,
    /// `RCPT TO`, all of them taken.
    pub to: Vec<String>,
    /// The text, with CRLF and unstuffed.
    pub raw: Vec<u8>,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mail({} recipients, {} bytes)", self.to.len(), self.raw.len())
    }
}

/// What is to be done next.
#[derive(PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed.
    Read,
    /// To be said; then on.
    Say(Reply),
    /// To be said; then TLS is negotiated: [`crate::Session::secured`]. Where that fails, the connection is closed.
    StartTls(Reply),
    /// Whether the recipient's mail is taken: [`crate::Session::recipient`].
    Ask(String),
    /// Whether a mail may begin now: [`crate::Session::begin`].
    Begin,
    /// To be kept: [`crate::Session::kept`].
    Keep(Mail),
    /// To be said; then the connection is closed.
    End(Reply),
}

impl std::fmt::Debug for Step {
    /// Without the address that is asked about.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read => f.write_str("Read"),
            Self::Say(reply) => write!(f, "Say({reply:?})"),
            Self::StartTls(reply) => write!(f, "StartTls({reply:?})"),
            Self::Ask(_) => f.write_str("Ask"),
            Self::Begin => f.write_str("Begin"),
            Self::Keep(mail) => write!(f, "Keep({mail:?})"),
            Self::End(reply) => write!(f, "End({reply:?})"),
        }
    }
}

/// The answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Yes,
    /// No, for good.
    No,
    /// Not now; the client should try again.
    Later,
}
