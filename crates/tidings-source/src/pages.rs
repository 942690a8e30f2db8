//! Reading a campaign's table page by page, with everything that belongs to the rows.

use crate::customers::{Customers, Found, not_unique};
use crate::database::{Budget, Database, RawRow};
use crate::dialect;
use crate::error::SourceError;
use crate::filters;
use crate::key;
use crate::plan::{Physical, Plan, TablePlan, parts};
use crate::related::Relation;
use crate::statement::Builder;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::Arc;
use tidings_core::campaign::{Bound, Cell, Columns, Definition, LogicalTable, Row};

/// A page ends early when its rows take more.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// Without an index each page sorts the whole table, so there should be few.
const ROWS_UNINDEXED: usize = 5000;

/// Some rows, in the order of their keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// The key of the last one: where a later reading goes on.
    pub last_key: Option<String>,
    /// There are no more.
    pub done: bool,
}

/// A reading in progress; every page is asked for by itself, so that nothing is held open between.
pub struct Pages {
    database: Arc<Database>,
    reading: Reading,
    bounds: Vec<Bound>,
    after: Option<Vec<String>>,
    rows: usize,
    begun: bool,
    done: bool,
}

/// What is read for each row.
pub(crate) struct Reading {
    pub(crate) table: Arc<TablePlan>,
    customers: Customers,
    relations: Vec<Relation>,
    columns: Arc<Columns>,
}

impl Reading {
    pub(crate) fn resolve(
        plan: &Plan,
        definition: &Definition,
        as_of: Timestamp,
        zone: &TimeZone,
    ) -> Result<Self, SourceError> {
        let table = plan.required(definition.from)?.clone();
        let relations = definition
            .related
            .iter()
            .map(|related| Relation::resolve(plan, related, as_of, zone))
            .collect::<Result<Vec<_>, _>>()?;
        let names = table.columns.names().iter().cloned();
        let names = names.chain(relations.iter().map(|relation| relation.name.clone()));
        Ok(Self {
            columns: Arc::new(Columns::new(names.collect())),
            customers: Customers::resolve(plan)?,
            relations,
            table,
        })
    }

    fn key_columns(&self) -> Vec<&Physical> {
        let table = &self.table;
        table.key.iter().map(|place| &table.physical[*place]).collect()
    }

    /// `SELECT` of every column, up to the filters.
    fn select(&self) -> Builder {
        let mut builder = Builder::new(self.table.kind);
        builder.push("SELECT ");
        builder.each(&self.table.physical, ", ", |builder, column| {
            dialect::text(builder, column, &column.quoted);
        });
        builder.push(" FROM ").push(&self.table.sql).push(" WHERE ");
        filters::filters(&mut builder, &self.table);
        builder
    }

    fn doing(&self) -> String {
        format!("reading {}", self.table.shown)
    }

    /// Rows with all that belongs to them.
    pub(crate) async fn complete(
        &self,
        database: &Database,
        rows: &[RawRow],
    ) -> Result<Vec<Row>, SourceError> {
        let customers = self.customers_of(database, rows);
        let related = futures::future::try_join_all(self.relations.iter().map(|relation| {
            let keys: Option<Vec<_>> = self
                .table
                .key_of(&relation.by)
                .map(|places| rows.iter().map(|row| owned(places, row)).collect());
            async move {
                match keys {
                    Some(keys) => relation.load(database, &keys).await,
                    None => Ok(vec![Cell::Unmapped; rows.len()]),
                }
            }
        }));
        let ((references, customers), related) = futures::try_join!(customers, related)?;
        let mut complete = Vec::with_capacity(rows.len());
        for (place, (row, reference)) in rows.iter().zip(references).enumerate() {
            let Ok(Some(parts)) = parts(&self.table.key, &|place| &row[place]) else {
                return Err(unreadable_key(&self.table));
            };
            let mut cells = self.table.cells(row);
            cells.extend(related.iter().map(|of_relation| of_relation[place].clone()));
            complete.push(Row {
                key: key::join(&parts),
                columns: self.columns.clone(),
                cells,
                customer: reference.and_then(|normal| customers.get(&normal).cloned()),
            });
        }
        Ok(complete)
    }

    /// For each row the customer's key in its normal form, and the customers.
    async fn customers_of(
        &self,
        database: &Database,
        rows: &[RawRow],
    ) -> Result<(Vec<Option<Vec<String>>>, Found), SourceError> {
        let places = self.table.key_of("customer_id").unwrap_or_default();
        let references: Vec<Option<Vec<String>>> = rows
            .iter()
            .map(|row| {
                let parts = parts(places, &|place| &row[place]).ok().flatten()?;
                self.customers.normal(&parts)
            })
            .collect();
        if self.table.table == LogicalTable::Customers {
            // The rows are the customers.
            let found = self.customers.assemble(database, rows).await?;
            return Ok((references, found));
        }
        let mut keys: Vec<Vec<String>> = references.iter().flatten().cloned().collect();
        keys.sort_unstable();
        keys.dedup();
        let found = self.customers.load(database, &keys).await?;
        Ok((references, found))
    }

    /// Some rows of a customer, or simply some rows.
    pub(crate) async fn some(
        &self,
        database: &Database,
        customer: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, SourceError> {
        let mut builder = self.select();
        if let Some(customer) = customer {
            let places = self.table.key_of("customer_id").unwrap_or_default();
            let columns: Vec<&Physical> = places.iter().map(|place| &self.table.physical[*place]).collect();
            let parts = key::split(customer, columns.len());
            let normal = parts.and_then(|parts| {
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                dialect::normal_key(self.table.kind, &columns, &parts)
            });
            let Some(normal) = normal else {
                return Ok(Vec::new());
            };
            builder.push(" AND ");
            dialect::matches(&mut builder, &columns, &[normal])?;
        }
        for column in self.key_columns() {
            builder.push(" AND ").push(&column.quoted).push(" IS NOT NULL");
        }
        dialect::order_by(&mut builder, &self.key_columns(), self.table.key_unique);
        builder.push(" LIMIT ").number(limit);
        let budget = Budget {
            rows: limit,
            bytes: MOST_BYTES,
        };
        let fetched = database.fetch(builder.finish(self.doing()), budget).await?;
        self.complete(database, &fetched.rows).await
    }
}

fn owned(places: &[usize], row: &RawRow) -> Option<Vec<String>> {
    let parts = parts(places, &|place| &row[place]).ok().flatten()?;
    Some(parts.into_iter().map(str::to_owned).collect())
}

fn unreadable_key(table: &TablePlan) -> SourceError {
    SourceError::malformed(format!(
        "a key of {} cannot be read as text; map another column as the key, or leave such rows out with a filter",
        table.shown
    ))
}

impl Pages {
    pub(crate) fn new(
        database: Arc<Database>,
        reading: Reading,
        bounds: Vec<Bound>,
        after: Option<&str>,
    ) -> Result<Self, SourceError> {
        let after = after
            .map(|key| {
                key::split(key, reading.table.key.len()).ok_or_else(|| {
                    SourceError::mapping(format!(
                        "the reading of {} cannot go on where it ended: its key has another number of parts now; begin anew",
                        reading.table.shown
                    ))
                })
            })
            .transpose()?;
        let rows = database.access().page_rows;
        let rows = if reading.table.key_indexed {
            rows
        } else {
            rows.max(ROWS_UNINDEXED)
        };
        Ok(Self {
            database,
            reading,
            bounds,
            after,
            rows,
            begun: false,
            done: false,
        })
    }

    /// The next page; none after the last one. After an error the same page can be asked for again.
    ///
    /// # Errors
    /// When the database cannot be read, or the keys of its rows are not what keys must be.
    pub async fn next_page(&mut self) -> Result<Option<Page>, SourceError> {
        if self.done {
            return Ok(None);
        }
        if !self.begun {
            self.refuse_missing_keys().await?;
            self.begun = true;
        }
        let (rows, more) = self.fetch().await?;
        let rows = self.reading.complete(&self.database, &rows).await?;
        let last_key = rows.last().map(|row| row.key.clone());
        self.done = !more;
        if let Some(key) = &last_key {
            self.after = key::split(key, self.reading.table.key.len());
        }
        Ok(Some(Page {
            rows,
            last_key,
            done: self.done,
        }))
    }

    /// The raw rows, and whether there are more. One row more than wanted is read: it tells whether the key of the last
    /// one comes again.
    async fn fetch(&self) -> Result<(Vec<RawRow>, bool), SourceError> {
        let table = &self.reading.table;
        let key = self.reading.key_columns();
        let mut builder = self.reading.select();
        filters::bounds(&mut builder, table, &self.bounds);
        if let Some(parts) = &self.after {
            builder.push(" AND ");
            dialect::after(&mut builder, &key, table.key_unique, parts)?;
        }
        dialect::order_by(&mut builder, &key, table.key_unique);
        builder.push(" LIMIT ").number(self.rows + 1);
        let budget = Budget {
            rows: self.rows + 1,
            bytes: MOST_BYTES,
        };
        let fetched = self
            .database
            .fetch(builder.finish(self.reading.doing()), budget)
            .await?;
        let mut rows = fetched.rows;
        self.refuse_repeated_keys(&rows)?;
        let more = fetched.cut || rows.len() > self.rows;
        // What was cut for its size ends with a row that nothing follows yet.
        let keep = if fetched.cut && rows.len() > 1 {
            rows.len() - 1
        } else {
            self.rows
        };
        rows.truncate(keep);
        Ok((rows, more))
    }

    /// Two rows of the same key, or the last row of before once more, would be left out or read for ever.
    fn refuse_repeated_keys(&self, rows: &[RawRow]) -> Result<(), SourceError> {
        let table = &self.reading.table;
        let key = self.reading.key_columns();
        let mut before: Option<Vec<String>> = self.after.as_ref().and_then(|parts| {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            exact(table, &key, &parts)
        });
        for row in rows {
            let Ok(Some(parts)) = parts(&table.key, &|place| &row[place]) else {
                return Err(unreadable_key(table));
            };
            let this = exact(table, &key, &parts);
            if this.is_some() && this == before {
                return Err(not_unique(table));
            }
            before = this;
        }
        Ok(())
    }

    /// A row without a key can be neither named nor found again.
    async fn refuse_missing_keys(&self) -> Result<(), SourceError> {
        let table = &self.reading.table;
        let nullable: Vec<&Physical> = self
            .reading
            .key_columns()
            .into_iter()
            .filter(|column| column.nullable)
            .collect();
        if nullable.is_empty() {
            return Ok(());
        }
        let mut builder = Builder::new(table.kind);
        builder.push("SELECT 1 FROM ").push(&table.sql).push(" WHERE ");
        filters::filters(&mut builder, table);
        builder.push(" AND (");
        builder.each(&nullable, " OR ", |builder, column| {
            builder.push(&column.quoted).push(" IS NULL");
        });
        builder.push(") LIMIT 1");
        let statement = builder.finish(format!("looking for rows without a key in {}", table.shown));
        let budget = Budget { rows: 1, bytes: 1024 };
        if self.database.fetch(statement, budget).await?.rows.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = nullable.iter().map(|column| column.name.as_str()).collect();
        Err(SourceError::malformed(format!(
            "rows of {} have no key: {} is NULL in them; leave them out with filter = [{{ column = \"{}\", is_null = false }}], or map another key",
            table.shown,
            names.join(" or "),
            names[0]
        )))
    }
}

/// The form in which equal keys are equal to the database's ordering; exact for texts, which are ordered by their bytes or
/// kept apart by the database.
fn exact(table: &TablePlan, key: &[&Physical], parts: &[&str]) -> Option<Vec<String>> {
    use crate::catalogue::TypeClass::{Decimal, Integer};
    key.iter()
        .zip(parts)
        .map(|(column, part)| match column.class {
            Integer | Decimal => key::normal(table.kind, column, part),
            _ => Some((*part).to_owned()),
        })
        .collect()
}
