//! The dealership under proof: its campaigns, its database file, and rows that come due while processes die.

use crate::bench::MachineClock;
use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidings_core::campaign::{self, Definition};
use tidings_core::{Clock as _, Dice};
use tidings_engine::source::demo::Dealership;
use tidings_engine::source::{Mapping, Source, SourceSettings};

/// Customers it begins with.
const CUSTOMERS: usize = 200;
/// Keys of rows that are added begin here, above those it begins with.
const FIRST_ADDED: i64 = 1_000_000;
/// An appointment comes due so long after it was added, at least.
const AHEAD_MS: u64 = 5_000;
/// And at most so much later.
const SPREAD_MS: u64 = 30_000;

/// Campaigns of its own, of several rules. None is due by the hour of the day, and their intervals fall apart.
pub const CAMPAIGNS: &[(&str, u32, &str, &str)] = &[
    (
        "proof_hours_100",
        60_000,
        "equipment",
        r#"{ rule = "reached", number = "machine_hours", at_least = 100 }"#,
    ),
    (
        "proof_hours_200",
        61_000,
        "equipment",
        r#"{ rule = "reached", number = "machine_hours", at_least = 200 }"#,
    ),
    (
        "proof_sold_5",
        62_000,
        "equipment",
        r#"{ rule = "after", latest_of = ["date_sold"], days = 5, lookback_days = 400 }"#,
    ),
    (
        "proof_sold_9",
        63_000,
        "equipment",
        r#"{ rule = "after", latest_of = ["date_sold"], days = 9, lookback_days = 400 }"#,
    ),
    (
        "proof_invoice",
        64_000,
        "invoices",
        r#"{ rule = "after", latest_of = ["due_date"], days = 30, lookback_days = 400 }"#,
    ),
    (
        VISIT,
        65_000,
        "appointments",
        r#"{ rule = "hours_before", instant = "starts_at", from_hours = 24, to_hours = 25, late_from_hours = 3 }"#,
    ),
];

/// The one whose rows come due at an instant, and are passed over when no run covers it.
pub const VISIT: &str = "proof_visit";
const VISIT_HOURS_BEFORE: i64 = 25;

/// A campaign as a table of an apply file.
fn table((name, interval_ms, from, due): (&str, u32, &str, &str)) -> String {
    format!(
        r#"name = "{name}"
title = "{name}"
purpose = "Finds rows while processes die."
message_type = "{name}"
category = "transactional"
urgency = "critical"
channel = "email"
schedule = {{ every = "interval", interval_ms = {interval_ms} }}
from = "{from}"
due = {due}
"#
    )
}

/// The file that makes the tenant.
pub fn apply_file(standin: std::net::SocketAddr, source: &Path) -> String {
    let path = source.display();
    let mut file = format!(
        r#"[[tenants]]
slug = "dealer"
name = "Kill proof"

[tenants.policy]
quiet_hours = []
contact_quiet_hours = []

[tenants.source]
kind = "sqlite"
url = "{path}"
page_rows = 50

[[tenants.connections]]
name = "stand-in"
provider = "sandbox"
channel = "email"
settings = {{ base_url = "http://{standin}" }}
"#
    );
    // The built-in ones wait for hours of the day.
    for built_in in campaign::built_in() {
        let name = &built_in.name;
        file += &[
            "\n[[tenants.campaigns]]\nname = \"",
            name.as_str(),
            "\"\nenabled = false\n",
        ]
        .concat();
    }
    for campaign in CAMPAIGNS {
        let name = campaign.0;
        file.push_str("\n[[tenants.campaigns]]\n");
        file.push_str(&table(*campaign));
        let template =
            "channel = \"email\"\nsubject = \"Kill proof\"\nbody = \"<p>Sent once, or not at all.</p>\"\n";
        file += &[
            "\n[[tenants.templates]]\nmessage_type = \"",
            name,
            "\"\n",
            template,
        ]
        .concat();
    }
    file
}

/// The same campaigns for the count.
pub fn definitions() -> Result<Vec<Definition>> {
    CAMPAIGNS
        .iter()
        .map(|campaign| toml::from_str(&table(*campaign)).context("a campaign of the proof"))
        .collect()
}

/// The database file, written to.
pub struct Dealer {
    path: PathBuf,
    connection: SqliteConnection,
    added: i64,
    /// Rows that were added, each with the campaign that must find it.
    pub due: BTreeSet<(&'static str, String)>,
    /// When the last appointment comes due.
    pub last_moment: Timestamp,
}

impl Dealer {
    /// Writes the file it begins with.
    pub async fn open(path: &Path, seed: u64) -> Result<Self> {
        let today = MachineClock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
        Dealership::generate(seed, CUSTOMERS, today)
            .load_sqlite(path)
            .await?;
        let connection = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging()
            .connect()
            .await?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            added: 0,
            due: BTreeSet::new(),
            last_moment: Timestamp::MIN,
        })
    }

    /// Adds a customer with a machine, an invoice and an appointment: a row for each campaign.
    pub async fn add(&mut self, dice: &mut Dice) -> Result<()> {
        let id = FIRST_ADDED + self.added;
        self.added += 1;
        let now = MachineClock.now();
        let ahead = i64::try_from(AHEAD_MS + dice.below(SPREAD_MS)).unwrap_or(0);
        let moment = now + SignedDuration::from_millis(ahead);
        let starts_at = moment + SignedDuration::from_hours(VISIT_HOURS_BEFORE);
        let day = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        let before = |days: i32| (day - jiff::Span::new().days(days)).to_string();
        let mut transaction = self.connection.begin().await?;
        let rows = [
            sqlx::query("INSERT INTO customers (customer_id, first_name, last_name, zone, locale, created_at) VALUES (?1, 'Kim', 'Proof', 'UTC', 'en', ?2)").bind(id).bind(now.to_string()),
            sqlx::query("INSERT INTO emails (email_id, customer_id, email, is_primary) VALUES (?1, ?1, ?2, 1)").bind(id).bind(format!("c{id}@example.com")),
            sqlx::query("INSERT INTO equipment (equipment_id, customer_id, equipment_make, equipment_model, date_sold, machine_hours) VALUES (?1, ?1, 'Ridgeline', 'R200', ?2, 250)").bind(id).bind(before(20)),
            sqlx::query("INSERT INTO invoices (invoice_id, customer_id, invoice_number, due_date, amount_due, status) VALUES (?1, ?1, 'P', ?2, 12, 'open')").bind(id).bind(before(40)),
            sqlx::query("INSERT INTO appointments (appointment_id, customer_id, starts_at, status) VALUES (?1, ?1, ?2, 'booked')").bind(id).bind(starts_at.to_string()),
        ];
        for row in rows {
            row.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        self.last_moment = self.last_moment.max(moment);
        self.due
            .extend(CAMPAIGNS.iter().map(|(name, ..)| (*name, id.to_string())));
        Ok(())
    }

    /// Reads it as a tenant's source.
    pub fn source(&self) -> Result<Source> {
        let settings: SourceSettings = serde_json::from_value(
            serde_json::json!({ "kind": "sqlite", "url": self.path.to_string_lossy() }),
        )?;
        Ok(Source::open(
            &settings,
            Mapping::identity(),
            &jiff::tz::TimeZone::UTC,
        )?)
    }
}
