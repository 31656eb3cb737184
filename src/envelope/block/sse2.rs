//! A block in a register of SSE2.

use super::BLOCK;
use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
    _mm_set1_epi8,
};

/// Sixteen bytes.
#[derive(Clone, Copy)]
pub(in crate::envelope) struct Block(__m128i);

impl Block {
    #[inline(always)]
    pub(in crate::envelope) fn load(bytes: &[u8; BLOCK]) -> Self {
        // SAFETY: SSE2 is part of x86-64. The load may be unaligned, and the array has the sixteen bytes that it reads.
        Self(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
    }

    /// The bytes that equal `byte`.
    #[inline(always)]
    pub(in crate::envelope) fn equal(self, byte: u8) -> u32 {
        // SAFETY: SSE2 is part of x86-64, and these instructions only compute.
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(self.0, _mm_set1_epi8(byte as i8))) as u32 }
    }

    /// The bytes that equal one of two.
    #[inline(always)]
    pub(in crate::envelope) fn either(self, one: u8, other: u8) -> u32 {
        // SAFETY: SSE2 is part of x86-64, and these instructions only compute.
        unsafe {
            let one = _mm_cmpeq_epi8(self.0, _mm_set1_epi8(one as i8));
            let other = _mm_cmpeq_epi8(self.0, _mm_set1_epi8(other as i8));
            _mm_movemask_epi8(_mm_or_si128(one, other)) as u32
        }
    }

    /// The backslashes, the control characters, and the bytes of characters that are not ASCII.
    #[inline(always)]
    pub(in crate::envelope) fn backslash_control_wide(self) -> u32 {
        // SAFETY: SSE2 is part of x86-64, and these instructions only compute.
        unsafe {
            let backslash = _mm_cmpeq_epi8(self.0, _mm_set1_epi8(b'\\' as i8));
            // The comparison is signed, so bytes from 0x80 on are below too.
            let below_space = _mm_cmplt_epi8(self.0, _mm_set1_epi8(b' ' as i8));
            _mm_movemask_epi8(_mm_or_si128(backslash, below_space)) as u32
        }
    }

    /// The backslashes and the control characters.
    #[inline(always)]
    pub(in crate::envelope) fn backslash_control(self) -> u32 {
        // SAFETY: SSE2 is part of x86-64, and these instructions only compute.
        unsafe {
            let backslash = _mm_cmpeq_epi8(self.0, _mm_set1_epi8(b'\\' as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(self.0, _mm_set1_epi8(0x1f)), self.0);
            _mm_movemask_epi8(_mm_or_si128(backslash, control)) as u32
        }
    }
}
