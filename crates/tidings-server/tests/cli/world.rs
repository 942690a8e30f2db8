//! One installation: a folder, an environment, a database, and the built binary working on them.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidings_testkit::TestDatabase;

/// How long anything may take until the test gives up; nothing comes near it on an idle machine.
const LIMIT: Duration = Duration::from_secs(150);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The master key of these installations.
pub const MASTER_KEY: &str = "5f1d0c3a8e7b46925f1d0c3a8e7b46925f1d0c3a8e7b46925f1d0c3a8e7b4692";

/// A tenant whose messages go to the sandbox, in which nothing but urgency decides about time.
pub const SHOP: &str = r#"
[[tenants]]
slug = "shop"
name = "Corner Shop"

[tenants.policy]
zone = "Europe/Vienna"
default_region = "AT"

[tenants.settings]
postal_address = "Corner Shop, Hauptplatz 1, 4020 Linz"

[[tenants.connections]]
name = "mail"
provider = "sandbox"
channel = "email"
settings = { slow_ms = 1500 }
credentials = { webhook_secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }

[[tenants.connections]]
name = "text"
provider = "sandbox"
channel = "sms"

[[tenants.contacts]]
external_id = "4711"
name = "Kim"
email = "kim@example.com"
phone = "+14155550150"
"#;

/// The tenant `shop` as it is, with other connections than the sandbox's.
pub fn shop_over(connections: &str) -> String {
    let mut parts: Vec<&str> = SHOP.split("\n[[tenants.connections]]").collect();
    // The contact stands behind the last connection.
    let (_, contact) = parts.pop().unwrap().split_once("\n[[").unwrap();
    format!("{}{connections}\n[[{contact}", parts[0])
}

/// An installation. Dropping it removes its folder and its database.
pub struct World {
    pub folder: PathBuf,
    pub database: Option<TestDatabase>,
    environment: Vec<(String, String)>,
}

/// What a command did.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Done {
    /// Checks the exit code.
    #[track_caller]
    pub fn exit(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            self.out,
            self.err
        );
        self
    }

    /// Checks that it succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exit(0)
    }

    /// Checks that every part stands on standard error.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "no \"{part}\" in: {}", self.err);
        }
        self
    }

    /// Standard output as the one JSON value that `--json` promises.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.out.trim()).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

impl World {
    /// On a test database that is migrated and empty.
    pub async fn new() -> Self {
        let database = tidings_testkit::database().await;
        let environment = vec![
            ("DATABASE_URL".to_owned(), database.url.clone()),
            ("TIDINGS_MASTER_KEY".to_owned(), MASTER_KEY.to_owned()),
        ];
        Self {
            folder: folder(),
            database: Some(database),
            environment,
        }
    }

    /// On a private PostgreSQL of its own, which starts with the first command.
    pub fn private() -> Self {
        Self {
            folder: folder(),
            database: None,
            environment: Vec::new(),
        }
    }

    /// With a tenant `shop` on the sandbox.
    pub async fn shop() -> Self {
        let world = Self::new().await;
        world.apply(SHOP);
        world
    }

    /// Where the private PostgreSQL lives.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The database of this world.
    pub fn database(&self) -> &TestDatabase {
        self.database.as_ref().expect("a world on a test database")
    }

    /// A query's first column.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        self.database().texts(query).await
    }

    /// A query's only number.
    pub async fn count(&self, query: &str) -> i64 {
        self.texts(query).await[0].parse().unwrap()
    }

    /// Writes a file of the installation's folder.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Applies a file's text.
    pub fn apply(&self, text: &str) -> Done {
        let path = self.write("apply.toml", text);
        self.run(&["apply", path.to_str().unwrap()]).ok()
    }

    /// A key of the shop.
    pub fn key(&self, scopes: &[&str]) -> String {
        let scopes = scopes.join(",");
        let mut args = vec!["key", "create", "--tenant", "shop", "--json"];
        if !scopes.is_empty() {
            args.extend(["--scopes", &scopes]);
        }
        self.run(&args).ok().json()["secret"].as_str().unwrap().to_owned()
    }

    /// The binary on this installation. Nothing of the test's own environment decides.
    #[expect(
        clippy::disallowed_methods,
        reason = "programs are found by the PATH of the test"
    )]
    pub fn command(&self, environment: &[(&str, &str)], args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.env_clear().current_dir(&self.folder).args(args);
        for name in ["PATH", "HOME", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("TIDINGS_DATA_DIR", self.data_dir());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.envs(environment.iter().copied());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Done {
        self.run_with(&[], args, "")
    }

    /// Runs a command with more environment and something on standard input.
    pub fn run_with(&self, environment: &[(&str, &str)], args: &[&str], input: &str) -> Done {
        let mut command = self.command(environment, args);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let feed = std::thread::spawn(move || {
            // A command that does not read its input closes it.
            let _ = stdin.write_all(input.as_bytes());
        });
        let out = drink(child.stdout.take().unwrap());
        let err = drink(child.stderr.take().unwrap());
        let status = end(&mut child);
        feed.join().unwrap();
        Done {
            code: status.code(),
            out: out.join().unwrap(),
            err: err.join().unwrap(),
        }
    }

    /// Starts serving on a free port.
    pub fn serve(&self, environment: &[(&str, &str)]) -> Serving {
        self.serve_as(&["serve", "--listen", "127.0.0.1:0"], environment)
    }

    /// Starts serving with these arguments.
    pub fn serve_as(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Serving {
        let fast = [
            ("POLL_INTERVAL_MS", "100"),
            ("RUST_LOG", "info"),
            ("TIDINGS_LEASE_SECONDS", "3"),
        ];
        let all: Vec<(&str, &str)> = fast.iter().chain(environment).copied().collect();
        let mut child = self
            .command(&all, arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                shared.lock().unwrap().push(line);
            }
        });
        let mut serving = Serving {
            child,
            log,
            address: String::new(),
            client: client(),
        };
        serving.address = serving.wait_for_address();
        serving
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What is left in the temporary folder does no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A serving process. Dropping it ends it.
pub struct Serving {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    address: String,
    pub client: reqwest::Client,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    /// Checks the status and gives the body as JSON.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        if self.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&self.body).unwrap()
        }
    }

    /// Checks that it is a problem of this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let json = self.expect(status);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(json["code"], code, "{json}");
        json
    }
}

impl Serving {
    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it answers: `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    fn wait_for_address(&mut self) -> String {
        let started = Instant::now();
        while started.elapsed() < LIMIT {
            let lines = self.log.lock().unwrap().clone();
            let listening = lines
                .iter()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            for line in listening {
                if line["message"] == "listening" || line["message"] == "showing figures" {
                    return line["address"].as_str().unwrap().to_owned();
                }
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("serve ended with {status}: {}", self.log());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        panic!("serve does not listen: {}", self.log())
    }

    /// Any request: `body` as it is, with this key where one is given.
    pub async fn call(&self, method: &str, path: &str, key: &str, body: Option<String>) -> Answer {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.client.request(method.parse().unwrap(), url);
        if !key.is_empty() {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        answer(request).await
    }

    /// GET.
    pub async fn get(&self, path: &str, key: &str) -> Answer {
        self.call("GET", path, key, None).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.call("POST", path, key, Some(body.to_string())).await
    }

    /// Asks for something until it is so.
    pub async fn until(&self, path: &str, key: &str, what: impl Fn(&Answer) -> bool) -> Answer {
        let started = Instant::now();
        loop {
            let answer = self.get(path, key).await;
            if what(&answer) {
                return answer;
            }
            assert!(
                started.elapsed() < LIMIT,
                "{path} never became so: {}\n{}",
                answer.body,
                self.log()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// SIGTERM; how it ended and how long that took.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        signal("TERM", self.child.id());
        let status = end(&mut self.child);
        (status, started.elapsed())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Told to end, not killed, so that a private PostgreSQL ends with it.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            signal("TERM", self.child.id());
            end(&mut self.child);
        }
    }
}

/// Sends a request and reads the whole answer.
pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.text().await.unwrap(),
    }
}

/// Looks until a query gives this number.
pub async fn until(world: &World, query: &str, wanted: i64) {
    let started = Instant::now();
    loop {
        let seen = world.count(query).await;
        if seen == wanted {
            return;
        }
        assert!(
            started.elapsed() < LIMIT,
            "{query} stays at {seen} instead of {wanted}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks until something outside of the installation is so.
pub async fn until_so(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LIMIT, "never so: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether a process of this id lives.
pub fn lives(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

pub fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

#[expect(clippy::disallowed_methods, reason = "calls go to the process under test")]
fn client() -> reqwest::Client {
    let redirects = reqwest::redirect::Policy::none();
    reqwest::Client::builder()
        .timeout(Duration::from_mins(1))
        .redirect(redirects)
        .build()
        .unwrap()
}

fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("tidings-cli-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn drink(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

/// Waits until a process has ended; how it did.
pub fn end(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    child.kill().unwrap();
    panic!("the process did not end within {LIMIT:?}")
}
