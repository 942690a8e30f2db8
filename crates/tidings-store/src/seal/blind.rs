//! Finding an address without keeping it readable.

use std::fmt;

/// HMAC-SHA256 of an address under its tenant's index key: equal for equal addresses of one tenant, unrelated between tenants,
/// and not computable from the database alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlindIndex(pub [u8; 32]);

impl BlindIndex {
    /// The bytes, as stored.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From a stored column.
    pub fn from_column(bytes: &[u8]) -> crate::Result<Self> {
        <[u8; 32]>::try_from(bytes).map(Self).map_err(|_| {
            crate::StoreError::invalid("blind_index", "a blind index has 32 bytes; the row is damaged")
        })
    }
}

/// Pseudonymous: only the beginning is shown, enough to tell two apart.
impl fmt::Debug for BlindIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlindIndex({}..)", hex::encode(&self.0[..4]))
    }
}
