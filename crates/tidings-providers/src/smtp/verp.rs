//! Bounce addresses that prove which message they belong to.
//!
//! `b+<reference>-<mac>@<bounce domain>`: the mac is HMAC-SHA256 under the connection's bounce key, cut to 80 bits.
//! A bounce that arrives elsewhere, or with a token that does not verify, suppresses nothing.

use crate::signature::{hmac_of, same};
use aws_lc_rs::hmac::HMAC_SHA256;

/// Octets of a local part (RFC 5321 section 4.5.3.1.1).
const LONGEST_LOCAL_PART: usize = 64;
/// Hexadecimal digits of the mac.
const MAC_DIGITS: usize = 20;

/// The token of a reference. References hold letters, digits, dots and hyphens only.
fn token(reference: &str, key: &[u8]) -> String {
    let mac = hex::encode(hmac_of(HMAC_SHA256, key, &[b"bounce|", reference.as_bytes()]));
    format!("{reference}-{}", &mac[..MAC_DIGITS])
}

/// The envelope sender for a message; nothing when the reference does not fit into one.
pub fn address(reference: &str, key: &[u8], domain: &str) -> Option<String> {
    let plain = reference
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    let local = format!("b+{}", token(reference, key));
    (plain && !reference.is_empty() && local.len() <= LONGEST_LOCAL_PART).then(|| format!("{local}@{domain}"))
}

/// The reference a token proves. Case does not count: some servers change it.
pub fn verify(given: &str, key: &[u8]) -> Option<String> {
    let given = given.to_ascii_lowercase();
    let (reference, _) = given.rsplit_once('-')?;
    same(token(reference, key).as_bytes(), given.as_bytes()).then(|| reference.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_token_proves_its_reference_only() {
        let reference = "0197c0de00007000800000000000000a.1";
        let address = address(reference, b"key", "bounce.brand.test").unwrap();
        let token = address.strip_prefix("b+").unwrap().split('@').next().unwrap();
        assert_eq!(verify(token, b"key").as_deref(), Some(reference));
        assert_eq!(verify(&token.to_uppercase(), b"key").as_deref(), Some(reference));
        assert_eq!(verify(token, b"other"), None);
        assert_eq!(verify(&token.replace("0a.1", "0b.1"), b"key"), None);
        assert_eq!(verify("x", b"key"), None);
        assert!(super::address("a@b", b"key", "d.test").is_none());
        assert!(super::address(&"a".repeat(60), b"key", "d.test").is_none());
    }
}
