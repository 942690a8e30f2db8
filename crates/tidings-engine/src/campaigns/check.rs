//! Whether a tenant's source fits its campaigns: what works, what works partly, what cannot, and a sample of due rows.

use super::contacts::text;
use super::effective::{Effective, Switch, effective};
use super::source::SourceProblem;
use crate::engine::Engine;
use crate::error::EngineError;
use jiff::Timestamp;
use serde::Serialize;
use tidings_core::campaign::{
    Assessment, CampaignName, ColumnNeed, Definition, LogicalTable, Need, RunWindow, assess, bounds, needs,
};
use tidings_core::{TenantId, zone};
use tidings_source::{Mapping, MappingCheck, Source, suggest_mapping};
use tidings_store::tenants;

/// Pages that are looked through for due rows of one campaign.
const PAGES: usize = 20;
/// The most due rows shown of one campaign.
const SAMPLE: usize = 50;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct SourceCheck {
    /// Where the source is, without account and password.
    pub place: String,
    /// Every table and column of the mapping.
    pub mapping: MappingCheck,
    /// Every campaign.
    pub campaigns: Vec<CampaignCheck>,
}

/// Whether a campaign can work with the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Works {
    /// Everything it uses is there.
    Works,
    /// What it needs is there; something it could use is not.
    WorksPartly,
    /// Something it needs is not there.
    Cannot,
}

/// A campaign and the source.
#[derive(Clone, Debug, Serialize)]
pub struct CampaignCheck {
    /// Which.
    pub campaign: CampaignName,
    /// Whether it runs.
    pub switch: Switch,
    /// Whether it can.
    pub works: Works,
    /// What is missing.
    pub missing: Vec<Missing>,
    /// Rows that were looked at, the first pages only.
    pub scanned: u64,
    /// Those of them that are due as of now.
    pub due: u64,
    /// Those of which it cannot be told.
    pub malformed: u64,
    /// Some of the due ones.
    pub sample: Vec<SampleRow>,
    /// What failed while reading.
    pub problem: Option<String>,
}

/// A column a campaign uses that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The logical table.
    pub table: LogicalTable,
    /// The logical column.
    pub column: String,
    /// The campaign cannot do without.
    pub required: bool,
    /// What it is used for.
    pub for_what: String,
    /// Names of the database that resemble what the mapping says.
    pub closest: Vec<String>,
}

/// A due row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SampleRow {
    /// Its key.
    pub key: String,
    /// Which occurrence.
    pub occurrence: String,
    /// The day or instant it came due.
    pub due_on: String,
}

impl Engine {
    /// Connects to the tenant's source, looks for everything the mapping names, and reads the first pages of each campaign.
    ///
    /// # Errors
    /// When there is no such tenant. What the source says is in the inner result.
    pub async fn check_source(
        &self,
        tenant: TenantId,
        sample: usize,
    ) -> Result<Result<SourceCheck, SourceProblem>, EngineError> {
        let inner = &self.inner;
        let now = inner.now();
        let mut tx = inner.store.tenant(tenant).tx().await?;
        let owner = tenants::get(&mut tx, tenant).await?;
        let campaigns = effective(inner, &mut tx, &owner.settings).await?;
        tx.commit().await?;
        let source = match self.open_source(tenant).await? {
            Ok(source) => source,
            Err(problem) => return Ok(Err(problem)),
        };
        let mapping = match source.check().await {
            Ok(mapping) => mapping,
            Err(error) => return Ok(Err(error.into())),
        };
        let mut checks = Vec::with_capacity(campaigns.len());
        for campaign in campaigns {
            let mut check = look(&campaign, &mapping);
            if check.works != Works::Cannot {
                let sample = sample.min(SAMPLE);
                let read = read(
                    &source,
                    &campaign.definition,
                    &owner.policy.zone,
                    now,
                    sample,
                    &mut check,
                );
                if let Err(problem) = read.await {
                    check.works = Works::Cannot;
                    check.problem = Some(problem.problem);
                }
            }
            checks.push(check);
        }
        let place = source.place().to_owned();
        Ok(Ok(SourceCheck {
            place,
            mapping,
            campaigns: checks,
        }))
    }

    /// A mapping that fits the tables of the tenant's source by their names, to start from.
    ///
    /// # Errors
    /// When there is no such tenant. What the source says is in the inner result.
    pub async fn suggest_mapping(
        &self,
        tenant: TenantId,
    ) -> Result<Result<Mapping, SourceProblem>, EngineError> {
        let source = match self.open_source(tenant).await? {
            Ok(source) => source,
            Err(problem) => return Ok(Err(problem)),
        };
        let catalogue = source.introspect().await;
        Ok(catalogue
            .map(|catalogue| suggest_mapping(&catalogue))
            .map_err(SourceProblem::from))
    }
}

/// What a campaign needs against what is there.
fn look(campaign: &Effective, mapping: &MappingCheck) -> CampaignCheck {
    let needs = needs(&campaign.definition);
    // Of several columns for the same thing one is enough.
    let served = |for_what: &str| {
        needs
            .iter()
            .any(|need| need.for_what == for_what && mapping.has(need.table, &need.column))
    };
    let missing: Vec<Missing> = needs
        .iter()
        .filter(|need| !mapping.has(need.table, &need.column))
        .filter(|need| need.need == Need::Required || !served(&need.for_what))
        .map(|need| missing(need, mapping))
        .collect();
    let works = if missing.iter().any(|one| one.required) {
        Works::Cannot
    } else if missing.is_empty() {
        Works::Works
    } else {
        Works::WorksPartly
    };
    CampaignCheck {
        campaign: campaign.definition.name.clone(),
        switch: campaign.switch.clone(),
        works,
        missing,
        scanned: 0,
        due: 0,
        malformed: 0,
        sample: Vec::new(),
        problem: None,
    }
}

fn missing(need: &ColumnNeed, mapping: &MappingCheck) -> Missing {
    let table = mapping.tables.iter().find(|one| one.table == need.table);
    let column = table.and_then(|table| table.columns.iter().find(|one| one.column == need.column));
    let of_column = column.into_iter().flat_map(|column| &column.missing);
    let mut closest: Vec<String> = of_column.flat_map(|name| name.closest.clone()).collect();
    if closest.is_empty() {
        closest = table.map(|table| table.closest.clone()).unwrap_or_default();
    }
    Missing {
        table: need.table,
        required: need.need != Need::Optional,
        column: need.column.clone(),
        for_what: need.for_what.clone(),
        closest,
    }
}

async fn read(
    source: &Source,
    definition: &Definition,
    tenant_zone: &str,
    now: Timestamp,
    sample: usize,
    check: &mut CampaignCheck,
) -> Result<(), SourceProblem> {
    let window = RunWindow {
        as_of: now,
        previous: None,
    };
    let limits = bounds(definition, &window);
    let mut pages = source.pages(definition, now, &limits, None).await?;
    for _ in 0..PAGES {
        let Some(page) = pages.next_page().await? else {
            return Ok(());
        };
        for row in &page.rows {
            check.scanned += 1;
            let own = row
                .customer
                .as_deref()
                .and_then(|customer| text(customer, "zone"));
            match assess(
                definition,
                row,
                &zone::resolve(own.as_deref(), tenant_zone),
                &window,
            ) {
                Assessment::NotDue(_) => {}
                Assessment::Malformed(_) => check.malformed += 1,
                Assessment::Due(due) => {
                    check.due += 1;
                    if check.sample.len() < sample {
                        check.sample.push(SampleRow {
                            key: row.key.clone(),
                            occurrence: due.occurrence,
                            due_on: due.due_on.to_string(),
                        });
                    }
                }
            }
        }
    }
    Ok(())
}
