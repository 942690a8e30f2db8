//! Slots that a node holds.

/// Evenly spaced instants at which one call each may be made, in microseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// The first.
    pub first_us: i64,
    /// Between two.
    pub interval_us: i64,
    /// How many.
    pub count: u32,
}

impl Slots {
    /// Forgets those that lie before an instant; how many.
    pub fn expire(&mut self, before_us: i64) -> u32 {
        let behind = before_us.saturating_sub(self.first_us);
        if behind <= 0 || self.count == 0 {
            return 0;
        }
        let gone = behind.saturating_add(self.interval_us - 1) / self.interval_us.max(1);
        let gone = gone.min(i64::from(self.count)) as u32;
        self.skip(gone);
        gone
    }

    /// The first one, where it lies no later than an instant.
    pub fn pop(&mut self, until_us: i64) -> Option<i64> {
        (self.count > 0 && self.first_us <= until_us).then(|| {
            let slot = self.first_us;
            self.skip(1);
            slot
        })
    }

    /// How many lie no later than an instant.
    pub fn until(&self, until_us: i64) -> u32 {
        if self.count == 0 || self.first_us > until_us {
            return 0;
        }
        let fit = (until_us - self.first_us) / self.interval_us.max(1) + 1;
        fit.min(i64::from(self.count)) as u32
    }

    fn skip(&mut self, count: u32) {
        self.first_us = self
            .first_us
            .saturating_add(self.interval_us.saturating_mul(i64::from(count)));
        self.count -= count;
    }
}
