//! The variables of the template, from a row that is due.

use super::assess::{Due, Malformed};
use super::cells::{self, is_blank};
use super::definition::{ContextSource, Definition, Literal};
use super::row::{Cell, Row};
use super::schema::LogicalTable;
use super::words;
use serde_json::{Map, Value};

/// What stands where nothing is known of a customer's name.
const SOMEBODY: &str = "customer";

/// The variables, as the definition names them. Days are ISO dates, instants RFC 3339, whole numbers have no decimals.
/// What is empty or not mapped is left out, and so is what is malformed.
///
/// # Errors
/// When a variable of `required_context` is malformed, or is not there.
pub fn context(definition: &Definition, row: &Row, due: &Due) -> Result<Map<String, Value>, Malformed> {
    let mut variables = Map::new();
    for (variable, source) in &definition.context {
        let required = definition.required_context.contains(variable);
        match value(definition, row, due, source) {
            Ok(Some(value)) => {
                variables.insert(variable.clone(), value);
            }
            Err(malformed) if required => return Err(malformed),
            Ok(None) if required => return Err(missing(variable, source)),
            Ok(None) | Err(_) => {}
        }
    }
    Ok(variables)
}

fn missing(variable: &str, source: &ContextSource) -> Malformed {
    let column = match source {
        ContextSource::Name(name) => name.clone(),
        ContextSource::Value { .. } => variable.to_owned(),
    };
    Malformed {
        column,
        problem: format!("is empty, and the message cannot be written without its {variable}"),
    }
}

fn value(
    definition: &Definition,
    row: &Row,
    due: &Due,
    source: &ContextSource,
) -> Result<Option<Value>, Malformed> {
    let name = match source {
        ContextSource::Value { value } => return Ok(Some(literal(value))),
        ContextSource::Name(name) => name.as_str(),
    };
    match name {
        "customer_name" => Ok(Some(Value::from(customer_name(definition, row)))),
        "equipment_label" => equipment_label(definition, row),
        _ => match due.known.get(name) {
            Some(known) => Ok(Some(known.clone())),
            None => of_cell(name, cells::cell(definition, row, name)),
        },
    }
}

fn literal(literal: &Literal) -> Value {
    match literal {
        Literal::Flag(flag) => Value::from(*flag),
        Literal::Number(number) => words::json_number(*number),
        Literal::Text(text) => Value::from(text.as_str()),
    }
}

fn of_cell(name: &str, cell: &Cell) -> Result<Option<Value>, Malformed> {
    let malformed = |problem: &str| Malformed {
        column: name.to_owned(),
        problem: problem.to_owned(),
    };
    Ok(Some(match cell {
        Cell::Unmapped | Cell::Null => return Ok(None),
        Cell::Text(text) if is_blank(text.expose()) => return Ok(None),
        Cell::Malformed { problem } => return Err(malformed(problem)),
        Cell::Number(number) if !number.is_finite() => return Err(malformed("is not a finite number")),
        Cell::Number(number) => words::json_number(*number),
        Cell::Text(text) => Value::from(text.expose().trim()),
        Cell::Date(day) => Value::from(day.to_string()),
        Cell::Instant(instant) => Value::from(instant.to_string()),
        Cell::Flag(flag) => Value::from(*flag),
    }))
}

/// First name, else company, else last name.
fn customer_name(definition: &Definition, row: &Row) -> String {
    let cell = |name: &str| match &row.customer {
        Some(customer) => customer.cell(name),
        None if definition.from == LogicalTable::Customers => row.cell(name),
        None => &Cell::Null,
    };
    ["first_name", "company", "last_name"]
        .into_iter()
        .find_map(|name| text(cell(name)))
        .unwrap_or(SOMEBODY)
        .to_owned()
}

/// Make and model, else the type. On tables without them they are related values of the same names.
fn equipment_label(definition: &Definition, row: &Row) -> Result<Option<Value>, Malformed> {
    let cell = |name: &str| cells::cell(definition, row, name);
    let parts = ["equipment_make", "equipment_model"];
    let named: Vec<&str> = parts.iter().filter_map(|name| text(cell(name))).collect();
    if !named.is_empty() {
        return Ok(Some(Value::from(named.join(" "))));
    }
    if let Some(kind) = text(cell("equipment_type")) {
        return Ok(Some(Value::from(kind)));
    }
    let all = parts.into_iter().chain(["equipment_type"]);
    for name in all {
        of_cell(name, cell(name))?;
    }
    Ok(None)
}

fn text(cell: &Cell) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text.expose().trim()).filter(|text| !text.is_empty()),
        _ => None,
    }
}
