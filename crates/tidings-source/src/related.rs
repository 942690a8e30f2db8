//! What is taken of related rows: counts, latest and earliest values, for all rows of a page at once.

use crate::catalogue::TypeClass;
use crate::database::{Budget, Database, Raw, RawRow};
use crate::dialect::{self, MOST_KEYS};
use crate::error::SourceError;
use crate::filters;
use crate::plan::{From, Physical, Plan, Reader, TablePlan, parts};
use crate::settings::SourceKind;
use crate::statement::{Builder, Parameter};
use jiff::Timestamp;
use jiff::civil::Date;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use tidings_core::campaign::{Cell, ColumnKind, Related, Take};

/// Rows read at a time where the database cannot take the value itself.
const MOST_ROWS: usize = 200_000;
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A relation of a definition, found in the tenant's database.
pub(crate) struct Relation {
    pub(crate) name: String,
    take: Take,
    /// None when the tenant has no such table or column: then every cell is unmapped.
    found: Option<Found>,
    /// The column of the campaign's table with the same key.
    pub(crate) by: String,
}

struct Found {
    table: Arc<TablePlan>,
    by: Vec<usize>,
    /// Place among the readers.
    column: Option<usize>,
    since: Option<(usize, Cutoff)>,
}

/// How far back rows count.
#[derive(Clone, Copy)]
struct Cutoff {
    instant: Timestamp,
    /// The day of the instant in the source's zone.
    day: Date,
}

impl Relation {
    /// Finds what a definition asks for.
    pub(crate) fn resolve(
        plan: &Plan,
        related: &Related,
        as_of: Timestamp,
        zone: &jiff::tz::TimeZone,
    ) -> Result<Self, SourceError> {
        let unmapped = Self {
            name: related.name.clone(),
            take: related.take,
            found: None,
            by: related.by.clone(),
        };
        let table = match plan.table(related.table) {
            Ok(None) => return Ok(unmapped),
            Ok(Some(table)) => table,
            Err(_) if related.optional => return Ok(unmapped),
            Err(error) => return Err(error),
        };
        let place = |name: &str| table.readers.iter().position(|reader| reader.info.name == name);
        let Some(by) = table.key_of(&related.by) else {
            return Ok(unmapped);
        };
        let column = related.column.as_deref().map(place);
        let since = match (related.within_days, &related.since) {
            (Some(days), Some(since)) => Some((place(since), cutoff(as_of, days, zone))),
            _ => None,
        };
        if column == Some(None) || matches!(since, Some((None, _))) {
            return Ok(unmapped);
        }
        let found = Found {
            by: by.to_vec(),
            column: column.flatten(),
            since: since.and_then(|(place, cutoff)| Some((place?, cutoff))),
            table: table.clone(),
        };
        Ok(Self {
            found: Some(found),
            ..unmapped
        })
    }

    /// The cells for these keys (none where a row refers to nothing), in their order.
    pub(crate) async fn load(
        &self,
        database: &Database,
        keys: &[Option<Vec<String>>],
    ) -> Result<Vec<Cell>, SourceError> {
        let Some(found) = &self.found else {
            return Ok(vec![Cell::Unmapped; keys.len()]);
        };
        let table = &found.table;
        let by: Vec<&Physical> = found.by.iter().map(|place| &table.physical[*place]).collect();
        let given = keys
            .iter()
            .flatten()
            .map(|parts| parts.iter().map(String::as_str).collect());
        let wanted = dialect::normal_keys(table.kind, &by, given);
        let mut cells = HashMap::with_capacity(wanted.len());
        for chunk in wanted.chunks(MOST_KEYS) {
            if found.native(self.take) {
                self.aggregate(database, found, &by, chunk, &mut cells).await?;
            } else {
                self.gather(database, found, &by, chunk, &mut cells).await?;
            }
        }
        let nothing = match self.take {
            Take::Count => Cell::Number(0.0),
            Take::Latest | Take::Earliest => Cell::Null,
        };
        let of = |parts: &Option<Vec<String>>| {
            let parts: Vec<&str> = parts.as_ref()?.iter().map(String::as_str).collect();
            cells.get(&dialect::normal_key(table.kind, &by, &parts)?).cloned()
        };
        Ok(keys
            .iter()
            .map(|parts| of(parts).unwrap_or_else(|| nothing.clone()))
            .collect())
    }

    /// The database takes the value.
    async fn aggregate(
        &self,
        database: &Database,
        found: &Found,
        by: &[&Physical],
        keys: &[Vec<String>],
        cells: &mut HashMap<Vec<String>, Cell>,
    ) -> Result<(), SourceError> {
        let table = &found.table;
        let mut builder = Builder::new(table.kind);
        builder.push("SELECT ");
        builder.each(by, ", ", |builder, column| {
            dialect::text(builder, column, &column.quoted);
        });
        builder.push(", ");
        let column = found.column.and_then(|place| found.physical(place));
        match (self.take, column) {
            (Take::Count, column) => {
                dialect::count(&mut builder, column.map_or("*", |column| column.quoted.as_str()));
            }
            (Take::Latest, Some(column)) => {
                dialect::text(&mut builder, column, &format!("MAX({})", column.quoted));
            }
            (Take::Earliest, Some(column)) => {
                dialect::text(&mut builder, column, &format!("MIN({})", column.quoted));
            }
            (Take::Latest | Take::Earliest, None) => {
                builder.push("NULL");
            }
        }
        builder.push(" FROM ").push(&table.sql).push(" WHERE ");
        filters::filters(&mut builder, table);
        builder.push(" AND ");
        dialect::matches(&mut builder, by, keys)?;
        if let Some((place, cutoff)) = found.since
            && let Some(column) = found.physical(place)
        {
            builder.push(" AND ");
            not_before(&mut builder, &table.readers[place], column, cutoff);
        }
        builder.push(" GROUP BY ");
        builder.each(by, ", ", |builder, column| {
            builder.push(&column.quoted);
        });
        let rows = self.fetch(database, found, builder).await?;
        for row in rows {
            let (head, value) = row.split_at(by.len());
            let cell = match (self.take, found.column) {
                (Take::Count, _) | (_, None) => {
                    Cell::Number(value[0].text().and_then(|text| text.parse().ok()).unwrap_or(0.0))
                }
                (_, Some(place)) => crate::cell::read(&table.readers[place].writing, &value[0]),
            };
            self.add(table.kind, by, head, cell, cells);
        }
        Ok(())
    }

    /// The rows are read, and the value is taken here: the database does not know how it is written.
    async fn gather(
        &self,
        database: &Database,
        found: &Found,
        by: &[&Physical],
        keys: &[Vec<String>],
        cells: &mut HashMap<Vec<String>, Cell>,
    ) -> Result<(), SourceError> {
        let table = &found.table;
        let needed = found.needed();
        let mut builder = Builder::new(table.kind);
        builder.push("SELECT ");
        let columns = by
            .iter()
            .copied()
            .chain(needed.iter().map(|place| &table.physical[*place]));
        builder.each(columns, ", ", |builder, column| {
            dialect::text(builder, column, &column.quoted);
        });
        builder.push(" FROM ").push(&table.sql).push(" WHERE ");
        filters::filters(&mut builder, table);
        builder.push(" AND ");
        dialect::matches(&mut builder, by, keys)?;
        let rows = self.fetch(database, found, builder).await?;
        for row in rows {
            let (head, values) = row.split_at(by.len());
            let raw = |place: usize| {
                needed
                    .iter()
                    .position(|one| *one == place)
                    .map_or(&Raw::Null, |at| &values[at])
            };
            if let Some(cell) = self.one(found, &raw) {
                self.add(table.kind, by, head, cell, cells);
            }
        }
        Ok(())
    }

    async fn fetch(
        &self,
        database: &Database,
        found: &Found,
        builder: Builder,
    ) -> Result<Vec<RawRow>, SourceError> {
        let shown = &found.table.shown;
        let statement = builder.finish(format!("reading {} of {shown}", self.name));
        let budget = Budget {
            rows: MOST_ROWS,
            bytes: MOST_BYTES,
        };
        let fetched = database.fetch(statement, budget).await?;
        if fetched.cut {
            return Err(SourceError::malformed(format!(
                "more than {MOST_ROWS} rows of {shown} belong to one page of rows, so {} cannot be read; check the mapping of {}, or lower page_rows",
                self.name, self.by
            )));
        }
        Ok(fetched.rows)
    }

    /// What one row adds: none when it is too old or holds nothing.
    fn one<'r>(&self, found: &Found, raw: &dyn Fn(usize) -> &'r Raw) -> Option<Cell> {
        let table = &found.table;
        if let Some((place, cutoff)) = found.since {
            let young = match table.readers[place].cell(raw) {
                Cell::Date(day) => day >= cutoff.day,
                Cell::Instant(instant) => instant >= cutoff.instant,
                // Whether it counts cannot be said, so neither can the value.
                malformed @ Cell::Malformed { .. } => return Some(malformed),
                _ => false,
            };
            if !young {
                return None;
            }
        }
        let Some(place) = found.column else {
            return Some(Cell::Number(1.0));
        };
        match (table.readers[place].cell(raw), self.take) {
            (Cell::Null | Cell::Unmapped, _) => None,
            (_, Take::Count) => Some(Cell::Number(1.0)),
            (cell, Take::Latest | Take::Earliest) => Some(cell),
        }
    }

    fn add(
        &self,
        kind: SourceKind,
        by: &[&Physical],
        head: &[Raw],
        cell: Cell,
        cells: &mut HashMap<Vec<String>, Cell>,
    ) {
        let places: Vec<usize> = (0..by.len()).collect();
        let Ok(Some(parts)) = parts(&places, &|place| &head[place]) else {
            return;
        };
        let Some(key) = dialect::normal_key(kind, by, &parts) else {
            return;
        };
        match cells.entry(key) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(cell);
            }
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let joined = joined(self.take, entry.get(), cell);
                entry.insert(joined);
            }
        }
    }
}

impl Found {
    /// Whether the database can take the value: it compares columns of its own types, and counts.
    fn native(&self, take: Take) -> bool {
        let comparable = |place: usize| {
            let reader = &self.table.readers[place];
            reader.plain && self.table.kind != SourceKind::Sqlite && self.class(reader)
        };
        let since = self.since.is_none_or(|(place, _)| comparable(place));
        let column = match (take, self.column) {
            (_, None) => true,
            (Take::Count, Some(place)) => {
                // Blanks count as nothing, which only reading them shows.
                comparable(place)
                    || self.physical(place).is_some_and(|column| {
                        column.class != TypeClass::Text && self.table.readers[place].plain
                    })
            }
            (_, Some(place)) => comparable(place),
        };
        since && column
    }

    fn class(&self, reader: &Reader) -> bool {
        use TypeClass::{Date, Decimal, Float, Instant, Integer, LocalTime};
        let From::Column(place) = reader.from else {
            return false;
        };
        let class = self.table.physical[place].class;
        match reader.info.kind {
            ColumnKind::Date | ColumnKind::Instant => matches!(class, Date | LocalTime | Instant),
            ColumnKind::Number => matches!(class, Integer | Decimal | Float),
            ColumnKind::Key | ColumnKind::Text | ColumnKind::Flag => false,
        }
    }

    fn physical(&self, reader: usize) -> Option<&Physical> {
        match self.table.readers[reader].from {
            From::Column(place) => self.table.physical.get(place),
            From::Key(_) | From::Expression(..) => None,
        }
    }

    /// The physical columns that the value and `since` are read from.
    fn needed(&self) -> Vec<usize> {
        let readers = self.column.into_iter().chain(self.since.map(|(place, _)| place));
        let mut needed: Vec<usize> = readers
            .flat_map(|place| match &self.table.readers[place].from {
                From::Column(place) => vec![*place],
                From::Key(places) => places.clone(),
                From::Expression(_, places) => places.iter().map(|(place, _)| *place).collect(),
            })
            .collect();
        needed.sort_unstable();
        needed.dedup();
        needed
    }
}

/// Two values of the same key: what one malformed value hides cannot be known, so the whole is malformed.
fn joined(take: Take, a: &Cell, b: Cell) -> Cell {
    match (a, &b) {
        (Cell::Malformed { .. }, _) => a.clone(),
        (_, Cell::Malformed { .. }) | (Cell::Null, _) => b,
        (_, Cell::Null) => a.clone(),
        (Cell::Number(one), Cell::Number(other)) if take == Take::Count => Cell::Number(one + other),
        (a, _) => {
            let keep_a = match (take, compare(a, &b)) {
                (Take::Earliest, order) => order != Ordering::Greater,
                (_, order) => order != Ordering::Less,
            };
            if keep_a { a.clone() } else { b }
        }
    }
}

fn compare(a: &Cell, b: &Cell) -> Ordering {
    match (a, b) {
        (Cell::Number(a), Cell::Number(b)) => a.total_cmp(b),
        (Cell::Date(a), Cell::Date(b)) => a.cmp(b),
        (Cell::Instant(a), Cell::Instant(b)) => a.cmp(b),
        (Cell::Flag(a), Cell::Flag(b)) => a.cmp(b),
        (Cell::Text(a), Cell::Text(b)) => a.expose().cmp(b.expose()),
        // Cells of one column are of one kind.
        _ => Ordering::Equal,
    }
}

fn cutoff(as_of: Timestamp, days: u32, zone: &jiff::tz::TimeZone) -> Cutoff {
    let span = jiff::SignedDuration::from_hours(i64::from(days) * 24);
    let instant = as_of.checked_sub(span).unwrap_or(Timestamp::MIN);
    let today = as_of.to_zoned(zone.clone()).date();
    Cutoff {
        instant,
        day: today
            .checked_sub(jiff::Span::new().days(i64::from(days.min(1_000_000))))
            .unwrap_or(Date::MIN),
    }
}

/// Not older than the cutoff; asked of columns of the database's own date types alone.
fn not_before(builder: &mut Builder, reader: &Reader, column: &Physical, cutoff: Cutoff) {
    let zone = &reader.writing.zone;
    let midnight = cutoff.day.at(0, 0, 0, 0);
    // A day counts from its midnight on, in the zone of the column.
    let (local, instant) = if reader.info.kind == ColumnKind::Date {
        let start = midnight.to_zoned(zone.clone()).map(|start| start.timestamp());
        (midnight, start.unwrap_or(cutoff.instant))
    } else {
        (cutoff.instant.to_zoned(zone.clone()).datetime(), cutoff.instant)
    };
    let (text, cast) = match column.class {
        TypeClass::Instant => {
            let text = instant.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string();
            let zoned = builder.kind == SourceKind::Postgresql;
            (if zoned { text + "+00" } else { text }, "timestamptz")
        }
        TypeClass::LocalTime => (local.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string(), "timestamp"),
        _ if local.time() == jiff::civil::Time::midnight() => (local.date().to_string(), "date"),
        _ => (
            local.date().tomorrow().unwrap_or(local.date()).to_string(),
            "date",
        ),
    };
    builder.push(&column.quoted).push(" >= ");
    if builder.kind == SourceKind::Postgresql {
        builder
            .push("CAST(")
            .bind(Parameter::Text(text))
            .push(" AS ")
            .push(cast)
            .push(")");
    } else {
        builder.bind(Parameter::Text(text));
    }
}
