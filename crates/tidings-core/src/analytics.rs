//! How long deliveries take, in few numbers that can be added up: how many fell into which stretch of time. Each stretch is at
//! most a tenth longer than the one before, so a percentile read from them is at most a tenth too long.

use crate::word::word_enum;
use std::collections::BTreeMap;
use std::sync::LazyLock;

word_enum! {
    /// What figures of deliveries are told apart by.
    pub enum DeliveriesBy {
        /// The provider.
        Provider = "provider",
        /// The connection.
        Connection = "connection",
        /// The channel.
        Channel = "channel",
        /// The message type.
        Type = "type",
        /// The day, UTC.
        Day = "day",
    }
}

/// The longest time that is told apart, in milliseconds: 31 days.
const LONGEST_MS: i64 = 31 * 24 * 3_600 * 1_000;

/// Where each stretch of time begins, in milliseconds, from 1 on. Stretch 0 is before the first, stretch `n` begins with the
/// `n`th and ends before the next.
pub static BEGINNINGS_MS: LazyLock<Vec<i64>> = LazyLock::new(|| {
    let next = |at: &i64| Some(*at + (*at / 10).max(1)).filter(|at| *at <= LONGEST_MS);
    std::iter::successors(Some(1), next).collect()
});

/// The time within which so many percent (1 to 100) arrived, in milliseconds: the end of the stretch that the last of them
/// falls into. None where there is none. `counts` says how many fell into which stretch.
pub fn percentile_ms(counts: &BTreeMap<i16, u64>, percent: u8) -> Option<u64> {
    let all: u64 = counts.values().sum();
    let wanted = all.checked_mul(u64::from(percent.clamp(1, 100)))?.div_ceil(100);
    let mut seen = 0;
    let stretch = counts.iter().find_map(|(stretch, count)| {
        seen += count;
        (wanted > 0 && seen >= wanted).then_some(*stretch)
    })?;
    let stretch = usize::try_from(stretch).unwrap_or(0);
    let end = BEGINNINGS_MS.get(stretch).or(BEGINNINGS_MS.last()).copied();
    end.map(i64::unsigned_abs)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn stretch_of(ms: u64) -> i16 {
        let ms = i64::try_from(ms).unwrap();
        i16::try_from(BEGINNINGS_MS.partition_point(|begins| *begins <= ms)).unwrap()
    }

    #[test]
    fn stretches_grow_by_a_tenth_and_are_few() {
        assert!(BEGINNINGS_MS.len() < 250, "{}", BEGINNINGS_MS.len());
        for pair in BEGINNINGS_MS.windows(2) {
            assert!(
                pair[0] < pair[1] && (pair[1] - pair[0]) * 10 <= pair[0].max(10),
                "{pair:?}"
            );
        }
        assert_eq!((stretch_of(0), stretch_of(1), stretch_of(2)), (0, 1, 2));
    }

    #[test]
    fn nothing_has_no_percentile_and_a_very_long_time_the_longest() {
        assert_eq!(percentile_ms(&BTreeMap::new(), 50), None);
        assert_eq!(percentile_ms(&BTreeMap::from([(3, 0)]), 50), None);
        let longest = BEGINNINGS_MS.last().unwrap().unsigned_abs();
        assert_eq!(percentile_ms(&BTreeMap::from([(i16::MAX, 1)]), 50), Some(longest));
    }

    proptest! {
        #[test]
        fn a_percentile_is_the_true_one_and_at_most_a_tenth_too_long(
            mut times in prop::collection::vec(0_u64..1_000_000_000, 1..200), percent in 1_u8..=100,
        ) {
            let mut counts = BTreeMap::new();
            for time in &times {
                *counts.entry(stretch_of(*time)).or_default() += 1;
            }
            times.sort_unstable();
            let rank = (times.len() * usize::from(percent)).div_ceil(100);
            let exact = times[rank - 1];
            let told = percentile_ms(&counts, percent).unwrap();
            prop_assert!(told > exact && told <= exact + exact / 10 + 1, "{told} for {exact}");
        }
    }
}
