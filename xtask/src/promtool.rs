//! The shipped Prometheus rules and the expressions of the Grafana dashboard, checked by Prometheus' own tool.

use crate::{apt, shell};
use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Checks the rules, runs their unit tests, and parses every expression of the dashboard. Root always has the tool; where it
/// cannot be had this is said.
pub fn check(scratch: &Path) -> anyhow::Result<()> {
    let Some(promtool) = program() else {
        ensure!(
            !apt::available(),
            "promtool could not be installed, so deploy/prometheus and deploy/grafana were not checked; install the package prometheus"
        );
        eprintln!(
            "warning: no promtool found, so deploy/prometheus and deploy/grafana are not checked; install prometheus"
        );
        return Ok(());
    };
    let deploy = shell::root().join("deploy");
    let rules = deploy.join("prometheus");
    let run = |args: &[&str], dir: &Path| {
        shell::run(
            Command::new(&promtool)
                .args(args)
                .current_dir(dir)
                .stdout(std::io::stderr()),
        )
    };
    run(&["check", "config", "prometheus.yml"], &rules)?;
    run(&["check", "rules", "alerts.yml"], &rules)?;
    run(&["test", "rules", "alerts_test.yml"], &rules)?;
    let path = deploy.join("grafana/tidings.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let wrapped = as_rules(&text).with_context(|| path.display().to_string())?;
    let file = scratch.join("dashboard-rules.yml");
    std::fs::write(&file, wrapped).with_context(|| format!("cannot write {}", file.display()))?;
    run(&["check", "rules", "dashboard-rules.yml"], scratch)
}

/// Each expression of a dashboard as a recording rule; fails where the dashboard would not load.
fn as_rules(dashboard: &str) -> anyhow::Result<String> {
    let dashboard: Value = serde_json::from_str(dashboard).context("it is not JSON")?;
    for field in ["title", "uid"] {
        ensure!(dashboard[field].is_string(), "it has no {field}");
    }
    ensure!(
        dashboard["schemaVersion"]
            .as_u64()
            .is_some_and(|version| version >= 36),
        "its schemaVersion is missing or too old"
    );
    let panels = dashboard["panels"].as_array().context("it has no panels")?;
    let mut ids = std::collections::BTreeSet::new();
    let mut rules = String::from("groups:\n  - name: dashboard\n    rules:\n");
    for panel in panels {
        let title = panel["title"].as_str().context("a panel has no title")?;
        ensure!(
            ids.insert(panel["id"].as_u64()),
            "the id of \"{title}\" comes twice"
        );
        ensure!(
            ["x", "y", "w", "h"]
                .iter()
                .all(|side| panel["gridPos"][side].is_u64()),
            "\"{title}\" has no place"
        );
        let targets = panel["targets"].as_array().filter(|targets| !targets.is_empty());
        for target in targets.with_context(|| format!("\"{title}\" asks for nothing"))? {
            let Some(expression) = target["expr"].as_str().filter(|text| !text.is_empty()) else {
                bail!("a target of \"{title}\" has no expression");
            };
            // Names must differ, or the tool complains about that instead. JSON texts are YAML texts.
            let number = rules.lines().count();
            writeln!(
                rules,
                "      - {{ record: \"panel:n{number}\", expr: {} }}",
                Value::from(expression)
            )?;
        }
    }
    Ok(rules)
}

fn program() -> Option<PathBuf> {
    let find = || shell::on_path("promtool");
    if let Some(found) = find() {
        return Some(found);
    }
    if apt::available() {
        eprintln!("no promtool found, installing it");
        if let Err(error) = apt::install_prometheus() {
            eprintln!("warning: {error:#}");
        }
    }
    find()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_loads_and_a_broken_one_is_refused() {
        let path = shell::root().join("deploy/grafana/tidings.json");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        assert!(as_rules(&text).is_ok_and(|rules| rules.matches("record:").count() > 10));
        for (from, to) in [
            ("\"expr\"", "\"expression\""),
            ("\"gridPos\"", "\"place\""),
            ("\"schemaVersion\": 39", "\"schemaVersion\": 1"),
        ] {
            assert!(
                text.contains(from) && as_rules(&text.replace(from, to)).is_err(),
                "{to}"
            );
        }
    }
}
