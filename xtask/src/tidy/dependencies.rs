//! Which crate may use what: the architecture, read from the manifests.

use super::{File, Finding};

/// The crates of ours that a crate may use. `tidings-testkit` is allowed to all as a development dependency.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("tidings-core", &[]),
    ("tidings-postgres", &[]),
    ("tidings-mail", &[]),
    ("tidings-render", &["tidings-core"]),
    ("tidings-providers", &["tidings-core"]),
    ("tidings-ai", &["tidings-core"]),
    ("tidings-source", &["tidings-core"]),
    ("tidings-queue", &["tidings-core"]),
    ("tidings-store", &["tidings-core", "tidings-queue"]),
    (
        "tidings-engine",
        &[
            "tidings-core",
            "tidings-queue",
            "tidings-render",
            "tidings-store",
            "tidings-providers",
            "tidings-ai",
            "tidings-source",
        ],
    ),
    ("tidings-api", &["tidings-core", "tidings-engine"]),
    (
        "tidings-server",
        &[
            "tidings-core",
            "tidings-mail",
            "tidings-postgres",
            "tidings-queue",
            "tidings-render",
            "tidings-store",
            "tidings-providers",
            "tidings-ai",
            "tidings-source",
            "tidings-engine",
            "tidings-api",
            "tidings-stand-in",
            "tidings-whatsapp-web",
        ],
    ),
    (
        "tidings-proof",
        &[
            "tidings-core",
            "tidings-postgres",
            "tidings-queue",
            "tidings-store",
            "tidings-providers",
            "tidings-engine",
            "tidings-ai",
            "tidings-api",
            "tidings-stand-in",
        ],
    ),
    ("tidings-stand-in", &["tidings-core", "tidings-providers"]),
    ("tidings-whatsapp-web", &["tidings-core", "tidings-providers"]),
    ("tidings-testkit", &["tidings-core", "tidings-postgres"]),
    ("xtask", &["tidings-postgres"]),
];

/// Libraries that only some crates may use, and why.
const CONFINED: &[(&[&str], &[&str], &str)] = &[
    (
        &["sqlx", "jiff-sqlx"],
        &[
            "tidings-store",
            "tidings-queue",
            "tidings-source",
            "tidings-testkit",
            "tidings-proof",
        ],
        "SQL lives in store, queue and source",
    ),
    // The command line of the server talks to a running server over HTTP.
    (
        &["reqwest"],
        &["tidings-providers", "tidings-server", "tidings-proof"],
        "all HTTP leaves through the egress client of providers",
    ),
    (
        &["lettre"],
        &["tidings-providers"],
        "mail leaves through providers",
    ),
    (
        &["axum", "utoipa", "utoipa-axum"],
        &[
            "tidings-api",
            "tidings-whatsapp-web",
            "tidings-server",
            "tidings-testkit",
            "tidings-proof",
        ],
        "HTTP comes in through api, and through the companion's own door",
    ),
    (
        &["tokio"],
        &[
            "tidings-queue",
            "tidings-store",
            "tidings-source",
            "tidings-providers",
            "tidings-ai",
            "tidings-mail",
            "tidings-engine",
            "tidings-api",
            "tidings-server",
            "tidings-stand-in",
            "tidings-whatsapp-web",
            "tidings-testkit",
            "tidings-proof",
        ],
        "core and render are pure, postgres and xtask are plain threads",
    ),
];

/// Checks one manifest of a crate.
pub fn check(file: &File) -> Vec<Finding> {
    let Some(krate) = crate_of_manifest(&file.path) else {
        return Vec::new();
    };
    let Some((_, allowed)) = DIRECTIONS.iter().find(|(name, _)| *name == krate) else {
        return vec![Finding::new(
            file,
            0,
            "unknown crate: add it with what it may use to DIRECTIONS in xtask/src/tidy/dependencies.rs",
        )];
    };
    dependencies(&file.text)
        .filter_map(|(line, section, name)| {
            refusal(krate, allowed, section, name).map(|why| Finding::new(file, line, why))
        })
        .collect()
}

fn crate_of_manifest(path: &str) -> Option<&str> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    let name = folder.strip_prefix("crates/").unwrap_or(folder);
    (!name.contains('/')).then_some(name)
}

fn refusal(krate: &str, allowed: &[&str], section: Section, name: &str) -> Option<String> {
    if name == "tidings-testkit" {
        return (section != Section::Development)
            .then(|| "the test kit is for [dev-dependencies] only".to_owned());
    }
    // Any crate may be tested against the stand-ins, and what reads mail against what takes it.
    let tested_with = name == "tidings-stand-in" || (krate, name) == ("tidings-providers", "tidings-mail");
    if tested_with && section == Section::Development {
        return None;
    }
    if name.starts_with("tidings-") && !allowed.contains(&name) {
        return Some(format!(
            "{krate} may not use {name}: see the shape of the workspace in ARCHITECTURE.md"
        ));
    }
    let (_, users, why) = CONFINED.iter().find(|(names, _, _)| names.contains(&name))?;
    let pure_test = section == Section::Development && name == "tokio";
    (!users.contains(&krate) && !pure_test).then(|| format!("{krate} may not use {name}: {why}"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Product,
    Development,
    Other,
}

/// Line, section and name of each dependency.
fn dependencies(manifest: &str) -> impl Iterator<Item = (usize, Section, &str)> {
    let mut section = Section::Other;
    manifest.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            section = match header.trim_end_matches(']') {
                "dependencies" | "build-dependencies" => Section::Product,
                "dev-dependencies" => Section::Development,
                _ => Section::Other,
            };
            return None;
        }
        let name = line
            .split(['.', '=', ' '])
            .next()
            .filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        (section != Section::Other).then_some((index + 1, section, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(krate: &str, dependencies: &str) -> Vec<usize> {
        let file = File {
            path: format!("crates/{krate}/Cargo.toml"),
            text: format!("[package]\nname = \"x\"\n{dependencies}"),
        };
        check(&file).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_dependency_against_the_direction_is_found_with_its_line() {
        assert_eq!(
            findings(
                "tidings-core",
                "[dependencies]\nserde.workspace = true\ntidings-store.workspace = true\n"
            ),
            [5]
        );
        assert_eq!(
            findings(
                "tidings-render",
                "[dependencies]\ntidings-core.workspace = true\n"
            ),
            [0; 0]
        );
    }

    #[test]
    fn confined_libraries_are_found_outside_their_crates() {
        assert_eq!(
            findings(
                "tidings-engine",
                "[dependencies]\nsqlx.workspace = true\nreqwest = \"1\"\n"
            ),
            [4, 5]
        );
        assert_eq!(
            findings("tidings-store", "[dependencies]\nsqlx.workspace = true\n"),
            [0; 0]
        );
    }

    #[test]
    fn the_test_kit_is_for_development_only() {
        assert_eq!(
            findings(
                "tidings-store",
                "[dependencies]\ntidings-testkit.workspace = true\n"
            ),
            [4]
        );
        assert_eq!(
            findings(
                "tidings-store",
                "[dev-dependencies]\ntidings-testkit.workspace = true\n"
            ),
            [0; 0]
        );
    }

    #[test]
    fn every_crate_may_be_tested_against_the_stand_ins() {
        let line = "tidings-stand-in.workspace = true\n";
        assert_eq!(
            findings("tidings-api", &format!("[dev-dependencies]\n{line}")),
            [0; 0]
        );
        assert_eq!(findings("tidings-api", &format!("[dependencies]\n{line}")), [4]);
    }

    #[test]
    fn mail_is_read_and_taken_together_in_tests_only() {
        let line = "tidings-mail.workspace = true\n";
        let development = format!("[dev-dependencies]\n{line}");
        assert_eq!(findings("tidings-providers", &development), [0; 0]);
        assert_eq!(
            findings("tidings-providers", &format!("[dependencies]\n{line}")),
            [4]
        );
        assert_eq!(findings("tidings-ai", &development), [4]);
    }

    #[test]
    fn a_new_crate_must_be_placed() {
        assert_eq!(findings("tidings-more", "[dependencies]\n"), [0]);
    }
}
