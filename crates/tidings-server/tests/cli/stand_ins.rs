//! `sandbox`: says where it listens, takes calls, keeps its ledger over a kill, ends on SIGTERM.

use crate::world::signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

struct Sandbox {
    child: Child,
    lines: BufReader<ChildStdout>,
    told: Value,
}

impl Sandbox {
    fn start(ledger: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args([
                "sandbox",
                "--listen",
                "127.0.0.1:0",
                "--smtp",
                "127.0.0.1:0",
                "--json",
                "--ledger",
            ])
            .arg(ledger)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let told = read(&mut lines);
        Self { child, lines, told }
    }

    fn accept(&self, reference: &str) {
        let body = json!({ "reference": reference, "message_id": "m1", "to": "bob@example.com", "channel": "email" }).to_string();
        let address = self.told["control"]
            .as_str()
            .unwrap()
            .strip_prefix("http://")
            .unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST /accept HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(lines: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
fn what_was_taken_outlives_a_kill_and_the_end_is_clean() {
    let ledger: PathBuf = std::env::temp_dir().join(format!("tidings-sandbox-{}.jsonl", std::process::id()));
    let first = Sandbox::start(&ledger);
    // PagerDuty's address is the address alone, Slack's the whole webhook.
    for vendor in ["sendgrid", "pagerduty"] {
        assert_eq!(first.told["settings"][vendor]["base_url"], first.told["control"]);
    }
    let control = first.told["control"].as_str().unwrap();
    let webhook = first.told["settings"]["slack"]["webhook_url"].as_str().unwrap();
    assert!(webhook.starts_with(&format!("{control}/services/T")), "{webhook}");
    first.accept("d1");
    first.accept("d2");
    // SIGKILL.
    drop(first);
    let mut second = Sandbox::start(&ledger);
    second.accept("d2");
    second.accept("d3");
    signal("TERM", second.child.id());
    let ended = &read(&mut second.lines)["ended"];
    assert!(second.child.wait().unwrap().success());
    assert_eq!(
        (&ended["accepted"], &ended["replayed"], &ended["duplicates"]),
        (&json!(3), &json!(1), &json!(0))
    );
    std::fs::remove_file(&ledger).unwrap();
}

#[test]
fn wrong_latencies_are_named() {
    for latency in ["fast", "200-50", "1-9999999"] {
        let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["sandbox", "--latency", latency])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{latency}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("such as 50-200"));
    }
}
