//! What rot does to one file, and how it is named, so that a case can be tried again.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use quorate_storage::disk::{Disk, OpenMode, SimDisk};

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
    pub fn apply(self, disk: &SimDisk, path: &Path, older: &SimDisk) -> io::Result<bool> {
        let before = read(disk, path)?;
        match self {
            Self::Flip(at) => disk.flip(path, at, 1 << (at % 8))?,
            Self::Invert(at) => disk.flip(path, at, 0xff)?,
            Self::Truncate(at) => disk.truncate(path, at)?,
            Self::Zero(at, count) => {
                let mut bytes = before.clone();
                range(&mut bytes, at, count)?.fill(0);
                write(disk, path, &bytes)?;
            }
            Self::Swap(at) => {
                let mut bytes = before.clone();
                let (first, second) = range(&mut bytes, at, 2 * SECTORS[1])?.split_at_mut(4_096);
                first.swap_with_slice(second);
                write(disk, path, &bytes)?;
            }
            Self::Older => write(disk, path, &read(older, path)?)?,
            Self::Delete => {
                disk.remove_file(path)?;
                return Ok(true);
            }
        }
        Ok(read(disk, path)? != before)
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
pub fn read(disk: &SimDisk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).expect("small files")];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn write(disk: &SimDisk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(path, OpenMode::Write)?;
    file.set_len(bytes.len() as u64)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()
}

/// `count` bytes from `at` on, fewer at the end of the file.
fn range(bytes: &mut [u8], at: u64, count: u64) -> io::Result<&mut [u8]> {
    let at = usize::try_from(at).expect("small files");
    let end = at.saturating_add(usize::try_from(count).expect("a sector or two")).min(bytes.len());
    bytes.get_mut(at..end).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
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
