//! The customers of a page, with their e-mail addresses and phone numbers.

use crate::database::{Budget, Database, RawRow};
use crate::dialect::{self, MOST_KEYS};
use crate::error::SourceError;
use crate::filters;
use crate::key;
use crate::plan::{Physical, Plan, TablePlan, parts};
use crate::statement::Builder;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tidings_core::campaign::{Cell, Customer, LogicalTable};
use tidings_core::redact::Private;

/// Addresses kept of one customer and kind.
const MOST_ADDRESSES: usize = 20;
/// Rows of addresses read for one chunk of customers.
const MOST_ROWS: usize = 200_000;
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Customers by their key's normal form.
pub(crate) type Found = HashMap<Vec<String>, Arc<Customer>>;

/// The tables that customers are read from.
pub(crate) struct Customers {
    pub(crate) table: Arc<TablePlan>,
    emails: Option<Arc<TablePlan>>,
    phones: Option<Arc<TablePlan>>,
}

/// Addresses of a customer: rank (the primary first), the address's own key, the address.
type Addresses = BTreeMap<Vec<String>, Vec<(u8, String, String)>>;

impl Customers {
    pub(crate) fn resolve(plan: &Plan) -> Result<Self, SourceError> {
        Ok(Self {
            table: plan.required(LogicalTable::Customers)?.clone(),
            emails: plan.table(LogicalTable::Emails)?.cloned(),
            phones: plan.table(LogicalTable::Phones)?.cloned(),
        })
    }

    fn key_columns(&self) -> Vec<&Physical> {
        self.table
            .key
            .iter()
            .map(|place| &self.table.physical[*place])
            .collect()
    }

    /// The key in the form that [`Found`] is looked up by.
    pub(crate) fn normal(&self, parts: &[&str]) -> Option<Vec<String>> {
        dialect::normal_key(self.table.kind, &self.key_columns(), parts)
    }

    /// The customers of these keys, in their normal form.
    pub(crate) async fn load(&self, database: &Database, keys: &[Vec<String>]) -> Result<Found, SourceError> {
        let mut found = Found::with_capacity(keys.len());
        for chunk in keys.chunks(MOST_KEYS) {
            let rows = self.rows(database, chunk).await?;
            found.extend(self.assemble(database, &rows).await?);
        }
        Ok(found)
    }

    /// Customers from rows of their table in which every physical column was read.
    pub(crate) async fn assemble(&self, database: &Database, rows: &[RawRow]) -> Result<Found, SourceError> {
        let mut named: Vec<(Vec<String>, String, &RawRow)> = Vec::with_capacity(rows.len());
        for row in rows {
            let Ok(Some(parts)) = parts(&self.table.key, &|place| &row[place]) else {
                continue;
            };
            if let Some(normal) = self.normal(&parts) {
                named.push((normal, key::join(&parts), row));
            }
        }
        let keys: Vec<Vec<String>> = named.iter().map(|(normal, ..)| normal.clone()).collect();
        let (emails, phones) = futures::try_join!(
            addresses(database, self.emails.as_deref(), &keys, "email"),
            addresses(database, self.phones.as_deref(), &keys, "phone"),
        )?;
        let mut found = Found::with_capacity(named.len());
        for (normal, key, row) in named {
            let cells = self.table.cells(row);
            let customer = Customer {
                key,
                emails: merged(emails.get(&normal), self.cell(&cells, "email")),
                phones: merged(phones.get(&normal), self.cell(&cells, "phone")),
                columns: self.table.columns.clone(),
                cells,
            };
            if found.insert(normal, Arc::new(customer)).is_some() {
                return Err(not_unique(&self.table));
            }
        }
        Ok(found)
    }

    fn cell<'c>(&self, cells: &'c [Cell], name: &str) -> &'c Cell {
        let place = self
            .table
            .readers
            .iter()
            .position(|reader| reader.info.name == name);
        place
            .and_then(|place| cells.get(place))
            .unwrap_or(&Cell::Unmapped)
    }

    async fn rows(&self, database: &Database, keys: &[Vec<String>]) -> Result<Vec<RawRow>, SourceError> {
        let mut builder = Builder::new(self.table.kind);
        builder.push("SELECT ");
        builder.each(&self.table.physical, ", ", |builder, column| {
            dialect::text(builder, column, &column.quoted);
        });
        builder.push(" FROM ").push(&self.table.sql).push(" WHERE ");
        filters::filters(&mut builder, &self.table);
        builder.push(" AND ");
        dialect::matches(&mut builder, &self.key_columns(), keys)?;
        let statement = builder.finish(format!("reading {}", self.table.shown));
        let budget = Budget {
            rows: keys.len() * 2,
            bytes: MOST_BYTES,
        };
        let fetched = database.fetch(statement, budget).await?;
        if fetched.cut && fetched.rows.len() >= keys.len() {
            return Err(not_unique(&self.table));
        }
        if fetched.cut {
            return Err(SourceError::malformed(format!(
                "{} customers of {} are larger than {MOST_BYTES} bytes together; map fewer or shorter columns, or lower page_rows",
                keys.len(),
                self.table.shown
            )));
        }
        Ok(fetched.rows)
    }
}

/// Two rows have the same key, so neither can be told from the other.
pub(crate) fn not_unique(table: &TablePlan) -> SourceError {
    let names: Vec<&str> = table
        .key
        .iter()
        .map(|place| table.physical[*place].name.as_str())
        .collect();
    SourceError::malformed(format!(
        "the key {} of {} is not unique: several rows have the same; map further columns into it, or leave rows out with a filter",
        names.join(", "),
        table.shown
    ))
}

async fn addresses(
    database: &Database,
    table: Option<&TablePlan>,
    customers: &[Vec<String>],
    column: &str,
) -> Result<Addresses, SourceError> {
    let mut addresses = Addresses::new();
    let (Some(table), false) = (table, customers.is_empty()) else {
        return Ok(addresses);
    };
    let Some(owner) = table.key_of("customer_id") else {
        return Ok(addresses);
    };
    let owner: Vec<&Physical> = owner.iter().map(|place| &table.physical[*place]).collect();
    let given = customers
        .iter()
        .map(|parts| parts.iter().map(String::as_str).collect());
    let wanted = dialect::normal_keys(table.kind, &owner, given);
    for chunk in wanted.chunks(MOST_KEYS) {
        let mut builder = Builder::new(table.kind);
        builder.push("SELECT ");
        builder.each(&table.physical, ", ", |builder, column| {
            dialect::text(builder, column, &column.quoted);
        });
        builder.push(" FROM ").push(&table.sql).push(" WHERE ");
        filters::filters(&mut builder, table);
        builder.push(" AND ");
        dialect::matches(&mut builder, &owner, chunk)?;
        let statement = builder.finish(format!("reading {}", table.shown));
        let budget = Budget {
            rows: MOST_ROWS,
            bytes: MOST_BYTES,
        };
        let fetched = database.fetch(statement, budget).await?;
        if fetched.cut {
            return Err(SourceError::malformed(format!(
                "more than {MOST_ROWS} rows of {} belong to {} customers; check the mapping of customer_id",
                table.shown,
                chunk.len()
            )));
        }
        for row in &fetched.rows {
            keep(table, &owner, row, column, &mut addresses);
        }
    }
    Ok(addresses)
}

fn keep(table: &TablePlan, owner: &[&Physical], row: &RawRow, column: &str, addresses: &mut Addresses) {
    let raw = |place: usize| &row[place];
    let owner_places = table.key_of("customer_id").unwrap_or_default();
    let Ok(Some(owner_parts)) = parts(owner_places, &raw) else {
        return;
    };
    let Some(customer) = dialect::normal_key(table.kind, owner, &owner_parts) else {
        return;
    };
    let cell = |name: &str| {
        table
            .reader(name)
            .map_or(Cell::Unmapped, |reader| reader.cell(&raw))
    };
    if cell("is_mobile") == Cell::Flag(false) {
        return;
    }
    let Some(address) = written(&cell(column)) else {
        return;
    };
    let rank = u8::from(cell("is_primary") != Cell::Flag(true));
    let own = parts(&table.key, &raw)
        .ok()
        .flatten()
        .map(|parts| key::join(&parts))
        .unwrap_or_default();
    let kept = addresses.entry(customer).or_default();
    let place =
        kept.partition_point(|(other_rank, other, _)| (*other_rank, natural(other)) < (rank, natural(&own)));
    kept.insert(place, (rank, own, address));
    kept.truncate(MOST_ADDRESSES);
}

/// Numbers in the order of their value.
fn natural(key: &str) -> (usize, &str) {
    let number = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
    (if number { key.len() } else { 0 }, key)
}

/// What cannot be read is no address, but it must not look as if there was none: the rules name it invalid.
fn written(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Text(text) => Some(text.expose().trim().to_owned()),
        Cell::Malformed { .. } => Some("\u{fffd}".into()),
        _ => None,
    }
}

/// Those of the table, with the one of the customer's own row behind the primary ones; each once.
fn merged(kept: Option<&Vec<(u8, String, String)>>, own: &Cell) -> Vec<Private<String>> {
    let kept = kept.map_or(&[][..], Vec::as_slice);
    let primary = kept.partition_point(|(rank, ..)| *rank == 0);
    let of_table = |range: &[(u8, String, String)]| -> Vec<String> {
        range.iter().map(|(_, _, address)| address.clone()).collect()
    };
    let mut addresses = of_table(&kept[..primary]);
    addresses.extend(written(own));
    addresses.extend(of_table(&kept[primary..]));
    let mut seen = std::collections::HashSet::new();
    addresses.retain(|address| seen.insert(address.to_lowercase()));
    addresses.truncate(MOST_ADDRESSES);
    addresses.into_iter().map(Private::new).collect()
}
