//! How a source is reached: what stands in a tenant's file, checked into what cannot be wrong.

use crate::error::SourceError;
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr as _;
use tidings_core::word_enum;
use url::Url;

word_enum! {
    /// The kind of database.
    pub enum SourceKind {
        /// PostgreSQL 12 or newer.
        Postgresql = "postgresql",
        /// MySQL 5.7 or newer, MariaDB 10.4 or newer.
        Mysql = "mysql",
        /// A file of SQLite 3.
        Sqlite = "sqlite",
    }
}

word_enum! {
    /// How the way to the server is protected.
    #[derive(Default)]
    pub enum Tls {
        /// Not at all.
        Disable = "disable",
        /// Where the server offers it; the certificate is not checked.
        #[default]
        Prefer = "prefer",
        /// Always; the certificate is checked when `tls_ca_pem` is given.
        Require = "require",
        /// Always, and the certificate must be the server's.
        VerifyFull = "verify_full",
    }
}

/// The settings of a source as they stand in a tenant's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// The kind of database.
    pub kind: SourceKind,
    /// `postgres://user:password@host/database`, `mysql://user:password@host/database`, or the path of a file.
    pub url: SecretString,
    /// A statement may take so long.
    #[serde(default = "default_timeout")]
    pub statement_timeout_ms: u64,
    /// Rows read at a time.
    #[serde(default = "default_rows")]
    pub page_rows: u32,
    /// How the way to the server is protected.
    #[serde(default)]
    pub tls: Tls,
    /// The certificates to trust, in PEM; else those of the system.
    #[serde(default)]
    pub tls_ca_pem: Option<String>,
    /// What times without a zone mean, an IANA name; else the tenant's zone.
    #[serde(default)]
    pub zone: Option<String>,
    /// Where tables without a schema are looked for: PostgreSQL's schema, or MySQL's database.
    #[serde(default)]
    pub schema: Option<String>,
}

fn default_timeout() -> u64 {
    10_000
}

fn default_rows() -> u32 {
    1000
}

const TIMEOUTS_MS: std::ops::RangeInclusive<u64> = 100..=600_000;
const ROWS: std::ops::RangeInclusive<u32> = 50..=5000;
const LONGEST_CA: usize = 256 * 1024;

/// Settings that were checked.
#[derive(Clone)]
pub struct Access {
    pub(crate) target: Target,
    /// Where it is, without account and password.
    pub(crate) place: String,
    pub(crate) statement_timeout_ms: u64,
    pub(crate) page_rows: usize,
    pub(crate) zone: Option<TimeZone>,
    pub(crate) schema: Option<String>,
}

#[derive(Clone)]
pub(crate) enum Target {
    Postgresql(Box<PgConnectOptions>),
    Mysql(Box<MySqlConnectOptions>),
    Sqlite(PathBuf),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("kind", &self.kind())
            .field("place", &self.place)
            .field("statement_timeout_ms", &self.statement_timeout_ms)
            .field("page_rows", &self.page_rows)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Access {
    /// The kind of database.
    pub fn kind(&self) -> SourceKind {
        match self.target {
            Target::Postgresql(_) => SourceKind::Postgresql,
            Target::Mysql(_) => SourceKind::Mysql,
            Target::Sqlite(_) => SourceKind::Sqlite,
        }
    }

    /// Where it is, without account and password; for messages.
    pub fn place(&self) -> &str {
        &self.place
    }
}

/// What is kept of settings, with the url in the open; it is sealed before it is stored.
#[derive(Serialize)]
struct Exposed<'a> {
    kind: SourceKind,
    url: &'a str,
    statement_timeout_ms: u64,
    page_rows: u32,
    tls: Tls,
    tls_ca_pem: Option<&'a str>,
    zone: Option<&'a str>,
    schema: Option<&'a str>,
}

impl SourceSettings {
    /// The settings as JSON for sealing, the password in it; what [`Deserialize`] reads back.
    pub fn to_json(&self) -> SecretString {
        let exposed = Exposed {
            kind: self.kind,
            url: self.url.expose_secret(),
            statement_timeout_ms: self.statement_timeout_ms,
            page_rows: self.page_rows,
            tls: self.tls,
            tls_ca_pem: self.tls_ca_pem.as_deref(),
            zone: self.zone.as_deref(),
            schema: self.schema.as_deref(),
        };
        serde_json::to_string(&exposed).unwrap_or_default().into()
    }

    /// Checks everything that can be checked without a connection.
    ///
    /// # Errors
    /// When a setting is out of bounds or the url is not one of its kind.
    pub fn check(&self) -> Result<Access, SourceError> {
        if !TIMEOUTS_MS.contains(&self.statement_timeout_ms) {
            return Err(SourceError::mapping(format!(
                "statement_timeout_ms is {}, but must be {} to {}",
                self.statement_timeout_ms,
                TIMEOUTS_MS.start(),
                TIMEOUTS_MS.end()
            )));
        }
        if !ROWS.contains(&self.page_rows) {
            return Err(SourceError::mapping(format!(
                "page_rows is {}, but must be {} to {}",
                self.page_rows,
                ROWS.start(),
                ROWS.end()
            )));
        }
        let (target, place) = match self.kind {
            SourceKind::Postgresql => self.postgresql()?,
            SourceKind::Mysql => self.mysql()?,
            SourceKind::Sqlite => self.sqlite()?,
        };
        Ok(Access {
            target,
            place,
            statement_timeout_ms: self.statement_timeout_ms,
            page_rows: self.page_rows as usize,
            zone: self.zone.as_deref().map(zone).transpose()?,
            schema: self.schema.clone().filter(|schema| !schema.is_empty()),
        })
    }

    fn parse_url(&self, schemes: &[&str]) -> Result<Url, SourceError> {
        let wanted = format!("{}://user:password@host/database", schemes[0]);
        let url = Url::parse(self.url.expose_secret()).map_err(|error| {
            SourceError::mapping(format!("the url of the source cannot be read ({error}); it is {wanted}, with special characters of the password percent-encoded"))
        })?;
        if !schemes.contains(&url.scheme()) {
            return Err(SourceError::mapping(format!(
                "the url of a source of kind {} starts with {}://, not {}://",
                self.kind,
                schemes[0],
                url.scheme()
            )));
        }
        Ok(url)
    }

    fn ca(&self) -> Result<Option<Vec<u8>>, SourceError> {
        match self.tls_ca_pem.as_deref() {
            None => Ok(None),
            Some(pem) if pem.len() <= LONGEST_CA && pem.contains("-----BEGIN CERTIFICATE-----") => {
                Ok(Some(pem.as_bytes().to_vec()))
            }
            Some(_) => Err(SourceError::mapping(
                "tls_ca_pem must be certificates in PEM (\"-----BEGIN CERTIFICATE-----\" ...), at most 256 KiB",
            )),
        }
    }

    fn postgresql(&self) -> Result<(Target, String), SourceError> {
        let url = self.parse_url(&["postgres", "postgresql"])?;
        let mut options = PgConnectOptions::from_str(url.as_str()).map_err(|_| unreadable("PostgreSQL"))?;
        // Without this the driver would send the password of this process's own environment to the tenant's server.
        if url.password().is_none() && !url.query_pairs().any(|(name, _)| name == "password") {
            options = options.password("");
        }
        if url.query_pairs().all(|(name, _)| name != "sslmode") || self.tls != Tls::Prefer {
            options = options.ssl_mode(match self.tls {
                Tls::Disable => PgSslMode::Disable,
                Tls::Prefer => PgSslMode::Prefer,
                Tls::Require => PgSslMode::Require,
                Tls::VerifyFull => PgSslMode::VerifyFull,
            });
        }
        if let Some(pem) = self.ca()? {
            options = options.ssl_root_cert_from_pem(pem);
        }
        let options = options.application_name("tidings");
        let database = options.get_database().unwrap_or("").to_owned();
        let place = format!("{}:{}/{database}", options.get_host(), options.get_port());
        Ok((Target::Postgresql(Box::new(options)), place))
    }

    fn mysql(&self) -> Result<(Target, String), SourceError> {
        let url = self.parse_url(&["mysql", "mariadb"])?;
        if url.path().trim_matches('/').is_empty() {
            return Err(SourceError::mapping(
                "the url of a source of kind mysql must name the database: mysql://user:password@host/database",
            ));
        }
        let mut options = MySqlConnectOptions::from_str(url.as_str()).map_err(|_| unreadable("MySQL"))?;
        let given = url
            .query_pairs()
            .any(|(name, _)| name == "ssl-mode" || name == "sslmode");
        if !given || self.tls != Tls::Prefer {
            options = options.ssl_mode(match self.tls {
                Tls::Disable => MySqlSslMode::Disabled,
                Tls::Prefer => MySqlSslMode::Preferred,
                Tls::Require if self.tls_ca_pem.is_some() => MySqlSslMode::VerifyCa,
                Tls::Require => MySqlSslMode::Required,
                Tls::VerifyFull => MySqlSslMode::VerifyIdentity,
            });
        }
        if let Some(pem) = self.ca()? {
            options = options.ssl_ca_from_pem(pem);
        }
        let place = format!(
            "{}:{}{}",
            url.host_str().unwrap_or("localhost"),
            url.port().unwrap_or(3306),
            url.path()
        );
        Ok((Target::Mysql(Box::new(options)), place))
    }

    fn sqlite(&self) -> Result<(Target, String), SourceError> {
        let text = self.url.expose_secret();
        let path = text
            .strip_prefix("sqlite://")
            .or_else(|| text.strip_prefix("sqlite:"));
        // A path may hold a question mark, a url may not.
        let path = path.map_or(text, |rest| rest.split('?').next().unwrap_or(rest));
        if path.is_empty() || path.contains(":memory:") || path.contains("://") || path.contains('\0') {
            return Err(SourceError::mapping(
                "the url of a source of kind sqlite is the path of its file, such as /var/lib/shop/shop.db",
            ));
        }
        Ok((Target::Sqlite(PathBuf::from(path)), path.to_owned()))
    }
}

fn unreadable(what: &str) -> SourceError {
    SourceError::mapping(format!(
        "the url of the source is not one that {what} understands; give user, password, host, port and database alone"
    ))
}

/// The zone of an IANA name.
pub(crate) fn zone(name: &str) -> Result<TimeZone, SourceError> {
    TimeZone::get(name).map_err(|_| {
        SourceError::mapping(format!(
            "zone \"{}\" is not known; give an IANA name such as Europe/Vienna",
            name.chars().take(64).collect::<String>()
        ))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn settings(text: &str) -> Result<SourceSettings, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn defaults_are_those_documented() {
        let settings = settings("kind = \"sqlite\"\nurl = \"/var/lib/shop.db\"").unwrap();
        let access = settings.check().unwrap();
        assert_eq!((access.statement_timeout_ms, access.page_rows), (10_000, 1000));
        assert_eq!(access.kind(), SourceKind::Sqlite);
        assert_eq!(access.place(), "/var/lib/shop.db");
    }

    #[test]
    fn neither_settings_nor_access_show_the_password() {
        for (kind, scheme) in [("postgresql", "postgres"), ("mysql", "mysql")] {
            let settings = settings(&format!(
                "kind = \"{kind}\"\nurl = \"{scheme}://reader:hunter2@db.example.com:1234/shop\""
            ))
            .unwrap();
            let access = settings.check().unwrap();
            let shown = format!("{settings:?} {access:?} {}", access.place());
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(access.place().contains("db.example.com:1234/shop"));
            assert!(settings.to_json().expose_secret().contains("hunter2"));
            let again: SourceSettings = serde_json::from_str(settings.to_json().expose_secret()).unwrap();
            assert_eq!(again.url.expose_secret(), settings.url.expose_secret());
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = [
            ("kind = \"mysql\"\nurl = \"mysql://a:b@h/\"", "name the database"),
            (
                "kind = \"mysql\"\nurl = \"postgres://a:b@h/d\"",
                "starts with mysql://",
            ),
            ("kind = \"postgresql\"\nurl = \"nonsense\"", "cannot be read"),
            ("kind = \"sqlite\"\nurl = \":memory:\"", "path of its file"),
            ("kind = \"sqlite\"\nurl = \"a.db\"\npage_rows = 10", "50 to 5000"),
            (
                "kind = \"sqlite\"\nurl = \"a.db\"\nstatement_timeout_ms = 1",
                "100 to 600000",
            ),
            ("kind = \"sqlite\"\nurl = \"a.db\"\nzone = \"Mars/Base\"", "IANA"),
            (
                "kind = \"postgresql\"\nurl = \"postgres://h/d\"\ntls_ca_pem = \"x\"",
                "PEM",
            ),
        ];
        for (text, expected) in wrong {
            let error = settings(text).unwrap().check().unwrap_err();
            assert!(error.message.contains(expected), "{text}: {error}");
        }
        assert!(settings("kind = \"oracle\"\nurl = \"x\"").is_err());
        assert!(settings("kind = \"sqlite\"\nurl = \"x\"\nmode = \"rw\"").is_err());
    }
}
