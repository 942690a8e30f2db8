//! Measures the queue against a floor in the same run and prints JSON. Read ratios: rates depend on the machine.
//!
//! `cargo run --release -p tidings-queue --example queue_bench [jobs] [rounds]`; the server is the one of the tests
//! (`TIDINGS_TEST_POSTGRES`).

#![expect(
    clippy::disallowed_methods,
    reason = "a measurement: tasks are joined, the clock is the machine's"
)]

mod floor;
mod measure;

use measure::Bench;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), measure::Failure> {
    let mut arguments = std::env::args().skip(1);
    let jobs: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let rounds: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(3);
    let mut all = Vec::new();
    for round in 0..rounds {
        let database = tidings_testkit::database().await;
        let bench = Bench::new(&database.url);
        let figures = bench.round(jobs).await?;
        eprintln!("round {}: {figures}", round + 1);
        all.push(figures);
    }
    let database = tidings_testkit::database().await;
    let claims = Bench::new(&database.url).claim_costs().await?;
    let lanes = Bench::new(&database.url).lanes(jobs / 4).await?;
    println!(
        "{:#}",
        serde_json::json!({ "jobs": jobs, "rounds": all, "claim_ms_by_backlog": claims, "single_enqueue_by_lanes": lanes })
    );
    Ok(())
}
