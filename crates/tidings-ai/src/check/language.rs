//! Whether the text is in the language asked for: by script, and by the little words of common languages.

use super::finding::{FindingCode, Findings, Part};
use super::known::Known;
use super::lexicon::STOPWORDS;
use crate::draft::DraftText;
use crate::request::DraftRequest;

/// A script, as far as languages are told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Latin,
    Greek,
    Cyrillic,
    Hebrew,
    Arabic,
    Devanagari,
    Bengali,
    Tamil,
    Thai,
    Kana,
    Han,
    Hangul,
    Other,
}

/// The script of a letter.
pub(super) fn script_of(c: char) -> Option<Script> {
    if !c.is_alphabetic() {
        return None;
    }
    Some(match c {
        'A'..='Z' | 'a'..='z' | '\u{aa}'..='\u{2af}' | '\u{1e00}'..='\u{1eff}' | '\u{2c60}'..='\u{2c7f}' => {
            Script::Latin
        }
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Script::Greek,
        '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' => Script::Cyrillic,
        '\u{590}'..='\u{5ff}' => Script::Hebrew,
        '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' | '\u{8a0}'..='\u{8ff}' => Script::Arabic,
        '\u{900}'..='\u{97f}' => Script::Devanagari,
        '\u{980}'..='\u{9ff}' => Script::Bengali,
        '\u{b80}'..='\u{bff}' => Script::Tamil,
        '\u{e00}'..='\u{e7f}' => Script::Thai,
        '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' => Script::Kana,
        '\u{3005}'..='\u{3007}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' => Script::Han,
        '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7af}' => Script::Hangul,
        _ => Script::Other,
    })
}

/// The scripts a language is written in. Languages that are not listed are written in Latin letters.
pub(super) fn scripts(language: &str) -> &'static [Script] {
    match language {
        "ru" | "uk" | "be" | "bg" | "mk" | "kk" | "ky" | "mn" => &[Script::Cyrillic],
        "sr" | "uz" | "bs" => &[Script::Cyrillic, Script::Latin],
        "el" => &[Script::Greek],
        "he" | "yi" => &[Script::Hebrew],
        "ar" | "fa" | "ur" | "ps" => &[Script::Arabic],
        "hi" | "mr" | "ne" => &[Script::Devanagari],
        "bn" | "as" => &[Script::Bengali],
        "ta" => &[Script::Tamil],
        "th" => &[Script::Thai],
        "ja" => &[Script::Kana, Script::Han],
        "zh" | "yue" => &[Script::Han],
        "ko" => &[Script::Hangul, Script::Han],
        "am" | "hy" | "ka" | "km" | "kn" | "lo" | "ml" | "my" | "pa" | "gu" | "si" | "te" => &[Script::Other],
        _ => &[Script::Latin],
    }
}

pub(super) fn check(text: &DraftText, request: &DraftRequest<'_>, known: &Known, findings: &mut Findings) {
    let language = request.language();
    let parts = [
        (Part::Subject, text.subject.as_deref().unwrap_or_default()),
        (Part::Body, &text.body),
    ];
    for (part, written) in parts {
        if !is_in_script(written, scripts(&language), known) {
            findings.add(FindingCode::WrongScript, part, "");
        }
    }
    if is_another_language(&text.body, &language) {
        findings.add(FindingCode::WrongLanguage, Part::Body, "");
    }
}

/// Four of five letters are in the script, and every other word is known. Words of the facts do not count.
fn is_in_script(text: &str, scripts: &[Script], known: &Known) -> bool {
    let (mut right, mut wrong) = (0_usize, 0_usize);
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        if known.has_word(word) {
            continue;
        }
        for script in word.chars().filter_map(script_of) {
            if scripts.contains(&script) {
                right += 1;
            } else {
                wrong += 1;
            }
        }
    }
    // In a Latin text a foreign word stands out; other scripts hold Latin words like SMS.
    if scripts == [Script::Latin] {
        wrong == 0
    } else {
        wrong * 4 <= right
    }
}

/// Whether the little words of another language clearly outnumber those of the language asked for.
fn is_another_language(text: &str, language: &str) -> bool {
    let Some((_, own)) = STOPWORDS.iter().find(|(tag, _)| *tag == language) else {
        return false;
    };
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let count = |list: &[&str]| words.iter().filter(|word| list.contains(&word.as_str())).count();
    let own = count(own);
    STOPWORDS.iter().any(|(_, other)| count(other) > 2 * own + 3)
}
