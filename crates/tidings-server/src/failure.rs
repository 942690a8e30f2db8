//! How a command ends when it does not succeed: the exit code that fits the cause.

use std::fmt;
use tidings_engine::EngineError;
use tidings_store::StoreError;

/// What was asked for was refused or does not exist.
const REFUSED: u8 = 3;
/// Wrong use of the command line; the same as clap's.
const USAGE: u8 = 2;
/// Everything else.
const FAILED: u8 = 1;

/// A failure whose cause is what was asked for, not the machine.
#[derive(Debug)]
pub enum Failure {
    /// The options do not make a request.
    Usage(String),
    /// The request was understood and refused; nothing of it was done.
    Refused(String),
}

impl Failure {
    /// Refuses; the words say what, where and what to do.
    pub fn refused(problem: impl fmt::Display) -> Self {
        Self::Refused(problem.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(problem) | Self::Refused(problem)) = self;
        f.write_str(problem)
    }
}

impl std::error::Error for Failure {}

/// The exit code of an error: 3 refused or not found, 2 wrong use, 1 everything else.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(FAILED)
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(if matches!(failure, Failure::Usage(_)) {
            USAGE
        } else {
            REFUSED
        });
    }
    let refused = match (
        cause.downcast_ref::<EngineError>(),
        cause.downcast_ref::<StoreError>(),
    ) {
        (Some(EngineError::NotFound { .. } | EngineError::Conflict { .. }), _) => true,
        // A source that does not answer is a failure; one that does not fit was described wrongly.
        (Some(error @ EngineError::Source(_)), _) => !error.is_transient(),
        (Some(EngineError::Store(error)), _) | (_, Some(error)) => matches!(
            error,
            StoreError::NotFound { .. }
                | StoreError::Conflict { .. }
                | StoreError::Invalid { .. }
                | StoreError::Erased(_)
        ),
        _ => false,
    };
    refused.then_some(REFUSED)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_cause_decides_however_deep_it_lies() {
        let deep = |failure: Failure| {
            Err::<(), _>(failure)
                .context("outer")
                .context("outermost")
                .unwrap_err()
        };
        assert_eq!(exit_code(&deep(Failure::refused("no"))), 3);
        assert_eq!(exit_code(&deep(Failure::Usage("what?".to_owned()))), 2);
        assert_eq!(exit_code(&anyhow::anyhow!("the disk is full")), 1);
        let engine: EngineError = StoreError::not_found("message", "x").into();
        assert_eq!(exit_code(&engine.into()), 3);
        let unreachable = StoreError::Unreachable {
            place: "h".to_owned(),
            reason: "refused".to_owned(),
        };
        assert_eq!(exit_code(&unreachable.into()), 1);
    }
}
