//! Keywords a recipient answers with: STOP and its like, START, HELP.
//!
//! A keyword counts when it is the whole text, whatever its case, blanks and punctuation (Twilio's defaults; 47 CFR
//! 64.1200(a)(10) names stop, quit, end, revoke, opt out, cancel and unsubscribe). A sentence that sounds like an
//! opt-out is for a person to read: the law takes any reasonable words, yet "stop by tomorrow" is none.

use crate::word::word_enum;

word_enum! {
    /// What a text asks for.
    pub enum Keyword {
        /// Nothing more on this channel.
        OptOut = "opt_out",
        /// Messages again.
        OptIn = "opt_in",
        /// Who is writing, and how to stop.
        Help = "help",
        /// None of these.
        None = "none",
        /// Perhaps an opt-out: a person decides.
        Review = "review",
    }
}

const OPT_OUT: [&str; 11] = [
    "stop",
    "stopall",
    "stop all",
    "unsubscribe",
    "cancel",
    "end",
    "quit",
    "revoke",
    "optout",
    "opt out",
    "unsubscribe all",
];
const OPT_IN: [&str; 3] = ["start", "yes", "unstop"];
const HELP: [&str; 2] = ["help", "info"];

/// Words that make a text worth a person's look.
const TELLING_WORDS: [&str; 13] = [
    "stop",
    "stopp",
    "stopall",
    "unsubscribe",
    "unsubscribed",
    "unsub",
    "revoke",
    "optout",
    "arret",
    "arrêt",
    "remove",
    "spam",
    "cease",
];
/// Phrases that do.
const TELLING_PHRASES: [&str; 33] = [
    "opt out",
    "opt me out",
    "opting out",
    "dont text",
    "do not text",
    "dont message",
    "do not message",
    "dont contact",
    "do not contact",
    "dont call",
    "do not call",
    "dont email",
    "do not email",
    "dont mail",
    "dont write",
    "do not write",
    "dont send",
    "do not send",
    "no more texts",
    "no more messages",
    "no more emails",
    "no more sms",
    "leave me alone",
    "take me off",
    "off your list",
    "off the list",
    "lose my number",
    "delete my number",
    "wrong number",
    "not interested",
    "quit texting",
    "quit messaging",
    "cancel these",
];

/// No keyword is longer; an essay is searched only so far.
const SEARCHED_CHARS: usize = 2000;

/// What the text asks for.
pub fn classify(text: &str) -> Keyword {
    let words = normalise(text);
    let whole = words.join(" ");
    let is = |list: &[&str]| list.contains(&whole.as_str());
    if is(&OPT_OUT) || repeats(&words, "stop") {
        Keyword::OptOut
    } else if is(&OPT_IN) {
        Keyword::OptIn
    } else if is(&HELP) {
        Keyword::Help
    } else if sounds_like_opt_out(&words, &whole) {
        Keyword::Review
    } else {
        Keyword::None
    }
}

/// "STOP STOP STOP" is as clear as one.
fn repeats(words: &[String], word: &str) -> bool {
    !words.is_empty() && words.iter().all(|other| other == word)
}

fn sounds_like_opt_out(words: &[String], whole: &str) -> bool {
    let spelled = words.len() > 1
        && words.iter().all(|word| word.chars().count() == 1)
        && OPT_OUT.contains(&words.concat().as_str());
    let padded = format!(" {whole} ");
    spelled
        || words.iter().any(|word| TELLING_WORDS.contains(&word.as_str()))
        || TELLING_PHRASES
            .iter()
            .any(|phrase| padded.contains(&format!(" {phrase} ")))
}

/// Lower-case words: apostrophes and invisible characters go, all else that is neither letter nor digit parts words.
fn normalise(text: &str) -> Vec<String> {
    let mut words = String::with_capacity(text.len().min(SEARCHED_CHARS));
    for c in text.chars().take(SEARCHED_CHARS).map(ascii_form) {
        match c {
            '\''
            | '\u{2019}'
            | '\u{2018}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2060}'
            | '\u{feff}'
            | '\u{00ad}'
            | '\u{fe0f}' => {}
            c if c.is_alphanumeric() => words.extend(c.to_lowercase()),
            _ => words.push(' '),
        }
    }
    words.split_whitespace().map(str::to_owned).collect()
}

/// Full-width letters, as some keyboards write them, in ASCII.
fn ascii_form(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        c => c,
    }
}
