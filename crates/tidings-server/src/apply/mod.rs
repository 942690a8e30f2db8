//! `tidings apply`: brings tenants, connections, templates, sources, campaigns and contacts to what a TOML file says. Idempotent; every
//! difference is shown, and with `--dry-run` nothing else happens.

mod alerts;
pub(crate) mod check;
pub mod diff;
pub mod file;
mod lifecycle;
mod model;
mod perform;

pub use perform::{Applier, apply};
