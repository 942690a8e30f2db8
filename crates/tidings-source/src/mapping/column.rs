//! Where the value of a logical column comes from, and how it is written there.

use super::check_name;
use crate::{expression, settings};
use serde::{Deserialize, Serialize, de};
use std::collections::BTreeMap;
use std::fmt;
use tidings_core::campaign::ColumnKind;

/// More columns than this make no key.
const LONGEST_KEY: usize = 8;
const MOST_VALUES: usize = 1000;

/// Where the value of a logical column comes from, and how it is written there.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnMapping {
    /// Where it comes from.
    pub origin: Origin,
    /// What stands there, and what it means. Compared exactly; a value that is not listed stays as it is.
    pub values: BTreeMap<String, String>,
    /// How a date or instant is written.
    pub format: Option<Format>,
    /// The zone of times without one; else the source's.
    pub zone: Option<String>,
    /// What a number is multiplied with: 0.01 for amounts in cents.
    pub scale: Option<f64>,
}

/// Where the value of a logical column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A column, or several for a key.
    Columns(Vec<String>),
    /// An expression over the columns of the table, evaluated after reading; it never becomes SQL.
    Expression(String),
}

/// How a date or instant is written, where it is not ISO 8601.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Format {
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
    /// A pattern such as `%d.%m.%Y`.
    Pattern(String),
}

impl TryFrom<String> for Format {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "epoch_s" => Ok(Self::EpochSeconds),
            "epoch_ms" => Ok(Self::EpochMillis),
            pattern if pattern.contains('%') && pattern.len() <= 64 => {
                let sample = jiff::civil::date(2000, 1, 2)
                    .at(3, 4, 5, 0)
                    .to_zoned(jiff::tz::TimeZone::UTC);
                let known = sample.is_ok_and(|sample| {
                    jiff::fmt::strtime::format(pattern, &sample)
                        .is_ok_and(|written| jiff::fmt::strtime::parse(pattern, written).is_ok())
                });
                if known {
                    Ok(Self::Pattern(text))
                } else {
                    Err(format!("format \"{pattern}\" is not understood; {FORMATS}"))
                }
            }
            _ => Err(format!("format is not understood; {FORMATS}")),
        }
    }
}

const FORMATS: &str = "use epoch_s, epoch_ms or a pattern such as %d.%m.%Y or %Y%m%d %H:%M";

impl From<Format> for String {
    fn from(format: Format) -> Self {
        match format {
            Format::EpochSeconds => "epoch_s".into(),
            Format::EpochMillis => "epoch_ms".into(),
            Format::Pattern(pattern) => pattern,
        }
    }
}

impl ColumnMapping {
    /// A column as it stands there.
    pub fn column(name: impl Into<String>) -> Self {
        Self::of(Origin::Columns(vec![name.into()]))
    }

    /// The columns of a key.
    pub fn key<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::of(Origin::Columns(names.into_iter().map(Into::into).collect()))
    }

    /// An expression.
    pub fn expression(text: impl Into<String>) -> Self {
        Self::of(Origin::Expression(text.into()))
    }

    fn of(origin: Origin) -> Self {
        Self {
            origin,
            values: BTreeMap::new(),
            format: None,
            zone: None,
            scale: None,
        }
    }

    /// The columns named; none of an expression.
    pub fn parts(&self) -> &[String] {
        match &self.origin {
            Origin::Columns(names) => names,
            Origin::Expression(_) => &[],
        }
    }

    /// Whether the column is taken as it stands there.
    pub fn is_plain(&self) -> bool {
        matches!(&self.origin, Origin::Columns(names) if names.len() == 1)
            && self.values.is_empty()
            && self.format.is_none()
            && self.scale.is_none()
    }

    /// Whether it can be a column of this kind.
    pub(super) fn check(&self, kind: ColumnKind) -> Result<(), String> {
        match &self.origin {
            Origin::Columns(names) if kind == ColumnKind::Key => {
                if names.is_empty() || names.len() > LONGEST_KEY {
                    return Err(format!("a key is 1 to {LONGEST_KEY} columns"));
                }
            }
            Origin::Columns(names) if names.len() != 1 => {
                return Err(
                    "it comes from one column; only keys are lists, and an expression joins several".into(),
                );
            }
            Origin::Columns(_) => {}
            Origin::Expression(text) => expression::check(text)?,
        }
        self.parts().iter().try_for_each(|name| check_name(name))?;
        if kind == ColumnKind::Key && (self.parts().is_empty() || !self.written_plainly()) {
            return Err("a key is a column or a list of columns, as they stand there".into());
        }
        let moment = matches!(kind, ColumnKind::Date | ColumnKind::Instant);
        if !moment && (self.format.is_some() || self.zone.is_some()) {
            return Err("format and zone are for dates and instants".into());
        }
        if kind != ColumnKind::Number && self.scale.is_some() {
            return Err("scale is for numbers".into());
        }
        if self.scale.is_some_and(|scale| !scale.is_finite() || scale == 0.0) {
            return Err("scale is a number that is not 0".into());
        }
        if self.values.len() > MOST_VALUES {
            return Err(format!("values holds at most {MOST_VALUES}"));
        }
        if let Some(zone) = &self.zone {
            settings::zone(zone).map_err(|error| error.message)?;
        }
        Ok(())
    }

    fn written_plainly(&self) -> bool {
        self.values.is_empty() && self.format.is_none() && self.zone.is_none() && self.scale.is_none()
    }
}

/// The long form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expression: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scale: Option<f64>,
}

impl Serialize for ColumnMapping {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let (Origin::Columns(names), true) = (&self.origin, self.written_plainly()) {
            return match names.as_slice() {
                [name] => name.serialize(serializer),
                names => names.serialize(serializer),
            };
        }
        let (column, expression) = match &self.origin {
            Origin::Columns(names) => (names.first().cloned(), None),
            Origin::Expression(text) => (None, Some(text.clone())),
        };
        Table {
            column,
            expression,
            values: self.values.clone(),
            format: self.format.clone(),
            zone: self.zone.clone(),
            scale: self.scale,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ColumnMapping {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms)
    }
}

/// Reads the three forms; unlike an untagged enum it says what is wrong within the long one.
struct Forms;

impl<'de> de::Visitor<'de> for Forms {
    type Value = ColumnMapping;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a column's name, a list of names (for a key), or { column = ... } or { expression = ... }",
        )
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<ColumnMapping, E> {
        Ok(ColumnMapping::column(name))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, names: A) -> Result<ColumnMapping, A::Error> {
        let names = Vec::<String>::deserialize(de::value::SeqAccessDeserializer::new(names))?;
        Ok(ColumnMapping::key(names))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, fields: A) -> Result<ColumnMapping, A::Error> {
        let table = Table::deserialize(de::value::MapAccessDeserializer::new(fields))?;
        let origin = match (table.column, table.expression) {
            (Some(name), None) => Origin::Columns(vec![name]),
            (None, Some(text)) => Origin::Expression(text),
            _ => return Err(de::Error::custom("give either column or expression")),
        };
        Ok(ColumnMapping {
            origin,
            values: table.values,
            format: table.format,
            zone: table.zone,
            scale: table.scale,
        })
    }
}
