//! The Postfix that tests send through; they find it where distributions put it and start their own.

use crate::apt;
use anyhow::ensure;
use std::path::Path;

/// Where distributions keep the program that runs the others.
const MASTERS: [&str; 3] = [
    "/usr/lib/postfix/sbin/master",
    "/usr/libexec/postfix/master",
    "/usr/lib/postfix/master",
];

/// What every mail server installs.
const SENDMAIL: &str = "/usr/sbin/sendmail";

/// Installs Postfix for root where it is missing. Root always has it, but where another mail server is installed: that one stays.
/// Where it cannot be had this is said.
pub fn provide() -> anyhow::Result<()> {
    let there = || MASTERS.iter().any(|path| Path::new(path).is_file());
    if there() {
        return Ok(());
    }
    let another = Path::new(SENDMAIL).exists();
    if apt::available() && !another {
        eprintln!("no Postfix found, installing it");
        if let Err(error) = apt::install_postfix() {
            eprintln!("warning: {error:#}");
        }
        ensure!(
            there(),
            "Postfix could not be installed, so nothing would be sent through it; install the package postfix"
        );
        return Ok(());
    }
    eprintln!(
        "warning: no Postfix found{}, so no mail is sent through it; install postfix to do so",
        if another {
            ", and another mail server is installed"
        } else {
            ""
        }
    );
    Ok(())
}
