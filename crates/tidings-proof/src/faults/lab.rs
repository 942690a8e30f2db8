//! An installation for one row: a database and a stand-in of its own, the real binary, and the count at the end.

use super::Ground;
use super::report::Report;
use crate::bench;
use crate::killable;
use crate::load::Load;
use crate::process::{self, Installation};
use crate::tally::{self, Calls, Unknown};
use anyhow::{Context, Result};
use jiff::SignedDuration;
use sqlx::{Connection, PgConnection};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tidings_stand_in::{Account, Event, Secrets, StandIn, Step, Vendor};
use tokio::process::Child;

/// How long everything may take to settle after the last fault: what is unknown is asked about after a quarter of a minute.
const SETTLE_LIMIT: Duration = Duration::from_mins(4);
/// How long the reports of a provider may take after that.
const REPORTS_LIMIT: Duration = Duration::from_mins(1);
/// The slug of the tenant.
pub const TENANT: &str = "faults";
/// A rate that no row comes near; a provider's own would hold up everything.
pub const NO_LIMIT: &str = "{ limit = 100000, per_ms = 1000 }";
/// Signs webhooks.
const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What can be known of a call whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The call can be repeated under its key: Resend.
    Idempotent,
    /// The provider can be asked: the sandbox's protocol.
    Lookup,
    /// Neither: SMTP.
    Opaque,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Idempotent, Self::Lookup, Self::Opaque];

    /// In figures and names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idempotent => "idempotent",
            Self::Lookup => "lookup",
            Self::Opaque => "opaque",
        }
    }

    /// Who reports what became of its messages; a mail server does not.
    pub fn reports(self) -> Option<Vendor> {
        match self {
            Self::Idempotent => Some(Vendor::Resend),
            Self::Lookup => Some(Vendor::Sandbox),
            Self::Opaque => None,
        }
    }

    /// Where a provider can be asked no second call is to be made; a key may be used again, which the provider sees.
    fn counted(self) -> Calls {
        if self == Self::Lookup {
            Calls::Every
        } else {
            Calls::Accepted
        }
    }

    fn waiting(self) -> Unknown {
        if self == Self::Opaque {
            Unknown::Listed
        } else {
            Unknown::Held
        }
    }

    /// A connection of this kind to the stand-in, as an `apply` file has it.
    fn connection(self, stand_in: &StandIn) -> String {
        let (provider, settings, credentials) = match self {
            Self::Idempotent => (
                "resend",
                format!(
                    r#"from_email = "shop@brand.example", base_url = "{}""#,
                    stand_in.url()
                ),
                format!(r#"api_key = "re_key", webhook_secret = "{WEBHOOK_SECRET}""#),
            ),
            Self::Lookup => (
                "sandbox",
                format!(r#"base_url = "{}""#, stand_in.url()),
                format!(r#"webhook_secret = "{WEBHOOK_SECRET}""#),
            ),
            Self::Opaque => {
                let smtp = stand_in.smtp_addr();
                (
                    "smtp",
                    format!(
                        r#"host = "{}", port = {}, tls = "none", from_email = "shop@brand.example""#,
                        smtp.ip(),
                        smtp.port()
                    ),
                    String::new(),
                )
            }
        };
        format!(
            r#"
[[tenants.connections]]
name = "{provider}"
provider = "{provider}"
channel = "email"
rate_limit = {NO_LIMIT}
settings = {{ {settings} }}
credentials = {{ {credentials} }}
"#
        )
    }
}

/// The head of a tenant whose messages go at any hour.
pub fn tenant(slug: &str) -> String {
    format!(
        r#"[[tenants]]
slug = "{slug}"
name = "Fault matrix"

[tenants.policy]
quiet_hours = []
contact_quiet_hours = []
channel_quiet_hours = {{}}
"#
    )
}

/// An installation under faults.
#[derive(Debug)]
pub struct Lab {
    /// The real binary.
    pub engine: Installation,
    /// The provider.
    pub standin: StandIn,
    /// Files of the row.
    pub folder: PathBuf,
    kind: Kind,
    /// The provider reports deliveries.
    reports: bool,
}

impl Lab {
    /// One tenant with one connection. Its processes may be silent for `lease_s`.
    pub async fn open(ground: &Ground<'_>, name: &str, kind: Kind, lease_s: u32) -> Result<Self> {
        let apply = |stand_in: &StandIn| tenant(TENANT) + &kind.connection(stand_in);
        Self::with(ground, name, kind, lease_s, TENANT, apply).await
    }

    /// With an `apply` file of its own; `first` is the tenant whose key the installation has.
    pub async fn with(
        ground: &Ground<'_>,
        name: &str,
        kind: Kind,
        lease_s: u32,
        first: &str,
        apply: impl Fn(&StandIn) -> String,
    ) -> Result<Self> {
        let folder = process::folder(&format!("faults-{name}"))?;
        let standin = StandIn::start(killable::options(&folder.join("ledger.jsonl"))).await?;
        let url = bench::empty(&ground.server_url, &format!("tidings_faults_{name}")).await?;
        let engine = Installation::prepare(&url, &folder, &apply(&standin), first, lease_s)
            .await
            .with_context(|| format!("the installation of {name}"))?;
        Ok(Self {
            engine,
            standin,
            folder,
            kind,
            reports: false,
        })
    }

    /// A connection to its database.
    pub async fn database(&self) -> Result<PgConnection> {
        PgConnection::connect(self.engine.database_url())
            .await
            .context("the database of the installation cannot be reached")
    }

    /// Makes the provider report every message as delivered.
    pub async fn report_deliveries(&mut self) -> Result<()> {
        let delivered = Step {
            after_ms: 50,
            ..Step::of(Event::Delivered)
        };
        // A killed process is there again within seconds.
        self.webhooks(vec![delivered], vec![1_000; 20]).await?;
        self.reports = self.kind.reports().is_some();
        Ok(())
    }

    /// Tells the provider what becomes of its messages, and not where to report it to.
    pub fn script(&self, script: Vec<Step>) -> Result<()> {
        let Some(vendor) = self.kind.reports() else {
            return Ok(());
        };
        let account = Account {
            script,
            ..Account::default()
        };
        self.set_up(vendor, account)
    }

    fn set_up(&self, vendor: Vendor, account: Account) -> Result<()> {
        self.standin
            .account(vendor, "default", account)
            .map_err(|problem| anyhow::anyhow!(problem))?;
        Ok(())
    }

    /// Tells the provider where to report to, what, and how often it tries again.
    pub async fn webhooks(&self, script: Vec<Step>, retries_ms: Vec<u64>) -> Result<()> {
        let Some(vendor) = self.kind.reports() else {
            return Ok(());
        };
        let mut database = self.database().await?;
        let connection: String = sqlx::query_scalar("SELECT id::text FROM connections LIMIT 1")
            .fetch_one(&mut database)
            .await?;
        let url = self
            .engine
            .url(&format!("/webhooks/{}/{connection}", vendor.name()));
        let account = Account {
            webhook_url: Some(url),
            secrets: Secrets {
                webhook_secret: Some(WEBHOOK_SECRET.to_owned().into()),
                ..Secrets::default()
            },
            script,
            retries_ms: Some(retries_ms),
            ..Account::default()
        };
        self.set_up(vendor, account)
    }

    /// Starts everything undisturbed, lets it settle, and counts into the report.
    pub async fn settle(&self, load: &Load, report: &mut Report) -> Result<()> {
        let mut child = self.engine.serve("all", None)?;
        self.engine.up(&mut child).await?;
        self.settle_under(load, report).await?;
        self.reports_arrive(report).await?;
        child.kill().await?;
        Ok(())
    }

    /// The same under processes that run already.
    pub async fn settle_under(&self, load: &Load, report: &mut Report) -> Result<()> {
        let mut database = self.database().await?;
        let started = Instant::now();
        tally::settle(&mut database, self.kind.waiting(), SETTLE_LIMIT / 2).await?;
        // Jobs that process after process died with wait for a person.
        let replayed = self.engine.replay_poison().await?;
        if replayed > 0 {
            tally::settle(&mut database, self.kind.waiting(), SETTLE_LIMIT / 2).await?;
        }
        let took = started.elapsed();
        let tally = tally::count(
            &mut database,
            &load.acknowledged(),
            &[&self.standin],
            self.kind.counted(),
            self.kind.waiting(),
        )
        .await?;
        report.add(&tally);
        let name = self.kind.name();
        report.figure(&format!("{name}_unknown"), tally.unknown);
        report.figure(&format!("{name}_replayed"), replayed);
        report.figure(&format!("{name}_settled_in_s"), took.as_secs());
        let twice: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM (SELECT FROM event_log WHERE kind = 'MessageSent' GROUP BY message_id HAVING count(*) > 1) t",
        )
        .fetch_one(&mut database)
        .await?;
        report.demand(twice == 0, || {
            format!("{twice} messages of {name} were written down as sent more than once")
        });
        Ok(())
    }

    /// Whether every message that the provider reported as delivered, with a good answer, is delivered here too.
    async fn reports_arrive(&self, report: &mut Report) -> Result<()> {
        if !self.reports {
            return Ok(());
        }
        let silent = self.standin.wait_for_reports(|reported| reported.waiting == 0);
        if tokio::time::timeout(REPORTS_LIMIT, silent).await.is_err() {
            report
                .broken
                .push("reports of the provider were still on their way".to_owned());
        }
        let mut database = self.database().await?;
        let started = Instant::now();
        let sent = loop {
            let sent: i64 = sqlx::query_scalar("SELECT count(*) FROM messages WHERE status = 'sent'")
                .fetch_one(&mut database)
                .await?;
            if sent == 0 || started.elapsed() > REPORTS_LIMIT {
                break sent;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        };
        let given_up = self.standin.summary()["webhooks"]["failed"].as_i64().unwrap_or(0);
        report.figure(&format!("{}_reports_given_up", self.kind.name()), given_up);
        report.demand(sent <= given_up, || {
            format!("{sent} messages lack the report of their delivery, and the provider gave up {given_up}")
        });
        Ok(())
    }
}

/// The clock of processes, as a file that they follow (`TIDINGS_CLOCK_FILE`).
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
    away: SignedDuration,
}

impl Clock {
    /// One that goes as the machine's.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let mut clock = Self {
            file: folder.join(name),
            away: SignedDuration::ZERO,
        };
        clock.set(SignedDuration::ZERO)?;
        Ok(clock)
    }

    /// Sets it so far from the machine's.
    pub fn set(&mut self, away: SignedDuration) -> Result<()> {
        // In one step: nobody reads half a number.
        let new = self.file.with_extension("new");
        std::fs::write(&new, away.as_millis().to_string())?;
        std::fs::rename(&new, &self.file)
            .with_context(|| format!("{} cannot be written", self.file.display()))?;
        self.away = away;
        Ok(())
    }

    /// How far it is from the machine's.
    pub fn away(&self) -> SignedDuration {
        self.away
    }

    /// Its file.
    pub fn file(&self) -> String {
        self.file.to_string_lossy().into_owned()
    }
}

/// Ends processes at the end of a row.
pub async fn end(children: Vec<Child>) -> Result<()> {
    for mut child in children {
        child.kill().await?;
    }
    Ok(())
}
