//! Names, sizes and heads of files.

use super::{File, Finding};

/// Nobody reads further.
const LONGEST: usize = 600;

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[("Cargo.lock", "written by cargo")];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "helpers", "helper", "common", "misc"];

/// Checks one file on its own.
pub fn check(file: &File) -> Vec<Finding> {
    [length(file), name(file), head(file), migration(file)]
        .into_iter()
        .flatten()
        .collect()
}

/// Checks what only shows across files.
pub fn check_all(files: &[File]) -> Vec<Finding> {
    let mut findings = duplicate_migrations(files);
    findings.extend(changelog(files));
    findings
}

fn length(file: &File) -> Option<Finding> {
    let code = ["rs", "ts", "tsx", "py", "sql"].contains(&file.extension());
    let listed = LONG_FILES.iter().any(|(path, _)| *path == file.path);
    let lines = file.text.lines().count();
    (code && !listed && lines > LONGEST).then(|| {
        Finding::new(file, LONGEST + 1, format!("{lines} lines, at most {LONGEST}: split it by subject, or list it with its reason in LONG_FILES in xtask/src/tidy/layout.rs"))
    })
}

fn name(file: &File) -> Option<Finding> {
    let empty = file
        .path
        .split('/')
        .find(|part| EMPTY_NAMES.contains(&part.split('.').next().unwrap_or(part)))?;
    Some(Finding::new(
        file,
        0,
        format!("the name {empty:?} says nothing: name it after its subject"),
    ))
}

fn head(file: &File) -> Option<Finding> {
    let source = file.path.starts_with("crates/") && file.path.contains("/src/") && file.extension() == "rs";
    (source && !file.text.starts_with("//!")).then(|| {
        Finding::new(
            file,
            1,
            "start with a `//!` comment that says what the file is about",
        )
    })
}

fn migration(file: &File) -> Option<Finding> {
    let name = migration_name(&file.path)?;
    let (number, rest) = name.split_once('_').unwrap_or((name, ""));
    let subject = rest.strip_suffix(".sql").unwrap_or("");
    let plain =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    let good = number.len() == 4
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !subject.is_empty()
        && subject.chars().all(plain);
    (!good).then(|| Finding::new(file, 0, "migrations are named NNNN_name.sql, in lower case"))
}

fn migration_name(path: &str) -> Option<&str> {
    let (folder, name) = path.rsplit_once('/')?;
    (folder.ends_with("/migrations")
        && name
            .rsplit_once('.')
            .is_some_and(|(_, extension)| extension == "sql"))
    .then_some(name)
}

fn duplicate_migrations(files: &[File]) -> Vec<Finding> {
    let number = |path: &str| {
        migration_name(path)
            .and_then(|name| name.split_once('_'))
            .map(|(number, _)| number.to_owned())
    };
    let mut migrations: Vec<(String, &File)> = files
        .iter()
        .filter_map(|file| Some((number(&file.path)?, file)))
        .collect();
    migrations.sort_by(|a, b| (&a.0, &a.1.path).cmp(&(&b.0, &b.1.path)));
    let pairs = migrations.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    pairs
        .map(|pair| {
            Finding::new(
                pair[1].1,
                0,
                format!(
                    "has the same number as {}: take the next free one",
                    pair[0].1.path
                ),
            )
        })
        .collect()
}

fn changelog(files: &[File]) -> Option<Finding> {
    let missing = |path: &str, what: &str| Finding {
        path: path.into(),
        line: 0,
        what: what.into(),
    };
    match files.iter().find(|file| file.path == "CHANGELOG.md") {
        None => Some(missing("CHANGELOG.md", "missing")),
        Some(file) if !file.text.contains("## [Unreleased]") => Some(missing(
            "CHANGELOG.md",
            "has no `## [Unreleased]` section: new entries go there",
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.into(),
            text: text.into(),
        }
    }

    fn broken(path: &str, text: &str) -> bool {
        !check(&file(path, text)).is_empty()
    }

    #[test]
    fn files_are_not_too_long() {
        assert!(!broken("crates/a/src/b.rs", &"//!\n".repeat(LONGEST)));
        assert!(broken("crates/a/src/b.rs", &"//!\n".repeat(LONGEST + 1)));
        assert!(!broken("README.md", &"\n".repeat(LONGEST + 1)));
    }

    #[test]
    fn names_say_something() {
        assert!(broken("crates/a/src/utils.rs", "//!"));
        assert!(broken("crates/a/src/helpers/mod.rs", "//!"));
        assert!(!broken("crates/a/src/commonplace.rs", "//!"));
    }

    #[test]
    fn sources_start_with_what_they_are_about() {
        assert!(broken("crates/a/src/b.rs", "use std;\n"));
        assert!(!broken("crates/a/tests/b.rs", "use std;\n"));
    }

    #[test]
    fn migrations_are_numbered_once() {
        assert!(!broken("crates/a/migrations/0001_first_one.sql", ""));
        for name in ["1_a.sql", "0001.sql", "0001_.sql", "0001_A.sql", "0001-a.sql"] {
            assert!(broken(&format!("crates/a/migrations/{name}"), ""), "{name}");
        }
        let twice = [
            file("crates/a/migrations/0001_b.sql", ""),
            file("crates/a/migrations/0001_a.sql", ""),
        ];
        assert_eq!(duplicate_migrations(&twice).len(), 1);
    }

    #[test]
    fn the_changelog_has_a_place_for_new_entries() {
        assert!(changelog(&[]).is_some());
        assert!(changelog(&[file("CHANGELOG.md", "## [Unreleased]\n")]).is_none());
    }
}
