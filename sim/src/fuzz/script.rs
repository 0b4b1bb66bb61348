//! A script: bytes read as choices. It never ends in the middle of a choice; after its end every
//! choice is 0.

/// Reads a script.
pub(super) struct Script<'a> {
    bytes: core::slice::Iter<'a, u8>,
}

impl<'a> Script<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Script {
            bytes: bytes.iter(),
        }
    }

    /// Is there nothing left?
    pub(super) fn is_done(&self) -> bool {
        self.bytes.as_slice().is_empty()
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    /// The next two bytes as a number.
    pub(super) fn pair(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A choice below `bound`, which is between 1 and 256.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// A choice from a list of any length above 0; reads one byte where that suffices.
    pub(super) fn index(&mut self, length: usize) -> usize {
        if length <= 256 {
            self.below(length)
        } else {
            usize::from(self.pair()) % length
        }
    }
}
