//! `tidings campaign list|run|report`: what campaigns a tenant has, and what became of every due row.

use super::explain::campaign_name;
use crate::cli::{Campaign, ReportCampaign};
use crate::failure::Failure;
use crate::installation::Installation;
use crate::node;
use anyhow::Result;
use std::time::{Duration, Instant};
use tidings_core::{CampaignRunId, TenantId};
use tidings_engine::{CampaignTold, Engine, Switch, coverage_csv, rows_csv};
use tidings_queue::guard;
use tidings_store::campaigns::{self, Coverage, RowOutcome, RowTold, RunState};

/// Rows read at a time.
const PAGE: u32 = 500;
/// Between two looks at a run that another process has.
const LOOK_ON: Duration = Duration::from_millis(200);
/// How long `campaign run` looks on.
const LOOK_ON_LIMIT: Duration = Duration::from_mins(10);

/// Runs the command.
pub async fn run(installation: &Installation, command: &Campaign, json: bool) -> Result<()> {
    match command {
        Campaign::List(tenant) => {
            let tenant = installation.tenant(tenant.tenant.as_deref()).await?.id;
            let campaigns = node::engine(installation)?.campaigns(tenant).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&campaigns)?);
            } else {
                campaigns.iter().for_each(print_campaign);
            }
            Ok(())
        }
        Campaign::Run { tenant, campaign } => {
            let tenant = installation.tenant(tenant.tenant.as_deref()).await?.id;
            let engine = node::engine(installation)?;
            let id = engine.run_campaign_now(tenant, &campaign_name(campaign)?).await?;
            // Opens the queue where no engine has run yet; what is due is sent by the engine, not by this command.
            engine.register().await?;
            let coverage = run_to_its_end(installation, &engine, tenant, id).await?;
            print_all(&[coverage], json)
        }
        Campaign::Report(options) => report(installation, options, json).await,
    }
}

fn print_campaign(told: &CampaignTold) {
    let state = match &told.switch {
        Switch::On => told.next_at.map_or_else(
            || "on; scheduled when an engine runs".to_owned(),
            |at| format!("next {at}"),
        ),
        Switch::OffByDefinition => "off".to_owned(),
        Switch::OffByEnvironment { name } => format!("off ({name}=false)"),
        Switch::OffByTenant { name } => format!("off (communication_preferences.{name})"),
    };
    println!(
        "{:<28} {:<14} {:<9} {state}",
        told.definition.name, told.definition.category, told.definition.urgency
    );
}

/// Runs what is due, and looks on while another process has the run, or an earlier one of the campaign: a serving one may
/// come first. What it returns has not ended when the run waits for another try, the queue is fenced, or
/// [`LOOK_ON_LIMIT`] is over.
async fn run_to_its_end(
    installation: &Installation,
    engine: &Engine,
    tenant: TenantId,
    id: CampaignRunId,
) -> Result<Coverage> {
    let begun = Instant::now();
    loop {
        engine.run_campaigns_due(Some(tenant)).await?;
        let coverage = one(installation, tenant, id).await?;
        let run = &coverage.run;
        let under_way = match run.state {
            RunState::Running => true,
            RunState::Waiting => run.next_try_at <= engine.now() && !is_fenced(installation, engine).await?,
            RunState::Complete | RunState::Failed => false,
        };
        if !under_way || begun.elapsed() >= LOOK_ON_LIMIT {
            return Ok(coverage);
        }
        tokio::time::sleep(LOOK_ON).await;
    }
}

async fn is_fenced(installation: &Installation, engine: &Engine) -> Result<bool> {
    let mut conn = installation.store.worker().acquire().await?;
    Ok(guard::check(&mut conn, "campaign run", engine.now())
        .await?
        .is_some())
}

async fn one(installation: &Installation, tenant: TenantId, id: CampaignRunId) -> Result<Coverage> {
    let mut tx = installation.store.tenant(tenant).tx().await?;
    let run = campaigns::find_run(&mut tx, id).await?;
    let mut coverage = campaigns::coverage(&mut tx, vec![run]).await?;
    tx.commit().await?;
    Ok(coverage.remove(0))
}

async fn report(installation: &Installation, options: &ReportCampaign, json: bool) -> Result<()> {
    let tenant = installation.tenant(options.tenant.tenant.as_deref()).await?.id;
    if let Some(run) = options.run {
        return report_run(installation, tenant, run, options, json).await;
    }
    let campaign = options.campaign.as_deref().map(campaign_name).transpose()?;
    let mut tx = installation.store.tenant(tenant).tx().await?;
    let page = campaigns::list_runs(&mut tx, campaign.as_ref(), None, options.limit).await?;
    let coverage = campaigns::coverage(&mut tx, page.items).await?;
    tx.commit().await?;
    if options.csv {
        print!("{}", coverage_csv(&coverage));
        return Ok(());
    }
    print_all(&coverage, json)
}

fn print_all(coverage: &[Coverage], json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(coverage)?);
    } else {
        coverage.iter().for_each(print_coverage);
    }
    // A report that does not add up is a defect; say so where scripts see it.
    if let Some(wrong) = coverage
        .iter()
        .find(|one| !one.balanced && one.run.state == RunState::Complete)
    {
        anyhow::bail!(
            "the outcomes of run {} do not add up to its due rows",
            wrong.run.id
        );
    }
    Ok(())
}

fn print_coverage(told: &Coverage) {
    let run = &told.run;
    println!(
        "{}  {:<28} {:<9} scanned {}, due {}{}",
        run.as_of,
        run.campaign,
        run.state,
        run.scanned,
        run.due,
        if told.balanced { "" } else { " (does not add up)" }
    );
    for counted in told.reasons.iter().filter(|counted| counted.rows > 0) {
        let code = counted
            .code
            .as_deref()
            .map(|code| format!(" ({code})"))
            .unwrap_or_default();
        println!("    {:<12} {:>7}{code}", counted.outcome, counted.rows);
    }
    if let Some(error) = &run.last_error {
        println!("    {error}");
    }
    match run.state {
        RunState::Waiting => println!(
            "    waits until {}, or for an earlier run of the campaign to end",
            run.next_try_at
        ),
        RunState::Running => println!(
            "    a process reads the source; `tidings campaign report --run {}` says how far it is",
            run.id
        ),
        RunState::Complete | RunState::Failed => {}
    }
}

async fn report_run(
    installation: &Installation,
    tenant: TenantId,
    run: CampaignRunId,
    options: &ReportCampaign,
    json: bool,
) -> Result<()> {
    let outcomes = match options.outcome.as_deref() {
        None => Vec::new(),
        Some(word) => vec![
            word.parse::<RowOutcome>()
                .map_err(|error| Failure::Usage(error.to_string()))?,
        ],
    };
    let coverage = one(installation, tenant, run).await?;
    if !options.csv && !json {
        print_coverage(&coverage);
    }
    let mut after = None;
    let mut all = Vec::new();
    loop {
        let mut tx = installation.store.tenant(tenant).tx().await?;
        let page = campaigns::list_rows(&mut tx, run, &outcomes, after.as_ref(), PAGE).await?;
        tx.commit().await?;
        if options.csv || json {
            all.extend(page.items);
        } else {
            page.items.iter().for_each(print_row);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if options.csv {
        print!("{}", rows_csv(&all));
    }
    if json {
        let answer = serde_json::json!({ "run": coverage, "rows": all });
        println!("{}", serde_json::to_string_pretty(&answer)?);
    }
    Ok(())
}

fn print_row(row: &RowTold) {
    let why = match (&row.code, &row.detail) {
        (Some(code), Some(detail)) => format!("{code}: {detail}"),
        (Some(code), None) => code.clone(),
        (None, Some(detail)) => detail.clone(),
        (None, None) => String::new(),
    };
    let message = row.message_id.map(|id| id.to_string()).unwrap_or_default();
    println!(
        "    {:<16} {:<14} {:<12} {message} {why}",
        row.key, row.occurrence, row.outcome
    );
}
