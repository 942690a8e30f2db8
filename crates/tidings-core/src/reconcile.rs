//! When a provider is asked what became of a message whose last report never came, and how it is left in peace.
//!
//! A webhook that got lost leaves a message at "sent" for ever. Where the provider can be asked, it is asked a few times, at
//! growing distances from the call: most texts and mails have ended within minutes, some wait a day for a phone to be switched
//! on, and after three days hardly anything changes.

use crate::ids::DeliveryId;
use crate::word::word_enum;
use crate::{ErrorCategory, Timestamp};
use jiff::SignedDuration;
use std::time::Duration;
use uuid::Uuid;

word_enum! {
    /// How long after the call is asked.
    pub enum Step {
        /// Webhooks take seconds; one that has not come by now is late.
        Minutes = "15m",
        /// The provider's own retries of a webhook are mostly over.
        Hour = "1h",
        /// Phones and mailboxes that were away for some hours.
        Hours = "6h",
        /// Those that were away for a day. Twilio gives a text up after ten hours.
        Day = "24h",
        /// Mail is given up after two to three days.
        Days = "72h",
    }
}

/// After the last step nobody is asked about a call that is older than this: providers begin to forget it, and what was found
/// would no longer change what anybody does.
const LAST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Questions to one connection in one turn: a provider that lost all its webhooks must not be flooded by us in return.
pub const MOST_QUESTIONS: usize = 100;

/// Questions without an answer, one after the other, after which a connection is left alone: it is not about one message then.
pub const MOST_UNANSWERED: usize = 3;

/// Between two turns of a connection.
pub const EVERY: SignedDuration = SignedDuration::from_mins(5);

/// Between two turns of a connection of which more is to be asked than fits into one.
pub const SOON: SignedDuration = SignedDuration::from_mins(1);

/// Between two looks at a provider's own list of addresses it does not write to.
pub const LISTS_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// Entries are read again from so long before the last look: clocks differ, and lists are filled with a delay.
pub const LISTS_OVERLAP: SignedDuration = SignedDuration::from_mins(15);

/// How far a step of a connection has come: every call up to this instant, and of this instant up to this delivery, was asked
/// about or needed no question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// When the call began.
    pub at: Timestamp,
    /// Its delivery: calls of one commit begin at one instant.
    pub delivery: DeliveryId,
}

impl Mark {
    /// After every call of an instant.
    pub const fn after(at: Timestamp) -> Self {
        Self {
            at,
            delivery: DeliveryId(Uuid::max()),
        }
    }
}

impl Step {
    /// How old a call is when it is asked about.
    pub const fn begins(self) -> SignedDuration {
        match self {
            Self::Minutes => SignedDuration::from_mins(15),
            Self::Hour => SignedDuration::from_hours(1),
            Self::Hours => SignedDuration::from_hours(6),
            Self::Day => SignedDuration::from_hours(24),
            Self::Days => SignedDuration::from_hours(72),
        }
    }

    /// How old it is when that is left to the next step, or is over.
    const fn ends(self) -> SignedDuration {
        match self {
            Self::Minutes => Self::Hour.begins(),
            Self::Hour => Self::Hours.begins(),
            Self::Hours => Self::Day.begins(),
            Self::Day => Self::Days.begins(),
            Self::Days => LAST,
        }
    }

    /// The calls that are due in this step: those after the first mark, up to the instant. None when there can be none.
    ///
    /// Calls that the next step covers are passed over: after a stop of a day each is asked about once, not once for every
    /// step it went by. The same holds for a connection of which nothing is known yet.
    pub fn due(self, mark: Option<Mark>, now: Timestamp) -> Option<(Mark, Timestamp)> {
        let ago = |age| now.saturating_sub(age).unwrap_or(Timestamp::MIN);
        let oldest = Mark::after(ago(self.ends()));
        let from = mark.map_or(oldest, |mark| mark.max(oldest));
        let to = ago(self.begins());
        (from < Mark::after(to)).then_some((from, to))
    }
}

/// Whether a provider's entry of that time says more than what was lifted here then: what was lifted after it is the same old
/// entry, and stays lifted.
pub fn is_news(since: Timestamp, lifted_at: Option<Timestamp>) -> bool {
    lifted_at.is_none_or(|lifted_at| lifted_at < since)
}

/// How long a connection that gave no answer is left alone.
pub fn pause(category: ErrorCategory, retry_after: Option<Duration>) -> SignedDuration {
    let usual = match category {
        // Somebody has to put it right first; meanwhile one call an hour keeps the alert up and bothers nobody.
        ErrorCategory::AuthFailure => SignedDuration::from_hours(1),
        // Sending has the right of way: a limit that was met is left to it for a while.
        ErrorCategory::RateLimit => SignedDuration::from_mins(2),
        ErrorCategory::Transient | ErrorCategory::Permanent | ErrorCategory::InvalidInput => {
            SignedDuration::from_mins(5)
        }
    };
    let asked = retry_after.and_then(|wait| SignedDuration::try_from(wait).ok());
    asked.map_or(usual, |wait| wait.max(usual))
}

/// How long a connection that cannot be asked at all is left alone: a key with fewer rights than that may get them one day.
pub const UNABLE: SignedDuration = SignedDuration::from_hours(24);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;

    const NOW: &str = "2026-06-16T15:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    #[rstest]
    #[case::never_lifted(10, None, true)]
    #[case::listed_again_since(10, Some(20), true)]
    #[case::the_same_old_entry(20, Some(10), false)]
    #[case::in_one_instant(10, Some(10), false)]
    fn what_was_lifted_stays_so_until_it_is_listed_again(
        #[case] listed: i64,
        #[case] lifted: Option<i64>,
        #[case] news: bool,
    ) {
        assert_eq!(is_news(ago(listed), lifted.map(ago)), news);
    }

    fn ago(minutes: i64) -> Timestamp {
        now() - SignedDuration::from_mins(minutes)
    }

    const HOUR: i64 = 60;

    #[rstest]
    // Nothing is known yet: what the next step covers is left to it.
    #[case(Step::Minutes, None, Some((HOUR, 15)))]
    #[case(Step::Hour, None, Some((6 * HOUR, HOUR)))]
    #[case(Step::Hours, None, Some((24 * HOUR, 6 * HOUR)))]
    #[case(Step::Day, None, Some((72 * HOUR, 24 * HOUR)))]
    #[case(Step::Days, None, Some((168 * HOUR, 72 * HOUR)))]
    // It goes on where it stopped,
    #[case(Step::Minutes, Some(40), Some((40, 15)))]
    // unless that was so long ago that the next step has it,
    #[case(Step::Minutes, Some(300), Some((HOUR, 15)))]
    #[case(Step::Days, Some(9_000_000), Some((168 * HOUR, 72 * HOUR)))]
    // and rests when it is done, or the clock went back.
    #[case(Step::Minutes, Some(10), None)]
    #[case(Step::Hour, Some(59), None)]
    fn steps_and_what_is_due_in_them(
        #[case] step: Step,
        #[case] mark: Option<i64>,
        #[case] due: Option<(i64, i64)>,
    ) {
        let mark = mark.map(|minutes| Mark::after(ago(minutes)));
        let expected = due.map(|(from, to)| (Mark::after(ago(from)), ago(to)));
        assert_eq!(step.due(mark, now()), expected);
    }

    #[test]
    fn every_age_belongs_to_one_step() {
        for minutes in 15..(168 * HOUR) {
            let call = Mark {
                at: ago(minutes),
                delivery: DeliveryId(Uuid::from_u128(7)),
            };
            let covering = Step::ALL.iter().filter(|step| {
                let (from, to) = step.due(None, now()).unwrap();
                from < call && call.at <= to
            });
            assert_eq!(covering.count(), 1, "{minutes}");
        }
    }

    #[test]
    fn what_was_asked_about_is_not_due_again_and_its_neighbours_of_the_same_instant_are() {
        let at = ago(15);
        let asked = Mark {
            at,
            delivery: DeliveryId(Uuid::from_u128(7)),
        };
        assert_eq!(Step::Minutes.due(Some(asked), now()), Some((asked, at)));
        assert_eq!(Step::Minutes.due(Some(Mark::after(at)), now()), None);
    }

    #[rstest]
    #[case(ErrorCategory::AuthFailure, None, 60)]
    #[case(ErrorCategory::RateLimit, None, 2)]
    #[case(ErrorCategory::RateLimit, Some(30), 2)]
    #[case(ErrorCategory::RateLimit, Some(1_200), 20)]
    #[case(ErrorCategory::Transient, None, 5)]
    #[case(ErrorCategory::InvalidInput, None, 5)]
    fn a_connection_is_left_alone_as_long_as_it_says_and_at_least_so_long(
        #[case] category: ErrorCategory,
        #[case] retry_after_s: Option<u64>,
        #[case] minutes: i64,
    ) {
        let wait = retry_after_s.map(Duration::from_secs);
        assert_eq!(pause(category, wait), SignedDuration::from_mins(minutes));
    }
}
