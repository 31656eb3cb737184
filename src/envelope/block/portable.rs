//! A block in two words of eight bytes each.

use super::BLOCK;

/// One in each byte.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte.
const TOPS: u64 = ONES << 7;

/// Sixteen bytes.
#[derive(Clone, Copy)]
pub(in crate::envelope) struct Block([u64; 2]);

impl Block {
    #[inline(always)]
    pub(in crate::envelope) fn load(bytes: &[u8; BLOCK]) -> Self {
        let both = u128::from_le_bytes(*bytes);
        Self([both as u64, (both >> 64) as u64])
    }

    /// The bytes that equal `byte`.
    #[inline(always)]
    pub(in crate::envelope) fn equal(self, byte: u8) -> u32 {
        self.mask(|word| is_zero(word ^ (ONES * u64::from(byte))))
    }

    /// The bytes that equal one of two.
    #[inline(always)]
    pub(in crate::envelope) fn either(self, one: u8, other: u8) -> u32 {
        self.mask(|word| is_zero(word ^ (ONES * u64::from(one))) | is_zero(word ^ (ONES * u64::from(other))))
    }

    /// The backslashes, the control characters, and the bytes of characters that are not ASCII.
    #[inline(always)]
    pub(in crate::envelope) fn backslash_control_wide(self) -> u32 {
        self.mask(|word| marked(word) | word & TOPS)
    }

    /// The backslashes and the control characters.
    #[inline(always)]
    pub(in crate::envelope) fn backslash_control(self) -> u32 {
        self.mask(marked)
    }

    /// One bit per byte. `tops` sets the highest bit of each byte that counts.
    #[inline(always)]
    fn mask(self, tops: impl Fn(u64) -> u64) -> u32 {
        // The product moves the bit of byte n to bit 56 + n. No two bits meet, so nothing is carried.
        let bits = |word| ((tops(word) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32;
        let [low, high] = self.0;
        bits(low) | bits(high) << 8
    }
}

/// The highest bit of each backslash and of each control character.
#[inline(always)]
fn marked(word: u64) -> u64 {
    // A control character has none of its three highest bits.
    is_zero(word ^ (ONES * b'\\' as u64)) | is_zero(word & (ONES * 0xe0))
}

/// The highest bit of each byte that is zero. Bytes do not influence each other: no sum exceeds 0xfe.
#[inline(always)]
fn is_zero(word: u64) -> u64 {
    !(((word & !TOPS) + !TOPS) | word) & TOPS
}
