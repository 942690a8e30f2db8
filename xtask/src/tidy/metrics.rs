//! Every figure is counted, says on `/metrics` what it means, and has its row in the docs; the shipped rules and dashboards
//! ask for no other.

use super::{File, Finding};
use std::collections::{BTreeMap, BTreeSet};

/// The macros that count, and with `describe_` before them those that say what is counted.
const MACROS: [&str; 3] = ["counter!(", "gauge!(", "histogram!("];
/// What stands before a macro that describes.
const DESCRIBES: &str = "describe_";
/// Beginnings of our figures' names.
const OURS: [&str; 2] = ["tidings_", "crm_"];
/// What the exporter adds to a histogram's name.
const SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];
/// Where rules and dashboards lie.
const SHIPPED: &str = "deploy/";
/// The page that has a row for each figure.
const PAGE: &str = "docs/metrics.md";

/// Counters are shown as 0 here, which counts nothing.
const PRIMED: &str = "/figures/prime.rs";

/// A name, and where it stands first.
type Named<'a> = BTreeMap<&'a str, (&'a File, usize)>;

/// Checks every shipped file and the page against every source file.
pub fn check_all(files: &[File]) -> Vec<Finding> {
    let (mut counted, mut described) = (Named::new(), Named::new());
    for file in files {
        if file.path.starts_with("crates/") && file.extension() == "rs" && !file.path.ends_with(PRIMED) {
            for (name, describes, line) in named(&file.text) {
                let names = if describes { &mut described } else { &mut counted };
                names.entry(name).or_insert((file, line));
            }
        }
    }
    let rows: Named<'_> = files
        .iter()
        .filter(|file| file.path == PAGE)
        .flat_map(|file| rows(&file.text).map(move |(name, line)| (name, (file, line))))
        .collect();
    let mut findings = Vec::new();
    let mut each = |names: &Named<'_>, known: &Named<'_>, what: &dyn Fn(&str) -> String| {
        for (name, (file, line)) in names.iter().filter(|(name, _)| !known.contains_key(*name)) {
            findings.push(Finding::new(file, *line, what(name)));
        }
    };
    each(&counted, &described, &|name| {
        format!("{name} does not say on /metrics what it means; describe it beside the others of its crate")
    });
    each(&described, &counted, &|name| {
        format!("{name} is described and nothing counts it")
    });
    each(&counted, &rows, &|name| format!("{name} has no row in {PAGE}"));
    each(&rows, &counted, &|name| {
        format!("{name} is a figure that nothing counts; remove its row")
    });
    let counted: BTreeSet<&str> = counted.into_keys().collect();
    let shipped = files
        .iter()
        .filter(|file| file.path.starts_with(SHIPPED) && matches!(file.extension(), "yml" | "json"));
    findings.extend(shipped.flat_map(|file| unknown(file, &counted)));
    findings
}

/// The names within the macros of a source file, whether the macro describes, and the line.
fn named(text: &str) -> Vec<(&str, bool, usize)> {
    let mut found = Vec::new();
    for macro_name in MACROS {
        for (at, _) in text.match_indices(macro_name) {
            let before = &text[..at];
            let literal = text[at + macro_name.len()..].trim_start().strip_prefix('"');
            if let Some(name) = literal.and_then(|rest| rest.split('"').next()) {
                let line = before.matches('\n').count() + 1;
                found.push((name, before.ends_with(DESCRIBES), line));
            }
        }
    }
    found
}

/// The figures that have a row of a table, and its line.
fn rows(text: &str) -> impl Iterator<Item = (&str, usize)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let name = line.strip_prefix("| `")?.split('`').next()?;
        Some((name, index + 1))
    })
}

fn unknown(file: &File, counted: &BTreeSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let names = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for name in names.filter(|name| OURS.iter().any(|ours| name.starts_with(ours))) {
            let base = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
            if !counted.contains(name) && !base.is_some_and(|base| counted.contains(base)) {
                let what = format!("{name} is a figure that nothing counts; see {PAGE}");
                findings.push(Finding::new(file, index + 1, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "metrics::counter!(\"tidings_a_total\").increment(1);\nmetrics::histogram!(\n  \"crm_b_seconds\", \"x\" => 1)";
    const DESCRIPTIONS: &str = "describe_counter!(\"tidings_a_total\", \"A\");\nmetrics::describe_histogram!(\n    \"crm_b_seconds\", Unit::Seconds, \"B\");";
    const ROWS: &str =
        "| figure | labels | |\n|---|---|---|\n| `tidings_a_total` | | a |\n| `crm_b_seconds` | `x` | b |";
    const RULES: &str = "expr: rate(tidings_a_total[5m])\nexpr: crm_b_seconds_bucket";

    fn found(source: &str, descriptions: &str, rows: &str, rules: &str) -> Vec<(String, String)> {
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let files = [
            file("crates/x/src/a.rs", source),
            file("crates/x/src/describe.rs", descriptions),
            file(PAGE, rows),
            file("deploy/prometheus/r.yml", rules),
        ];
        let mut found: Vec<(String, String)> = check_all(&files)
            .into_iter()
            .map(|finding| (format!("{}:{}", finding.path, finding.line), finding.what))
            .collect();
        found.sort();
        found
    }

    #[test]
    fn what_is_counted_described_and_listed_passes() {
        assert_eq!(found(SOURCE, DESCRIPTIONS, ROWS, RULES), []);
    }

    #[test]
    fn each_gap_is_found_where_it_is() {
        let without = |text: &str, gone: &str| -> String {
            text.lines()
                .filter(|line| !line.contains(gone))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let asked = format!("{RULES}\nexpr: tidings_c");
        for (case, place, says) in [
            (
                found(SOURCE, DESCRIPTIONS, ROWS, &asked),
                "deploy/prometheus/r.yml:3",
                "tidings_c is a figure that nothing counts",
            ),
            (
                found(SOURCE, DESCRIPTIONS, &without(ROWS, "crm_b"), RULES),
                "crates/x/src/a.rs:2",
                "crm_b_seconds has no row",
            ),
            (
                found(SOURCE, &without(DESCRIPTIONS, "tidings_a"), ROWS, RULES),
                "crates/x/src/a.rs:1",
                "tidings_a_total does not say",
            ),
            // A description is no count.
            (
                found(
                    &without(SOURCE, "tidings_a"),
                    DESCRIPTIONS,
                    &without(ROWS, "tidings_a"),
                    "expr: 1",
                ),
                "crates/x/src/describe.rs:1",
                "tidings_a_total is described and nothing counts it",
            ),
            (
                found(
                    SOURCE,
                    DESCRIPTIONS,
                    &format!("{ROWS}\n| `tidings_old` | | |"),
                    RULES,
                ),
                "docs/metrics.md:5",
                "tidings_old is a figure that nothing counts",
            ),
        ] {
            assert_eq!(case.len(), 1, "{case:?}");
            assert!(case[0].0 == place && case[0].1.starts_with(says), "{case:?}");
        }
    }
}
