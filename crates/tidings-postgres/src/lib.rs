//! The private PostgreSQL that Tidings runs itself when no `DATABASE_URL` is set.
//!
//! ```text
//! <data>/postgres/            0700, owned by the account the server runs as
//!     cluster/                PGDATA: UTF-8, checksums, one superuser and one database, both named `tidings`
//!     socket/                 0700: the only way in, there is no TCP and no password
//!     owner.lock              held by the one Tidings process that owns the cluster
//!     server.log, .1          bounded
//! ```
//!
//! [`Cluster::open`] makes the cluster if there is none, starts it, restarts it when it dies, and stops it with the process.
//! A killed owner leaves PostgreSQL running on purpose: committed work is safe either way, and the next owner adopts the
//! running server without a recovery. Unix only.

mod account;
mod binaries;
mod cluster;
mod error;
mod instance;
mod log;
mod postmaster;
mod settings;
mod socket;

pub use account::{default_data_dir, reachable_by_server};
pub use binaries::{Binaries, MINIMUM_MAJOR};
pub use cluster::{Cluster, Health, Options};
pub use error::{Error, Result};
pub use instance::{Instance, Started};
pub use settings::Settings;
