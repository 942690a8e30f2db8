//! What the server looks at in envelopes and messages.

use crate::chance::sha256;
use crate::http::Reply;
use crate::ledger::Copy;
use crate::vendor::{Draft, Vendor};
use serde_json::Map;

/// What a mail's transaction has so far.
#[derive(Default)]
pub(super) struct Envelope {
    /// The sender; empty for a bounce.
    pub from: Option<String>,
    pub to: Vec<String>,
}

/// The path of `MAIL FROM:<...>` or `RCPT TO:<...>`, and the parameters after it.
pub(super) fn path<'l>(line: &'l str, command: &str) -> Option<(&'l str, &'l str)> {
    let head = line.get(..command.len())?;
    let rest = line[command.len()..].trim_start();
    let rest = rest.strip_prefix('<')?;
    let (path, parameters) = rest.split_once('>')?;
    head.eq_ignore_ascii_case(command)
        .then_some((path, parameters.trim()))
}

/// The value of `SIZE=`.
pub(super) fn size(parameters: &str) -> Option<usize> {
    parameters
        .split_whitespace()
        .find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.eq_ignore_ascii_case("size").then_some(value)
        })?
        .parse()
        .ok()
}

/// A header of a message, unfolded.
pub(super) fn header(message: &[u8], name: &str) -> Option<String> {
    let end = message
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or(message.len());
    let head = String::from_utf8_lossy(&message[..end])
        .replace("\r\n ", " ")
        .replace("\r\n\t", " ");
    head.split("\r\n").find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// The mail, ready to be taken. The reference is the one in the bounce address, else the `Message-ID`.
pub(super) fn draft(account: &str, envelope: &Envelope, message: &[u8]) -> Draft {
    let message_id = header(message, "message-id").map(|id| id.trim_matches(['<', '>']).to_owned());
    let from = envelope.from.clone().unwrap_or_default();
    let of_bounce_address = from
        .strip_prefix("b+")
        .and_then(|rest| rest.rsplit_once('@'))
        .and_then(|(token, _)| token.rsplit_once('-'))
        .map(|(reference, _)| reference.to_owned());
    let reference = of_bounce_address.or_else(|| message_id.clone());
    let mut about = Map::new();
    about.insert("from".to_owned(), from.into());
    if let Some(subject) = header(message, "subject") {
        about.insert("subject".to_owned(), subject.into());
    }
    Draft {
        vendor: Vendor::Smtp,
        account: account.to_owned(),
        copies: envelope
            .to
            .iter()
            .map(|to| Copy {
                reference: reference.clone(),
                message_id: message_id.clone(),
                recipient: to.clone(),
            })
            .collect(),
        key: None,
        body_sha256: sha256(message),
        about,
        own_id: None,
        // Mail is answered by the session.
        accepted: |_| Reply::empty(250),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paths_sizes_and_headers() {
        assert_eq!(
            path("MAIL FROM:<a@b.test> SIZE=12 BODY=8BITMIME", "MAIL FROM:"),
            Some(("a@b.test", "SIZE=12 BODY=8BITMIME"))
        );
        assert_eq!(path("mail from: <>", "MAIL FROM:"), Some(("", "")));
        assert_eq!(path("MAIL FROM:a@b.test", "MAIL FROM:"), None);
        assert_eq!(path("MAIL", "MAIL FROM:"), None);
        assert_eq!(size("BODY=8BITMIME size=99"), Some(99));
        let message = b"Subject: a\r\n  b\r\nMessage-ID: <1@x>\r\n\r\nMessage-ID: <2@x>\r\n";
        assert_eq!(header(message, "subject").as_deref(), Some("a  b"));
        assert_eq!(header(message, "message-id").as_deref(), Some("<1@x>"));
    }

    #[test]
    fn the_bounce_address_names_the_reference() {
        let mut envelope = Envelope {
            from: Some("b+0197-1.2-abcdef@bounce.test".to_owned()),
            to: vec!["bob@example.com".to_owned()],
        };
        let message = b"Message-ID: <1@x>\r\n\r\n";
        let reference = |envelope: &Envelope| draft("default", envelope, message).copies[0].reference.clone();
        assert_eq!(reference(&envelope).as_deref(), Some("0197-1.2"));
        envelope.from = Some("shop@brand.test".to_owned());
        assert_eq!(reference(&envelope).as_deref(), Some("1@x"));
    }
}
