//! The stacks of worker threads: their size, and how much of it is used. Used by `router` (starts the threads,
//! computes the budget) and `worker/cycle`.

use crate::sync::os;

/// The size of a worker thread's stack in bytes. A little less than a huge page, so that the system never backs
/// it with a huge page, of which the first byte used would take 2 MiB.
pub(super) const STACK_BYTES: usize = (2 << 20) - (64 << 10);

/// The most of its stack that a worker uses, in bytes. The deepest use is reading a nested envelope.
const STACK_USED: usize = 32 << 10;

/// `STACK_USED`, plus what a thread needs besides its stack: its handle, thread-local storage, signal stack and
/// the first pages of its allocator.
pub(super) const THREAD_BYTES: u64 = (STACK_USED + (32 << 10)) as u64;

/// Makes the stack pages resident that a worker will use.
#[inline(never)]
pub(super) fn touch() {
    let mut stack = [std::mem::MaybeUninit::<u8>::uninit(); STACK_USED];
    // If this fails, the thread continues: the stack becomes resident as it is used.
    let _ = os::touch(std::hint::black_box(&mut stack));
}
