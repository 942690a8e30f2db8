//! Who killed a worker: how crashes count for the jobs of a lease that ended without a result, and when a job is given up.
//!
//! A count of 1 says that a worker died while the job was among its jobs. Above that each is a worker that died with nothing but
//! the job at work.

/// A job that ended its worker this often, alone, is given up.
pub const POISON: i16 = 3;

/// Counts do not grow beyond.
const MOST: i16 = 32_001;

/// The count of a job after the crash of a worker that held it. `alone`: the worker had nothing else at work. `last`: the job was
/// all that was left of its lease, whatever else was at work.
///
/// Whoever was merely near a crash is never blamed, however often. One that has ended a worker alone goes on being counted as the
/// last of a lease: from being alone it may have gone back to the line for a slot of its rate limit, and be claimed beside others.
pub fn counted(before: i16, alone: bool, last: bool) -> i16 {
    if alone || last && crashes_alone(before) > 0 {
        before.saturating_add(1).clamp(1, MOST)
    } else {
        before.max(1)
    }
}

/// How many workers died of a job of this count. Whatever is worked on alone has been in a crash before.
pub const fn crashes_alone(count: i16) -> i16 {
    count.saturating_sub(1)
}

/// Whether a job of this count is to be given up before it is begun again.
pub const fn is_poison(count: i16) -> bool {
    crashes_alone(count) >= POISON
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_counts_for_whom_nobody_else_can_have_caused() {
        for (before, alone, last, after) in [
            (0, false, false, 1),
            (0, false, true, 1),
            (1, false, false, 1),
            (1, false, true, 1),
            (1, true, true, 2),
            (2, false, false, 2),
            (2, false, true, 3),
            (2, true, true, 3),
            (3, true, true, 4),
            (MOST, true, true, MOST),
        ] {
            let counted = counted(before, alone, last);
            assert_eq!(counted, after, "{before} alone: {alone}, last: {last}");
        }
    }

    #[test]
    fn three_workers_that_died_of_it_are_enough() {
        let poison: Vec<i16> = (0..6).filter(|count| is_poison(*count)).collect();
        assert_eq!(poison, [4, 5]);
    }
}
