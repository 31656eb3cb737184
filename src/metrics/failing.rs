//! Clients that have failed recently: the time of each client's last failure, in a cell that a hash of the
//! client's id selects. A client that continues another one's figures keeps the other one's cell. With these cells an error rate can state how many clients cause it, so that one
//! client's invalid messages do not look like an outage. A failed message costs one store; a successful
//! message costs nothing.

use super::cell::{Cell, Writer};

/// Bits of the number of a cell.
pub(crate) const CELL_BITS: u32 = 9;

/// Number of clients that can be distinguished. If more clients fail within a minute, some of them are
/// counted as one.
#[cfg(not(corelane_loom))]
const CELLS: usize = 1 << CELL_BITS;
#[cfg(corelane_loom)]
const CELLS: usize = 1;

/// Cells of one writer. A cell holds raw ticks plus one, or 0 before any failure.
#[derive(Debug)]
pub(crate) struct Failing(Box<[Cell]>);

impl Failing {
    /// Bytes of one `Failing`, for the budget.
    pub(crate) const BYTES: usize = size_of::<Self>() + CELLS * size_of::<Cell>() + 16;

    pub(crate) fn new() -> Self {
        Self((0..CELLS).map(|_| Cell::default()).collect())
    }

    /// Notes that a message of the client with this cell failed at `ended`, in raw ticks.
    #[inline]
    pub(crate) fn note(&self, writer: &mut Writer, cell: FailingCell, ended: u64) {
        if let Some(cell) = self.0.get(usize::from(cell.0)) {
            cell.set(writer, ended.saturating_add(1));
        }
    }

    /// Like [`note`](Self::note), in cells that several threads write.
    #[cfg(not(corelane_loom))]
    pub(crate) fn note_shared(&self, cell: FailingCell, ended: u64) {
        if let Some(cell) = self.0.get(usize::from(cell.0)) {
            cell.raise_shared(ended.saturating_add(1));
        }
    }
}

/// The number of a client's cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailingCell(pub(crate) u16);

impl FailingCell {
    /// The cell of a client with this number. Clients in consecutive slots get different cells, and so do successive
    /// clients of one slot.
    #[inline]
    pub(crate) const fn of(client: u64) -> Self {
        let (index, generation) = (client & 0xffff_ffff, client >> 32);
        Self((index.wrapping_add(generation.wrapping_mul(0x9e37_79b9)) % CELLS as u64) as u16)
    }
}

/// Number of clients whose last failure, in raw ticks, satisfies `counts`. A client with failures in several
/// shards counts once.
#[cfg(not(corelane_loom))]
pub(crate) fn failing_clients<'a>(
    all: impl Iterator<Item = &'a Failing>,
    counts: impl Fn(u64) -> bool,
) -> u64 {
    let mut latest = [0u64; CELLS];
    for one in all {
        latest.iter_mut().zip(&one.0).for_each(|(latest, cell)| *latest = cell.get().max(*latest));
    }
    latest.iter().filter(|stamp| stamp.checked_sub(1).is_some_and(&counts)).count() as u64
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;
    use crate::id::ClientId;

    fn cell(index: u32, generation: u32) -> FailingCell {
        FailingCell::of(ClientId::new(index, generation).0)
    }

    #[test]
    fn a_client_counts_once_wherever_it_fails_and_as_long_as_it_is_asked_for() {
        let (one, two, mut writer) = (Failing::new(), Failing::new(), Writer::new());
        let count = |since: u64| failing_clients([&one, &two].into_iter(), |stamp| stamp >= since);
        assert_eq!(count(0), 0);
        for index in 0..10 {
            one.note(&mut writer, cell(index, 7), 0);
            two.note_shared(cell(index, 7), 100);
        }
        one.note(&mut writer, cell(3, 8), 50);
        assert_eq!((count(0), count(60), count(101)), (11, 10, 0));
    }

    #[test]
    fn those_that_come_to_one_place_one_after_another_are_told_apart() {
        let (one, mut writer) = (Failing::new(), Writer::new());
        for generation in 1..=50 {
            one.note(&mut writer, cell(0, generation), 1);
        }
        assert_eq!(failing_clients([&one].into_iter(), |_| true), 50);
    }
}
