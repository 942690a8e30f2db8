//! A mail taken apart, without recursion that its writer decides about.
//!
//! The parser this builds on keeps a message within a message as a tree, however it is written (folded, encoded, as a digest), and
//! a tree of twenty thousand levels costs the process its stack when it is dropped. So the parser is asked for headers alone, and
//! the parts are walked here: to a fixed depth, a fixed number, and only as far into a body as is used. Messages within are read
//! as headers, never walked. What is beyond a bound is left unread; the rest counts.

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;
use mail_parser::{ContentType, GetHeader, Header, HeaderName, HeaderValue, Message, MessageParser};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The most of a message that is looked at, in bytes.
const MOST_BYTES: usize = 25 * 1024 * 1024;
/// The longest header of the mail itself that is read, in bytes.
const MOST_HEADER: usize = 256 * 1024;
/// The longest header of a part that is read, in bytes: some headers cost the square of their length.
const MOST_PART_HEADER: usize = 32 * 1024;
/// The most parts that are read.
const MOST_PARTS: usize = 200;
/// How deep parts within parts are read.
const DEEPEST: usize = 20;
/// The most bytes of a part that are decoded.
const MOST_DECODED: usize = 1024 * 1024;
/// The longest text that is made of a part, in bytes.
const LONGEST_TEXT: usize = 256 * 1024;

/// A mail: its header, and the parts that are no containers, in order.
pub(crate) struct Mail<'a> {
    /// The header; it holds no body.
    pub head: Message<'a>,
    /// The parts.
    pub parts: Vec<Part<'a>>,
}

/// A part that is no container.
pub(crate) struct Part<'a> {
    headers: Vec<Header<'a>>,
    body: &'a [u8],
    /// It stands within another; false for the only part of a mail without any.
    pub is_within: bool,
    /// The number of the choice (`multipart/alternative`) it belongs to.
    choice: Option<usize>,
}

/// A container or part that is still to be walked.
struct Waiting<'a> {
    entity: &'a [u8],
    depth: usize,
    choice: Option<usize>,
}

/// Takes a mail apart. Never panics, whatever the bytes; none when they hold no header.
pub(crate) fn parse(raw: &[u8]) -> Option<Mail<'_>> {
    let raw = &raw[..raw.len().min(MOST_BYTES)];
    let head = headers_alone(raw)?;
    let parts = catch_unwind(AssertUnwindSafe(|| walk(raw))).unwrap_or_default();
    Some(Mail { head, parts })
}

/// A message's headers, as of a message that was returned.
pub(crate) fn headers_alone(raw: &[u8]) -> Option<Message<'_>> {
    let raw = &raw[..raw.len().min(MOST_HEADER)];
    catch_unwind(AssertUnwindSafe(|| MessageParser::default().parse_headers(raw)))
        .ok()
        .flatten()
}

fn walk(raw: &[u8]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut choices = 0;
    let mut waiting = vec![Waiting {
        entity: raw,
        depth: 0,
        choice: None,
    }];
    // Containers are bounded as parts are: one may hold nothing but containers.
    for _ in 0..MOST_PARTS * 2 {
        let Some(next) = waiting.pop() else { break };
        if parts.len() >= MOST_PARTS {
            break;
        }
        let part = head_and_body(&next);
        let Some(inner) = part.inner().filter(|_| next.depth < DEEPEST) else {
            parts.push(part);
            continue;
        };
        let choice = if part.is_type(&["multipart/alternative"]) && next.choice.is_none() {
            choices += 1;
            Some(choices)
        } else {
            next.choice
        };
        let depth = next.depth + 1;
        waiting.extend(inner.into_iter().rev().map(|entity| Waiting {
            entity,
            depth,
            choice,
        }));
    }
    parts
}

fn head_and_body<'a>(from: &Waiting<'a>) -> Part<'a> {
    let most = if from.depth == 0 {
        MOST_HEADER
    } else {
        MOST_PART_HEADER
    };
    let mut stream = MessageStream::new(&from.entity[..from.entity.len().min(most)]);
    let mut headers = Vec::new();
    let has_body = stream.parse_headers(&MessageParser::default(), &mut headers);
    let body = if has_body {
        from.entity.get(stream.offset()..).unwrap_or_default()
    } else {
        &[]
    };
    Part {
        headers,
        body,
        is_within: from.depth > 0,
        choice: from.choice,
    }
}

impl<'a> Part<'a> {
    /// Its `Content-Type`.
    pub fn content_type(&self) -> Option<&ContentType<'a>> {
        self.headers
            .header_value(&HeaderName::ContentType)
            .and_then(HeaderValue::as_content_type)
    }

    /// Whether it is of one of these types; what says no type is `text/plain`.
    pub fn is_type(&self, names: &[&str]) -> bool {
        let (class, subtype) = match self.content_type() {
            Some(kind) => (kind.ctype(), kind.subtype().unwrap_or_default()),
            None => ("text", "plain"),
        };
        names.iter().any(|name| {
            name.split_once('/')
                .is_some_and(|(c, s)| c.eq_ignore_ascii_case(class) && s.eq_ignore_ascii_case(subtype))
        })
    }

    /// What it holds, decoded; of a long one the beginning.
    pub fn contents(&self) -> Cow<'a, [u8]> {
        let body = &self.body[..self.body.len().min(MOST_DECODED)];
        let encoding = self
            .headers
            .header_value(&HeaderName::ContentTransferEncoding)
            .and_then(HeaderValue::as_text)
            .unwrap_or_default();
        let decode = match encoding.trim().to_ascii_lowercase().as_str() {
            "base64" => base64_decode,
            "quoted-printable" => quoted_printable_decode,
            _ => return Cow::Borrowed(body),
        };
        match catch_unwind(|| decode(body)).ok().flatten() {
            Some(decoded) => Cow::Owned(decoded),
            None => Cow::Borrowed(body),
        }
    }

    fn text(&self) -> String {
        let contents = self.contents();
        let decoder = self
            .content_type()
            .and_then(|kind| kind.attribute("charset"))
            .and_then(|charset| charset_decoder(charset.as_bytes()));
        let text = decoder.and_then(|decode| catch_unwind(|| decode(&contents)).ok());
        text.unwrap_or_else(|| String::from_utf8_lossy(&contents).into_owned())
    }

    /// It is shown as the mail's own words, and is no file.
    fn is_words(&self) -> bool {
        let is_file = self
            .headers
            .header_value(&HeaderName::ContentDisposition)
            .and_then(HeaderValue::as_content_type)
            .is_some_and(ContentType::is_attachment);
        let is_named = self
            .content_type()
            .is_some_and(|kind| kind.attribute("name").is_some());
        self.is_type(&["text/plain", "text/html"]) && !is_file && !(self.is_within && is_named)
    }

    /// The parts it is a container of.
    fn inner(&self) -> Option<Vec<&'a [u8]>> {
        let kind = self.content_type()?;
        if !kind.ctype().eq_ignore_ascii_case("multipart") {
            return None;
        }
        let inner = split(self.body, kind.attribute("boundary")?.as_bytes());
        (!inner.is_empty()).then_some(inner)
    }
}

impl Mail<'_> {
    /// The words of the mail: plain where there is a choice, made from HTML where there is nothing else; bounded.
    pub fn text(&self) -> String {
        let Some(first) = self.parts.iter().find(|part| part.is_words()) else {
            return String::new();
        };
        let plain = |part: &&Part<'_>| {
            part.choice.is_some()
                && part.choice == first.choice
                && part.is_type(&["text/plain"])
                && part.is_words()
        };
        let chosen = self.parts.iter().find(plain).unwrap_or(first);
        let text = chosen.text();
        if chosen.is_type(&["text/html"]) {
            text_of_html(&text)
        } else {
            cut(&text)
        }
    }

    /// The types of its files and of what else is not its words.
    pub fn files(&self) -> Vec<String> {
        let files = self.parts.iter().filter(|part| !part.is_words());
        files
            .map(|part| match part.content_type() {
                Some(kind) => format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")),
                None => "application/octet-stream".to_owned(),
            })
            .collect()
    }
}

/// The entities between the delimiters of a body (RFC 2046 section 5.1.1), each without the line end that belongs to the next
/// delimiter. What the last delimiter is missing is taken for its end.
fn split<'a>(body: &'a [u8], boundary: &[u8]) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    let mut begun: Option<usize> = None;
    let mut at = 0;
    if boundary.is_empty() {
        return found;
    }
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let begin = at;
        at += line.len();
        let Some(rest) = line
            .strip_prefix(b"--")
            .and_then(|line| line.strip_prefix(boundary))
        else {
            continue;
        };
        let rest = rest.trim_ascii();
        if !(rest.is_empty() || rest == b"--") {
            continue;
        }
        if let Some(from) = begun {
            found.push(without_line_end(&body[from..begin.max(from)]));
        }
        if rest == b"--" || found.len() >= MOST_PARTS {
            return found;
        }
        begun = Some(at);
    }
    if let Some(from) = begun {
        found.push(&body[from..]);
    }
    found
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// The text of an HTML body, bounded.
pub(crate) fn text_of_html(html: &str) -> String {
    let html = cut(html);
    cut(&catch_unwind(|| html_to_text(&html)).unwrap_or_default())
}

/// Cuts at the longest text, at a character's edge. No NUL is left: a database keeps none in a text.
pub(crate) fn cut(text: &str) -> String {
    let end = (0..=text.len().min(LONGEST_TEXT))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    text[..end].replace('\0', "")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;

    fn text(raw: &str) -> String {
        parse(raw.replace('\n', "\r\n").as_bytes()).unwrap().text()
    }

    #[rstest]
    #[case::single("Subject: x\n\nwords", "words")]
    #[case::charset(
        "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe",
        "Grüße"
    )]
    #[case::base64("Content-Transfer-Encoding: base64\n\nd29y\nZHM=\n", "words")]
    #[case::html("Content-Type: text/html\n\n<p>a &amp; b</p>", "a & b\n")]
    #[case::choice(
        "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>h</p>\n--b\n\nplain\n--b--\n",
        "plain"
    )]
    #[case::choice_within(
        "Content-Type: multipart/mixed; boundary=\"a b\"\n\npreamble\n--a b\n\
         Content-Type: multipart/alternative; boundary=a\n\n--a\n\nplain\n--a\nContent-Type: text/html\n\nhtml\n--a--\n\
         --a b\nContent-Type: text/plain\nContent-Disposition: attachment\n\nfile\n--a b--\n",
        "plain"
    )]
    #[case::unfinished("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nplain", "plain")]
    #[case::folded(
        "Content-Type:\n multipart/mixed;\n boundary=b\n\n--b  \n\nplain\n--b--",
        "plain"
    )]
    #[case::no_words("Content-Type: image/png\n\nx", "")]
    fn words_are_found(#[case] raw: &str, #[case] expect: &str) {
        assert_eq!(text(raw), expect);
    }

    #[test]
    fn a_part_beyond_the_bounds_is_left_out_and_the_rest_is_read() {
        let mut raw = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst\r\n".to_owned();
        raw.push_str(&"--b\r\nContent-Type: image/png\r\n\r\nx\r\n".repeat(1_000));
        let mail = parse(raw.as_bytes()).unwrap();
        assert_eq!(mail.parts.len(), MOST_PARTS);
        assert_eq!(mail.text(), "first");
    }

    #[test]
    fn no_nul_comes_out() {
        assert_eq!(text("Subject: x\n\na\0b"), "ab");
    }
}
