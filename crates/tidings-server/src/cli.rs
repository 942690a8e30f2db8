//! The command line: what can be asked of `tidings`, and where each answer lives.
//!
//! Exit codes: 0 done; 1 failed; 2 wrong use of the command line; 3 something was refused or not found.

pub mod queue;
pub mod whatsapp_web;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Decides who should hear what, when and on which channel, gets it there, and can say why.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, propagate_version = true)]
pub struct Cli {
    /// Where the private PostgreSQL and the generated key live, when DATABASE_URL is unset.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where PostgreSQL's programs (initdb, postgres, pg_ctl) are.
    #[arg(long, global = true, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// Answer in JSON, for machines.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the engine: API, workers and scheduler in one process, or one role of them.
    Serve(Serve),
    /// Load a small tenant with the sandbox, send a realistic mix, and say what became of each.
    Demo(Demo),
    /// Bring the database to this version's schema.
    Migrate,
    /// Make tenants, contacts, connections, templates and keys as a TOML file says; shows the difference first.
    Apply(Apply),
    /// Send one message, or a file of requests (one JSON object a line).
    Send(Send),
    /// Say why a message was sent, held or not sent; or why a contact got nothing from a campaign.
    Explain(Explain),
    /// Live through days to come on a copy, and say who would get what, when and why; nothing is sent.
    Simulate(Simulate),
    /// Look at a tenant's own database.
    #[command(subcommand)]
    Source(Source),
    /// Look at campaigns and their runs, and run one.
    #[command(subcommand)]
    Campaign(Campaign),
    /// Look at messages that wait for a person's yes, and give it.
    #[command(subcommand)]
    Approval(Approval),
    /// Look at alerts, and try who is told of them.
    #[command(subcommand, visible_alias = "alerts")]
    Alert(Alert),
    /// Say what became of deliveries, by provider, connection, channel, message type or day.
    Analytics(Analytics),
    /// Look at the queue and its dead letters.
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Look at connections and how they stand, test one, and break one on purpose.
    #[command(subcommand)]
    Connection(Connection),
    /// Take mail that came back: bounces, complaints, answers.
    #[command(subcommand)]
    Mail(Mail),
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    Key(Key),
    /// Rotate the master key.
    #[command(subcommand)]
    Keys(Keys),
    /// Answer as every provider does, without sending anything: for trying out, and for tests.
    Sandbox(Sandbox),
    /// WhatsApp through a browser: against WhatsApp's terms, off by default.
    #[command(subcommand)]
    WhatsappWeb(whatsapp_web::WhatsappWeb),
    /// Check this installation and say what to do about what is wrong.
    Doctor,
}

/// Which part of the engine to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything in one process.
    All,
    /// The HTTP API, webhooks and tracking.
    Api,
    /// Workers: claim, send, track.
    Worker,
    /// Schedules.
    Scheduler,
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Run one role only.
    #[arg(long, value_enum, default_value = "all")]
    pub role: Role,
    /// Address and port to bind (TIDINGS_LISTEN).
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<std::net::SocketAddr>,
    /// Also take mail that came back, by SMTP at this address and port (TIDINGS_MAIL_LISTEN); with the role api or all.
    #[arg(long, value_name = "ADDR")]
    pub mail_listen: Option<std::net::SocketAddr>,
    /// Offer STARTTLS there with this certificate chain, PEM (TIDINGS_MAIL_TLS_CERTIFICATE); read again when it is renewed.
    #[arg(long, value_name = "FILE", requires = "mail_tls_key")]
    pub mail_tls_certificate: Option<PathBuf>,
    /// The key of that certificate, PEM (TIDINGS_MAIL_TLS_KEY).
    #[arg(long, value_name = "FILE", requires = "mail_tls_certificate")]
    pub mail_tls_key: Option<PathBuf>,
    /// Also answer /metrics, /healthz and /readyz at this address and port (TIDINGS_METRICS_LISTEN), whatever the role.
    #[arg(long, value_name = "ADDR")]
    pub metrics_listen: Option<std::net::SocketAddr>,
    /// Do not migrate at start; refuse to start on an older schema.
    #[arg(long)]
    pub no_migrate: bool,
}

impl Serve {
    /// The files of the mail server's TLS; the command line takes both or neither.
    pub fn mail_tls(&self) -> Option<tidings_mail::TlsFiles> {
        Some(tidings_mail::TlsFiles {
            certificate: self.mail_tls_certificate.clone()?,
            key: self.mail_tls_key.clone()?,
        })
    }
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// End when every message has settled; the last line is a JSON summary.
    #[arg(long)]
    pub once: bool,
    /// Connect a dealership that does not exist and live through so many days of its campaigns; 0 leaves it out.
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u32).range(0..=366))]
    pub days: u32,
    /// How many customers the dealership has.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub customers: u32,
    /// Address and port to bind.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8420")]
    pub listen: std::net::SocketAddr,
}

/// Options of `sandbox`.
#[derive(Debug, Args)]
pub struct Sandbox {
    /// Address and port to bind for HTTP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8425")]
    pub listen: std::net::SocketAddr,
    /// Address and port to bind for SMTP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8426")]
    pub smtp: std::net::SocketAddr,
    /// Keep the ledger in this file as well, written through before each answer.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Answer after so many milliseconds: a number, or a range such as 50-200.
    #[arg(long, value_name = "MS", value_parser = milliseconds, default_value = "0")]
    pub latency: (u64, u64),
    /// What chance follows from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// `50` or `50-200`, at most ten minutes.
fn milliseconds(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let number = |part: &str| part.trim().parse::<u64>().ok();
    match (number(from), number(to)) {
        (Some(from), Some(to)) if from <= to && to <= 600_000 => Ok((from, to)),
        _ => Err("a number of milliseconds or a range such as 50-200, at most 600000".to_owned()),
    }
}

/// Options of `apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// The TOML file.
    pub file: PathBuf,
    /// Show the difference and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// The tenant a command is about.
#[derive(Debug, Args)]
pub struct Tenant {
    /// The tenant's id or slug; may be left out when there is only one.
    #[arg(long, value_name = "ID|SLUG", env = "TIDINGS_TENANT")]
    pub tenant: Option<String>,
}

/// Options of `send`.
#[derive(Debug, Args)]
pub struct Send {
    /// The tenant.
    #[command(flatten)]
    pub tenant: Tenant,
    /// A file of requests, one JSON object a line (`-` for standard input), as POST /v1/messages takes them.
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["message_type", "to", "contact", "context"])]
    pub file: Option<PathBuf>,
    /// The message type.
    #[arg(long = "type", value_name = "TYPE")]
    pub message_type: Option<String>,
    /// An e-mail address or phone number; makes the contact when it is new.
    #[arg(long, conflicts_with = "contact")]
    pub to: Option<String>,
    /// The contact's id or external id.
    #[arg(long)]
    pub contact: Option<String>,
    /// The template's variables, as a JSON object.
    #[arg(long, default_value = "{}")]
    pub context: String,
    /// critical, high, normal or low.
    #[arg(long)]
    pub urgency: Option<String>,
    /// email, sms, whatsapp or whatsapp_web.
    #[arg(long)]
    pub channel: Option<String>,
    /// The same reference is sent once, however often it is asked for.
    #[arg(long, value_name = "TEXT")]
    pub source_reference: Option<String>,
}

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The tenant.
    #[command(flatten)]
    pub tenant: Tenant,
    /// The message's id.
    #[arg(required_unless_present = "campaign", conflicts_with = "campaign")]
    pub message: Option<tidings_core::MessageId>,
    /// The contact's id, or the tenant's own id of it.
    #[arg(long, requires = "campaign")]
    pub contact: Option<String>,
    /// The campaign the contact got nothing from.
    #[arg(long, requires = "contact")]
    pub campaign: Option<String>,
}

/// Options of `simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// The tenant.
    #[command(flatten)]
    pub tenant: Tenant,
    /// First day, in the tenant's zone.
    #[arg(long, value_name = "DATE")]
    pub from: jiff::civil::Date,
    /// Last day.
    #[arg(long, value_name = "DATE")]
    pub to: jiff::civil::Date,
    /// A TOML file of policy values: say what they would change.
    #[arg(long, value_name = "FILE")]
    pub diff: Option<PathBuf>,
}

/// A tenant's own database.
#[derive(Debug, Subcommand)]
pub enum Source {
    /// Connect, compare the mapping with what is there, and say campaign by campaign what works.
    Check(CheckSource),
}

/// Options of `source check`.
#[derive(Debug, Args)]
pub struct CheckSource {
    /// The tenant.
    #[command(flatten)]
    pub tenant: Tenant,
    /// Print a mapping that fits the tables found, to start from.
    #[arg(long)]
    pub suggest: bool,
    /// Due rows shown of each campaign.
    #[arg(long, default_value_t = 3)]
    pub sample: u32,
}

/// Campaigns.
#[derive(Debug, Subcommand)]
pub enum Campaign {
    /// List the campaigns, whether they run, and when next.
    List(Tenant),
    /// Run one now, and report.
    Run {
        /// The tenant.
        #[command(flatten)]
        tenant: Tenant,
        /// The campaign.
        campaign: String,
    },
    /// Say how many rows were due in the latest runs, and what became of each.
    Report(ReportCampaign),
}

/// Options of `campaign report`.
#[derive(Debug, Args)]
pub struct ReportCampaign {
    /// The tenant.
    #[command(flatten)]
    pub tenant: Tenant,
    /// Only of this campaign.
    #[arg(long)]
    pub campaign: Option<String>,
    /// One run with its due rows, instead of the latest runs.
    #[arg(long)]
    pub run: Option<tidings_core::CampaignRunId>,
    /// Only rows of this outcome: proposed, held, suppressed, duplicate, malformed, unreachable.
    #[arg(long, requires = "run")]
    pub outcome: Option<String>,
    /// Comma-separated values instead of a table.
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// How many runs at most.
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
}

/// Approvals.
#[derive(Debug, Subcommand)]
pub enum Approval {
    /// List messages that wait for a yes, the oldest first.
    List {
        /// The tenant.
        #[command(flatten)]
        tenant: Tenant,
        /// How many at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show what a waiting message would say.
    Show {
        /// The tenant.
        #[command(flatten)]
        tenant: Tenant,
        /// The message.
        message: tidings_core::MessageId,
    },
    /// Say yes; the rules are asked again.
    Approve {
        /// The tenant.
        #[command(flatten)]
        tenant: Tenant,
        /// The messages.
        #[arg(required = true)]
        messages: Vec<tidings_core::MessageId>,
    },
    /// Say yes to other words.
    Edit {
        /// The tenant.
        #[command(flatten)]
        tenant: Tenant,
        /// The message.
        message: tidings_core::MessageId,
        /// Other values for the template's variables, as a JSON object; those not named stay.
        #[arg(long)]
        context: Option<String>,
        /// A text instead of the template.
        #[arg(long, conflicts_with = "context")]
        body: Option<String>,
        /// Its subject.
        #[arg(long, requires = "body")]
        subject: Option<String>,
    },
    /// Say no; the message is cancelled.
    Reject {
        /// The tenant.
        #[command(flatten)]
        tenant: Tenant,
        /// The messages.
        #[arg(required = true)]
        messages: Vec<tidings_core::MessageId>,
    },
}

/// Connections.
#[derive(Debug, Subcommand)]
pub enum Connection {
    /// List connections with breaker, health and limits.
    List(Tenant),
    /// Show one with everything that is known of it.
    Show(NamedConnection),
    /// Ask the provider whether credentials and endpoint work; nothing is sent.
    Test(NamedConnection),
    /// Break one on purpose, to see others take over; it ends by itself.
    Drill {
        /// Which.
        #[command(flatten)]
        which: NamedConnection,
        /// For how many seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
        for_seconds: u32,
        /// End the drill now.
        #[arg(long, conflicts_with = "for_seconds")]
        restore: bool,
    },
}

/// A connection of a tenant.
#[derive(Debug, Args)]
pub struct NamedConnection {
    /// The tenant.
    #[command(flatten)]
    pub tenant: Tenant,
    /// The connection's name or id.
    pub connection: String,
}

/// Alerts.
#[derive(Debug, Subcommand)]
pub enum Alert {
    /// List alerts with what was told of them, the newest first.
    List {
        /// The tenant.
        #[command(flatten)]
        tenant: Tenant,
        /// Those that are over, too.
        #[arg(long)]
        all: bool,
        /// How many at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Raise an alert that means nothing, to try the notifiers; it is over by itself soon.
    Test(Tenant),
}

/// Options of `analytics`.
#[derive(Debug, Args)]
pub struct Analytics {
    /// The tenant.
    #[command(flatten)]
    pub tenant: Tenant,
    /// The first day, UTC, as 2026-06-01; 29 days before the last when left out.
    #[arg(long, value_name = "DAY")]
    pub from: Option<jiff::civil::Date>,
    /// The last day, UTC; today when left out.
    #[arg(long, value_name = "DAY")]
    pub to: Option<jiff::civil::Date>,
    /// By what they are told apart: provider, connection, channel, type or day.
    #[arg(long, default_value = "provider")]
    pub by: String,
    /// Comma-separated values instead of a table.
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// Mail that came back.
#[derive(Debug, Subcommand)]
pub enum Mail {
    /// Take one mail from standard input, as a mail server's pipe hands it over.
    ///
    /// Ends with the codes such a pipe knows (sysexits): 0 stored, 65 not a mail that can be taken, 67 unknown recipient, 75 try again later.
    Receive(ReceiveMail),
}

/// Options of `mail receive`.
#[derive(Debug, Args)]
pub struct ReceiveMail {
    /// The envelope's sender; empty for reports.
    #[arg(long, value_name = "ADDR", default_value = "", allow_hyphen_values = true)]
    pub from: String,
    /// The envelope's recipient.
    #[arg(long, value_name = "ADDR")]
    pub to: String,
}

/// API keys.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key; its secret is shown once.
    Create(CreateKey),
    /// List keys.
    List(Tenant),
    /// Revoke a key.
    Revoke {
        /// The key's id.
        id: tidings_core::ApiKeyId,
        /// The tenant.
        #[command(flatten)]
        tenant: Tenant,
    },
}

/// Options of `key create`.
#[derive(Debug, Args)]
pub struct CreateKey {
    /// The tenant; without one, an operator's key.
    #[command(flatten)]
    pub tenant: Tenant,
    /// Make a key for the operator of the installation instead of a tenant.
    #[arg(long)]
    pub operator: bool,
    /// What it is for.
    #[arg(long, default_value = "cli")]
    pub name: String,
    /// Scopes, comma separated; all of the tenant's by default.
    #[arg(long, value_delimiter = ',')]
    pub scopes: Vec<String>,
}

/// Master keys.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Re-wrap every tenant's key under the present master key.
    Rotate,
}
