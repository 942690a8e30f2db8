//! Who is greeted, where somebody is.

use super::canvas::Canvas;
use super::finding::{FindingCode, Findings, Part};
use super::known::Known;
use super::lexicon::{GENERIC_READERS, GREETINGS, HONORIFICS, is_common};
use crate::request::DraftRequest;

/// Words of a name and its titles.
const MOST_WORDS: usize = 5;

/// Checks the greeting of the text, and takes it out of what is left, so that its words are judged once.
pub(super) fn check(
    text: &str,
    rest: &mut Canvas,
    request: &DraftRequest<'_>,
    known: &Known,
    findings: &mut Findings,
) {
    let start = text.chars().take_while(|c| c.is_whitespace()).count();
    let line: String = text.chars().skip(start).take_while(|c| *c != '\n').collect();
    let Some(greeting) = Greeting::read(&line) else {
        vocative(&line, request, known, findings);
        return;
    };
    rest.take(start, start + greeting.length);
    if greeting.words.is_empty() {
        return;
    }
    let reader = request.addressee_name().map(name_words);
    let generic = greeting
        .words
        .iter()
        .any(|word| GENERIC_READERS.contains(&word.as_str()));
    let code = match reader {
        Some(reader) if is_part_of_name(&greeting.words, &reader) => return,
        Some(_) if generic => FindingCode::GenericGreeting,
        None if generic && greeting.words.iter().all(|word| names_nobody(word, known)) => return,
        _ if greeting.words.iter().all(|word| known.is_brand(word)) => return,
        _ => FindingCode::WrongGreeting,
    };
    findings.add(code, Part::Body, &line);
}

/// "Dear customer", "dear owner of a Lawn King": no word of it can be a name that is not known.
fn names_nobody(word: &str, known: &Known) -> bool {
    let joining = matches!(word, "und" | "et" | "y" | "e" | "en" | "och" | "og" | "i");
    GENERIC_READERS.contains(&word)
        || joining
        || is_common(word)
        || (known.has_word(word) && !known.is_of_a_person(word))
}

/// "Anna, your mower ...": somebody in the facts, but not the reader.
fn vocative(line: &str, request: &DraftRequest<'_>, known: &Known, findings: &mut Findings) {
    let Some((called, _)) = line.split_once(',') else {
        return;
    };
    let words = name_words(called);
    let people = !words.is_empty() && words.len() <= 3 && words.iter().all(|word| known.is_of_a_person(word));
    let reader = request.addressee_name().map(name_words).unwrap_or_default();
    if people && !is_part_of_name(&words, &reader) {
        findings.add(FindingCode::WrongGreeting, Part::Body, called);
    }
}

struct Greeting {
    /// Who is greeted, in lower case, without title.
    words: Vec<String>,
    /// Characters of the line up to the end of the name.
    length: usize,
}

impl Greeting {
    fn read(line: &str) -> Option<Self> {
        let lower: Vec<char> = line.chars().filter_map(|c| c.to_lowercase().next()).collect();
        let opening = GREETINGS.iter().find_map(|greeting| {
            let length = greeting.chars().count();
            let fits = lower.len() >= length && greeting.chars().eq(lower[..length].iter().copied());
            let ends = lower.get(length).is_none_or(|c| !c.is_alphanumeric());
            (fits && ends).then_some(length)
        })?;
        let chars: Vec<char> = line.chars().collect();
        // A comma may stand between greeting and name: "Hello, Anna!"
        let begin = (opening..chars.len())
            .find(|at| chars[*at] != ' ' && chars[*at] != ',')
            .unwrap_or(chars.len());
        let is_end = |at: usize| {
            let c = chars[at];
            let dash = matches!(c, '-' | '\u{2013}' | '\u{2014}') && chars.get(at + 1) == Some(&' ');
            let title = c == '.' && HONORIFICS.contains(&last_word(&lower[..at]).as_str());
            dash || (matches!(c, ',' | '!' | '.' | ':' | ';' | '?') && !title)
        };
        let end = (begin..chars.len()).find(|at| is_end(*at)).unwrap_or(chars.len());
        let called: String = chars[begin..end].iter().collect();
        let named = named(&called, chars[opening..begin].contains(&','));
        let length = named.iter().map(|word| word.chars().count() + 1).sum::<usize>();
        Some(Self {
            words: name_words(&named.join(" ")),
            length: if named.is_empty() {
                opening
            } else {
                begin + length - 1
            },
        })
    }
}

/// The words behind a greeting that name somebody: those with capitals, or a word for anybody, or a word on its own.
/// Behind a comma a sentence may begin, so there all of them must look like a name.
fn named(called: &str, separated: bool) -> Vec<&str> {
    let words: Vec<&str> = called.split(' ').filter(|word| !word.is_empty()).collect();
    let capitals = words.iter().take_while(|word| is_name_like(word)).count();
    let Some(first) = words.first().map(|word| word.to_lowercase()) else {
        return words;
    };
    let anybody = GENERIC_READERS.contains(&first.as_str());
    match (separated, capitals) {
        (true, capitals) if capitals < words.len() => Vec::new(),
        (_, 0) if anybody => words.into_iter().take(MOST_WORDS).collect(),
        (_, 0) if words.len() == 1 => words,
        (_, capitals) => words.into_iter().take(capitals.min(MOST_WORDS)).collect(),
    }
}

fn is_name_like(word: &str) -> bool {
    word.starts_with(char::is_uppercase)
}

fn last_word(chars: &[char]) -> String {
    let start = chars
        .iter()
        .rposition(|c| !c.is_alphabetic())
        .map_or(0, |at| at + 1);
    chars[start..].iter().collect()
}

/// The words of a name in lower case, without titles.
fn name_words(name: &str) -> Vec<String> {
    let pieces = name.split(|c: char| !c.is_alphanumeric() && !matches!(c, '\'' | '-' | '\u{2019}'));
    pieces
        .map(|piece| {
            piece
                .trim_matches(['\'', '-', '\u{2019}'])
                .to_lowercase()
                .replace('\u{2019}', "'")
        })
        .filter(|word| !word.is_empty() && !HONORIFICS.contains(&word.as_str()))
        .collect()
}

/// The whole name, or its beginning or end.
fn is_part_of_name(words: &[String], name: &[String]) -> bool {
    !words.is_empty() && (name.starts_with(words) || name.ends_with(words))
}
