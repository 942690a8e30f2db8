//! The server's configuration file.

use std::fmt::Write as _;
use std::path::Path;

/// What a cluster is for. Everything else follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Purpose {
    #[default]
    Product,
    Tests,
}

/// Settings of the private server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    purpose: Purpose,
    extra: Vec<(String, String)>,
}

/// For every cluster. Values that PostgreSQL would read as text are quoted here.
const COMMON: &[(&str, &str)] = &[
    ("listen_addresses", "''"),
    ("port", "5432"),
    ("unix_socket_permissions", "0700"),
    ("max_connections", "200"),
    ("shared_buffers", "128MB"),
    // Nothing replicates from a private cluster, so the least write-ahead log is enough, and no sender waits idle.
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_logical_replication_workers", "0"),
    ("wal_compression", "on"),
    // Few, spread-out checkpoints: each makes the next touch of every page write the whole page to the log.
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "15min"),
    // Often and gently: a vacuum that takes a core for seconds is what the slowest requests wait for. Queue tables turn over
    // quickly and set their own, without a delay.
    ("autovacuum_max_workers", "2"),
    ("autovacuum_naptime", "15s"),
    ("autovacuum_vacuum_cost_delay", "2ms"),
    ("autovacuum_vacuum_cost_limit", "200"),
    ("autovacuum_vacuum_scale_factor", "0.1"),
    ("autovacuum_analyze_scale_factor", "0.1"),
    // Short statements: compiling them costs more than it saves.
    ("jit", "off"),
    ("random_page_cost", "1.1"),
    ("timezone", "'UTC'"),
    ("log_timezone", "'UTC'"),
    ("log_line_prefix", "'%m [%p] '"),
    ("log_checkpoints", "off"),
    ("log_autovacuum_min_duration", "-1"),
    // Statements, parameters and details ("Key (email)=(...) already exists") may hold personal data.
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
    ("log_parameter_max_length", "0"),
    ("log_parameter_max_length_on_error", "0"),
];

const PRODUCT: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
];

/// Loses everything at a crash of the machine; three times as fast.
const TESTS: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("autovacuum_naptime", "60s"),
];

impl Settings {
    /// Durable: a commit that was acknowledged survives a power cut. The default.
    pub fn product() -> Self {
        Self::default()
    }

    /// For databases that are thrown away: tests and simulations. Not durable, so faster.
    pub fn throwaway() -> Self {
        Self {
            purpose: Purpose::Tests,
            extra: Vec::new(),
        }
    }

    pub(crate) fn is_throwaway(&self) -> bool {
        self.purpose == Purpose::Tests
    }

    /// Sets one parameter of postgresql.conf, over whatever this crate sets. Values are quoted.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.extra.push((name.to_owned(), quote(value)));
        self
    }

    /// The text of postgresql.conf.
    pub(crate) fn render(&self, socket_dir: &Path, cluster_name: &str) -> String {
        let own = match self.purpose {
            Purpose::Product => PRODUCT,
            Purpose::Tests => TESTS,
        };
        let mut text = String::from(
            "# Written by Tidings at each start. Your own settings go into custom.conf beside this file.\n",
        );
        let fixed = COMMON
            .iter()
            .chain(own)
            .map(|(name, value)| (*name, (*value).to_owned()));
        let placed = [
            ("unix_socket_directories", quote(&socket_dir.to_string_lossy())),
            ("cluster_name", quote(cluster_name)),
        ];
        let extra = self
            .extra
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()));
        for (name, value) in fixed.chain(placed).chain(extra) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} = {value}");
        }
        text.push_str("include_if_exists = 'custom.conf'\n");
        text
    }
}

fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
        text.lines()
            .rev()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))
    }

    #[test]
    fn the_product_is_durable_and_has_no_tcp() {
        let text = Settings::product().render(Path::new("/run/it's"), "tidings-1");
        assert_eq!(value(&text, "fsync"), Some("on"));
        assert_eq!(value(&text, "synchronous_commit"), Some("on"));
        assert_eq!(value(&text, "listen_addresses"), Some("''"));
        assert_eq!(value(&text, "unix_socket_directories"), Some("'/run/it''s'"));
    }

    #[test]
    fn later_settings_win() {
        let text = Settings::throwaway()
            .with("shared_buffers", "64MB")
            .render(Path::new("/s"), "n");
        assert_eq!(value(&text, "fsync"), Some("off"));
        assert_eq!(value(&text, "shared_buffers"), Some("'64MB'"));
        assert_eq!(value(&text, "autovacuum_naptime"), Some("60s"));
    }
}
