//! Names of people, companies and products: capitalised words that nothing known holds.

use super::canvas::{Canvas, TAKEN};
use super::finding::{FindingCode, Findings, Part};
use super::known::Known;
use super::language::{Script, script_of, scripts};
use super::lexicon::{CLOSINGS, HONORIFICS, NO_NAMES, SUBJECT_MARKERS, is_common, is_given_name};
use crate::draft::DraftText;
use crate::request::DraftRequest;
use std::collections::HashSet;
use std::ops::Range;

/// Lines at the end that may be a signature, and their most words.
const SIGNATURE_LINES: usize = 3;
const SIGNATURE_WORDS: usize = 5;

/// A word of the text, with what its place says about it.
struct Word {
    text: String,
    lower: String,
    capital: bool,
    /// At the beginning of a sentence, where every word has a capital.
    first: bool,
    /// Directly behind another word, with nothing but a blank between.
    follows: bool,
    /// In a short line at the end.
    signature: bool,
    /// What comes next is a comma.
    comma: bool,
    /// It ends with an apostrophe and s.
    possessive: bool,
}

pub(super) fn check(
    rest: &Canvas,
    part: Part,
    text: &DraftText,
    request: &DraftRequest<'_>,
    known: &Known,
    findings: &mut Findings,
) {
    let language = request.language();
    let words = words(rest);
    let report = |findings: &mut Findings, word: &str| findings.add(FindingCode::UnknownName, part, word);
    let cased = scripts(&language)
        .iter()
        .any(|script| matches!(script, Script::Latin | Script::Greek | Script::Cyrillic));
    if !cased {
        for word in words.iter().filter(|word| is_foreign(word, known)) {
            report(findings, &word.text);
        }
        for name in honoured(rest, known) {
            report(findings, &name);
        }
        return;
    }
    let judge = Judge {
        known,
        english: language == "en",
        nouns: matches!(language.as_str(), "de" | "lb"),
        titled: language == "en" && part == Part::Subject && is_title(&words),
        body: text
            .body
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| word.starts_with(char::is_lowercase))
            .collect(),
    };
    for (index, word) in words.iter().enumerate() {
        let before = index
            .checked_sub(1)
            .and_then(|before| words.get(before))
            .filter(|_| word.follows);
        let after = words.get(index + 1).filter(|after| after.follows);
        if judge.is_unknown(word, before, after) {
            report(findings, &word.text);
        } else if let Some(before) = before
            && is_made_up_person(before, word, known)
        {
            report(findings, &format!("{} {}", before.text, word.text));
        }
    }
}

struct Judge<'a> {
    known: &'a Known,
    english: bool,
    /// Nouns have capitals.
    nouns: bool,
    /// Every Word Has a Capital.
    titled: bool,
    /// Words that the text itself writes small.
    body: HashSet<&'a str>,
}

impl Judge<'_> {
    fn is_unknown(&self, word: &Word, before: Option<&Word>, after: Option<&Word>) -> bool {
        let known = self.known.has_word(&word.text) || NO_NAMES.contains(&word.lower.as_str());
        if !word.capital || known || word.lower.chars().count() < 2 {
            return false;
        }
        if is_given_name(&word.lower) || has_inner_capital(&word.text) {
            return true;
        }
        if before.is_some_and(|before| HONORIFICS.contains(&before.lower.as_str())) {
            return true;
        }
        if self.titled {
            return !self.is_ordinary(word);
        }
        if word.first {
            return self.is_unknown_first(word, after);
        }
        if self.nouns {
            // One noun is a noun; two in a row are a name.
            return before.is_some_and(|before| {
                before.capital
                    && !before.first
                    && !self.known.has_word(&before.text)
                    && !NO_NAMES.contains(&before.lower.as_str())
            });
        }
        true
    }

    fn is_unknown_first(&self, word: &Word, after: Option<&Word>) -> bool {
        if word.signature {
            return !CLOSINGS.contains(&word.lower.as_str()) && !self.is_ordinary(word) && !self.nouns;
        }
        let acts = after.is_some_and(|after| SUBJECT_MARKERS.contains(&after.lower.as_str()));
        self.english && (acts || word.comma || word.possessive) && !self.is_ordinary(word)
    }

    fn is_ordinary(&self, word: &Word) -> bool {
        is_common(&word.lower)
            || self.known.is_ordinary(&word.text)
            || self.body.contains(word.lower.as_str())
    }
}

/// "iPhone", "EasyCare", "GPSPro": capitals where no sentence wants them. All capitals are judged as loud, not here.
fn has_inner_capital(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next();
    let inner = letters.clone().any(char::is_uppercase);
    inner && letters.any(char::is_lowercase)
}

/// First and last name of two people of the facts, put together.
fn is_made_up_person(before: &Word, word: &Word, known: &Known) -> bool {
    let of_people = before.capital
        && word.capital
        && known.is_of_a_person(&before.text)
        && known.is_of_a_person(&word.text);
    of_people && !known.says(&format!("{} {}", before.text, word.text))
}

/// A Latin word in a text of another script.
fn is_foreign(word: &Word, known: &Known) -> bool {
    let latin = word
        .text
        .chars()
        .filter(|c| script_of(*c) == Some(Script::Latin))
        .count();
    latin >= 2 && !known.has_word(&word.text) && !NO_NAMES.contains(&word.lower.as_str())
}

/// Names before a title, as in Japanese, Chinese and Korean, that are not known.
fn honoured(rest: &Canvas, known: &Known) -> Vec<String> {
    let titles = ["様", "さん", "先生", "女士", "小姐", "님", "씨"];
    let anybody = ["お客", "皆", "みな", "尊敬的", "고객", "奥", "お疲れ", "位", "的"];
    let text: String = rest.plain.iter().collect();
    let mut unknown = Vec::new();
    for title in titles {
        for (at, _) in text.match_indices(title) {
            let name: String = {
                let before = text[..at].chars().rev().take_while(|c| c.is_alphabetic());
                let mut name: Vec<char> = before.take(8).collect();
                name.reverse();
                name.into_iter().collect()
            };
            let called = name.is_empty()
                || anybody.iter().any(|word| name.ends_with(word))
                || known.ends_with_word(&name);
            if !called {
                unknown.push(name);
            }
        }
    }
    unknown
}

fn is_title(words: &[Word]) -> bool {
    let long = || words.iter().filter(|word| word.lower.chars().count() >= 4);
    let capitals = long().filter(|word| word.capital).count();
    long().count() >= 3 && capitals * 10 >= long().count() * 6
}

/// Words with apostrophes; a hyphen separates.
fn words(rest: &Canvas) -> Vec<Word> {
    let signature = signature_lines(rest);
    let mut words: Vec<Word> = Vec::new();
    let (mut at, mut last_end) = (0, 0);
    while at < rest.len() {
        if !rest.at(at).is_alphabetic() {
            at += 1;
            continue;
        }
        let inside = |at: usize| {
            rest.at(at).is_alphanumeric() || (rest.at(at) == '\'' && rest.at(at + 1).is_alphabetic())
        };
        let end = (at..rest.len()).find(|at| !inside(*at)).unwrap_or(rest.len());
        let whole = rest.text(at, end);
        let text = whole
            .strip_suffix("'s")
            .or_else(|| whole.strip_suffix("'S"))
            .unwrap_or(&whole)
            .to_owned();
        words.push(Word {
            lower: text.to_lowercase(),
            capital: text.starts_with(char::is_uppercase),
            first: begins_sentence(rest, at),
            follows: !words.is_empty() && (last_end..at).all(|at| matches!(rest.at(at), ' ' | '-')),
            signature: signature.iter().any(|line| line.contains(&at)),
            comma: rest.at(end) == ',',
            possessive: whole.len() > text.len(),
            text,
        });
        (at, last_end) = (end, end);
    }
    words
}

/// What stands before the word ends a sentence, opens a quotation or begins a line.
fn begins_sentence(rest: &Canvas, at: usize) -> bool {
    let mut at = at;
    while at > 0
        && (rest.before(at) == ' '
            || matches!(
                rest.before(at),
                '"' | '(' | '\u{201c}' | '\u{201e}' | '\u{ab}' | '\u{bf}' | '\u{a1}' | '\''
            ))
    {
        at -= 1;
    }
    matches!(
        rest.before(at),
        '.' | '!' | '?' | ':' | '\n' | '\u{2026}' | '\u{2022}'
    ) || (rest.before(at) == TAKEN && at <= 1)
}

/// The stretches of lines at the end that may be a signature: of few words, and not ending like a sentence.
fn signature_lines(rest: &Canvas) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for at in 0..=rest.len() {
        if rest.at(at) == '\n' {
            if (start..at).any(|at| rest.at(at) != ' ') {
                lines.push(start..at);
            }
            start = at + 1;
        }
    }
    let first = lines.len().saturating_sub(SIGNATURE_LINES).max(1);
    let is_short = |line: &Range<usize>| {
        let text = rest.text(line.start, line.end);
        let text = text.trim();
        text.split_whitespace().count() <= SIGNATURE_WORDS && !text.ends_with(['.', '!', '?', ':'])
    };
    lines.into_iter().skip(first).filter(is_short).collect()
}
