//! Filters on texts.

use super::{Registry, present, text_of};
use crate::engine::{charge, invalid};
use minijinja::{Error, State, Value};

pub(super) fn install(filters: &mut Registry<'_>) {
    filters.add("truncate", truncate);
    filters.add("upper", |state: &mut State, value: &Value| {
        changed(state, value, "upper", str::to_uppercase)
    });
    filters.add("lower", |state: &mut State, value: &Value| {
        changed(state, value, "lower", str::to_lowercase)
    });
    filters.add("trim", |state: &mut State, value: &Value| {
        changed(state, value, "trim", |text| text.trim().to_owned())
    });
    filters.add("capitalize", |state: &mut State, value: &Value| {
        changed(state, value, "capitalize", |text| capitalized(text.trim()))
    });
    filters.add("title", |state: &mut State, value: &Value| {
        changed(state, value, "title", |text| {
            text.split_whitespace()
                .map(capitalized)
                .collect::<Vec<_>>()
                .join(" ")
        })
    });
    filters.env.add_filter("default", default);
}

fn changed(
    state: &mut State,
    value: &Value,
    filter: &str,
    change: impl Fn(&str) -> String,
) -> Result<String, Error> {
    let text = text_of(value, filter)?;
    charge(state, text.len())?;
    Ok(change(text))
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// `name|truncate(20)`: at most 20 characters, cut after a word where one ends in the last third.
fn truncate(state: &mut State, value: &Value, length: usize) -> Result<String, Error> {
    let text = text_of(value, "truncate")?;
    if !(4..=10_000).contains(&length) {
        return Err(invalid("truncate takes a length from 4 to 10000"));
    }
    charge(state, text.len().min(length * 4))?;
    if text.chars().nth(length).is_none() {
        return Ok(text.to_owned());
    }
    // Three dots rather than an ellipsis: they keep an SMS in the 7-bit alphabet.
    let kept: String = text.chars().take(length - 3).collect();
    let cut = match kept.rfind(char::is_whitespace) {
        Some(at) if at * 3 >= kept.len() * 2 => &kept[..at],
        _ => &kept,
    };
    Ok(format!("{}...", cut.trim_end()))
}

/// `name|default("there")`: the only way to fill a hole, written out where it happens. An empty text counts as a
/// hole here.
fn default(value: &Value, other: &Value) -> Result<Value, Error> {
    let empty = value.as_str().is_some_and(|text| text.trim().is_empty());
    if crate::values::is_missing(value) || empty {
        return present(other).cloned();
    }
    Ok(value.clone())
}
