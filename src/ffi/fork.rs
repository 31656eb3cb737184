//! Detects a process that is a child of `fork` and whose parent has started a router. Such a child has the parent's
//! memory but none of its threads, so it cannot use any router.

use crate::sync::os::Pages;
use crate::sync::{AtomicU32, Relaxed};
use std::sync::OnceLock;

/// A word that is 1 in this process. The kernel sets it to 0 in every child. `None` if the kernel does not support
/// that.
static MARK: OnceLock<Option<Pages>> = OnceLock::new();

fn word(page: &Pages) -> &AtomicU32 {
    // SAFETY: the page is mapped for ever, aligned, initially zero, and used only as this one atomic.
    unsafe { page.start().cast::<AtomicU32>().as_ref() }
}

/// Enables the detection of children. Called when a router is started.
pub(super) fn watch() {
    MARK.get_or_init(|| {
        let page = Pages::map(size_of::<AtomicU32>()).ok()?;
        page.wipe_on_fork().ok()?;
        word(&page).store(1, Relaxed); // Relaxed: the `OnceLock` publishes the page.
        Some(page)
    });
}

/// Whether another process has started a router and this process is its child.
pub(super) fn is_child() -> bool {
    // Relaxed: the word is written before the `OnceLock` is set; in a child, it is the kernel's zero.
    MARK.get().and_then(Option::as_ref).is_some_and(|page| word(page).load(Relaxed) == 0)
}
