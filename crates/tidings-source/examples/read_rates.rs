//! How fast a source is read: loads the demonstration dealership into a database and reads it as campaigns do.
//!
//! `cargo run --release -p tidings-source --example read_rates -- load <kind> <url of an empty database> <customers>`, then
//! `... -- read <kind> <url> <rows of a page>`, which prints the rates and the most memory it held.

use std::time::Instant;
use tidings_core::campaign::{Bound, Definition, Range};
use tidings_source::demo::Dealership;
use tidings_source::{Mapping, Source, SourceSettings};

const READINGS: [(&str, &str, &str); 7] = [
    (WITHIN_A_WEEK, "equipment", ""),
    ("equipment, nothing related", "equipment", ""),
    (
        "equipment, last service and count of repairs",
        "equipment",
        r#"related = [
            { name = "last_service", table = "work_orders", by = "equipment_id", take = "latest", column = "picked_up_at" },
            { name = "repairs", table = "work_orders", by = "equipment_id", take = "count" },
        ]"#,
    ),
    (
        "customers, last visit",
        "customers",
        r#"related = [{ name = "last_visit", table = "work_orders", by = "customer_id", take = "latest", column = "dropped_off_at" }]"#,
    ),
    ("work orders, nothing related", "work_orders", ""),
    ("invoices, nothing related", "invoices", ""),
    ("appointments, nothing related", "appointments", ""),
];

/// The only one with bounds.
const WITHIN_A_WEEK: &str = "equipment sold within a week";

fn bounds(what: &str) -> Vec<Bound> {
    let range = Range::Dates {
        from: Some(jiff::civil::date(2027, 6, 1)),
        to: Some(jiff::civil::date(2027, 6, 7)),
    };
    let column = "date_sold".to_owned();
    if what == WITHIN_A_WEEK {
        vec![Bound { column, range }]
    } else {
        Vec::new()
    }
}

fn definition(from: &str, related: &str) -> Result<Definition, toml::de::Error> {
    toml::from_str(&format!(
        r#"
        name = "measured"
        title = "Measured"
        purpose = "Reads every row."
        message_type = "reminder"
        category = "service"
        urgency = "normal"
        from = "{from}"
        schedule = {{ every = "day", hour_utc = 14 }}
        due = {{ rule = "season", word = "spring" }}
        {related}
        "#
    ))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["load", kind, url, customers] => load(kind, url, customers.parse()?).await,
        ["read", kind, url, page_rows] => read(kind, url, page_rows.parse()?).await,
        _ => Err("give load <kind> <url> <customers>, or read <kind> <url> <rows of a page>".into()),
    }
}

async fn read(kind: &str, url: &str, page_rows: u32) -> Result<(), Box<dyn std::error::Error>> {
    let settings: SourceSettings = serde_json::from_value(serde_json::json!({
        "kind": kind, "url": url, "page_rows": page_rows,
    }))?;
    let source = Source::open(&settings, Mapping::identity(), &jiff::tz::TimeZone::UTC)?;
    let as_of = "2027-06-15T12:00:00Z".parse()?;
    let mut all = 0;
    let whole = Instant::now();
    for (what, from, related) in READINGS {
        let begin = Instant::now();
        let mut pages = source
            .pages(&definition(from, related)?, as_of, &bounds(what), None)
            .await?;
        let (mut rows, mut known) = (0, 0);
        while let Some(page) = pages.next_page().await? {
            rows += page.rows.len();
            known += page.rows.iter().filter(|row| row.customer.is_some()).count();
        }
        let seconds = begin.elapsed().as_secs_f64();
        all += rows;
        println!(
            "{what}: {rows} rows ({known} with customer) in {seconds:.2} s, {:.0} rows/s",
            rows as f64 / seconds
        );
    }
    println!(
        "all: {all} rows in {:.2} s; peak memory {} MiB",
        whole.elapsed().as_secs_f64(),
        peak_mib()
    );
    source.close().await;
    Ok(())
}

async fn load(kind: &str, url: &str, customers: usize) -> Result<(), Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let made = Dealership::generate(1, customers, jiff::civil::date(2027, 6, 15));
    let generated = begin.elapsed().as_secs_f64();
    match kind {
        "postgresql" => made.load_postgresql(url).await?,
        "mysql" => made.load_mysql(url).await?,
        "sqlite" => made.load_sqlite(std::path::Path::new(url)).await?,
        other => return Err(format!("{other} is no kind: postgresql, mysql or sqlite").into()),
    }
    println!(
        "{customers} customers, {} rows: made in {generated:.2} s, loaded after {:.2} s",
        made.rows(),
        begin.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The most memory this process ever held.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap_or("");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}
