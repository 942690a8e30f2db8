//! `cargo xtask tidy`: the rules of the house that compilers do not know. Each finding names file, line and what to do.

use crate::shell;
use anyhow::Context as _;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod dependencies;
mod layout;
mod metrics;
mod text;

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 7] = [
    ".git",
    ".sqlx",
    "target",
    "node_modules",
    "dist",
    "data",
    "vendor",
];

/// More files than this means that the walk went astray.
const FILES_LIMIT: usize = 20_000;

/// A text file of the workspace, its path relative to the workspace and with forward slashes.
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    /// What follows the last point of the name.
    pub fn extension(&self) -> &str {
        self.path
            .rsplit('/')
            .next()
            .and_then(|name| name.rsplit_once('.'))
            .map_or("", |(_, extension)| extension)
    }
}

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    /// Counted from 1; 0 for the file as a whole.
    pub line: usize,
    pub what: String,
}

impl Finding {
    pub fn new(file: &File, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: file.path.clone(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.what),
            line => write!(formatter, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Prints every finding; fails when there is one.
pub fn run() -> anyhow::Result<ExitCode> {
    let files = read_files(&shell::root())?;
    let findings = check(&files);
    for finding in &findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() {
        eprintln!("tidy: {} files, nothing to complain about", files.len());
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("tidy: {} findings", findings.len());
    Ok(ExitCode::FAILURE)
}

fn check(files: &[File]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = files
        .iter()
        .flat_map(|file| {
            [dependencies::check(file), layout::check(file), text::check(file)].concat_findings()
        })
        .collect();
    findings.extend(layout::check_all(files));
    findings.extend(metrics::check_all(files));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    findings
}

/// Joins the answers of several rules.
trait ConcatFindings {
    fn concat_findings(self) -> Vec<Finding>;
}

impl<const N: usize> ConcatFindings for [Vec<Finding>; N] {
    fn concat_findings(self) -> Vec<Finding> {
        self.into_iter().flatten().collect()
    }
}

fn read_files(root: &Path) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                folders.push(entry.path());
            } else if kind.is_file() && is_checked(&entry.path()) {
                files.push(read(root, &entry.path())?);
            }
        }
        anyhow::ensure!(
            files.len() <= FILES_LIMIT,
            "more than {FILES_LIMIT} files: add a folder to SKIPPED in xtask/src/tidy.rs"
        );
    }
    Ok(files)
}

fn is_checked(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(
        extension,
        Some(
            "rs" | "toml"
                | "md"
                | "sql"
                | "sh"
                | "yml"
                | "yaml"
                | "ts"
                | "tsx"
                | "css"
                | "py"
                | "j2"
                | "mjml"
        )
    ) || path.ends_with(".ci/run")
        || (extension == Some("json") && path.components().any(|part| part.as_os_str() == "grafana"))
}

fn read(root: &Path, path: &PathBuf) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let relative = path
        .strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .replace('\\', "/");
    Ok(File { path: relative, text })
}
