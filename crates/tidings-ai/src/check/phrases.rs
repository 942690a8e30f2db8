//! Claims, pressure, shouting, and the model speaking of itself.

use super::finding::{FindingCode, Findings, Part};
use super::known::{Known, smooth};
use super::lexicon::{AI_PHRASES, BANNED_PHRASES, PROMPT_PHRASES, RELATIVE_DAYS};

/// More is shouting.
const MOST_EXCLAMATIONS: usize = 2;
/// Letters from which on a word in capitals is loud.
const LOUD_LETTERS: usize = 4;

pub(super) fn check(text: &str, part: Part, known: &Known, findings: &mut Findings) {
    let lists: [(&[&str], FindingCode); 4] = [
        (BANNED_PHRASES, FindingCode::BannedPhrase),
        (AI_PHRASES, FindingCode::MentionsAi),
        (PROMPT_PHRASES, FindingCode::MentionsPrompt),
        (RELATIVE_DAYS, FindingCode::UnknownDate),
    ];
    let smoothed = smooth(text);
    for (phrases, code) in lists {
        for phrase in phrases
            .iter()
            .filter(|phrase| known.says_only_here(&smoothed, phrase))
        {
            findings.add(code, part, phrase);
        }
    }
    if claims_gratis(text) && !known.says("free") {
        findings.add(FindingCode::BannedPhrase, part, "free");
    }
    // In small letters it is a word of French and Italian.
    let words = || text.split(|c: char| !c.is_alphanumeric());
    if let Some(word) = words().find(|word| matches!(*word, "AI" | "KI" | "LLM") && !known.has_word(word)) {
        findings.add(FindingCode::MentionsAi, part, word);
    }
    let exclamations = text
        .chars()
        .filter(|c| matches!(c, '!' | '\u{a1}' | '\u{ff01}'))
        .count();
    if exclamations > MOST_EXCLAMATIONS {
        findings.add(FindingCode::Shouting, part, "!");
    }
    let loud = |word: &&str| {
        word.chars().count() >= LOUD_LETTERS
            && word.chars().all(char::is_uppercase)
            && !known.has_word(word)
            && !matches!(*word, "STOP" | "HELP" | "INFO")
    };
    if let Some(word) = words().filter(loud).nth(1) {
        findings.add(FindingCode::Shouting, part, word);
    }
}

/// "free" as a price. "Feel free" and "trouble-free" are none.
fn claims_gratis(text: &str) -> bool {
    let lower = text.to_lowercase();
    lower.match_indices("free").any(|(at, word)| {
        let (before, after) = (&lower[..at], &lower[at + word.len()..]);
        let alone = !before.ends_with(|c: char| c.is_alphanumeric() || c == '-')
            && !after.starts_with(|c: char| c.is_alphanumeric() || c == '-');
        alone && before.split_whitespace().next_back() != Some("feel")
    })
}
