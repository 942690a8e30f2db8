//! What became of deliveries, by day, connection, channel and message type: counted from the ledger and kept, so that a look at
//! months costs a few rows. `marks` says which days changed, `count` counts a day as a whole, `read` adds days up.

mod count;
mod marks;
mod read;

pub use count::count_next;
pub use marks::{Marked, mark, marked_to, tenants};
pub use read::{Line, Range, deliveries, due_within};

use serde::Serialize;

/// How many deliveries, by what became of them. A delivery is in one of `delivered`, `bounced`, `failed`, `unknown`, `waiting`,
/// `dropped`, `stopped`, or it is accepted and nothing was reported since; the others are counted beside that, each delivery once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub deliveries: i64,
    /// A provider took them, whatever it reported since.
    pub accepted: i64,
    /// They arrived.
    pub delivered: i64,
    /// They were returned.
    pub bounced: i64,
    /// Of those: the address is bad.
    pub bounced_hard: i64,
    /// Of those: it may work another day.
    pub bounced_soft: i64,
    /// Of those: our reputation or content was refused.
    pub bounced_block: i64,
    /// Their recipients called them spam.
    pub complained: i64,
    /// Refused for good, or given up.
    pub failed: i64,
    /// Of those: tries ran out.
    pub failed_transient: i64,
    /// Of those: because of the recipient.
    pub failed_permanent: i64,
    /// Of those: because of a rate limit.
    pub failed_rate_limit: i64,
    /// Of those: because of credentials.
    pub failed_auth_failure: i64,
    /// Of those: because of the request.
    pub failed_invalid_input: i64,
    /// Nobody knows their outcome; those that wait for a person included.
    pub unknown: i64,
    /// Not called yet, or to be called again.
    pub waiting: i64,
    /// Of unknown outcome, given up.
    pub dropped: i64,
    /// Called off before they left.
    pub stopped: i64,
    /// A person opened them.
    pub opened: i64,
    /// Only machines opened them.
    pub machine_opened: i64,
    /// A link was clicked.
    pub clicked: i64,
    /// They were answered.
    pub replied: i64,
}

impl Counts {
    /// Each with its name, in the order above.
    pub fn named(&self) -> [(&'static str, i64); 22] {
        [
            ("deliveries", self.deliveries),
            ("accepted", self.accepted),
            ("delivered", self.delivered),
            ("bounced", self.bounced),
            ("bounced_hard", self.bounced_hard),
            ("bounced_soft", self.bounced_soft),
            ("bounced_block", self.bounced_block),
            ("complained", self.complained),
            ("failed", self.failed),
            ("failed_transient", self.failed_transient),
            ("failed_permanent", self.failed_permanent),
            ("failed_rate_limit", self.failed_rate_limit),
            ("failed_auth_failure", self.failed_auth_failure),
            ("failed_invalid_input", self.failed_invalid_input),
            ("unknown", self.unknown),
            ("waiting", self.waiting),
            ("dropped", self.dropped),
            ("stopped", self.stopped),
            ("opened", self.opened),
            ("machine_opened", self.machine_opened),
            ("clicked", self.clicked),
            ("replied", self.replied),
        ]
    }
}
