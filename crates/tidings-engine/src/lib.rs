//! The shell around the rules: each file loads, decides, performs.
//!
//! The path of a message, in order: [`accept`](Engine::accept) (decide, render, enqueue in one commit), `process` (claim,
//! sort by what a job needs), `deliver` (gate, call, outcome), `resolve` (what nobody knows the outcome of), `rescue`
//! (what a dead worker left). `hold` and `batch` bring waiting messages back, `foreign` takes up rows that other programs
//! put into the queue, `explain` says why.

mod accept;
mod admit;
mod ai;
pub mod alerts;
mod analytics;
mod approvals;
mod approve;
mod backlog;
mod batch;
mod campaigns;
mod cancel;
mod channel_time;
mod claims;
mod compose;
mod connections;
mod csv_text;
pub mod dead_letters;
mod deliver;
mod draft;
mod engagement;
mod engine;
mod error;
mod explain;
mod failpoint;
mod fallback;
mod figures;
mod foreign;
mod gate;
mod growth;
mod hold;
mod inbox;
mod inspect;
mod keep;
mod late;
mod learn;
mod limits;
pub mod links;
mod mail;
mod outcome;
pub mod preferences;
pub mod privacy;
mod process;
mod pulse;
mod receive;
mod recipients;
mod reconcile;
mod record;
mod repeat;
mod reply;
mod request;
mod rescue;
mod resolve;
mod sandbox;
mod sandbox_reports;
mod settle;
mod simulate;
mod standing;
mod submission;
mod suppression_mirror;
mod templates;
mod tenancy;
mod together;
mod track;
mod unreported;
pub mod unsubscribe;
mod upkeep;
mod visitor;
mod webhook;
mod whatsapp;
mod worker;

pub use analytics::{DeliveriesTold, deliveries_csv};
pub use approvals::{ApprovalEdit, ApprovalTold, ChannelPreview, WaitingPreview};
pub use backlog::Backlog;
pub use campaigns::{
    CampaignCheck, CampaignTold, Effective, Missing, NeverSelected, Ran, RowVerdict, RunPace, SampleRow,
    SourceCheck, SourceProblem, StepTold, Switch, Works, coverage_csv, rows_csv,
};
pub use engine::{Engine, EngineOptions, Limits};
pub use error::EngineError;
pub use explain::{
    AttemptTold, DecisionTold, DeliveryTold, DryRun, EventTold, Explanation, PassedOverTold, RouteTold,
};
pub use failpoint::{FailPointError, FailPoints, NAMES as FAIL_POINT_NAMES};
pub use figures::{describe as describe_figures, prime as prime_figures};
pub use inspect::TemplatePreview;
pub use mail::{MOST_MAIL_BYTES, MailRecipient, MailTaken};
pub use reconcile::{ReconcilePace, Reconciled};
pub use request::{
    AcceptError, AcceptRequest, Accepted, DirectContent, DirectMedia, IdempotencyKey, InlineContact,
    MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, MAX_CONTEXT_BYTES, MAX_DIRECT_BYTES, MAX_REQUESTS,
    MAX_SOURCE_REFERENCE, Recipient, Words,
};
pub use resolve::PersonDecides;
pub use sandbox::{SandboxMail, sandbox_mail};
pub use simulate::{Moved, Simulated, SimulatedMessage, SimulatedOutcome, differences};
pub use standing::{Drill, Lately, Standing};
pub use tidings_providers as providers;
pub use tidings_queue as queue;
pub use tidings_render as render;
pub use tidings_source as source;
pub use tidings_store as store;
pub use visitor::Sender;
pub use webhook::{WebhookError, WebhookReceiver};
pub use whatsapp::{SignalError, SignalKind};
pub use worker::WorkerReport;
