//! Reading words, JSON and channels from columns, and bounds that every list keeps.

use crate::{Result, StoreError};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::str::FromStr;
use tidings_core::Channel;
use uuid::Uuid;

/// The most rows one page of a list holds.
pub const PAGE_LIMIT: u32 = 500;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page<T, C> {
    /// The rows, in the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; none when this was the last.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// From one row more than a page holds: its presence says that there is a next page.
    pub(crate) fn from_rows(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> C) -> Self {
        let limit = limit.clamp(1, PAGE_LIMIT) as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }
}

/// How many rows to ask for, to fill a page and know whether there is another.
pub(crate) fn rows_for(limit: u32) -> i64 {
    i64::from(limit.clamp(1, PAGE_LIMIT)) + 1
}

/// A word of an enum. Fails when a newer version wrote a word this one does not know.
pub(crate) fn word<T: FromStr>(column: &'static str, text: &str) -> Result<T>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| StoreError::invalid(column, error.to_string()))
}

/// The least UUID version 7 of an instant: ids are in order of time.
pub(crate) fn first_id_of(at: Timestamp) -> Uuid {
    let milliseconds = u128::from(at.as_millisecond().max(0).unsigned_abs());
    Uuid::from_u128(milliseconds << 80)
}

pub(crate) fn channels(column: &'static str, words: &[String]) -> Result<Vec<Channel>> {
    words.iter().map(|text| word(column, text)).collect()
}

pub(crate) fn channel_words(channels: &[Channel]) -> Vec<String> {
    let mut words: Vec<String> = Vec::with_capacity(channels.len());
    for channel in channels {
        if !words.iter().any(|word| word == channel.as_str()) {
            words.push(channel.as_str().to_owned());
        }
    }
    words
}

pub(crate) fn from_json<T: DeserializeOwned>(column: &'static str, value: serde_json::Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| StoreError::json(column, &error))
}

pub(crate) fn to_json<T: Serialize>(column: &'static str, value: &T) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|error| StoreError::json(column, &error))
}

/// Refuses an empty or overlong text.
pub(crate) fn check_length(field: &'static str, text: &str, most: usize) -> Result<()> {
    let length = text.chars().count();
    if length == 0 || length > most {
        return Err(StoreError::invalid(
            field,
            format!("needs 1 to {most} characters, has {length}"),
        ));
    }
    Ok(())
}
