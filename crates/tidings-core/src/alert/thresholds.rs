//! From where on a figure is bad. A tenant may set its own.

use serde::{Deserialize, Serialize};

use super::step::HOLD_MAX_S;

/// The newest calls of a tenant within the window that rates are taken from.
pub const CALLS_MOST: u32 = 2_000;

/// The newest messages of a tenant that open rates are taken from.
pub const MAILS_MOST: u32 = 500;

/// The thresholds of a tenant. The default is SPEC section 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// Fewer deliveries than this share reach their address, in percent.
    pub delivery_rate_min_percent: u32,
    /// More calls than this share fail, in percent.
    pub api_errors_max_percent: u32,
    /// More calls than this share are repetitions, in percent.
    pub retries_max_percent: u32,
    /// Less mail than this share is opened, in percent.
    pub open_rate_min_percent: u32,
    /// A rate of fewer calls or deliveries than this says nothing.
    pub sample_min: u32,
    /// An open rate of less mail than this says nothing.
    pub open_sample_min: u32,
    /// More jobs than this are given up within an hour.
    pub dead_letters_max: u32,
    /// More unknown outcomes than this wait for a person.
    pub unknown_max: u32,
    /// Due work waits longer than this, in seconds.
    pub queue_age_max_s: u32,
    /// A campaign's run failed so many times in a row.
    pub source_tries: u32,
    /// What was bad must have been good for so long until the alert is over, in seconds.
    pub hold_s: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            delivery_rate_min_percent: 90,
            api_errors_max_percent: 5,
            retries_max_percent: 20,
            open_rate_min_percent: 40,
            sample_min: 20,
            open_sample_min: 50,
            dead_letters_max: 10,
            unknown_max: 0,
            queue_age_max_s: 900,
            source_tries: 3,
            hold_s: 300,
        }
    }
}

/// A threshold that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}; use {least} to {most}")]
pub struct ThresholdError {
    /// Which.
    pub field: &'static str,
    /// What was given.
    pub value: u32,
    /// The least that may be given.
    pub least: u32,
    /// The most that may be given.
    pub most: u32,
}

impl Thresholds {
    /// Refuses what would alert always, never, or after single messages.
    ///
    /// # Errors
    /// Names the first field that is out of its bounds.
    pub fn check(&self) -> Result<(), ThresholdError> {
        for (field, value, least, most) in [
            ("delivery_rate_min_percent", self.delivery_rate_min_percent, 1, 99),
            ("api_errors_max_percent", self.api_errors_max_percent, 1, 99),
            ("retries_max_percent", self.retries_max_percent, 1, 99),
            ("open_rate_min_percent", self.open_rate_min_percent, 1, 99),
            ("sample_min", self.sample_min, 5, CALLS_MOST),
            ("open_sample_min", self.open_sample_min, 5, MAILS_MOST),
            ("dead_letters_max", self.dead_letters_max, 0, 1_000_000),
            ("unknown_max", self.unknown_max, 0, 1_000_000),
            ("queue_age_max_s", self.queue_age_max_s, 60, 86_400),
            ("source_tries", self.source_tries, 1, 100),
            ("hold_s", self.hold_s, 60, HOLD_MAX_S),
        ] {
            if value < least || value > most {
                return Err(ThresholdError {
                    field,
                    value,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }
}
