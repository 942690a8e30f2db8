//! A mapping that was found in the catalogue: which columns are read, and how they become cells.

use crate::catalogue::{Catalogue, CatalogueColumn, CatalogueTable, TypeClass};
use crate::cell::{self, Writing};
use crate::database::{Raw, RawRow};
use crate::error::{SourceError, SourceErrorCategory};
use crate::expression::{self, Compiled};
use crate::mapping::{ColumnMapping, Mapping, Origin, RowFilter, TableMapping, TablePath};
use crate::settings::{self, SourceKind};
use crate::similarity::{closest, did_you_mean};
use crate::{filters, key, statement};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_core::campaign::{Cell, ColumnInfo, ColumnKind, Columns, LogicalTable, table as logical};

/// A column of the tenant's that is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Physical {
    pub(crate) name: String,
    /// Quoted, of the table `t`.
    pub(crate) quoted: String,
    pub(crate) class: TypeClass,
    pub(crate) cast: String,
    pub(crate) nullable: bool,
    pub(crate) ignores_case: bool,
    /// It is part of a key, so bytes are read as hexadecimal digits, and an empty text is not nothing.
    pub(crate) of_key: bool,
}

/// Where a logical column's value comes from.
#[derive(Debug)]
pub(crate) enum From {
    Key(Vec<usize>),
    Column(usize),
    /// With the columns it names.
    Expression(Compiled, Vec<(usize, String)>),
}

/// A logical column and how it is read.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) info: &'static ColumnInfo,
    pub(crate) from: From,
    pub(crate) writing: Writing,
    /// It is a column as it stands there, so the database can compare it.
    pub(crate) plain: bool,
}

/// A logical table, found in the tenant's database.
#[derive(Debug)]
pub(crate) struct TablePlan {
    pub(crate) table: LogicalTable,
    pub(crate) kind: SourceKind,
    /// Quoted, with its schema, known as `t`.
    pub(crate) sql: String,
    /// For messages: "customers (dms.KUNDEN)".
    pub(crate) shown: String,
    pub(crate) physical: Vec<Physical>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) columns: Arc<Columns>,
    /// Places of the key's parts in `physical`.
    pub(crate) key: Vec<usize>,
    /// The database keeps two rows from having the same key.
    pub(crate) key_unique: bool,
    /// The database finds the next key without sorting everything.
    pub(crate) key_indexed: bool,
    pub(crate) filters: Vec<(Physical, RowFilter)>,
}

/// A mapping that was found, table by table.
#[derive(Debug)]
pub(crate) struct Plan {
    tables: BTreeMap<LogicalTable, Result<Arc<TablePlan>, SourceError>>,
}

impl Default for Physical {
    fn default() -> Self {
        Self {
            name: String::new(),
            quoted: String::new(),
            class: TypeClass::Text,
            cast: String::new(),
            nullable: false,
            ignores_case: false,
            of_key: false,
        }
    }
}

impl Plan {
    pub(crate) fn resolve(catalogue: &Catalogue, mapping: &Mapping, zone: &TimeZone) -> Self {
        let assumed;
        let mapping = if mapping.is_identity() {
            assumed = assume(catalogue);
            &assumed
        } else {
            mapping
        };
        let tables = mapping
            .tables()
            .map(|(table, mapped)| {
                (
                    table,
                    TablePlan::resolve(catalogue, table, mapped, zone).map(Arc::new),
                )
            })
            .collect();
        Self { tables }
    }

    /// The table, none when it is not mapped.
    pub(crate) fn table(&self, table: LogicalTable) -> Result<Option<&Arc<TablePlan>>, SourceError> {
        match self.tables.get(&table) {
            None => Ok(None),
            Some(Ok(plan)) => Ok(Some(plan)),
            Some(Err(error)) => Err(error.clone()),
        }
    }

    /// The table, which must be there.
    pub(crate) fn required(&self, table: LogicalTable) -> Result<&Arc<TablePlan>, SourceError> {
        self.table(table)?.ok_or_else(|| {
            SourceError::new(
                SourceErrorCategory::MissingTable,
                format!("the mapping of the source names no table for {table}; add [mapping.{table}]"),
            )
        })
    }
}

/// What a mapping of the logical names themselves would be; tables that lack a required column are left out.
pub(crate) fn assume(catalogue: &Catalogue) -> Mapping {
    let mut tables = BTreeMap::new();
    for table in LogicalTable::ALL {
        let Some(found) = catalogue.table(None, table.as_str()) else {
            continue;
        };
        let columns: BTreeMap<String, ColumnMapping> = logical(*table)
            .columns
            .iter()
            .filter_map(|info| {
                let column = found.column(info.name)?;
                Some((info.name.to_owned(), ColumnMapping::column(column.name.clone())))
            })
            .collect();
        let path = TablePath {
            schema: None,
            name: found.name.clone(),
        };
        tables.insert(
            *table,
            TableMapping {
                table: path,
                columns,
                filter: Vec::new(),
            },
        );
    }
    while let Err(()) = drop_incomplete(&mut tables) {}
    // What was assembled here keeps the rules; an empty mapping is the only other answer.
    Mapping::new(tables).unwrap_or_default()
}

fn drop_incomplete(tables: &mut BTreeMap<LogicalTable, TableMapping>) -> Result<(), ()> {
    let incomplete = tables.iter().find_map(|(table, mapped)| {
        let lacks = logical(*table)
            .columns
            .iter()
            .any(|info| info.required && !mapped.columns.contains_key(info.name));
        lacks.then_some(*table)
    });
    match incomplete {
        None => Ok(()),
        Some(table) => {
            tables.remove(&table);
            Err(())
        }
    }
}

impl TablePlan {
    fn resolve(
        catalogue: &Catalogue,
        table: LogicalTable,
        mapped: &TableMapping,
        zone: &TimeZone,
    ) -> Result<Self, SourceError> {
        let found = find_table(catalogue, table, mapped)?;
        let kind = catalogue.kind;
        let shown = format!("{table} ({})", found.shown(&catalogue.default_schema));
        let mut physical = Vec::new();
        let mut readers = Vec::new();
        for info in logical(table).columns {
            if let Some(column) = mapped.columns.get(info.name) {
                let mut finder = Finder {
                    kind,
                    found,
                    shown: &shown,
                    physical: &mut physical,
                };
                readers.push(finder.reader(info, column, zone)?);
            }
        }
        let From::Key(key) = &readers[0].from else {
            return Err(SourceError::mapping(format!(
                "the key of {shown} must be columns"
            )));
        };
        let key = key.clone();
        let names: Vec<&str> = key.iter().map(|place| physical[*place].name.as_str()).collect();
        let key_unique = found.is_unique(&names);
        let filters = mapped
            .filter
            .iter()
            .map(|filter| {
                let column = physical_of(kind, found, &shown, &filter.column, false)?;
                if kind != SourceKind::Sqlite {
                    filters::check(&column, filter)?;
                }
                Ok((column, filter.clone()))
            })
            .collect::<Result<_, SourceError>>()?;
        let schema = statement::quoted(kind, &found.schema);
        Ok(Self {
            table,
            kind,
            sql: format!("{schema}.{} AS t", statement::quoted(kind, &found.name)),
            key_indexed: found.is_indexed(names[0]),
            columns: Arc::new(Columns::new(
                readers.iter().map(|reader| reader.info.name.to_owned()).collect(),
            )),
            shown,
            physical,
            readers,
            key,
            key_unique,
            filters,
        })
    }

    /// The reader of a logical column.
    pub(crate) fn reader(&self, name: &str) -> Option<&Reader> {
        self.readers.iter().find(|reader| reader.info.name == name)
    }

    /// The places of a key's parts in `physical`; none when the column is not mapped.
    pub(crate) fn key_of(&self, name: &str) -> Option<&[usize]> {
        match &self.reader(name)?.from {
            From::Key(places) => Some(places),
            From::Column(_) | From::Expression(..) => None,
        }
    }

    /// The cells of a row in which every physical column was read.
    pub(crate) fn cells(&self, row: &RawRow) -> Vec<Cell> {
        self.readers
            .iter()
            .map(|reader| reader.cell(&|place| &row[place]))
            .collect()
    }
}

impl Reader {
    /// One cell; `raw` gives what was read of a physical column.
    pub(crate) fn cell<'r>(&self, raw: &dyn Fn(usize) -> &'r Raw) -> Cell {
        match &self.from {
            From::Column(place) => cell::read(&self.writing, raw(*place)),
            From::Key(places) => match parts(places, raw) {
                Ok(Some(parts)) => Cell::Text(tidings_core::redact::Private::new(key::join(&parts))),
                Ok(None) => Cell::Null,
                Err(problem) => Cell::Malformed {
                    problem: problem.to_owned(),
                },
            },
            From::Expression(compiled, places) => {
                if let Some(problem) = places.iter().find_map(|(place, _)| match raw(*place) {
                    Raw::Unreadable(problem) => Some(*problem),
                    Raw::Null | Raw::Text(_) => None,
                }) {
                    return Cell::Malformed {
                        problem: problem.to_owned(),
                    };
                }
                let columns = places
                    .iter()
                    .map(|(place, name)| (name.as_str(), raw(*place).text()));
                match compiled.evaluate(columns) {
                    Ok(None) => Cell::Null,
                    Ok(Some(text)) => cell::read(&self.writing, &Raw::Text(text)),
                    Err(problem) => Cell::Malformed {
                        problem: problem.to_owned(),
                    },
                }
            }
        }
    }
}

/// The parts of a key; none when one is null.
pub(crate) fn parts<'r>(
    places: &[usize],
    raw: &dyn Fn(usize) -> &'r Raw,
) -> Result<Option<Vec<&'r str>>, &'static str> {
    let mut parts = Vec::with_capacity(places.len());
    for place in places {
        match raw(*place) {
            Raw::Null => return Ok(None),
            Raw::Unreadable(problem) => return Err(problem),
            Raw::Text(text) => parts.push(text.as_str()),
        }
    }
    Ok(Some(parts))
}

fn find_table<'c>(
    catalogue: &'c Catalogue,
    table: LogicalTable,
    mapped: &TableMapping,
) -> Result<&'c CatalogueTable, SourceError> {
    let path = &mapped.table;
    if let Some(found) = catalogue.table(path.schema.as_deref(), &path.name) {
        return Ok(found);
    }
    let names = catalogue.tables.iter().map(|table| table.name.as_str());
    let meant = did_you_mean(&closest(&path.name, names, 3));
    Err(SourceError::new(
        SourceErrorCategory::MissingTable,
        format!(
            "the database has no table or view {path}, which the mapping names for {table}, or its account may not see it{meant}"
        ),
    ))
}

struct Finder<'a> {
    kind: SourceKind,
    found: &'a CatalogueTable,
    shown: &'a str,
    physical: &'a mut Vec<Physical>,
}

impl Finder<'_> {
    fn reader(
        &mut self,
        info: &'static ColumnInfo,
        column: &ColumnMapping,
        zone: &TimeZone,
    ) -> Result<Reader, SourceError> {
        let of_key = info.kind == ColumnKind::Key;
        let from = match &column.origin {
            Origin::Columns(names) => {
                let places = names
                    .iter()
                    .map(|name| self.place(name, of_key))
                    .collect::<Result<Vec<_>, _>>()?;
                if of_key {
                    From::Key(places)
                } else {
                    From::Column(places[0])
                }
            }
            Origin::Expression(text) => {
                let compiled = expression::compile(text).map_err(SourceError::mapping)?;
                // Named as the expression writes them, whatever case the database keeps.
                let places = compiled
                    .columns()
                    .into_iter()
                    .map(|name| Ok((self.place(&name, false)?, name)))
                    .collect::<Result<Vec<_>, SourceError>>()?;
                From::Expression(compiled, places)
            }
        };
        let class = match &from {
            From::Column(place) => self.physical[*place].class,
            From::Key(_) | From::Expression(..) => TypeClass::Other,
        };
        Ok(Reader {
            info,
            from,
            plain: column.is_plain(),
            writing: Writing {
                kind: info.kind,
                class,
                values: column.values.clone(),
                format: column.format.clone(),
                zone: match &column.zone {
                    Some(name) => settings::zone(name)?,
                    None => zone.clone(),
                },
                scale: column.scale,
            },
        })
    }

    fn place(&mut self, name: &str, of_key: bool) -> Result<usize, SourceError> {
        let wanted = physical_of(self.kind, self.found, self.shown, name, of_key)?;
        if let Some(place) = self.physical.iter().position(|one| *one == wanted) {
            return Ok(place);
        }
        self.physical.push(wanted);
        Ok(self.physical.len() - 1)
    }
}

fn physical_of(
    kind: SourceKind,
    found: &CatalogueTable,
    shown: &str,
    name: &str,
    of_key: bool,
) -> Result<Physical, SourceError> {
    let Some(column) = found.column(name) else {
        let names = found.columns.iter().map(|column| column.name.as_str());
        let meant = did_you_mean(&closest(name, names, 3));
        return Err(SourceError::new(
            SourceErrorCategory::MissingColumn,
            format!("{shown} has no column {name}, which the mapping names{meant}"),
        ));
    };
    let CatalogueColumn { class, cast, .. } = column;
    Ok(Physical {
        name: column.name.clone(),
        // With the alias of its table: else PostgreSQL would sort by the text of the same name that is read, and SQLite
        // would take the name of a column that is gone for a text.
        quoted: format!("t.{}", statement::quoted(kind, &column.name)),
        class: *class,
        cast: cast.clone(),
        nullable: column.nullable,
        ignores_case: column.ignores_case,
        // These alone are read in another way for a key.
        of_key: of_key && matches!(class, TypeClass::Binary | TypeClass::Text),
    })
}
