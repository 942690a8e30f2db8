//! A private Postfix: configuration, queue and log in a folder of its own, SMTP on a free port of the loopback interface.
//!
//! Nothing of the machine's own Postfix is read or written, if there is one. It takes mail for a few addresses and hands each to a
//! port of this machine; whatever it cannot hand over it returns to the sender by itself, as any Postfix does.

use crate::TemporaryFolder;
use anyhow::{Context as _, bail};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where distributions keep the programs.
const FOLDERS: [&str; 3] = [
    "/usr/lib/postfix/sbin",
    "/usr/libexec/postfix",
    "/usr/lib/postfix",
];

/// Another program may take the free port between our look and the start.
const ATTEMPTS: u32 = 5;

const START_LIMIT: Duration = Duration::from_secs(20);

/// Ends the master ($1, with its configuration $2) and removes the folder ($3) when our end of the pipe is closed, which it is
/// also when this process is killed. The signals are those that end a whole group: the master left it and would stay.
const OWNER: &str = r#"
"$1" -c "$2" </dev/null &
master=$!
trap '' INT HUP TERM
read -r end
kill -TERM "$master" 2>/dev/null
wait "$master"
rm -rf "$3""#;

/// What receiving, queueing, handing on and returning need besides the listener; nothing is locked into a folder.
const SERVICES: &str = "\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

/// Names come from nobody, no other file is read, nobody else is told. What cannot be handed over is tried again each second,
/// its sender is warned after one and gets it back after three.
const SETTINGS: &str = "\
compatibility_level = 3.6
myhostname = mx.peer.test
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_dns_support_level = disabled
smtp_tls_security_level = may
smtpd_peername_lookup = no
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = encrypt
smtpd_tls_received_header = yes
notify_classes =
fast_flush_domains =
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
delay_warning_time = 1s
maximal_queue_lifetime = 3s
bounce_queue_lifetime = 3s
";

/// Queue folders that only Postfix enters.
const QUEUES: [&str; 11] = [
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved",
    "trace",
];

/// What a Postfix is to do.
#[derive(Clone, Copy, Debug)]
pub struct PostfixJob<'a> {
    /// Its certificate, in PEM form: without TLS it takes nothing.
    pub certificate: &'a str,
    /// The key that belongs to it.
    pub key: &'a str,
    /// The addresses it takes mail for, all of one domain, each with the port of this machine to which it hands it on.
    pub recipients: &'a [(&'a str, u16)],
    /// The domain that returned mail goes to, with its port. Nobody but Postfix itself can send mail there, and what goes to this port
    /// goes over TLS or not at all.
    pub returns: (&'a str, u16),
}

/// A running Postfix; what runs ends with it.
#[derive(Debug)]
pub struct Postfix {
    owner: Child,
    port: u16,
    folder: TemporaryFolder,
}

impl Postfix {
    /// Starts one; none where it is not installed (`cargo xtask test` installs it for root) or cannot run, because only root can
    /// start it. Why is said.
    ///
    /// # Errors
    /// When it could run and does not start.
    pub fn start(job: &PostfixJob<'_>) -> anyhow::Result<Option<Self>> {
        let found = FOLDERS
            .iter()
            .map(Path::new)
            .find(|folder| folder.join("master").is_file());
        let Some(programs) = found else {
            eprintln!(
                "no Postfix found, so nothing is tested on it; `cargo xtask test` installs it for root"
            );
            return Ok(None);
        };
        let (Some(postfix), Some(postdrop)) =
            (id_in("/etc/passwd", "postfix"), id_in("/etc/group", "postdrop"))
        else {
            eprintln!(
                "Postfix has not the account postfix and the group postdrop here, so nothing is tested on it"
            );
            return Ok(None);
        };
        let mut log = String::new();
        for _ in 0..ATTEMPTS {
            let folder = TemporaryFolder::for_servers("postfix");
            if std::fs::metadata(folder.path())?.uid() != 0 {
                eprintln!("only root can start Postfix, so nothing is tested on it");
                return Ok(None);
            }
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr())
                .context("no free port")?
                .port();
            make_queue(folder.path(), postfix, postdrop)?;
            configure(folder.path(), programs, port, job)?;
            let owner = spawn(folder.path(), programs)?;
            let postfix = Self { owner, port, folder };
            if postfix.wait_until_ready()? {
                return Ok(Some(postfix));
            }
            log = postfix.log();
        }
        bail!("Postfix ended {ATTEMPTS} times at its start: {log}")
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// False when it ended instead.
    fn wait_until_ready(&self) -> anyhow::Result<bool> {
        let begin = Instant::now();
        while begin.elapsed() < START_LIMIT {
            let log = self.log();
            // It says so once its ports are open.
            if log.contains("daemon started") {
                return Ok(true);
            }
            if log.contains("fatal:") {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!(
            "Postfix did not start within {} s: {}",
            START_LIMIT.as_secs(),
            self.log()
        )
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        drop(self.owner.stdin.take());
        let _ = self.owner.wait();
    }
}

/// The folders Postfix would make at its installation, with the owners it asks for.
fn make_queue(folder: &Path, postfix: u32, postdrop: u32) -> anyhow::Result<()> {
    let make = |path: PathBuf, owner: Option<u32>, group: Option<u32>, mode: u32| -> anyhow::Result<()> {
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        std::os::unix::fs::chown(&path, owner, group)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        Ok(())
    };
    // Postfix's account must be able to go through, whatever our own mask is.
    make(folder.to_owned(), None, None, 0o755)?;
    make(folder.join("etc"), None, None, 0o755)?;
    make(folder.join("data"), Some(postfix), None, 0o700)?;
    let queue = folder.join("queue");
    make(queue.clone(), None, None, 0o755)?;
    make(queue.join("pid"), None, None, 0o755)?;
    for name in QUEUES {
        make(queue.join(name), Some(postfix), None, 0o700)?;
    }
    make(queue.join("maildrop"), Some(postfix), Some(postdrop), 0o730)?;
    make(queue.join("public"), Some(postfix), Some(postdrop), 0o710)
}

fn id_in(file: &str, name: &str) -> Option<u32> {
    let entries = std::fs::read_to_string(file).ok()?;
    let prefix = format!("{name}:");
    let entry = entries.lines().find(|line| line.starts_with(&prefix))?;
    entry.split(':').nth(2)?.parse().ok()
}

fn configure(folder: &Path, programs: &Path, port: u16, job: &PostfixJob<'_>) -> anyhow::Result<()> {
    let etc = folder.join("etc");
    let write = |name: &str, text: &str, mode: u32| {
        let path = etc.join(name);
        std::fs::write(&path, text)
            .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    let (here, domain) = (folder.display(), domain_of(job.recipients)?);
    let mut settings = SETTINGS.to_owned();
    write!(
        settings,
        "daemon_directory = {}\nqueue_directory = {here}/queue\ndata_directory = {here}/data\n\
         maillog_file = {here}/log\nmaillog_file_prefixes = {here}\n\
         smtpd_tls_cert_file = {here}/etc/certificate.pem\nsmtpd_tls_key_file = {here}/etc/key.pem\n\
         relay_domains = {domain}\nrelay_recipient_maps = texthash:{here}/etc/recipients\n\
         transport_maps = texthash:{here}/etc/transport\nsmtp_tls_policy_maps = texthash:{here}/etc/tls\n",
        programs.display()
    )?;
    let (mut recipients, mut transport) = (String::new(), String::new());
    for (address, port) in job.recipients {
        writeln!(recipients, "{address} known")?;
        writeln!(transport, "{address} smtp:[127.0.0.1]:{port}")?;
    }
    let (returns, to) = job.returns;
    writeln!(transport, "{returns} smtp:[127.0.0.1]:{to}")?;
    write("certificate.pem", job.certificate, 0o644)?;
    write("key.pem", job.key, 0o600)?;
    write("recipients", &recipients, 0o644)?;
    write("transport", &transport, 0o644)?;
    write("tls", &format!("[127.0.0.1]:{to} encrypt\n"), 0o644)?;
    write("main.cf", &settings, 0o644)?;
    let listener = format!("127.0.0.1:{port} inet n - n - - smtpd\n");
    write("master.cf", &(listener + SERVICES), 0o644)
}

fn domain_of<'a>(recipients: &[(&'a str, u16)]) -> anyhow::Result<&'a str> {
    let first = recipients.first().context("a Postfix needs a recipient")?;
    first
        .0
        .rsplit_once('@')
        .map(|(_, domain)| domain)
        .with_context(|| format!("{} is no address", first.0))
}

fn spawn(folder: &Path, programs: &Path) -> anyhow::Result<Child> {
    Command::new("sh")
        .args(["-c", OWNER, "tidings-postfix"])
        .arg(programs.join("master"))
        .arg(folder.join("etc"))
        .arg(folder)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run Postfix")
}
