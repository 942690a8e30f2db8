//! The ledger's file: a JSON object a line, written through to the disk before anybody is answered.
//!
//! One thread writes. What waits is written together, so that many callers share one flush.

use super::{Entry, LedgerError};
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};

/// What may wait to be written.
const MOST_WAITING: usize = 1_024;
/// What is written with one flush.
const MOST_AT_ONCE: usize = 256;

enum Work {
    Append(Vec<u8>),
    Clear,
}

type Job = (Work, oneshot::Sender<std::io::Result<()>>);

/// A ledger's file, and the thread that writes it. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
}

impl File {
    /// Opens or makes it, and reads its entries. A last line that was not finished was never answered: it goes.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Entry>), LedgerError> {
        let failed = |source| LedgerError::Io {
            path: path.display().to_string(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed)?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let mut entries: Vec<Entry> = Vec::new();
        for (at, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let entry = serde_json::from_slice(line).map_err(|_| LedgerError::Damaged {
                path: path.display().to_string(),
                line: at + 1,
            })?;
            entries.push(entry);
        }
        // Callers at once may have been written in another order than they were counted.
        entries.sort_by_key(|entry| entry.seq);
        file.set_len(whole as u64).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let (jobs, waiting) = mpsc::channel(MOST_WAITING);
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || work(file, waiting))
            .map_err(failed)?;
        let path = path.to_owned();
        Ok((Self { path, jobs }, entries))
    }

    /// Writes entries through.
    pub(super) async fn append(&self, entries: &[Entry]) -> Result<(), LedgerError> {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry).map_err(|error| self.failed(error.into()))?;
            lines.push(b'\n');
        }
        self.ask(Work::Append(lines)).await
    }

    /// Empties it.
    pub(super) async fn clear(&self) -> Result<(), LedgerError> {
        self.ask(Work::Clear).await
    }

    async fn ask(&self, work: Work) -> Result<(), LedgerError> {
        let (answer, done) = oneshot::channel();
        let sent = self.jobs.send((work, answer)).await;
        sent.map_err(|_| LedgerError::Closed)?;
        done.await
            .map_err(|_| LedgerError::Closed)?
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, source: std::io::Error) -> LedgerError {
        LedgerError::Io {
            path: self.path.display().to_string(),
            source,
        }
    }
}

/// Ends at the first failure: a file that is written in part must not be written on.
fn work(mut file: std::fs::File, mut waiting: mpsc::Receiver<Job>) {
    let mut jobs = Vec::new();
    while waiting.blocking_recv_many(&mut jobs, MOST_AT_ONCE) > 0 {
        let done = write(&mut file, &jobs);
        let failed = done.as_ref().err().map(std::io::Error::kind);
        for (_, answer) in jobs.drain(..) {
            // Whoever asked may have gone: the entry stands nevertheless.
            let _ = answer.send(failed.map_or(Ok(()), |kind| Err(kind.into())));
        }
        if failed.is_some() {
            return;
        }
    }
}

fn write(file: &mut std::fs::File, jobs: &[Job]) -> std::io::Result<()> {
    for (work, _) in jobs {
        match work {
            Work::Append(lines) => file.write_all(lines)?,
            Work::Clear => {
                file.set_len(0)?;
                file.seek(SeekFrom::Start(0))?;
            }
        }
    }
    file.sync_data()
}
