//! Fairness between tenants: deficit round robin over those with due work. Pure; the node keeps it in memory.

use std::collections::{HashMap, HashSet, VecDeque};
use tidings_core::TenantId;

/// A tenant's place in the ring.
#[derive(Clone, Debug)]
struct Turn {
    tenant: TenantId,
    /// Jobs it should have had in earlier rounds and had no room for.
    deficit: u32,
    /// How many jobs a run of it held lately; how many runs to look at follows from it.
    jobs_per_run: u32,
}

/// What one tenant may take in one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub tenant: TenantId,
    pub jobs: u32,
    /// Ready rows to look at.
    pub runs: u32,
}

/// What one tenant took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Got {
    pub jobs: u32,
    pub runs: u32,
}

/// Tenants with due work, in the order of their turns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring {
    turns: VecDeque<Turn>,
    known: HashSet<TenantId>,
}

impl Ring {
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub fn len(&self) -> usize {
        self.turns.len()
    }

    /// Adds tenants that have due work; those in the ring keep their places.
    pub fn add(&mut self, tenants: &[TenantId]) {
        for tenant in tenants {
            if self.known.insert(*tenant) {
                self.turns.push_back(Turn {
                    tenant: *tenant,
                    deficit: 0,
                    jobs_per_run: 1024,
                });
            }
        }
    }

    /// Divides `want` jobs: every tenant's share is at least `quantum` (smaller ones would cost a split run each), so with
    /// many tenants a claim serves some and the next claim the others. `room` is what a tenant's in-flight cap leaves.
    pub fn divide(&mut self, want: u32, quantum: u32, room: impl Fn(TenantId) -> u32) -> Vec<Share> {
        let fair = want.div_ceil(self.turns.len().max(1) as u32).max(quantum).max(1);
        let mut left = want;
        let mut given: Vec<(usize, u32)> = Vec::new();
        for (i, turn) in self.turns.iter_mut().enumerate() {
            if left == 0 {
                break;
            }
            let due = fair.saturating_add(turn.deficit);
            let give = due.min(room(turn.tenant)).min(left);
            left -= give;
            // Carried over only what this claim had no room for, not what the tenant's own cap refused.
            turn.deficit = if left == 0 {
                due.min(room(turn.tenant)).saturating_sub(give).min(fair)
            } else {
                0
            };
            if give > 0 {
                given.push((i, give));
            }
        }
        for (i, give) in &mut given {
            let more = room(self.turns[*i].tenant).saturating_sub(*give).min(left);
            *give += more;
            left -= more;
        }
        let shares = given
            .iter()
            .map(|(i, jobs)| self.turns[*i].share(*jobs))
            .collect();
        self.rotate(&given);
        shares
    }

    /// Served tenants go to the end, in order; one that is still owed something stays at the front.
    fn rotate(&mut self, given: &[(usize, u32)]) {
        let served: HashSet<usize> = given
            .iter()
            .map(|(i, _)| *i)
            .filter(|i| self.turns[*i].deficit == 0)
            .collect();
        let (back, front): (Vec<_>, Vec<_>) = std::mem::take(&mut self.turns)
            .into_iter()
            .enumerate()
            .partition(|(i, _)| served.contains(i));
        self.turns = front.into_iter().chain(back).map(|(_, turn)| turn).collect();
    }

    /// Learns from a claim: who took less than its share although it looked at fewer runs than it was allowed has no more
    /// due work (or another node is at it) and leaves the ring until it is added again.
    pub fn learn(&mut self, shares: &[Share], got: &HashMap<TenantId, Got>) {
        let mut gone = HashSet::new();
        let mut sizes = HashMap::new();
        for share in shares {
            let got = got.get(&share.tenant).copied().unwrap_or_default();
            if got.jobs < share.jobs && got.runs < share.runs {
                gone.insert(share.tenant);
            } else if let Some(size) = got.jobs.checked_div(got.runs) {
                sizes.insert(share.tenant, size.max(1));
            }
        }
        self.turns.retain(|turn| !gone.contains(&turn.tenant));
        self.known.retain(|tenant| !gone.contains(tenant));
        for turn in &mut self.turns {
            if let Some(size) = sizes.get(&turn.tenant) {
                turn.jobs_per_run = *size;
            }
        }
    }
}

impl Turn {
    fn share(&self, jobs: u32) -> Share {
        // Half as many again as the last runs suggest, and a few, so that one claim is mostly enough.
        let runs = (jobs.div_ceil(self.jobs_per_run).saturating_mul(3) / 2)
            .saturating_add(4)
            .min(jobs.max(1));
        Share {
            tenant: self.tenant,
            jobs,
            runs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn tenant(n: u128) -> TenantId {
        TenantId(Uuid::from_u128(n))
    }

    fn ring(n: u128) -> Ring {
        let mut ring = Ring::default();
        ring.add(&(1..=n).map(tenant).collect::<Vec<_>>());
        ring
    }

    fn jobs(shares: &[Share]) -> Vec<(u128, u32)> {
        shares
            .iter()
            .map(|share| (share.tenant.0.as_u128(), share.jobs))
            .collect()
    }

    #[test]
    fn one_tenant_takes_all() {
        assert_eq!(jobs(&ring(1).divide(500, 32, |_| u32::MAX)), [(1, 500)]);
    }

    #[test]
    fn three_tenants_share_equally() {
        assert_eq!(
            jobs(&ring(3).divide(300, 32, |_| u32::MAX)),
            [(1, 100), (2, 100), (3, 100)]
        );
    }

    #[test]
    fn many_tenants_take_turns_and_nobody_is_left_out() {
        let mut ring = ring(10);
        let mut had: HashMap<u128, u32> = HashMap::new();
        for _ in 0..10 {
            for (tenant, jobs) in jobs(&ring.divide(100, 32, |_| u32::MAX)) {
                *had.entry(tenant).or_default() += jobs;
            }
        }
        assert_eq!(had.values().sum::<u32>(), 1000);
        assert!(had.values().all(|jobs| (60..=140).contains(jobs)), "{had:?}");
        assert_eq!(had.len(), 10);
    }

    #[test]
    fn a_capped_tenant_leaves_its_share_to_others() {
        let shares = ring(2).divide(100, 10, |t| if t == tenant(1) { 5 } else { u32::MAX });
        assert_eq!(jobs(&shares), [(1, 5), (2, 95)]);
    }

    #[test]
    fn a_full_tenant_is_skipped_and_keeps_its_place() {
        let mut ring = ring(2);
        assert_eq!(
            jobs(&ring.divide(10, 4, |t| if t == tenant(1) { 0 } else { 100 })),
            [(2, 10)]
        );
        assert_eq!(ring.len(), 2);
    }

    #[test]
    fn who_has_no_more_work_leaves_the_ring() {
        let mut ring = ring(2);
        let shares = ring.divide(100, 10, |_| u32::MAX);
        ring.learn(&shares, &HashMap::from([(tenant(1), Got { jobs: 50, runs: 1 })]));
        assert_eq!(ring.len(), 1);
        ring.add(&[tenant(2)]);
        assert_eq!(ring.len(), 2);
    }

    #[test]
    fn small_runs_raise_the_number_of_rows_looked_at() {
        let mut ring = ring(1);
        let shares = ring.divide(500, 32, |_| u32::MAX);
        assert_eq!(shares[0].runs, 5);
        ring.learn(&shares, &HashMap::from([(tenant(1), Got { jobs: 5, runs: 5 })]));
        assert_eq!(ring.divide(500, 32, |_| u32::MAX)[0].runs, 500);
    }
}
