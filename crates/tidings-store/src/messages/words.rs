//! Words between tables and types.

use std::str::FromStr;
use tidings_core::Channel;
use tidings_core::word::UnknownWord;

/// Reads a word of a column; a word this version does not know is a decoding error that names it.
pub(crate) fn word<T>(text: &str) -> Result<T, sqlx::Error>
where
    T: FromStr<Err = UnknownWord>,
{
    text.parse()
        .map_err(|error: UnknownWord| sqlx::Error::Decode(error.to_string().into()))
}

/// Reads an optional word.
pub(crate) fn optional_word<T>(text: Option<&str>) -> Result<Option<T>, sqlx::Error>
where
    T: FromStr<Err = UnknownWord>,
{
    text.map(word).transpose()
}

/// Reads a list of channels.
pub(crate) fn channels(list: &[String]) -> Result<Vec<Channel>, sqlx::Error> {
    list.iter().map(|text| word(text)).collect()
}

/// Channels as one text, comma separated: the form in which a list travels inside an array column.
pub(crate) fn joined(list: &[Channel]) -> String {
    list.iter()
        .map(|channel| channel.as_str())
        .collect::<Vec<_>>()
        .join(",")
}
