//! Runs: consecutive jobs of one tenant, kind and priority, the unit that ready, scheduled and leased work is kept in.

use crate::error::QueueError;
use jiff::Timestamp;
use tidings_core::TenantId;
use tidings_core::job::JobKind;
use uuid::Uuid;

/// The longest run; a block of ids.
pub(crate) const RUN_MAX: i64 = 1024;

/// The instant as the database keeps it, to the microsecond, so that a rank found from a stored moment is the rank that was
/// written with it.
pub(crate) fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// What the jobs of a run have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Class {
    pub tenant: TenantId,
    pub kind: JobKind,
    pub priority: i16,
    pub rank: i64,
}

/// Jobs `first .. first + n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub class: Class,
    pub first: i64,
    pub n: i64,
}

impl Run {
    pub fn ids(&self) -> std::ops::Range<i64> {
        self.first..self.first + self.n
    }
}

/// Joins jobs into runs. `jobs` is sorted by id.
pub(crate) fn compress(jobs: impl IntoIterator<Item = (Class, i64)>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (class, id) in jobs {
        match runs.last_mut() {
            Some(run) if run.class == class && run.first + run.n == id && run.n < RUN_MAX => run.n += 1,
            _ => runs.push(Run {
                class,
                first: id,
                n: 1,
            }),
        }
    }
    runs
}

/// What is left of `runs` without `ids`. Both sorted by id.
pub(crate) fn without(runs: &[Run], ids: &[i64]) -> Vec<Run> {
    let mut left = Vec::with_capacity(runs.len());
    let mut ids = ids.iter().copied().peekable();
    for run in runs {
        let mut first = run.first;
        while ids.next_if(|id| *id < run.first).is_some() {}
        while let Some(id) = ids.next_if(|id| *id < run.first + run.n) {
            if id > first {
                left.push(Run {
                    first,
                    n: id - first,
                    ..*run
                });
            }
            first = id + 1;
        }
        if first < run.first + run.n {
            left.push(Run {
                first,
                n: run.first + run.n - first,
                ..*run
            });
        }
    }
    left
}

/// Runs as parallel arrays, the way they go into statements and leases.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    pub tenants: Vec<Uuid>,
    pub kinds: Vec<String>,
    pub priorities: Vec<i16>,
    pub ranks: Vec<i64>,
    pub firsts: Vec<i64>,
    pub counts: Vec<i32>,
}

impl Columns {
    pub fn of(runs: &[Run]) -> Self {
        let mut columns = Self::default();
        for run in runs {
            columns.push(run);
        }
        columns
    }

    pub fn push(&mut self, run: &Run) {
        self.tenants.push(run.class.tenant.0);
        self.kinds.push(run.class.kind.as_str().to_owned());
        self.priorities.push(run.class.priority);
        self.ranks.push(run.class.rank);
        self.firsts.push(run.first);
        self.counts.push(run.n as i32);
    }

    /// The runs, sorted by id.
    pub fn by_id(&self) -> Result<Vec<Run>, QueueError> {
        let mut runs = self.in_order()?;
        runs.sort_unstable_by_key(|run| run.first);
        Ok(runs)
    }

    /// The runs as they stand.
    pub fn in_order(&self) -> Result<Vec<Run>, QueueError> {
        let mut runs = Vec::with_capacity(self.firsts.len());
        for (i, first) in self.firsts.iter().enumerate() {
            let class = Class {
                tenant: TenantId(self.tenants[i]),
                kind: self.kinds[i].parse()?,
                priority: self.priorities[i],
                rank: self.ranks[i],
            };
            runs.push(Run {
                class,
                first: *first,
                n: i64::from(self.counts[i]),
            });
        }
        Ok(runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class() -> Class {
        Class {
            tenant: TenantId(Uuid::nil()),
            kind: JobKind::Noop,
            priority: 40,
            rank: 7,
        }
    }

    #[test]
    fn consecutive_jobs_make_one_run() {
        let runs = compress([4, 5, 6, 9].map(|id| (class(), id)));
        assert_eq!(runs.iter().map(Run::ids).collect::<Vec<_>>(), [4..7, 9..10]);
    }

    proptest! {
        #[test]
        fn taking_ids_out_of_runs_leaves_the_others(have in prop::collection::btree_set(0i64..200, 0..120), take in prop::collection::btree_set(0i64..200, 0..120)) {
            let runs = compress(have.iter().map(|id| (class(), *id)));
            let take: Vec<i64> = take.into_iter().collect();
            let left: Vec<i64> = without(&runs, &take).iter().flat_map(Run::ids).collect();
            let wanted: Vec<i64> = have.into_iter().filter(|id| !take.contains(id)).collect();
            prop_assert_eq!(left, wanted);
        }
    }
}
