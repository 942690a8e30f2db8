//! How long things may take, one within the other: a call within a channel, a channel within a message.
//!
//! A call is bounded where its connection is set up ([`LONGEST_CALL`]). A channel that is not through when its time is over gives
//! way to the next of the chain; a message that is not sent when its time is over is not sent at all.

use crate::channel::Channel;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest a call to a provider may be allowed to take. It ends within its worker's lease.
pub const LONGEST_CALL: Duration = Duration::from_secs(20);

/// The same in milliseconds, as settings say it.
pub const LONGEST_CALL_MS: u32 = 20_000;

/// The shortest time of a channel, in seconds: room for a few calls as long as they may be, over more than one connection.
pub const SHORTEST_CHANNEL_SECONDS: u32 = 60;

/// The longest time that can be set, in seconds: a year.
pub const LONGEST_SECONDS: u32 = 366 * 24 * 3_600;

/// A tenant's limits. Without any a channel is tried as long as its retries go on, and a message never becomes too old.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeLimits {
    /// How long a channel is tried before the next of the chain takes over, in seconds. Where no channel follows it goes on.
    pub channel_seconds: BTreeMap<Channel, u32>,
    /// How long a message that says nothing of it may be sent after its time, in seconds.
    pub message_seconds: Option<u32>,
}

impl TimeLimits {
    /// What is wrong with them, each with the field it is about.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut bounded = |field: &str, seconds: u32, least: u32| {
            if !(least..=LONGEST_SECONDS).contains(&seconds) {
                let problem = format!("is {seconds}, but must be {least} to {LONGEST_SECONDS} seconds");
                problems.push((field.to_owned(), problem));
            }
        };
        for (channel, seconds) in &self.channel_seconds {
            // Longer than any call: what a call may take is bounded below this.
            bounded(
                &format!("channel_seconds.{channel}"),
                *seconds,
                SHORTEST_CHANNEL_SECONDS,
            );
        }
        let Some(whole) = self.message_seconds else {
            return problems;
        };
        bounded("message_seconds", whole, SHORTEST_CHANNEL_SECONDS + 1);
        for (channel, seconds) in &self.channel_seconds {
            if *seconds >= whole {
                let problem = format!(
                    "{seconds} seconds of {channel} do not fit into the {whole} of a message, so no other channel \
                     would have its turn; make it less, or message_seconds more"
                );
                problems.push((format!("channel_seconds.{channel}"), problem));
            }
        }
        problems
    }

    /// Until when a channel is tried whose turn began then; none where it has no limit.
    pub fn channel_ends(&self, channel: Channel, began: Timestamp) -> Option<Timestamp> {
        self.channel_seconds
            .get(&channel)
            .map(|seconds| after(began, *seconds))
    }

    /// Until when a message of that time may be sent that says nothing of it.
    pub fn message_ends(&self, at: Timestamp) -> Option<Timestamp> {
        self.message_seconds.map(|seconds| after(at, seconds))
    }
}

fn after(at: Timestamp, seconds: u32) -> Timestamp {
    at.saturating_add(SignedDuration::from_secs(i64::from(seconds)))
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn limits(sms: Option<u32>, message: Option<u32>) -> TimeLimits {
        TimeLimits {
            channel_seconds: sms.map(|seconds| (Channel::Sms, seconds)).into_iter().collect(),
            message_seconds: message,
        }
    }

    #[rstest]
    #[case::none(None, None, &[])]
    #[case::nested(Some(600), Some(3_600), &[])]
    #[case::shorter_than_a_call(Some(10), None, &["channel_seconds.sms"])]
    #[case::as_long_as_the_message(Some(600), Some(600), &["channel_seconds.sms"])]
    #[case::a_message_too_short(None, Some(60), &["message_seconds"])]
    #[case::more_than_a_year(None, Some(LONGEST_SECONDS + 1), &["message_seconds"])]
    #[case::nothing_right(Some(0), Some(0), &["channel_seconds.sms", "message_seconds", "channel_seconds.sms"])]
    fn each_fits_into_the_next(
        #[case] sms: Option<u32>,
        #[case] message: Option<u32>,
        #[case] wrong: &[&str],
    ) {
        let problems = limits(sms, message).problems();
        let fields: Vec<&str> = problems.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, wrong, "{problems:?}");
    }

    #[test]
    fn a_call_is_shorter_than_any_channel() {
        assert!(LONGEST_CALL.as_secs() < u64::from(SHORTEST_CHANNEL_SECONDS));
        assert_eq!(LONGEST_CALL.as_millis(), u128::from(LONGEST_CALL_MS));
    }

    #[test]
    fn ends_count_from_the_beginning() {
        let at = |text: &str| -> Timestamp { text.parse().expect("an instant") };
        let began = at("2026-06-17T12:00:00Z");
        let limits = limits(Some(600), Some(3_600));
        let ends = limits.channel_ends(Channel::Sms, began);
        assert_eq!(ends, Some(at("2026-06-17T12:10:00Z")));
        assert_eq!(limits.channel_ends(Channel::Email, began), None);
        assert_eq!(limits.message_ends(began), Some(at("2026-06-17T13:00:00Z")));
        assert_eq!(TimeLimits::default().message_ends(began), None);
    }
}
