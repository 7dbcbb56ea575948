//! A file system of our own in a file, mounted through a loop device, that can be shut down at once.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, io};

/// Which file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ext4,
    Xfs,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }
}

/// Mounted while it lives.
#[derive(Debug)]
pub(super) struct Volume {
    image: PathBuf,
    mount: PathBuf,
    is_mounted: bool,
}

/// Room for a node's data with some old versions of it.
const BYTES: u64 = 1 << 30;

impl Volume {
    pub(super) fn make(dir: &Path, kind: Kind) -> Result<Self, Error> {
        let (image, mount) = (dir.join("image"), dir.join("mount"));
        let file = std::fs::File::create(&image).map_err(io("cannot make the image"))?;
        file.set_len(BYTES).map_err(io("cannot size the image"))?;
        std::fs::create_dir_all(&mount).map_err(io("cannot make the mount point"))?;
        let (tool, args): (&str, &[&str]) = match kind {
            Kind::Ext4 => ("mkfs.ext4", &["-q", "-F"]),
            Kind::Xfs => ("mkfs.xfs", &["-q", "-f"]),
        };
        system(Command::new(tool).args(args).arg(&image))?;
        let mut volume = Self { image, mount, is_mounted: false };
        volume.mount()?;
        Ok(volume)
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> &Path {
        &self.mount
    }

    pub(super) fn mount(&mut self) -> Result<(), Error> {
        assert!(!self.is_mounted, "mounted once");
        system(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))?;
        self.is_mounted = true;
        Ok(())
    }

    /// From here on nothing reaches the device, and what was not synced is gone.
    pub(super) fn cut(&self) -> Result<(), Error> {
        system(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&self.mount))
    }

    pub(super) fn unmount(&mut self) -> Result<(), Error> {
        system(Command::new("umount").arg(&self.mount))?;
        self.is_mounted = false;
        Ok(())
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.is_mounted {
            drop(Command::new("umount").arg(&self.mount).status());
        }
        drop(std::fs::remove_file(&self.image));
    }
}

/// Runs a command of the system.
fn system(command: &mut Command) -> Result<(), Error> {
    let name = format!("{command:?}");
    let output = command.output().map_err(io(name.clone()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Command { command: name, status: output.status, said })
}
