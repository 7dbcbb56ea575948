//! What rot does to one file, and how it is named, so that a case can be tried again.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use quorate_storage::disk::{Disk, OpenMode};

/// The pieces of a device that go bad together.
pub const SECTORS: [u64; 2] = [512, 4_096];

/// One damage of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// One bit at an offset, chosen by the offset, is the other way round.
    Flip(u64),
    /// All bits of a byte are.
    Invert(u64),
    /// The file ends at an offset.
    Truncate(u64),
    /// Zeros from an offset on, for so many bytes: a sector that reads as none was ever written.
    Zero(u64, u64),
    /// Two pages that follow each other, the first at an offset, in each other's place: misdirected writes.
    Swap(u64),
    /// The file as it was earlier: writes that were lost.
    Older,
    /// No file of this name.
    Delete,
}

/// A name that is no damage's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no damage: flip@N, invert@N, truncate@N, zero512@N, zero4096@N, swap@N, older, delete")]
pub struct UnknownDamage(String);

impl Damage {
    /// Of which kind it is.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Flip(_) => "flip",
            Self::Invert(_) => "invert",
            Self::Truncate(_) => "truncate",
            Self::Zero(_, 512) => "zero512",
            Self::Zero(..) => "zero4096",
            Self::Swap(_) => "swap",
            Self::Older => "older",
            Self::Delete => "delete",
        }
    }

    /// The first byte that is not as it was, if it is in a place.
    pub const fn offset(self) -> Option<u64> {
        match self {
            Self::Flip(at) | Self::Invert(at) | Self::Truncate(at) | Self::Zero(at, _) | Self::Swap(at) => {
                Some(at)
            }
            Self::Older | Self::Delete => None,
        }
    }

    /// Does it to `path`. Whether anything is different now. `older` has the file as it was.
    ///
    /// # Errors
    /// The file is not there, or is shorter.
    pub fn apply(self, disk: &dyn Disk, path: &Path, older: &dyn Disk) -> io::Result<bool> {
        match self {
            Self::Flip(at) => invert(disk, path, at, 1 << (at % 8)),
            Self::Invert(at) => invert(disk, path, at, 0xff),
            Self::Truncate(at) => {
                let file = disk.open(path, OpenMode::Write)?;
                let is_shorter = at < file.len()?;
                file.set_len(at)?;
                Ok(is_shorter)
            }
            Self::Zero(at, count) => replace(disk, path, (at, count), |bytes| bytes.fill(0)),
            Self::Swap(at) => replace(disk, path, (at, 2 * SECTORS[1]), |bytes| {
                let (first, second) = bytes.split_at_mut(4_096.min(bytes.len()));
                if first.len() == second.len() {
                    first.swap_with_slice(second);
                }
            }),
            Self::Older => {
                let (before, now) = (read(disk, path)?, read(older, path)?);
                let file = disk.open(path, OpenMode::Write)?;
                file.set_len(now.len() as u64)?;
                file.write_all_at(&now, 0)?;
                Ok(now != before)
            }
            Self::Delete => {
                disk.remove_file(path)?;
                Ok(true)
            }
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset() {
            Some(at) => write!(f, "{}@{at}", self.kind()),
            None => f.write_str(self.kind()),
        }
    }
}

impl FromStr for Damage {
    type Err = UnknownDamage;

    fn from_str(text: &str) -> Result<Self, UnknownDamage> {
        let unknown = || UnknownDamage(text.to_owned());
        let Some((kind, at)) = text.split_once('@') else {
            return match text {
                "older" => Ok(Self::Older),
                "delete" => Ok(Self::Delete),
                _ => Err(unknown()),
            };
        };
        let at = at.parse().map_err(|_| unknown())?;
        match kind {
            "flip" => Ok(Self::Flip(at)),
            "invert" => Ok(Self::Invert(at)),
            "truncate" => Ok(Self::Truncate(at)),
            "zero512" => Ok(Self::Zero(at, 512)),
            "zero4096" => Ok(Self::Zero(at, 4_096)),
            "swap" => Ok(Self::Swap(at)),
            _ => Err(unknown()),
        }
    }
}

/// All bytes of a file.
///
/// # Errors
/// There is no such file.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).expect("small files")];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Changes the bits of `mask` in the byte at `at`.
fn invert(disk: &dyn Disk, path: &Path, at: u64, mask: u8) -> io::Result<bool> {
    let file = disk.open(path, OpenMode::Write)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ mask], at)?;
    Ok(true)
}

/// Has `change` work on `count` bytes from `at` on, fewer at the end of the file.
fn replace(
    disk: &dyn Disk,
    path: &Path,
    (at, count): (u64, u64),
    change: impl FnOnce(&mut [u8]),
) -> io::Result<bool> {
    let file = disk.open(path, OpenMode::Write)?;
    let count = file.len()?.checked_sub(at).ok_or(io::ErrorKind::UnexpectedEof)?.min(count);
    let mut before = vec![0; usize::try_from(count).expect("a sector or two")];
    file.read_exact_at(&mut before, at)?;
    let mut after = before.clone();
    change(&mut after);
    file.write_all_at(&after, at)?;
    Ok(after != before)
}

#[cfg(test)]
mod tests {
    use quorate_storage::disk::SimDisk;

    use super::*;

    #[test]
    fn a_damage_is_found_again_by_its_name() {
        let damages = [
            Damage::Flip(1),
            Damage::Invert(2),
            Damage::Truncate(3),
            Damage::Zero(512, 512),
            Damage::Zero(0, 4_096),
            Damage::Swap(4_096),
            Damage::Older,
            Damage::Delete,
        ];
        for damage in damages {
            assert_eq!(damage.to_string().parse(), Ok(damage));
        }
        assert!("flip".parse::<Damage>().is_err() && "flip@x".parse::<Damage>().is_err());
    }

    #[test]
    fn a_swap_exchanges_two_pages_and_nothing_else() {
        let (disk, path) = (SimDisk::new(), Path::new("/a"));
        let bytes: Vec<u8> = [1, 2, 3].into_iter().flat_map(|page| [page; 4_096]).collect();
        disk.open(path, OpenMode::Create).unwrap().write_all_at(&bytes, 0).unwrap();
        assert!(Damage::Swap(4_096).apply(&disk, path, &disk.fork()).unwrap());
        let pages: Vec<u8> = read(&disk, path).unwrap().chunks(4_096).map(|page| page[0]).collect();
        assert_eq!(pages, [1, 3, 2]);
    }
}
