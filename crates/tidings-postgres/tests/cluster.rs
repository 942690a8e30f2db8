//! The private PostgreSQL, for real: made, started, killed, adopted, restarted, refused.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tidings_postgres::{Binaries, Cluster, Error, Health, Instance, Options, Settings, Started};

/// A data directory below /tmp, where the account that root hands the server to can reach it.
struct DataDir(PathBuf);

impl DataDir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = PathBuf::from(format!(
            "/tmp/tidings-pgtest-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn options(&self) -> Options {
        // Small, so that several tests at once fit; durable, because that is what is tested.
        let settings = Settings::product().with("shared_buffers", "16MB");
        Options {
            data_dir: self.0.clone(),
            binaries: binaries(),
            settings,
        }
    }

    fn pgdata(&self) -> PathBuf {
        self.0.join("postgres/cluster")
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // A test that failed may have left the server running.
        if let Ok(instance) = Instance::prepare(&self.0, &binaries(), &Settings::product()) {
            let _ = instance.stop();
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn binaries() -> Binaries {
    Binaries::find(None, None).expect("these tests run a real PostgreSQL; `cargo xtask test` installs one")
}

/// Runs statements through psql; the answer without decoration, or what it complained about.
fn psql(instance: &Instance, sql: &str) -> Result<String, String> {
    let mut command = Command::new(instance.binaries().program("psql"));
    command
        .args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "tidings",
            "-d",
            "tidings",
            "-c",
            sql,
            "-h",
        ])
        .arg(instance.socket_dir());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

fn signal(name: &str, pids: &[u32]) {
    let pids = pids.iter().map(u32::to_string);
    let _ = Command::new("kill").arg(name).args(pids).output().unwrap();
}

/// The postmaster and its children, found by the parent in /proc/<pid>/stat.
fn family(postmaster: u32) -> Vec<u32> {
    let output = Command::new("ps").args(["-axo", "pid=,ppid="]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text.lines().map(|line| {
        line.split_whitespace()
            .map(|number| number.parse().unwrap())
            .collect::<Vec<u32>>()
    });
    pairs
        .filter(|pair| pair[0] == postmaster || pair[1] == postmaster)
        .map(|pair| pair[0])
        .collect()
}

/// Tries until it holds; each try is a process or a file read, so this does not spin.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(
            begin.elapsed() < Duration::from_mins(1),
            "{what} did not happen within a minute"
        );
        std::thread::yield_now();
    }
}

fn start(instance: &Instance) -> Started {
    instance.ensure_running(&AtomicBool::new(false)).unwrap()
}

#[test]
fn a_cluster_is_made_started_stopped_and_started_again() {
    let dir = DataDir::new();
    let cluster = Cluster::open(&dir.options()).unwrap();
    psql(cluster.instance(), "CREATE TABLE kept AS SELECT 7 AS n").unwrap();
    let settings = "SELECT current_setting('data_checksums'), current_setting('fsync'), current_setting('listen_addresses') = '', pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'tidings'";
    assert_eq!(psql(cluster.instance(), settings).unwrap(), "on|on|t|UTF8");
    let mode = std::fs::metadata(cluster.instance().socket_dir())
        .unwrap()
        .permissions()
        .mode()
        & 0o777;
    assert_eq!(mode, 0o700, "the socket folder is the only lock on the door");
    assert_eq!(cluster.health(), Health::Running);

    cluster.stop().unwrap();
    assert_eq!(cluster.instance().pid(), None);
    assert_eq!(cluster.health(), Health::Stopped);
    cluster.stop().unwrap();
    drop(cluster);

    let again = Cluster::open(&dir.options()).unwrap();
    assert_eq!(psql(again.instance(), "SELECT n FROM kept").unwrap(), "7");
    let pid = again.instance().pid().unwrap();
    drop(again);
    assert!(
        !family(pid).contains(&pid),
        "dropping the cluster stops the server"
    );
}

#[test]
fn the_server_never_runs_as_root() {
    let dir = DataDir::new();
    let cluster = Cluster::open(&dir.options()).unwrap();
    let owner = std::fs::metadata(dir.pgdata()).unwrap().uid();
    let pid = cluster.instance().pid().unwrap();
    let runs_as = std::fs::metadata(format!("/proc/{pid}")).map_or(owner, |metadata| metadata.uid());
    assert_eq!(owner, runs_as);
    assert_ne!(runs_as, 0);
}

#[test]
fn a_killed_server_is_restarted_and_keeps_what_was_committed() {
    let dir = DataDir::new();
    let cluster = Cluster::open(&dir.options()).unwrap();
    psql(cluster.instance(), "CREATE TABLE kept (n int)").unwrap();
    for n in 0..20 {
        psql(cluster.instance(), &format!("INSERT INTO kept VALUES ({n})")).unwrap();
    }
    let pid = cluster.instance().pid().unwrap();
    signal("-9", &family(pid));
    eventually("the restart", || cluster.restarts() == 1);
    assert_eq!(
        psql(cluster.instance(), "SELECT count(*) FROM kept").unwrap(),
        "20"
    );
    assert_ne!(cluster.instance().pid().unwrap(), pid);
    assert_eq!(cluster.health(), Health::Running);
}

#[test]
fn the_postmaster_alone_may_be_killed() {
    let dir = DataDir::new();
    let cluster = Cluster::open(&dir.options()).unwrap();
    // Its children notice and end; until then the new server must wait for them.
    signal("-9", &[cluster.instance().pid().unwrap()]);
    eventually("the restart", || cluster.restarts() == 1);
    assert_eq!(psql(cluster.instance(), "SELECT 1").unwrap(), "1");
}

#[test]
fn a_server_left_by_a_killed_owner_is_adopted_watched_and_stopped() {
    let dir = DataDir::new();
    let options = dir.options();
    // As after `kill -9` of the owner: the server runs, nobody holds the lock.
    let left = Instance::prepare(&dir.0, &options.binaries, &options.settings).unwrap();
    let Started::Spawned(mut child) = start(&left) else {
        panic!("nothing ran before")
    };

    let cluster = Cluster::open(&options).unwrap();
    assert_eq!(cluster.instance().pid(), Some(child.id()));
    signal("-9", &[child.id()]);
    child.wait().unwrap();
    eventually("the restart of an adopted server", || cluster.restarts() == 1);
    cluster.stop().unwrap();
    assert_eq!(left.pid(), None);
}

#[test]
fn a_second_owner_is_refused_with_the_pid_of_the_first() {
    let dir = DataDir::new();
    let first = Cluster::open(&dir.options()).unwrap();
    let error = Cluster::open(&dir.options()).unwrap_err();
    assert!(
        matches!(&error, Error::Owned { pid, .. } if *pid == std::process::id().to_string()),
        "{error}"
    );
    drop(first);
    Cluster::open(&dir.options()).unwrap();
}

#[test]
fn a_pid_file_whose_number_belongs_to_another_program_is_stale() {
    let dir = DataDir::new();
    drop(Cluster::open(&dir.options()).unwrap());
    let path = dir.pgdata().join("postmaster.pid");
    let pgdata = dir.pgdata();
    std::fs::write(
        &path,
        format!(
            "{}\n{}\n1\n5432\n\n\n 1 2\nready\n",
            std::process::id(),
            pgdata.display()
        ),
    )
    .unwrap();
    let cluster = Cluster::open(&dir.options()).unwrap();
    assert_ne!(cluster.instance().pid().unwrap(), std::process::id());
}

#[test]
fn changed_settings_reach_an_adopted_server() {
    let dir = DataDir::new();
    let options = dir.options();
    let left = Instance::prepare(&dir.0, &options.binaries, &options.settings).unwrap();
    let Started::Spawned(mut child) = start(&left) else {
        panic!("nothing ran before")
    };
    let reaper = std::thread::spawn(move || child.wait());
    let cluster = Cluster::open(&Options {
        settings: options.settings.with("work_mem", "7MB"),
        ..options
    })
    .unwrap();
    assert_eq!(psql(cluster.instance(), "SHOW work_mem").unwrap(), "7MB");
    reaper.join().unwrap().unwrap();
}

#[test]
fn data_of_another_major_version_are_refused_and_left_alone() {
    let dir = DataDir::new();
    drop(Cluster::open(&dir.options()).unwrap());
    let stamp = dir.pgdata().join("PG_VERSION");
    let real = std::fs::read_to_string(&stamp).unwrap();
    std::fs::write(&stamp, "9\n").unwrap();
    let error = Cluster::open(&dir.options()).unwrap_err();
    assert!(matches!(error, Error::VersionMismatch { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("PostgreSQL 9") && text.contains("pg_dumpall"),
        "{text}"
    );
    std::fs::write(&stamp, real).unwrap();
    Cluster::open(&dir.options()).unwrap();
}

#[test]
fn a_path_too_long_for_a_socket_gets_a_short_one_and_keeps_it() {
    let dir = DataDir::new();
    let long = dir.0.join("a-folder-with-a-long-name".repeat(6));
    let options = Options {
        data_dir: long,
        ..dir.options()
    };
    let cluster = Cluster::open(&options).unwrap();
    let socket_dir = cluster.instance().socket_dir().to_owned();
    assert!(
        socket_dir.starts_with("/tmp") && socket_dir.as_os_str().len() < 60,
        "{}",
        socket_dir.display()
    );
    assert_eq!(psql(cluster.instance(), "SELECT 1").unwrap(), "1");
    drop(cluster);
    // As after a reboot that emptied /tmp.
    std::fs::remove_dir_all(&socket_dir).unwrap();
    let cluster = Cluster::open(&options).unwrap();
    assert_eq!(cluster.instance().socket_dir(), socket_dir);
    drop(cluster);
    std::fs::remove_dir_all(socket_dir).unwrap();
}

#[test]
fn an_interrupted_making_is_started_over() {
    let dir = DataDir::new();
    let instance = Instance::prepare(&dir.0, &binaries(), &Settings::throwaway()).unwrap();
    // As if the process had died inside initdb: the folder under its working name, without a stamp.
    let staged = dir.0.join("postgres/cluster.new");
    std::fs::rename(instance.pgdata(), &staged).unwrap();
    std::fs::remove_file(staged.join("PG_VERSION")).unwrap();
    let cluster = Cluster::open(&dir.options()).unwrap();
    assert_eq!(psql(cluster.instance(), "SELECT 1").unwrap(), "1");
    assert!(!staged.exists());
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let dir = DataDir::new();
    let options = Options {
        settings: Settings::product().with("shared_buffers", "a lot"),
        ..dir.options()
    };
    let error = Cluster::open(&options).unwrap_err();
    assert!(
        matches!(&error, Error::Start { reason, .. } if reason.contains("shared_buffers")),
        "{error}"
    );
    Cluster::open(&dir.options()).unwrap();
}

#[test]
fn the_cluster_s_own_version_is_preferred_over_a_newer_one() {
    let dir = DataDir::new();
    let pgsql = dir.0.join("pgsql/bin");
    std::fs::create_dir_all(&pgsql).unwrap();
    for program in ["initdb", "pg_ctl", "postgres"] {
        let path = pgsql.join(program);
        std::fs::write(&path, "#!/bin/sh\necho 'postgres (PostgreSQL) 99.1'\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let found = |dir: &Path| Binaries::find(None, Some(dir)).unwrap().major();
    assert_eq!(found(&dir.0), 99, "the data directory's own programs come first");
    let stamp = dir.pgdata();
    std::fs::create_dir_all(&stamp).unwrap();
    std::fs::write(stamp.join("PG_VERSION"), format!("{}\n", binaries().major())).unwrap();
    assert_eq!(found(&dir.0), binaries().major());
    std::fs::write(stamp.join("PG_VERSION"), "98\n").unwrap();
    assert_eq!(
        found(&dir.0),
        99,
        "no match: the first found, whose refusal then names both versions"
    );
    std::fs::remove_dir_all(stamp).unwrap();
}
