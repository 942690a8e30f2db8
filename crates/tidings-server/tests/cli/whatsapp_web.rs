//! `whatsapp-web`: starts for whoever accepts the risk, says where it listens, keeps its secrets to itself, ends on SIGTERM.
//! What it does in a browser is tested with its crate, and with Tidings in `companion`.

use crate::world::{SHOP, World, end, signal};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tidings_testkit::TemporaryFolder;

fn tidings(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.current_dir(folder).arg("whatsapp-web");
    command
}

fn serve(folder: &Path) -> Command {
    let mut command = tidings(folder);
    // No browser is needed for what is looked at here: nobody listens there.
    command.args([
        "serve",
        "--profile",
        "account",
        "--listen",
        "127.0.0.1:0",
        "--json",
    ]);
    command.args(["--driver-url", "http://127.0.0.1:9"]);
    command
}

/// A companion that says where it listens, and goes with the test.
pub struct Running {
    child: Child,
    pub url: String,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let mut command = serve(folder);
        command.arg("--i-accept-the-risk");
        Self::of(command)
    }

    /// Runs a command that starts one and speaks JSON.
    pub fn of(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let url = told["url"].as_str().unwrap().to_owned();
        Self { child, url }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Told to end, not killed, so that its browser ends with it.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            signal("TERM", self.child.id());
            end(&mut self.child);
        }
    }
}

#[track_caller]
fn refused(output: &Output, code: i32, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(
        parts.iter().all(|part| said.contains(part)),
        "not all of {parts:?} in {said}"
    );
}

#[test]
fn the_companion_does_not_start_unless_the_risk_is_accepted() {
    let folder = TemporaryFolder::new("companion");
    let output = serve(folder.path()).output().unwrap();
    refused(
        &output,
        3,
        &["terms of service", "ban the number", "--i-accept-the-risk"],
    );
    assert!(!folder.path().join("account").exists());
}

#[test]
fn it_makes_its_token_says_where_it_listens_and_ends_when_told() {
    let folder = TemporaryFolder::new("companion");
    let mut running = Running::start(folder.path());
    let token = folder.path().join("account/token");
    assert_eq!(std::fs::metadata(&token).unwrap().mode() & 0o777, 0o600);
    assert_eq!(
        std::fs::metadata(token.parent().unwrap()).unwrap().mode() & 0o777,
        0o700
    );

    let url = running.url.clone();
    let pair = |token: &Path| {
        let mut command = tidings(folder.path());
        command
            .args(["pair", "--within", "1", "--url", &url, "--token-file"])
            .arg(token);
        command.output().unwrap()
    };
    // There is no browser, so there is nothing to scan, and it says why.
    refused(
        &pair(&token),
        1,
        &["not paired within 1 s", "starting", "driver was not reached"],
    );
    let other = folder.path().join("other");
    std::fs::write(&other, "0123456789abcdef").unwrap();
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused(&pair(&other), 3, &["chmod 600"]);
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o600)).unwrap();
    refused(&pair(&other), 3, &["does not know this token"]);
    // A second one on the folder would write for the same account.
    let second = serve(folder.path()).arg("--i-accept-the-risk").output().unwrap();
    refused(&second, 1, &["another companion runs on this folder"]);

    signal("TERM", running.child.id());
    assert!(running.child.wait().unwrap().success());
}

#[test]
fn half_a_webhook_is_wrong_use() {
    let folder = TemporaryFolder::new("companion");
    let output = serve(folder.path())
        .args([
            "--i-accept-the-risk",
            "--webhook-url",
            "http://127.0.0.1:8420/webhooks/whatsapp_web/1",
        ])
        .output()
        .unwrap();
    refused(&output, 2, &["--webhook-secret-file"]);
}

#[tokio::test]
async fn a_tenant_is_served_by_the_channel_only_when_its_policy_says_so() {
    let world = World::new().await;
    let folder = TemporaryFolder::new("companion");
    let running = Running::start(folder.path());
    let token = std::fs::read_to_string(folder.path().join("account/token")).unwrap();
    let connection = format!(
        "\n[[tenants.connections]]\nname = \"web\"\nprovider = \"whatsapp_web\"\nchannel = \"whatsapp_web\"\n\
         settings = {{ base_url = \"{}\" }}\ncredentials = {{ token = \"{token}\" }}\n",
        running.url
    );
    let off = format!("{SHOP}{connection}");
    world.apply(&off);
    let test = |environment: &[(&str, &str)]| {
        world
            .command(environment, &["connection", "test", "web", "--json"])
            .output()
            .unwrap()
    };
    // Tidings calls its own machine where it is allowed to, and hears that there is no session yet.
    for (environment, found) in [
        (&[][..], "not allowed"),
        (
            &[("TIDINGS_ALLOW_LOOPBACK", "true")][..],
            "its session is starting",
        ),
    ] {
        let output = test(environment);
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(found),
            "no \"{found}\" in {said}"
        );
    }
    let told = || {
        let context =
            r#"{"client_name": "Kim", "event_type": "wedding", "event_date": "2027-06-12", "plan_id": "1"}"#;
        let sent = world.run(&[
            "send",
            "--type",
            "welcome",
            "--contact",
            "4711",
            "--context",
            context,
            "--urgency",
            "critical",
            "--channel",
            "whatsapp_web",
            "--json",
        ]);
        let id = sent.ok().json()["message_id"].as_str().unwrap().to_owned();
        world.run(&["explain", &id, "--json"]).ok().json().to_string()
    };
    let refused = told();
    assert!(refused.contains("channel_policy.whatsapp_web_off"), "{refused}");
    world.apply(&off.replace("default_region", "whatsapp_web_enabled = true\ndefault_region"));
    let taken = told();
    assert!(!taken.contains("channel_policy.whatsapp_web_off"), "{taken}");
    assert!(taken.contains(r#""channel":"whatsapp_web""#), "{taken}");
}
