//! `tidings doctor`: looks at everything a start needs, and says what to do about what is wrong.

use crate::config::{Config, Environment};
use crate::installation::{Installation, Opening};
use crate::mail_in;
use anyhow::Result;
use serde::Serialize;
use std::fmt::Write as _;
use tidings_core::Clock;
use tidings_postgres::Binaries;
use tidings_store::connections;
use tidings_store::tenants;

/// The most tenants that are looked at.
const MAX_TENANTS: u32 = 200;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Finding {
    Good,
    Warning,
    Bad,
}

#[derive(Debug, Serialize)]
struct Check {
    finding: Finding,
    what: &'static str,
    detail: String,
}

/// Runs every check; the exit code is 1 when one is bad.
pub async fn run(config: Config, environment: Environment, json: bool) -> Result<i32> {
    let mut checks = vec![database_kind(&config), public_url(&config)];
    checks.extend(mail_certificate(&config).await);
    match Installation::open(config, environment, Opening::GuestAnySchema).await {
        Ok(installation) => {
            checks.push(check(
                Finding::Good,
                "database",
                format!("{} answers, the master key fits", installation.database.place()),
            ));
            checks.extend(inside(&installation).await);
            installation.close().await?;
        }
        Err(error) => checks.push(check(Finding::Bad, "database", format!("{error:#}"))),
    }
    let bad = checks.iter().any(|check| check.finding == Finding::Bad);
    if json {
        println!("{}", serde_json::to_string(&checks)?);
    } else {
        for check in &checks {
            let sign = match check.finding {
                Finding::Good => "good   ",
                Finding::Warning => "warning",
                Finding::Bad => "bad    ",
            };
            println!("{sign}  {:<12} {}", check.what, check.detail);
        }
    }
    Ok(i32::from(bad))
}

fn check(finding: Finding, what: &'static str, detail: impl Into<String>) -> Check {
    Check {
        finding,
        what,
        detail: detail.into(),
    }
}

fn database_kind(config: &Config) -> Check {
    if config.database_url.is_some() {
        return check(Finding::Good, "postgresql", "the server of DATABASE_URL");
    }
    match Binaries::find(config.pg_bin.as_deref(), Some(&config.data_dir)) {
        Ok(binaries) => check(
            Finding::Good,
            "postgresql",
            format!(
                "a private server, version {}, programs in {}, data in {}",
                binaries.major(),
                binaries.dir().display(),
                config.data_dir.display()
            ),
        ),
        Err(error) => check(Finding::Bad, "postgresql", error.to_string()),
    }
}

fn public_url(config: &Config) -> Check {
    match &config.public_url {
        None => check(
            Finding::Warning,
            "public url",
            format!(
                "TIDINGS_PUBLIC_URL is unset: links in messages lead to {}, which recipients cannot reach",
                config.public_base_url()
            ),
        ),
        Some(url) if url.scheme() == "http" => check(
            Finding::Warning,
            "public url",
            format!("{url} is not https: mailbox providers want https in one-click unsubscribe (RFC 8058)"),
        ),
        Some(url) => check(Finding::Good, "public url", url.to_string()),
    }
}

/// None where mail comes in without TLS.
async fn mail_certificate(config: &Config) -> Option<Check> {
    let files = config.mail_tls.as_ref()?;
    Some(match mail_in::certificate(files).await {
        Ok(_) => check(
            Finding::Good,
            "mail tls",
            format!("{} and its key fit", files.certificate.display()),
        ),
        Err(error) => check(Finding::Bad, "mail tls", format!("{error:#}")),
    })
}

async fn inside(installation: &Installation) -> Vec<Check> {
    let mut checks = Vec::new();
    match installation.store.schema_state().await {
        Ok(state) if state.pending == 0 => checks.push(check(
            Finding::Good,
            "schema",
            format!("migration {}", state.applied),
        )),
        Ok(state) => {
            checks.push(check(
                Finding::Bad,
                "schema",
                format!("{} migrations are missing; run: tidings migrate", state.pending),
            ));
            return checks;
        }
        Err(error) => {
            checks.push(check(Finding::Bad, "schema", error.to_string()));
            return checks;
        }
    }
    checks.push(fence(installation).await);
    match tenants_and_connections(installation).await {
        Ok(found) => checks.extend(found),
        Err(error) => checks.push(check(Finding::Bad, "tenants", format!("{error:#}"))),
    }
    checks
}

async fn fence(installation: &Installation) -> Check {
    let Ok(mut conn) = installation.store.worker().acquire().await else {
        return check(Finding::Bad, "queue", "no connection for it");
    };
    match tidings_queue::guard::check(&mut conn, "doctor", installation.clock.now()).await {
        Ok(None) => check(Finding::Good, "queue", "not fenced"),
        Ok(Some(fence)) => check(
            Finding::Bad,
            "queue",
            format!(
                "fenced: {}; nothing is sent until an operator says: tidings queue unfence",
                fence.reason
            ),
        ),
        Err(error) => check(Finding::Bad, "queue", error.to_string()),
    }
}

async fn tenants_and_connections(installation: &Installation) -> Result<Vec<Check>> {
    let mut conn = installation.store.worker().acquire().await?;
    let page = tenants::list(&mut conn, None, MAX_TENANTS).await?;
    drop(conn);
    if page.items.is_empty() {
        return Ok(vec![check(
            Finding::Warning,
            "tenants",
            "none yet; make one with: tidings apply FILE.toml",
        )]);
    }
    let mut checks = Vec::new();
    for tenant in page.items {
        let mut tx = installation.store.worker_tenant(tenant.id).tx().await?;
        let connections = connections::list(&mut tx, None, MAX_TENANTS).await?.items;
        let usable = connections.iter().filter(|connection| connection.enabled).count();
        let finding = if usable == 0 {
            Finding::Warning
        } else {
            Finding::Good
        };
        let mut detail = format!(
            "{}: {usable} of {} connections enabled",
            tenant.slug,
            connections.len()
        );
        for connection in connections
            .iter()
            .filter(|connection| connection.breaker.cause().is_some())
        {
            let _ = write!(detail, "; {} is {}", connection.name, connection.breaker.state());
        }
        checks.push(check(finding, "tenant", detail));
    }
    Ok(checks)
}
