//! `tidings sandbox`: stand-ins of every provider, until it is told to stop.

use crate::cli::Sandbox;
use crate::clock::SystemClock;
use crate::node;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::sync::Arc;
use tidings_stand_in::{Options, StandIn, Vendor};

/// Starts, says what goes into a connection's settings, and ends on SIGTERM or SIGINT.
pub async fn run(options: &Sandbox, json: bool) -> Result<()> {
    let mut wanted = Options::new(Arc::new(SystemClock));
    wanted.listen = options.listen;
    wanted.smtp = options.smtp;
    wanted.ledger.clone_from(&options.ledger);
    wanted.latency_ms = options.latency;
    wanted.seed = options.seed;
    let stand_in = StandIn::start(wanted)
        .await
        .context("the sandbox does not start")?;
    let say = async {
        if json {
            println!("{}", told(&stand_in));
        } else {
            print(&stand_in, options);
        }
        std::future::pending::<()>().await;
    };
    // Whoever has read where it listens may tell it to stop: the signals are listened for before.
    tokio::select! {
        biased;
        stopped = node::until_told_to_stop() => stopped?,
        () = say => {}
    }
    let summary = stand_in.summary();
    stand_in.stop().await;
    if json {
        println!("{}", json!({ "ended": summary }));
    } else {
        println!("ended; accepted {}", summary["accepted"]);
    }
    Ok(())
}

fn told(stand_in: &StandIn) -> Value {
    json!({ "settings": stand_in.settings(), "smtp": stand_in.smtp_addr(), "control": stand_in.url() })
}

fn print(stand_in: &StandIn, options: &Sandbox) {
    println!("Nothing that arrives here is sent. Put into a connection's settings, or those of [alerts]:\n");
    for vendor in Vendor::ALL {
        if let Some((name, value)) = vendor.setting(&stand_in.url()) {
            println!("  {:<16} {name} = \"{value}\"", vendor.name());
        }
    }
    let smtp = stand_in.smtp_addr();
    println!(
        "  {:<16} host = \"{}\", port = {}, tls = \"none\"\n",
        "smtp",
        smtp.ip(),
        smtp.port()
    );
    println!("Tidings must be allowed to call this machine: TIDINGS_ALLOW_LOOPBACK=true");
    println!(
        "What was accepted: {0}/_ledger, counted: {0}/_ledger/summary",
        stand_in.url()
    );
    if let Some(file) = &options.ledger {
        println!("It is kept in {}", file.display());
    }
}
