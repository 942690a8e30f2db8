//! Files that go with the test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The name of a file in the system's temporary folder that no other test has; what is there is removed with it.
#[derive(Debug)]
pub struct TemporaryFile(PathBuf);

impl TemporaryFile {
    /// A new name with this ending.
    pub fn new(extension: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidings-test-{}-{number}.{extension}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A folder in the system's temporary folder that no other test has; it is removed with everything in it.
#[derive(Debug)]
pub struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// Makes one; `purpose` is part of its name.
    ///
    /// # Panics
    /// When it cannot be made; a test cannot go on then.
    pub fn new(purpose: &str) -> Self {
        Self::below(&std::env::temp_dir(), purpose)
    }

    /// Makes one that accounts of servers can enter, which root's own temporary folder may not let them.
    ///
    /// # Panics
    /// When it cannot be made; a test cannot go on then.
    pub fn for_servers(purpose: &str) -> Self {
        let temporary = std::env::temp_dir();
        let open = tidings_postgres::reachable_by_server(&temporary).is_ok();
        Self::below(if open { &temporary } else { Path::new("/tmp") }, purpose)
    }

    fn below(parent: &Path, purpose: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidings-test-{purpose}-{}-{number}", std::process::id());
        let path = parent.join(name);
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
