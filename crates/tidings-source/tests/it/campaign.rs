//! Definitions to read by.

use jiff::Timestamp;
use tidings_core::campaign::{Bound, Definition, Row};
use tidings_source::{Source, SourceError};

/// A definition that reads a table, with relations given in TOML.
pub fn reading(from: &str, related: &str) -> Definition {
    toml::from_str(&format!(
        r#"
        name = "seen"
        title = "Seen"
        purpose = "Reads rows."
        message_type = "reminder"
        category = "service"
        urgency = "normal"
        from = "{from}"
        schedule = {{ every = "day", hour_utc = 14 }}
        due = {{ rule = "season", word = "spring" }}
        {related}
        "#
    ))
    .unwrap()
}

/// 2027-06-15, 12:00 UTC.
pub fn as_of() -> Timestamp {
    "2027-06-15T12:00:00Z".parse().unwrap()
}

/// All rows, page by page.
pub async fn read(
    source: &Source,
    definition: &Definition,
    bounds: &[Bound],
) -> Result<Vec<Row>, SourceError> {
    let mut pages = source.pages(definition, as_of(), bounds, None).await?;
    let mut rows = Vec::new();
    while let Some(page) = pages.next_page().await? {
        assert_eq!(page.last_key, page.rows.last().map(|row| row.key.clone()));
        rows.extend(page.rows);
    }
    Ok(rows)
}

pub fn keys(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.key.as_str()).collect()
}
