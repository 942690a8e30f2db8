//! Dead letters, replayed: with a look first at which of them might arrive twice.

use crate::engine::Engine;
use crate::error::EngineError;
use serde::{Deserialize, Serialize};
use tidings_core::{DeliveryId, JobId, TenantId};
use tidings_queue::dead::{self, DeadLetter};
use tidings_store::messages::replay;

/// The most dead letters replayed or purged in one call; the queue's own bound.
pub const MAX_REPLAYED: u32 = 1_000;

/// What became of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Put back into the queue.
    pub replayed: Vec<JobId>,
    /// Whose message may already have arrived: an attempt was accepted, or its outcome is unknown. Left dead unless a
    /// person decided otherwise.
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
    /// Replays dead letters, at most [`MAX_REPLAYED`]. The content is as it was rendered; the gate looks at consent,
    /// suppression and hours again.
    pub async fn replay_dead_letters(
        &self,
        letters: &[DeadLetter],
        duplicates: Duplicates,
        trial: Trial,
    ) -> Result<Replayed, EngineError> {
        let now = self.now();
        let mut tx = self.inner.tx().await?;
        let deliveries: Vec<(JobId, TenantId, DeliveryId)> = letters.iter().filter_map(delivery_of).collect();
        let risky = replay::may_have_arrived(&mut tx, &pairs(deliveries.iter())).await?;
        let predicted: Vec<JobId> = deliveries
            .iter()
            .filter(|(_, _, delivery)| risky.contains(delivery))
            .map(|(job, _, _)| *job)
            .collect();
        let leave_out = |job: &JobId| duplicates == Duplicates::LeaveOut && predicted.contains(job);
        let put_back: Vec<JobId> = letters
            .iter()
            .map(|letter| letter.job)
            .filter(|job| !leave_out(job))
            .collect();
        if trial == Trial::Dry || put_back.is_empty() {
            tx.rollback().await?;
            let replayed = if trial == Trial::Dry { put_back } else { Vec::new() };
            return Ok(Replayed {
                replayed,
                predicted_duplicates: predicted,
            });
        }
        let replayed = dead::replay(&mut tx, None, &put_back, now).await?;
        let again = deliveries.iter().filter(|(job, _, _)| replayed.contains(job));
        replay::reset(&mut tx, &pairs(again), now).await?;
        tx.commit().await?;
        metrics::counter!("tidings_dead_letters_replayed_total").increment(replayed.len() as u64);
        Ok(Replayed {
            replayed,
            predicted_duplicates: predicted,
        })
    }
}

fn delivery_of(letter: &DeadLetter) -> Option<(JobId, TenantId, DeliveryId)> {
    let own = serde_json::from_str::<SendPayload>(letter.payload.get()).ok()?;
    Some((letter.job, letter.tenant, own.delivery_id))
}

fn pairs<'a>(
    deliveries: impl Iterator<Item = &'a (JobId, TenantId, DeliveryId)>,
) -> Vec<(TenantId, DeliveryId)> {
    deliveries
        .map(|(_, tenant, delivery)| (*tenant, *delivery))
        .collect()
}
