//! The system clock: the one place that reads the time of day.

use jiff::Timestamp;
use tidings_core::Clock;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the time of day"
    )]
    fn now(&self) -> Timestamp {
        #[cfg(feature = "fail-points")]
        return jump::jumped(Timestamp::now());
        #[cfg(not(feature = "fail-points"))]
        Timestamp::now()
    }
}

/// A clock that jumps when it is told to, for the proofs alone: no other build has this.
#[cfg(feature = "fail-points")]
pub mod jump {
    use jiff::{SignedDuration, Timestamp};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    /// How far the clock is from the machine's, in milliseconds.
    static AWAY_MS: AtomicI64 = AtomicI64::new(0);
    /// Between two looks at the file.
    const LOOK_EVERY: Duration = Duration::from_millis(5);

    pub(super) fn jumped(now: Timestamp) -> Timestamp {
        let away = SignedDuration::from_millis(AWAY_MS.load(Ordering::Relaxed));
        now.saturating_add(away).unwrap_or(now)
    }

    /// Follows a file that holds how far to be away, in milliseconds, as long as the process lives.
    ///
    /// # Errors
    /// When no thread can be had for it.
    pub fn follow(file: PathBuf) -> std::io::Result<()> {
        let look = move || {
            let told = std::fs::read_to_string(&file).ok();
            // A file that is being written is read again soon.
            if let Some(ms) = told.and_then(|text| text.trim().parse().ok()) {
                AWAY_MS.store(ms, Ordering::Relaxed);
            }
        };
        look();
        std::thread::Builder::new()
            .name("clock".to_owned())
            .spawn(move || {
                loop {
                    std::thread::sleep(LOOK_EVERY);
                    look();
                }
            })?;
        Ok(())
    }
}
