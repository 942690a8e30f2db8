//! The browser that tests drive, where there is one.

use std::path::PathBuf;

/// A browser and the program that drives it.
#[derive(Clone, Debug)]
pub struct Browser {
    /// `chromedriver`.
    pub driver: PathBuf,
    /// Chromium or Chrome.
    pub program: PathBuf,
}

/// What Chromium is called where it is installed.
const PROGRAMS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
];

/// The browser on the search path; none where none is installed, which is said.
#[expect(
    clippy::disallowed_methods,
    reason = "tests look for programs on the search path"
)]
pub fn browser() -> Option<Browser> {
    let path = std::env::var_os("PATH")?;
    let find = |name: &str| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|candidate| candidate.is_file())
    };
    let found = find("chromedriver").zip(PROGRAMS.iter().find_map(|name| find(name)));
    if found.is_none() {
        eprintln!(
            "no chromium with chromedriver found, so no page is driven; `cargo xtask test` installs them for root"
        );
    }
    found.map(|(driver, program)| Browser { driver, program })
}
