//! Sealing of personal data and secrets, in the application: the database, its logs and its backups never see plain text or keys.
//!
//! A master key from the configuration wraps a data key per tenant; that wraps a data key per contact. What belongs to a
//! contact is sealed with the contact's key, so destroying that one key makes it unreadable everywhere, backups included;
//! what belongs to the tenant (credentials) is sealed with the tenant's. Equal addresses are found again by a keyed
//! [`BlindIndex`]. Everything is AES-256-GCM, bound to its [`Place`] so that no ciphertext can be moved to another row.

mod blind;
mod cipher;
mod contact_key;
mod keyring;
mod master;
mod place;
mod rotate;
mod tenant_key;

pub use blind::BlindIndex;
pub use contact_key::ContactKey;
pub use keyring::{ContactKeys, Keyring};
pub use master::MasterKey;
pub use place::Place;
pub use rotate::Rotation;
pub(crate) use rotate::check_master_keys;
pub use tenant_key::{TenantKey, TokenKey};

use tidings_core::ContactId;

/// Why something could not be sealed or opened. Says nothing about the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short, or of a version this program does not know.
    #[error("{place}: not a sealed value of a known version; it was written by a newer Tidings or damaged")]
    Form {
        /// Table and column.
        place: String,
    },
    /// Altered, moved from another row, or sealed with another key.
    #[error(
        "{place}: the sealed value does not open; it was altered, moved from another row, or sealed with another key"
    )]
    Tampered {
        /// Table and column.
        place: String,
    },
    /// The contact's key was destroyed.
    #[error("the contact {0} was erased: its key was destroyed")]
    Erased(ContactId),
    /// The contact has no key: nothing was ever sealed for it.
    #[error("the contact {0} has no key: nothing was sealed for it")]
    NoKey(ContactId),
    /// The opened value is not text.
    #[error("{place}: the sealed value is not UTF-8 text")]
    NotText {
        /// Table and column.
        place: String,
    },
    /// The cryptographic library or the system's randomness failed.
    #[error("the cryptographic library failed")]
    Library,
    /// A configured master key cannot be used.
    #[error("the master key \"{id}\" {problem}")]
    MasterKey {
        /// Its id.
        id: String,
        /// What is wrong and what to do.
        problem: &'static str,
    },
}
