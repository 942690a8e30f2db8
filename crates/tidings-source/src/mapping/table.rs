//! The mapping of one table.

use super::check_name;
use super::column::ColumnMapping;
use super::filter::RowFilter;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Which table or view it is, and what its columns are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableMapping {
    /// The tenant's table or view.
    pub table: TablePath,
    /// Logical names, and where their values come from.
    pub columns: BTreeMap<String, ColumnMapping>,
    /// Only rows that pass all of these are seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<RowFilter>,
}

/// The name of a table: `table`, `schema.table`, or its parts where a name holds a dot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct TablePath {
    /// The schema; else the default one.
    pub schema: Option<String>,
    /// The table or view.
    pub name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a table is written \"table\", \"schema.table\" or [\"schema\", \"table\"]"
)]
enum Written {
    Name(String),
    Parts(Vec<String>),
}

impl TryFrom<Written> for TablePath {
    type Error = String;
    fn try_from(written: Written) -> Result<Self, String> {
        let (schema, name) = match written {
            Written::Name(name) => match name.split_once('.') {
                Some((schema, table)) => (Some(schema.to_owned()), table.to_owned()),
                None => (None, name),
            },
            Written::Parts(parts) => match <[String; 2]>::try_from(parts) {
                Ok([schema, name]) => (Some(schema), name),
                Err(parts) if parts.len() == 1 => (None, parts[0].clone()),
                Err(_) => {
                    return Err(
                        "a table is written \"table\", \"schema.table\" or [\"schema\", \"table\"]".into(),
                    );
                }
            },
        };
        check_name(&name)?;
        schema.as_deref().map_or(Ok(()), check_name)?;
        Ok(Self { schema, name })
    }
}

impl From<TablePath> for Written {
    fn from(path: TablePath) -> Self {
        match path.schema {
            Some(schema) if schema.contains('.') || path.name.contains('.') => {
                Self::Parts(vec![schema, path.name])
            }
            Some(schema) => Self::Name(format!("{schema}.{}", path.name)),
            None if path.name.contains('.') => Self::Parts(vec![path.name]),
            None => Self::Name(path.name),
        }
    }
}

impl fmt::Display for TablePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}
