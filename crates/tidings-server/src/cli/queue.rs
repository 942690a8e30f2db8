//! Options of `tidings queue`.

use super::Tenant;
use clap::{Args, Subcommand, ValueEnum};
use tidings_core::TenantId;

/// The queue.
#[derive(Debug, Subcommand)]
pub enum Queue {
    /// How much waits, runs and died, by type.
    Stats,
    /// List dead letters.
    List(DeadLetters),
    /// Group dead letters by cause.
    Causes,
    /// Put dead letters back into the queue.
    Replay(Replay),
    /// Delete dead letters.
    Purge(Purge),
    /// List messages of which nobody knows whether they arrived.
    Unknown(Unknown),
    /// Say what is to become of such a message.
    Decide(Decide),
    /// Let a fenced (cloned or restored) database send again.
    Unfence,
}

/// Options of `queue unknown`.
#[derive(Debug, Args)]
pub struct Unknown {
    /// Whose.
    #[command(flatten)]
    pub tenant: Tenant,
    /// How many at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// Options of `queue decide`.
#[derive(Debug, Args)]
pub struct Decide {
    /// Whose.
    #[command(flatten)]
    pub tenant: Tenant,
    /// The message.
    pub message: uuid::Uuid,
    /// What a person knows or wants.
    pub verdict: Verdict,
}

/// A person's word about a message of unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Verdict {
    /// It arrived.
    Arrived,
    /// Send it anew; it may arrive twice.
    Resend,
    /// Leave it.
    Drop,
}

impl Verdict {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Resend => "resend",
            Self::Drop => "drop",
        }
    }
}

/// Which dead letters.
#[derive(Debug, Args)]
pub struct DeadLetters {
    /// Only of this tenant.
    #[arg(long)]
    pub tenant: Option<TenantId>,
    /// Only with this cause.
    #[arg(long)]
    pub cause: Option<String>,
    /// How many at most.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
}

/// Options of `queue replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// Which.
    #[command(flatten)]
    pub which: DeadLetters,
    /// Job ids; without any, all that match.
    pub jobs: Vec<i64>,
    /// Also replay jobs whose message may already have arrived.
    #[arg(long)]
    pub even_if_duplicate: bool,
    /// Say what would be replayed, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `queue purge`.
#[derive(Debug, Args)]
pub struct Purge {
    /// Which.
    #[command(flatten)]
    pub which: DeadLetters,
    /// Really delete.
    #[arg(long)]
    pub yes: bool,
}
