//! What a status says about the address (RFC 3463, and what real servers mean by it).

use tidings_core::event::BounceClass;

/// The class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusClass {
    /// The address does not exist.
    Hard,
    /// The address may work again: full, disabled, unreachable, expired in the queue.
    Soft,
    /// Policy, reputation or this message's content; the address is fine.
    Block,
    /// The report does not say.
    Unclear,
}

impl StatusClass {
    /// For the event; what is not clear counts as soft, so that it alone suppresses nothing.
    pub fn bounce_class(self) -> BounceClass {
        match self {
            Self::Hard => BounceClass::Hard,
            Self::Soft | Self::Unclear => BounceClass::Soft,
            Self::Block => BounceClass::Block,
        }
    }
}

/// Words that say what a status without meaning does not, in order; the first that is found decides.
const WORDS: &[(StatusClass, &[&str])] = &[
    (
        StatusClass::Soft,
        &[
            "mailbox full",
            "mailbox is full",
            "over quota",
            "quota exceeded",
            "exceeded storage",
        ],
    ),
    (
        StatusClass::Hard,
        &[
            "user unknown",
            "unknown user",
            "no such user",
            "no such recipient",
            "no such mailbox",
            "no such address",
            "does not exist",
            "doesn't exist",
            "mailbox unavailable",
            "mailbox not found",
            "recipient not found",
            "unknown recipient",
            "invalid recipient",
            "recipient rejected",
            "address rejected",
            "no mailbox here",
            "user doesn't have",
            "not a valid mailbox",
            "unknown address",
            "domain not found",
            "host not found",
            "unrouteable address",
            "no longer valid",
            "address unknown",
        ],
    ),
    (
        StatusClass::Block,
        &[
            "spam",
            "blocked",
            "blacklist",
            "blocklist",
            "block list",
            "policy",
            "reputation",
            "dmarc",
            "spf",
            "dkim",
            "unsolicited",
            "content rejected",
            "virus",
            "too large",
            "size exceeds",
            "not authorized",
            "access denied",
        ],
    ),
    (
        StatusClass::Soft,
        &[
            "try again",
            "temporar",
            "timed out",
            "timeout",
            "refused",
            "too many",
            "expired",
        ],
    ),
];

/// Classes a failure by its enhanced status, and by the diagnostic where the status says nothing.
pub fn class_of_status(status: &str, diagnostic: &str) -> StatusClass {
    match by_code(status) {
        Some(class) => class,
        None => enhanced_code(diagnostic)
            .and_then(|code| by_code(&code))
            .or_else(|| by_words(diagnostic))
            .or_else(|| by_reply_code(diagnostic))
            .unwrap_or(if status.starts_with('4') {
                StatusClass::Soft
            } else {
                StatusClass::Unclear
            }),
    }
}

/// The class of an enhanced code that says anything (`x.0.0` does not).
fn by_code(code: &str) -> Option<StatusClass> {
    let mut parts = code.split('.').map(|part| part.parse::<u16>().ok());
    let (class, subject, detail) = (parts.next()??, parts.next()??, parts.next()??);
    if (subject, detail) == (0, 0) {
        return None;
    }
    if class == 4 {
        return Some(StatusClass::Soft);
    }
    Some(match (subject, detail) {
        (1, 0..=6 | 10) | (4, 4) => StatusClass::Hard,
        // 5.1.7 and 5.1.8 are about the sender's address.
        (1 | 6 | 7, _) | (2, 3) | (3, 4) => StatusClass::Block,
        _ => StatusClass::Soft,
    })
}

fn by_words(text: &str) -> Option<StatusClass> {
    let text = text.to_lowercase();
    WORDS
        .iter()
        .find(|(_, words)| words.iter().any(|word| text.contains(word)))
        .map(|(class, _)| *class)
}

fn by_reply_code(text: &str) -> Option<StatusClass> {
    match text.trim_start().get(..3)? {
        "552" | "450" | "451" | "452" | "421" => Some(StatusClass::Soft),
        _ => None,
    }
}

/// The first enhanced status code in a text (`550 5.1.1 no`, `(#5.1.1)`).
pub fn enhanced_code(text: &str) -> Option<String> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .map(|word| word.trim_matches('.'))
        .find(|word| {
            let parts: Vec<&str> = word.split('.').collect();
            parts.len() == 3
                && matches!(parts[0], "2" | "4" | "5")
                && parts[1..].iter().all(|part| (1..=3).contains(&part.len()))
        })
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("5.1.1", "", StatusClass::Hard)]
    #[case("5.1.10", "null MX", StatusClass::Hard)]
    #[case("5.4.4", "", StatusClass::Hard)]
    #[case("5.2.1", "", StatusClass::Soft)]
    #[case("5.2.2", "", StatusClass::Soft)]
    #[case("4.7.1", "expired", StatusClass::Soft)]
    #[case("5.4.7", "", StatusClass::Soft)]
    #[case("5.7.1", "user unknown", StatusClass::Block)]
    #[case("5.7.26", "", StatusClass::Block)]
    #[case("5.3.4", "", StatusClass::Block)]
    #[case("5.1.8", "", StatusClass::Block)]
    #[case("5.0.0", "550 no such user here", StatusClass::Hard)]
    #[case("5.0.0", "550 5.7.1 no", StatusClass::Block)]
    #[case("5.0.0", "554 rejected as spam", StatusClass::Block)]
    #[case("", "552 nope", StatusClass::Soft)]
    #[case("5.0.0", "550 no", StatusClass::Unclear)]
    #[case("4.0.0", "no", StatusClass::Soft)]
    fn classes(#[case] status: &str, #[case] diagnostic: &str, #[case] expect: StatusClass) {
        assert_eq!(class_of_status(status, diagnostic), expect);
    }

    #[rstest]
    #[case("550 5.1.1 no", Some("5.1.1"))]
    #[case("(#5.1.1)", Some("5.1.1"))]
    #[case("from 10.2.3.4 at 5.7", None)]
    #[case("5.7.26.", Some("5.7.26"))]
    fn finds_codes(#[case] text: &str, #[case] expect: Option<&str>) {
        assert_eq!(enhanced_code(text).as_deref(), expect);
    }
}
