//! The request of `SendEmail`: simple content where it says everything, a whole message otherwise.

use super::settings::SesSettings;
use crate::contract::{Attachment, EmailContent, Rejection, Submission};
use crate::email_headers::{self, wrong};
use crate::smtp::unsigned_message;
use crate::tag;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::Mailbox;
use serde_json::{Map, Value, json};

/// The longest value of a header of simple content.
const LONGEST_HEADER: usize = 870;
/// Bytes of a name in one encoded word: 75 characters less the frame, as base64 (RFC 2047 section 2).
const ENCODED_WORD: usize = 45;

/// Builds the request's body. Every refusal is `invalid_input`: nothing was sent.
pub fn request(
    submission: &Submission,
    email: &EmailContent,
    settings: &SesSettings,
) -> Result<Value, Rejection> {
    let name = submission.to_name.as_ref().map(|name| name.expose().as_str());
    let from = mailbox(
        settings.from_name.as_deref(),
        settings.from_email.as_str(),
        "sender",
    )?;
    let to = mailbox(name, submission.to.expose().as_str(), "recipient")?;
    let mut body = Map::new();
    let mut put = |field: &str, value: Value| body.insert(field.to_owned(), value);
    put("FromEmailAddress", json!(from));
    put("Destination", json!({ "ToAddresses": [to] }));
    if let Some(reply_to) = &email.reply_to {
        let parsed: Mailbox = reply_to
            .parse()
            .map_err(|_| wrong("the reply-to is not an address".to_owned()))?;
        let reply_to = mailbox(parsed.name.as_deref(), parsed.email.as_ref(), "reply-to")?;
        put("ReplyToAddresses", json!([reply_to]));
    }
    // `Message-ID` is not among them: SES sets its own in any case.
    let headers = email_headers::extra(email);
    let content = if is_simple(email, &headers) {
        simple(email, &headers)
    } else {
        let bytes = unsigned_message(
            submission,
            email,
            &settings.from_email,
            settings.from_name.as_deref(),
        )?;
        json!({ "Raw": { "Data": STANDARD.encode(bytes) } })
    };
    put("Content", content);
    let tags = tag::of(submission, &settings.tags).into_iter();
    let tags = tags.map(|(name, value)| json!({ "Name": name, "Value": value }));
    put("EmailTags", Value::Array(tags.collect()));
    if let Some(set) = &settings.configuration_set {
        put("ConfigurationSetName", json!(set));
    }
    if let Some(arn) = &settings.identity_arn {
        put("FromEmailAddressIdentityArn", json!(arn));
    }
    Ok(Value::Object(body))
}

/// Simple content takes short values of visible ASCII; everything else goes as a whole message, which has no such limits.
fn is_simple(email: &EmailContent, headers: &[(&'static str, String)]) -> bool {
    let plain = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~'))
    };
    let file = |file: &Attachment| {
        plain(&file.filename, 255)
            && plain(&file.content_type, 78)
            && file.content_id.as_deref().is_none_or(|id| plain(id, 78))
    };
    headers.iter().all(|(_, value)| plain(value, LONGEST_HEADER)) && email.attachments.iter().all(file)
}

fn simple(email: &EmailContent, headers: &[(&'static str, String)]) -> Value {
    let text = |data: &str| json!({ "Data": data, "Charset": "UTF-8" });
    let mut body = json!({ "Text": text(&email.text) });
    if let Some(html) = &email.html {
        body["Html"] = text(html);
    }
    let mut simple = json!({ "Subject": text(&email.subject), "Body": body });
    if !headers.is_empty() {
        let headers = headers
            .iter()
            .map(|(name, value)| json!({ "Name": name, "Value": value }));
        simple["Headers"] = Value::Array(headers.collect());
    }
    if !email.attachments.is_empty() {
        simple["Attachments"] = Value::Array(email.attachments.iter().map(attachment).collect());
    }
    json!({ "Simple": simple })
}

fn attachment(file: &Attachment) -> Value {
    let mut value = json!({
        "RawContent": file.content_base64,
        "FileName": file.filename,
        "ContentType": file.content_type,
        "ContentTransferEncoding": "BASE64",
        "ContentDisposition": if file.content_id.is_some() { "INLINE" } else { "ATTACHMENT" },
    });
    if let Some(id) = &file.content_id {
        value["ContentId"] = json!(id);
    }
    value
}

/// A mailbox as SES takes it: ASCII, the domain in its ASCII form, other letters of the name as encoded words.
fn mailbox(name: Option<&str>, address: &str, what: &str) -> Result<String, Rejection> {
    let refused = || wrong(format!("the {what} is not an address that SES can carry"));
    let (local, domain) = address.rsplit_once('@').ok_or_else(refused)?;
    let Ok(url::Host::Domain(domain)) = url::Host::parse(domain) else {
        return Err(refused());
    };
    if !local.is_ascii() {
        return Err(refused());
    }
    let address = format!("{local}@{domain}");
    Ok(match name.map(str::trim).filter(|name| !name.is_empty()) {
        Some(name) if !name.is_ascii() => format!("{} <{address}>", encoded_words(name)),
        name => email_headers::mailbox(name, &address),
    })
}

/// RFC 2047, in base64; a character is never cut in two.
fn encoded_words(text: &str) -> String {
    let mut words: Vec<String> = vec![String::new()];
    for character in text.chars() {
        if words
            .last()
            .is_some_and(|word| word.len() + character.len_utf8() > ENCODED_WORD)
        {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(character);
        }
    }
    let words = words
        .iter()
        .map(|word| format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::contract::Content;
    use crate::samples;
    use tidings_core::redact::Private;

    fn built(change: impl FnOnce(&mut EmailContent)) -> Value {
        let mut submission = samples::email("bob@example.com");
        submission.to_name = Some(Private::new("Zoë".to_owned()));
        let Content::Email(mut email) = submission.content.expose().clone() else {
            unreachable!()
        };
        change(&mut email);
        let settings =
            json!({ "from_email": "shop@bücher.test", "from_name": "A, B", "region": "eu-west-1" });
        request(&submission, &email, &serde_json::from_value(settings).unwrap()).unwrap()
    }

    fn raw(request: &Value) -> String {
        let data = request["Content"]["Raw"]["Data"].as_str().unwrap();
        String::from_utf8(STANDARD.decode(data).unwrap()).unwrap()
    }

    #[test]
    fn names_and_domains_are_ascii_on_the_wire() {
        let request = built(|email| email.reply_to = Some("Zoë <zoe@example.com>".to_owned()));
        assert_eq!(request["FromEmailAddress"], "\"A, B\" <shop@xn--bcher-kva.test>");
        assert_eq!(
            request["Destination"]["ToAddresses"],
            json!(["=?UTF-8?B?Wm/Dqw==?= <bob@example.com>"])
        );
        assert_eq!(
            request["ReplyToAddresses"],
            json!(["=?UTF-8?B?Wm/Dqw==?= <zoe@example.com>"])
        );
        assert!(request["Content"]["Simple"].is_object());
        assert!(
            encoded_words(&"ä".repeat(30))
                .split(' ')
                .all(|word| word.len() <= 75)
        );
    }

    #[test]
    fn what_simple_content_cannot_say_goes_as_a_whole_message() {
        let long = format!("https://brand.test/u/{}", "x".repeat(860));
        let request = built(|email| email.unsubscribe_url = Some(long.clone()));
        let message = raw(&request);
        assert!(
            message.contains(&format!("List-Unsubscribe: <{long}>\r\n")),
            "{message}"
        );
        assert!(message.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"));
        let request = built(|email| {
            email.attachments.push(Attachment {
                filename: "Größe.txt".to_owned(),
                content_type: "text/plain".to_owned(),
                content_base64: "YQ==".to_owned(),
                content_id: None,
            });
        });
        assert!(raw(&request).contains("Content-Disposition: attachment"));
    }

    #[test]
    fn letters_before_the_at_are_refused() {
        for address in ["zoë@example.com", "bob", "bob@[127.0.0.1]"] {
            assert!(mailbox(None, address, "recipient").is_err(), "{address}");
        }
    }
}
