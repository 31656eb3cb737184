//! The stacks of worker threads: how large they are, and how much of them is ever used.

use crate::sync::os;

/// Addresses of a worker thread's stack: a little less than a huge page, so that the system never makes it one, of which
/// the first byte used would take two mebibytes.
pub(super) const STACK_BYTES: usize = (2 << 20) - (64 << 10);

/// What a worker uses of them at most; the deepest is reading a nested envelope.
const STACK_USED: usize = 32 << 10;

/// That, and what a thread has besides: its handle, its own storage, its signal stack, its allocator's first pages.
pub(super) const THREAD_BYTES: u64 = (STACK_USED + (32 << 10)) as u64;

/// Takes the pages of the calling thread's stack that a worker will use.
#[inline(never)]
pub(super) fn touch() {
    let mut stack = [std::mem::MaybeUninit::<u8>::uninit(); STACK_USED];
    // Where this fails the thread goes on as it would have without: its stack is taken as it is used.
    let _ = os::touch(std::hint::black_box(&mut stack));
}
