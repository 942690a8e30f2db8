//! Text parts: derived from HTML when a template is compiled, tidied when it is rendered.

use crate::markup::{Tag, Token, decode};
use crate::place::Placed;
use crate::segments::{CLOSE, OPEN, Split};

/// Asks for a new line. Soft: several in a row, with whatever spaces between them, make one.
const LINE: char = '\u{E0F2}';
/// Asks for an empty line, equally soft.
const PARAGRAPH: char = '\u{E0F3}';

/// Tidies rendered text: soft breaks resolved, no trailing spaces, at most one empty line in a row, none at the
/// ends.
pub(crate) fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut breaks = 0_u8;
    let mut hard = 0_u8;
    let mut spaces = 0_usize;
    let mut soft = false;
    for c in text.chars() {
        match c {
            LINE | PARAGRAPH => {
                breaks = breaks.max(if c == LINE { 1 } else { 2 });
                (spaces, soft) = (0, true);
            }
            '\n' => {
                hard = (hard + 1).min(2);
                breaks = breaks.max(hard);
                spaces = 0;
            }
            ' ' | '\t' => spaces += 1,
            '\r' => {}
            _ => {
                if breaks > 0 {
                    if !out.is_empty() {
                        out.push_str(if breaks > 1 { "\n\n" } else { "\n" });
                    }
                    // Spaces after a soft break are what was left of the markup; after a hard one they are meant.
                    spaces = if soft { 0 } else { spaces };
                }
                let wanted = if out.is_empty() { 0 } else { spaces.min(40) };
                out.extend(std::iter::repeat_n(' ', wanted));
                (breaks, hard, spaces, soft) = (0, 0, 0, false);
                out.push(c);
            }
        }
    }
    out
}

/// The text of a body, with its template code in place.
///
/// Links become `label (address)`, list items `- item`, cells of a row stand side by side. What is marked
/// `aria-hidden="true"` or has the class `preheader` is left out.
pub(crate) fn derive(split: &Split, tokens: &[Token], placed: &Placed) -> String {
    let mut text = Text {
        split,
        placed,
        out: String::new(),
        hidden: 0,
        links: Vec::new(),
    };
    for token in tokens {
        match token {
            Token::Open(tag) => text.open(tag),
            Token::Close { name, .. } => text.close(name),
            Token::Text { range, raw: false } => text.text(&split.text[range.clone()]),
            Token::Text { raw: true, .. } | Token::Aside { .. } => {}
        }
    }
    text.out
}

struct Text<'a> {
    split: &'a Split,
    placed: &'a Placed,
    out: String,
    /// How many open elements are hidden, the outermost first.
    hidden: usize,
    links: Vec<Option<String>>,
}

impl Text<'_> {
    fn open(&mut self, tag: &Tag) {
        let source = &self.split.text;
        let style = tag.attribute(source, "style").unwrap_or_default();
        let hides = tag.attribute(source, "aria-hidden") == Some("true")
            || tag.has_class(source, "preheader")
            || style.replace(' ', "").contains("display:none")
            || matches!(tag.name.as_str(), "head" | "mj-head");
        if !tag.is_void() && (self.hidden > 0 || hides) {
            self.hidden += 1;
        }
        if self.hidden > 0 {
            return;
        }
        match tag.name.as_str() {
            "br" => self.out.push(LINE),
            "img" | "mj-image" => self.attribute(tag, "alt"),
            "li" => {
                self.out.push(LINE);
                self.out.push_str("- ");
            }
            "a" | "mj-button" => {
                let href = tag.attribute(source, "href").map(str::to_owned);
                if tag.name == "mj-button" || tag.has_class(source, "button") {
                    self.out.push(PARAGRAPH);
                }
                self.links.push(href);
            }
            name => self.out.extend(break_around(name)),
        }
    }

    fn attribute(&mut self, tag: &Tag, name: &str) {
        if let Some(value) = tag.attribute(&self.split.text, name) {
            let code = self
                .split
                .restore(value, |number, segment| self.placed.code(number, segment));
            self.out.push_str(&decode(&code));
        }
    }

    fn close(&mut self, name: &str) {
        if self.hidden > 0 {
            self.hidden -= 1;
            return;
        }
        match name {
            "td" | "th" => self.out.push_str("  "),
            "li" => self.out.push(LINE),
            "a" | "mj-button" => {
                if let Some(Some(href)) = self.links.pop() {
                    self.address(&href);
                }
                if name == "mj-button" {
                    self.out.push(PARAGRAPH);
                }
            }
            name => self.out.extend(break_around(name)),
        }
    }

    /// The address of a link after its label, unless the label shows it already.
    fn address(&mut self, href: &str) {
        let code = self
            .split
            .restore(&decode(href), |number, segment| self.placed.code(number, segment));
        let bare = code.trim_start_matches("mailto:").trim_start_matches("tel:");
        let shown = self.out.trim_end().ends_with(bare) || bare.starts_with('#');
        let own = bare.contains("brand.support") || code.starts_with("mailto:") || code.starts_with("tel:");
        if !shown && !own {
            self.out.push_str(" (");
            self.out.push_str(&code);
            self.out.push(')');
        }
    }

    /// Text with white space collapsed as HTML does, and code put back.
    fn text(&mut self, text: &str) {
        // Statements in hidden elements are whole, the structure was checked, so they can go as well.
        if self.hidden > 0 {
            return;
        }
        let mut rest = text;
        while let Some(start) = rest.find(OPEN) {
            self.literal(&rest[..start]);
            let Some(end) = rest.find(CLOSE) else { break };
            let end = end + CLOSE.len_utf8();
            let code = self.split.restore(&rest[start..end], |number, segment| {
                self.placed.code(number, segment)
            });
            self.out.push_str(&code);
            rest = &rest[end..];
        }
        self.literal(rest);
    }

    fn literal(&mut self, text: &str) {
        let mut space = false;
        let mut collapsed = String::with_capacity(text.len());
        for c in text.chars() {
            if matches!(c, ' ' | '\n' | '\t' | '\r') {
                if !space {
                    collapsed.push(' ');
                }
                space = true;
            } else {
                collapsed.push(c);
                space = false;
            }
        }
        let decoded = decode(&collapsed);
        let joined = if self.out.ends_with(' ') {
            decoded.strip_prefix(' ').unwrap_or(&decoded)
        } else {
            &decoded
        };
        // A brace in the text is printed, so that two of them do not become code.
        self.out.push_str(&joined.replace('{', "{{ '{' }}"));
    }
}

/// The soft breaks around a block element.
fn break_around(name: &str) -> Option<char> {
    match name {
        "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "table" | "ul" | "ol" | "blockquote" | "pre"
        | "hr" | "section" | "article" | "mj-section" | "mj-text" | "mj-table" => Some(PARAGRAPH),
        "div" | "tr" | "dl" | "dt" | "dd" | "header" | "footer" | "caption" | "mj-column" => Some(LINE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tidies() {
        assert_eq!(tidy("\n\n a  \n\n\n\nb \n"), "a\n\nb");
        assert_eq!(tidy("a\u{E0F2} \u{E0F3} b\u{E0F2}\u{E0F2}c"), "a\n\nb\nc");
        assert_eq!(tidy("a\n  indented\nb"), "a\n  indented\nb");
    }
}
