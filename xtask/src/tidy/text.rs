//! Words that must not be in a file.

use super::{File, Finding};

/// A word, and what to do instead. Split here, so that this file does not find itself.
const BANNED: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it, or open an issue"),
    (concat!("FIX", "ME"), "finish it, or open an issue"),
    (concat!("to", "do!("), "finish it"),
    (
        concat!("#[", "ignore"),
        "a test that does not run proves nothing: make it run or remove it",
    ),
    (
        concat!("/wo", "rk/"),
        "this is a folder of one machine: use a relative or temporary path",
    ),
];

/// Crates that may read the environment, and single files with their reason.
const ENVIRONMENT_CRATES: [&str; 4] = [
    "crates/tidings-server/",
    "crates/tidings-testkit/",
    "xtask/",
    "crates/tidings-proof/",
];
const ENVIRONMENT_FILES: &[(&str, &str)] = &[(
    "crates/tidings-postgres/src/binaries.rs",
    "looks for programs on PATH",
)];

/// Checks one file.
pub fn check(file: &File) -> Vec<Finding> {
    let mut findings = banned(file);
    if file.extension() == "rs" && !may_read_environment(&file.path) {
        findings.extend(environment(file));
    }
    findings
}

fn banned(file: &File) -> Vec<Finding> {
    let lines = file.text.lines().enumerate();
    lines
        .flat_map(|(index, line)| {
            let found = BANNED.iter().filter(|(word, _)| has_word(line, word));
            found.map(move |(word, instead)| Finding::new(file, index + 1, format!("{word:?}: {instead}")))
        })
        .collect()
}

/// As a whole word where it begins or ends with a letter.
fn has_word(line: &str, word: &str) -> bool {
    let is_letter = |character: Option<char>| {
        character.is_some_and(|character| character.is_ascii_alphanumeric() || character == '_')
    };
    line.match_indices(word).any(|(at, _)| {
        let starts = !is_letter(word.chars().next()) || !is_letter(line[..at].chars().next_back());
        let ends = !is_letter(word.chars().next_back()) || !is_letter(line[at + word.len()..].chars().next());
        starts && ends
    })
}

/// Examples are programs of their own and take arguments.
fn may_read_environment(path: &str) -> bool {
    if path.contains("/examples/") {
        return true;
    }
    ENVIRONMENT_CRATES.iter().any(|krate| path.starts_with(krate))
        || ENVIRONMENT_FILES.iter().any(|(file, _)| *file == path)
}

/// `env!` is the compiler's and stays allowed.
fn environment(file: &File) -> Vec<Finding> {
    let lines = file.text.lines().enumerate().filter(|(_, line)| {
        !line.trim_start().starts_with("//") && (line.contains("std::env::") || line.contains("use std::env"))
    });
    lines
        .map(|(index, _)| {
            Finding::new(
                file,
                index + 1,
                "only the server reads the environment: take the value as an argument",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&File {
            path: path.into(),
            text: text.into(),
        })
        .into_iter()
        .map(|finding| finding.line)
        .collect()
    }

    #[test]
    fn unfinished_work_is_found_with_its_line() {
        let text = format!("fine\n// {}: later\n{}NTS are fine\n", BANNED[0].0, BANNED[0].0);
        assert_eq!(lines("docs/a.md", &text), [2]);
    }

    #[test]
    fn folders_of_one_machine_are_found() {
        assert_eq!(
            lines("docs/a.md", &format!("see {}x\nframework/x\n", BANNED[4].0)),
            [1]
        );
    }

    #[test]
    fn only_the_server_reads_the_environment() {
        let text =
            "fn f() { std::env::var(\"A\") }\nconst B: &str = env!(\"C\");\n// std::env::var is banned\n";
        assert_eq!(lines("crates/tidings-engine/src/a.rs", text), [1]);
        assert_eq!(lines("crates/tidings-server/src/a.rs", text), [0; 0]);
    }
}
