//! The structure of HTML and MJML bodies: what an author wrote must be well formed, and may hold only what belongs
//! into a message.

use crate::markup::{Tag, Token, is_void};
use crate::segments::{Fault, Kind, Split, stand_ins};

/// Deepest nesting of elements.
const MAX_DEPTH: usize = 100;

/// Elements that run, embed, submit or fetch: none of them works in mail, all of them are dangerous in previews.
const REFUSED: [&str; 27] = [
    "script",
    "iframe",
    "frame",
    "frameset",
    "object",
    "embed",
    "applet",
    "form",
    "input",
    "button",
    "textarea",
    "select",
    "option",
    "base",
    "link",
    "svg",
    "math",
    "template",
    "noscript",
    "video",
    "audio",
    "canvas",
    "dialog",
    "portal",
    "mj-include",
    "mj-attributes-include",
    "plaintext",
];

/// Checks a body's structure.
pub(crate) fn validate(split: &Split, tokens: &[Token]) -> Result<(), Fault> {
    let mut structure = Structure {
        split,
        open: Vec::new(),
        statements: Vec::new(),
    };
    for token in tokens {
        match token {
            Token::Open(tag) => structure.open(tag)?,
            Token::Close { name, range } => structure.close(name, range.start)?,
            Token::Text { range, raw } => structure.text(range.start, &split.text[range.clone()], *raw)?,
            Token::Aside { range } => structure.aside(range.start, &split.text[range.clone()])?,
        }
    }
    match structure.open.last() {
        Some((name, line)) => Err(Fault::at(
            *line,
            format!("<{name}> is never closed; add </{name}>"),
        )),
        None => Ok(()),
    }
}

struct Structure<'a> {
    split: &'a Split,
    /// Open elements with their lines.
    open: Vec<(String, usize)>,
    /// Depth of elements and line at each open statement.
    statements: Vec<(usize, usize)>,
}

impl Structure<'_> {
    fn open(&mut self, tag: &Tag) -> Result<(), Fault> {
        let line = self.split.line_of(tag.range.start);
        let name = tag.name.as_str();
        if REFUSED.contains(&name) {
            return Err(Fault::at(
                line,
                format!("<{name}> is not allowed in messages; remove it"),
            ));
        }
        check_attributes(tag, line)?;
        self.check_place(name, line)?;
        if tag.closed && !is_void(name) && !name.starts_with("mj-") {
            return Err(Fault::at(
                line,
                format!("<{name}/> does not close itself in HTML; write <{name}></{name}>"),
            ));
        }
        if !tag.is_void() {
            self.open.push((name.to_owned(), line));
        }
        if self.open.len() > MAX_DEPTH {
            return Err(Fault::at(
                line,
                format!("elements nest deeper than {MAX_DEPTH}; flatten the template"),
            ));
        }
        Ok(())
    }

    /// Elements that the repairing parser would move elsewhere, and with them the template code around them.
    fn check_place(&self, name: &str, line: usize) -> Result<(), Fault> {
        let parent = self.open.last().map_or("", |(parent, _)| parent.as_str());
        let fits = match parent {
            "table" => matches!(name, "tr" | "tbody" | "thead" | "tfoot" | "caption" | "colgroup"),
            "tbody" | "thead" | "tfoot" => name == "tr",
            "tr" => matches!(name, "td" | "th"),
            "ul" | "ol" => name == "li",
            _ => {
                let orphan = matches!(name, "tr" | "td" | "th" | "tbody" | "thead" | "tfoot");
                // A table's rows stand alone in MJML's <mj-table>.
                !orphan || parent == "mj-table" || parent == "mj-raw"
            }
        };
        if !fits {
            let parent = if parent.is_empty() {
                "the body".to_owned()
            } else {
                format!("<{parent}>")
            };
            return Err(Fault::at(
                line,
                format!("<{name}> cannot stand directly in {parent}; check the structure"),
            ));
        }
        let within = |wanted: &str| self.open.iter().any(|(open, _)| open == wanted);
        let block = matches!(
            name,
            "p" | "div"
                | "table"
                | "ul"
                | "ol"
                | "h1"
                | "h2"
                | "h3"
                | "h4"
                | "h5"
                | "h6"
                | "blockquote"
                | "pre"
                | "hr"
        );
        if block && within_paragraph(&self.open) {
            return Err(Fault::at(
                line,
                format!("<{name}> cannot stand in <p>; close the paragraph first"),
            ));
        }
        if name == "a" && within("a") {
            return Err(Fault::at(line, "<a> cannot stand in <a>; close the first link"));
        }
        Ok(())
    }

    fn close(&mut self, name: &str, at: usize) -> Result<(), Fault> {
        let line = self.split.line_of(at);
        match self.open.pop() {
            Some((open, _)) if open == name => Ok(()),
            Some((open, since)) => Err(Fault::at(
                line,
                format!("</{name}> closes <{open}> of line {since}; close <{open}> first"),
            )),
            None => Err(Fault::at(
                line,
                format!("</{name}> closes nothing; remove it or open <{name}>"),
            )),
        }
    }

    fn text(&mut self, at: usize, text: &str, raw: bool) -> Result<(), Fault> {
        let line = self.split.line_of(at);
        let parent = self
            .open
            .last()
            .map(|(parent, _)| parent.clone())
            .unwrap_or_default();
        let parent = parent.as_str();
        let rows = matches!(parent, "table" | "tbody" | "thead" | "tfoot" | "tr");
        let mut printed = String::new();
        for (index, piece) in text.split(crate::segments::OPEN).enumerate() {
            let plain = if index == 0 {
                piece
            } else {
                piece.split_once(crate::segments::CLOSE).map_or("", |p| p.1)
            };
            printed.push_str(plain);
        }
        let mut prints = !printed.trim().is_empty();
        for number in stand_ins(text) {
            let Some(segment) = self.split.segments.get(number) else {
                continue;
            };
            match segment.kind {
                Kind::Expression => prints = true,
                Kind::Statement if raw && parent.ends_with("style") => {
                    return Err(Fault::at(
                        segment.line,
                        "if and for are not allowed in styles; print values only",
                    ));
                }
                Kind::Statement if parent == "table" => {
                    return Err(Fault::at(
                        segment.line,
                        "if and for cannot stand in <table>; put rows into <tbody>",
                    ));
                }
                Kind::Statement => self.statement(&segment.code, segment.line)?,
            }
        }
        if rows && prints {
            return Err(Fault::at(
                line,
                format!("text cannot stand directly in <{parent}>; put it into <td>"),
            ));
        }
        Ok(())
    }

    /// Values in comments would escape the check of their place.
    fn aside(&self, at: usize, text: &str) -> Result<(), Fault> {
        match stand_ins(text).next() {
            Some(_) => {
                let problem = "template code stands in a comment; move it out, or use {# .. #} for notes";
                Err(Fault::at(self.split.line_of(at), problem))
            }
            None => Ok(()),
        }
    }

    /// Whatever way a statement goes, the elements in it are whole.
    fn statement(&mut self, code: &str, line: usize) -> Result<(), Fault> {
        let word = code
            .trim_start_matches(['-', '+'])
            .split_whitespace()
            .next()
            .unwrap_or_default();
        let depth = self.open.len();
        if matches!(word, "if" | "for") {
            self.statements.push((depth, line));
            return Ok(());
        }
        let since = if word.starts_with("end") {
            self.statements.pop()
        } else {
            self.statements.last().copied()
        };
        match since {
            Some((begun, since)) if begun != depth => Err(Fault::at(
                line,
                format!(
                    "the statement of line {since} leaves an element open or closes one; keep elements whole in it"
                ),
            )),
            _ => Ok(()),
        }
    }
}

fn check_attributes(tag: &Tag, line: usize) -> Result<(), Fault> {
    let outside = tag
        .attributes
        .iter()
        .any(|one| stand_ins(&one.name).next().is_some());
    if outside || stand_ins(&tag.name).next().is_some() {
        let problem = "template code stands inside a tag; put it into the value of an attribute";
        return Err(Fault::at(line, problem));
    }
    for attribute in &tag.attributes {
        let name = attribute.name.as_str();
        let handler = name.starts_with("on") && !tag.name.starts_with("mj-");
        if handler || matches!(name, "srcdoc" | "formaction" | "srcset" | "ping" | "http-equiv") {
            return Err(Fault::at(
                line,
                format!("the attribute {name} is not allowed in messages; remove it"),
            ));
        }
    }
    Ok(())
}

fn within_paragraph(open: &[(String, usize)]) -> bool {
    let scope = open
        .iter()
        .rposition(|(name, _)| matches!(name.as_str(), "td" | "th" | "caption" | "table"));
    open[scope.map_or(0, |at| at + 1)..]
        .iter()
        .any(|(name, _)| name == "p")
}
