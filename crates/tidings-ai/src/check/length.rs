//! How long a draft is.

use super::finding::{FindingCode, Findings, Part};
use crate::draft::DraftText;
use crate::request::DraftRequest;
use tidings_core::{Channel, sms};

pub(super) fn check(text: &DraftText, request: &DraftRequest<'_>, findings: &mut Findings) {
    let limits = request.limits;
    if request.channel == Channel::Email {
        let subject = text.subject.as_deref().unwrap_or_default();
        if !subject.chars().any(char::is_alphanumeric) {
            findings.add(FindingCode::SubjectMissing, Part::Subject, "");
        } else if subject.chars().count() > limits.max_subject_characters || subject.contains(['\n', '\r']) {
            findings.add(FindingCode::SubjectTooLong, Part::Subject, "");
        }
    }
    if !text.body.chars().any(char::is_alphanumeric) {
        findings.add(FindingCode::Empty, Part::Body, "");
        return;
    }
    let words = words(&text.body);
    if words < limits.min_words {
        findings.add(FindingCode::TooShort, Part::Body, "");
    }
    if words > limits.max_words || text.body.chars().count() > limits.max_characters {
        findings.add(FindingCode::TooLong, Part::Body, "");
    }
    if request.channel == Channel::Sms && sms::segment(&text.body).segments > limits.max_segments {
        findings.add(FindingCode::TooManySegments, Part::Body, "");
    }
}

/// Words; where a script writes none, two characters count as one.
fn words(text: &str) -> usize {
    let mut count = 0;
    let mut unspaced = 0;
    for word in text.split_whitespace() {
        let characters = word.chars().filter(|c| is_unspaced(*c)).count();
        unspaced += characters;
        if characters == 0 && word.chars().any(char::is_alphanumeric) {
            count += 1;
        }
    }
    count + usize::div_ceil(unspaced, 2)
}

/// Han, kana, Thai, Lao, Khmer, Burmese: written without blanks between words.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}
