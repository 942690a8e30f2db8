//! Dead letters, replayed: with a look first at which of them might arrive twice.

use crate::engine::Engine;
use crate::error::EngineError;
use serde::{Deserialize, Serialize};
use tidings_core::{DeliveryId, JobId, TenantId};
use tidings_queue::dead::{self, Filter};
use tidings_store::messages::replay;

/// The most dead letters replayed or purged in one call; the queue's own bound.
pub const MAX_REPLAYED: u32 = 1_000;

/// What became of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Put back into the queue.
    pub replayed: Vec<JobId>,
    /// Left out, because the message may already have arrived: an attempt was accepted, or its outcome is unknown.
    pub predicted_duplicates: Vec<JobId>,
}

/// What to do about predicted duplicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// Leave them dead.
    LeaveOut,
    /// Replay them too; a person has decided so.
    Include,
}

/// Whether anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Only say what would be done.
    Dry,
    /// Do it.
    Real,
}

#[derive(Deserialize)]
struct SendPayload {
    delivery_id: DeliveryId,
}

impl Engine {
    /// Replays dead letters: those of `jobs`, or, when it is empty, all that match the filter, at most
    /// [`MAX_REPLAYED`]. The content is as it was rendered; the gate looks at consent, suppression and hours again.
    pub async fn replay_dead_letters(
        &self,
        filter: &Filter,
        jobs: &[JobId],
        duplicates: Duplicates,
        trial: Trial,
    ) -> Result<Replayed, EngineError> {
        let now = self.now();
        let mut tx = self.inner.tx().await?;
        let letters = dead::list(&mut tx, filter, None, MAX_REPLAYED).await?;
        let wanted: Vec<_> = letters.iter().filter(|letter| jobs.is_empty() || jobs.contains(&letter.job)).collect();
        let deliveries: Vec<(JobId, TenantId, DeliveryId)> = wanted
            .iter()
            .filter_map(|letter| {
                let own = serde_json::from_str::<SendPayload>(letter.payload.get()).ok()?;
                Some((letter.job, letter.tenant, own.delivery_id))
            })
            .collect();
        let pairs: Vec<_> = deliveries.iter().map(|(_, tenant, delivery)| (*tenant, *delivery)).collect();
        let risky = replay::may_have_arrived(&mut tx, &pairs).await?;
        let predicted: Vec<JobId> =
            deliveries.iter().filter(|(_, _, delivery)| risky.contains(delivery)).map(|(job, _, _)| *job).collect();
        let leave = |job: &JobId| duplicates == Duplicates::LeaveOut && predicted.contains(job);
        let put_back: Vec<JobId> = wanted.iter().map(|letter| letter.job).filter(|job| !leave(job)).collect();
        let left_out = if duplicates == Duplicates::LeaveOut { predicted.clone() } else { Vec::new() };
        if trial == Trial::Dry {
            tx.rollback().await?;
            return Ok(Replayed { replayed: put_back, predicted_duplicates: left_out });
        }
        let replayed = dead::replay(&mut tx, filter.tenant, &put_back, now).await?;
        let reset: Vec<_> = deliveries
            .iter()
            .filter(|(job, _, _)| replayed.contains(job))
            .map(|(_, tenant, delivery)| (*tenant, *delivery))
            .collect();
        replay::reset(&mut tx, &reset, now).await?;
        tx.commit().await?;
        metrics::counter!("tidings_dead_letters_replayed_total").increment(replayed.len() as u64);
        Ok(Replayed { replayed, predicted_duplicates: left_out })
    }
}
