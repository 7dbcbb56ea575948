//! A file system of a node's own: small, and not for ever.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};

use super::sandbox::tool;

/// What a node gets: more than it takes while all is well.
const BYTES: u64 = 1 << 30;
const INODES: u64 = 8_192;
/// The least piece of room that is taken.
const PIECE_BYTES: u64 = 4 << 10;
/// For a file system whose node was killed to be let go.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// An ext4 file system in a file.
#[derive(Debug)]
pub(super) struct SmallDisk {
    image: PathBuf,
    mount: PathBuf,
}

impl SmallDisk {
    /// Makes one and mounts it at `mount`.
    pub(super) fn make(mount: &Path) -> io::Result<Self> {
        let image = mount.with_extension("image");
        File::create(&image)?.set_len(BYTES)?;
        fs::create_dir_all(mount)?;
        let this = Self { image, mount: mount.to_path_buf() };
        let inodes = INODES.to_string();
        tool("mkfs.ext4", ["-q", "-F", "-m", "0", "-N", &inodes, path(&this.image)?])?;
        this.mount()?;
        Ok(this)
    }

    /// Takes all room that is left for the time of `wait`, also what is given back meanwhile. How often there was none.
    pub(super) fn fill(&self, wait: Duration) -> io::Result<u64> {
        let ballast = self.mount.join("ballast");
        let file = File::create(&ballast)?;
        let (began, mut size, mut refused) = (Instant::now(), 0, 0);
        while began.elapsed() < wait {
            let mut piece = BYTES;
            while piece >= PIECE_BYTES {
                match fallocate(&file, FallocateFlags::empty(), size, piece) {
                    Ok(()) => size += piece,
                    Err(rustix::io::Errno::NOSPC) => piece /= 2,
                    Err(error) => return Err(error.into()),
                }
            }
            refused += 1;
            sleep(Duration::from_millis(20));
        }
        drop(file);
        fs::remove_file(&ballast)?;
        Ok(refused)
    }

    /// Takes all files that there may be for the time of `wait`. How many that were.
    pub(super) fn fill_inodes(&self, wait: Duration) -> io::Result<u64> {
        let dir = self.mount.join("ballast");
        fs::create_dir(&dir)?;
        let began = Instant::now();
        let mut count = 0;
        while began.elapsed() < wait {
            match File::create(dir.join(count.to_string())) {
                Ok(_) => count += 1,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => sleep(Duration::from_millis(20)),
                Err(error) => return Err(error),
            }
        }
        fs::remove_dir_all(&dir)?;
        Ok(count)
    }

    /// Stops the file system at once: whatever was not synced is lost, every further call fails.
    pub(super) fn shut_down(&self) -> io::Result<()> {
        tool("xfs_io", ["-x", "-c", "shutdown", path(&self.mount)?]).map(drop)
    }

    /// Mounts it again after that. Nobody may have a file of it open any more.
    pub(super) fn mount_again(&self) -> io::Result<()> {
        let began = Instant::now();
        while let Err(error) = tool("umount", [path(&self.mount)?]) {
            if began.elapsed() > BUSY_MAX {
                return Err(error);
            }
            sleep(Duration::from_millis(20));
        }
        self.mount()
    }

    fn mount(&self) -> io::Result<()> {
        tool("mount", ["-o", "loop", path(&self.image)?, path(&self.mount)?]).map(drop)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It ends with the run's mounts at the latest.
        drop(tool("umount", ["-l".as_ref(), self.mount.as_os_str()]));
    }
}

/// Whether that works here.
pub(super) fn probe(scratch: &Path) -> io::Result<()> {
    let disk = SmallDisk::make(&scratch.join("probe"))?;
    disk.shut_down()?;
    disk.mount_again()?;
    fs::remove_file(&disk.image)
}

fn path(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other("a directory of a run has a plain name"))
}
