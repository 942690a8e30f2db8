//! Fairness between tenants: deficit round robin over those with due work. Pure; the node keeps it in memory.

use std::collections::{HashMap, HashSet, VecDeque};
use tidings_core::TenantId;

/// A tenant's place in the ring.
#[derive(Clone, Debug)]
struct Turn {
    tenant: TenantId,
    /// What is left of a turn that the last claim had no room for; zero when the next turn is a new one.
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

/// The widest a claim reaches: it asks tenants for this many times the jobs it wants, in case they have few.
const BREADTH_MAX: u32 = 64;

/// Tenants with due work, in the order of their turns.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    turns: VecDeque<Turn>,
    known: HashSet<TenantId>,
    /// How many times the wanted jobs are asked for in sum. Grows while claims come back short (many tenants with little
    /// work), shrinks while tenants are asked in vain.
    breadth: u32,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            turns: VecDeque::new(),
            known: HashSet::new(),
            breadth: 4,
        }
    }
}

impl Ring {
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Adds tenants that have due work; those in the ring keep their places.
    pub fn add(&mut self, tenants: &[TenantId]) {
        for tenant in tenants {
            if self.known.insert(*tenant) {
                self.turns.push_back(Turn {
                    tenant: *tenant,
                    deficit: 0,
                    jobs_per_run: 1,
                });
            }
        }
    }

    /// What each tenant may take of the next `want` jobs, in the order of turns; in sum it may be more, the claim stops at
    /// `want`. A share is at least `quantum` (smaller ones would cost a split run each), so with many tenants a claim serves
    /// some and the next claim the others. `room` is what a tenant's in-flight cap leaves.
    pub fn divide(&self, want: u32, quantum: u32, room: impl Fn(TenantId) -> u32) -> Vec<Share> {
        let fair = want.div_ceil(self.turns.len().max(1) as u32).max(quantum).max(1);
        let budget = want.saturating_mul(self.breadth);
        let mut given: Vec<(&Turn, u32)> = Vec::new();
        let mut sum = 0_u32;
        for turn in &self.turns {
            if sum >= budget {
                break;
            }
            let due = if turn.deficit > 0 { turn.deficit } else { fair };
            let give = due.min(want).min(room(turn.tenant));
            sum = sum.saturating_add(give);
            if give > 0 {
                given.push((turn, give));
            }
        }
        let mut left = want.saturating_sub(sum);
        for (turn, give) in &mut given {
            let more = room(turn.tenant).saturating_sub(*give).min(left);
            *give += more;
            left -= more;
        }
        given.into_iter().map(|(turn, jobs)| turn.share(jobs)).collect()
    }

    /// Learns from a claim of `want` jobs. Who had its share goes to the end of the ring. Who took less although it looked at
    /// fewer runs than it was allowed has no more due work (or another node is at it) and leaves until it is added again.
    /// Whom the claim did not reach, or only in part, keeps its place.
    pub fn learn(&mut self, shares: &[Share], got: &HashMap<TenantId, Got>, want: u32) {
        let got = |share: &Share| got.get(&share.tenant).copied().unwrap_or_default();
        let total: u32 = shares.iter().map(|share| got(share).jobs).sum();
        let cut = if total >= want {
            shares.iter().rposition(|share| got(share).jobs > 0)
        } else {
            None
        };
        let reached = cut.unwrap_or(shares.len());
        let mut served = Vec::new();
        let mut gone = HashSet::new();
        for (i, share) in shares.iter().enumerate().take_while(|(i, _)| *i <= reached) {
            let got = got(share);
            if i == reached && got.jobs < share.jobs {
                self.owe(share.tenant, share.jobs - got.jobs);
            } else if got.jobs < share.jobs && got.runs < share.runs {
                gone.insert(share.tenant);
            } else {
                served.push((share.tenant, got.jobs.checked_div(got.runs).unwrap_or(1).max(1)));
            }
        }
        self.known.retain(|tenant| !gone.contains(tenant));
        self.turns.retain(|turn| !gone.contains(&turn.tenant));
        self.rotate(&served);
        if total < want && !self.turns.is_empty() {
            self.breadth = (self.breadth * 2).min(BREADTH_MAX);
        } else if reached + 1 < shares.len() {
            self.breadth = (self.breadth / 2).max(1);
        }
    }

    fn owe(&mut self, tenant: TenantId, jobs: u32) {
        for turn in &mut self.turns {
            if turn.tenant == tenant {
                turn.deficit = jobs;
            }
        }
    }

    /// Served tenants go to the end, in order, with what was seen of their runs.
    fn rotate(&mut self, served: &[(TenantId, u32)]) {
        let sizes: HashMap<TenantId, u32> = served.iter().copied().collect();
        let (back, front): (Vec<Turn>, Vec<Turn>) = std::mem::take(&mut self.turns)
            .into_iter()
            .partition(|turn| sizes.contains_key(&turn.tenant));
        let back = back.into_iter().map(|turn| Turn {
            deficit: 0,
            jobs_per_run: sizes[&turn.tenant],
            ..turn
        });
        self.turns = front.into_iter().chain(back).collect();
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

    /// A claim in which every tenant has as much due as it is asked for, in runs of one size.
    fn claim(ring: &mut Ring, want: u32, quantum: u32, run: u32) -> Vec<(u128, u32)> {
        let shares = ring.divide(want, quantum, |_| u32::MAX);
        let mut left = want;
        let mut got = HashMap::new();
        let mut taken = Vec::new();
        for share in &shares {
            let jobs = share.jobs.min(left).min(share.runs * run);
            left -= jobs;
            if jobs > 0 {
                got.insert(
                    share.tenant,
                    Got {
                        jobs,
                        runs: jobs.div_ceil(run),
                    },
                );
                taken.push((share.tenant.0.as_u128(), jobs));
            }
        }
        ring.learn(&shares, &got, want);
        taken
    }

    #[test]
    fn one_tenant_takes_all() {
        assert_eq!(claim(&mut ring(1), 500, 32, 1_024), [(1, 500)]);
    }

    #[test]
    fn three_tenants_share_equally() {
        assert_eq!(
            claim(&mut ring(3), 300, 32, 1_024),
            [(1, 100), (2, 100), (3, 100)]
        );
    }

    #[test]
    fn many_tenants_take_turns_and_nobody_is_left_out() {
        let mut ring = ring(10);
        let mut had: HashMap<u128, u32> = HashMap::new();
        for _ in 0..16 {
            for (tenant, jobs) in claim(&mut ring, 100, 32, 1_024) {
                *had.entry(tenant).or_default() += jobs;
            }
        }
        assert_eq!(had, (1..=10).map(|tenant| (tenant, 160)).collect());
    }

    #[test]
    fn a_capped_tenant_leaves_its_share_to_others() {
        let shares = ring(2).divide(100, 10, |t| if t == tenant(1) { 5 } else { u32::MAX });
        let jobs: Vec<u32> = shares.iter().map(|share| share.jobs).collect();
        assert_eq!(jobs, [5, 95]);
    }

    #[test]
    fn a_full_tenant_is_skipped_and_keeps_its_place() {
        let mut ring = ring(2);
        let shares = ring.divide(10, 4, |t| if t == tenant(1) { 0 } else { 100 });
        assert_eq!(
            shares.iter().map(|share| share.tenant).collect::<Vec<_>>(),
            [tenant(2)]
        );
        ring.learn(
            &shares,
            &HashMap::from([(tenant(2), Got { jobs: 10, runs: 1 })]),
            10,
        );
        assert_eq!(claim(&mut ring, 5, 5, 1_024), [(1, 5)]);
    }

    #[test]
    fn who_has_no_more_work_leaves_the_ring() {
        let mut ring = ring(2);
        let shares = ring.divide(100, 10, |_| u32::MAX);
        ring.learn(
            &shares,
            &HashMap::from([(tenant(1), Got { jobs: 50, runs: 1 })]),
            100,
        );
        assert_eq!(claim(&mut ring, 10, 10, 1_024), [(1, 10)]);
        ring.add(&[tenant(2)]);
        assert_eq!(claim(&mut ring, 20, 10, 1_024), [(1, 10), (2, 10)]);
    }

    #[test]
    fn many_tenants_with_one_job_each_are_served_by_few_claims() {
        let mut ring = ring(1_000);
        let mut claims = 0;
        while !ring.is_empty() {
            let shares = ring.divide(500, 32, |_| u32::MAX);
            let got = shares
                .iter()
                .take(500)
                .map(|share| (share.tenant, Got { jobs: 1, runs: 1 }))
                .collect();
            ring.learn(&shares, &got, 500);
            claims += 1;
        }
        assert!(claims < 10, "{claims}");
    }

    #[test]
    fn long_runs_lower_the_number_of_rows_looked_at() {
        let mut ring = ring(1);
        assert_eq!(ring.divide(500, 32, |_| u32::MAX)[0].runs, 500);
        claim(&mut ring, 500, 32, 1_024);
        assert_eq!(ring.divide(500, 32, |_| u32::MAX)[0].runs, 5);
        assert_eq!(claim(&mut ring, 500, 32, 1), [(1, 5)]);
        assert_eq!(claim(&mut ring, 500, 32, 1), [(1, 500)]);
    }
}
