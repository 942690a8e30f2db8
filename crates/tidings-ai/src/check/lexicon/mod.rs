//! Words of common languages that the checks know. Languages without an entry are checked by figures, links and script.

mod calendar;
mod money;
mod numbers;
mod people;
mod phrases;

pub(super) use calendar::{MONTHS, WEEKDAYS};
pub(super) use money::{CURRENCY_SIGNS, currency_start, currency_word, is_currency_sign};
pub(super) use numbers::{
    NUMBER_WORDS, ORDINALS, is_discount_word, is_little, is_percent_word, is_saving_word, is_span, is_unit,
    scale,
};
pub(super) use people::{
    CLOSINGS, GENERIC_READERS, GREETINGS, HONORIFICS, NO_NAMES, SUBJECT_MARKERS, is_common, is_given_name,
};
pub(super) use phrases::{AI_PHRASES, BANNED_PHRASES, PROMPT_PHRASES, RELATIVE_DAYS, STOPWORDS};

/// Whether the text holds the phrase as whole words. Both are in lower case.
pub(super) fn holds_phrase(text: &str, phrase: &str) -> bool {
    if phrase.is_empty() {
        return false;
    }
    let wordy = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(phrase).any(|(at, _)| {
        let starts = !wordy(phrase.chars().next()) || !wordy(text[..at].chars().next_back());
        let ends = !wordy(phrase.chars().next_back()) || !wordy(text[at + phrase.len()..].chars().next());
        // Scripts without blanks have no borders of words.
        let unspaced = phrase.chars().any(|c| c >= '\u{e00}');
        unspaced || (starts && ends)
    })
}
