//! Amazon SNS messages over HTTP(S).
//!
//! A good signature only proves that some SNS topic sent the message; anybody can own one. So the topic must be on
//! the connection's list before anything else is done, the certificate included. The certificate is fetched by the
//! caller, from a URL that passed [`certificate_url`].

use super::base64;
use crate::contract::WebhookRefusal;
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use serde_json::{Map, Value};
use url::Url;

/// What kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something was published.
    Notification,
    /// The topic asks to be confirmed.
    SubscriptionConfirmation,
    /// The subscription has ended.
    UnsubscribeConfirmation,
}

/// A message as it arrived; nothing of it is proved before [`verify`].
#[derive(Clone, Debug)]
pub struct Message {
    kind: Kind,
    fields: Map<String, Value>,
}

impl Message {
    /// Reads the body: a JSON object whose fields are text.
    pub fn parse(body: &[u8]) -> Result<Self, WebhookRefusal> {
        let malformed = |what: &str| WebhookRefusal::Malformed(what.to_owned());
        let fields: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| malformed("not a JSON object"))?;
        let kind = match fields.get("Type").and_then(Value::as_str) {
            Some("Notification") => Kind::Notification,
            Some("SubscriptionConfirmation") => Kind::SubscriptionConfirmation,
            Some("UnsubscribeConfirmation") => Kind::UnsubscribeConfirmation,
            _ => return Err(malformed("Type is none of the three known")),
        };
        Ok(Self { kind, fields })
    }

    /// What kind of message.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A text field, by its name in the body.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    /// The text that is signed: `Key\nValue\n` for each field of the kind, in order, absent ones left out.
    pub fn string_to_sign(&self) -> Result<String, WebhookRefusal> {
        let keys: &[&str] = match self.kind {
            Kind::Notification => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
            Kind::SubscriptionConfirmation | Kind::UnsubscribeConfirmation => &[
                "Message",
                "MessageId",
                "SubscribeURL",
                "Timestamp",
                "Token",
                "TopicArn",
                "Type",
            ],
        };
        let mut text = String::new();
        for key in keys {
            match self.fields.get(*key) {
                None | Some(Value::Null) => {}
                Some(Value::String(value)) => {
                    text.push_str(key);
                    text.push('\n');
                    text.push_str(value);
                    text.push('\n');
                }
                Some(_) => return Err(WebhookRefusal::Malformed(format!("{key} is not text"))),
            }
        }
        Ok(text)
    }

    /// The URL to visit once to confirm a subscription, if it leads to SNS. Only after [`verify`].
    pub fn subscribe_url(&self) -> Option<Url> {
        amazon_url(self.text("SubscribeURL")?)
    }
}

/// Whether a certificate may be fetched from there: SNS itself, over TLS, a `.pem`.
pub fn certificate_url(text: &str) -> Option<Url> {
    amazon_url(text).filter(|url| {
        url.path().rsplit_once('.').is_some_and(|(_, kind)| kind == "pem") && url.query().is_none()
    })
}

/// `https`, the default port, no user, and a host `sns.<region>.amazonaws.com` or `.com.cn`.
fn amazon_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str()?;
    let host = host.strip_prefix("sns.")?;
    let region = host
        .strip_suffix(".amazonaws.com")
        .or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    let region_fine = region.len() >= 3 && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let plain = url.scheme() == "https"
        && url.username().is_empty()
        && url.password().is_none()
        && url.port().is_none();
    (region_fine && plain).then_some(url)
}

/// Verifies a message of one of the allowed topics. `certificate` gives the PEM text behind a URL that passed
/// [`certificate_url`]; it should be cached.
pub fn verify(
    message: &Message,
    allowed_topics: &[&str],
    certificate: impl FnOnce(&Url) -> Option<String>,
) -> Result<(), WebhookRefusal> {
    let topic = message.text("TopicArn").ok_or(WebhookRefusal::WrongAccount)?;
    if !allowed_topics.contains(&topic) {
        return Err(WebhookRefusal::WrongAccount);
    }
    let algorithm = match message.text("SignatureVersion") {
        Some("1") => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        Some("2") => &RSA_PKCS1_2048_8192_SHA256,
        _ => return Err(WebhookRefusal::SignatureInvalid),
    };
    let signature = message
        .text("Signature")
        .filter(|s| !s.is_empty())
        .ok_or(WebhookRefusal::SignatureMissing)?;
    let signature = base64(signature).ok_or(WebhookRefusal::SignatureInvalid)?;
    let url = message
        .text("SigningCertURL")
        .and_then(certificate_url)
        .ok_or(WebhookRefusal::SignatureInvalid)?;
    let signed = message.string_to_sign()?;
    let pem = certificate(&url).ok_or(WebhookRefusal::SignatureInvalid)?;
    let key = rsa_key(&pem).ok_or(WebhookRefusal::SignatureInvalid)?;
    UnparsedPublicKey::new(algorithm, key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| WebhookRefusal::SignatureInvalid)
}

/// Whether a text is a PEM certificate with a key in it.
pub fn is_certificate(pem: &str) -> bool {
    rsa_key(pem).is_some()
}

/// The RSAPublicKey inside the first certificate of a PEM text (RFC 5280 section 4.1).
fn rsa_key(pem: &str) -> Option<Vec<u8>> {
    let armoured = pem
        .split_once("-----BEGIN CERTIFICATE-----")?
        .1
        .split_once("-----END CERTIFICATE-----")?
        .0;
    let der = base64(&armoured.split_whitespace().collect::<String>())?;
    let (certificate, _) = element(&der, 0x30)?;
    let (mut tbs, _) = element(certificate, 0x30)?;
    if let Some((_, rest)) = element(tbs, 0xa0) {
        tbs = rest;
    }
    // serialNumber, signature, issuer, validity, subject
    for tag in [0x02, 0x30, 0x30, 0x30, 0x30] {
        tbs = element(tbs, tag)?.1;
    }
    let (key_info, _) = element(tbs, 0x30)?;
    let (_, rest) = element(key_info, 0x30)?;
    let (bits, _) = element(rest, 0x03)?;
    bits.strip_prefix(&[0]).map(<[u8]>::to_vec)
}

/// One DER element of a tag: its content, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    if first != tag {
        return None;
    }
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let count = usize::from(length & 0x7f);
        if count == 0 || count > 4 || rest.len() < count {
            return None;
        }
        let (bytes, rest) = rest.split_at(count);
        (
            bytes.iter().fold(0usize, |sum, b| sum << 8 | usize::from(*b)),
            rest,
        )
    };
    (rest.len() >= length).then(|| rest.split_at(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_amazon_serves_certificates() {
        for good in [
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123.pem",
            "https://sns.cn-north-1.amazonaws.com.cn/x.pem",
        ] {
            assert!(certificate_url(good).is_some(), "{good}");
        }
        for bad in [
            "http://sns.us-east-1.amazonaws.com/x.pem",
            "https://sns.us-east-1.amazonaws.com:8443/x.pem",
            "https://user@sns.us-east-1.amazonaws.com/x.pem",
            "https://sns.us-east-1.amazonaws.com.evil.test/x.pem",
            "https://evil.test/sns.us-east-1.amazonaws.com/x.pem",
            "https://evil-sns.us-east-1.amazonaws.com/x.pem",
            "https://sns.a.b.amazonaws.com/x.pem",
            "https://bucket.s3.amazonaws.com/x.pem",
            "https://sns.us-east-1.amazonaws.com/x.txt",
            "https://sns.us-east-1.amazonaws.com/x?.pem",
            "https://sns.us-east-1.amazonaws.org/x.pem",
            "https://sns..amazonaws.com/x.pem",
        ] {
            assert!(certificate_url(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn broken_certificates_are_no_keys() {
        for pem in [
            "",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----",
        ] {
            assert!(rsa_key(pem).is_none());
        }
    }
}
