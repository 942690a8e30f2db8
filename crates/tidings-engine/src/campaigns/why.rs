//! Why a contact got nothing from a campaign: the condition that failed, and when the answer would change.

use super::effective::{Switch, find};
use super::schedule::schedule_name;
use super::source::{self, SourceProblem};
use crate::engine::Engine;
use crate::error::EngineError;
use jiff::Timestamp;
use serde::Serialize;
use tidings_core::campaign::{
    Assessment, CampaignName, Definition, NotDue, Row, RunWindow, Step, StepOutcome, assess, assess_all,
    listed_key, source_reference,
};
use tidings_core::{ContactId, MessageId, TenantId, zone};
use tidings_source::Source;
use tidings_store::campaigns::{self as stored, PastRow};
use tidings_store::messages::facts;
use tidings_store::{contacts, tenants};

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct NeverSelected {
    /// The campaign.
    pub campaign: CampaignName,
    /// The contact, when it is known here.
    pub contact_id: Option<ContactId>,
    /// Its key in the source.
    pub customer_key: String,
    /// The answer in a sentence.
    pub answer: String,
    /// Whether the campaign runs.
    pub switch: Switch,
    /// When it runs next.
    pub next_run_at: Option<Timestamp>,
    /// The customer's rows of the campaign's table, each with what the rules say.
    pub rows: Vec<RowVerdict>,
}

/// What the rules say of a row.
#[derive(Clone, Debug, Serialize)]
pub struct RowVerdict {
    /// Its key.
    pub key: String,
    /// `due`, `not_due` or `malformed`.
    pub verdict: &'static str,
    /// The code of the condition that failed.
    pub code: Option<String>,
    /// Which condition.
    pub condition: Option<String>,
    /// What was found and what is wanted.
    pub detail: String,
    /// The day or instant at which the answer would change if the row stays as it is.
    pub changes_at: Option<String>,
    /// The rule and every condition, with what was found.
    pub steps: Vec<StepTold>,
    /// The message, where the occurrence was proposed.
    pub message_id: Option<MessageId>,
    /// What became of the row in earlier runs, the latest first.
    pub history: Vec<PastRow>,
}

/// The rule, or a condition.
#[derive(Clone, Debug, Serialize)]
pub struct StepTold {
    /// Which.
    pub condition: String,
    /// `met`, `skipped`, `not_met` or `malformed`.
    pub outcome: &'static str,
    /// What was found.
    pub detail: String,
    /// The day or instant at which it goes otherwise if the row stays as it is.
    pub changes_at: Option<String>,
}

impl From<Step> for StepTold {
    fn from(step: Step) -> Self {
        Self {
            condition: step.condition,
            outcome: match step.outcome {
                StepOutcome::Met => "met",
                StepOutcome::Skipped => "skipped",
                StepOutcome::NotMet(_) => "not_met",
                StepOutcome::Malformed => "malformed",
            },
            detail: step.detail,
            changes_at: step.changes_at.map(|moment| moment.to_string()),
        }
    }
}

impl Engine {
    /// Why a contact, named by its id here or its key in the source, got what it got from a campaign, or nothing.
    ///
    /// # Errors
    /// When there is no such tenant or campaign, or the source cannot be read.
    pub async fn explain_campaign(
        &self,
        tenant: TenantId,
        contact: &str,
        campaign: &CampaignName,
    ) -> Result<NeverSelected, EngineError> {
        let inner = &self.inner;
        let now = inner.now();
        let mut tx = inner.store.tenant(tenant).tx().await?;
        let owner = tenants::get(&mut tx, tenant).await?;
        let effective = find(inner, &mut tx, &owner.settings, campaign).await?;
        let effective = effective.ok_or_else(|| EngineError::NotFound {
            what: "campaign",
            id: campaign.to_string(),
        })?;
        let known = match contact.parse::<ContactId>() {
            Ok(id) => contacts::get(&mut tx, id).await.ok(),
            Err(_) => contacts::get_by_external_id(&mut tx, contact).await.ok(),
        };
        let key = known
            .as_ref()
            .and_then(|known| known.external_id.clone())
            .unwrap_or_else(|| contact.to_owned());
        let name = schedule_name(campaign);
        let schedules = tidings_queue::schedule::list(&mut tx, tenant, &name).await?;
        let next_run_at = schedules
            .into_iter()
            .find(|schedule| schedule.name == name)
            .and_then(|schedule| schedule.next_at)
            .filter(|_| effective.switch.is_on());
        let source = source::open(inner, &mut tx, &owner).await??;
        // The source is asked outside of any transaction: it may take its time.
        tx.commit().await?;
        let rows = source
            .rows_of_customer(&effective.definition, now, &key)
            .await
            .map_err(SourceProblem::from)?;
        let mut tx = inner.store.tenant(tenant).tx().await?;
        let mut told = Vec::with_capacity(rows.len());
        for row in &rows {
            let own = row
                .customer
                .as_deref()
                .and_then(|one| super::contacts::text(one, "zone"));
            let zone = zone::resolve(own.as_deref(), &owner.policy.zone);
            let mut verdict = verdict(&effective.definition, row, &zone, now);
            if let (Some(reference), verdict) = (verdict.1.take(), &mut verdict.0) {
                let reference = (tenant, effective.definition.message_type.clone(), reference);
                let found = facts::duplicates(&mut tx, std::slice::from_ref(&reference)).await?;
                verdict.message_id = found.get(&reference).map(|(message, ..)| *message);
            }
            verdict.0.history = stored::history_of_row(&mut tx, campaign, &listed_key(&row.key)).await?;
            told.push(verdict.0);
        }
        tx.commit().await?;
        let answer = answer(&effective.switch, &effective.definition, &source, &key, &told).await;
        Ok(NeverSelected {
            campaign: campaign.clone(),
            contact_id: known.map(|known| known.id),
            customer_key: key,
            answer,
            switch: effective.switch,
            next_run_at,
            rows: told,
        })
    }
}

/// What the rules say as of an instant, and the reference of the occurrence when it is due.
fn verdict(
    definition: &Definition,
    row: &Row,
    zone: &jiff::tz::TimeZone,
    now: Timestamp,
) -> (RowVerdict, Option<String>) {
    let window = RunWindow {
        as_of: now,
        previous: None,
    };
    let mut told = RowVerdict {
        key: row.key.clone(),
        verdict: "due",
        code: None,
        condition: None,
        detail: String::new(),
        changes_at: None,
        steps: assess_all(definition, row, zone, &window)
            .into_iter()
            .map(StepTold::from)
            .collect(),
        message_id: None,
        history: Vec::new(),
    };
    match assess(definition, row, zone, &window) {
        Assessment::Due(due) => {
            "every condition is met today".clone_into(&mut told.detail);
            let reference = source_reference(&definition.name, &row.key, &due.occurrence);
            (told, Some(reference))
        }
        Assessment::NotDue(NotDue {
            code,
            condition,
            detail,
            changes_at,
        }) => {
            told.verdict = "not_due";
            told.code = Some(code.to_string());
            told.condition = Some(condition);
            told.detail = detail;
            told.changes_at = changes_at.map(|moment| moment.to_string());
            (told, None)
        }
        Assessment::Malformed(malformed) => {
            told.verdict = "malformed";
            told.code = Some("row.malformed".to_owned());
            told.detail = format!("{}: {}", malformed.column, malformed.problem);
            told.condition = Some(malformed.column);
            (told, None)
        }
    }
}

/// The answer in a sentence: the first thing that stands in the way.
async fn answer(
    switch: &Switch,
    definition: &Definition,
    source: &Source,
    key: &str,
    rows: &[RowVerdict],
) -> String {
    match switch {
        Switch::On => {}
        Switch::OffByDefinition => return format!("not selected: {} is switched off", definition.name),
        Switch::OffByEnvironment { name } => {
            return format!(
                "not selected: {} is switched off by the environment ({name}=false)",
                definition.name
            );
        }
        Switch::OffByTenant { name } => {
            return format!(
                "not selected: {} is switched off by communication_preferences.{name}",
                definition.name
            );
        }
    }
    if let Some(sent) = rows.iter().find(|row| row.message_id.is_some()) {
        return format!(
            "selected: row {} was proposed; explain the message for what became of it",
            sent.key
        );
    }
    if let Some(due) = rows.iter().find(|row| row.verdict == "due") {
        return format!(
            "selected: row {} is due and will be proposed by the next run",
            due.key
        );
    }
    match rows {
        [] => match source.customer(key).await {
            Ok(Some(_)) => format!("not selected: the customer has no row in {}", definition.from),
            Ok(None) => "not selected: the source has no such customer".to_owned(),
            Err(error) => {
                format!("not selected: no row was found, and the customer could not be looked up: {error}")
            }
        },
        [row] => format!("not selected: {}", row.detail),
        // Of several the one whose answer changes soonest is the most telling.
        [first, ..] => {
            let soonest = rows
                .iter()
                .filter(|row| row.changes_at.is_some())
                .min_by_key(|row| row.changes_at.clone());
            let row = soonest.unwrap_or(first);
            format!(
                "not selected: none of {} rows is due; row {}: {}",
                rows.len(),
                row.key,
                row.detail
            )
        }
    }
}
