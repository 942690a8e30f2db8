//! The proofs of Tidings: benchmarks, kill tests and verification vectors, against the real binary and a real
//! PostgreSQL. `cargo xtask bench`, `crash`, `scan` and the other names build and run it.

mod bench;
mod campaigns;
mod crash;
mod failover;
mod fairness;
mod faults;
mod killable;
mod limits;
#[path = "../../tidings-testkit/src/listening.rs"]
mod listening;
mod load;
mod process;
mod rate;
#[path = "../../tidings-testkit/src/redis.rs"]
mod redis;
mod scan;
mod steady;
mod tally;
mod unsubscribe;
mod vectors;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tidings_postgres::{Binaries, Cluster, Options, Settings};

/// The allocator of the product, so that what is measured in this process is what the product does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "tidings-proof", version)]
struct Cli {
    #[command(subcommand)]
    proof: Proof,
}

#[derive(Debug, Subcommand)]
enum Proof {
    /// Rates of the queue, the whole path and the HTTP submission, beside PostgreSQL's own floor.
    Bench {
        /// Print only the JSON line.
        #[arg(long)]
        json: bool,
        /// Measure against this server instead of a private one. A database of its own is made and dropped.
        #[arg(long, env = "TIDINGS_BENCH_DATABASE_URL")]
        database_url: Option<String>,
        /// Rounds of each measurement; the median counts.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Measure this part alone; the figures of the others are null.
        #[arg(long)]
        only: Option<bench::Part>,
    },
    /// Kills the real process at random fail points under load and counts against the provider's ledger.
    Crash {
        /// How often to kill.
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// Kill what runs campaigns over a source that grows, instead of what takes requests.
        #[arg(long)]
        campaigns: bool,
        /// Seed of the choice of fail points and moments.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Print only the JSON line.
        #[arg(long)]
        json: bool,
    },
    /// Cuts one of two connections under load, brings it back, and counts against the ledgers of both.
    Failover {
        /// Rounds: the first kills the stand-in, the second makes it refuse, the third makes it hang, and so on.
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// Print only the JSON line.
        #[arg(long)]
        json: bool,
    },
    /// Does faults of many kinds to the real process and counts what they did to messages.
    Faults {
        /// Rows to run; all of them without it.
        #[arg(long, value_delimiter = ',')]
        only: Vec<faults::Row>,
        /// Times the counts of a pull request: 10 for a night.
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
        /// Seed of the choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Print only the JSON line.
        #[arg(long)]
        json: bool,
    },
    /// One tenant's flood of jobs beside another's urgent messages: how much longer the urgent ones take.
    Fairness {
        /// Jobs of the flood.
        #[arg(long, default_value_t = 1_000_000)]
        jobs: i64,
        /// Print only the JSON line.
        #[arg(long)]
        json: bool,
    },
    /// More than the rate limits allow, worked off by three processes, with the Redis lost and returned.
    Limits {
        /// Print only the JSON line.
        #[arg(long)]
        json: bool,
    },
    /// A steady rate over HTTP for minutes, then the highest rate that holds.
    Load {
        /// Messages a second.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        rate: u64,
        /// How long.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_440))]
        minutes: u64,
        /// Leave the search for the highest rate out.
        #[arg(long)]
        steady_only: bool,
        /// Print only the JSON line.
        #[arg(long)]
        json: bool,
    },
    /// A large dealership read for every campaign: how long it takes, and how much memory.
    Scan {
        /// Customers of the dealership.
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        customers: u64,
        /// Print only the JSON line.
        #[arg(long)]
        json: bool,
    },
    /// Runs verification vectors through the real verifiers and parsers.
    Vectors {
        /// The folder of vectors.
        dir: PathBuf,
        /// Print only the JSON line.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match cli.proof {
        Proof::Bench {
            json,
            database_url,
            rounds,
            only,
        } => {
            let (cluster, url) = database(database_url, "bench")?;
            let summary = runtime.block_on(bench::run(&url, rounds, only, !json))?;
            drop(cluster);
            println!("{summary}");
            Ok(ExitCode::SUCCESS)
        }
        Proof::Crash {
            kills,
            campaigns,
            seed,
            json,
        } => {
            let (cluster, url) = database(None, "crash")?;
            let folder = process::folder("crash")?;
            let summary = if campaigns {
                runtime.block_on(campaigns::run(&url, &folder, kills, seed, !json))?
            } else {
                runtime.block_on(crash::run(&url, &folder, kills, seed, !json))?
            };
            drop(cluster);
            let none: &[&str] = if campaigns { &campaigns::NONE } else { &crash::NONE };
            let clean = none.iter().all(|count| summary[*count] == 0);
            finish(&summary, clean, &folder)
        }
        Proof::Failover { rounds, json } => {
            let (cluster, url) = database(None, "failover")?;
            let folder = process::folder("failover")?;
            let summary = runtime.block_on(failover::run(&url, &folder, rounds, !json))?;
            drop(cluster);
            finish(&summary, failover::is_clean(&summary), &folder)
        }
        Proof::Faults {
            only,
            scale,
            seed,
            json,
        } => {
            let (private, server_url) = database(None, "faults")?;
            let cluster = private.as_ref().and_then(|private| private.cluster.as_ref());
            let ground = faults::Ground {
                server_url,
                cluster: cluster.context("the rows need a server of their own")?,
                scale,
                seed,
                talk: !json,
            };
            let rows = if only.is_empty() {
                faults::Row::value_variants().to_vec()
            } else {
                only
            };
            let summary = runtime.block_on(faults::run(&ground, &rows));
            drop(private);
            println!("{summary}");
            Ok(ExitCode::from(u8::from(summary["pass"] != true)))
        }
        Proof::Fairness { jobs, json } => {
            let (cluster, url) = database(None, "fairness")?;
            let folder = process::folder("fairness")?;
            let summary = runtime.block_on(fairness::run(&url, &folder, jobs, !json))?;
            drop(cluster);
            let fair = summary["p95_shift_ms"].as_f64().is_some_and(|ms| ms <= 1000.0);
            finish(&summary, fair, &folder)
        }
        Proof::Limits { json } => {
            let (cluster, url) = database(None, "limits")?;
            let folder = process::folder("limits")?;
            let summary = runtime.block_on(limits::run(&url, &folder, !json))?;
            drop(cluster);
            finish(&summary, limits::is_clean(&summary), &folder)
        }
        Proof::Load {
            rate,
            minutes,
            steady_only,
            json,
        } => {
            let (cluster, url) = database(None, "load")?;
            let folder = process::folder("load")?;
            let plan = steady::Plan {
                rate,
                minutes,
                highest: !steady_only,
            };
            let summary = runtime.block_on(steady::run(&url, &folder, plan, !json))?;
            drop(cluster);
            finish(&summary, steady::is_clean(&summary), &folder)
        }
        Proof::Scan { customers, json } => {
            let (cluster, url) = database(None, "scan")?;
            let folder = process::folder("scan")?;
            let customers = usize::try_from(customers)?;
            let summary = runtime.block_on(scan::run(&url, &folder, customers, !json))?;
            drop(cluster);
            finish(&summary, scan::is_clean(&summary), &folder)
        }
        Proof::Vectors { dir, json } => {
            // A case of unsubscribing needs the HTTP face, and that a database.
            let database = if dir.join(unsubscribe::FILE).is_file() {
                Some(database(None, "vectors")?)
            } else {
                None
            };
            let url = database.as_ref().map(|(_, url)| url.as_str());
            let failed = runtime.block_on(vectors::run(&dir, url, !json))?;
            drop(database);
            Ok(ExitCode::from(u8::from(failed > 0)))
        }
    }
}

/// Prints the summary. The folder with what the processes logged stays where something was not as promised.
fn finish(summary: &serde_json::Value, clean: bool, folder: &Path) -> Result<ExitCode> {
    println!("{summary}");
    if clean {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("{} could not be removed", folder.display()))?;
    } else {
        eprintln!("what the processes logged lies in {}", folder.display());
    }
    Ok(ExitCode::from(u8::from(!clean)))
}

/// A private cluster in a temporary folder; both end with the proof.
struct Private {
    // Stopped before its folder goes.
    cluster: Option<Cluster>,
    folder: PathBuf,
}

impl Drop for Private {
    fn drop(&mut self) {
        drop(self.cluster.take());
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{} could not be removed: {error}", self.folder.display());
        }
    }
}

/// The given server, or a private one.
fn database(given: Option<String>, name: &str) -> Result<(Option<Private>, String)> {
    if let Some(url) = given {
        return Ok((None, url));
    }
    let folder = process::folder(&format!("{name}-pg"))?;
    let mut private = Private {
        cluster: None,
        folder: folder.clone(),
    };
    let binaries = Binaries::find(None, None).context("the proof needs PostgreSQL's programs")?;
    let options = Options {
        data_dir: folder,
        binaries,
        settings: Settings::product(),
    };
    let cluster = Cluster::open(&options).context("the private PostgreSQL did not start")?;
    let url = cluster.url();
    private.cluster = Some(cluster);
    Ok((Some(private), url))
}
