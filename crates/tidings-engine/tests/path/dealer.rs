//! A dealership with a database of its own, connected to the small installation.

use crate::world::World;
use jiff::SignedDuration;
use jiff::civil::{Date, date};
use secrecy::SecretString;
use serde_json::json;
use tidings_core::campaign::CampaignName;
use tidings_core::redact::Private;
use tidings_core::{CampaignRunId, TenantId};
use tidings_engine::source::demo::{Dealership, DemoAddress, DemoCustomer, DemoInvoice, DemoMachine};
use tidings_engine::source::{Mapping, SourceSettings};
use tidings_engine::store::campaigns::{self, Coverage, RowOutcome, RowTold, StoredCampaign};
use tidings_engine::store::sources::{self, SourceInput};
use tidings_testkit::TemporaryFile;

/// The day of the world's clock.
pub const TODAY: Date = date(2026, 6, 16);

/// An empty dealership to fill by hand.
#[derive(Default)]
pub struct Dealer(pub Dealership);

impl Dealer {
    /// A customer with an e-mail address and consent to marketing.
    pub fn customer(&mut self, id: i64) -> &mut DemoCustomer {
        self.0.emails.push(DemoAddress {
            id,
            customer: id,
            address: Private::new(format!("c{id}@example.com")),
            primary: true,
        });
        self.0.customers.push(DemoCustomer {
            id,
            first_name: Private::new(format!("First{id}")),
            last_name: Private::new("Last".to_owned()),
            company: None,
            zone: "UTC",
            locale: "en",
            preferred_channel: None,
            opt_out_email: false,
            opt_out_sms: false,
            marketing_consent: Some(true),
            created_at: "2020-01-01T00:00:00Z".parse().unwrap(),
        });
        self.0.customers.last_mut().unwrap()
    }

    /// A machine sold so many days before today.
    pub fn machine(&mut self, id: i64, customer: i64, days_ago: i32) -> &mut DemoMachine {
        self.0.equipment.push(DemoMachine {
            id,
            customer,
            kind: "mower",
            make: "Ridgeline",
            model: "R200",
            sold: Some(TODAY - jiff::Span::new().days(days_ago)),
            hours: None,
            warranty_end: None,
        });
        self.0.equipment.last_mut().unwrap()
    }

    pub fn invoice(&mut self, id: i64, customer: i64, due_days_ago: i32) {
        self.0.invoices.push(DemoInvoice {
            id,
            customer,
            due: TODAY - jiff::Span::new().days(due_days_ago),
            amount_cents: 12_900,
            paid: None,
            status: "open",
        });
    }

    /// Writes it into a file.
    pub async fn write(&self) -> TemporaryFile {
        let file = TemporaryFile::new("db");
        self.0.load_sqlite(file.path()).await.unwrap();
        file
    }
}

impl World {
    /// Makes a file the tenant's source.
    pub async fn source(&self, file: &TemporaryFile) {
        self.source_of(self.tenant, &file.path().to_string_lossy()).await;
    }

    pub async fn source_of(&self, tenant: TenantId, path: &str) {
        let settings: SourceSettings =
            serde_json::from_value(json!({"kind": "sqlite", "url": path, "page_rows": 50})).unwrap();
        let input = SourceInput {
            access: settings.to_json(),
            settings: json!({"kind": "sqlite"}),
            mapping: serde_json::to_value(Mapping::identity()).unwrap(),
            enabled: true,
        };
        let _: &SecretString = &input.access;
        let mut tx = self.engine.store().worker_tenant(tenant).tx().await.unwrap();
        sources::put(&mut tx, &input, self.now()).await.unwrap();
        tx.commit().await.unwrap();
        self.engine.register().await.unwrap();
    }

    /// Changes a campaign.
    pub async fn change(&self, campaign: &str, definition: serde_json::Value) {
        let asks = definition.get("approval") == Some(&json!(true));
        let ask = [tidings_core::MessageType::parse(campaign).unwrap()];
        let stored = StoredCampaign {
            name: name(campaign),
            own: false,
            definition,
        };
        let mut tx = self.engine.store().worker_tenant(self.tenant).tx().await.unwrap();
        let ask = if asks { &ask[..] } else { &[] };
        campaigns::put(&mut tx, &[stored], ask, self.now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Runs a campaign as of now, and everything it leads to.
    pub async fn campaign(&self, campaign: &str) -> Coverage {
        let run = self
            .engine
            .run_campaign_now(self.tenant, &name(campaign))
            .await
            .unwrap();
        self.engine.run_campaigns_due(None).await.unwrap();
        self.engine.run_due().await.unwrap();
        self.clock.advance(SignedDuration::from_secs(1));
        self.coverage(run).await
    }

    pub async fn coverage(&self, run: CampaignRunId) -> Coverage {
        let mut tx = self.engine.store().tenant(self.tenant).tx().await.unwrap();
        let story = campaigns::find_run(&mut tx, run).await.unwrap();
        campaigns::coverage(&mut tx, vec![story]).await.unwrap().remove(0)
    }

    /// The latest runs, the newest moment first.
    pub async fn runs(&self, tenant: TenantId, campaign: &str) -> Vec<Coverage> {
        let mut tx = self.engine.store().tenant(tenant).tx().await.unwrap();
        let page = campaigns::list_runs(&mut tx, Some(&name(campaign)), None, 100)
            .await
            .unwrap();
        campaigns::coverage(&mut tx, page.items).await.unwrap()
    }

    pub async fn rows(&self, coverage: &Coverage) -> Vec<RowTold> {
        let mut tx = self.engine.store().tenant(self.tenant).tx().await.unwrap();
        let page = campaigns::list_rows(&mut tx, coverage.run.id, &[], None, 500)
            .await
            .unwrap();
        page.items
    }
}

/// The counts that are not zero.
pub fn counts(coverage: &Coverage) -> Vec<(RowOutcome, u64)> {
    assert!(coverage.balanced, "{coverage:?}");
    let counts = coverage.outcomes.iter().filter(|(_, rows)| **rows > 0);
    counts.map(|(outcome, rows)| (*outcome, *rows)).collect()
}

pub fn name(text: &str) -> CampaignName {
    CampaignName::parse(text).unwrap()
}
