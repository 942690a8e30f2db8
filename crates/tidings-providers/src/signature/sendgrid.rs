//! SendGrid's signed event webhook and signed inbound parse: ECDSA P-256 over the timestamp header and the raw
//! body, one right after the other.
//!
//! There is no replay window: a report is retried for 24 hours, and it is not documented whether a retry carries a
//! new timestamp. ECDSA signatures are malleable, so they are no replay key either; `sg_event_id` is.

use crate::contract::WebhookRefusal;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

/// SubjectPublicKeyInfo of an uncompressed P-256 key, up to the point (RFC 5480).
pub(crate) const P256_SPKI_PREFIX: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A verification key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Reads the key as SendGrid's console shows it: base64 of the SubjectPublicKeyInfo; PEM armour is allowed.
    pub fn parse(text: &str) -> Option<Self> {
        let bare: String = text
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .map(str::trim)
            .collect();
        let der = super::base64(&bare)?;
        let point = der.strip_prefix(P256_SPKI_PREFIX)?;
        (point.len() == 65 && point[0] == 4).then(|| Self(point.to_vec()))
    }
}

/// Verifies. `signature` is base64 of the DER form, `timestamp` the header's own text.
pub fn verify(
    key: &PublicKey,
    signature: Option<&str>,
    timestamp: Option<&str>,
    body: &[u8],
) -> Result<(), WebhookRefusal> {
    let signature = signature
        .filter(|s| !s.is_empty())
        .ok_or(WebhookRefusal::SignatureMissing)?;
    let timestamp = timestamp
        .filter(|t| !t.is_empty())
        .ok_or(WebhookRefusal::SignatureMissing)?;
    let signature = super::base64(signature).ok_or(WebhookRefusal::SignatureInvalid)?;
    let message = [timestamp.as_bytes(), body].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key.0)
        .verify(&message, &signature)
        .map_err(|_| WebhookRefusal::SignatureInvalid)
}
