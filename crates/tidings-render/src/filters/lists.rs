//! Filters on lists: sizes, joining, words that go with numbers, shares for bars.

use super::money::amount_of;
use super::{Registry, present, text_of};
use crate::engine::{charge, invalid};
use crate::values::Fields;
use minijinja::value::ValueKind;
use minijinja::{Error, State, Value};

/// Most items a filter takes.
const MAX_ITEMS: usize = 1_000;

pub(super) fn install(filters: &mut Registry<'_>) {
    filters.add("length", length);
    filters.add("first", |value: &Value| end_of(value, "first"));
    filters.add("last", |value: &Value| end_of(value, "last"));
    filters.add("join", join);
    filters.add("listing", listing);
    filters.add("plural", plural);
    filters.add("paragraphs", paragraphs);
    filters.add("shares", shares);
}

fn length(value: &Value) -> Result<usize, Error> {
    let value = present(value)?;
    value
        .len()
        .ok_or_else(|| invalid(format!("length takes a list or text, not a {}", value.kind())))
}

fn items_of(value: &Value, filter: &str) -> Result<Vec<Value>, Error> {
    let value = present(value)?;
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Err(invalid(format!(
            "{filter} takes a list, not a {}; change the value or the filter",
            value.kind()
        )));
    }
    let items: Vec<Value> = value.try_iter()?.take(MAX_ITEMS + 1).collect();
    if items.len() > MAX_ITEMS {
        return Err(invalid(format!(
            "{filter} takes at most {MAX_ITEMS} items; send fewer"
        )));
    }
    Ok(items)
}

fn end_of(value: &Value, filter: &str) -> Result<Value, Error> {
    let items = items_of(value, filter)?;
    let end = if filter == "first" {
        items.first()
    } else {
        items.last()
    };
    end.cloned()
        .ok_or_else(|| invalid(format!("{filter} of an empty list; test it with if and length")))
}

fn texts_of(
    state: &mut State,
    value: &Value,
    attribute: Option<&str>,
    filter: &str,
) -> Result<Vec<String>, Error> {
    let mut texts = Vec::new();
    for item in items_of(value, filter)? {
        let item = match attribute {
            Some(name) => item.get_attr(name)?,
            None => item,
        };
        let item = present(&item)?;
        if !matches!(item.kind(), ValueKind::String | ValueKind::Number) {
            return Err(invalid(format!(
                "{filter} takes texts and numbers; name their attribute: {filter}(attribute=..)"
            )));
        }
        let text = item.to_string();
        charge(state, text.len())?;
        texts.push(text);
    }
    Ok(texts)
}

/// `names|join(", ")`, `vendors|join(", ", "name")`.
fn join(
    state: &mut State,
    value: &Value,
    separator: Option<&str>,
    attribute: Option<&str>,
) -> Result<String, Error> {
    let texts = texts_of(state, value, attribute, "join")?;
    let separator = separator.unwrap_or(", ");
    charge(state, separator.len().saturating_mul(texts.len()))?;
    Ok(texts.join(separator))
}

/// `names|listing`: "a, b and c", in the words of the locale.
fn listing(state: &mut State, value: &Value, attribute: Option<&str>) -> Result<String, Error> {
    let texts = texts_of(state, value, attribute, "listing")?;
    let and = super::locale(state).and;
    Ok(match texts.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, before)) => format!("{} {and} {last}", before.join(", ")),
    })
}

/// `count|plural("option", "options")`. Takes a number or a list. The number itself is printed apart.
fn plural(value: &Value, one: &str, many: &str) -> Result<String, Error> {
    let value = present(value)?;
    let count = match value.kind() {
        ValueKind::Seq | ValueKind::Map => value.len().unwrap_or_default() as f64,
        _ => amount_of(value)?.ok_or_else(|| invalid("plural takes a number or a list"))?,
    };
    let chosen = if (count.abs() - 1.0).abs() < f64::EPSILON {
        one
    } else {
        many
    };
    Ok(chosen.to_owned())
}

/// `body|paragraphs`: a list of paragraphs, each a list of its lines.
fn paragraphs(state: &mut State, value: &Value) -> Result<Value, Error> {
    let text = text_of(value, "paragraphs")?
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    charge(state, text.len().saturating_mul(4))?;
    let mut blocks: Vec<Vec<Value>> = vec![Vec::new()];
    for line in text.lines().map(str::trim_end).take(5_000) {
        match blocks.last_mut() {
            Some(block) if !line.trim().is_empty() => block.push(Value::from(line)),
            Some(block) if !block.is_empty() => blocks.push(Vec::new()),
            _ => {}
        }
    }
    Ok(blocks
        .into_iter()
        .filter(|block| !block.is_empty())
        .map(Value::from_iter)
        .collect())
}

/// `strategy.allocations|shares`: a list of {name, amount, percent, rest}, from a list of {name|category, amount} or
/// an object of name: amount, largest first. `percent` is the share of the sum in whole percents, for widths of bars.
fn shares(state: &mut State, value: &Value) -> Result<Value, Error> {
    let mut parts: Vec<(String, f64)> = Vec::new();
    let value = present(value)?;
    if value.kind() == ValueKind::Map {
        for key in value.try_iter()?.take(MAX_ITEMS) {
            let entry = value.get_item(&key)?;
            parts.push((key.to_string().replace('_', " "), share_amount(&entry)?));
        }
    } else {
        for item in items_of(value, "shares")? {
            let name = ["name", "category"]
                .iter()
                .find_map(|key| item.get_attr(key).ok().filter(|v| v.as_str().is_some()));
            let name = match name {
                Some(name) => name,
                None => present(&item.get_attr("name")?)?.clone(),
            };
            parts.push((text_of(&name, "shares")?.to_owned(), share_amount(&item)?));
        }
    }
    charge(state, parts.len().saturating_mul(64))?;
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    let sum: f64 = parts.iter().map(|part| part.1).sum();
    Ok(parts
        .into_iter()
        .map(|(name, amount)| {
            let percent = if sum > 0.0 {
                (amount / sum * 100.0).round().clamp(0.0, 100.0) as i64
            } else {
                0
            };
            let mut fields = Fields::default();
            fields.set("name", name);
            fields.set("amount", amount);
            fields.set("percent", percent);
            // Table cells of no width collapse in some readers: both ends of a bar keep one percent.
            fields.set("filled", percent.clamp(1, 99));
            fields.set("rest", 100 - percent.clamp(1, 99));
            Value::from_object(fields)
        })
        .collect())
}

fn share_amount(entry: &Value) -> Result<f64, Error> {
    let amount = if entry.kind() == ValueKind::Map {
        entry.get_attr("amount")?
    } else {
        entry.clone()
    };
    match amount_of(&amount)? {
        Some(amount) if amount >= 0.0 => Ok(amount),
        _ => Err(invalid("shares takes amounts of zero or more, as numbers")),
    }
}
