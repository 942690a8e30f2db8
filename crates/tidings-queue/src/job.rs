//! Jobs as callers see them: new, claimed, finished.

use jiff::Timestamp;
use serde_json::value::RawValue;
use std::fmt;
use tidings_core::job::JobKind;
use tidings_core::{ErrorCategory, JobId, TenantId, crash};

/// A lease: the right of one node to finish the jobs of one claimed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// A job to be enqueued.
#[derive(Clone)]
pub struct NewJob {
    /// Whose job.
    pub tenant: TenantId,
    /// What it does.
    pub kind: JobKind,
    /// What it needs; JSON without NUL characters, which the database refuses.
    pub payload: Box<RawValue>,
    /// 0 (last) .. 100 (first); see `JobKind::priority`.
    pub priority: i16,
    /// Not before this moment; at once when absent or past.
    pub process_after: Option<Timestamp>,
    /// Where it comes from: a second job of the same tenant, kind and reference is answered with the first. 1 .. 500 characters.
    pub source_reference: Option<String>,
    /// Refused tries before it is given up; the caller of [`crate::finish`] decides by it.
    pub max_retries: i32,
}

impl NewJob {
    /// A job due at once, without reference, with three retries.
    pub fn new(tenant: TenantId, kind: JobKind, priority: i16, payload: Box<RawValue>) -> Self {
        Self {
            tenant,
            kind,
            payload,
            priority,
            process_after: None,
            source_reference: None,
            max_retries: 3,
        }
    }
}

impl fmt::Debug for NewJob {
    /// Without the payload, which holds personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewJob")
            .field("tenant", &self.tenant)
            .field("kind", &self.kind)
            .field("priority", &self.priority)
            .field("process_after", &self.process_after)
            .field("source_reference", &self.source_reference)
            .finish_non_exhaustive()
    }
}

/// What became of a [`NewJob`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// The job, new or earlier.
    pub id: JobId,
    /// An earlier job with the same source reference is the answer.
    pub duplicate: bool,
}

/// A job that this node holds under a lease.
#[derive(Clone)]
pub struct ClaimedJob {
    /// The job.
    pub id: JobId,
    /// Whose.
    pub tenant: TenantId,
    /// What it does.
    pub kind: JobKind,
    /// What it needs.
    pub payload: Box<RawValue>,
    /// 0 .. 100.
    pub priority: i16,
    /// Refused tries so far.
    pub retry_count: i32,
    /// Refused tries before it is given up.
    pub max_retries: i32,
    /// Workers that died with it; see [`tidings_core::crash`].
    pub crash_count: i16,
    /// Where it comes from.
    pub source_reference: Option<String>,
}

impl ClaimedJob {
    /// How many workers died of it.
    pub const fn crashes_alone(&self) -> i16 {
        crash::crashes_alone(self.crash_count)
    }

    /// Whether it is to be given up before it is begun again.
    pub const fn is_poison(&self) -> bool {
        crash::is_poison(self.crash_count)
    }
}

impl fmt::Debug for ClaimedJob {
    /// Without the payload, which holds personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimedJob")
            .field("id", &self.id)
            .field("tenant", &self.tenant)
            .field("kind", &self.kind)
            .field("retry_count", &self.retry_count)
            .field("crash_count", &self.crash_count)
            .finish_non_exhaustive()
    }
}

/// The end of a job's turn, reported by the holder of its lease.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The job.
    pub job: JobId,
    /// The lease it was claimed under.
    pub lease: LeaseId,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a job's turn. Error texts are kept for operators: callers put no personal data into them; they are cut
/// after 2,000 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It comes again at a later moment.
    Retry {
        /// When.
        at: Timestamp,
        /// Of what kind the refusal was.
        category: ErrorCategory,
        /// What was refused, and why.
        error: String,
        /// Whether this was a try; a wait for a rate limit is not.
        counts: bool,
    },
    /// It is given up: a dead letter.
    Dead {
        /// A stable code that dead letters are grouped by, such as `exhausted` or `poison`.
        cause: String,
        /// Of what kind the last refusal was.
        category: ErrorCategory,
        /// What was refused, and why.
        error: String,
    },
    /// It was withdrawn.
    Cancelled,
    /// An SMS given up; the caller enqueues the e-mail job in the same transaction.
    FallbackEmail {
        /// Of what kind the last refusal was.
        category: ErrorCategory,
        /// What was refused, and why.
        error: String,
    },
    /// Nothing was begun: back to its old place in the line, for any node.
    Release,
    /// It waits, which costs no try, and keeps its place: when the moment comes it stands before whatever was due after it
    /// was first. A moment that has come puts it back at once.
    Return {
        /// When.
        at: Timestamp,
        /// Of what kind the reason is.
        category: ErrorCategory,
        /// What it waits for.
        error: String,
    },
}

/// How many jobs of a tenant left a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The lease.
    pub lease: LeaseId,
    /// Whose jobs.
    pub tenant: TenantId,
    /// How many.
    pub jobs: u32,
}

/// What [`crate::finish`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FinishReport {
    /// Jobs whose lease this node no longer holds (or that the lease no longer holds): nothing was written for them, and
    /// whatever else the caller was about to write for them must not be written either.
    pub fenced: Vec<JobId>,
    /// What left which lease; for [`crate::Claimer::settle`].
    pub settled: Vec<Settled>,
}
