//! Which rows of a table are seen at all.

use super::check_name;
use serde::{Deserialize, Serialize};

const MOST_VALUES: usize = 500;

/// A condition on a column of the tenant's: rows that fail it are not seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowFilter {
    /// The tenant's column.
    pub column: String,
    /// It holds this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Scalar>,
    /// It holds something else, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_equals: Option<Scalar>,
    /// It holds one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<Scalar>,
    /// It holds none of these, or nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub none_of: Vec<Scalar>,
    /// It holds nothing (`true`), or something (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_null: Option<bool>,
}

/// What a filter asks.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterTest<'a> {
    /// It holds one of these.
    OneOf(&'a [Scalar]),
    /// It holds none of these, or nothing.
    NoneOf(&'a [Scalar]),
    /// It holds nothing.
    Null,
    /// It holds something.
    NotNull,
}

/// A value in a filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
}

impl RowFilter {
    /// What it asks; none when it asks nothing or several things.
    pub fn test(&self) -> Option<FilterTest<'_>> {
        let given = [
            self.equals.is_some(),
            self.not_equals.is_some(),
            !self.one_of.is_empty(),
            !self.none_of.is_empty(),
            self.is_null.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            return None;
        }
        if let Some(value) = &self.equals {
            return Some(FilterTest::OneOf(std::slice::from_ref(value)));
        }
        if let Some(value) = &self.not_equals {
            return Some(FilterTest::NoneOf(std::slice::from_ref(value)));
        }
        match self.is_null {
            Some(true) => Some(FilterTest::Null),
            Some(false) => Some(FilterTest::NotNull),
            None if self.one_of.is_empty() => Some(FilterTest::NoneOf(&self.none_of)),
            None => Some(FilterTest::OneOf(&self.one_of)),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        check_name(&self.column)?;
        match self.test() {
            None => Err(format!(
                "column {} needs exactly one of equals, not_equals, one_of, none_of and is_null",
                super::shown(&self.column)
            )),
            Some(FilterTest::OneOf(values) | FilterTest::NoneOf(values)) if values.len() > MOST_VALUES => {
                Err(format!("a list holds at most {MOST_VALUES} values"))
            }
            Some(_) => Ok(()),
        }
    }
}
