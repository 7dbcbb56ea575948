//! Bytes as decisions: how an input drives something that takes no bytes.

/// What is left of an input. Once it is used up, everything drawn is 0.
#[derive(Debug)]
pub(super) struct Source<'a>(pub(super) &'a [u8]);

impl Source<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    /// Below `bound`, which is from 1 to 256.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub(super) fn long(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    pub(super) fn id(&mut self) -> [u8; 16] {
        [self.byte(); 16]
    }

    /// Close to `around`, so that it gets far; now and then far off.
    pub(super) fn near(&mut self, around: u64) -> u64 {
        match self.byte() {
            0xf8 => 0,
            0xf9 => u64::MAX,
            0xfa => self.long(),
            0xfb => 1 << 61,
            0xfc => 1 << 62,
            0xfd => around.saturating_add(1 << 32),
            byte => around.saturating_add(u64::from(byte % 8)).saturating_sub(3),
        }
    }
}
