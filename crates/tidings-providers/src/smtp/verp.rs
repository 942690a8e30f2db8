//! Bounce addresses that prove which message they belong to.
//!
//! `b+<reference>-<mac>@<bounce domain>`, and `r+<reference>-<mac>@<reply domain>` for answers: the mac is HMAC-SHA256 under the connection's bounce key, cut to 80 bits.
//! A bounce that arrives elsewhere, or with a token that does not verify, suppresses nothing.

use crate::signature::{hmac_of, same};
use aws_lc_rs::hmac::HMAC_SHA256;

/// Octets of a local part (RFC 5321 section 4.5.3.1.1).
const LONGEST_LOCAL_PART: usize = 64;
/// Hexadecimal digits of the mac.
const MAC_DIGITS: usize = 20;

/// What an address is for; a token for one proves nothing for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Where reports of delivery come back to.
    Bounce,
    /// Where the recipient answers to.
    Reply,
}

impl Purpose {
    const fn mailbox(self) -> &'static str {
        match self {
            Self::Bounce => "b",
            Self::Reply => "r",
        }
    }

    const fn label(self) -> &'static [u8] {
        match self {
            Self::Bounce => b"bounce|",
            Self::Reply => b"reply|",
        }
    }
}

/// The token of a reference. References hold letters, digits, dots and hyphens only.
fn token(purpose: Purpose, reference: &str, key: &[u8]) -> String {
    let mac = hex::encode(hmac_of(
        HMAC_SHA256,
        key,
        &[purpose.label(), reference.as_bytes()],
    ));
    format!("{reference}-{}", &mac[..MAC_DIGITS])
}

/// The address of a message for a purpose; nothing when the reference does not fit into one.
pub fn address(purpose: Purpose, reference: &str, key: &[u8], domain: &str) -> Option<String> {
    let plain = reference
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    let local = format!("{}+{}", purpose.mailbox(), token(purpose, reference, key));
    (plain && !reference.is_empty() && local.len() <= LONGEST_LOCAL_PART).then(|| format!("{local}@{domain}"))
}

/// The reference that the local part of an address proves. Case does not count: some servers change it.
pub fn verify(purpose: Purpose, local_part: &str, key: &[u8]) -> Option<String> {
    let given = local_part.to_ascii_lowercase();
    let given = given.strip_prefix(purpose.mailbox())?.strip_prefix('+')?;
    let (reference, _) = given.rsplit_once('-')?;
    same(token(purpose, reference, key).as_bytes(), given.as_bytes()).then(|| reference.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_address_proves_its_reference_and_purpose_only() {
        let reference = "0197c0de00007000800000000000000a.1";
        for (purpose, other) in [
            (Purpose::Bounce, Purpose::Reply),
            (Purpose::Reply, Purpose::Bounce),
        ] {
            let address = address(purpose, reference, b"key", "bounce.brand.test").unwrap();
            let local = address.split('@').next().unwrap();
            assert_eq!(verify(purpose, local, b"key").as_deref(), Some(reference));
            assert_eq!(
                verify(purpose, &local.to_uppercase(), b"key").as_deref(),
                Some(reference)
            );
            assert_eq!(verify(purpose, local, b"other"), None);
            assert_eq!(verify(purpose, &local.replace("0a.1", "0b.1"), b"key"), None);
            let exchanged = local.replacen(purpose.mailbox(), other.mailbox(), 1);
            assert_eq!(verify(other, &exchanged, b"key"), None);
            assert!(super::address(purpose, "a@b", b"key", "d.test").is_none());
            assert!(super::address(purpose, &"a".repeat(60), b"key", "d.test").is_none());
        }
        for nonsense in ["", "b", "b+", "b+x", "x+a-b", "b+-"] {
            assert_eq!(verify(Purpose::Bounce, nonsense, b"key"), None, "{nonsense}");
        }
    }
}
