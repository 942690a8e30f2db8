//! What is left over from templates, markup and forms.

use super::finding::{FindingCode, Findings, Part};
use super::known::{Known, smooth};

const TEMPLATE: [&str; 14] = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "${",
    "<%",
    "%>",
    "[[",
    "]]",
    "%recipient",
    "@@",
    "*|",
];
const MARKDOWN: [&str; 7] = ["**", "__", "```", "](", "~~", "`", "\\n"];
const LINE_MARKDOWN: [&str; 8] = ["# ", "## ", "### ", "#### ", "* ", "> ", "---", "|"];
const PLACEHOLDERS: [&str; 17] = [
    "lorem ipsum",
    "tbd",
    "tba",
    "n/a",
    "insert name",
    "your name here",
    "insert link",
    "xx",
    "xxx",
    "undefined",
    "null",
    "nan",
    "object object",
    "placeholder",
    "customer name",
    "(your name)",
    "(name)",
];

/// Names of fields, in capitals.
const FIELDS: [&str; 9] = [
    "NAME",
    "FIRSTNAME",
    "LASTNAME",
    "LINK",
    "DATE",
    "PRICE",
    "PHONE",
    "COMPANY",
    "MODEL",
];

pub(super) fn check(text: &str, part: Part, known: &Known, findings: &mut Findings) {
    for sign in TEMPLATE.iter().filter(|sign| text.contains(**sign)) {
        findings.add(FindingCode::TemplateSyntax, part, sign);
    }
    for sign in MARKDOWN.iter().filter(|sign| text.contains(**sign)) {
        findings.add(FindingCode::Markdown, part, sign);
    }
    for line in text.lines().map(str::trim_start) {
        if let Some(sign) = LINE_MARKDOWN.iter().find(|sign| line.starts_with(**sign)) {
            findings.add(FindingCode::Markdown, part, sign);
        }
    }
    for found in tags(text).chain(entities(text)) {
        findings.add(FindingCode::Html, part, found);
    }
    let smoothed = smooth(text);
    for word in PLACEHOLDERS
        .iter()
        .filter(|word| known.says_only_here(&smoothed, word))
    {
        findings.add(FindingCode::Placeholder, part, word);
    }
    let words = text.split(|c: char| !c.is_alphanumeric());
    for word in words.filter(|word| FIELDS.contains(word) && !known.has_word(word)) {
        findings.add(FindingCode::Placeholder, part, word);
    }
    for (open, close) in [('[', ']'), ('{', '}'), ('\u{ab}', '\u{bb}')] {
        for inside in enclosed(text, open, close) {
            // Guillemets are quotation marks too; around a name of a variable they are not.
            let quoted = open == '\u{ab}' && !inside.contains('_');
            if !quoted && !known.says(inside) {
                findings.add(FindingCode::Placeholder, part, inside);
            }
        }
    }
    if text.contains('\u{fffc}')
        || text.contains("...name")
        || text.contains("$name")
        || text.contains("%name")
    {
        findings.add(FindingCode::Placeholder, part, "");
    }
}

/// `<b`, `</p`, `<!--`.
fn tags(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('<').filter_map(|(at, _)| {
        let next = text[at + 1..].chars().next()?;
        let is_tag = next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?');
        is_tag.then(|| head(&text[at..]))
    })
}

/// `&amp;`, `&#39;`.
fn entities(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('&').filter_map(|(at, _)| {
        let rest = &text[at + 1..];
        let name = rest.trim_start_matches('#');
        let end = name.find(|c: char| !c.is_ascii_alphanumeric())?;
        let is_entity = (2..=10).contains(&end) && name[end..].starts_with(';');
        is_entity.then(|| head(&text[at..]))
    })
}

fn head(text: &str) -> &str {
    let end = text.char_indices().nth(12).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// Short texts between a pair of signs, without them.
fn enclosed(text: &str, open: char, close: char) -> impl Iterator<Item = &str> {
    text.match_indices(open).filter_map(move |(at, _)| {
        let inside = &text[at + open.len_utf8()..];
        let inside = &inside[..inside.find(close)?];
        (inside.len() <= 120 && inside.chars().any(char::is_alphanumeric)).then_some(inside)
    })
}
