//! SHA-256 of files that leave the cluster: what CRCs cannot, it tells damage apart from changes made on purpose.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A SHA-256 sum. Shown as 64 lower-case hexadecimal digits, as `sha256sum` prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256Sum(pub [u8; 32]);

impl Sha256Sum {
    /// The sum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Sha256Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Reads what [`fmt::Display`] shows; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = crate::hex::decode(text)?;
        bytes.try_into().ok().map(Self)
    }

    /// Its first 8 bytes, for errors, which have room for 64 bits.
    pub(crate) fn folded(&self) -> u64 {
        u64::from_be_bytes(std::array::from_fn(|i| self.0[i]))
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::hex::encode(&self.0))
    }
}

impl fmt::Debug for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Sum({self})")
    }
}

/// Sums up bytes as they come.
#[derive(Clone, Default)]
pub(crate) struct Sha256Hasher(Sha256);

impl Sha256Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum of everything so far.
    pub(crate) fn finish(&self) -> Sha256Sum {
        Sha256Sum(self.0.clone().finalize().into())
    }
}

impl fmt::Debug for Sha256Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sha256Hasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_standard_in_any_pieces() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256Sum::of(b"abc").to_string(), abc);
        let mut hasher = Sha256Hasher::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), Sha256Sum::of(b"abc"));
        assert_eq!(Sha256Sum::parse(abc), Some(Sha256Sum::of(b"abc")));
        assert_eq!(Sha256Sum::parse(&abc[1..]), None);
        assert_eq!(Sha256Sum::parse(&abc.to_uppercase()), None, "one spelling only");
    }
}
