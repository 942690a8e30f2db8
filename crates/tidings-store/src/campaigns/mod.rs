//! Campaigns: what a tenant changes about them, their runs, and what became of each due row.

mod changes;
mod report;
mod rows;
mod runs;

pub use changes::{StoredCampaign, changed_since, list, put};
pub use report::{Counted, Coverage, RunStory, coverage, find_run, list_runs};
pub use rows::{NewRow, PastRow, RowTold, history_of_row, list_rows};
pub use runs::{
    ClaimedRun, Fate, NewRun, PageDone, RUNS_OF_TENANT, claim, create, finish, forget, heartbeat, page_done,
    renew, retry,
};

use tidings_core::word_enum;

word_enum! {
    /// Where a run stands.
    pub enum RunState {
        /// For its turn, or for its next try.
        Waiting = "waiting",
        /// A node reads the source.
        Running = "running",
        /// Every row was looked at.
        Complete = "complete",
        /// Given up; the next run covers its moments.
        Failed = "failed",
    }
}

word_enum! {
    /// What became of a due row.
    pub enum RowOutcome {
        /// A message goes out.
        Proposed = "proposed",
        /// A message waits: for its hour, for company, for a person's yes.
        Held = "held",
        /// The rules said no.
        Suppressed = "suppressed",
        /// An earlier run proposed it.
        Duplicate = "duplicate",
        /// Whether it is due, or what to say, cannot be told: a value is not what it should be.
        Malformed = "malformed",
        /// There is nowhere to write to.
        Unreachable = "unreachable",
    }
}
