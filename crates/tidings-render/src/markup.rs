//! A small HTML tokenizer for template sources: tags, attributes and texts with their offsets.
//!
//! It reads what authors write, strictly, so that faults can be told with a line. It builds no tree and repairs
//! nothing; the repairing parser of the CSS inliner works on what has passed here.

use crate::segments::{Fault, Split};
use std::ops::Range;

/// A piece of markup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Text between tags; in `style` and the like it is not HTML.
    Text { range: Range<usize>, raw: bool },
    /// An opening tag.
    Open(Tag),
    /// A closing tag.
    Close { name: String, range: Range<usize> },
    /// A comment or doctype.
    Aside { range: Range<usize> },
}

/// An opening tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// Lower-case name.
    pub name: String,
    pub attributes: Vec<Attribute>,
    /// Written `<br/>`.
    pub closed: bool,
    pub range: Range<usize>,
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    /// Lower-case name.
    pub name: String,
    /// Where the value stands, without quotes; empty where there is none.
    pub value: Range<usize>,
    /// Whether the value is quoted.
    pub quoted: bool,
}

impl Tag {
    /// The value of an attribute.
    pub(crate) fn attribute<'a>(&self, text: &'a str, name: &str) -> Option<&'a str> {
        let found = self.attributes.iter().find(|attribute| attribute.name == name)?;
        text.get(found.value.clone())
    }

    /// Whether the `class` attribute names a class.
    pub(crate) fn has_class(&self, text: &str, class: &str) -> bool {
        self.attribute(text, "class")
            .is_some_and(|classes| classes.split_whitespace().any(|one| one == class))
    }

    /// Whether the element has no content and no closing tag.
    pub(crate) fn is_void(&self) -> bool {
        self.closed || is_void(&self.name)
    }
}

/// Elements that HTML never closes.
pub(crate) fn is_void(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "source"
            | "track"
            | "wbr"
    )
}

/// Elements whose content is not markup.
fn is_raw(name: &str) -> bool {
    matches!(
        name,
        "style" | "script" | "title" | "textarea" | "mj-style" | "mj-title" | "mj-preview"
    )
}

/// Reads a whole source.
pub(crate) fn tokens(split: &Split) -> Result<Vec<Token>, Fault> {
    let text = split.text.as_str();
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let (token, end) = next(split, at)?;
        let raw = match &token {
            Token::Open(tag) if !tag.closed && is_raw(&tag.name) => Some(tag.name.clone()),
            _ => None,
        };
        out.push(token);
        at = end;
        if let Some(name) = raw {
            let close = raw_end(text, at, &name).ok_or_else(|| {
                Fault::at(
                    split.line_of(at),
                    format!("<{name}> is never closed; add </{name}>"),
                )
            })?;
            if close > at {
                out.push(Token::Text {
                    range: at..close,
                    raw: true,
                });
            }
            at = close;
        }
    }
    Ok(out)
}

fn raw_end(text: &str, from: usize, name: &str) -> Option<usize> {
    let rest = text.get(from..)?;
    rest.match_indices("</")
        .find(|(at, _)| {
            rest[at + 2..]
                .get(..name.len())
                .is_some_and(|found| found.eq_ignore_ascii_case(name))
        })
        .map(|(at, _)| from + at)
}

fn next(split: &Split, at: usize) -> Result<(Token, usize), Fault> {
    let text = split.text.as_str();
    let rest = &text[at..];
    let open_ended = |what: &str, end: &str| {
        Fault::at(
            split.line_of(at),
            format!("{what} is never closed; end it with {end}, or write &lt; for a plain <"),
        )
    };
    if rest.starts_with("<!--") {
        let end = rest.find("-->").ok_or_else(|| open_ended("a comment", "-->"))? + 3;
        return Ok((Token::Aside { range: at..at + end }, at + end));
    }
    if rest.starts_with("<!") || rest.starts_with("<?") {
        let end = rest.find('>').ok_or_else(|| open_ended("a declaration", ">"))? + 1;
        return Ok((Token::Aside { range: at..at + end }, at + end));
    }
    if let Some(inner) = rest.strip_prefix("</") {
        let end = inner.find('>').ok_or_else(|| open_ended("a closing tag", ">"))?;
        let name = inner[..end].trim().to_ascii_lowercase();
        let range = at..at + end + 3;
        return Ok((
            Token::Close {
                name,
                range: range.clone(),
            },
            range.end,
        ));
    }
    if rest.starts_with('<') && rest[1..].starts_with(|c: char| c.is_ascii_alphabetic()) {
        let tag = open_tag(split, at)?;
        let end = tag.range.end;
        return Ok((Token::Open(tag), end));
    }
    let skip = usize::from(rest.starts_with('<'));
    let end = rest[skip..]
        .find('<')
        .map_or(text.len(), |found| at + skip + found);
    Ok((
        Token::Text {
            range: at..end,
            raw: false,
        },
        end,
    ))
}

fn open_tag(split: &Split, start: usize) -> Result<Tag, Fault> {
    let text = split.text.as_str();
    let bytes = text.as_bytes();
    let skip = |from: usize, until: fn(u8) -> bool| {
        bytes[from..]
            .iter()
            .position(|&byte| until(byte))
            .map_or(bytes.len(), |found| from + found)
    };
    let fault = |problem: &str| Fault::at(split.line_of(start), problem.to_owned());
    let name_end = skip(start + 1, |byte| {
        byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/')
    });
    let name = text[start + 1..name_end].to_ascii_lowercase();
    let mut tag = Tag {
        name,
        attributes: Vec::new(),
        closed: false,
        range: start..start,
    };
    let mut at = name_end;
    loop {
        at = skip(at, |byte| !byte.is_ascii_whitespace());
        match bytes.get(at) {
            None => return Err(fault("a tag is never closed; end it with >")),
            Some(b'>') => {
                tag.range.end = at + 1;
                return Ok(tag);
            }
            Some(b'/') => {
                tag.closed = bytes.get(at + 1) == Some(&b'>');
                at += 1;
            }
            Some(_) => {
                let (attribute, end) = attribute(text, at, skip)
                    .ok_or_else(|| fault("an attribute's quote is never closed; close it"))?;
                tag.attributes.push(attribute);
                at = end;
            }
        }
    }
}

fn attribute(
    text: &str,
    start: usize,
    skip: impl Fn(usize, fn(u8) -> bool) -> usize,
) -> Option<(Attribute, usize)> {
    let name_end = skip(start, |byte| {
        byte.is_ascii_whitespace() || matches!(byte, b'=' | b'>' | b'/')
    })
    .max(start + 1);
    let name = text.get(start..name_end)?.to_ascii_lowercase();
    let equals = skip(name_end, |byte| !byte.is_ascii_whitespace());
    if text.as_bytes().get(equals) != Some(&b'=') {
        return Some((
            Attribute {
                name,
                value: name_end..name_end,
                quoted: true,
            },
            name_end,
        ));
    }
    let from = skip(equals + 1, |byte| !byte.is_ascii_whitespace());
    if let Some(&quote @ (b'"' | b'\'')) = text.as_bytes().get(from) {
        let length = text[from + 1..].find(char::from(quote))?;
        let value = from + 1..from + 1 + length;
        let end = value.end + 1;
        return Some((
            Attribute {
                name,
                value,
                quoted: true,
            },
            end,
        ));
    }
    let end = skip(from, |byte| byte.is_ascii_whitespace() || byte == b'>');
    Some((
        Attribute {
            name,
            value: from..end,
            quoted: false,
        },
        end,
    ))
}

/// Text with the character references that matter in mail decoded.
pub(crate) fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let reference = rest[1..]
            .find(';')
            .filter(|&end| end <= 10)
            .map(|end| (&rest[1..=end], end + 2));
        if let Some((c, length)) = reference.and_then(|(name, length)| character(name).map(|c| (c, length))) {
            out.push(c);
            rest = &rest[length..];
        } else {
            out.push('&');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).filter(|c| !c.is_control() || *c == '\n');
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        "middot" => '·',
        "bull" => '•',
        "times" => '×',
        "euro" => '€',
        "pound" => '£',
        "copy" => '©',
        "rarr" => '→',
        "larr" => '←',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "zwnj" => '\u{200c}',
        "shy" => '\u{ad}',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::segments;

    fn read(source: &str) -> Vec<Token> {
        tokens(&segments::split(source).unwrap()).unwrap()
    }

    #[test]
    fn reads_tags_attributes_and_raw_text() {
        let source = "<p class='a b' hidden>x<br/>&amp;</p><style>a>b{}</style><!-- <p> -->";
        let found = read(source);
        assert_eq!(found.len(), 9);
        let Token::Open(tag) = &found[0] else {
            panic!("{found:?}")
        };
        assert_eq!(tag.name, "p");
        assert!(tag.has_class(source, "b"));
        assert_eq!(tag.attribute(source, "hidden"), Some(""));
        assert!(matches!(&found[6], Token::Text { raw: true, range } if &source[range.clone()] == "a>b{}"));
    }

    #[test]
    fn tells_where_something_is_open_ended() {
        for source in ["<p\n<b", "<!-- x", "<a href=\"x>", "<style>a{}", "</p"] {
            let split = segments::split(source).unwrap();
            assert!(tokens(&split).is_err(), "{source}");
        }
    }

    #[test]
    fn decodes_references_and_leaves_the_rest() {
        assert_eq!(
            decode("a &amp;amp; &#8364;&#x20AC; &nope; & &euro;"),
            "a &amp; €€ &nope; & €"
        );
    }
}
