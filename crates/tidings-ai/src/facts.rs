//! What is known of one row: the only source of figures, dates, links and names of a draft.

use crate::figure::Figure;
use jiff::civil::Date;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Facts of one row; more would not help a text of 250 words.
pub const MOST_FACTS: usize = 64;
/// Characters of one fact.
pub const LONGEST_FACT: usize = 1000;
/// Characters of a fact's name.
const LONGEST_NAME: usize = 64;

/// One value of the row, with what it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Fact {
    /// Words: a product, a model, a place, an offer. Figures and dates in it may be repeated; links and addresses may
    /// not, because such texts are often written by strangers.
    Text(String),
    /// A person's name.
    Name(String),
    /// A count or measure: hours, years, a number of visits. It does not allow an amount of money or a percentage.
    Number(Figure),
    /// A share in hundredths, such as a discount.
    Percent(Figure),
    /// An amount of money.
    Money {
        /// How much.
        amount: Figure,
        /// ISO 4217 code.
        currency: String,
    },
    /// A day.
    Date(Date),
    /// A link the reader may follow.
    Link(String),
    /// An e-mail address or telephone number that may be written out.
    Contact(String),
}

impl Fact {
    /// The word for what it is, as the model reads it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Name(_) => "name",
            Self::Number(_) => "number",
            Self::Percent(_) => "percent",
            Self::Money { .. } => "money",
            Self::Date(_) => "date",
            Self::Link(_) => "link",
            Self::Contact(_) => "contact",
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Text(text) | Self::Name(text) | Self::Link(text) | Self::Contact(text) => json!(text),
            Self::Number(figure) | Self::Percent(figure) => json!(figure.as_str()),
            Self::Money { amount, currency } => json!({ "amount": amount.as_str(), "currency": currency }),
            Self::Date(day) => json!(day.to_string()),
        }
    }

    fn problem(&self) -> Option<&'static str> {
        let text = match self {
            Self::Text(text) | Self::Name(text) | Self::Link(text) | Self::Contact(text) => text,
            Self::Money { currency, .. } => {
                let code = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
                return (!code).then_some("the currency is not an ISO 4217 code of three capital letters");
            }
            Self::Number(_) | Self::Percent(_) | Self::Date(_) => return None,
        };
        let web = text.starts_with("https://") || text.starts_with("http://");
        if text.trim().is_empty() {
            Some("it is empty; leave the fact out")
        } else if text.chars().count() > LONGEST_FACT {
            Some("it is longer than 1000 characters")
        } else if matches!(self, Self::Link(_)) && (!web || text.contains(char::is_whitespace)) {
            Some("a link starts with https:// or http:// and holds no blank")
        } else {
            None
        }
    }
}

/// Personal data: only what it is.
impl fmt::Debug for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fact::{}([private])", self.kind())
    }
}

/// A fact that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// The name is not a plain word.
    #[error("a fact's name is 1 to 64 lower-case letters, digits and underscores; got {0:?}")]
    Name(String),
    /// The value is not what its kind promises.
    #[error("the fact {name} cannot be used: {problem}")]
    Value {
        /// Which fact.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Too many.
    #[error("a draft takes at most 64 facts")]
    TooMany,
}

/// The facts of one row, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(BTreeMap<String, Fact>);

impl Facts {
    /// No facts yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fact, or replaces the one of that name.
    pub fn set(&mut self, name: &str, fact: Fact) -> Result<(), FactsError> {
        let form = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(form) {
            return Err(FactsError::Name(name.chars().take(LONGEST_NAME).collect()));
        }
        if let Some(problem) = fact.problem() {
            let name = name.to_owned();
            return Err(FactsError::Value { name, problem });
        }
        if self.0.len() >= MOST_FACTS && !self.0.contains_key(name) {
            return Err(FactsError::TooMany);
        }
        self.0.insert(name.to_owned(), fact);
        Ok(())
    }

    /// The fact of that name.
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.0.get(name)
    }

    /// Every fact, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.0.iter().map(|(name, fact)| (name.as_str(), fact))
    }

    /// As the model gets them: `{"name": {"kind": .., "value": ..}}`.
    pub(crate) fn to_json(&self) -> Value {
        let entries = self.iter().map(|(name, fact)| {
            (
                name.to_owned(),
                json!({ "kind": fact.kind(), "value": fact.value() }),
            )
        });
        Value::Object(entries.collect::<Map<_, _>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_its_kind_does_not_promise() {
        let mut facts = Facts::new();
        let wrong = [
            ("Name", Fact::Text("x".into())),
            ("", Fact::Text("x".into())),
            ("a", Fact::Text(" ".into())),
            ("a", Fact::Text("x".repeat(1001))),
            ("a", Fact::Link("ftp://example.com".into())),
            ("a", Fact::Link("https://example.com/a b".into())),
            (
                "a",
                Fact::Money {
                    amount: Figure::from(5),
                    currency: "euro".into(),
                },
            ),
        ];
        for (name, fact) in wrong {
            assert!(facts.set(name, fact.clone()).is_err(), "{name} {}", fact.kind());
        }
        assert_eq!(facts, Facts::new());
    }

    #[test]
    fn there_are_at_most_64() {
        let mut facts = Facts::new();
        for index in 0..MOST_FACTS {
            facts
                .set(&format!("f{index}"), Fact::Number(Figure::from(1)))
                .expect("fits");
        }
        assert_eq!(
            facts.set("more", Fact::Number(Figure::from(1))),
            Err(FactsError::TooMany)
        );
        assert_eq!(facts.set("f0", Fact::Number(Figure::from(2))), Ok(()));
    }

    #[test]
    fn debug_shows_no_value() {
        let mut facts = Facts::new();
        facts
            .set("customer", Fact::Name("Anna Smith".into()))
            .expect("fits");
        let shown = format!("{facts:?}");
        assert!(shown.contains("customer") && !shown.contains("Anna"), "{shown}");
    }
}
