//! DKIM signatures (RFC 6376), relaxed/relaxed, with RSA-SHA256 and Ed25519-SHA256 (RFC 8463).
//!
//! Every header on the list is signed if it is there, and `From` once more than it is there, so that nobody can put
//! a second one in front. There is no `l=`: what is added to a body breaks the signature.

use crate::config::ConfigError;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidings_core::ProviderKind;

/// What is signed, where present. RFC 8058 requires the last two.
const SIGNED: &[&str] = &[
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Auto-Submitted",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
];

/// Signs mail of one domain.
#[derive(Debug)]
pub struct Signer {
    domain: String,
    selector: String,
    key: Key,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rsa(_) => "Rsa([private])",
            Self::Ed25519(_) => "Ed25519([private])",
        })
    }
}

impl Signer {
    /// Reads a private key: PEM (PKCS #8, or PKCS #1 for RSA), or base64 of an Ed25519 seed.
    pub fn new(domain: &str, selector: &str, private_key: &str) -> Result<Self, ConfigError> {
        let label = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        if !label(domain) || !label(selector) {
            return Err(ConfigError::setting(
                ProviderKind::Smtp,
                "dkim",
                "domain and selector must be host name labels, such as brand.example and 2026",
            ));
        }
        let key = read_key(private_key).ok_or_else(|| {
            ConfigError::credential(
                ProviderKind::Smtp,
                "dkim_private_key",
                "must be an RSA (2048 bits or more) or Ed25519 private key in PEM form",
            )
        })?;
        Ok(Self {
            domain: domain.to_owned(),
            selector: selector.to_owned(),
            key,
        })
    }

    /// The `DKIM-Signature` line for a message with CRLF line ends, to be put in front of it; ends with CRLF.
    pub fn sign(&self, message: &[u8]) -> Option<String> {
        let (head, body) = split(message);
        let headers = headers(head)?;
        let names = signed_names(&headers);
        let algorithm = match self.key {
            Key::Rsa(_) => "rsa-sha256",
            Key::Ed25519(_) => "ed25519-sha256",
        };
        let unsigned = format!(
            "v=1; a={algorithm}; c=relaxed/relaxed; d={}; s={};\r\n\th={};\r\n\tbh={};\r\n\tb=",
            self.domain,
            self.selector,
            names.join(":\r\n\t "),
            STANDARD.encode(digest(&SHA256, &relaxed_body(body))),
        );
        let mut input = signing_input(&headers, &names);
        input.push_str(relaxed_header("DKIM-Signature", &unsigned).trim_end_matches("\r\n"));
        let signature = self.signature_of(input.as_bytes())?;
        Some(format!(
            "DKIM-Signature: {unsigned}{}\r\n",
            folded(&STANDARD.encode(signature))
        ))
    }

    fn signature_of(&self, input: &[u8]) -> Option<Vec<u8>> {
        match &self.key {
            Key::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input, &mut signature)
                    .ok()?;
                Some(signature)
            }
            // RFC 8463 section 3: what is signed is the SHA-256 digest, not the text.
            Key::Ed25519(pair) => Some(pair.sign(digest(&SHA256, input).as_ref()).as_ref().to_vec()),
        }
    }
}

fn read_key(text: &str) -> Option<Key> {
    let der = if text.contains("-----BEGIN") {
        let body: String = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with("-----"))
            .collect();
        crate::signature::base64(&body)?
    } else {
        let bytes = crate::signature::base64(text)?;
        if bytes.len() == 32 {
            return Ed25519KeyPair::from_seed_unchecked(&bytes).ok().map(Key::Ed25519);
        }
        bytes
    };
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
        return Some(Key::Ed25519(pair));
    }
    RsaKeyPair::from_pkcs8(&der)
        .or_else(|_| RsaKeyPair::from_der(&der))
        .ok()
        .filter(|pair| pair.public_modulus_len() >= 256)
        .map(|pair| Key::Rsa(Box::new(pair)))
}

fn split(message: &[u8]) -> (&[u8], &[u8]) {
    match message.windows(4).position(|window| window == b"\r\n\r\n") {
        Some(at) => (&message[..at + 2], &message[at + 4..]),
        None => (message, b""),
    }
}

/// The header fields in order: name and unfolded-later value.
fn headers(head: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(head).ok()?;
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut()?;
            value.push_str("\r\n");
            value.push_str(line);
        } else {
            let (name, value) = line.split_once(':')?;
            fields.push((name.to_owned(), value.to_owned()));
        }
    }
    Some(fields)
}

fn signed_names(headers: &[(String, String)]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for name in SIGNED {
        let count = headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .count();
        names.extend(std::iter::repeat_n(*name, count));
    }
    names.push("From");
    names
}

/// The signed headers, each taken from the last of its name upwards; one that is not there counts as empty.
fn signing_input(headers: &[(String, String)], names: &[&str]) -> String {
    let mut input = String::new();
    for (at, name) in names.iter().enumerate() {
        let earlier = names[..at]
            .iter()
            .filter(|n| n.eq_ignore_ascii_case(name))
            .count();
        let field = headers
            .iter()
            .rev()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .nth(earlier);
        if let Some((name, value)) = field {
            input.push_str(&relaxed_header(name, value));
        }
    }
    input
}

/// RFC 6376 section 3.4.2.
fn relaxed_header(name: &str, value: &str) -> String {
    let words: Vec<&str> = value
        .split([' ', '\t', '\r', '\n'])
        .filter(|word| !word.is_empty())
        .collect();
    format!("{}:{}\r\n", name.trim().to_ascii_lowercase(), words.join(" "))
}

/// RFC 6376 section 3.4.4.
fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in body.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut out = Vec::with_capacity(line.len());
        for byte in line {
            match byte {
                b' ' | b'\t' if out.last() == Some(&b' ') => {}
                b' ' | b'\t' => out.push(b' '),
                other => out.push(*other),
            }
        }
        if out.last() == Some(&b' ') {
            out.pop();
        }
        lines.push(out);
    }
    while lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    let mut relaxed = Vec::with_capacity(body.len());
    for line in &lines {
        relaxed.extend_from_slice(line);
        relaxed.extend_from_slice(b"\r\n");
    }
    relaxed
}

/// Base64 in lines of 72.
fn folded(text: &str) -> String {
    text.as_bytes()
        .chunks(72)
        .map(|chunk| String::from_utf8_lossy(chunk).into_owned())
        .collect::<Vec<_>>()
        .join("\r\n\t ")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// RFC 6376 section 3.4.5.
    #[test]
    fn canonicalises_as_the_rfc_shows() {
        assert_eq!(relaxed_header("A", " X"), "a:X\r\n");
        assert_eq!(relaxed_header("B ", " Y\t\r\n\tZ  "), "b:Y Z\r\n");
        assert_eq!(relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n"), b" C\r\nD E\r\n");
        assert_eq!(relaxed_body(b""), b"");
        assert_eq!(relaxed_body(b"\r\n\r\n"), b"");
        assert_eq!(relaxed_body(b"no end"), b"no end\r\n");
    }

    /// The example of RFC 8463 appendix A: the same body hash and, by Ed25519 being deterministic, a stable result.
    #[test]
    fn hashes_the_body_of_rfc_8463() {
        let body = b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
        let hash = STANDARD.encode(digest(&SHA256, &relaxed_body(body)));
        assert_eq!(hash, "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
        let signer = Signer::new(
            "football.example.com",
            "brisbane",
            "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=",
        )
        .unwrap();
        let message = [
            b"From: Joe <joe@football.example.com>\r\nSubject: x\r\n\r\n".as_slice(),
            body,
        ]
        .concat();
        let line = signer.sign(&message).unwrap();
        assert!(
            line.contains("a=ed25519-sha256") && line.contains("h=From:\r\n\t Subject:\r\n\t From;"),
            "{line}"
        );
        assert_eq!(line, signer.sign(&message).unwrap());
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        assert!(Signer::new("brand.test", "s1", "nonsense").is_err());
        assert!(Signer::new("brand test", "s1", "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=").is_err());
    }
}
