//! The conditions of the `filter` of a mapping, and the bounds of a run, as SQL.

use crate::catalogue::TypeClass;
use crate::error::SourceError;
use crate::mapping::{FilterTest, RowFilter, Scalar};
use crate::plan::{From, Physical, Reader, TablePlan};
use crate::settings::SourceKind;
use crate::statement::{Builder, Parameter};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use tidings_core::campaign::{Bound, Range};

/// `1 = 1`, and every filter of the table.
pub(crate) fn filters(builder: &mut Builder, table: &TablePlan) {
    builder.push("1 = 1");
    for (column, filter) in &table.filters {
        builder.push(" AND ");
        match filter.test() {
            Some(FilterTest::OneOf(values)) => {
                builder.push(&column.quoted).push(" IN (");
                builder.each(values, ", ", |builder, value| scalar(builder, column, value));
                builder.push(")");
            }
            Some(FilterTest::NoneOf(values)) => {
                builder
                    .push("(")
                    .push(&column.quoted)
                    .push(" IS NULL OR ")
                    .push(&column.quoted)
                    .push(" NOT IN (");
                builder.each(values, ", ", |builder, value| scalar(builder, column, value));
                builder.push("))");
            }
            Some(FilterTest::Null) => {
                builder.push(&column.quoted).push(" IS NULL");
            }
            Some(FilterTest::NotNull) | None => {
                builder.push(&column.quoted).push(" IS NOT NULL");
            }
        }
    }
}

/// A filter that no value of the column can meet is a mistake; MySQL would take a word for the number 0.
pub(crate) fn check(column: &Physical, filter: &RowFilter) -> Result<(), SourceError> {
    let number = matches!(
        column.class,
        TypeClass::Integer | TypeClass::Decimal | TypeClass::Float
    );
    let (Some(FilterTest::OneOf(values) | FilterTest::NoneOf(values)), true) = (filter.test(), number) else {
        return Ok(());
    };
    let word = |value: &Scalar| matches!(value, Scalar::Text(text) if text.trim().parse::<f64>().is_err());
    if values.iter().any(word) {
        return Err(SourceError::mapping(format!(
            "the filter compares {} with a word, but the column holds numbers",
            column.name
        )));
    }
    Ok(())
}

fn scalar(builder: &mut Builder, column: &Physical, value: &Scalar) {
    let number = |value: f64| format!("{value}");
    match builder.kind {
        SourceKind::Postgresql => {
            let text = match value {
                Scalar::Flag(flag) => flag.to_string(),
                Scalar::Integer(integer) => integer.to_string(),
                Scalar::Number(value) => number(*value),
                Scalar::Text(text) => text.clone(),
            };
            builder
                .push("CAST(")
                .bind(Parameter::Text(text))
                .push(" AS ")
                .push(&column.cast)
                .push(")");
        }
        SourceKind::Mysql | SourceKind::Sqlite => {
            // Texts are compared with texts: MySQL would take every word for the number 0.
            let as_text = column.class == TypeClass::Text;
            builder.bind(match value {
                Scalar::Flag(flag) if as_text => Parameter::Text(flag.to_string()),
                Scalar::Integer(integer) if as_text => Parameter::Text(integer.to_string()),
                Scalar::Number(value) if as_text => Parameter::Text(number(*value)),
                Scalar::Flag(flag) => Parameter::Integer(i64::from(*flag)),
                Scalar::Integer(integer) => Parameter::Integer(*integer),
                Scalar::Number(value) => Parameter::Number(*value),
                Scalar::Text(text) => Parameter::Text(text.clone()),
            });
        }
    }
}

/// What is out of all bounds is left out. Nulls, and what the column's type holds beside values, stay.
pub(crate) fn bounds(builder: &mut Builder, table: &TablePlan, bounds: &[Bound]) {
    for bound in bounds {
        let Some(reader) = table.reader(&bound.column).filter(|reader| reader.plain) else {
            continue;
        };
        let From::Column(place) = reader.from else {
            continue;
        };
        let column = &table.physical[place];
        let Some(span) = span(builder.kind, reader, column, &bound.range) else {
            continue;
        };
        builder.push(" AND (");
        within(builder, column, &span);
        builder.push(" OR ").push(&column.quoted).push(" IS NULL");
        odd(builder, column, &bound.range);
        builder.push(")");
    }
}

/// The ends of a range as the column holds them.
struct Span {
    from: Option<Parameter>,
    to: Option<Parameter>,
    /// PostgreSQL casts the texts to this.
    cast: &'static str,
}

fn within(builder: &mut Builder, column: &Physical, span: &Span) {
    let left = match (builder.kind, column.class) {
        // The day of whatever is written there.
        (SourceKind::Sqlite, _)
            if matches!(span.from.as_ref().or(span.to.as_ref()), Some(Parameter::Text(_))) =>
        {
            format!("substr({}, 1, 10)", column.quoted)
        }
        _ => column.quoted.clone(),
    };
    let end = |builder: &mut Builder, operator: &str, value: &Parameter| {
        builder.push(&left).push(operator);
        if builder.kind == SourceKind::Postgresql {
            builder
                .push("CAST(")
                .bind(value.clone())
                .push(" AS ")
                .push(span.cast)
                .push(")");
        } else {
            builder.bind(value.clone());
        }
    };
    builder.push("(");
    match (&span.from, &span.to) {
        (Some(from), Some(to)) => {
            end(builder, " >= ", from);
            builder.push(" AND ");
            end(builder, " <= ", to);
        }
        (Some(from), None) => end(builder, " >= ", from),
        (None, Some(to)) => end(builder, " <= ", to),
        (None, None) => {
            builder.push("1 = 1");
        }
    }
    builder.push(")");
}

/// What the type holds beside proper values: it is listed as malformed, so it must be read.
fn odd(builder: &mut Builder, column: &Physical, range: &Range) {
    let name = &column.quoted;
    let numbers = matches!(range, Range::Numbers { .. });
    let sql = match (builder.kind, column.class) {
        (SourceKind::Postgresql, TypeClass::Float) => {
            format!(" OR {name} IN ('NaN', 'Infinity', '-Infinity')")
        }
        (SourceKind::Postgresql, TypeClass::Decimal) => format!(" OR {name} = 'NaN'"),
        (SourceKind::Postgresql, TypeClass::Date | TypeClass::LocalTime | TypeClass::Instant) => {
            format!(" OR {name} < '0001-01-01' OR {name} > '9999-12-31'")
        }
        (SourceKind::Mysql, TypeClass::Date | TypeClass::LocalTime | TypeClass::Instant) => {
            format!(" OR {name} < '1000-01-01'")
        }
        (SourceKind::Sqlite, _) if numbers => format!(" OR typeof({name}) NOT IN ('integer', 'real')"),
        (SourceKind::Sqlite, _) => format!(
            " OR typeof({name}) <> 'text' OR datetime({name}) IS NULL OR date(substr({name}, 1, 10)) IS NOT substr({name}, 1, 10)"
        ),
        _ => String::new(),
    };
    builder.push(&sql);
}

fn span(kind: SourceKind, reader: &Reader, column: &Physical, range: &Range) -> Option<Span> {
    match range {
        Range::Numbers { from, to } => numbers(kind, column, *from, *to),
        Range::Dates { from, to } => days(kind, column, *from, *to),
        Range::Instants { from, to } => instants(kind, reader, column, *from, *to),
    }
}

fn numbers(kind: SourceKind, column: &Physical, from: Option<f64>, to: Option<f64>) -> Option<Span> {
    if from.or(to).is_none_or(|end| !end.is_finite() || end.abs() > 9e15)
        || to.is_some_and(|end| !end.is_finite() || end.abs() > 9e15)
    {
        return None;
    }
    // What was stored inexactly may lie a little outside.
    let slack = if column.class == TypeClass::Float {
        1e-6
    } else {
        0.0
    };
    let from = from.map(|end| end - end.abs() * slack);
    let to = to.map(|end| end + end.abs() * slack);
    let written = |end: f64| match kind {
        SourceKind::Postgresql => Parameter::Text(format!("{end}")),
        SourceKind::Mysql | SourceKind::Sqlite => Parameter::Number(end),
    };
    match column.class {
        TypeClass::Integer if kind == SourceKind::Postgresql => Some(Span {
            from: from.map(|end| written(end.ceil())),
            to: to.map(|end| written(end.floor())),
            cast: "bigint",
        }),
        TypeClass::Integer | TypeClass::Decimal | TypeClass::Float => Some(Span {
            from: from.map(written),
            to: to.map(written),
            cast: if column.class == TypeClass::Float {
                "double precision"
            } else {
                "numeric"
            },
        }),
        _ => None,
    }
}

fn days(kind: SourceKind, column: &Physical, from: Option<Date>, to: Option<Date>) -> Option<Span> {
    // A time belongs to another day in another zone.
    let (less, more) = match (kind, column.class) {
        (SourceKind::Sqlite, _) => (2, 2),
        (_, TypeClass::Date) => (0, 0),
        (_, TypeClass::LocalTime | TypeClass::Instant) => (2, 3),
        _ => return None,
    };
    day_span(kind, column, from, to, (less, more))
}

fn instants(
    kind: SourceKind,
    reader: &Reader,
    column: &Physical,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Option<Span> {
    if kind != SourceKind::Sqlite && column.class == TypeClass::Instant {
        let written = |instant: Timestamp| {
            let text = instant.strftime("%Y-%m-%d %H:%M:%S").to_string();
            Parameter::Text(if kind == SourceKind::Postgresql {
                text + "+00"
            } else {
                text
            })
        };
        return Some(Span {
            from: from
                .and_then(|end| end.checked_sub(1.second()).ok())
                .filter(|end| end.as_second() > 0)
                .map(written),
            to: to.and_then(|end| end.checked_add(1.second()).ok()).map(written),
            cast: "timestamptz",
        });
    }
    let day = |instant: Timestamp| instant.to_zoned(reader.writing.zone.clone()).date();
    days(kind, column, from.map(day), to.map(day))?;
    // The day itself, and one more on either side for times that a zone moves.
    day_span(kind, column, from.map(day), to.map(day), (2, 3))
}

fn day_span(
    kind: SourceKind,
    column: &Physical,
    from: Option<Date>,
    to: Option<Date>,
    (less, more): (i64, i64),
) -> Option<Span> {
    if kind == SourceKind::Sqlite && matches!(column.class, TypeClass::Integer | TypeClass::Float) {
        return None;
    }
    let written = |day: Date| {
        (1..=9998)
            .contains(&day.year())
            .then(|| Parameter::Text(day.to_string()))
    };
    // An end that cannot be written is open.
    Some(Span {
        from: from
            .and_then(|day| day.checked_sub(less.days()).ok())
            .and_then(written),
        to: to
            .and_then(|day| day.checked_add(more.days()).ok())
            .and_then(written),
        cast: match column.class {
            TypeClass::Date => "date",
            TypeClass::Instant => "timestamptz",
            _ => "timestamp",
        },
    })
}
