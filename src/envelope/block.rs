//! Sixteen bytes of a message, examined at once. `string` scans strings with it. The answers are masks with one bit per
//! byte, the first byte in the lowest bit.
//!
//! | file | used |
//! |---|---|
//! | `sse2` | on x86-64, where every processor has these instructions |
//! | `neon` | on 64-bit Arm, likewise |
//! | `portable` | elsewhere, and with the feature `portable-scan`, for tests |
//!
//! The first two are the only files of the envelope with `unsafe` (`tests/layering.rs`).

#[cfg(all(target_arch = "aarch64", target_endian = "little", not(feature = "portable-scan")))]
#[allow(unsafe_code, reason = "vector instructions")]
mod neon;
#[cfg(any(
    test,
    feature = "portable-scan",
    not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))
))]
mod portable;
#[cfg(all(target_arch = "x86_64", not(feature = "portable-scan")))]
#[allow(unsafe_code, reason = "vector instructions")]
mod sse2;

#[cfg(all(target_arch = "aarch64", target_endian = "little", not(feature = "portable-scan")))]
pub(super) use neon::Block;
#[cfg(any(
    feature = "portable-scan",
    not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))
))]
pub(super) use portable::Block;
#[cfg(all(target_arch = "x86_64", not(feature = "portable-scan")))]
pub(super) use sse2::Block;

/// The number of bytes in a block.
pub(super) const BLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use super::BLOCK;

    /// Every byte at every place, among neighbours that are equal, near and far: a borrow or a carry would show.
    macro_rules! agrees_with_single_bytes {
        ($block:ty) => {
            for around in [0, 0x1f, b' ', b'!', b'"', b'[', b'\\', 0x7f, 0x80, 0xff] {
                for byte in 0..=u8::MAX {
                    for place in 0..BLOCK {
                        let mut bytes = [around; BLOCK];
                        bytes[place] = byte;
                        let block = <$block>::load(&bytes);
                        let mask = |holds: &dyn Fn(u8) -> bool| {
                            let bits = bytes
                                .iter()
                                .enumerate()
                                .map(|(place, byte)| u32::from(holds(*byte)) << place);
                            bits.sum::<u32>()
                        };
                        assert_eq!(block.equal(b'"'), mask(&|byte| byte == b'"'));
                        assert_eq!(block.either(b'r', around), mask(&|byte| byte == b'r' || byte == around));
                        assert_eq!(block.equal(around), mask(&|byte| byte == around));
                        assert_eq!(
                            block.backslash_control_wide(),
                            mask(&|byte| matches!(byte, b'\\' | 0..0x20 | 0x80..))
                        );
                        assert_eq!(block.backslash_control(), mask(&|byte| matches!(byte, b'\\' | 0..0x20)));
                    }
                }
            }
        };
    }

    #[test]
    #[allow(clippy::indexing_slicing, reason = "a test")]
    fn a_block_agrees_with_its_bytes() {
        agrees_with_single_bytes!(super::Block);
        agrees_with_single_bytes!(super::portable::Block);
    }
}
