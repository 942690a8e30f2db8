//! `tidings demo`: the main job, on nothing but this binary and PostgreSQL's programs.

mod dealership;
mod outcome;
mod scenario;

use crate::apply::file::ApplyFile;
use crate::apply::{Applier, apply};
use crate::cli::Demo;
use crate::config::{Config, Environment};
use crate::folder::Folder;
use crate::installation::{Installation, Opening};
use crate::node::{self, Node, Roles};
use crate::telemetry;
use anyhow::{Context, Result};
use outcome::Summary;
use scenario::Step;
use secrecy::{ExposeSecret, SecretString};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tidings_api::scope::Scope;
use tidings_core::{Clock, MessageId, TenantId};
use tidings_store::api_keys::{self, NewApiKey};

/// How long messages may take until each is sent, held, refused or unknown.
const SETTLE_LIMIT: Duration = Duration::from_mins(1);
/// How often the demo looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One message of the demo.
#[derive(Debug)]
struct Sent {
    shows: &'static str,
    message: Option<MessageId>,
    refused: Option<String>,
    duplicate: bool,
}

/// Runs the demo; with `--once` its last line is a JSON summary.
pub async fn run(mut config: Config, environment: Environment, options: &Demo) -> Result<ExitCode> {
    let folder = Folder::new("demo")?;
    // Always a private database of its own: a demo must not touch an installation.
    config.database_url = None;
    config.direct_url = None;
    config.master_key = None;
    config.previous_master_keys.clear();
    config.data_dir = folder.path().to_path_buf();
    config.poll_interval = Duration::from_millis(200);
    // What is thrown away need not survive a power cut.
    config.throwaway_database = true;
    println!("starting a private PostgreSQL in {}", folder.path().display());
    let installation = Installation::open(config, environment, Opening::Engine).await?;
    // Before anything works by the real clock: the dealership's days are lived through by a clock of their own.
    let dealership = if options.days == 0 {
        None
    } else {
        let customers = usize::try_from(options.customers).unwrap_or(usize::MAX);
        Some(dealership::live(&installation, &folder, options.days, customers).await?)
    };
    let tenant = load_tenant(&installation).await?;
    let metrics = telemetry::start_metrics()?;
    let roles = Roles {
        api: true,
        worker: true,
        scheduler: true,
    };
    let node = match node::start(&installation, roles, options.listen, metrics.clone()).await {
        Ok(node) => node,
        // Another program has the usual port: any free one will do for a demo.
        Err(_) => {
            node::start(
                &installation,
                roles,
                SocketAddr::from(([127, 0, 0, 1], 0)),
                metrics,
            )
            .await?
        }
    };
    let result = play(&installation, &node, tenant).await;
    let summary = match result {
        Ok(summary) => summary,
        Err(error) => {
            node.stop(installation.config.drain).await?;
            installation.close().await?;
            return Err(error);
        }
    };
    if !options.once {
        serve(&installation, &node, tenant).await?;
    }
    node.stop(installation.config.drain).await?;
    installation.close().await?;
    drop(folder);
    if options.once {
        if let Some(dealership) = dealership {
            println!("{}", serde_json::json!({ "dealership": dealership }));
        }
        println!("{}", serde_json::to_string(&summary)?);
    }
    Ok(ExitCode::SUCCESS)
}

async fn load_tenant(installation: &Installation) -> Result<TenantId> {
    let now = installation.clock.now();
    let file = ApplyFile::parse(&scenario::tenant_file(now))?;
    let mut applier = Applier {
        store: &installation.store,
        environment: &installation.environment,
        dice: installation.dice()?,
        now,
        dry_run: false,
    };
    let entries = apply(&mut applier, &file).await?;
    println!(
        "loaded the tenant harbour-events: {} contacts, connections and settings, all mail to the sandbox",
        entries.len() - 1
    );
    Ok(installation.tenant(Some("harbour-events")).await?.id)
}

async fn play(installation: &Installation, node: &Node, tenant: TenantId) -> Result<Summary> {
    let mut sent = Vec::new();
    submit(node, tenant, scenario::first()?, &mut sent).await;
    wait(node, tenant, &sent).await?;
    submit(node, tenant, scenario::later()?, &mut sent).await;
    wait(node, tenant, &sent).await?;
    outcome::report(installation, node, tenant, &sent).await
}

async fn submit(node: &Node, tenant: TenantId, steps: Vec<Step>, sent: &mut Vec<Sent>) {
    for step in steps {
        let answer = node.engine.accept(tenant, vec![step.request]).await.pop();
        sent.push(match answer {
            Some(Ok(accepted)) => Sent {
                shows: step.shows,
                message: Some(accepted.message_id),
                refused: None,
                duplicate: accepted.duplicate,
            },
            Some(Err(error)) => Sent {
                shows: step.shows,
                message: None,
                refused: Some(error.to_string()),
                duplicate: false,
            },
            None => Sent {
                shows: step.shows,
                message: None,
                refused: Some("no answer".to_owned()),
                duplicate: false,
            },
        });
    }
}

/// Waits until nothing of what was submitted is on its way any more.
async fn wait(node: &Node, tenant: TenantId, sent: &[Sent]) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < SETTLE_LIMIT {
        let mut moving = false;
        for message in sent.iter().filter_map(|sent| sent.message) {
            moving |= outcome::is_moving(&node.engine.explain(tenant, message).await?, node.engine.now());
        }
        if !moving {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn serve(installation: &Installation, node: &Node, tenant: TenantId) -> Result<()> {
    let address = node.address.context("the demo's HTTP server has no address")?;
    let key = make_key(installation, tenant).await?;
    println!("\nserving at http://{address}/ until you press Ctrl-C");
    println!("  http://{address}/docs      the API, to read and to try");
    println!("  http://{address}/sandbox   what was captured; answer as the customer");
    println!("  API key (this demo only)   {}", key.expose_secret());
    node::until_told_to_stop().await
}

async fn make_key(installation: &Installation, tenant: TenantId) -> Result<SecretString> {
    let scopes = Scope::ALL.iter().filter(|scope| **scope != Scope::TenantsAdmin);
    let new = NewApiKey {
        name: "demo".to_owned(),
        scopes: scopes.map(|scope| scope.as_str().to_owned()).collect(),
        expires_at: None,
    };
    let mut tx = installation.store.worker_tenant(tenant).tx().await?;
    let (_, secret) =
        api_keys::create(&mut tx, new, &mut installation.dice()?, installation.clock.now()).await?;
    tx.commit().await?;
    Ok(secret)
}
