//! A block in a register of NEON.

use super::BLOCK;
use std::arch::aarch64::{
    uint8x16_t, vaddv_u8, vandq_u8, vceqq_u8, vcgeq_u8, vcltq_u8, vdupq_n_u8, vget_high_u8, vget_low_u8,
    vld1q_u8, vorrq_u8,
};

/// Sixteen bytes.
#[derive(Clone, Copy)]
pub(in crate::envelope) struct Block(uint8x16_t);

impl Block {
    #[inline(always)]
    pub(in crate::envelope) fn load(bytes: &[u8; BLOCK]) -> Self {
        // SAFETY: NEON is part of the target. The load may be unaligned, and the array has the sixteen bytes that it
        // reads.
        Self(unsafe { vld1q_u8(bytes.as_ptr()) })
    }

    /// The bytes that equal `byte`.
    #[inline(always)]
    pub(in crate::envelope) fn equal(self, byte: u8) -> u32 {
        // SAFETY: NEON is part of the target, and these instructions only compute.
        mask(unsafe { vceqq_u8(self.0, vdupq_n_u8(byte)) })
    }

    /// The bytes that equal one of two.
    #[inline(always)]
    pub(in crate::envelope) fn either(self, one: u8, other: u8) -> u32 {
        // SAFETY: NEON is part of the target, and these instructions only compute.
        mask(unsafe { vorrq_u8(vceqq_u8(self.0, vdupq_n_u8(one)), vceqq_u8(self.0, vdupq_n_u8(other))) })
    }

    /// The backslashes, the control characters, and the bytes of characters that are not ASCII.
    #[inline(always)]
    pub(in crate::envelope) fn backslash_control_wide(self) -> u32 {
        // SAFETY: NEON is part of the target, and these instructions only compute.
        mask(unsafe { vorrq_u8(self.marked(), vcgeq_u8(self.0, vdupq_n_u8(0x80))) })
    }

    /// The backslashes and the control characters.
    #[inline(always)]
    pub(in crate::envelope) fn backslash_control(self) -> u32 {
        mask(self.marked())
    }

    /// All bits of each backslash and of each control character.
    #[inline(always)]
    fn marked(self) -> uint8x16_t {
        // SAFETY: NEON is part of the target, and these instructions only compute.
        unsafe {
            let backslash = vceqq_u8(self.0, vdupq_n_u8(b'\\'));
            vorrq_u8(backslash, vcltq_u8(self.0, vdupq_n_u8(b' ')))
        }
    }
}

/// One bit of each byte, whose bits are all equal.
#[inline(always)]
fn mask(bytes: uint8x16_t) -> u32 {
    const BITS: [u8; BLOCK] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    // SAFETY: NEON is part of the target. The array has the sixteen bytes that the load reads. In each half the bits
    // differ, so a sum of eight bytes is at most 255.
    unsafe {
        let bits = vandq_u8(bytes, vld1q_u8(BITS.as_ptr()));
        u32::from(vaddv_u8(vget_low_u8(bits))) | u32::from(vaddv_u8(vget_high_u8(bits))) << 8
    }
}
