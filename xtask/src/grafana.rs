//! The shipped Grafana dashboard, checked against the types that Grafana's makers publish for it.

use crate::shell;
use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `@grafana/schema` 13.2.3 (Apache-2.0) and the compiler of TypeScript that reads it, pinned with their digests.
const PACKAGES: [(&str, &str); 2] = [
    ("package.json", include_str!("grafana/package.json")),
    ("package-lock.json", include_str!("grafana/package-lock.json")),
];

/// Changes with the packages, so that another version never takes the folder of this one.
const FOLDER: &str = "grafana-schema-13.2.3";

/// Written when everything is there: an interrupted attempt is made again from the beginning.
const MARK: &str = "complete";

/// What the dashboard may hold; it is put behind this.
const TYPES: &str = include_str!("grafana/dashboard.ts");

/// How the compiler is to read it. The declarations of the package itself are its makers' matter.
const OPTIONS: [&str; 9] = [
    "--noEmit",
    "--strict",
    "--skipLibCheck",
    "--module",
    "esnext",
    "--moduleResolution",
    "bundler",
    "--target",
    "es2022",
];

/// Checks the dashboard; where the types cannot be had this is said.
pub fn check() -> anyhow::Result<()> {
    let folder = match provide() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("warning: deploy/grafana is not checked against Grafana's types: {error:#}");
            return Ok(());
        }
    };
    let path = shell::root().join("deploy/grafana/tidings.json");
    let dashboard =
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    judge(&folder, &dashboard)
}

/// Whether Grafana's types allow the dashboard; the compiler says what they do not.
fn judge(folder: &Path, dashboard: &str) -> anyhow::Result<()> {
    let name = format!("dashboard-{}.ts", std::process::id());
    let file = folder.join(&name);
    std::fs::write(
        &file,
        format!("{TYPES}export const dashboard: Ours = {dashboard};\n"),
    )
    .with_context(|| format!("cannot write {}", file.display()))?;
    let output = Command::new("node")
        .arg("node_modules/typescript/bin/tsc")
        .args(OPTIONS)
        .arg(&name)
        .current_dir(folder)
        .output()
        .context("cannot run node");
    std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    let output = output?;
    ensure!(
        output.status.success(),
        "Grafana's types do not allow deploy/grafana/tidings.json (its first line is line {}):\n{}{}",
        TYPES.lines().count() + 1,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Ok(())
}

/// The folder with the packages, found in the cache or fetched.
fn provide() -> anyhow::Result<PathBuf> {
    let folder = shell::cache_dir().join(FOLDER);
    if folder.join(MARK).is_file() {
        return Ok(folder);
    }
    ensure!(
        shell::on_path("npm").is_some(),
        "no npm found; install Node.js with npm"
    );
    eprintln!("no types of Grafana found, fetching them");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, content) in PACKAGES {
        std::fs::write(folder.join(name), content).with_context(|| format!("cannot write {name}"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&folder);
    shell::run(npm.stdout(std::io::stderr())).context("the types of Grafana could not be fetched")?;
    std::fs::write(folder.join(MARK), FOLDER).context("cannot mark that the types are complete")?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dashboard_that_grafana_would_not_read_is_refused() {
        let Ok(folder) = provide() else {
            return;
        };
        let path = shell::root().join("deploy/grafana/tidings.json");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        assert!(judge(&folder, &text).is_ok());
        for (from, to) in [
            ("\"legendFormat\"", "\"legend\""),
            ("\"type\": \"stat\"", "\"type\": \"number\""),
            ("\"w\": 6", "\"w\": \"6\""),
            ("\"unit\": \"ops\"", "\"units\": \"ops\""),
            (
                "\"options\": {}",
                "\"options\": { \"legend\": { \"displayMode\": \"lines\" } }",
            ),
        ] {
            assert!(text.contains(from), "{from}");
            let refused = judge(&folder, &text.replacen(from, to, 1));
            assert!(
                refused.is_err_and(|error| error.to_string().contains("error TS")),
                "{to}"
            );
        }
    }
}
