//! What several share: done together, and where that fails by each alone, so that none spoils it for the others.

use crate::error::EngineError;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// What a commit begins for beside one that is under way (requests, webhooks, outcomes), and how long less than that waits for it.
pub(crate) const COMPANY: usize = 8;
pub(crate) const PATIENCE: Duration = Duration::from_millis(10);

/// Does a step for all parts at once, `with` what it needs; where that fails, for each by itself. Once one fails in a way that may pass, the database is away,
/// and the rest is not tried: it gets the same error. The answers stand in the order of the parts.
pub(crate) async fn together<W, T, O>(
    with: &W,
    parts: &[T],
    step: impl for<'p> Fn(&'p W, &'p [T]) -> BoxFuture<'p, Result<Vec<O>, EngineError>>,
) -> Vec<Result<O, EngineError>> {
    let error = match step(with, parts).await {
        Ok(done) => return done.into_iter().map(Ok).collect(),
        Err(error) => error,
    };
    if parts.len() == 1 {
        return vec![Err(error)];
    }
    tracing::warn!(%error, parts = parts.len(), "a step that several share failed; it is done for each alone");
    let mut away: Option<Arc<EngineError>> = None;
    let mut answers = Vec::with_capacity(parts.len());
    for part in parts {
        if let Some(error) = &away {
            answers.push(Err(EngineError::Shared(Arc::clone(error))));
            continue;
        }
        match step(with, std::slice::from_ref(part)).await {
            Ok(mut done) => answers.push(done.pop().ok_or_else(|| EngineError::Conflict {
                problem: "a step gave no answer".to_owned(),
            })),
            Err(error) => {
                let error = Arc::new(error);
                away = error.is_transient().then(|| Arc::clone(&error));
                answers.push(Err(EngineError::Shared(error)));
            }
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;
    use std::sync::Mutex;
    use tidings_store::StoreError;

    /// Doubles; 13 fails for good, 99 as a database that is away.
    fn double(steps: &Mutex<Vec<usize>>, parts: &[u32]) -> Result<Vec<u32>, EngineError> {
        steps.lock().map(|mut steps| steps.push(parts.len())).ok();
        if parts.contains(&99) {
            return Err(EngineError::Store(StoreError::Unreachable {
                place: "nowhere".to_owned(),
                reason: "gone".to_owned(),
            }));
        }
        if parts.contains(&13) {
            let problem = "unlucky".to_owned();
            return Err(EngineError::Conflict { problem });
        }
        Ok(parts.iter().map(|part| part * 2).collect())
    }

    #[tokio::test]
    async fn one_that_fails_spoils_it_for_nobody_and_a_database_that_is_away_is_not_asked_for_each() {
        let cases = [
            (vec![1, 2], vec![Some(2), Some(4)], vec![2]),
            (vec![13], vec![None], vec![1]),
            (vec![1, 13, 2], vec![Some(2), None, Some(4)], vec![3, 1, 1, 1]),
            (vec![1, 99, 2, 3], vec![Some(2), None, None, None], vec![4, 1, 1]),
            (vec![], vec![], vec![0]),
        ];
        for (parts, answers, steps) in cases {
            let taken = Mutex::new(Vec::new());
            let given = together(&taken, &parts, |taken, parts| {
                Box::pin(ready(double(taken, parts)))
            })
            .await;
            let transient = given.iter().filter_map(|one| one.as_ref().err());
            assert!(
                transient
                    .into_iter()
                    .all(|error| error.is_transient() == parts.contains(&99))
            );
            let given: Vec<Option<u32>> = given.into_iter().map(Result::ok).collect();
            assert_eq!(given, answers, "{parts:?}");
            assert_eq!(taken.into_inner().ok(), Some(steps), "{parts:?}");
        }
    }
}
