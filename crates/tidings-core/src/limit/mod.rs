//! Rate limits: at most so many calls in a window, kept by slots that all nodes draw from one bucket.
//!
//! A bucket is an instant: when its next slot lies. Slots are spaced evenly ([`Pace::interval_us`]) and each may be
//! used a little late ([`Pace::late_us`]), which is also all that an idle bucket saves up. The spacing is chosen so that
//! every use of every slot, early or late, and on its way for up to a tenth of a second longer than another, keeps the limit in
//! every window; what that costs is the lateness and that tenth as a share of the window. Because nothing but one instant is kept, losing it costs at most one short burst.

mod bucket;
mod eta;
mod slots;
#[cfg(test)]
mod tests;

pub use bucket::{Bucket, HANDOVER_US, Lease};
pub use eta::ends_at;
pub use slots::Slots;

use crate::{ConnectionId, ProviderKind, TenantId};
use jiff::SignedDuration;
use serde_json::Value;
use std::fmt;

/// The most calls in a window that a limit may name.
pub const LARGEST_LIMIT: u32 = 1_000_000;

/// The longest window that a limit may name, in milliseconds: a day.
pub const LONGEST_WINDOW_MS: u64 = 86_400_000;

/// Windows shorter than this are kept as an even pace over one of this length.
const SHORTEST_WINDOW: SignedDuration = SignedDuration::from_secs(1);

/// Windows up to this length are paced closely: nobody notices a wait within them.
const CLOSE_UP_TO: SignedDuration = SignedDuration::from_mins(5);

/// How late a slot may be used, in hundredths of the window: of a short one, and of a long one, where a few messages at
/// once matter more than the last percent of the rate.
const LATE_CLOSE: i64 = 8;
const LATE_WIDE: i64 = 15;

/// How much later than it left one call may arrive than another: providers count where calls arrive.
const TRANSIT: SignedDuration = SignedDuration::from_millis(100);

/// How far ahead a node may take slots: long enough to work, short enough that a dead node wastes nothing to speak of.
const AHEAD: SignedDuration = SignedDuration::from_millis(500);

/// A limit grows back by a twentieth in the length of its window, but in no less and no more than this.
const GROW_FASTEST: SignedDuration = SignedDuration::from_secs(10);
const GROW_SLOWEST: SignedDuration = SignedDuration::from_mins(10);

/// At most `limit` calls in any window of `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    limit: u32,
    per: SignedDuration,
}

/// A limit that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Out of bounds.
    #[error("limit is {0}; use 1 to {LARGEST_LIMIT}")]
    Limit(u64),
    /// Out of bounds.
    #[error("per_ms is {0}; use 1 to {LONGEST_WINDOW_MS}, a day")]
    Window(u64),
}

/// From how many numbers a connection sends: Twilio spreads texts over the pool of a messaging service.
fn numbers(provider: ProviderKind, config: &Value) -> u32 {
    let pool = config["numbers"]
        .as_array()
        .filter(|_| provider.is_pooled(config));
    let count = pool.map_or(1, |numbers| numbers.len().max(1));
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl RateLimit {
    /// What a connection is held to: its own limit, else its provider's default, for each number it sends from.
    pub fn of(provider: ProviderKind, own: Option<Self>, config: &Value) -> Option<Self> {
        own.or_else(|| {
            let one = Self::default_of(provider)?;
            let limit = one
                .limit
                .saturating_mul(numbers(provider, config))
                .min(LARGEST_LIMIT);
            Some(Self { limit, ..one })
        })
    }

    /// A limit of so many calls in so many milliseconds.
    ///
    /// # Errors
    /// When one of them is nothing or too much.
    pub fn new(limit: u64, per_ms: u64) -> Result<Self, LimitError> {
        if !(1..=u64::from(LARGEST_LIMIT)).contains(&limit) {
            return Err(LimitError::Limit(limit));
        }
        if !(1..=LONGEST_WINDOW_MS).contains(&per_ms) {
            return Err(LimitError::Window(per_ms));
        }
        Ok(Self {
            limit: limit as u32,
            per: SignedDuration::from_millis(per_ms as i64),
        })
    }

    /// What a provider takes unless a connection says otherwise (SPEC section 5). The sandbox has no limit.
    pub const fn default_of(provider: ProviderKind) -> Option<Self> {
        let (limit, seconds) = match provider {
            ProviderKind::Sandbox => return None,
            ProviderKind::Sendgrid => (100, 60),
            ProviderKind::Ses => (200, 1),
            ProviderKind::Resend => (2, 1),
            ProviderKind::Twilio => (1, 1),
            ProviderKind::Smtp => (100, 3600),
            ProviderKind::WhatsappCloud => (1000, 86_400),
            // Its companion draws 60 to 90 seconds; sooner it would only be refused.
            ProviderKind::WhatsappWeb => (1, 90),
        };
        Some(Self {
            limit,
            per: SignedDuration::from_secs(seconds),
        })
    }

    /// Calls in a window.
    pub const fn limit(self) -> u32 {
        self.limit
    }

    /// The window.
    pub const fn per(self) -> SignedDuration {
        self.per
    }

    /// How the limit is kept.
    pub fn pace(self) -> Pace {
        let (limit, per) = if self.per < SHORTEST_WINDOW {
            let more = SHORTEST_WINDOW.as_micros() / self.per.as_micros().max(1);
            (i128::from(self.limit).saturating_mul(more), SHORTEST_WINDOW)
        } else {
            (i128::from(self.limit), self.per)
        };
        let per_us = per.as_micros();
        let hundredths = if per <= CLOSE_UP_TO { LATE_CLOSE } else { LATE_WIDE };
        let late_us = per_us * i128::from(hundredths) / 100;
        let grow = per.clamp(GROW_FASTEST, GROW_SLOWEST);
        Pace {
            interval_us: clamped((per_us + late_us + TRANSIT.as_micros() + limit - 1) / limit).max(1),
            late_us: clamped(late_us),
            ahead_us: clamped(AHEAD.as_micros()),
            // A twentieth is 50 thousandths.
            grow_us: clamped(grow.as_micros() / 50).max(1),
        }
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.per.as_millis();
        match ms {
            1_000 => write!(formatter, "{}/s", self.limit),
            60_000 => write!(formatter, "{}/min", self.limit),
            3_600_000 => write!(formatter, "{}/h", self.limit),
            86_400_000 => write!(formatter, "{}/day", self.limit),
            _ if ms % 1_000 == 0 => write!(formatter, "{} in {} s", self.limit, ms / 1_000),
            _ => write!(formatter, "{} in {ms} ms", self.limit),
        }
    }
}

/// A node's wish for slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Whose.
    pub tenant: TenantId,
    /// Of which connection.
    pub connection: ConnectionId,
    /// How its limit is kept.
    pub pace: Pace,
    /// How many at most.
    pub want: u32,
}

fn clamped(us: i128) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}

/// How a limit is kept, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two slots.
    pub interval_us: i64,
    /// How long after its instant a slot may be used.
    pub late_us: i64,
    /// How far ahead slots are given out.
    pub ahead_us: i64,
    /// In how long a shrunken limit grows by a thousandth.
    pub grow_us: i64,
}
