//! Filters for values inside URLs and style attributes. The compiler adds them by itself where a value stands in
//! such a place, so that a value can neither bring its own scheme nor leave its place.

use super::{Registry, present, text_of};
use crate::engine::{charge, invalid};
use crate::links::{Refused, checked_url};
use minijinja::{Error, State, Value};
use std::fmt::Write;

/// Checks a value that begins a link.
pub(crate) const LINK_FILTER: &str = "tidings_link";
/// Checks a value that begins the address of a picture.
pub(crate) const PICTURE_FILTER: &str = "tidings_picture";
/// Encodes a value inside a URL.
pub(crate) const COMPONENT_FILTER: &str = "urlencode";
/// Encodes a value inside a mail address or telephone number.
pub(crate) const ADDRESS_FILTER: &str = "tidings_address";
/// Checks a value inside a style.
pub(crate) const STYLE_FILTER: &str = "tidings_style";

pub(super) fn install(filters: &mut Registry<'_>) {
    filters.add(LINK_FILTER, |value: &Value| link(value, false));
    filters.add(PICTURE_FILTER, |value: &Value| link(value, true));
    filters.add(COMPONENT_FILTER, |state: &mut State, value: &Value| {
        encoded(state, value, b"-._~")
    });
    filters.add(ADDRESS_FILTER, address);
    filters.add(STYLE_FILTER, style);
}

fn link(value: &Value, picture: bool) -> Result<Value, Error> {
    let text = text_of(value, "a link")?;
    match checked_url(text, picture) {
        Ok(()) => Ok(value.clone()),
        Err(Refused) if picture => Err(invalid(
            "the address of a picture begins with https://; change the value",
        )),
        Err(Refused) => Err(invalid(
            "a link begins with https://, http://, mailto: or tel:; change the value it is made of",
        )),
    }
}

fn address(state: &mut State, value: &Value) -> Result<String, Error> {
    encoded(state, value, b"-._~@+")
}

/// Everything but letters, digits and what is named, percent-encoded (RFC 3986 section 2.1).
fn encoded(state: &mut State, value: &Value, kept: &[u8]) -> Result<String, Error> {
    let text = present(value)?.to_string();
    charge(state, text.len() * 3)?;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}")?;
        }
    }
    Ok(out)
}

/// Colours, lengths and names only: nothing that ends the declaration or fetches something.
fn style(value: &Value) -> Result<Value, Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '#' | '.' | ',' | '%' | ' ' | '-');
    let fits = match present(value)?.as_str() {
        Some(text) => text.len() <= 64 && text.chars().all(plain),
        None => value.is_number(),
    };
    if fits {
        Ok(value.clone())
    } else {
        Err(invalid(
            "a value inside a style is a colour, number or name (#0f766e, 40%); change the value",
        ))
    }
}
