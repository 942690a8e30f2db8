//! How a stand-in is started.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tidings_core::Clock;

/// Entries kept in memory unless said otherwise.
const MOST_ENTRIES: usize = 100_000;
/// Bytes of a mail unless said otherwise.
const LARGEST_MAIL: usize = 25 << 20;

/// How a stand-in is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it answers over HTTP; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where it answers over SMTP.
    pub smtp: SocketAddr,
    /// Keeps the ledger in this file as well, written through before each answer; what it holds is counted on.
    pub ledger: Option<PathBuf>,
    /// Every call is answered after a time between these, in milliseconds.
    pub latency_ms: (u64, u64),
    /// What chance follows from.
    pub seed: u64,
    /// Magic recipients work.
    pub magic: bool,
    /// Entries kept in memory; the oldest are let go beyond, and counted as forgotten.
    pub most_entries: usize,
    /// Bytes of a mail.
    pub largest_mail: usize,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// Free ports of this machine, no file, no latency.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            listen: free,
            smtp: free,
            ledger: None,
            latency_ms: (0, 0),
            seed: 1,
            magic: true,
            most_entries: MOST_ENTRIES,
            largest_mail: LARGEST_MAIL,
            clock,
        }
    }
}
