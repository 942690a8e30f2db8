//! The browser that tests drive; they find it on the search path themselves.

use crate::{apt, shell};

/// Installs Chromium and its driver for root where they are missing. Where they cannot be had this is said: only the page of
/// WhatsApp Web is then not tested.
pub fn provide() {
    let there = || shell::on_path("chromedriver").is_some() && shell::on_path("chromium").is_some();
    if there() {
        return;
    }
    if apt::available() {
        eprintln!("no Chromium with chromedriver found, installing them");
        if let Err(error) = apt::install_chromium() {
            eprintln!("warning: {error:#}");
        }
    }
    if !there() {
        eprintln!(
            "warning: no Chromium with chromedriver found, so no page is driven; install chromium and chromium-driver"
        );
    }
}
