//! Configuration: command line, then environment, then an `ENV_FILE`, then defaults. The only place that
//! reads the environment.

use anyhow::{Context, Result, bail};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tidings_mail::TlsFiles;
use tidings_store::limits::RedisBuckets;
use url::Url;

/// Environment values: the process's own, over those of `ENV_FILE`.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// Everything the process needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// `DATABASE_URL` (or its alias `CENTRAL_DB_URL`); none means the private PostgreSQL.
    pub database_url: Option<SecretString>,
    /// `DATABASE_DIRECT_URL`: a connection past any pooler, for migrations and notifications.
    pub direct_url: Option<SecretString>,
    /// `REDIS_URL`: a Redis or Valkey that keeps the buckets of rate limits; none: the database does.
    pub redis: Option<RedisBuckets>,
    /// `TIDINGS_DATA_DIR`: the private PostgreSQL and the generated master key live here.
    pub data_dir: PathBuf,
    /// `TIDINGS_PG_BIN`: where PostgreSQL's programs are.
    pub pg_bin: Option<PathBuf>,
    /// `TIDINGS_LISTEN`: the address the HTTP server binds.
    pub listen: SocketAddr,
    /// `TIDINGS_METRICS_LISTEN`: the address at which `/metrics`, `/healthz` and `/readyz` are answered beside the HTTP
    /// server, whatever the role; none: they are not.
    pub metrics_listen: Option<SocketAddr>,
    /// `TIDINGS_MAIL_LISTEN`: the address at which mail that came back is taken by SMTP; none: it is not.
    pub mail_listen: Option<SocketAddr>,
    /// `TIDINGS_MAIL_TLS_CERTIFICATE` and `TIDINGS_MAIL_TLS_KEY`: with what STARTTLS is offered there; none: it is not.
    pub mail_tls: Option<TlsFiles>,
    /// `TIDINGS_PUBLIC_URL`: how the world reaches the server; in links and webhook signatures.
    pub public_url: Option<Url>,
    /// `TIDINGS_MASTER_KEY` (or `DB_ENCRYPTION_KEY`): 32 bytes, hex or base64.
    pub master_key: Option<SecretString>,
    /// `TIDINGS_PREVIOUS_MASTER_KEYS`: older keys, comma separated, readable until rotated away.
    pub previous_master_keys: Vec<SecretString>,
    /// `POLL_INTERVAL_MS`: how often an idle worker looks without being woken.
    pub poll_interval: Duration,
    /// `MAX_CONCURRENT_JOBS`: provider calls under way at once.
    pub max_concurrent_jobs: usize,
    /// `RETRY_DELAY_MINUTES`: replaces the table of waits between tries of send jobs.
    pub retry_delay: Option<Duration>,
    /// `MAX_RETRIES`: tries after the first.
    pub max_retries: u32,
    /// `TIDINGS_LEASE_SECONDS`: how long a worker may be silent before its jobs are rescued.
    pub lease: Duration,
    /// `TIDINGS_DRAIN_SECONDS`: how long a stopping process may finish what it began.
    pub drain: Duration,
    /// `TIDINGS_ALLOW_LOOPBACK`: connections may point at this machine (stand-ins, tests).
    pub allow_loopback: bool,
    /// `TIDINGS_SEED`: seed of the dice; random when unset.
    pub seed: Option<u64>,
    /// Feature flags: message types switched off by `ENABLE_<TYPE>=false`.
    pub disabled_types: Vec<String>,
    /// The private PostgreSQL need not survive a power cut: demonstrations only, no variable sets it.
    pub throwaway_database: bool,
    /// `LOG_LEVEL` / `RUST_LOG`.
    pub log_filter: String,
}

impl Environment {
    /// Reads the process environment and, where `ENV_FILE` names one, a file of `NAME=value` lines.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub fn load() -> Result<Self> {
        let mut values = BTreeMap::new();
        if let Some(file) = std::env::var_os("ENV_FILE") {
            let path = PathBuf::from(file);
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("ENV_FILE={} cannot be read", path.display()))?;
            values = parse_env_file(&path, &text)?;
        }
        values.extend(std::env::vars().filter(|(_, value)| !value.is_empty()));
        Ok(Self(values))
    }

    /// The value of the first name that is set.
    pub fn get(&self, names: &[&str]) -> Option<&str> {
        names
            .iter()
            .find_map(|name| self.0.get(*name))
            .map(String::as_str)
    }

    /// Switches, hours and intervals of campaigns; the definitions know their names.
    pub fn campaigns(&self) -> BTreeMap<String, String> {
        const FORMS: [&str; 3] = ["_HOUR_UTC", "_INTERVAL_DAYS", "_INTERVAL_MS"];
        let named = self
            .0
            .iter()
            .filter(|(name, _)| name.starts_with("ENABLE_") || FORMS.iter().any(|form| name.ends_with(form)));
        named.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn parsed<T>(&self, name: &str, default: T, form: &str) -> Result<T>
    where
        T: FromStr,
    {
        match self.0.get(name) {
            None => Ok(default),
            Some(text) => text
                .trim()
                .parse()
                .map_err(|_| anyhow::anyhow!("{name}={text} is not {form}; correct it or unset it")),
        }
    }

    /// An address to listen at; none where it is not set.
    fn address(&self, name: &str, form: &str) -> Result<Option<SocketAddr>> {
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        self.get(&[name])
            .map(|_| self.parsed(name, none, form))
            .transpose()
    }

    fn switch(&self, name: &str, default: bool) -> Result<bool> {
        match self
            .0
            .get(name)
            .map(|text| text.trim().to_ascii_lowercase())
            .as_deref()
        {
            None => Ok(default),
            Some("1" | "true" | "yes" | "on") => Ok(true),
            Some("0" | "false" | "no" | "off") => Ok(false),
            Some(other) => bail!("{name}={other} is neither true nor false; correct it or unset it"),
        }
    }
}

impl Config {
    /// Builds the configuration; every wrong value is an error that names the variable.
    pub fn from_environment(environment: &Environment) -> Result<Self> {
        let secret = |names: &[&str]| environment.get(names).map(SecretString::from);
        let listen = environment.parsed(
            "TIDINGS_LISTEN",
            SocketAddr::from(([127, 0, 0, 1], 8420)),
            "an address and port such as 0.0.0.0:8420",
        )?;
        let public_url = match environment.get(&["TIDINGS_PUBLIC_URL"]) {
            None => None,
            Some(text) => Some(parse_public_url(text)?),
        };
        let retry_minutes = environment.parsed("RETRY_DELAY_MINUTES", 0u64, "a whole number of minutes")?;
        Ok(Self {
            database_url: secret(&["DATABASE_URL", "CENTRAL_DB_URL"]),
            direct_url: secret(&["DATABASE_DIRECT_URL"]),
            redis: environment
                .get(&["REDIS_URL"])
                .map(|url| RedisBuckets::new(&SecretString::from(url)))
                .transpose()
                .context("REDIS_URL")?,
            data_dir: environment
                .get(&["TIDINGS_DATA_DIR"])
                .unwrap_or("tidings-data")
                .into(),
            pg_bin: environment.get(&["TIDINGS_PG_BIN"]).map(PathBuf::from),
            listen,
            metrics_listen: environment.address(
                "TIDINGS_METRICS_LISTEN",
                "an address and port such as 127.0.0.1:9464",
            )?,
            mail_listen: environment
                .address("TIDINGS_MAIL_LISTEN", "an address and port such as 0.0.0.0:25")?,
            mail_tls: mail_tls(environment)?,
            public_url,
            master_key: secret(&["TIDINGS_MASTER_KEY", "DB_ENCRYPTION_KEY"]),
            previous_master_keys: environment
                .get(&["TIDINGS_PREVIOUS_MASTER_KEYS"])
                .map(|list| {
                    list.split(',')
                        .map(|key| SecretString::from(key.trim()))
                        .collect()
                })
                .unwrap_or_default(),
            poll_interval: Duration::from_millis(
                environment
                    .parsed("POLL_INTERVAL_MS", 5000u64, "a whole number of milliseconds")?
                    .max(10),
            ),
            max_concurrent_jobs: environment
                .parsed(
                    "MAX_CONCURRENT_JOBS",
                    DEFAULT_CONCURRENCY,
                    "a whole number of at least 1",
                )?
                .clamp(1, 4096),
            retry_delay: (retry_minutes > 0).then(|| Duration::from_secs(retry_minutes * 60)),
            max_retries: environment
                .parsed("MAX_RETRIES", 3u32, "a whole number")?
                .min(100),
            lease: Duration::from_secs(
                environment
                    .parsed("TIDINGS_LEASE_SECONDS", 30u64, "a whole number of seconds")?
                    .clamp(2, 50),
            ),
            drain: Duration::from_secs(environment.parsed(
                "TIDINGS_DRAIN_SECONDS",
                25u64,
                "a whole number of seconds",
            )?),
            allow_loopback: environment.switch("TIDINGS_ALLOW_LOOPBACK", false)?,
            seed: match environment.get(&["TIDINGS_SEED"]) {
                None => None,
                Some(_) => Some(environment.parsed("TIDINGS_SEED", 0u64, "a whole number")?),
            },
            throwaway_database: false,
            disabled_types: disabled_types(environment)?,
            log_filter: environment
                .get(&["RUST_LOG", "LOG_LEVEL"])
                .unwrap_or("info,sqlx=warn,hyper=warn,h2=warn")
                .to_owned(),
        })
    }

    /// The seed of the dice: the configured one, or one of the operating system's randomness.
    pub fn dice_seed(&self) -> Result<u64> {
        if let Some(seed) = self.seed {
            return Ok(seed);
        }
        let mut bytes = [0u8; 8];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gave no random bytes"))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The URL the world reaches the server by; the listening address when none is set.
    pub fn public_base_url(&self) -> Url {
        self.public_url.clone().unwrap_or_else(|| {
            let host = if self.listen.ip().is_unspecified() {
                format!("127.0.0.1:{}", self.listen.port())
            } else {
                self.listen.to_string()
            };
            Url::parse(&format!("http://{host}"))
                .unwrap_or_else(|_| unreachable!("a socket address is a URL host"))
        })
    }
}

/// Provider calls under way at once, unless `MAX_CONCURRENT_JOBS` says otherwise. The requirement's 5 suits
/// one process per tenant; one slow provider would take all five from every tenant here.
const DEFAULT_CONCURRENCY: usize = 32;

fn parse_public_url(text: &str) -> Result<Url> {
    let url = Url::parse(text.trim_end_matches('/')).with_context(|| {
        format!("TIDINGS_PUBLIC_URL={text} is not a URL such as https://tidings.example.com")
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        bail!("TIDINGS_PUBLIC_URL={text} must be an http or https URL with a host");
    }
    Ok(url)
}

/// The variables that name the files of the mail server's TLS.
pub const MAIL_TLS: [&str; 2] = ["TIDINGS_MAIL_TLS_CERTIFICATE", "TIDINGS_MAIL_TLS_KEY"];

fn mail_tls(environment: &Environment) -> Result<Option<TlsFiles>> {
    match MAIL_TLS.map(|name| environment.get(&[name])) {
        [None, None] => Ok(None),
        [Some(certificate), Some(key)] => Ok(Some(TlsFiles {
            certificate: certificate.into(),
            key: key.into(),
        })),
        [certificate, _] => {
            let [set, missing] = if certificate.is_some() {
                MAIL_TLS
            } else {
                [MAIL_TLS[1], MAIL_TLS[0]]
            };
            bail!("{set} is set and {missing} is not; set both, or neither for mail without TLS")
        }
    }
}

fn disabled_types(environment: &Environment) -> Result<Vec<String>> {
    let mut types = Vec::new();
    for name in environment.0.keys().filter(|name| name.starts_with("ENABLE_")) {
        if !environment.switch(name, true)? {
            types.push(name["ENABLE_".len()..].to_ascii_lowercase());
        }
    }
    Ok(types)
}

fn parse_env_file(path: &Path, text: &str) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            bail!("{}:{}: a line must read NAME=value", path.display(), number + 1);
        };
        let value = value.trim();
        let unquoted = ['"', '\'']
            .iter()
            .find_map(|quote| {
                value
                    .strip_prefix(*quote)
                    .and_then(|rest| rest.strip_suffix(*quote))
            })
            .unwrap_or(value);
        if !unquoted.is_empty() {
            values.insert(name.trim().to_owned(), unquoted.to_owned());
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment(
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn defaults_need_nothing() {
        let config = Config::from_environment(&environment(&[])).unwrap();
        assert!(config.database_url.is_none());
        assert_eq!(config.poll_interval, Duration::from_secs(5));
        assert_eq!(config.max_retries, 3);
        assert_eq!(config.public_base_url().as_str(), "http://127.0.0.1:8420/");
    }

    #[test]
    fn the_names_of_the_requirements_work() {
        let config = Config::from_environment(&environment(&[
            ("CENTRAL_DB_URL", "postgres://u:p@h/db"),
            ("DB_ENCRYPTION_KEY", "00"),
            ("POLL_INTERVAL_MS", "250"),
            ("MAX_CONCURRENT_JOBS", "7"),
            ("RETRY_DELAY_MINUTES", "2"),
            ("MAX_RETRIES", "9"),
            ("ENABLE_SEVEN_DAY_CHECKIN", "false"),
            ("ENABLE_POST_SERVICE_SURVEY", "true"),
        ]))
        .unwrap();
        assert!(config.database_url.is_some() && config.master_key.is_some());
        assert_eq!(config.poll_interval, Duration::from_millis(250));
        assert_eq!(config.max_concurrent_jobs, 7);
        assert_eq!(config.retry_delay, Some(Duration::from_mins(2)));
        assert_eq!(config.max_retries, 9);
        assert_eq!(config.disabled_types, ["seven_day_checkin"]);
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        for (name, value) in [
            ("POLL_INTERVAL_MS", "soon"),
            ("TIDINGS_LISTEN", "8420"),
            ("TIDINGS_MAIL_LISTEN", "25"),
            ("TIDINGS_METRICS_LISTEN", "localhost"),
            ("TIDINGS_PUBLIC_URL", "tidings"),
            ("TIDINGS_ALLOW_LOOPBACK", "maybe"),
            ("ENABLE_WINBACK_DETECTION", "perhaps"),
        ] {
            let error = Config::from_environment(&environment(&[(name, value)]))
                .unwrap_err()
                .to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn mail_has_tls_with_both_files_or_not_at_all() {
        let files = |pairs: &[(&str, &str)]| {
            Config::from_environment(&environment(pairs)).map(|config| config.mail_tls)
        };
        let [certificate, key] = MAIL_TLS;
        assert_eq!(files(&[]).unwrap(), None);
        let both = TlsFiles {
            certificate: "c.pem".into(),
            key: "k.pem".into(),
        };
        assert_eq!(
            files(&[(certificate, "c.pem"), (key, "k.pem")]).unwrap(),
            Some(both)
        );
        for (set, missing) in [(certificate, key), (key, certificate)] {
            let error = files(&[(set, "x.pem")]).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{set} is set and {missing} is not")),
                "{error}"
            );
        }
    }

    #[test]
    fn an_env_file_is_read_and_a_broken_line_is_named() {
        let read = parse_env_file(Path::new("x.env"), "# c\nexport A=1\nB=\"two words\"\n\nC=\n").unwrap();
        assert_eq!(
            read,
            BTreeMap::from([
                ("A".to_owned(), "1".to_owned()),
                ("B".to_owned(), "two words".to_owned())
            ])
        );
        let error = parse_env_file(Path::new("x.env"), "A=1\nnonsense\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("x.env:2"), "{error}");
    }
}
