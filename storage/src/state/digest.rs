//! The arithmetic of the [`StateDigest`]: part of the format, the same on every replica.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::ids::GroupUid;
use crate::state::StateDigest;

/// Hashes a group's records: SipHash-1-3 with 128 bits of output, keyed by the group's uid, over the key's
/// length (8 bytes, little-endian), the key and the plain value.
#[derive(Clone, Copy)]
pub struct RecordHasher {
    keyed: SipHasher13,
}

impl RecordHasher {
    /// The hasher of one group.
    pub fn new(uid: GroupUid) -> Self {
        Self { keyed: SipHasher13::new_with_key(&uid.0) }
    }

    /// The summand of one record.
    pub fn hash(&self, key: &[u8], value: &[u8]) -> u128 {
        let mut hasher = self.keyed;
        hasher.write(&(key.len() as u64).to_le_bytes());
        hasher.write(key);
        hasher.write(value);
        hasher.finish128().into()
    }
}

impl std::fmt::Debug for RecordHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordHasher").finish_non_exhaustive()
    }
}

impl StateDigest {
    /// The digest of a state without records.
    pub const EMPTY: Self = Self(0);

    /// The digest with one more record.
    pub fn with(self, summand: u128) -> Self {
        Self(self.0.wrapping_add(summand))
    }

    /// The digest with one record less.
    pub fn without(self, summand: u128) -> Self {
        Self(self.0.wrapping_sub(summand))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_records_does_not_matter_and_removal_undoes_addition() {
        let hasher = RecordHasher::new(GroupUid([7; 16]));
        let (a, b) = (hasher.hash(b"a", b"1"), hasher.hash(b"b", b"2"));
        let both = StateDigest::EMPTY.with(a).with(b);
        assert_eq!(both, StateDigest::EMPTY.with(b).with(a));
        assert_eq!(both.without(a).without(b), StateDigest::EMPTY);
        assert_ne!(both, StateDigest::EMPTY);
    }

    #[test]
    fn a_boundary_between_key_and_value_that_moves_is_seen() {
        let hasher = RecordHasher::new(GroupUid([7; 16]));
        assert_ne!(hasher.hash(b"ab", b"c"), hasher.hash(b"a", b"bc"));
        assert_ne!(hasher.hash(b"a", b"1"), RecordHasher::new(GroupUid([8; 16])).hash(b"a", b"1"));
    }

    #[test]
    fn the_hash_is_pinned() {
        let hasher = RecordHasher::new(GroupUid([7; 16]));
        assert_eq!(hasher.hash(b"key", b"value"), PINNED, "{:#x}", hasher.hash(b"key", b"value"));
    }

    /// What release 0.1 computes.
    const PINNED: u128 = 0x5ab2_9ebe_33e6_988c_f3ab_c0e3_17ab_2f57;
}
