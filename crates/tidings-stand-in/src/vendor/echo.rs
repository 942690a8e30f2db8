//! The fields in which Tidings puts its reference, where the sender chooses the field's name.

/// Our reference.
pub(super) const REFERENCE: &str = "tidings_reference";
/// The message's id.
pub(super) const MESSAGE_ID: &str = "tidings_message_id";

/// Reads a tag's value: `_` and two hexadecimal digits stand for a byte that tags may not hold.
pub(super) fn untag(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escape = (byte == b'_')
            .then(|| after.split_at_checked(2))
            .flatten()
            .and_then(|(digits, after)| Some((hex::decode(digits).ok()?, after)));
        if let Some((decoded, after)) = escape {
            bytes.extend(decoded);
            rest = after;
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_back_and_others_stay() {
        assert_eq!(untag("0197-1_2e2"), "0197-1.2");
        assert_eq!(untag("a_b"), "a_b");
        assert_eq!(untag("plain"), "plain");
    }
}
