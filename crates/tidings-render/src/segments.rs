//! The template language, kept small: which statements and operators a template may use.
//!
//! Templates print values, choose (`if`) and repeat (`for` over a list of the context). Everything that could make
//! text grow without growing the source (assignments, arithmetic, concatenation, list literals in loops, macros,
//! includes, recursion) is refused when the template is compiled, so a small template cannot make a huge message.

use crate::engine::TESTS;
use crate::filters;

/// Names the engine fills in itself; variables of a message with these names are not visible.
pub const RESERVED_NAMES: [&str; 3] = ["brand", "mail", "loop"];

/// Stands for a piece of template code while the markup around it is worked on. Private-use characters pass
/// through every parser untouched and are refused in sources.
pub(crate) const OPEN: char = '\u{E0F0}';
/// Ends a stand-in.
pub(crate) const CLOSE: char = '\u{E0F1}';

/// Stands for a brace written as a character reference, which must not become template code.
pub(crate) const BRACE: char = '\u{E0F4}';

/// Most pieces of template code in one part.
const MAX_SEGMENTS: usize = 5_000;
/// How deep statements may nest.
const MAX_NESTING: usize = 12;
/// Most branches of the statements open at one place: the engine's parser calls itself for each.
const MAX_BRANCHES: usize = 40;
/// Most names and signs in one piece of code: the engine's parser calls itself for each level of an expression.
const MAX_WORDS: usize = 120;

/// What a piece of template code does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `{{ .. }}`: prints.
    Expression,
    /// `{% .. %}`: chooses or repeats.
    Statement,
}

/// A piece of template code.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub kind: Kind,
    /// What stands between the delimiters.
    pub code: String,
    /// Line in the source, from 1.
    pub line: usize,
    newlines: usize,
}

/// A source with its template code replaced by stand-ins.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    /// The text with stand-ins.
    pub text: String,
    /// What each stands for, by number.
    pub segments: Vec<Segment>,
}

/// A fault found before parsing, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub line: Option<usize>,
    pub problem: String,
}

impl Fault {
    /// A fault at a line of the source.
    pub(crate) fn at(line: usize, problem: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            problem: problem.into(),
        }
    }

    /// A fault of the whole part.
    pub(crate) fn whole(problem: impl Into<String>) -> Self {
        Self {
            line: None,
            problem: problem.into(),
        }
    }
}

impl Segment {
    /// The code with its delimiters.
    pub(crate) fn source(&self) -> String {
        match self.kind {
            Kind::Expression => format!("{{{{{}}}}}", self.code),
            Kind::Statement => format!("{{%{}%}}", self.code),
        }
    }

    /// The expression without whitespace control signs.
    pub(crate) fn expression(&self) -> &str {
        self.code
            .trim_start_matches(['-', '+'])
            .trim_end_matches('-')
            .trim()
    }
}

impl Split {
    /// The source line of an offset into the text.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let inside: usize = stand_ins(before)
            .filter_map(|number| self.segments.get(number))
            .map(|segment| segment.newlines)
            .sum();
        1 + before.matches('\n').count() + inside
    }

    /// Puts code back for every stand-in, chosen by the caller, and takes away the comment around a stand-in.
    pub(crate) fn restore(&self, text: &str, code: impl Fn(usize, &Segment) -> String) -> String {
        let mut out = String::with_capacity(text.len() + self.segments.len() * 16);
        let mut rest = text;
        while let Some(start) = rest.find(OPEN) {
            let inner = &rest[start + OPEN.len_utf8()..];
            let Some(end) = inner.find(CLOSE) else { break };
            let (before, after) = (&rest[..start], &inner[end + CLOSE.len_utf8()..]);
            let (before, after) = match (before.strip_suffix("<!--"), after.strip_prefix("-->")) {
                (Some(before), Some(after)) => (before, after),
                _ => (before, after),
            };
            out.push_str(before);
            let found = inner[..end]
                .parse()
                .ok()
                .and_then(|n: usize| Some((n, self.segments.get(n)?)));
            if let Some((number, segment)) = found {
                out.push_str(&code(number, segment));
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// The stand-in of a number.
pub(crate) fn stand_in(number: usize) -> String {
    format!("{OPEN}{number}{CLOSE}")
}

/// The numbers of the stand-ins in a text, in order.
pub(crate) fn stand_ins(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.split(OPEN).skip(1).filter_map(|piece| {
        piece
            .split_once(CLOSE)
            .and_then(|(number, _)| number.parse().ok())
    })
}

/// Splits a source and checks every piece of code in it.
pub(crate) fn split(source: &str) -> Result<Split, Fault> {
    if let Some(at) = source.find(|c| matches!(c, OPEN..=BRACE | '\0')) {
        return Err(Fault::at(
            line_at(source, at),
            "contains a control or private-use character; remove it",
        ));
    }
    let mut out = Split {
        text: String::with_capacity(source.len()),
        segments: Vec::new(),
    };
    let mut nesting = Vec::new();
    let mut at = 0;
    while let Some(found) = next_opening(source, at) {
        out.text.push_str(&source[at..found]);
        let line = line_at(source, found);
        let opening = &source[found..found + 2];
        let end = closing(source, found + 2, opening).ok_or_else(|| {
            Fault::at(
                line,
                format!("\"{opening}\" is never closed; end it, or print it as {{{{ \"{opening}\" }}}}"),
            )
        })?;
        let code = &source[found + 2..end];
        if opening != "{#" {
            let kind = if opening == "{{" {
                Kind::Expression
            } else {
                Kind::Statement
            };
            let newlines = code.matches('\n').count();
            let segment = Segment {
                kind,
                code: code.to_owned(),
                line,
                newlines,
            };
            check(&segment, &mut nesting)?;
            out.text.push_str(&stand_in(out.segments.len()));
            out.segments.push(segment);
        }
        if out.segments.len() > MAX_SEGMENTS {
            return Err(Fault::at(
                line,
                format!("has more than {MAX_SEGMENTS} pieces of template code; split it"),
            ));
        }
        at = end + 2;
    }
    out.text.push_str(&source[at..]);
    Ok(out)
}

fn line_at(source: &str, offset: usize) -> usize {
    1 + source[..offset].matches('\n').count()
}

fn next_opening(source: &str, from: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    (from..bytes.len().saturating_sub(1))
        .find(|&at| bytes[at] == b'{' && matches!(bytes[at + 1], b'{' | b'%' | b'#'))
}

/// Where the closing delimiter of a piece begins; quotes inside code are skipped.
fn closing(source: &str, from: usize, opening: &str) -> Option<usize> {
    let close: &[u8] = match opening {
        "{{" => b"}}",
        "{%" => b"%}",
        _ => return source[from..].find("#}").map(|at| from + at),
    };
    let bytes = source.as_bytes();
    let mut quote = None;
    let mut at = from;
    while at + 1 < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, _) if bytes[at..].starts_with(close) => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn check(segment: &Segment, nesting: &mut Vec<usize>) -> Result<(), Fault> {
    let code = segment
        .code
        .trim_start_matches(['-', '+'])
        .trim_end_matches(['-', '+']);
    match segment.kind {
        Kind::Expression => check_expression(code, segment.line),
        Kind::Statement => check_statement(code.trim(), segment.line, nesting),
    }
}

fn check_statement(code: &str, line: usize, nesting: &mut Vec<usize>) -> Result<(), Fault> {
    let (word, rest) = code.split_once(char::is_whitespace).unwrap_or((code, ""));
    match word {
        "if" => nesting.push(1),
        "for" => {
            check_loop(rest, line)?;
            nesting.push(1);
        }
        "elif" | "else" => {
            if let Some(branches) = nesting.last_mut() {
                *branches += 1;
            }
        }
        "endif" | "endfor" => {
            nesting.pop();
        }
        _ => {
            let word: String = word.chars().take(24).collect();
            return Err(Fault::at(
                line,
                format!("the statement \"{word}\" is not allowed; use if, elif, else, endif, for and endfor"),
            ));
        }
    }
    if nesting.len() > MAX_NESTING {
        return Err(Fault::at(
            line,
            format!("statements nest deeper than {MAX_NESTING}; flatten the template"),
        ));
    }
    if nesting.iter().sum::<usize>() > MAX_BRANCHES {
        return Err(Fault::at(
            line,
            format!("has more than {MAX_BRANCHES} branches in one place; choose before sending"),
        ));
    }
    check_expression(rest, line)
}

/// A loop goes over a list that is there already: building one in the loop is how small templates grow huge.
fn check_loop(rest: &str, line: usize) -> Result<(), Fault> {
    let (targets, list) = rest.split_once(" in ").unwrap_or((rest, ""));
    if let Some(name) = words(targets)
        .into_iter()
        .find(|word| RESERVED_NAMES.contains(word))
    {
        return Err(Fault::at(
            line,
            format!("\"{name}\" is the engine's own name; loop with another"),
        ));
    }
    let list = list.split_once(" if ").map_or(list, |(list, _)| list);
    let mut before = ' ';
    for c in list.chars().filter(|c| !c.is_whitespace()) {
        let literal = matches!(c, '[' | '(') && !(before.is_alphanumeric() || matches!(before, '_' | ']'));
        if literal || c == '{' {
            return Err(Fault::at(
                line,
                "a loop goes over a list of the context; lists cannot be built in it",
            ));
        }
        before = c;
    }
    if rest.split_whitespace().any(|word| word == "recursive") {
        return Err(Fault::at(
            line,
            "recursive loops are not allowed; pass a flat list",
        ));
    }
    Ok(())
}

/// Words of the language that stand where names stand.
const KEYWORDS: [&str; 9] = ["in", "and", "or", "not", "if", "else", "is", "true", "false"];

/// Checks operators and names: the engine would find an unknown filter only when a message is rendered.
fn check_expression(code: &str, line: usize) -> Result<(), Fault> {
    let words = words(code);
    if words.len() > MAX_WORDS {
        return Err(Fault::at(
            line,
            "is too long an expression; compute it before sending".to_owned(),
        ));
    }
    for (index, word) in words.iter().enumerate() {
        let before = |back: usize| {
            index
                .checked_sub(back)
                .and_then(|at| words.get(at))
                .copied()
                .unwrap_or("")
        };
        let name = word.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let tested = before(1) == "is" || (before(1) == "not" && before(2) == "is");
        if matches!(*word, "~" | "+" | "*") {
            let problem = format!(
                "the operator \"{word}\" is not allowed; print values one after another, compute before sending"
            );
            return Err(Fault::at(line, problem));
        } else if name && before(1) == "|" {
            if !filters::NAMES.contains(word) {
                return Err(Fault::at(
                    line,
                    format!("there is no filter \"{word}\"; use one of: {}", spoken_filters()),
                ));
            }
        } else if name && tested && *word != "not" {
            if !TESTS.contains(word) {
                return Err(Fault::at(
                    line,
                    format!("there is no test \"{word}\"; use one of: {}", TESTS.join(", ")),
                ));
            }
        } else if name && words.get(index + 1) == Some(&"(") && !KEYWORDS.contains(word) {
            return Err(Fault::at(
                line,
                format!("\"{word}\" cannot be called; templates have filters, not functions"),
            ));
        }
    }
    Ok(())
}

fn spoken_filters() -> String {
    let spoken: Vec<&str> = filters::NAMES
        .into_iter()
        .filter(|name| !name.starts_with("tidings_"))
        .collect();
    spoken.join(", ")
}

/// Names, quoted texts (as one quote) and signs of an expression.
fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len())
        } else if matches!(first, '"' | '\'') {
            words.push("\"");
            rest = &rest[quoted_length(rest, first)..];
            rest = rest.trim_start();
            continue;
        } else {
            first.len_utf8()
        };
        words.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    words
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn splits_and_restores() {
        let source = "Hi {{ name }},\n{# note #}{% if a is defined %}{{ '}}' }}{% endif %} end";
        let split = split(source).unwrap();
        assert_eq!(split.segments.len(), 4);
        assert_eq!(
            split.restore(&split.text, |_, segment| segment.source()),
            source.replace("{# note #}", "")
        );
        assert_eq!(split.line_of(split.text.len()), 2);
    }

    #[test]
    fn refuses_what_can_grow_or_reach_out() {
        for source in [
            "{% set a = 1 %}",
            "{% include 'x' %}",
            "{% import 'x' as x %}",
            "{% extends 'x' %}",
            "{% macro m() %}{% endmacro %}",
            "{% raw %}{{ x }}{% endraw %}",
            "{% with a = b %}{% endwith %}",
            "{% filter upper %}{% endfilter %}",
            "{% autoescape false %}{% endautoescape %}",
            "{% for a in [b, b] %}{% endfor %}",
            "{% for a in (b, b) %}{% endfor %}",
            "{% for a in b recursive %}{% endfor %}",
            "{% for brand in b %}{% endfor %}",
            "{% for a, mail in b %}{% endfor %}",
            "{{ a ~ a }}",
            "{{ 'x' * 100000 }}",
            "{{ a + a }}",
            "{{ a|nope }}",
            "{{ range(9) }}",
            "{{ a.b() }}",
            "{{ a is nope }}",
            "{{ a is not nope }}",
            "{{ a",
            "{% if a",
        ] {
            assert!(split(source).is_err(), "{source}");
        }
        assert!(split(&"{% if a %}".repeat(13)).is_err());
        assert!(split(&format!("{{% if a %}}{}", "{% elif a %}".repeat(50))).is_err());
        assert!(split(&format!("{{{{ {} a }}}}", "not ".repeat(200))).is_err());
        assert!(split("{% for a in b.c[0]|shares if a.ok and (a is not defined or not (a.x)) %}{{ a['b'] }}{% endfor %}").is_ok());
    }
}
