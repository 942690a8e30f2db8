//! `demo --once`: the main job on nothing but the binary and PostgreSQL's programs.

use crate::world::{World, lives};
use serde_json::Value;

#[tokio::test]
async fn the_demo_adds_up_and_leaves_nothing_behind() {
    let world = World::private();
    let temporary = world.folder.join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let listen = ["demo", "--once", "--listen", "127.0.0.1:0"];
    // A demo must not touch an installation, whatever the environment says.
    let environment = [
        ("TMPDIR", temporary.to_str().unwrap()),
        ("DATABASE_URL", "postgres://127.0.0.1:1/none"),
        ("RUST_LOG", "info"),
    ];
    let done = world.run_with(&environment, &listen, "").ok();
    let last = done.out.lines().last().unwrap();
    let summary: Value = serde_json::from_str(last).unwrap();
    // The line before tells of the dealership's days, and its sums match.
    let dealership: Value = serde_json::from_str(done.out.lines().rev().nth(1).unwrap()).unwrap();
    let dealership = &dealership["dealership"];
    let outcomes = dealership["outcomes"].as_object().unwrap().values();
    let sum: u64 = outcomes.map(|rows| rows.as_u64().unwrap()).sum();
    assert_eq!(dealership["due"].as_u64().unwrap(), sum, "{dealership}");
    assert!(
        dealership["messages"]["sent"].as_u64().unwrap() > 100,
        "{dealership}"
    );
    let names: Vec<&String> = summary.as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 6, "{last}");
    let figure = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(
        figure("accepted"),
        ["sent", "held", "suppressed", "failed", "unknown"]
            .map(figure)
            .iter()
            .sum::<u64>(),
        "{last}"
    );
    assert!(
        figure("sent") >= 9 && figure("held") >= 1 && figure("suppressed") >= 1,
        "{last}\n{}",
        done.out
    );
    assert_eq!((figure("failed"), figure("unknown")), (1, 1), "{}", done.out);
    for part in [
        "quiet",
        "consent",
        "three go as one",
        "never answers",
        "duplicate",
        "explain",
    ] {
        assert!(done.out.contains(part), "no \"{part}\" in {}", done.out);
    }
    let folder = done
        .out
        .lines()
        .find_map(|line| line.strip_prefix("starting a private PostgreSQL in "))
        .unwrap();
    assert!(!std::path::Path::new(folder).exists(), "{folder} is left");
    assert!(!anything_runs_in(folder), "a process still works in {folder}");
    assert!(!world.data_dir().exists());
}

/// Whether a process names the folder in its command line, as PostgreSQL does with its data.
fn anything_runs_in(folder: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = processes.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && lives(name))
        .any(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(folder)
        })
}
