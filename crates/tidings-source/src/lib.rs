//! A tenant's own operational database, read only: PostgreSQL, MySQL and MariaDB, SQLite.
//!
//! ```text
//! SourceSettings -> Source ──introspect──> Catalogue ─┐
//! Mapping ───────────┘                                 ├─> plan: which columns are read, how they become cells
//! Definition, bounds ──pages──> Page of Rows  <────────┘
//! ```
//!
//! A mapping names tables and columns, never SQL: names are looked up in the catalogue and quoted, values are bound. Every
//! value leaves the database as text and is read here, so that a zero date or a word in a column of numbers makes one
//! malformed cell, not a failed page. A page costs one query for its rows and one for each kind of thing that belongs to
//! them.

mod catalogue;
mod cell;
mod check;
mod customers;
mod database;
pub mod demo;
mod dialect;
mod error;
mod expression;
mod filters;
mod key;
mod mapping;
mod pages;
mod plan;
mod related;
mod session;
mod settings;
mod similarity;
mod source;
mod statement;
mod suggest;

pub use catalogue::{Catalogue, CatalogueColumn, CatalogueTable, MOST_COLUMNS, MOST_TABLES, TypeClass};
pub use check::{ColumnCheck, MappingCheck, MissingName, TableCheck, check_mapping};
pub use error::{SourceError, SourceErrorCategory};
pub use mapping::{
    ColumnMapping, FilterTest, Format, Mapping, Origin, RowFilter, Scalar, TableMapping, TablePath,
};
pub use pages::{Page, Pages};
pub use settings::{Access, SourceKind, SourceSettings, Tls};
pub use source::Source;
pub use suggest::suggest_mapping;
