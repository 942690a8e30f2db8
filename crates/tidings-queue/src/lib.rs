//! The queue: `communication_jobs` and the narrow tables that say which of its rows are due, scheduled, leased or given up.
//!
//! A job enters by [`enqueue`] (or by plain SQL from another program, taken up by [`adopt_arrivals`]), waits as part of a
//! *run* (consecutive jobs of one tenant, kind and priority), is claimed in batches under a *lease* by a [`Claimer`], and
//! ends by [`finish`], which only the holder of the lease can do. Leases are renewed by [`heartbeat`]; those of a dead node
//! are parked by [`park_expired`] and taken by [`take_group`] and [`take_alone`]. Every function takes a connection, so that callers put it into their own transactions,
//! and the time, so that the same code runs in tests and simulations.
//!
//! Waking: [`enqueue`], [`promote`] and [`adopt_arrivals`] notify [`CHANNEL`] once a commit, and only when a node said that
//! it is [`set_idle`]. A node that goes to sleep says so, looks once more after a few and after a hundred milliseconds
//! (a commit may have been under way while it said so), and polls every second besides.

mod age;
mod arrivals;
mod cancel;
mod claim;
pub mod coalesce;
pub mod dead;
mod due;
mod enqueue;
mod error;
mod fair;
mod finish;
pub mod guard;
mod job;
mod lease;
mod node;
mod overturn;
mod park;
mod run;
pub mod schedule;
mod stats;
mod sweep;
mod tenants;
mod totals;

pub use age::oldest_age;
pub use arrivals::{Adopted, UnknownKind, adopt_arrivals, reconsider_unknown, unknown_kinds};
pub use cancel::{Cancelled, cancel};
pub use claim::{ClaimLimits, Claimed, Claimer, Line};
pub use due::{next_due, promote};
pub use enqueue::{BLOCK, enqueue};
pub use error::QueueError;
pub use finish::finish;
pub use job::{ClaimedJob, Enqueued, Finish, FinishReport, LeaseId, NewJob, Outcome, Settled};
pub use lease::{Heartbeat, heartbeat, release};
pub use node::{NodeRow, alive_nodes, deregister, register, set_draining, set_idle};
pub use overturn::overturn;
pub use park::{Parked, ParkedWork, TakenOver, park, park_expired, parked_work, take_alone, take_group};
pub use stats::{StatRow, stats};
pub use sweep::{Swept, roll_up_tallies, sweep};
pub use tenants::ReadyTenants;
pub use totals::{TotalRow, totals};

/// The channel a sleeping node listens on. The payload is empty: what is due is in the tables.
pub const CHANNEL: &str = "tidings_jobs";

/// Start-up options for connections that claim and finish. Their statements look up keys only; a plan that was cached while a
/// table was empty must not scan it when it has grown. Such a plan is the same whatever the parameters are, so it is made
/// once: by itself the server would plan many of these statements anew at every call, for arrays whose lengths it sees,
/// and take longer for that than for running them. Compiling them costs more than running them, too.
pub const CONNECTION_OPTIONS: [(&str, &str); 3] = [
    ("enable_seqscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
];
