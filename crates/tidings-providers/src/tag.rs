//! Our reference as a tag: letters, digits, hyphen and underscore, which is all that Resend and SES take.

use crate::contract::Submission;
use std::collections::BTreeMap;

/// The longest tag value both take.
const LONGEST: usize = 256;

/// The tag that carries our reference.
pub const REFERENCE: &str = "tidings_reference";
/// The tag that carries the message's id.
pub const MESSAGE_ID: &str = "tidings_message_id";

/// The tags of a message: ours, then the tenant's own.
pub fn of(submission: &Submission, own: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let ours = [
        (REFERENCE, encode(&submission.reference)),
        (MESSAGE_ID, encode(&submission.message_id)),
    ];
    let ours = ours
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    ours.chain(own.clone()).collect()
}

/// Writes a text as a tag's value: letters, digits and hyphens stand for themselves, any other byte is `_` and two
/// hexadecimal digits. None when it would be empty or too long.
pub fn encode(text: &str) -> Option<String> {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            value.push(char::from(byte));
        } else {
            value.push('_');
            value.push_str(&hex::encode([byte]));
        }
    }
    (!value.is_empty() && value.len() <= LONGEST).then_some(value)
}

/// Reads a tag's value back; none when [`encode`] cannot have written it.
pub fn decode(value: &str) -> Option<String> {
    if value.is_empty() || value.len() > LONGEST {
        return None;
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'_' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        bytes.extend(hex::decode(digits).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0197c0de00007000800000000000000a-1", "0197c0de00007000800000000000000a-1")]
    #[case("0197-1.2", "0197-1_2e2")]
    #[case("a_b", "a_5fb")]
    #[case("ü", "_c3_bc")]
    fn there_and_back(#[case] text: &str, #[case] value: &str) {
        assert_eq!(encode(text).as_deref(), Some(value));
        assert_eq!(decode(value).as_deref(), Some(text));
    }

    #[test]
    fn what_fits_no_tag_is_none() {
        assert_eq!(encode(""), None);
        assert_eq!(encode(&"x".repeat(257)), None);
        for value in ["", "_", "_5", "_zz", "_ff"] {
            assert_eq!(decode(value), None, "{value}");
        }
    }
}
