//! What may stand in an e-mail's headers, whichever provider writes them.
//!
//! Every text that ends up in a header is refused when it holds CR, LF or NUL, before any builder sees it.

use crate::contract::{Content, EmailContent, Rejection, Submission};
use serde_json::Value;
use tidings_core::ErrorCategory;

/// The longest header text; a longer one would not fit a line of 998 octets when it cannot be folded.
const LONGEST: usize = 900;

/// The value of `List-Unsubscribe-Post` (RFC 8058 section 3.1).
pub const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

/// The e-mail of a submission, or why `vendor` cannot carry it.
pub fn content<'s>(vendor: &str, submission: &'s Submission) -> Result<&'s EmailContent, Rejection> {
    match submission.content.expose() {
        Content::Email(email) => Ok(email),
        other => Err(wrong(format!(
            "{vendor} carries e-mail; this is {}",
            other.name()
        ))),
    }
}

/// The same, with every header slot checked.
pub fn email<'s>(vendor: &str, submission: &'s Submission) -> Result<&'s EmailContent, Rejection> {
    let email = content(vendor, submission)?;
    check(submission, email)?;
    Ok(email)
}

/// Checks every header slot of a submission. The first wrong one is named.
pub fn check(submission: &Submission, email: &EmailContent) -> Result<(), Rejection> {
    let name = submission.to_name.as_ref().map(|n| n.expose().as_str());
    let slots = [
        ("recipient name", name),
        ("subject", Some(email.subject.as_str())),
        ("message id", Some(email.message_id_header.as_str())),
        ("reply-to", email.reply_to.as_deref()),
        ("unsubscribe URL", email.unsubscribe_url.as_deref()),
        ("in-reply-to", email.in_reply_to.as_deref()),
    ];
    let files = email.attachments.iter().flat_map(|file| {
        [
            ("attachment name", Some(file.filename.as_str())),
            ("attachment type", Some(file.content_type.as_str())),
            ("attachment content id", file.content_id.as_deref()),
        ]
    });
    for (slot, text) in slots.into_iter().chain(files) {
        let Some(text) = text else { continue };
        if text.contains(['\r', '\n', '\0']) {
            return Err(wrong(format!("the {slot} holds a line break or NUL")));
        }
        if text.len() > LONGEST && slot != "subject" {
            return Err(wrong(format!("the {slot} is longer than {LONGEST} bytes")));
        }
    }
    if !is_message_id(&email.message_id_header) {
        return Err(wrong(
            "the message id is not of the form unique@domain".to_owned(),
        ));
    }
    match email.unsubscribe_url.as_deref() {
        Some(url) if !is_one_https_uri(url) => {
            Err(wrong(
                "the unsubscribe URL is not one https URI (RFC 8058); set TIDINGS_PUBLIC_URL to the https address of this installation".to_owned(),
            ))
        }
        _ => Ok(()),
    }
}

/// A rejection of our own making: the request is wrong, and nothing was sent.
pub fn wrong(detail: String) -> Rejection {
    Rejection {
        category: ErrorCategory::InvalidInput,
        code: "header".to_owned(),
        detail,
        retry_after: None,
        effect: None,
    }
}

/// The headers of threading: what the message answers.
fn threading(email: &EmailContent) -> Vec<(&'static str, String)> {
    let id = email.in_reply_to.iter();
    id.flat_map(|id| [("In-Reply-To", id.clone()), ("References", id.clone())])
        .collect()
}

/// The headers by which a machine says that it is one, and how to leave (RFC 3834, RFC 8058).
pub fn automatic(email: &EmailContent) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if email.auto_submitted {
        headers.push(("Auto-Submitted", "auto-generated".to_owned()));
    }
    if let Some(url) = &email.unsubscribe_url {
        headers.push(("List-Unsubscribe", format!("<{url}>")));
        headers.push(("List-Unsubscribe-Post", ONE_CLICK.to_owned()));
    }
    headers
}

/// Every header that no API has a field for, but for the message's own id.
pub fn extra(email: &EmailContent) -> Vec<(&'static str, String)> {
    let mut headers = threading(email);
    headers.extend(automatic(email));
    headers
}

/// The same with the message's own id, as the JSON object that APIs take.
pub fn object(email: &EmailContent) -> Value {
    let id = ("Message-ID", format!("<{}>", email.message_id_header));
    let all = [id].into_iter().chain(extra(email));
    Value::Object(all.map(|(name, value)| (name.to_owned(), value.into())).collect())
}

/// `"Name" <address>`, or the address alone. The name may hold any letters; quotes in it are escaped.
pub fn mailbox(name: Option<&str>, address: &str) -> String {
    match name.map(str::trim).filter(|name| !name.is_empty()) {
        None => address.to_owned(),
        Some(name) => {
            let name = name.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{name}\" <{address}>")
        }
    }
}

/// The bare address of `Name <address>`.
pub fn bare_address(text: &str) -> &str {
    let text = text.trim();
    text.strip_suffix('>')
        .and_then(|text| text.rsplit_once('<'))
        .map_or(text, |(_, address)| address.trim())
}

/// One https URI that can stand between angle brackets in a list (RFC 2369 section 2, RFC 8058 section 3.1).
fn is_one_https_uri(text: &str) -> bool {
    text.starts_with("https://")
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b',' | b'"'))
        && url::Url::parse(text).is_ok_and(|url| url.host().is_some())
}

fn is_message_id(text: &str) -> bool {
    let plain =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && !b"<>@".contains(&b));
    text.split_once('@')
        .is_some_and(|(left, right)| plain(left) && plain(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(None, "bob@example.com")]
    #[case(Some(" "), "bob@example.com")]
    #[case(Some("Zoë, the 1st"), "\"Zoë, the 1st\" <bob@example.com>")]
    #[case(Some("A \"B\" \\"), "\"A \\\"B\\\" \\\\\" <bob@example.com>")]
    fn names_are_quoted_and_taken_off_again(#[case] name: Option<&str>, #[case] expect: &str) {
        let written = mailbox(name, "bob@example.com");
        assert_eq!(written, expect);
        assert_eq!(bare_address(&written), "bob@example.com");
    }
}
