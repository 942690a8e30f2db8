//! What of a mapping is there, and what is missing, with what was probably meant.

use crate::catalogue::{Catalogue, CatalogueTable, TypeClass};
use crate::mapping::{Mapping, Origin, TableMapping};
use crate::plan::assume;
use crate::similarity::closest;
use crate::{expression, settings::SourceKind};
use serde::Serialize;
use tidings_core::campaign::{ColumnKind, LogicalTable, table as logical};

/// What of a mapping is there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MappingCheck {
    /// Every logical table, mapped or not.
    pub tables: Vec<TableCheck>,
}

/// What of a table's mapping is there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableCheck {
    /// The logical table.
    pub table: LogicalTable,
    /// The tenant's table or view; none when it is not mapped.
    pub mapped: Option<String>,
    /// It is there and may be read.
    pub found: bool,
    /// Names that resemble the one that was not found.
    pub closest: Vec<String>,
    /// Every logical column of it.
    pub columns: Vec<ColumnCheck>,
    /// What is wrong.
    pub problems: Vec<String>,
    /// What works, but could be better.
    pub advice: Vec<String>,
}

/// What of a column's mapping is there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnCheck {
    /// The logical column.
    pub column: &'static str,
    /// It must be mapped.
    pub required: bool,
    /// The tenant's columns it comes from; empty when it is not mapped.
    pub from: Vec<String>,
    /// Their types.
    pub types: Vec<String>,
    /// Those that are not there, with names that resemble them.
    pub missing: Vec<MissingName>,
}

/// A name that is not there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MissingName {
    /// The name.
    pub name: String,
    /// Names that resemble it.
    pub closest: Vec<String>,
}

impl MappingCheck {
    /// Nothing is wrong with what is mapped, and customers are.
    pub fn is_ready(&self) -> bool {
        self.problems().next().is_none()
    }

    /// Everything that is wrong.
    pub fn problems(&self) -> impl Iterator<Item = (LogicalTable, &str)> {
        self.tables.iter().flat_map(|table| {
            table
                .problems
                .iter()
                .map(|problem| (table.table, problem.as_str()))
        })
    }

    /// Whether a logical column can be read.
    pub fn has(&self, table: LogicalTable, column: &str) -> bool {
        self.tables.iter().any(|one| {
            one.table == table
                && one.found
                && one
                    .columns
                    .iter()
                    .any(|one| one.column == column && !one.from.is_empty() && one.missing.is_empty())
        })
    }
}

/// Looks for everything that a mapping names.
pub fn check_mapping(catalogue: &Catalogue, mapping: &Mapping) -> MappingCheck {
    let assumed;
    let mapping = if mapping.is_identity() {
        assumed = assume(catalogue);
        &assumed
    } else {
        mapping
    };
    let tables = LogicalTable::ALL
        .iter()
        .map(|table| match mapping.table(*table) {
            Some(mapped) => check_table(catalogue, *table, mapped),
            None => unmapped(*table),
        })
        .collect();
    MappingCheck { tables }
}

fn unmapped(table: LogicalTable) -> TableCheck {
    let columns = logical(table).columns.iter().map(|info| ColumnCheck {
        column: info.name,
        required: info.required,
        from: Vec::new(),
        types: Vec::new(),
        missing: Vec::new(),
    });
    let problems = if table == LogicalTable::Customers {
        vec!["customers are not mapped, and nothing can be sent without them; add [mapping.customers]".into()]
    } else {
        Vec::new()
    };
    TableCheck {
        table,
        mapped: None,
        found: false,
        closest: Vec::new(),
        columns: columns.collect(),
        problems,
        advice: Vec::new(),
    }
}

fn check_table(catalogue: &Catalogue, table: LogicalTable, mapped: &TableMapping) -> TableCheck {
    let path = &mapped.table;
    let mut check = TableCheck {
        mapped: Some(path.to_string()),
        ..unmapped(table)
    };
    check.problems.clear();
    let Some(found) = catalogue.table(path.schema.as_deref(), &path.name) else {
        let names = catalogue.tables.iter().map(|table| table.name.as_str());
        check.closest = closest(&path.name, names, 3);
        check.problems.push(format!(
            "there is no table or view {path}, or the account may not see it"
        ));
        return check;
    };
    check.found = found.readable;
    if !found.readable {
        check
            .problems
            .push(format!("the account may not read {path}; grant SELECT on it"));
    }
    for column in &mut check.columns {
        let Some(origin) = mapped.columns.get(column.column).map(|column| &column.origin) else {
            continue;
        };
        column.from = match origin {
            Origin::Columns(names) => names.clone(),
            Origin::Expression(text) => expression::compile(text)
                .map(|compiled| compiled.columns().into_iter().collect())
                .unwrap_or_default(),
        };
        for name in &column.from {
            match found.column(name) {
                Some(one) => column.types.push(one.data_type.clone()),
                None => column.missing.push(missing(found, name)),
            }
        }
    }
    let filtered = mapped.filter.iter().map(|filter| filter.column.as_str());
    for name in filtered.filter(|name| found.column(name).is_none()) {
        check
            .problems
            .push(format!("the filter names {name}, but {path} has no such column"));
    }
    for column in &check.columns {
        for missing in &column.missing {
            check.problems.push(format!(
                "{} comes from {}, but {path} has no such column{}",
                column.column,
                missing.name,
                crate::similarity::did_you_mean(&missing.closest)
            ));
        }
    }
    check.advice = advice(catalogue, table, mapped, found);
    check
}

fn missing(found: &CatalogueTable, name: &str) -> MissingName {
    let names = found.columns.iter().map(|column| column.name.as_str());
    MissingName {
        name: name.to_owned(),
        closest: closest(name, names, 3),
    }
}

fn advice(
    catalogue: &Catalogue,
    table: LogicalTable,
    mapped: &TableMapping,
    found: &CatalogueTable,
) -> Vec<String> {
    let mut advice = Vec::new();
    let info = logical(table);
    for column in info
        .columns
        .iter()
        .filter(|column| column.kind == ColumnKind::Key)
    {
        let parts = mapped
            .columns
            .get(column.name)
            .map(crate::mapping::ColumnMapping::parts)
            .unwrap_or_default();
        let names: Vec<&str> = parts
            .iter()
            .filter_map(|part| Some(found.column(part)?.name.as_str()))
            .collect();
        let Some(first) = names.first() else { continue };
        if column.name == info.key() && !found.is_unique(&names) {
            advice.push(format!(
                "nothing in the database keeps {} unique; reading stops when two rows have the same",
                names.join(", ")
            ));
        }
        if !found.view && !found.is_indexed(first) {
            advice.push(format!(
                "no index begins with {first}; with one, {} is found without reading the whole table",
                column.name
            ));
        }
    }
    if catalogue.kind == SourceKind::Mysql {
        let inexact = mapped
            .columns
            .get(info.key())
            .into_iter()
            .flat_map(crate::mapping::ColumnMapping::parts)
            .filter(|part| {
                found
                    .column(part)
                    .is_some_and(|column| column.class == TypeClass::Float)
            });
        advice.extend(inexact.map(|part| format!("{part} is an inexact number, which makes a poor key")));
    }
    advice
}
