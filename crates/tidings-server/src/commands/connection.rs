//! `tidings connection list|show|test|drill`: how connections stand, and breaking one on purpose.

use crate::cli::{Connection, NamedConnection};
use crate::failure::Failure;
use crate::installation::Installation;
use crate::node;
use anyhow::{Result, bail};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tidings_core::{ConnectionId, TenantId};
use tidings_engine::{Drill, Engine, Standing};

/// Connections read at once.
const PAGE: u32 = 200;
/// Who the audit log names.
const ACTOR: &str = "command line";

/// Runs one of the connection commands.
pub async fn run(installation: &Installation, command: &Connection, json: bool) -> Result<()> {
    let engine = node::engine(installation)?;
    match command {
        Connection::List(tenant) => {
            let tenant = installation.tenant(tenant.tenant.as_deref()).await?.id;
            list(&all(&engine, tenant).await?, json);
            Ok(())
        }
        Connection::Show(which) => {
            let (_, standing) = find(installation, &engine, which).await?;
            show(&standing, json);
            Ok(())
        }
        Connection::Test(which) => test(installation, &engine, which, json).await,
        Connection::Drill {
            which,
            for_seconds,
            restore,
        } => {
            let drill = if *restore {
                Drill::Restore
            } else {
                Drill::Break(SignedDuration::from_secs(i64::from(*for_seconds)))
            };
            let (tenant, found) = find(installation, &engine, which).await?;
            let standing = engine.drill(tenant, found.connection.id, drill, ACTOR).await?;
            show(&standing, json);
            Ok(())
        }
    }
}

async fn all(engine: &Engine, tenant: TenantId) -> Result<Vec<Standing>> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = engine.standings(tenant, after, PAGE).await?;
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// By name first: a name may look like anything.
async fn find(
    installation: &Installation,
    engine: &Engine,
    which: &NamedConnection,
) -> Result<(TenantId, Standing)> {
    let tenant = installation.tenant(which.tenant.tenant.as_deref()).await?.id;
    let id = which.connection.parse().ok().map(ConnectionId);
    let mut found = all(engine, tenant).await?;
    let place = found
        .iter()
        .position(|one| one.connection.name == which.connection)
        .or_else(|| found.iter().position(|one| Some(one.connection.id) == id));
    match place {
        Some(place) => Ok((tenant, found.swap_remove(place))),
        None => bail!(Failure::Refused(format!(
            "there is no connection \"{}\"; `tidings connection list` names those there are",
            which.connection
        ))),
    }
}

/// As the API shows it, without settings.
fn as_json(standing: &Standing) -> Value {
    let connection = &standing.connection;
    json!({
        "id": connection.id, "name": connection.name, "provider": connection.provider,
        "channel": connection.channel, "priority": connection.priority, "weight": connection.weight,
        "enabled": connection.enabled, "breaker": connection.breaker.state(),
        "breaker_cause": connection.breaker.cause(), "breaker_detail": connection.breaker.detail,
        "breaker_since": connection.breaker.changed_at, "next_probe_at": standing.next_probe_at,
        "share_percent": standing.share, "health": standing.health, "calls": standing.lately.calls,
        "calls_failed": standing.lately.failed, "calls_mean_ms": standing.lately.mean_ms,
        "limits": {"rate": standing.rate, "call_ms": standing.call_ms},
    })
}

fn list(standings: &[Standing], json: bool) {
    if json {
        let list: Vec<Value> = standings.iter().map(as_json).collect();
        println!("{}", Value::Array(list));
        return;
    }
    if standings.is_empty() {
        println!("no connections");
        return;
    }
    println!(
        "{:<24} {:<14} {:<12} {:>8} {:>6}  {:<9} {:>6} {:>6}  cause",
        "name", "provider", "channel", "priority", "weight", "breaker", "share", "health"
    );
    for one in standings {
        let connection = &one.connection;
        let position = if connection.enabled {
            connection.breaker.state().as_str()
        } else {
            "off"
        };
        println!(
            "{:<24} {:<14} {:<12} {:>8} {:>6}  {position:<9} {:>5}% {:>6}  {}",
            connection.name,
            connection.provider,
            connection.channel,
            connection.priority,
            connection.weight,
            one.share,
            one.health.map_or("-".to_owned(), |health| health.to_string()),
            connection.breaker.cause().map_or("-", |cause| cause.as_str()),
        );
    }
}

fn show(standing: &Standing, json: bool) {
    if json {
        println!("{}", as_json(standing));
        return;
    }
    let connection = &standing.connection;
    println!(
        "{}: {} for {} ({})",
        connection.name, connection.provider, connection.channel, connection.id
    );
    println!(
        "  priority {}, weight {}, {}",
        connection.priority,
        connection.weight,
        if connection.enabled {
            "in use"
        } else {
            "switched off"
        }
    );
    let since = connection
        .breaker
        .changed_at
        .map_or(String::new(), |at| format!(" since {at}"));
    println!("  breaker {}{since}", connection.breaker.state());
    if let Some(cause) = connection.breaker.cause() {
        let detail = connection.breaker.detail.as_deref().unwrap_or("no detail");
        println!("  because {cause}: {detail}");
    }
    if let Some(at) = standing.next_probe_at {
        println!("  a probe may go from {at}");
    }
    println!("  gets {} % of its share", standing.share);
    match standing.health {
        Some(health) => println!(
            "  health {health} of 100: {} calls, {} failed, {} ms on average, in five minutes",
            standing.lately.calls,
            standing.lately.failed,
            standing.lately.mean_ms.unwrap_or(0)
        ),
        None => println!(
            "  health unknown: {} calls in five minutes",
            standing.lately.calls
        ),
    }
    match standing.rate {
        Some(rate) => println!("  at most {} calls in {} ms", rate.limit, rate.per_ms),
        None => println!("  no rate limit"),
    }
    println!("  a call may take {} ms", standing.call_ms);
}

async fn test(
    installation: &Installation,
    engine: &Engine,
    which: &NamedConnection,
    json: bool,
) -> Result<()> {
    let (tenant, found) = find(installation, engine, which).await?;
    let report = engine.check_connection(tenant, found.connection.id).await?;
    if json {
        println!("{}", json!({"ok": report.ok, "findings": report.findings}));
    } else {
        for finding in &report.findings {
            println!("{finding}");
        }
    }
    if !report.ok {
        bail!(
            "connection \"{}\" does not work; see its findings",
            found.connection.name
        );
    }
    Ok(())
}
