//! Where a test's mails go: the stand-in of the providers' own tests, or a server that somebody else wrote.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tidings_providers::stand_in::smtp::{Script, SmtpStandIn};

/// Python's own SMTP server, each mail kept as a file. A file is whole once it has its last name.
const SERVER: &str = r#"
import asyncore, os, smtpd, sys

class Keeper(smtpd.SMTPServer):
    kept = 0

    def process_message(self, peer, mailfrom, rcpttos, data, **kwargs):
        Keeper.kept += 1
        name = os.path.join(sys.argv[1], "%06d" % Keeper.kept)
        with open(name + ".part", "wb") as file:
            file.write(data)
        os.rename(name + ".part", name + ".eml")

keeper = Keeper(("127.0.0.1", 0), None)
print(keeper.socket.getsockname()[1], flush=True)
asyncore.loop()
"#;

/// A running SMTP server.
pub enum Mailbox {
    StandIn(SmtpStandIn),
    Program {
        child: Child,
        folder: PathBuf,
        port: u16,
    },
}

impl Mailbox {
    /// The stand-in, which takes everything.
    pub fn stand_in() -> Self {
        Self::StandIn(SmtpStandIn::start(Script::default()))
    }

    /// A server in a process of its own, which keeps mails in the folder; none where Python has none (3.12 and newer).
    pub fn program(folder: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&folder).unwrap();
        let spawned = Command::new("python3")
            .args(["-W", "ignore", "-c", SERVER])
            .arg(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = spawned else {
            eprintln!("there is no python3, so no foreign SMTP server; the stand-in takes the mails");
            return None;
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let Ok(port) = line.trim().parse() else {
            child.wait().unwrap();
            eprintln!(
                "this python3 has no module smtpd, so no foreign SMTP server; the stand-in takes the mails"
            );
            return None;
        };
        Some(Self::Program { child, folder, port })
    }

    pub fn port(&self) -> u16 {
        match self {
            Self::StandIn(server) => server.port(),
            Self::Program { port, .. } => *port,
        }
    }

    /// What has arrived so far.
    pub fn mails(&self) -> Vec<Vec<u8>> {
        match self {
            Self::StandIn(server) => server
                .mails()
                .into_iter()
                .map(|mail| mail.data.into_bytes())
                .collect(),
            Self::Program { folder, .. } => {
                let entries = std::fs::read_dir(folder)
                    .unwrap()
                    .map(|entry| entry.unwrap().path());
                let whole = entries.filter(|path| path.extension().is_some_and(|name| name == "eml"));
                whole.map(|path| std::fs::read(path).unwrap()).collect()
            }
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        if let Self::Program { child, .. } = self {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
