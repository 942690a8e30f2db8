//! Every figure that the shipped rules and dashboards ask for is one that the code counts.

use super::{File, Finding};
use std::collections::BTreeSet;

/// The macros that count.
const MACROS: [&str; 3] = ["counter!(", "gauge!(", "histogram!("];
/// Beginnings of our figures' names.
const OURS: [&str; 2] = ["tidings_", "crm_"];
/// What the exporter adds to a histogram's name.
const SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];
/// Where rules and dashboards lie.
const SHIPPED: &str = "deploy/";

/// Checks every shipped file against every source file.
pub fn check_all(files: &[File]) -> Vec<Finding> {
    let counted: BTreeSet<&str> = files
        .iter()
        .filter(|file| file.path.starts_with("crates/") && file.extension() == "rs")
        .flat_map(|file| exported(&file.text))
        .collect();
    files
        .iter()
        .filter(|file| file.path.starts_with(SHIPPED) && matches!(file.extension(), "yml" | "json"))
        .flat_map(|file| unknown(file, &counted))
        .collect()
}

/// The names behind the macros.
fn exported(text: &str) -> Vec<&str> {
    MACROS
        .iter()
        .flat_map(|name| text.split(name).skip(1))
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .collect()
}

fn unknown(file: &File, counted: &BTreeSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let names = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for name in names.filter(|name| OURS.iter().any(|ours| name.starts_with(ours))) {
            let base = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
            if !counted.contains(name) && !base.is_some_and(|base| counted.contains(base)) {
                let what = format!(
                    "{name} is a figure that nothing counts; see crates/tidings-engine/src/figures.rs"
                );
                findings.push(Finding::new(file, index + 1, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_figure_that_nothing_counts_is_found() {
        let source = "metrics::counter!(\"tidings_a_total\").increment(1);\nmetrics::histogram!(\n  \"crm_b_seconds\", \"x\" => 1)";
        let rules = "expr: rate(tidings_a_total[5m])\nexpr: crm_b_seconds_bucket / tidings_c";
        let files = [
            file("crates/x/src/a.rs", source),
            file("deploy/prometheus/r.yml", rules),
        ];
        let found = check_all(&files);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].line, found[0].what.starts_with("tidings_c ")),
            (2, true)
        );
    }
}
