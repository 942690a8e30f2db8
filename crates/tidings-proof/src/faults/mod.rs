//! The fault matrix: faults of many kinds against the real process, and what they did to messages.

mod c1;
mod d1;
mod d5;
mod g1;
mod k1;
mod k2;
mod k3;
mod k5;
mod k6;
mod lab;
mod report;

use anyhow::Result;
use clap::ValueEnum;
use report::Report;
use serde_json::{Value, json};
use tidings_core::Dice;
use tidings_postgres::Cluster;

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// The process ends at each named point of a message's way, for each kind of provider.
    #[value(name = "K1", alias = "k1")]
    K1,
    /// A worker is frozen for longer than its lease, and goes on.
    #[value(name = "K2", alias = "k2")]
    K2,
    /// A message that ends whoever dispatches it, among a thousand good ones.
    #[value(name = "K3", alias = "k3")]
    K3,
    /// The provider misbehaves in every way it can.
    #[value(name = "K5", alias = "k5")]
    K5,
    /// The process ends while it asks for reports that never came.
    #[value(name = "K6", alias = "k6")]
    K6,
    /// PostgreSQL is stopped at once, under load.
    #[value(name = "D1", alias = "d1")]
    D1,
    /// Redis fails.
    #[value(name = "D5", alias = "d5")]
    D5,
    /// The clocks of the processes jump.
    #[value(name = "C1", alias = "c1")]
    C1,
    /// Processes are told to end, under load.
    #[value(name = "G1", alias = "g1")]
    G1,
}

impl Row {
    /// What it does, and when it passes.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::K1 => (
                "the process aborts at each named point, for three kinds of provider",
                "nothing lost or sent twice; what nobody can know is listed as unknown",
            ),
            Self::K2 => (
                "SIGSTOP of a worker past its lease, SIGCONT",
                "nothing lost or sent twice, no outcome written twice",
            ),
            Self::K3 => (
                "a poison message among 1,000 good ones",
                "all good ones sent, the poison set aside after it ended three workers alone",
            ),
            Self::K5 => (
                "the provider misbehaves in 14 ways",
                "each outcome classed as its table says, no call longer than 20 s, no redirect followed",
            ),
            Self::K6 => (
                "the process ends while it asks for reports that never came",
                "each message is known as delivered in the end, and no report is written down twice",
            ),
            Self::D1 => (
                "immediate shutdown of PostgreSQL under 100 messages a second",
                "API errors only 503; back at the rate within 10 s",
            ),
            Self::D5 => (
                "the Redis of the rate limits is killed, emptied, frozen and garbled",
                "nothing lost or sent twice, rates within their limits",
            ),
            Self::C1 => (
                "the clocks jump by hours and days, apart by seconds, and over a change of summer time",
                "nothing early by the clocks of the processes, nothing twice",
            ),
            Self::G1 => (
                "SIGTERM under load",
                "ended in order within 30 s, nothing unknown",
            ),
        }
    }

    fn name(self) -> String {
        format!("{self:?}")
    }
}

/// What a row stands on.
pub struct Ground<'g> {
    /// The server; each row makes databases of its own.
    pub server_url: String,
    /// The private server's owner, for the rows that break it.
    pub cluster: &'g Cluster,
    /// Times the counts of a pull request.
    pub scale: f64,
    /// What the choices follow from.
    pub seed: u64,
    /// Says on standard error how far it is.
    pub talk: bool,
}

impl Ground<'_> {
    /// How often a fault is done: the usual count, scaled, at least once.
    fn times(&self, usual: u32) -> u32 {
        (f64::from(usual) * self.scale).round().max(1.0) as u32
    }

    fn dice(&self, of: u64) -> Dice {
        Dice::from_seed(self.seed.wrapping_add(of))
    }

    fn say(&self, text: &str) {
        if self.talk {
            eprintln!("{text}");
        }
    }
}

/// Runs rows, one after the other; the answer is the JSON line to print. A row that cannot be run has failed, and the others go on.
pub async fn run(ground: &Ground<'_>, rows: &[Row]) -> Value {
    let mut all = Vec::new();
    let (mut trials, mut lost, mut duplicate, mut pass) = (0, 0, 0, true);
    for row in rows {
        let (fault, rule) = row.words();
        ground.say(&format!("{}: {fault}", row.name()));
        let begun = std::time::Instant::now();
        let mut told = match run_row(ground, *row).await {
            Ok(report) => {
                trials += report.trials;
                lost += report.lost;
                duplicate += report.duplicate;
                pass &= report.passes();
                report.json()
            }
            Err(error) => {
                pass = false;
                json!({ "pass": false, "error": format!("{error:#}") })
            }
        };
        told["row"] = json!(row.name());
        told["fault"] = json!(fault);
        told["rule"] = json!(rule);
        told["took_s"] = json!(begun.elapsed().as_secs());
        ground.say(&told.to_string());
        all.push(told);
    }
    json!({ "rows": all, "trials": trials, "lost": lost, "duplicate": duplicate, "seed": ground.seed, "pass": pass })
}

async fn run_row(ground: &Ground<'_>, row: Row) -> Result<Report> {
    match row {
        Row::K1 => k1::run(ground).await,
        Row::K2 => k2::run(ground).await,
        Row::K3 => k3::run(ground).await,
        Row::K5 => k5::run(ground).await,
        Row::K6 => k6::run(ground).await,
        Row::D1 => d1::run(ground).await,
        Row::D5 => d5::run(ground).await,
        Row::C1 => c1::run(ground).await,
        Row::G1 => g1::run(ground).await,
    }
}
