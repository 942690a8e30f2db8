//! The distance between two messages of an account. Pure: time and dice are handed in.

use jiff::{SignedDuration, Timestamp};
use tidings_core::Dice;

/// Two messages are never nearer than this.
pub const LEAST: SignedDuration = SignedDuration::from_secs(60);
/// By so much more at most, by chance: 75 s give or take 15.
pub const SPREAD: SignedDuration = SignedDuration::from_secs(30);

/// The last click and the distance that was drawn for the one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// When the last message was sent off.
    pub at: Timestamp,
    /// How long nothing goes after it.
    pub gap: SignedDuration,
}

/// Draws a distance.
pub fn draw(dice: &mut Dice) -> SignedDuration {
    let spread = u64::try_from(SPREAD.as_millis()).unwrap_or(0);
    let more = i64::try_from(dice.below(spread + 1)).unwrap_or(0);
    LEAST + SignedDuration::from_millis(more)
}

/// How long to wait until the next message may go; none when it may go now. A clock that was set back makes nobody wait
/// longer than the distance itself.
pub fn wait(last: Option<Last>, now: Timestamp) -> Option<SignedDuration> {
    let last = last?;
    let gap = last.gap.clamp(LEAST, LEAST + SPREAD);
    let left = (gap - now.duration_since(last.at)).min(gap);
    left.is_positive().then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + seconds).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn last(gap: i64) -> Last {
        let gap = SignedDuration::from_secs(gap);
        Last { at: at(0), gap }
    }

    #[rstest]
    #[case::never_sent(None, 0, None)]
    #[case::at_once(Some(last(75)), 0, Some(75))]
    #[case::shortly_before(Some(last(75)), 74, Some(1))]
    #[case::on_the_instant(Some(last(75)), 75, None)]
    #[case::a_record_that_says_less_counts_as_the_least(Some(last(5)), 30, Some(30))]
    #[case::a_record_that_says_more_counts_as_the_most(Some(last(9_000)), 30, Some(60))]
    #[case::the_clock_was_set_back(Some(last(75)), -3_600, Some(75))]
    fn waits(#[case] last: Option<Last>, #[case] now: i64, #[case] seconds: Option<i64>) {
        assert_eq!(wait(last, at(now)), seconds.map(SignedDuration::from_secs));
    }

    #[test]
    fn every_distance_is_within_bounds_and_they_differ() {
        let mut dice = Dice::from_seed(7);
        let drawn: Vec<_> = (0..1_000).map(|_| draw(&mut dice)).collect();
        assert!(drawn.iter().all(|gap| (LEAST..=LEAST + SPREAD).contains(gap)));
        let (low, high) = (drawn.iter().min(), drawn.iter().max());
        assert!(low.is_some_and(|gap| gap.as_secs() < 62) && high.is_some_and(|gap| gap.as_secs() >= 88));
    }
}
