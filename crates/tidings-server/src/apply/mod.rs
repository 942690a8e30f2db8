//! `tidings apply`: brings tenants, connections, templates and contacts to what a TOML file says. Idempotent; every
//! difference is shown, and with `--dry-run` nothing else happens.

mod check;
pub mod diff;
pub mod file;
mod perform;

pub use perform::{Applier, apply};
