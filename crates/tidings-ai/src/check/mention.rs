//! What a text mentions that must be known.

use super::finding::FindingCode;
use crate::figure::Figure;

/// A day, as far as it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NamedDate {
    pub year: Option<i16>,
    pub month: i8,
    pub day: Option<i8>,
}

/// One mention. A figure that cannot be read is `None` and matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mention {
    /// With scheme, or without.
    Link(String),
    /// In lower case; also an account name with `@`.
    Email(String),
    /// Digits only.
    Phone(String),
    Day(NamedDate),
    /// Monday is 0.
    Weekday(i8),
    /// Hour and minute.
    Time(u8, u8),
    /// The codes that the sign may mean.
    Money(Option<Figure>, &'static [&'static str]),
    Percent(Option<Figure>),
    /// A bare figure taken off a price.
    Discount(Option<Figure>),
    Number(Option<Figure>),
}

impl Mention {
    pub const fn code(&self) -> FindingCode {
        match self {
            Self::Link(_) => FindingCode::UnknownLink,
            Self::Email(_) => FindingCode::UnknownEmail,
            Self::Phone(_) => FindingCode::UnknownPhone,
            Self::Day(_) | Self::Weekday(_) => FindingCode::UnknownDate,
            Self::Time(..) => FindingCode::UnknownTime,
            Self::Money(..) => FindingCode::UnknownAmount,
            Self::Percent(_) | Self::Discount(_) => FindingCode::UnknownPercentage,
            Self::Number(_) => FindingCode::UnknownNumber,
        }
    }
}

/// A mention and how it is written.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub mention: Mention,
    pub excerpt: String,
    /// Words directly beside a plain number, without little ones: what it counts or belongs to.
    pub beside: Vec<String>,
}

impl Spot {
    pub fn new(mention: Mention, excerpt: String) -> Self {
        Self {
            mention,
            excerpt,
            beside: Vec::new(),
        }
    }
}
