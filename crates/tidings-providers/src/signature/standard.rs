//! Standard Webhooks 1.0.0, both directions (also Svix, Resend and OpenAI, under their own header names).
//!
//! Signed content is `id.timestamp.body`. `v1` is HMAC-SHA256 under a shared secret (`whsec_` and base64), `v1a`
//! is Ed25519 (`whsk_` signs, `whpk_` verifies). The header may hold several signatures, separated by a blank,
//! while keys rotate.

use super::{base64, fresh, hmac_of, same};
use crate::contract::WebhookRefusal;
use aws_lc_rs::hmac::HMAC_SHA256;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

/// What arrived.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`, unix seconds.
    pub timestamp: &'a str,
    /// `webhook-signature`.
    pub signatures: &'a str,
    /// The raw body.
    pub body: &'a [u8],
}

/// Why nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key cannot be read.
    #[error("the signing key is not {0}")]
    Key(&'static str),
    /// Ids are part of the signed text, parted by dots.
    #[error("the webhook id must be 1 to 256 visible characters without a dot")]
    Id,
}

/// The most signatures looked at; rotation needs two.
const MOST_SIGNATURES: usize = 16;

/// Verifies. The secret is `whsec_...` (or its base64 alone) for `v1`, `whpk_...` for `v1a`.
pub fn verify(signed: &Signed<'_>, secret: &str, now: Timestamp) -> Result<(), WebhookRefusal> {
    if signed.id.is_empty() || signed.timestamp.is_empty() || signed.signatures.is_empty() {
        return Err(WebhookRefusal::SignatureMissing);
    }
    let content = content(signed.id, signed.timestamp, signed.body);
    let key = Verifier::read(secret).map_err(|e| WebhookRefusal::NotConfigured(e.to_string()))?;
    let matched = signed
        .signatures
        .split(' ')
        .take(MOST_SIGNATURES)
        .filter_map(|entry| entry.split_once(','))
        .any(|(version, signature)| key.accepts(version, signature, &content));
    if !matched {
        return Err(WebhookRefusal::SignatureInvalid);
    }
    fresh(signed.timestamp, now).map(|_| ())
}

/// Signs a body: the value of one entry of `webhook-signature`. The key is `whsec_...` (or its base64 alone) for
/// `v1`, `whsk_...` for `v1a`.
pub fn sign(id: &str, at: Timestamp, body: &[u8], secret: &str) -> Result<String, SignError> {
    if id.is_empty() || id.len() > 256 || !id.bytes().all(|b| b.is_ascii_graphic() && b != b'.') {
        return Err(SignError::Id);
    }
    let content = content(id, &at.as_second().to_string(), body);
    if let Some(key) = secret.strip_prefix("whsk_") {
        let wrong = SignError::Key("whsk_ and base64 of an Ed25519 seed, with or without the public key");
        let bytes = base64(key).ok_or(wrong.clone())?;
        let seed = bytes
            .get(..32)
            .filter(|_| matches!(bytes.len(), 32 | 64))
            .ok_or(wrong.clone())?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| wrong)?;
        return Ok(format!("v1a,{}", STANDARD.encode(pair.sign(&content))));
    }
    let key = symmetric(secret)?;
    Ok(format!(
        "v1,{}",
        STANDARD.encode(hmac_of(HMAC_SHA256, &key, &[&content]))
    ))
}

/// Whether a text can be a secret for [`verify`]; the text is quoted nowhere.
pub fn is_secret(text: &str) -> bool {
    Verifier::read(text).is_ok()
}

enum Verifier {
    Symmetric(Vec<u8>),
    Public(Vec<u8>),
}

impl Verifier {
    fn read(secret: &str) -> Result<Self, SignError> {
        match secret.strip_prefix("whpk_") {
            Some(key) => base64(key)
                .filter(|bytes| bytes.len() == 32)
                .map(Self::Public)
                .ok_or(SignError::Key("whpk_ and base64 of an Ed25519 public key")),
            None => symmetric(secret).map(Self::Symmetric),
        }
    }

    fn accepts(&self, version: &str, signature: &str, content: &[u8]) -> bool {
        let Some(given) = base64(signature) else {
            return false;
        };
        match self {
            Self::Symmetric(key) => {
                version == "v1" && same(hmac_of(HMAC_SHA256, key, &[content]).as_ref(), &given)
            }
            Self::Public(key) => {
                version == "v1a"
                    && UnparsedPublicKey::new(&ED25519, key)
                        .verify(content, &given)
                        .is_ok()
            }
        }
    }
}

/// An empty secret would verify everything anybody signs with nothing: refused.
fn symmetric(secret: &str) -> Result<Vec<u8>, SignError> {
    base64(secret.strip_prefix("whsec_").unwrap_or(secret))
        .filter(|bytes| !bytes.is_empty())
        .ok_or(SignError::Key(
            "whsec_ and base64 of at least one byte (24 to 64 are usual)",
        ))
}

fn content(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}
