//! Numbers, amounts of money and shares, written as the template's locale writes them.

use super::{Registry, present};
use crate::engine::invalid;
use crate::locale::{Grouping, Locale, SymbolPlace, currency};
use minijinja::{Error, State, Value};

/// Largest amount that keeps whole units exact in an `f64`.
const MAX_AMOUNT: f64 = 9e15;

pub(super) fn install(filters: &mut Registry<'_>) {
    filters.add("money", money);
    filters.add("number", number);
    filters.add("percent", percent);
}

/// The number of a value: a JSON number or a text holding only one. Texts with words are `None`.
pub(super) fn amount_of(value: &Value) -> Result<Option<f64>, Error> {
    let value = present(value)?;
    let amount = match value.as_str() {
        Some(text) => match text.trim().parse::<f64>() {
            Ok(amount) => amount,
            Err(_) if text.chars().any(char::is_alphabetic) || !text.is_ascii() => return Ok(None),
            Err(_) => {
                return Err(invalid(
                    "an amount is a number (1250.5) without separators or symbols",
                ));
            }
        },
        None => f64::try_from(value.clone())
            .map_err(|_| invalid(format!("an amount is a number, not a {}", value.kind())))?,
    };
    if amount.is_finite() && amount.abs() <= MAX_AMOUNT {
        Ok(Some(amount))
    } else {
        Err(invalid("an amount lies between -9e15 and 9e15"))
    }
}

/// `1234.5|money("EUR")`. Without a currency (or with a missing or empty one) the number stands alone. Whole amounts are
/// written without decimals. A text with words ("on request") stands as it is.
fn money(state: &mut State, value: &Value, code: Option<&Value>) -> Result<String, Error> {
    let Some(amount) = amount_of(value)? else {
        return Ok(value.as_str().unwrap_or_default().to_owned());
    };
    let locale = super::locale(state);
    let code = match code.filter(|code| !crate::values::is_missing(code) && code.as_str() != Some("")) {
        None => return Ok(decimal(amount, if amount.fract() == 0.0 { 0 } else { 2 }, locale)),
        Some(code) => code.as_str().unwrap_or_default(),
    };
    if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(invalid(
            "a currency is an ISO 4217 code of three letters, for example EUR",
        ));
    }
    let code = code.to_ascii_uppercase();
    let money = currency(&code);
    let decimals = if amount.fract() == 0.0 { 0 } else { money.decimals };
    let grouping = if code == "INR" {
        Grouping::Indian
    } else {
        locale.grouping
    };
    let figure = decimal(amount.abs(), decimals, &Locale { grouping, ..*locale });
    let sign = if amount < 0.0 { "-" } else { "" };
    Ok(match locale.symbol {
        SymbolPlace::Before if money.symbol.ends_with(char::is_alphabetic) => {
            format!("{sign}{}\u{a0}{figure}", money.symbol)
        }
        SymbolPlace::Before => format!("{sign}{}{figure}", money.symbol),
        SymbolPlace::After => format!("{sign}{figure}\u{a0}{}", money.symbol),
    })
}

/// `1234567|number`, `2.5|number(1)`.
fn number(state: &mut State, value: &Value, decimals: Option<u32>) -> Result<String, Error> {
    let Some(amount) = amount_of(value)? else {
        return Ok(value.as_str().unwrap_or_default().to_owned());
    };
    let decimals = decimals
        .unwrap_or(if amount.fract() == 0.0 { 0 } else { 2 })
        .min(6);
    Ok(decimal(amount, decimals as usize, super::locale(state)))
}

/// `26|percent`: whole percents.
fn percent(state: &mut State, value: &Value) -> Result<String, Error> {
    let Some(amount) = amount_of(value)? else {
        return Ok(value.as_str().unwrap_or_default().to_owned());
    };
    let locale = super::locale(state);
    let space = if locale.symbol == SymbolPlace::After {
        "\u{a0}"
    } else {
        ""
    };
    Ok(format!("{}{space}%", decimal(amount, 0, locale)))
}

/// A number with the locale's separators.
fn decimal(amount: f64, decimals: usize, locale: &Locale) -> String {
    let plain = format!("{:.decimals$}", amount.abs());
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let negative = amount < 0.0 && plain.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    let mut out = String::with_capacity(plain.len() + 8);
    if negative {
        out.push('-');
    }
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        let boundary = match locale.grouping {
            Grouping::Thousands => left.is_multiple_of(3),
            Grouping::Indian => left == 3 || (left > 3 && (left - 3).is_multiple_of(2)),
        };
        if index > 0 && boundary {
            out.push(locale.group);
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push(locale.decimal);
        out.push_str(fraction);
    }
    out
}
