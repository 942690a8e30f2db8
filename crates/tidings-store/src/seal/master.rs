//! Master keys: from the configuration, never in the database.

use super::SealError;
use super::cipher::{Cipher, KeyBytes, random_key};
use aws_lc_rs::digest;
use base64::Engine as _;
use secrecy::zeroize::Zeroizing;

/// A key that wraps tenant keys. Its id is stored beside what it wraps; the key itself never is.
pub struct MasterKey {
    id: String,
    cipher: Cipher,
}

impl MasterKey {
    /// Reads a key of 32 bytes written as 64 hexadecimal digits or as base64 (with or without padding, either alphabet).
    ///
    /// # Errors
    /// When the id is empty or longer than 64 characters, or the text is not 32 bytes in one of these forms.
    pub fn parse(id: &str, text: &str) -> Result<Self, SealError> {
        let problem = |problem| SealError::MasterKey {
            id: id.to_owned(),
            problem,
        };
        if id.is_empty() || id.len() > 64 {
            return Err(problem("needs an id of 1 to 64 characters"));
        }
        let bytes = decode(text.trim()).ok_or_else(|| {
            problem(
                "must be 32 bytes as 64 hexadecimal digits or base64; make one with: openssl rand -hex 32",
            )
        })?;
        Self::new(id, &bytes)
    }

    /// A new random key; for tests and for a first start that keeps it in its data directory.
    pub fn generate(id: &str) -> Result<(Self, String), SealError> {
        let bytes = random_key()?;
        Ok((Self::new(id, &bytes)?, hex::encode(bytes.as_slice())))
    }

    fn new(id: &str, bytes: &[u8; 32]) -> Result<Self, SealError> {
        let hash = digest::digest(&digest::SHA256, id.as_bytes());
        let number = hash
            .as_ref()
            .iter()
            .take(4)
            .fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
        Ok(Self {
            id: id.to_owned(),
            cipher: Cipher::new(bytes, number)?,
        })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn cipher(&self) -> &Cipher {
        &self.cipher
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

fn decode(text: &str) -> Option<KeyBytes> {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    let bytes = if text.len() == 64 {
        hex::decode(text).ok()
    } else {
        [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
            .iter()
            .find_map(|engine| engine.decode(text).ok())
    };
    let bytes = Zeroizing::new(bytes?);
    <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn reads_hexadecimal_and_base64() {
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        for text in [
            hex,
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        ] {
            assert_eq!(decode(text).unwrap()[31], 31);
        }
    }

    #[test]
    fn refuses_other_lengths_and_says_what_to_do() {
        for text in ["", "abc", &"0".repeat(62), &"g".repeat(64)] {
            let error = MasterKey::parse("main", text).unwrap_err().to_string();
            assert!(
                error.contains("\"main\"") && error.contains("openssl rand -hex 32"),
                "{error}"
            );
        }
        assert!(MasterKey::parse("", &"0".repeat(64)).is_err());
    }

    #[test]
    fn debug_shows_no_key() {
        let (key, text) = MasterKey::generate("main").unwrap();
        assert!(!format!("{key:?}").contains(&text));
        assert_eq!(text.len(), 64);
    }
}
