//! A tenant's data key and what is derived from it.

use super::cipher::{Cipher, KeyBytes};
use super::{BlindIndex, Place, SealError};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::{constant_time, hmac};
use secrecy::zeroize::Zeroizing;
use std::sync::Arc;
use tidings_core::{Address, TenantId};

/// A tenant's key, unwrapped. Sub-keys are derived per purpose (HKDF-SHA256), so no key serves two.
#[derive(Clone)]
pub struct TenantKey(Arc<Inner>);

struct Inner {
    tenant: TenantId,
    prk: Prk,
    seal: Cipher,
    wrap: Cipher,
    index: hmac::Key,
}

/// A key that signs tokens of one purpose (unsubscribe links, click links, open pixels).
#[derive(Debug)]
pub struct TokenKey(hmac::Key);

struct Length32;

impl KeyType for Length32 {
    fn len(&self) -> usize {
        32
    }
}

impl TenantKey {
    pub(super) fn new(tenant: TenantId, bytes: &KeyBytes, number: u32) -> Result<Self, SealError> {
        let prk = Salt::new(HKDF_SHA256, b"tidings tenant key 1").extract(bytes.as_slice());
        let seal = Cipher::new(&*derive(&prk, "seal")?, number)?;
        let wrap = Cipher::new(&*derive(&prk, "wrap contact keys")?, number)?;
        let index = hmac::Key::new(hmac::HMAC_SHA256, derive(&prk, "blind index")?.as_slice());
        Ok(Self(Arc::new(Inner {
            tenant,
            prk,
            seal,
            wrap,
            index,
        })))
    }

    /// Whose key.
    pub fn tenant(&self) -> TenantId {
        self.0.tenant
    }

    /// Seals what belongs to the tenant and to no contact (credentials).
    pub fn seal(&self, place: &Place, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0.seal.seal(place, plain)
    }

    /// Opens what [`TenantKey::seal`] sealed in the same place.
    pub fn open(&self, place: &Place, blob: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0.seal.open(place, blob)
    }

    /// The blind index of an address.
    pub fn blind_index(&self, address: &Address) -> BlindIndex {
        let kind = match address {
            Address::Email(_) => "email",
            Address::Phone(_) => "phone",
        };
        self.index(kind, &address.normalised())
    }

    /// The blind index of a text that is no address although it was given as one, so that it is kept once.
    pub fn blind_index_of_malformed(&self, kind: &str, text: &str) -> BlindIndex {
        self.index(&format!("malformed {kind}"), text.trim())
    }

    /// The signing key of a purpose. Purposes are short constants of the code.
    pub fn token_key(&self, purpose: &'static str) -> Result<TokenKey, SealError> {
        let bytes = derive(&self.0.prk, &format!("token {purpose}"))?;
        Ok(TokenKey(hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice())))
    }

    pub(super) fn wrap(&self) -> &Cipher {
        &self.0.wrap
    }

    fn index(&self, kind: &str, normalised: &str) -> BlindIndex {
        let mut context = hmac::Context::with_key(&self.0.index);
        context.update(kind.as_bytes());
        context.update(b"|");
        context.update(normalised.as_bytes());
        let mut bytes = [0u8; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        BlindIndex(bytes)
    }
}

impl TokenKey {
    /// The signature of a message: 32 bytes; may be cut by the caller, not below 16.
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut bytes = [0u8; 32];
        bytes.copy_from_slice(hmac::sign(&self.0, message).as_ref());
        bytes
    }

    /// Whether a signature of 16 to 32 bytes is that of the message. Takes the same time for every wrong one.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let right = self.sign(message);
        (16..=32).contains(&signature.len())
            && constant_time::verify_slices_are_equal(&right[..signature.len()], signature).is_ok()
    }
}

impl std::fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TenantKey({})", self.0.tenant)
    }
}

fn derive(prk: &Prk, purpose: &str) -> Result<KeyBytes, SealError> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    let info = [purpose.as_bytes()];
    prk.expand(&info, Length32)
        .and_then(|okm| okm.fill(&mut bytes[..]))
        .map_err(|_| SealError::Library)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::cipher::random_key;
    use super::*;
    use tidings_core::Channel;
    use uuid::Uuid;

    fn key() -> TenantKey {
        TenantKey::new(TenantId(Uuid::from_u128(1)), &random_key().unwrap(), 1).unwrap()
    }

    #[test]
    fn equal_addresses_share_an_index_within_a_tenant_only() {
        let (one, other) = (key(), key());
        let lower = Address::parse(Channel::Email, "ann@example.com", None).unwrap();
        let upper = Address::parse(Channel::Email, "Ann@EXAMPLE.com", None).unwrap();
        let phone = Address::parse(Channel::Sms, "+14155550123", None);
        assert_eq!(one.blind_index(&lower), one.blind_index(&upper));
        assert_ne!(one.blind_index(&lower), other.blind_index(&lower));
        assert_ne!(
            one.blind_index(&lower),
            one.blind_index_of_malformed("email", "ann@example.com")
        );
        drop(phone);
    }

    #[test]
    fn a_token_key_serves_one_purpose() {
        let tenant = key();
        let (unsubscribe, click) = (
            tenant.token_key("unsubscribe").unwrap(),
            tenant.token_key("click").unwrap(),
        );
        let signature = unsubscribe.sign(b"contact 1");
        assert!(unsubscribe.verify(b"contact 1", &signature));
        assert!(unsubscribe.verify(b"contact 1", &signature[..16]));
        assert!(!unsubscribe.verify(b"contact 1", &signature[..15]));
        assert!(!unsubscribe.verify(b"contact 2", &signature));
        assert!(!click.verify(b"contact 1", &signature));
    }
}
