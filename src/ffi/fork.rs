//! Whether this process is a child of `fork` of one that started a router: it has the parent's memory and none of its
//! threads, so nothing in it can be used.

use crate::sync::os::Pages;
use crate::sync::{AtomicU32, Relaxed};
use std::sync::OnceLock;

/// A word that is 1 here and, by the kernel, 0 in every child. None where the kernel cannot do that.
static MARK: OnceLock<Option<Pages>> = OnceLock::new();

fn word(page: &Pages) -> &AtomicU32 {
    // SAFETY: the page is mapped for ever, aligned, zeroed at first, and used as this one atomic alone.
    unsafe { page.start().cast::<AtomicU32>().as_ref() }
}

/// From now on children can be told. Called by whoever starts a router.
pub(super) fn watch() {
    MARK.get_or_init(|| {
        let page = Pages::map(size_of::<AtomicU32>()).ok()?;
        page.wipe_on_fork().ok()?;
        word(&page).store(1, Relaxed); // Relaxed: published by the cell that it is put into.
        Some(page)
    });
}

/// Whether a router was started, and by another process.
pub(super) fn is_child() -> bool {
    // Relaxed: written before the cell was filled; a child sees the kernel's zero.
    MARK.get().and_then(Option::as_ref).is_some_and(|page| word(page).load(Relaxed) == 0)
}
