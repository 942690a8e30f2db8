//! `tidings serve`: the engine, until it is told to stop.

use crate::cli::{Role, Serve};
use crate::installation::Installation;
use crate::node::{self, Roles};
use anyhow::Result;
use metrics_exporter_prometheus::PrometheusHandle;

/// Runs the roles until a signal, then drains.
pub async fn run(installation: &Installation, options: &Serve, metrics: PrometheusHandle) -> Result<()> {
    let roles = match options.role {
        Role::All => Roles {
            api: true,
            worker: true,
            scheduler: true,
        },
        Role::Api => Roles {
            api: true,
            worker: false,
            scheduler: false,
        },
        Role::Worker => Roles {
            api: false,
            worker: true,
            scheduler: false,
        },
        Role::Scheduler => Roles {
            api: false,
            worker: false,
            scheduler: true,
        },
    };
    let running = node::start(installation, roles, installation.config.listen, metrics).await?;
    if let Some(address) = running.address {
        tracing::info!(%address, docs = %format!("http://{address}/docs"), "listening");
    }
    match running.metrics_address {
        Some(address) => tracing::info!(%address, "showing figures"),
        None if !roles.api => {
            tracing::info!(
                "this process shows no figures; TIDINGS_METRICS_LISTEN names an address for /metrics"
            );
        }
        None => {}
    }
    let ended = tokio::select! {
        told = node::until_told_to_stop() => told,
        () = running.broken() => Err(anyhow::anyhow!("a part of the engine ended by itself; the log says why")),
    };
    running.stop(installation.config.drain).await?;
    ended
}
