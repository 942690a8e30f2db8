//! Whether Meta lets an approved template be sent.

use crate::word::word_enum;

word_enum! {
    /// Where an approved template stands at Meta.
    pub enum TemplateStanding {
        /// It may be sent.
        Approved = "approved",
        /// Meta reviews it.
        Pending = "pending",
        /// Meta refused it.
        Rejected = "rejected",
        /// Meta paused it for its quality.
        Paused = "paused",
        /// Meta switched it off for good.
        Disabled = "disabled",
        /// Any other word of Meta's: deleted, in appeal, archived ...
        Other = "other",
    }
}

impl TemplateStanding {
    /// Whether messages may be sent by it.
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Approved)
    }
}

/// Whether a template may be used of which Meta last said this, one word an account. One that Meta never spoke of counts as
/// approved; one that any account stopped is not used.
pub fn is_usable(known: &[TemplateStanding]) -> bool {
    known.iter().all(|standing| standing.is_usable())
}

#[cfg(test)]
mod tests {
    use super::TemplateStanding::{Approved, Paused};
    use super::*;

    #[test]
    fn any_account_stops_it() {
        assert!(is_usable(&[]) && is_usable(&[Approved, Approved]));
        assert!(!is_usable(&[Approved, Paused]));
        assert_eq!(
            TemplateStanding::ALL.iter().filter(|one| one.is_usable()).count(),
            1
        );
    }
}
