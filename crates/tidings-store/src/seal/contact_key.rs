//! A contact's data key.

use super::cipher::{Cipher, KeyBytes};
use super::{Place, SealError};
use std::sync::Arc;
use tidings_core::redact::Private;

/// The key everything of one contact is sealed with. Destroying its wrapped form erases the contact.
#[derive(Clone, Debug)]
pub struct ContactKey(Arc<Cipher>);

impl ContactKey {
    pub(super) fn new(bytes: &KeyBytes) -> Result<Self, SealError> {
        // A contact has one key for life; the number leaves room for a second.
        Cipher::new(bytes, 1).map(|cipher| Self(Arc::new(cipher)))
    }

    /// Seals bytes for their place.
    pub fn seal(&self, place: &Place, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0.seal(place, plain)
    }

    /// Opens what was sealed in the same place.
    pub fn open(&self, place: &Place, blob: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0.open(place, blob)
    }

    /// Opens text.
    pub fn open_text(&self, place: &Place, blob: &[u8]) -> Result<Private<String>, SealError> {
        let plain = self.open(place, blob)?;
        String::from_utf8(plain)
            .map(Private::new)
            .map_err(|_| SealError::NotText { place: place.name() })
    }
}
