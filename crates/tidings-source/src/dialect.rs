//! How the three databases write the same thing: text of a column, order of keys, comparison with a key.

use crate::catalogue::TypeClass;
use crate::error::SourceError;
use crate::key;
use crate::plan::Physical;
use crate::settings::SourceKind::{Mysql, Postgresql, Sqlite};
use crate::statement::{Builder, Parameter};

/// A longer value is cut by the database at this many characters, so that reading sees that it is too long.
const CUT: &str = "65537";

/// How many keys go into one query.
pub(crate) const MOST_KEYS: usize = 1000;

/// The column as text, whatever its type. `inside` is the column itself or an aggregate of it.
pub(crate) fn text(builder: &mut Builder, column: &Physical, inside: &str) {
    use TypeClass::{Binary, Bits, Boolean, Date, Decimal, Float, Instant, Integer, LocalTime, Uuid};
    let short = matches!(
        column.class,
        Integer | Decimal | Float | Boolean | Date | LocalTime | Instant | Uuid
    );
    let sql = match builder.kind {
        Postgresql if short => format!("CAST({inside} AS text)"),
        Postgresql => format!("left(CAST({inside} AS text), {CUT})"),
        Mysql if short => format!("CAST({inside} AS CHAR)"),
        Mysql if column.class == Bits => format!("CAST({inside} + 0 AS CHAR)"),
        Mysql if column.of_key && column.class == Binary => format!("HEX({inside})"),
        // Bytes may be text of any encoding; casting them would replace or refuse what is not.
        Mysql if column.class == Binary => format!("LEFT({inside}, {CUT})"),
        Mysql => format!("LEFT(CAST({inside} AS CHAR), {CUT})"),
        // `substr` makes nothing of empty bytes.
        Sqlite if column.of_key && column.class == TypeClass::Text => {
            format!("CASE WHEN {inside} = '' THEN x'' ELSE substr(CAST({inside} AS BLOB), 1, {CUT}) END")
        }
        Sqlite if column.of_key => {
            format!(
                "CASE typeof({inside}) WHEN 'blob' THEN CAST(hex({inside}) AS BLOB) ELSE CAST({inside} AS BLOB) END"
            )
        }
        // Functions on text stop at a zero byte, those on bytes do not.
        Sqlite => format!("substr(CAST({inside} AS BLOB), 1, {CUT})"),
    };
    builder.push(&sql);
}

/// A number that the database computes, as text.
pub(crate) fn count(builder: &mut Builder, inside: &str) {
    let sql = match builder.kind {
        Postgresql => format!("CAST(count({inside}) AS text)"),
        Mysql => format!("CAST(COUNT({inside}) AS CHAR)"),
        Sqlite => format!("CAST(count({inside}) AS BLOB)"),
    };
    builder.push(&sql);
}

/// How a part of a key is ordered and compared with what was read before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// As the database orders the column: then it can use an index.
    Native,
    /// As its text, byte by byte.
    Bytes,
}

/// The order of the database is used where it tells all keys apart; else only bytes do.
fn order(builder: &Builder, column: &Physical, unique: bool) -> Order {
    use TypeClass::{Binary, Bits, Float, Other, Text};
    let kind = builder.kind;
    let native = match column.class {
        Text => match kind {
            Postgresql => unique || !column.ignores_case,
            Mysql => unique,
            Sqlite => true,
        },
        // An enumeration of MySQL is ordered by place and compared by word.
        Other => kind == Postgresql && unique,
        Bits => kind != Mysql,
        // Elsewhere inexact numbers are not those that were read.
        Float => kind == Postgresql,
        // A column of SQLite without a type holds anything.
        Binary => kind != Sqlite,
        _ => true,
    };
    if native { Order::Native } else { Order::Bytes }
}

fn ordered(builder: &mut Builder, column: &Physical, unique: bool) {
    let name = &column.quoted;
    let sql = match (builder.kind, order(builder, column, unique)) {
        // Its own collation may take different letters for the same.
        (Sqlite, Order::Native) if column.class == TypeClass::Text => format!("{name} COLLATE BINARY"),
        (_, Order::Native) => name.clone(),
        (Postgresql, Order::Bytes) => format!("CAST({name} AS text) COLLATE \"C\""),
        (Mysql, Order::Bytes) if column.class == TypeClass::Bits => {
            format!("CAST(CAST({name} + 0 AS CHAR) AS BINARY)")
        }
        (Mysql, Order::Bytes) => format!("CAST(CAST({name} AS CHAR) AS BINARY)"),
        (Sqlite, Order::Bytes) => {
            format!("CASE typeof({name}) WHEN 'blob' THEN hex({name}) ELSE CAST({name} AS TEXT) END")
        }
    };
    builder.push(&sql);
}

fn compared(builder: &mut Builder, column: &Physical, unique: bool, part: &str) -> Result<(), SourceError> {
    let text = Parameter::Text(part.to_owned());
    match (builder.kind, order(builder, column, unique)) {
        (Postgresql, Order::Native) => {
            builder
                .push("CAST(")
                .bind(text)
                .push(" AS ")
                .push(&column.cast)
                .push(")");
        }
        (Mysql, Order::Bytes) => {
            builder.push("CAST(").bind(text).push(" AS BINARY)");
        }
        (Mysql, Order::Native) => value(builder, column, part)?,
        (Sqlite, Order::Native) if column.class == TypeClass::Integer => {
            builder.bind(part.parse().map_or(text, Parameter::Integer));
        }
        (Postgresql, Order::Bytes) | (Sqlite, _) => {
            builder.bind(text);
        }
    }
    Ok(())
}

/// MySQL compares by the type of the parameter, so it must be the column's.
fn value(builder: &mut Builder, column: &Physical, part: &str) -> Result<(), SourceError> {
    let text = Parameter::Text(part.to_owned());
    match column.class {
        TypeClass::Integer => {
            let number = part
                .parse()
                .map(Parameter::Integer)
                .or_else(|_| part.parse().map(Parameter::Unsigned));
            builder.bind(number.map_err(|_| {
                SourceError::malformed(format!(
                    "a key that is no number was compared with {}",
                    column.name
                ))
            })?);
        }
        TypeClass::Decimal => {
            builder.push("CAST(").bind(text).push(" AS DECIMAL(65, 30))");
        }
        TypeClass::Binary => {
            builder.push("UNHEX(").bind(text).push(")");
        }
        _ => {
            builder.bind(text);
        }
    }
    Ok(())
}

/// `ORDER BY` for the columns of a key.
pub(crate) fn order_by(builder: &mut Builder, key: &[&Physical], unique: bool) {
    builder.push(" ORDER BY ");
    builder.each(key, ", ", |builder, column| ordered(builder, column, unique));
}

/// Rows whose key comes after `parts`.
pub(crate) fn after(
    builder: &mut Builder,
    key: &[&Physical],
    unique: bool,
    parts: &[String],
) -> Result<(), SourceError> {
    if builder.kind == Mysql || key.len() == 1 {
        return after_stepwise(builder, key, unique, parts);
    }
    builder.push("(");
    builder.each(key, ", ", |builder, column| ordered(builder, column, unique));
    builder.push(") > (");
    for (place, (column, part)) in key.iter().zip(parts).enumerate() {
        if place > 0 {
            builder.push(", ");
        }
        compared(builder, column, unique, part)?;
    }
    builder.push(")");
    Ok(())
}

/// `a > ? OR (a = ? AND (b > ? OR ...))`, with `a >= ?` before it, because MySQL uses an index for that alone.
fn after_stepwise(
    builder: &mut Builder,
    key: &[&Physical],
    unique: bool,
    parts: &[String],
) -> Result<(), SourceError> {
    let compare = |builder: &mut Builder, operator: &str| -> Result<(), SourceError> {
        ordered(builder, key[0], unique);
        builder.push(operator);
        compared(builder, key[0], unique, &parts[0])
    };
    if key.len() == 1 {
        return compare(builder, " > ");
    }
    builder.push("(");
    compare(builder, " >= ")?;
    builder.push(" AND (");
    compare(builder, " > ")?;
    builder.push(" OR ");
    after_stepwise(builder, &key[1..], unique, &parts[1..])?;
    builder.push("))");
    Ok(())
}

/// Rows whose columns hold one of these keys, each in its [`key::normal`] form.
pub(crate) fn matches(
    builder: &mut Builder,
    columns: &[&Physical],
    keys: &[Vec<String>],
) -> Result<(), SourceError> {
    match builder.kind {
        Postgresql => matches_arrays(builder, columns, keys),
        Mysql => matches_list(builder, columns, keys)?,
        Sqlite => matches_json(builder, columns, keys),
    }
    Ok(())
}

fn matches_arrays(builder: &mut Builder, columns: &[&Physical], keys: &[Vec<String>]) {
    let list = |place: usize| Parameter::Texts(keys.iter().map(|parts| parts[place].clone()).collect());
    // What cannot be cast without fear of an error is compared as text.
    let sure = |column: &Physical| {
        !matches!(
            column.class,
            TypeClass::Other | TypeClass::Float | TypeClass::Date | TypeClass::LocalTime | TypeClass::Instant
        )
    };
    let left = |builder: &mut Builder, column: &Physical| {
        if sure(column) {
            builder.push(&column.quoted);
        } else {
            builder.push("CAST(").push(&column.quoted).push(" AS text)");
        }
    };
    let right = |builder: &mut Builder, place: usize, column: &Physical| {
        let cast = if sure(column) {
            column.cast.as_str()
        } else {
            "text"
        };
        builder
            .push("CAST(")
            .bind(list(place))
            .push(" AS ")
            .push(cast)
            .push("[])");
    };
    if let [column] = columns {
        left(builder, column);
        builder.push(" = ANY(");
        right(builder, 0, column);
        builder.push(")");
        return;
    }
    builder.push("(");
    builder.each(columns, ", ", |builder, column| left(builder, column));
    builder.push(") IN (SELECT * FROM unnest(");
    builder.each(columns.iter().enumerate(), ", ", |builder, (place, column)| {
        right(builder, place, column);
    });
    builder.push("))");
}

/// The list is filled up to a power of two with its last key, so that the server sees few different statements.
fn matches_list(
    builder: &mut Builder,
    columns: &[&Physical],
    keys: &[Vec<String>],
) -> Result<(), SourceError> {
    let Some(last) = keys.last() else {
        builder.push("1 = 0");
        return Ok(());
    };
    let padding = keys.len().next_power_of_two() - keys.len();
    let padded = keys.iter().chain(std::iter::repeat_n(last, padding));
    let single = columns.len() == 1;
    if single {
        builder.push(&columns[0].quoted).push(" IN (");
    } else {
        builder.push("(");
    }
    for (place, parts) in padded.enumerate() {
        if place > 0 {
            builder.push(if single { ", " } else { " OR " });
        }
        if single {
            value(builder, columns[0], &parts[0])?;
            continue;
        }
        builder.push("(");
        for (place, (column, part)) in columns.iter().zip(parts).enumerate() {
            builder
                .push(if place > 0 { " AND " } else { "" })
                .push(&column.quoted)
                .push(" = ");
            value(builder, column, part)?;
        }
        builder.push(")");
    }
    builder.push(")");
    Ok(())
}

/// One parameter for the whole list, so that the statement is always the same.
fn matches_json(builder: &mut Builder, columns: &[&Physical], keys: &[Vec<String>]) {
    let left = |builder: &mut Builder, column: &Physical| {
        if column.class == TypeClass::Binary {
            ordered(builder, column, false);
        } else {
            builder.push(&column.quoted);
        }
    };
    let single = columns.len() == 1;
    let list = if single {
        let keys: Vec<&str> = keys.iter().map(|parts| parts[0].as_str()).collect();
        serde_json::to_string(&keys)
    } else {
        serde_json::to_string(keys)
    };
    // Lists of texts can always be written.
    let list = Parameter::Text(list.unwrap_or_else(|_| "[]".into()));
    if single {
        left(builder, columns[0]);
        builder
            .push(" IN (SELECT value FROM json_each(")
            .bind(list)
            .push("))");
        return;
    }
    builder.push("(");
    builder.each(columns, ", ", |builder, column| left(builder, column));
    builder.push(") IN (SELECT ");
    builder.each(0..columns.len(), ", ", |builder, place| {
        builder.push("json_extract(value, '$[").number(place).push("]')");
    });
    builder.push(" FROM json_each(").bind(list).push("))");
}

/// The keys that can be there at all, each once and in its normal form.
pub(crate) fn normal_keys<'k>(
    kind: crate::settings::SourceKind,
    columns: &[&Physical],
    keys: impl Iterator<Item = Vec<&'k str>>,
) -> Vec<Vec<String>> {
    let mut normal: Vec<Vec<String>> = keys
        .filter_map(|parts| normal_key(kind, columns, &parts))
        .collect();
    normal.sort_unstable();
    normal.dedup();
    normal
}

/// A key in its normal form; none when nothing there can be the same.
pub(crate) fn normal_key(
    kind: crate::settings::SourceKind,
    columns: &[&Physical],
    parts: &[&str],
) -> Option<Vec<String>> {
    if parts.len() != columns.len() {
        return None;
    }
    columns
        .iter()
        .zip(parts)
        .map(|(column, part)| key::normal(kind, column, part))
        .collect()
}
