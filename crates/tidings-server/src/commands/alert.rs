//! `tidings alert list|test`: what is wrong, who was told, and whether they can be.

use crate::cli::Alert;
use crate::installation::Installation;
use crate::node;
use anyhow::Result;
use tidings_engine::alerts::AlertTold;
use tidings_engine::store::alerts::AlertState;

/// Runs the command.
pub async fn run(installation: &Installation, command: &Alert, json: bool) -> Result<()> {
    let (Alert::List { tenant, .. } | Alert::Test(tenant)) = command;
    let tenant = installation.tenant(tenant.tenant.as_deref()).await?.id;
    let engine = node::engine(installation)?;
    match command {
        Alert::List { all, limit, .. } => {
            let state = (!*all).then_some(AlertState::Open);
            let page = engine.alerts(tenant, state, None, *limit).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&page)?);
                return Ok(());
            }
            if page.items.is_empty() {
                println!("no alerts");
            }
            page.items.iter().for_each(show);
            if page.next.is_some() {
                println!("there are more; raise --limit");
            }
        }
        Alert::Test(_) => {
            let told = engine.test_alert(tenant, "command-line").await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&told)?);
                return Ok(());
            }
            show(&told);
            if told.notifications.is_empty() {
                println!(
                    "nobody is told: the tenant has no notifier; see [tenants.alerts] in docs/alerts.md"
                );
            } else {
                println!("a worker tells them now; `tidings alert list` says what came of it");
            }
        }
    }
    Ok(())
}

fn show(told: &AlertTold) {
    let alert = &told.alert;
    println!(
        "{}  {:<8} {:<8} {}  since {}",
        alert.id, alert.severity, alert.state, alert.detail, alert.opened_at
    );
    if let Some(by) = &alert.acknowledged_by {
        println!("    taken on by {by}");
    }
    for one in &told.notifications {
        let error = one
            .last_error
            .as_ref()
            .map_or_else(String::new, |error| format!(": {error}"));
        println!("    {}: told {}, {}{error}", one.notifier, one.told, one.state);
    }
}
