//! Whether conditions can be asked: the operator's operand, and values of the column's kind.

use super::definition::{Condition, Definition, Literal, Operator};
use super::schema::ColumnKind;
use super::validate::{MOST_DAYS, Problems};
use jiff::Timestamp;
use jiff::civil::Date;

const MOST_VALUES: usize = 50;
const LONGEST_TEXT: usize = 200;

/// What an operator is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operand {
    Nothing,
    Value,
    Values,
    Days,
}

const fn operand(operator: Operator) -> Operand {
    match operator {
        Operator::Present | Operator::Absent => Operand::Nothing,
        Operator::OneOf | Operator::NoneOf => Operand::Values,
        Operator::OlderThan | Operator::Within => Operand::Days,
        Operator::Equal
        | Operator::NotEqual
        | Operator::AtLeast
        | Operator::AtMost
        | Operator::MoreThan
        | Operator::LessThan => Operand::Value,
    }
}

const fn orders(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::AtLeast | Operator::AtMost | Operator::MoreThan | Operator::LessThan
    )
}

pub(super) fn check(definition: &Definition, index: usize, condition: &Condition, problems: &mut Problems) {
    let at = |field: &str| format!("conditions[{index}].{field}");
    check_operands(condition, &at, problems);
    for value in condition.value.iter().chain(&condition.values) {
        literal(&at("value"), value, problems);
    }
    let Some(place) = definition.known_place(&at("column"), &condition.column, problems) else {
        return;
    };
    let Some(kind) = place.kind() else { return };
    let operator = condition.is;
    if orders(operator) && matches!(kind, ColumnKind::Text | ColumnKind::Flag | ColumnKind::Key) {
        problems.add(
            at("is"),
            format!(
                "{operator} needs a number, date or instant, and \"{}\" holds {kind}",
                condition.column
            ),
        );
        return;
    }
    if operand(operator) == Operand::Days && !matches!(kind, ColumnKind::Date | ColumnKind::Instant) {
        problems.add(
            at("is"),
            format!(
                "{operator} needs a date or an instant, and \"{}\" holds {kind}",
                condition.column
            ),
        );
    }
    let compared: &[Literal] = match operand(operator) {
        Operand::Value => condition.value.as_slice(),
        Operand::Values => &condition.values,
        Operand::Nothing | Operand::Days => &[],
    };
    for value in compared {
        problems.unless(fits(kind, value), &at("value"), || {
            format!("\"{}\" holds {kind}; write {}", condition.column, form(kind))
        });
    }
}

fn check_operands(condition: &Condition, at: &impl Fn(&str) -> String, problems: &mut Problems) {
    let wanted = operand(condition.is);
    let given = [
        (Operand::Value, "value", condition.value.is_some()),
        (Operand::Values, "values", !condition.values.is_empty()),
        (Operand::Days, "days", condition.days.is_some()),
    ];
    for (which, field, is_given) in given {
        let operator = condition.is;
        problems.unless(is_given || which != wanted, &at(field), || {
            format!("{operator} needs {field}")
        });
        problems.unless(!is_given || which == wanted, &at(field), || {
            format!("{operator} takes no {field}; leave it out")
        });
    }
    problems.unless(condition.values.len() <= MOST_VALUES, &at("values"), || {
        format!("{} are too many; at most {MOST_VALUES}", condition.values.len())
    });
    if let Some(days) = condition.days {
        problems.range(&at("days"), days, 0, MOST_DAYS);
    }
}

/// Checks a value written in a definition.
pub(super) fn literal(at: &str, value: &Literal, problems: &mut Problems) {
    match value {
        Literal::Number(number) => {
            problems.unless(number.is_finite(), at, || "write a finite number".to_owned());
        }
        Literal::Text(text) => {
            let good = text.chars().count() <= LONGEST_TEXT;
            problems.unless(good, at, || format!("is longer than {LONGEST_TEXT} characters"));
        }
        Literal::Flag(_) => {}
    }
}

fn fits(kind: ColumnKind, value: &Literal) -> bool {
    match (kind, value) {
        (ColumnKind::Text | ColumnKind::Key, Literal::Text(_) | Literal::Number(_))
        | (ColumnKind::Number, Literal::Number(_))
        | (ColumnKind::Flag, Literal::Flag(_)) => true,
        (ColumnKind::Date, Literal::Text(text)) => text.trim().parse::<Date>().is_ok(),
        (ColumnKind::Instant, Literal::Text(text)) => {
            text.trim().parse::<Timestamp>().is_ok() || text.trim().parse::<Date>().is_ok()
        }
        _ => false,
    }
}

const fn form(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text | ColumnKind::Key => "text or a number",
        ColumnKind::Number => "a number",
        ColumnKind::Flag => "true or false",
        ColumnKind::Date => "a date in quotes: \"2027-06-12\"",
        ColumnKind::Instant => "a date or an instant in quotes: \"2027-06-12\", \"2027-06-12T10:00:00Z\"",
    }
}
