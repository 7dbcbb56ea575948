//! Where a development cluster keeps its data.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::exit::StartError;

/// How many names are tried for a temporary directory.
const ATTEMPTS_MAX: u32 = 100;

/// The directory of a development cluster.
///
/// A temporary one is fresh for each run, readable by its owner only, and removed at a clean stop: whoever wants
/// to keep the data names a directory. After a crash or a failed stop it stays, to be looked at.
#[derive(Debug)]
pub enum DataDir {
    /// Named by the operator; never removed.
    Kept(PathBuf),
    /// Made for this run.
    Temporary(PathBuf),
}

impl DataDir {
    /// Makes a directory below the system's temporary directory.
    ///
    /// # Errors
    /// [`StartError::Io`] when it cannot be made.
    pub fn temporary() -> Result<Self, StartError> {
        let parent = std::env::temp_dir();
        let process = std::process::id();
        for attempt in 0..ATTEMPTS_MAX {
            let path = parent.join(format!("quorate-dev-{process}-{attempt}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self::Temporary(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(StartError::Io { action: "make a temporary directory", source }),
            }
        }
        let source = io::Error::from(io::ErrorKind::AlreadyExists);
        Err(StartError::Io { action: "make a temporary directory", source })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        match self {
            Self::Kept(path) | Self::Temporary(path) => path,
        }
    }

    /// Removes a temporary directory with all it holds; leaves a kept one alone.
    pub fn remove_temporary(self) {
        if let Self::Temporary(path) = self
            && let Err(error) = fs::remove_dir_all(&path)
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove the temporary directory");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_directory_is_fresh_and_removed_a_kept_one_stays() {
        let (first, second) = (DataDir::temporary().unwrap(), DataDir::temporary().unwrap());
        assert_ne!(first.path(), second.path());
        let path = first.path().to_path_buf();
        fs::write(path.join("file"), b"data").unwrap();
        first.remove_temporary();
        assert!(!path.exists());
        DataDir::Kept(second.path().to_path_buf()).remove_temporary();
        assert!(second.path().exists());
        second.remove_temporary();
    }
}
