//! Which keys belong to the one large group, and which to the others. Groups share the space of the first two bytes
//! evenly; the large one is the first.

use bytes::Bytes;

/// First two bytes of a key, as a number, of which there are so many.
const PREFIXES: u64 = 1 << 16;

/// Key `number` of the large group, if there are `groups` in all. Ascending in `number`.
pub(super) fn large_key(number: u64) -> Bytes {
    let mut key = [0; 10];
    key[2..].copy_from_slice(&number.to_be_bytes());
    Bytes::copy_from_slice(&key)
}

/// A key of any of the groups but the large one, as `random` says.
pub(super) fn small_key(random: u64, groups: u16) -> Bytes {
    let first = PREFIXES.div_ceil(u64::from(groups));
    let prefix = first + random % (PREFIXES - first);
    let mut key = [0; 10];
    key[..2].copy_from_slice(&u16::try_from(prefix).unwrap_or(u16::MAX).to_be_bytes());
    key[2..].copy_from_slice(&(random >> 16).to_be_bytes());
    Bytes::copy_from_slice(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    use quorate::config::uniform_ranges;

    #[test]
    fn the_large_group_has_its_keys_for_itself() {
        for groups in [2, 3, 8, 9] {
            let ranges = uniform_ranges(groups);
            for number in [0, 1, 1 << 40] {
                assert!(ranges[0].contains(&large_key(number)));
            }
            for random in (0..1 << 20).step_by(37) {
                assert!(!ranges[0].contains(&small_key(random, groups)), "{random} of {groups}");
            }
        }
    }
}
