//! AES-256-GCM with a random nonce; the one place where bytes are sealed and opened.
//!
//! Blob: version (1 byte) | key number (4 bytes, big endian) | nonce (12) | ciphertext | tag (16). Version and key number
//! are authenticated too. Random nonces are safe for 2^32 values a key; a key per contact never comes near.
//!
//! What is sealed under version 2 was compressed before: sealed bytes look random, so neither the database nor the log it
//! writes ahead can make them smaller, and rendered mail is most of what a message stores. The length of a blob tells a
//! little about how repetitive its content is; nobody who could choose content sees the blobs.

use super::{Place, SealError};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use secrecy::zeroize::Zeroizing;
use std::borrow::Cow;

const PLAIN: u8 = 1;
const COMPRESSED: u8 = 2;
/// Shorter values hardly shrink. Keys are shorter, so no copy of one is made.
const COMPRESS_FROM: usize = 512;
/// The most that a compressed value may say it grows to: several times the largest content that is accepted.
const GROWN: usize = 64 * 1024 * 1024;
const HEADER: usize = 5;
const NONCE: usize = 12;
const TAG: usize = 16;

/// 32 secret bytes, wiped when dropped.
pub(super) type KeyBytes = Zeroizing<[u8; 32]>;

/// One AES-256 key and its number.
pub(super) struct Cipher {
    key: LessSafeKey,
    number: u32,
}

pub(super) fn random_key() -> Result<KeyBytes, SealError> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    aws_lc_rs::rand::fill(&mut bytes[..]).map_err(|_| SealError::Library)?;
    Ok(bytes)
}

impl Cipher {
    pub(super) fn new(bytes: &[u8; 32], number: u32) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| SealError::Library)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            number,
        })
    }

    pub(super) fn seal(&self, place: &Place, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let (version, plain) = shortened(plain);
        let mut blob = Vec::with_capacity(HEADER + NONCE + plain.len() + TAG);
        blob.push(version);
        blob.extend_from_slice(&self.number.to_be_bytes());
        let aad = place.authenticated(&blob);
        let mut nonce = [0u8; NONCE];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| SealError::Library)?;
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(&plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut blob[HEADER + NONCE..])
            .map_err(|_| SealError::Library)?;
        blob.extend_from_slice(tag.as_ref());
        Ok(blob)
    }

    pub(super) fn open(&self, place: &Place, blob: &[u8]) -> Result<Vec<u8>, SealError> {
        if blob.len() < HEADER + NONCE + TAG || !matches!(blob[0], PLAIN | COMPRESSED) {
            return Err(SealError::Form { place: place.name() });
        }
        let tampered = || SealError::Tampered { place: place.name() };
        let (header, rest) = blob.split_at(HEADER);
        if header[1..] != self.number.to_be_bytes() {
            return Err(tampered());
        }
        let (nonce, rest) = rest.split_at(NONCE);
        let (ciphertext, tag) = rest.split_at(rest.len() - TAG);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| tampered())?;
        let mut plain = vec![0u8; ciphertext.len()];
        self.key
            .open_separate_gather(
                nonce,
                Aad::from(place.authenticated(header)),
                ciphertext,
                tag,
                &mut plain,
            )
            .map_err(|_| tampered())?;
        if header[0] == COMPRESSED {
            return grown(&plain).ok_or_else(|| SealError::Form { place: place.name() });
        }
        Ok(plain)
    }

    /// Opens a wrapped key.
    pub(super) fn unwrap_key(&self, place: &Place, blob: &[u8]) -> Result<KeyBytes, SealError> {
        let plain = Zeroizing::new(self.open(place, blob)?);
        let mut bytes = Zeroizing::new([0u8; 32]);
        if plain.len() != bytes.len() {
            return Err(SealError::Form { place: place.name() });
        }
        bytes.copy_from_slice(&plain);
        Ok(bytes)
    }
}

/// Compressed where that makes it shorter.
fn shortened(plain: &[u8]) -> (u8, Cow<'_, [u8]>) {
    if (COMPRESS_FROM..=GROWN).contains(&plain.len()) {
        let shorter = lz4_flex::block::compress_prepend_size(plain);
        if shorter.len() < plain.len() {
            return (COMPRESSED, Cow::Owned(shorter));
        }
    }
    (PLAIN, Cow::Borrowed(plain))
}

fn grown(short: &[u8]) -> Option<Vec<u8>> {
    let (length, block) = lz4_flex::block::uncompressed_size(short).ok()?;
    if length > GROWN {
        return None;
    }
    lz4_flex::block::decompress(block, length).ok()
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cipher(key {})", self.number)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use tidings_core::TenantId;
    use uuid::Uuid;

    fn place(row: u128) -> Place {
        Place::new(
            "contacts",
            "name_sealed",
            TenantId(Uuid::from_u128(7)),
            Uuid::from_u128(row),
        )
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(plain in proptest::collection::vec(any::<u8>(), 0..300)) {
            let cipher = Cipher::new(&random_key().unwrap(), 3).unwrap();
            let blob = cipher.seal(&place(1), &plain).unwrap();
            prop_assert_eq!(blob.len(), plain.len() + HEADER + NONCE + TAG);
            prop_assert_eq!(cipher.open(&place(1), &blob).unwrap(), plain);
        }

        #[test]
        fn what_was_compressed_opens(words in proptest::collection::vec("[a-z<>/]{0,12}", 0..400)) {
            let cipher = Cipher::new(&random_key().unwrap(), 3).unwrap();
            let plain = words.join(" ").into_bytes();
            let blob = cipher.seal(&place(1), &plain).unwrap();
            prop_assert!(blob.len() <= plain.len() + HEADER + NONCE + TAG);
            prop_assert_eq!(cipher.open(&place(1), &blob).unwrap(), plain);
        }

        #[test]
        fn no_altered_byte_opens(plain in proptest::collection::vec(any::<u8>(), 0..40), bit in 0u8..8) {
            let cipher = Cipher::new(&random_key().unwrap(), 3).unwrap();
            let blob = cipher.seal(&place(1), &plain).unwrap();
            for index in 0..blob.len() {
                let mut altered = blob.clone();
                altered[index] ^= 1 << bit;
                prop_assert!(cipher.open(&place(1), &altered).is_err());
                prop_assert!(cipher.open(&place(1), &blob[..index]).is_err());
            }
        }

        #[test]
        fn no_other_place_opens(row in 2u128.., tenant in 8u128..) {
            let cipher = Cipher::new(&random_key().unwrap(), 3).unwrap();
            let blob = cipher.seal(&place(1), b"secret").unwrap();
            let (id, one) = (TenantId(Uuid::from_u128(7)), Uuid::from_u128(1));
            prop_assert!(cipher.open(&place(row), &blob).is_err());
            prop_assert!(cipher.open(&Place::new("contacts", "name_sealed", TenantId(Uuid::from_u128(tenant)), one), &blob).is_err());
            prop_assert!(cipher.open(&Place::new("contacts", "attributes_sealed", id, one), &blob).is_err());
            prop_assert!(cipher.open(&Place::new("contact", "sname_sealed", id, one), &blob).is_err());
        }
    }

    #[test]
    fn repetitive_content_is_sealed_short_and_the_form_is_authenticated() {
        let cipher = Cipher::new(&random_key().unwrap(), 3).unwrap();
        let plain = b"<td style=\"padding:0;\">".repeat(400);
        let blob = cipher.seal(&place(1), &plain).unwrap();
        assert_eq!(blob[0], COMPRESSED);
        assert!(blob.len() < plain.len() / 4, "{} of {}", blob.len(), plain.len());
        assert_eq!(cipher.open(&place(1), &blob).unwrap(), plain);
        let mut as_plain = blob;
        as_plain[0] = PLAIN;
        assert!(matches!(
            cipher.open(&place(1), &as_plain),
            Err(SealError::Tampered { .. })
        ));
    }

    #[test]
    fn what_does_not_shrink_is_sealed_as_it_is() {
        let cipher = Cipher::new(&random_key().unwrap(), 3).unwrap();
        let mut noise = vec![0u8; 4_096];
        aws_lc_rs::rand::fill(&mut noise).unwrap();
        let blob = cipher.seal(&place(1), &noise).unwrap();
        assert_eq!((blob[0], blob.len()), (PLAIN, noise.len() + HEADER + NONCE + TAG));
        assert_eq!(cipher.open(&place(1), &blob).unwrap(), noise);
    }

    #[test]
    fn a_value_that_would_grow_without_bound_is_refused() {
        let mut bomb = u32::MAX.to_le_bytes().to_vec();
        bomb.extend_from_slice(&[0; 16]);
        assert_eq!(grown(&bomb), None);
    }

    #[test]
    fn another_key_does_not_open() {
        let blob = Cipher::new(&random_key().unwrap(), 3)
            .unwrap()
            .seal(&place(1), b"secret")
            .unwrap();
        let other = Cipher::new(&random_key().unwrap(), 3).unwrap();
        assert_eq!(
            other.open(&place(1), &blob),
            Err(SealError::Tampered {
                place: "contacts.name_sealed".to_owned()
            })
        );
    }
}
