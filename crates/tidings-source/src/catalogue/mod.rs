//! What a database says about itself: tables, views, columns, keys and indexes.

mod mysql;
mod postgresql;
mod sqlite;

use crate::database::{Budget, Database, Raw, RawRow};
use crate::error::SourceError;
use crate::settings::SourceKind;
use serde::Serialize;
use std::collections::HashMap;
use tidings_core::word_enum;

/// More tables than this are not listed.
pub const MOST_TABLES: usize = 5_000;
/// More columns than this are not listed.
pub const MOST_COLUMNS: usize = 100_000;
const MOST_INDEX_COLUMNS: usize = 100_000;
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// What a database says about itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Catalogue {
    /// The kind of database.
    pub kind: SourceKind,
    /// Where tables without a schema are looked for.
    pub default_schema: String,
    /// Tables and views, by schema and name.
    pub tables: Vec<CatalogueTable>,
    /// There are more tables or columns than are listed.
    pub truncated: bool,
}

/// A table or view.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CatalogueTable {
    /// Its schema (PostgreSQL), database (MySQL) or `main` (SQLite).
    pub schema: String,
    /// Its name.
    pub name: String,
    /// It is a view.
    pub view: bool,
    /// The account of the source may read it, or some columns of it.
    pub readable: bool,
    /// How many rows the database believes there are.
    pub approximate_rows: Option<u64>,
    /// Its columns, in order.
    pub columns: Vec<CatalogueColumn>,
    /// The columns of its primary key, in order.
    pub primary_key: Vec<String>,
    /// The columns of each unique index, in order.
    pub unique: Vec<Vec<String>>,
    /// The first columns of indexes.
    pub indexed: Vec<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CatalogueColumn {
    /// Its name.
    pub name: String,
    /// Its type as the database writes it.
    pub data_type: String,
    /// What kind of type that is.
    pub class: TypeClass,
    /// It may hold nothing.
    pub nullable: bool,
    /// Texts that differ in case alone may count as the same.
    pub ignores_case: bool,
    /// What a parameter is cast to when compared with it; without lengths, which would cut it.
    #[serde(skip)]
    pub(crate) cast: String,
}

word_enum! {
    /// What kind of type a column has, as far as reading is concerned.
    pub enum TypeClass {
        /// Text.
        Text = "text",
        /// Whole numbers.
        Integer = "integer",
        /// Exact numbers.
        Decimal = "decimal",
        /// Inexact numbers.
        Float = "float",
        /// Yes or no.
        Boolean = "boolean",
        /// Days.
        Date = "date",
        /// Days and times without a zone.
        LocalTime = "local_time",
        /// Points in time.
        Instant = "instant",
        /// A UUID of a type of its own.
        Uuid = "uuid",
        /// Bits.
        Bits = "bits",
        /// Bytes.
        Binary = "binary",
        /// Anything else.
        Other = "other",
    }
}

/// Which tables are described.
pub(crate) enum Scope<'a> {
    All,
    /// Those of these names (in any case, in any schema).
    Named(&'a [String]),
}

/// Asks the database.
pub(crate) async fn read(database: &Database, scope: Scope<'_>) -> Result<Catalogue, SourceError> {
    let mut catalogue = match database.access().kind() {
        SourceKind::Postgresql => postgresql::read(database, &scope).await?,
        SourceKind::Mysql => mysql::read(database, &scope).await?,
        SourceKind::Sqlite => sqlite::read(database, &scope).await?,
    };
    if let Some(schema) = &database.access().schema {
        catalogue.default_schema.clone_from(schema);
    }
    Ok(catalogue)
}

impl Catalogue {
    /// The table of a name: exactly, else the only one that differs in case alone.
    pub fn table(&self, schema: Option<&str>, name: &str) -> Option<&CatalogueTable> {
        let schema = schema.unwrap_or(&self.default_schema);
        let exact = self
            .tables
            .iter()
            .find(|table| table.schema == schema && table.name == name);
        exact.or_else(|| {
            only(self.tables.iter().filter(|table| {
                table.schema.eq_ignore_ascii_case(schema) && table.name.eq_ignore_ascii_case(name)
            }))
        })
    }
}

impl CatalogueTable {
    /// The column of a name: exactly, else the only one that differs in case alone.
    pub fn column(&self, name: &str) -> Option<&CatalogueColumn> {
        let exact = self.columns.iter().find(|column| column.name == name);
        exact.or_else(|| {
            only(
                self.columns
                    .iter()
                    .filter(|column| column.name.to_lowercase() == name.to_lowercase()),
            )
        })
    }

    /// Whether no two rows can have the same values in these columns.
    pub fn is_unique(&self, columns: &[&str]) -> bool {
        let within = |key: &Vec<String>| {
            !key.is_empty() && key.iter().all(|column| columns.contains(&column.as_str()))
        };
        within(&self.primary_key) || self.unique.iter().any(within)
    }

    /// Whether an index begins with this column.
    pub fn is_indexed(&self, column: &str) -> bool {
        self.indexed.iter().any(|one| one == column)
            || self.primary_key.first().is_some_and(|one| one == column)
    }

    /// Its name with the schema where that is not the default one.
    pub fn shown(&self, default_schema: &str) -> String {
        if self.schema == default_schema {
            self.name.clone()
        } else {
            format!("{}.{}", self.schema, self.name)
        }
    }
}

fn only<'a, T>(mut found: impl Iterator<Item = &'a T>) -> Option<&'a T> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Puts tables, columns and indexes together.
struct Gathered {
    tables: Vec<CatalogueTable>,
    places: HashMap<(String, String), usize>,
    truncated: bool,
}

impl Gathered {
    fn new(mut tables: Vec<CatalogueTable>, cut: bool) -> Self {
        tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
        let places = tables
            .iter()
            .enumerate()
            .map(|(place, table)| ((table.schema.clone(), table.name.clone()), place))
            .collect();
        Self {
            tables,
            places,
            truncated: cut,
        }
    }

    fn table(&mut self, schema: &str, name: &str) -> Option<&mut CatalogueTable> {
        let place = *self.places.get(&(schema.to_owned(), name.to_owned()))?;
        self.tables.get_mut(place)
    }

    /// Indexes in order: schema, table, index, primary, unique, column (none for an expression).
    fn indexes(&mut self, rows: &[RawRow]) {
        let mut from = 0;
        while from < rows.len() {
            let same = |row: &RawRow| (0..3).all(|place| row[place] == rows[from][place]);
            let to = from + rows[from..].iter().take_while(|row| same(row)).count();
            self.index(&rows[from..to]);
            from = to;
        }
    }

    fn index(&mut self, rows: &[RawRow]) {
        let head = &rows[0];
        let (primary, unique) = (yes(&head[3]), yes(&head[4]));
        let columns: Option<Vec<String>> = rows.iter().map(|row| row[5].text().map(str::to_owned)).collect();
        let Some(table) = self.table(word(head, 0), word(head, 1)) else {
            return;
        };
        if let Some(first) = head[5].text()
            && !table.indexed.iter().any(|one| one == first)
        {
            table.indexed.push(first.to_owned());
        }
        // One with an expression says nothing about its columns alone.
        if let Some(columns) = columns {
            if primary {
                table.primary_key = columns;
            } else if unique {
                table.unique.push(columns);
            }
        }
    }
}

fn budget(rows: usize) -> Budget {
    Budget {
        rows,
        bytes: MOST_BYTES,
    }
}

fn word(row: &RawRow, place: usize) -> &str {
    row.get(place).and_then(Raw::text).unwrap_or("")
}

fn yes(raw: &Raw) -> bool {
    matches!(raw.text(), Some("1" | "t" | "true" | "YES"))
}
