//! The protocol of one connection (RFC 5321): bytes in, steps out. Bounded in everything, and without I/O.

use crate::address;
use crate::data::{Read, Text};
use crate::step::{Mail, Reply, Step, Verdict};
use std::borrow::Cow;
use std::mem;

/// Bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Octets of a command line.
    pub line: usize,
    /// Recipients of one mail.
    pub recipients: usize,
    /// Commands of one connection.
    pub commands: usize,
    /// Refusals of one connection, after which it ends.
    pub refusals: usize,
    /// Bytes of one mail.
    pub mail: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 2_048,
            recipients: 100,
            commands: 1_000,
            refusals: 20,
            mail: 25 * 1024 * 1024,
        }
    }
}

/// How TLS stands on a connection (RFC 3207).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// There is none to be had, and STARTTLS is not offered.
    Unavailable,
    /// The connection is in plain text, and STARTTLS is offered.
    Offered,
    /// The connection goes over TLS; STARTTLS is not offered again.
    Active,
}

enum State {
    Commands,
    Asked(String),
    MayBegin,
    Data(Text),
    Keeping,
    Securing,
    Over,
}

#[derive(Default)]
struct Envelope {
    from: String,
    utf8: bool,
    to: Vec<String>,
}

/// One connection.
pub struct Session {
    limits: Limits,
    host: String,
    tls: Tls,
    buffer: Vec<u8>,
    state: State,
    greeted: bool,
    envelope: Option<Envelope>,
    commands: usize,
    refusals: usize,
}

impl std::fmt::Debug for Session {
    /// Without what was said: addresses and mail.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = match &self.state {
            State::Commands => "commands",
            State::Asked(_) => "asked",
            State::MayBegin => "may begin",
            State::Data(_) => "data",
            State::Keeping => "keeping",
            State::Securing => "securing",
            State::Over => "over",
        };
        write!(
            f,
            "Session({place}, {} commands, {} refusals)",
            self.commands, self.refusals
        )
    }
}

impl Session {
    /// A fresh connection to the host of that name.
    pub fn new(host: impl Into<String>, limits: Limits, tls: Tls) -> Self {
        Self {
            limits,
            host: host.into(),
            tls,
            buffer: Vec::new(),
            state: State::Commands,
            greeted: false,
            envelope: None,
            commands: 0,
            refusals: 0,
        }
    }

    /// What is said first.
    pub fn greeting(&self) -> Reply {
        Reply {
            code: 220,
            lines: vec![Cow::Owned(format!("{} ESMTP", self.host))],
        }
    }

    /// Whether a mail is on its way: it takes memory until it is kept or refused.
    pub fn is_receiving(&self) -> bool {
        matches!(self.state, State::Data(_) | State::Keeping)
    }

    /// Bytes from the client; to be handed in after [`Step::Read`] only.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next step.
    pub fn step(&mut self) -> Step {
        match mem::replace(&mut self.state, State::Commands) {
            State::Commands => self.command(),
            State::Data(text) => self.data(text),
            // A question is open: nothing is read before it is answered.
            state @ (State::Asked(_) | State::MayBegin | State::Keeping | State::Securing) => {
                self.state = state;
                Step::Read
            }
            State::Over => {
                self.state = State::Over;
                Step::End(Reply::new(421, "4.7.0 the connection is over"))
            }
        }
    }

    /// The answer to [`Step::Ask`].
    pub fn recipient(&mut self, verdict: Verdict) -> Step {
        let State::Asked(address) = mem::replace(&mut self.state, State::Commands) else {
            return self.end(Reply::new(451, "4.3.0 out of order"));
        };
        match verdict {
            Verdict::Yes => {
                if let Some(envelope) = &mut self.envelope
                    && !envelope.to.contains(&address)
                {
                    envelope.to.push(address);
                }
                Step::Say(Reply::new(250, "2.1.5 ok"))
            }
            Verdict::No => self.refuse(550, "5.1.1 no mail is taken for this recipient"),
            Verdict::Later => Step::Say(Reply::new(451, "4.3.0 not now; try again later")),
        }
    }

    /// The answer to [`Step::Begin`].
    pub fn begin(&mut self, verdict: Verdict) -> Step {
        if verdict == Verdict::Yes {
            self.state = State::Data(Text::new(self.limits.mail));
            Step::Say(Reply::new(354, "go on; end with a dot on a line of its own"))
        } else {
            self.state = State::Commands;
            self.envelope = None;
            Step::Say(Reply::new(
                451,
                "4.3.1 too much mail at the moment; try again later",
            ))
        }
    }

    /// The answer to [`Step::Keep`]. `Yes` is said after the mail is durably stored, never before.
    pub fn kept(&mut self, verdict: Verdict) -> Step {
        self.state = State::Commands;
        self.envelope = None;
        match verdict {
            Verdict::Yes => Step::Say(Reply::new(250, "2.0.0 stored")),
            Verdict::No => self.refuse(554, "5.6.0 not taken"),
            Verdict::Later => Step::Say(Reply::new(451, "4.3.0 not stored; try again later")),
        }
    }

    /// TLS was negotiated after [`Step::StartTls`]. Everything begins anew but the bounds, which are those of the connection: the
    /// client must say `EHLO` again, and nothing it said before counts (RFC 3207 section 4.2).
    pub fn secured(&mut self) -> Step {
        let State::Securing = mem::replace(&mut self.state, State::Commands) else {
            return self.end(Reply::new(451, "4.3.0 out of order"));
        };
        self.tls = Tls::Active;
        self.greeted = false;
        self.envelope = None;
        // Whatever is here came in plain text.
        self.buffer = Vec::new();
        Step::Read
    }

    fn end(&mut self, reply: Reply) -> Step {
        self.state = State::Over;
        self.buffer = Vec::new();
        self.envelope = None;
        Step::End(reply)
    }

    fn refuse(&mut self, code: u16, text: &'static str) -> Step {
        self.refusals += 1;
        if self.refusals >= self.limits.refusals {
            return self.end(Reply::new(421, "4.7.0 too many refusals"));
        }
        Step::Say(Reply::new(code, text))
    }

    fn data(&mut self, mut text: Text) -> Step {
        let read = text.read(&self.buffer);
        match read {
            Read::More => {
                self.buffer.clear();
                if text.length() > self.limits.mail.saturating_mul(2) {
                    return self.end(Reply::new(552, "5.3.4 the mail is too long"));
                }
                self.state = State::Data(text);
                Step::Read
            }
            Read::BareLineEnd => self.end(Reply::new(521, "5.5.2 a line must end with CRLF")),
            Read::End(at) => {
                self.buffer.drain(..at);
                let envelope = self.envelope.take().unwrap_or_default();
                match text.into_whole() {
                    None => self.refuse(552, "5.3.4 the mail is too long"),
                    Some(raw) => {
                        self.state = State::Keeping;
                        Step::Keep(Mail {
                            from: envelope.from,
                            to: envelope.to,
                            raw,
                        })
                    }
                }
            }
        }
    }

    fn command(&mut self) -> Step {
        let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
            if self.buffer.len() > self.limits.line {
                return self.end(Reply::new(500, "5.5.6 the line is too long"));
            }
            return Step::Read;
        };
        if end > self.limits.line {
            return self.end(Reply::new(500, "5.5.6 the line is too long"));
        }
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        let Some(line) = line.strip_suffix(b"\r\n").filter(|line| !line.contains(&b'\r')) else {
            return self.end(Reply::new(521, "5.5.2 a line must end with CRLF"));
        };
        self.commands += 1;
        if self.commands > self.limits.commands {
            return self.end(Reply::new(421, "4.7.0 too many commands"));
        }
        let Some(line) = std::str::from_utf8(line).ok().filter(|line| !line.contains('\0')) else {
            return self.refuse(500, "5.5.2 not understood");
        };
        let (verb, arguments) = line.split_once(' ').unwrap_or((line, ""));
        self.obey(&verb.to_ascii_uppercase(), arguments.trim_end())
    }

    fn obey(&mut self, verb: &str, arguments: &str) -> Step {
        match verb {
            "EHLO" | "HELO" => self.hello(verb, arguments),
            "MAIL" => self.mail(arguments),
            "RCPT" => self.rcpt(arguments),
            "DATA" => self.begin_data(arguments),
            "RSET" => {
                self.envelope = None;
                Step::Say(Reply::new(250, "2.0.0 ok"))
            }
            "NOOP" => Step::Say(Reply::new(250, "2.0.0 ok")),
            "QUIT" => self.end(Reply::new(221, "2.0.0 bye")),
            "STARTTLS" => self.start_tls(arguments),
            "VRFY" | "EXPN" | "HELP" | "AUTH" | "BDAT" | "ETRN" | "TURN" => {
                self.refuse(502, "5.5.1 not offered here")
            }
            _ => self.refuse(500, "5.5.2 not understood"),
        }
    }

    fn hello(&mut self, verb: &str, name: &str) -> Step {
        if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return self.refuse(501, "5.5.4 say who you are");
        }
        self.greeted = true;
        self.envelope = None;
        let mut lines = vec![Cow::Owned(self.host.clone())];
        if verb == "EHLO" {
            lines.extend(["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"].map(Cow::Borrowed));
            if self.tls == Tls::Offered {
                lines.push(Cow::Borrowed("STARTTLS"));
            }
            lines.push(Cow::Owned(format!("SIZE {}", self.limits.mail)));
        }
        Step::Say(Reply { code: 250, lines })
    }

    /// RFC 3207 section 4. A mail that was begun is forgotten with everything else.
    fn start_tls(&mut self, arguments: &str) -> Step {
        match self.tls {
            Tls::Unavailable => return self.refuse(502, "5.5.1 not offered here"),
            Tls::Active => return self.refuse(503, "5.5.1 TLS is active already"),
            Tls::Offered if !self.greeted => return self.refuse(503, "5.5.1 out of order"),
            Tls::Offered => {}
        }
        if !arguments.is_empty() {
            return self.refuse(501, "5.5.4 STARTTLS takes nothing");
        }
        // What stands behind STARTTLS came in plain text, and anybody on the way may have put it there. Obeyed behind the handshake it
        // would pass for the client's own (CVE-2011-0411). It is not just dropped: a client waits for the answer before it goes on, so
        // this one is broken or under attack, and its mail is better sent again over another connection.
        if !self.buffer.is_empty() {
            return self.end(Reply::new(
                503,
                "5.5.0 nothing may follow STARTTLS before its answer",
            ));
        }
        self.state = State::Securing;
        Step::StartTls(Reply::new(220, "2.0.0 begin TLS"))
    }

    fn mail(&mut self, arguments: &str) -> Step {
        if !self.greeted || self.envelope.is_some() {
            return self.refuse(503, "5.5.1 out of order");
        }
        let Some(path) = address::path(arguments, "FROM") else {
            return self.refuse(501, "5.1.7 the sender is not an address");
        };
        let mut utf8 = false;
        for (name, value) in &path.parameters {
            match (name.to_ascii_uppercase().as_str(), *value) {
                ("SIZE", size) => match size.parse::<u64>() {
                    Ok(size) if size <= self.limits.mail as u64 => {}
                    Ok(_) => return self.refuse(552, "5.3.4 the mail is too long"),
                    Err(_) => return self.refuse(501, "5.5.4 SIZE is not a number"),
                },
                ("BODY", body)
                    if ["7BIT", "8BITMIME"]
                        .iter()
                        .any(|known| body.eq_ignore_ascii_case(known)) => {}
                ("SMTPUTF8", "") => utf8 = true,
                _ => return self.refuse(555, "5.5.4 a parameter is not known"),
            }
        }
        if !utf8 && !path.address.is_ascii() {
            return self.refuse(553, "5.6.7 the sender needs SMTPUTF8");
        }
        self.envelope = Some(Envelope {
            from: path.address.to_owned(),
            utf8,
            to: Vec::new(),
        });
        Step::Say(Reply::new(250, "2.1.0 ok"))
    }

    fn rcpt(&mut self, arguments: &str) -> Step {
        let Some(envelope) = &self.envelope else {
            return self.refuse(503, "5.5.1 MAIL comes first");
        };
        let Some(path) = address::path(arguments, "TO").filter(|path| !path.address.is_empty()) else {
            return self.refuse(501, "5.1.3 the recipient is not an address");
        };
        if !path.parameters.is_empty() {
            return self.refuse(555, "5.5.4 a parameter is not known");
        }
        if !envelope.utf8 && !path.address.is_ascii() {
            return self.refuse(553, "5.6.7 the recipient needs SMTPUTF8");
        }
        if envelope.to.len() >= self.limits.recipients {
            return self.refuse(452, "4.5.3 too many recipients");
        }
        let address = path.address.to_owned();
        self.state = State::Asked(address.clone());
        Step::Ask(address)
    }

    fn begin_data(&mut self, arguments: &str) -> Step {
        if !arguments.is_empty() {
            return self.refuse(501, "5.5.4 DATA takes nothing");
        }
        match &self.envelope {
            None => self.refuse(503, "5.5.1 MAIL comes first"),
            Some(envelope) if envelope.to.is_empty() => self.refuse(554, "5.5.1 no recipient was taken"),
            // RFC 2920: nothing may be sent behind DATA before its answer; what is, would be read as something it is not.
            Some(_) if !self.buffer.is_empty() => {
                self.end(Reply::new(503, "5.5.0 nothing may follow DATA before its answer"))
            }
            Some(_) => {
                self.state = State::MayBegin;
                Step::Begin
            }
        }
    }
}
