//! `tidings source check`: whether a tenant's own database fits its campaigns.

use crate::cli::{CheckSource, Source};
use crate::failure::Failure;
use crate::installation::Installation;
use crate::node;
use anyhow::Result;
use tidings_core::ErrorCategory;
use tidings_engine::{CampaignCheck, SourceCheck, SourceProblem, Switch, Works};

/// Runs the command.
pub async fn run(installation: &Installation, command: &Source, json: bool) -> Result<()> {
    let Source::Check(options) = command;
    check(installation, options, json).await
}

async fn check(installation: &Installation, options: &CheckSource, json: bool) -> Result<()> {
    let tenant = installation.tenant(options.tenant.tenant.as_deref()).await?.id;
    let engine = node::engine(installation)?;
    if options.suggest {
        let mapping = engine.suggest_mapping(tenant).await?.map_err(unread)?;
        if json {
            println!("{}", serde_json::to_string_pretty(&mapping)?);
        } else {
            let mut source = toml::Table::new();
            source.insert("mapping".to_owned(), toml::Value::try_from(&mapping)?);
            let mut tenants = toml::Table::new();
            tenants.insert("source".to_owned(), toml::Value::Table(source));
            let mut file = toml::Table::new();
            file.insert("tenants".to_owned(), toml::Value::Table(tenants));
            print!("{}", toml::to_string_pretty(&file)?);
        }
        return Ok(());
    }
    let sample = usize::try_from(options.sample).unwrap_or(usize::MAX);
    let found = engine.check_source(tenant, sample).await?.map_err(unread)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print(&found);
    }
    Ok(())
}

/// A source that does not answer is a failure of the network; everything else is wrong in what the file says of it.
fn unread(problem: SourceProblem) -> anyhow::Error {
    match problem.category {
        ErrorCategory::Transient => problem.into(),
        _ => Failure::refused(problem).into(),
    }
}

fn print(found: &SourceCheck) {
    println!("{}", found.place);
    for table in &found.mapping.tables {
        let Some(mapped) = &table.mapped else {
            println!("  {:<13} not mapped", table.table);
            continue;
        };
        let columns = table
            .columns
            .iter()
            .filter(|column| !column.from.is_empty() && column.missing.is_empty())
            .count();
        let state = if table.found { "found" } else { "not found" };
        println!("  {:<13} {mapped}: {state}, {columns} columns", table.table);
        for problem in &table.problems {
            println!("    ! {problem}");
        }
        for advice in &table.advice {
            println!("    - {advice}");
        }
    }
    println!();
    for campaign in &found.campaigns {
        print_campaign(campaign);
    }
}

fn print_campaign(check: &CampaignCheck) {
    let works = match check.works {
        Works::Works => "works",
        Works::WorksPartly => "works partly",
        Works::Cannot => "cannot",
    };
    let off = if check.switch == Switch::On {
        ""
    } else {
        " (switched off)"
    };
    println!("{:<28} {works}{off}", check.campaign);
    if let Some(problem) = &check.problem {
        println!("    ! {problem}");
    }
    for missing in &check.missing {
        let must = if missing.required { "needs" } else { "could use" };
        let closest = if missing.closest.is_empty() {
            String::new()
        } else {
            format!("; there is {}", missing.closest.join(", "))
        };
        println!(
            "    {must} {}.{} for {}{closest}",
            missing.table, missing.column, missing.for_what
        );
    }
    if check.works != Works::Cannot {
        println!(
            "    due now: {} of {} rows looked at{}",
            check.due,
            check.scanned,
            if check.malformed > 0 {
                format!(", {} cannot be told", check.malformed)
            } else {
                String::new()
            }
        );
    }
    for row in &check.sample {
        println!("      {} ({}), due {}", row.key, row.occurrence, row.due_on);
    }
}
