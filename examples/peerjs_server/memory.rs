//! Returns the memory of a flood of connections to the system. The allocator keeps freed memory for later use, so the
//! memory of one flood would otherwise stay resident until the process ends.

/// A flood of fewer sockets than this is ignored, because it takes little memory.
const MANY: u64 = 256;

/// Tracks the number of open sockets, to detect the end of a flood.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    /// Maximum since memory was last returned.
    most: u64,
    /// Number at the last check.
    last: u64,
}

impl Flood {
    /// Checks the number of open sockets. Returns memory to the system once at least half of them (and 256 or more)
    /// have closed, and the number has stopped falling. `most` is the maximum since the last check, because a flood
    /// may begin and end between two checks.
    pub(crate) fn look(&mut self, open: u64, most: u64) {
        self.most = self.most.max(most);
        if self.is_over(open) {
            give_back();
        }
    }

    fn is_over(&mut self, open: u64) -> bool {
        let many_have_gone = self.most.saturating_sub(open) >= MANY.max(self.most / 2);
        let is_over = many_have_gone && open >= self.last;
        self.last = open;
        self.most = if is_over { open } else { self.most.max(open) };
        is_over
    }
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: `malloc_trim` takes no pointer. The allocator's own locks let any thread call it at any time.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_over_once_and_few_sockets_are_none() {
        let mut flood = Flood::default();
        let looks =
            [(0, false), (200, false), (0, false), (0, false), (1000, false), (400, false), (100, false)];
        let later = [(100, true), (100, false), (0, false), (0, false)];
        for (open, is_over) in looks.into_iter().chain(later) {
            assert_eq!(flood.is_over(open), is_over, "{open}");
        }
    }
}
