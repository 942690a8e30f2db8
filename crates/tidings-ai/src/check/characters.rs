//! Characters that nobody would type on purpose.

use super::finding::{FindingCode, Findings, Part};
use super::language::{Script, script_of};
use crate::request::DraftRequest;

pub(super) fn check(text: &str, part: Part, request: &DraftRequest<'_>, findings: &mut Findings) {
    let joiners = joins(&request.language());
    let mut before = ' ';
    let mut marks = 0;
    for c in text.chars() {
        marks = if matches!(c, '\u{300}'..='\u{36f}') {
            marks + 1
        } else {
            0
        };
        let code = match c {
            '\n' => None,
            c if c.is_control() || is_meaningless(c) || marks > 2 => Some(FindingCode::ControlCharacter),
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                Some(FindingCode::BidiCharacter)
            }
            // They shape letters in some scripts and hold emoji together; between Latin letters they hide something.
            '\u{200c}' | '\u{200d}' if joiners || (c == '\u{200d}' && is_picture(before)) => None,
            '\u{ad}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200d}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{2060}'..='\u{2064}'
            | '\u{feff}'
            | '\u{3164}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{e0000}'..='\u{e0fff}' => Some(FindingCode::InvisibleCharacter),
            _ => None,
        };
        if let Some(code) = code {
            findings.add(code, part, &format!("U+{:04X}", u32::from(c)));
        }
        before = c;
    }
    for word in text.split(|c: char| !c.is_alphabetic()) {
        if mixes_scripts(word) {
            findings.add(FindingCode::MixedScript, part, word);
        }
    }
}

/// Private use, not a character, or the mark of a broken encoding.
fn is_meaningless(c: char) -> bool {
    let code = u32::from(c);
    matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fff9}'..='\u{ffff}')
        || code >= 0xf_0000
        || code & 0xfffe == 0xfffe
}

fn is_picture(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{2bff}' | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}')
}

fn joins(language: &str) -> bool {
    matches!(
        language,
        "ar" | "fa"
            | "ur"
            | "ps"
            | "ku"
            | "hi"
            | "mr"
            | "ne"
            | "bn"
            | "ta"
            | "te"
            | "kn"
            | "ml"
            | "gu"
            | "pa"
            | "si"
    )
}

/// Latin, Greek and Cyrillic letters look alike, and no word is written in two of them.
fn mixes_scripts(word: &str) -> bool {
    let has = |script| word.chars().any(|c| script_of(c) == Some(script));
    let alike = [Script::Latin, Script::Greek, Script::Cyrillic];
    alike.into_iter().filter(|script| has(*script)).count() > 1
}
