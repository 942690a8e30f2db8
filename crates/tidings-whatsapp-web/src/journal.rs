//! A file of JSON lines that is only added to; each line is on the disk before its call returns.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A journal larger than this was not written by us.
const LARGEST: u64 = 256 * 1024 * 1024;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk said no.
    #[error("{path}: {problem}; mend the disk or choose another profile folder", path = path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: std::io::Error,
    },
    /// A line in the middle is not ours.
    #[error(
        "{path}: line {line} cannot be read; restore the file from a copy, or move it away and answer for every message \
         whose outcome it knew",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// It is larger than anything that is written here.
    #[error("{path}: larger than {LARGEST} bytes, so it is none of our files", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// The file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
}

impl Journal {
    /// Opens or makes the file, for its owner alone, and reads what is in it. A last line that breaks off was never
    /// acknowledged, and is cut off.
    pub fn open<T: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<T>), JournalError> {
        let disk = |problem| JournalError::Disk {
            path: path.to_owned(),
            problem,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(disk)?;
        if file.metadata().map_err(disk)?.len() > LARGEST {
            return Err(JournalError::TooLarge {
                path: path.to_owned(),
            });
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(disk)?;
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64)
                .and_then(|()| file.sync_all())
                .map_err(disk)?;
        }
        let mut records = Vec::new();
        for (index, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let record = serde_json::from_slice(line).map_err(|_| JournalError::Damaged {
                path: path.to_owned(),
                line: index + 1,
            })?;
            records.push(record);
        }
        let lines = records.len();
        let path = path.to_owned();
        let journal = Self { path, file, lines };
        journal.sync_folder()?;
        Ok((journal, records))
    }

    /// How many lines there are.
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// Adds a line, and returns when it is on the disk.
    pub fn append(&mut self, record: &impl Serialize) -> Result<(), JournalError> {
        let line = line(record).map_err(|problem| self.disk(problem))?;
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .map_err(|problem| self.disk(problem))?;
        self.lines += 1;
        Ok(())
    }

    /// Puts other lines in the place of all: the old file stands until the new one is whole.
    pub fn replace<T: Serialize>(&mut self, records: &[T]) -> Result<(), JournalError> {
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend(line(record).map_err(|problem| self.disk(problem))?);
        }
        let next = self.path.with_extension("next");
        let renewed = || -> std::io::Result<File> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&next)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&next, &self.path)?;
            OpenOptions::new().append(true).open(&self.path)
        };
        self.file = renewed().map_err(|problem| self.disk(problem))?;
        self.lines = records.len();
        self.sync_folder()
    }

    /// A file's name is on the disk when its folder is.
    fn sync_folder(&self) -> Result<(), JournalError> {
        let folder = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(|problem| self.disk(problem))
    }

    fn disk(&self, problem: std::io::Error) -> JournalError {
        JournalError::Disk {
            path: self.path.clone(),
            problem,
        }
    }
}

fn line(record: &impl Serialize) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}
