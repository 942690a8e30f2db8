//! Links, bare domains, e-mail addresses and account names.

use super::super::canvas::{Canvas, TAKEN};
use super::super::mention::{Mention, Spot};

/// Ways of writing a domain so that no program sees it.
const DISGUISES: [&str; 15] = [
    "[.]",
    "(.)",
    "[dot]",
    "(dot)",
    " dot ",
    "[at]",
    "(at)",
    " punkt de",
    " .com",
    " .net",
    " .org",
    " .io",
    ". com",
    ". net",
    ". org",
];

pub(super) fn take(canvas: &mut Canvas) -> Vec<Spot> {
    let mut spots = disguised(canvas);
    let mut start = 0;
    while start < canvas.len() {
        if is_border(canvas.at(start)) {
            start += 1;
            continue;
        }
        let end = (start..canvas.len())
            .find(|at| is_border(canvas.at(*at)))
            .unwrap_or(canvas.len());
        for (from, to) in candidates(canvas, start, end) {
            let (from, to) = trimmed(canvas, from, to);
            if let Some(mention) = read(&canvas.text(from, to)) {
                let excerpt = canvas.take(from, to);
                spots.push(Spot::new(mention, excerpt));
            }
        }
        start = end;
    }
    spots
}

fn disguised(canvas: &mut Canvas) -> Vec<Spot> {
    let lower: Vec<char> = canvas.plain.iter().map(char::to_ascii_lowercase).collect();
    let mut spots = Vec::new();
    for disguise in DISGUISES {
        let wanted: Vec<char> = disguise.chars().collect();
        for at in 0..lower.len().saturating_sub(wanted.len() - 1) {
            let end = at + wanted.len();
            let torn = disguise.ends_with(char::is_alphabetic) && canvas.at(end).is_alphanumeric();
            if lower[at..end] == wanted[..] && !torn {
                let excerpt = canvas.text(at.saturating_sub(20), end);
                spots.push(Spot::new(Mention::Link(excerpt.to_lowercase()), excerpt));
            }
        }
    }
    spots
}

fn is_border(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            TAKEN
                | '"'
                | '<'
                | '>'
                | '('
                | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | '|'
                | '\u{201c}'
                | '\u{201d}'
                | '\u{201e}'
                | '\u{ab}'
                | '\u{bb}'
        )
}

/// A token with a scheme is one link from its scheme on; another one may hold several addresses.
fn candidates(canvas: &Canvas, start: usize, end: usize) -> Vec<(usize, usize)> {
    let lower = canvas.text(start, end).to_lowercase();
    let offset = |at: usize| start + lower[..at].chars().count();
    if let Some(at) = lower.find("://") {
        let scheme = lower[..at]
            .rfind(|c: char| !c.is_ascii_alphanumeric())
            .map_or(0, |at| at + 1);
        // A stray sign of several bytes before the scheme must not tear a character.
        let scheme = if lower.is_char_boundary(scheme) { scheme } else { 0 };
        return vec![(offset(scheme), end)];
    }
    if lower.starts_with("mailto:") || lower.starts_with("tel:") || lower.starts_with("sms:") {
        return vec![(start, end)];
    }
    let mut parts = Vec::new();
    let mut from = start;
    for at in start..=end {
        if at == end || matches!(canvas.at(at), ',' | ';' | '\u{3001}' | '\u{ff0c}') || is_colon(canvas, at) {
            if at > from {
                parts.push((from, at));
            }
            from = at + 1;
        }
    }
    parts
}

/// A colon that is not in front of a port.
fn is_colon(canvas: &Canvas, at: usize) -> bool {
    canvas.at(at) == ':' && !canvas.at(at + 1).is_ascii_digit()
}

fn trimmed(canvas: &Canvas, mut start: usize, mut end: usize) -> (usize, usize) {
    let is_loose = |c: char| {
        matches!(
            c,
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '`' | '~' | '\u{2026}' | '\u{3002}'
        )
    };
    while start < end && is_loose(canvas.at(start)) {
        start += 1;
    }
    while end > start && is_loose(canvas.before(end)) {
        end -= 1;
    }
    (start, end)
}

fn read(token: &str) -> Option<Mention> {
    let lower = token.to_lowercase();
    let schemed = lower.contains("://") || lower.starts_with("tel:") || lower.starts_with("sms:");
    if schemed || lower.starts_with("www.") || lower.starts_with("localhost") {
        return Some(Mention::Link(normal(token)));
    }
    let address = lower.strip_prefix("mailto:").unwrap_or(&lower);
    if let Some((local, domain)) = address.rsplit_once('@') {
        let is_address = !domain.is_empty() && (!local.is_empty() || domain.chars().any(char::is_alphabetic));
        return is_address.then(|| Mention::Email(address.to_owned()));
    }
    let pieces = || lower.split(['/', '?', '#', ':', '=', '&', '\\']);
    pieces()
        .any(|piece| is_domain(piece) || is_numeric_address(piece))
        .then(|| Mention::Link(normal(token)))
}

fn is_domain(host: &str) -> bool {
    let labels: Vec<&str> = host.trim_matches('.').split('.').collect();
    let Some(last) = labels.last() else { return false };
    let label = |label: &&str| {
        !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    // A name and its initials ("J.Smith") look the same, and are not known either.
    labels.len() >= 2
        && labels.iter().all(label)
        && (last.starts_with("xn--") || (last.chars().count() >= 2 && last.chars().all(char::is_alphabetic)))
        && labels.iter().any(|label| label.chars().count() > 1)
        && host
            .chars()
            .any(|c| c.is_ascii_alphanumeric() || matches!(c, '\u{80}'..='\u{52f}'))
}

fn is_numeric_address(host: &str) -> bool {
    let parts: Vec<&str> = host.split('.').collect();
    parts.len() == 4 && parts.iter().all(|part| part.parse::<u8>().is_ok())
}

/// Scheme and host in lower case, no slash at the end.
pub(in super::super) fn normal(link: &str) -> String {
    let link = link.trim().trim_end_matches('/');
    let host_start = link.find("://").map_or(0, |at| at + 3);
    let host_end = link[host_start..]
        .find(['/', '?', '#'])
        .map_or(link.len(), |at| host_start + at);
    format!("{}{}", link[..host_end].to_lowercase(), &link[host_end..])
}
