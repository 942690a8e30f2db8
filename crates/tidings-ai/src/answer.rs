//! From what a model wrote to a subject and a text: lenient about wrapping, strict about content.

use crate::draft::DraftText;
use serde::Deserialize;
use tidings_core::{Channel, sms};

/// The longest answer that is looked at.
const LONGEST: usize = 32 * 1024;
/// Places at which an object may begin.
const MOST_STARTS: usize = 16;

#[derive(Deserialize)]
struct Written {
    subject: Option<String>,
    body: String,
}

/// The first JSON object with a body. Fences, a preamble and the thoughts of a reasoning model around it are ignored.
pub(crate) fn parse(content: &str, channel: Channel) -> Option<DraftText> {
    if content.len() > LONGEST {
        return None;
    }
    let spoken = match content.rsplit_once("</think>") {
        Some((_, spoken)) => spoken,
        None => content,
    };
    let mut starts = spoken.match_indices('{').take(MOST_STARTS);
    let written = starts.find_map(|(at, _)| {
        serde_json::Deserializer::from_str(&spoken[at..])
            .into_iter::<Written>()
            .next()?
            .ok()
    })?;
    let body = plain(&written.body);
    Some(DraftText {
        subject: written
            .subject
            .filter(|_| channel == Channel::Email)
            .map(|subject| plain(&subject)),
        // What is checked is what is sent: typographic quotes would make a text message cost three.
        body: if channel == Channel::Sms {
            sms::smart_encode(&body)
        } else {
            body
        },
    })
}

/// Line ends as LF, no blanks at the ends of lines, at most one empty line in a row.
fn plain(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text
        .trim()
        .lines()
        .map(|line| line.trim_end_matches([' ', '\u{a0}']))
    {
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(r#"{"subject":"S","body":"B"}"#, Some((Some("S"), "B")))]
    #[case("```json\n{\"subject\":\"S\",\"body\":\"B\"}\n```", Some((Some("S"), "B")))]
    #[case(r#"Here you are {with care}: {"body":"B"} Enjoy!"#, Some((None, "B")))]
    #[case(r#"<think>{"body":"not this"}</think>{"body":"B"}"#, Some((None, "B")))]
    #[case(r#"{"draft":{"body":"B"}}"#, Some((None, "B")))]
    #[case("{\"body\":\"a  \\r\\n\\r\\n\\n\\nb\\n\"}", Some((None, "a\n\nb")))]
    #[case(r#"{"subject":null,"body":"B","tone":"warm"}"#, Some((None, "B")))]
    #[case(r#"{"subject":["S"],"body":"B"}"#, None)]
    #[case(r#"{"body":7}"#, None)]
    #[case(r#"{"subject":"S"}"#, None)]
    #[case(r#"{"body":"B"#, None)]
    #[case("Dear Anna, ...", None)]
    #[case("", None)]
    fn reads(#[case] content: &str, #[case] expect: Option<(Option<&str>, &str)>) {
        let got = parse(content, Channel::Email);
        let got = got
            .as_ref()
            .map(|text| (text.subject.as_deref(), text.body.as_str()));
        assert_eq!(got, expect);
    }

    #[test]
    fn a_text_message_has_no_subject_and_plain_quotes() {
        let got = parse(r#"{"subject":"S","body":"It’s “due”…"}"#, Channel::Sms).expect("readable");
        assert_eq!((got.subject, got.body.as_str()), (None, "It's \"due\"..."));
    }

    #[test]
    fn hostile_answers_are_given_up() {
        assert!(parse(&"{".repeat(LONGEST), Channel::Email).is_none());
        assert!(parse(&format!("{{\"body\":{}", "[".repeat(20_000)), Channel::Email).is_none());
        assert!(parse(&"x".repeat(LONGEST + 1), Channel::Email).is_none());
    }
}
