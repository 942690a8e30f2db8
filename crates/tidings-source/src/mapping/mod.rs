//! Which of a tenant's tables and columns are which of the logical ones. Names only: no SQL comes from a mapping.

mod column;
mod filter;
mod table;

pub use column::{ColumnMapping, Format, Origin};
pub use filter::{FilterTest, RowFilter, Scalar};
pub use table::{TableMapping, TablePath};

use crate::error::SourceError;
use crate::similarity::{closest, did_you_mean};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr as _;
use tidings_core::campaign::{ColumnKind, LogicalTable, table as logical};

/// Which of a tenant's tables and columns are which. An empty one means that the database uses the logical names itself:
/// then tables and columns that are not there count as not mapped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    try_from = "BTreeMap<String, TableMapping>",
    into = "BTreeMap<String, TableMapping>"
)]
pub struct Mapping {
    tables: BTreeMap<LogicalTable, TableMapping>,
}

impl Mapping {
    /// For a database that uses the logical names itself.
    pub fn identity() -> Self {
        Self::default()
    }

    /// Checks the mapping of each table by itself and against each other.
    ///
    /// # Errors
    /// When a name is not a logical one, a required column is missing, or the parts of keys do not agree.
    pub fn new(tables: BTreeMap<LogicalTable, TableMapping>) -> Result<Self, SourceError> {
        for (table, mapped) in &tables {
            check_columns(*table, mapped)?;
        }
        for (table, mapped) in &tables {
            check_references(*table, mapped, &tables)?;
        }
        Ok(Self { tables })
    }

    /// Whether the database uses the logical names itself.
    pub fn is_identity(&self) -> bool {
        self.tables.is_empty()
    }

    /// The mapping of a table.
    pub fn table(&self, table: LogicalTable) -> Option<&TableMapping> {
        self.tables.get(&table)
    }

    /// The tables that are mapped.
    pub fn tables(&self) -> impl Iterator<Item = (LogicalTable, &TableMapping)> {
        self.tables.iter().map(|(table, mapped)| (*table, mapped))
    }
}

impl TryFrom<BTreeMap<String, TableMapping>> for Mapping {
    type Error = SourceError;
    fn try_from(named: BTreeMap<String, TableMapping>) -> Result<Self, SourceError> {
        let mut tables = BTreeMap::new();
        for (name, mapped) in named {
            let table = LogicalTable::from_str(&name).map_err(|_| {
                let words = LogicalTable::ALL.iter().map(|table| table.as_str());
                let meant = did_you_mean(&closest(&name, words, 2));
                SourceError::mapping(format!(
                    "mapping: there is no logical table \"{}\"{meant}; there are {}",
                    shown(&name),
                    LogicalTable::ALL
                        .iter()
                        .map(|table| table.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                ))
            })?;
            tables.insert(table, mapped);
        }
        Self::new(tables)
    }
}

impl From<Mapping> for BTreeMap<String, TableMapping> {
    fn from(mapping: Mapping) -> Self {
        mapping
            .tables
            .into_iter()
            .map(|(table, mapped)| (table.as_str().to_owned(), mapped))
            .collect()
    }
}

fn check_columns(table: LogicalTable, mapped: &TableMapping) -> Result<(), SourceError> {
    let info = logical(table);
    for (name, column) in &mapped.columns {
        let Some(known) = info.column(name) else {
            let words = info.columns.iter().map(|column| column.name);
            let meant = did_you_mean(&closest(name, words, 2));
            return Err(SourceError::mapping(format!(
                "mapping of {table}: there is no logical column \"{}\"{meant}; there are {}",
                shown(name),
                info.columns
                    .iter()
                    .map(|column| column.name)
                    .collect::<Vec<_>>()
                    .join(", ")
            )));
        };
        column
            .check(known.kind)
            .map_err(|what| SourceError::mapping(format!("mapping of {table}.{name}: {what}")))?;
    }
    let missing: Vec<&str> = info
        .columns
        .iter()
        .filter(|column| column.required && !mapped.columns.contains_key(column.name))
        .map(|column| column.name)
        .collect();
    if !missing.is_empty() {
        return Err(SourceError::mapping(format!(
            "mapping of {table}: {} {} not mapped, but required",
            missing.join(", "),
            if missing.len() == 1 { "is" } else { "are" }
        )));
    }
    for filter in &mapped.filter {
        filter
            .check()
            .map_err(|what| SourceError::mapping(format!("filter of {table}: {what}")))?;
    }
    Ok(())
}

/// A reference has as many columns as the key it refers to.
fn check_references(
    table: LogicalTable,
    mapped: &TableMapping,
    tables: &BTreeMap<LogicalTable, TableMapping>,
) -> Result<(), SourceError> {
    for info in logical(table)
        .columns
        .iter()
        .filter(|info| info.kind == ColumnKind::Key)
    {
        let (Some(target), Some(column)) = (info.refers_to, mapped.columns.get(info.name)) else {
            continue;
        };
        let key = tables
            .get(&target)
            .and_then(|other| other.columns.get(logical(target).key()));
        let Some(key) = key else { continue };
        let (ours, theirs) = (column.parts().len(), key.parts().len());
        if ours != theirs {
            return Err(SourceError::mapping(format!(
                "mapping of {table}.{}: it names {ours} column(s), but the key of {target} has {theirs}; name as many, in the same order",
                info.name
            )));
        }
    }
    Ok(())
}

/// A name for a message: not longer than a line.
pub(crate) fn shown(name: &str) -> String {
    name.chars()
        .filter(|letter| !letter.is_control())
        .take(64)
        .collect()
}

/// A name of the tenant's database as it may stand in a mapping.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > 256 || name.contains('\0') {
        return Err(format!(
            "\"{}\" is no name of a table or column (1 to 256 bytes)",
            shown(name)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn parse(text: &str) -> Result<Mapping, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    const GOOD: &str = r#"
        [customers]
        table = "dms.KUNDEN"
        filter = [{ column = "GELOESCHT", not_equals = "J" }, { column = "MANDANT", one_of = [1, 2] }]
        [customers.columns]
        customer_id = ["MANDANT", "KDNR"]
        first_name = { expression = "NAME|split(',')|last|trim" }
        opt_out_email = { column = "KEINE_MAIL", values = { "J" = "true", "N" = "false" } }
        created_at = { column = "ANGELEGT", format = "%d.%m.%Y", zone = "Europe/Berlin" }
        [sales]
        table = ["odd.schema", "odd.table"]
        columns = { sale_id = "id", customer_id = ["m", "k"], date_sold = "am" }
    "#;

    #[test]
    fn every_way_to_name_columns_is_read_and_written_back() {
        let mapping = parse(GOOD).unwrap();
        let again: Mapping = toml::from_str(&toml::to_string(&mapping).unwrap()).unwrap();
        assert_eq!(again, mapping);
        let again: Mapping = serde_json::from_str(&serde_json::to_string(&mapping).unwrap()).unwrap();
        assert_eq!(again, mapping);
        let customers = mapping.table(LogicalTable::Customers).unwrap();
        assert_eq!(customers.columns["customer_id"].parts(), ["MANDANT", "KDNR"]);
        assert_eq!(customers.table.to_string(), "dms.KUNDEN");
        assert!(parse("").unwrap().is_identity());
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_meant() {
        let wrong = [
            (
                "[custommers]\ntable = \"a\"\ncolumns = {}",
                "did you mean customers?",
            ),
            (
                "[customers]\ntable = \"a\"\ncolumns = { customer_id = \"a\", fist_name = \"b\" }",
                "did you mean first_name",
            ),
            (
                "[sales]\ntable = \"a\"\ncolumns = { sale_id = \"a\" }",
                "customer_id, date_sold are not mapped",
            ),
            (
                "[customers]\ntable = \"\"\ncolumns = { customer_id = \"a\" }",
                "no name of a table",
            ),
            (
                "[customers]\ntable = \"a\"\nwhere = \"1=1\"\ncolumns = { customer_id = \"a\" }",
                "unknown field",
            ),
            (
                "[customers]\ntable = \"a\"\ncolumns = { customer_id = \"a\", email = { colunm = \"b\" } }",
                "unknown field",
            ),
            (
                "[customers]\ntable = \"a\"\ncolumns = { customer_id = \"a\", email = [\"b\", \"c\"] }",
                "one column",
            ),
            (
                "[customers]\ntable = \"a\"\ncolumns = { customer_id = { expression = \"a ~ b\" } }",
                "a key",
            ),
            (
                "[customers]\ntable = \"a\"\ncolumns = { customer_id = \"a\", email = { expression = \"a ~\" } }",
                "expression",
            ),
            (
                "[customers]\ntable = \"a\"\ncolumns = { customer_id = \"a\", created_at = { column = \"b\", format = \"%!\" } }",
                "format",
            ),
            (
                "[customers]\ntable = \"a\"\ncolumns = { customer_id = \"a\", email = { column = \"b\", scale = 2.0 } }",
                "scale",
            ),
            (
                "[customers]\ntable = \"a\"\nfilter = [{ column = \"b\" }]\ncolumns = { customer_id = \"a\" }",
                "exactly one of",
            ),
            (
                "[customers]\ntable = \"a\"\ncolumns = { customer_id = [\"a\", \"b\"] }\n[sales]\ntable = \"s\"\ncolumns = { sale_id = \"a\", customer_id = \"c\", date_sold = \"d\" }",
                "as many",
            ),
        ];
        for (text, expected) in wrong {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}\n{error}");
        }
    }
}
