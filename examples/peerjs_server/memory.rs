//! Memory that a flood of connections took is given back to the system. The allocator keeps what is freed for later, so that
//! one bad minute would otherwise stay resident until the process ends.

/// Fewer sockets than this cost too little to look for.
const MANY: u64 = 256;

/// The most sockets since memory was last given back.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    most: u64,
    /// At the last look.
    last: u64,
}

impl Flood {
    /// Looks at how many are open now; gives memory back once most of them have gone, and no more are going.
    /// `most` were open at once since the last look: a flood may come and go between two.
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
    // SAFETY: it takes no pointer, and the allocator's own locks let any thread call it at any time.
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
