//! How many snapshots of a group stay on the disk.

use crate::snapshot::SnapshotToken;

/// Fewer are never kept: should the newest turn out rotten, the one before it is what the log still reaches.
const FILES_MIN: usize = 2;

/// What may stay: the newest files, as many as both bounds allow, but never fewer than two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Files at most; fewer than 2 count as 2.
    pub files_max: usize,
    /// Bytes of all of them at most.
    pub bytes_max: u64,
}

impl Retention {
    /// How many of the oldest of `tokens` (oldest first) are over.
    pub(super) fn surplus(&self, tokens: &[SnapshotToken]) -> usize {
        let mut bytes = 0_u64;
        let fits = |&(at, token): &(usize, &SnapshotToken)| {
            bytes = bytes.saturating_add(token.bytes);
            at < FILES_MIN || (at < self.files_max && bytes <= self.bytes_max)
        };
        tokens.len() - tokens.iter().rev().enumerate().take_while(fits).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(sizes: &[u64]) -> Vec<SnapshotToken> {
        sizes.iter().map(|&bytes| SnapshotToken { bytes, ..SnapshotToken::default() }).collect()
    }

    #[test]
    fn both_bounds_count_but_two_always_stay() {
        let surplus =
            |sizes: &[u64], files_max, bytes_max| Retention { files_max, bytes_max }.surplus(&tokens(sizes));
        assert_eq!(surplus(&[10, 10, 10, 10], 3, 100), 1, "by count");
        assert_eq!(surplus(&[10, 10, 10], 3, 29), 1, "by bytes");
        assert_eq!(surplus(&[10, 10, 10], 3, 30), 0);
        assert_eq!(surplus(&[90, 90], 0, 1), 0, "a fallback is worth its bytes");
        assert_eq!(surplus(&[], 3, 30), 0);
    }
}
