//! A ring's memory: mapped pages that hold the header and the data. The two ends and the attach slot share it; only
//! the ends' positions decide which end may touch which bytes. Under loom it is a box with one tracked cell per 64
//! bytes.

use super::layout::{ALIGNMENT, HEADER_BYTES, Header, LAYOUT_VERSION, MAGIC, MAX_CAPACITY, MIN_CAPACITY};
use crate::sync::os::page_bytes;
use crate::sync::{Acquire, Relaxed, Release};
use std::io;

/// A ring's memory. Freed when both ends and the attach slot have dropped it.
#[derive(Debug)]
pub struct Memory {
    backing: Backing,
    capacity: u64,
}

impl Memory {
    /// Maps memory for `capacity` bytes of data. The system commits each page at its first use.
    pub(crate) fn new(capacity: usize) -> io::Result<Self> {
        Self::reserve(capacity, false)
    }

    /// Like [`new`](Self::new). With `touch`, the system commits all pages now.
    pub(crate) fn reserve(capacity: usize, touch: bool) -> io::Result<Self> {
        if !capacity.is_power_of_two() || !(MIN_CAPACITY..=MAX_CAPACITY).contains(&capacity) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let memory = Self { backing: Backing::new(capacity, touch)?, capacity: capacity as u64 };
        let header = memory.header();
        // Relaxed: no other thread has the memory yet; handing it over orders these stores.
        header.magic.store(MAGIC, Relaxed);
        header.layout_version.store(LAYOUT_VERSION, Relaxed);
        header.capacity.store(capacity as u64, Relaxed);
        header.data_offset.store(HEADER_BYTES as u64, Relaxed);
        header.flags.seal.store(u64::MAX, Relaxed);
        Ok(memory)
    }

    /// The most bytes that a ring of `capacity` takes from the system. Used by the memory budget.
    pub(crate) fn mapped_bytes(capacity: u64) -> u64 {
        (HEADER_BYTES as u64 + capacity).next_multiple_of(page_bytes() as u64)
    }

    /// The start of the memory, laid out as in `docs/layout.md`, for a host that drives one end from another
    /// language. Valid as long as this value lives. The ring's protocol decides which bytes may be written when.
    #[cfg(not(corelane_loom))]
    pub fn start(&self) -> *mut u8 {
        self.backing.start()
    }

    /// The offsets of the header's words from [`start`](Self::start).
    #[cfg(not(corelane_loom))]
    pub(crate) const fn offsets() -> super::layout::Offsets {
        Header::OFFSETS
    }

    /// Layout version, feature bits and stamp source, read from the header.
    #[cfg(not(corelane_loom))]
    pub(crate) fn describes(&self) -> (u32, u64, u64) {
        let header = self.header();
        // Relaxed: written before the ring was shared.
        (
            header.layout_version.load(Relaxed),
            header.features.load(Relaxed),
            header.stamp_source.load(Relaxed),
        )
    }

    /// Sets the unit of the stamps. Called before the ring is shared.
    pub(crate) fn set_stamp_source(&self, source: u64) {
        self.header().stamp_source.store(source, Relaxed); // Relaxed: as in `new`.
    }

    /// Capacity for records, in bytes.
    #[inline(always)]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The largest record in bytes, including its header: a quarter of the ring, so that a pad never starves a
    /// producer.
    #[inline(always)]
    pub fn max_record(&self) -> usize {
        (self.capacity / 4).max(ALIGNMENT as u64) as usize
    }

    #[inline(always)]
    pub(super) fn header(&self) -> &Header {
        self.backing.header()
    }

    /// The data, for one of the two ends.
    pub(super) fn data(&self) -> Data {
        self.backing.data(self.capacity - 1, self.max_record())
    }

    /// Whether the ring is closed. Acquire pairs with the Release in `close`.
    #[inline(always)]
    pub fn is_closed(&self) -> bool {
        self.header().flags.closed.load(Acquire) != 0
    }

    /// Closes the ring. Release: a thread that sees the ring closed also sees what the closing side did before.
    pub(crate) fn close(&self) {
        self.header().flags.closed.store(1, Release);
    }

    /// Whether either side has found a value that no correct peer writes.
    pub fn is_corrupt(&self) -> bool {
        self.header().flags.corrupt.load(Relaxed) != 0 // Relaxed: a report; it publishes nothing.
    }

    /// Whether the producer waits for space. Relaxed: the caller has passed `wake_fence`.
    #[inline(always)]
    pub(crate) fn needs_space(&self) -> bool {
        self.header().flags.need_space.load(Relaxed) != 0
    }

    /// Clears the producer's word, which a consumer must never do. Used only by the weakening
    /// `space-consumer-clears`.
    #[cfg(all(test, corelane_loom))]
    pub(crate) fn clear_need_space(&self) {
        self.header().flags.need_space.store(0, Relaxed);
    }

    /// The published tail, read from shared memory instead of a cached copy. For the re-check before sleep; the
    /// caller's fence orders the load.
    #[inline(always)]
    pub(crate) fn shared_tail(&self) -> u64 {
        self.header().producer.tail.load(Relaxed)
    }

    /// The released head, read in the same way as `shared_tail`.
    #[inline(always)]
    pub(crate) fn shared_head(&self) -> u64 {
        self.header().consumer.head.load(Relaxed)
    }

    /// The released head, and what the consumer did before it released. For counts of what was consumed.
    pub(crate) fn released(&self) -> u64 {
        self.header().consumer.head.load(Acquire) // Acquire: pairs with the Release in `Consumer::release`.
    }

    /// The numbers of unread records and bytes, including pads. For reports; any thread may call it.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let (pushed, popped) = self.traffic();
        let head = self.shared_head();
        (pushed.saturating_sub(popped), self.shared_tail().saturating_sub(head))
    }

    /// The numbers of records pushed and popped so far. Only a hint while either side works.
    pub fn traffic(&self) -> (u64, u64) {
        // Relaxed: figures for a report. Load `popped` first, so that the difference is not negative.
        let popped = self.header().consumer.popped.load(Relaxed);
        (self.header().producer.pushed.load(Relaxed), popped)
    }
}

/// Bytes between the start of a record and the lines that are asked for while it is written.
pub(super) const AHEAD: u64 = 512;
/// The most bytes that are asked for at once.
#[cfg(not(corelane_loom))]
const AHEAD_MOST: usize = 1024;

#[cfg(not(corelane_loom))]
use mapped::Backing;
#[cfg(not(corelane_loom))]
pub(super) use mapped::Data;

#[cfg(not(corelane_loom))]
mod mapped {
    use super::{AHEAD, AHEAD_MOST, ALIGNMENT, HEADER_BYTES, Header};
    use crate::sync::os::Pages;
    use std::io;
    use std::ptr::NonNull;

    #[derive(Debug)]
    pub(super) struct Backing(Pages);

    impl Backing {
        pub(super) fn new(capacity: usize, touch: bool) -> io::Result<Self> {
            let mut pages = Pages::map(HEADER_BYTES + capacity)?;
            if touch {
                pages.touch()?;
            }
            Ok(Self(pages))
        }

        pub(super) fn start(&self) -> *mut u8 {
            self.0.start().as_ptr()
        }

        #[inline(always)]
        pub(super) fn header(&self) -> &Header {
            // SAFETY: the mapping is page-aligned, larger than a header, and lives as long as `self`. Any bytes,
            // initially zeroes, are a valid `Header`, because it consists of atomics.
            unsafe { self.0.start().cast::<Header>().as_ref() }
        }

        pub(super) fn data(&self, mask: u64, max_record: usize) -> Data {
            // SAFETY: the mapping is larger than the header.
            let start = unsafe { self.0.start().add(HEADER_BYTES) };
            Data { start, mask, max_record }
        }
    }

    /// The address of a ring's data. Each end has a copy of its own, so that it need not load the address again after
    /// each record that it writes. Valid while the end keeps the `Memory`.
    #[derive(Debug)]
    pub(in crate::ring) struct Data {
        start: NonNull<u8>,
        /// The bits of a position that are its index: the capacity minus one.
        mask: u64,
        /// See [`Memory::max_record`](super::Memory::max_record).
        pub(in crate::ring) max_record: usize,
    }

    // SAFETY: the address of a mapping, which any thread may use. Which bytes it may use when is up to the callers of
    // the unsafe functions.
    unsafe impl Send for Data {}

    impl Data {
        /// The offset of `position` in the data.
        #[inline(always)]
        pub(in crate::ring) fn index(&self, position: u64) -> usize {
            (position & self.mask) as usize
        }

        /// Bytes from `position` to the end of the data.
        #[inline(always)]
        pub(in crate::ring) fn to_end(&self, position: u64) -> u64 {
            self.mask + 1 - (position & self.mask)
        }

        /// The `length` bytes at `index`, for reading.
        ///
        /// # Safety
        /// The memory is still mapped, `index + length` is at most the capacity, and no thread writes these bytes
        /// while the slice lives.
        #[inline(always)]
        pub(in crate::ring) unsafe fn read(&self, index: usize, length: usize) -> &[u8] {
            // SAFETY: mapped and initialised (pages are zeroed); the caller excludes writers.
            unsafe { std::slice::from_raw_parts(self.start.add(index).as_ptr(), length) }
        }

        /// The `length` bytes at `index`, for writing.
        ///
        /// # Safety
        /// The memory is still mapped, `index + length` is at most the capacity, and no other reference to these
        /// bytes exists while the slice lives.
        #[inline(always)]
        #[expect(
            clippy::mut_from_ref,
            reason = "the ring's protocol, not the borrow, gives exclusive access"
        )]
        pub(in crate::ring) unsafe fn write(&self, index: usize, length: usize) -> &mut [u8] {
            // SAFETY: mapped and initialised; the caller has exclusive access to these bytes.
            unsafe { std::slice::from_raw_parts_mut(self.start.add(index).as_ptr(), length) }
        }

        /// Asks the processor for ownership of as many lines as a record of `length` bytes at `index` has, starting
        /// [`AHEAD`] bytes behind them. The reading end has had these lines last, so without this the store of the
        /// next record waits for each of them. Asks for two lines at a time, so possibly for one too many.
        #[inline(always)]
        pub(in crate::ring) fn own_ahead(&self, index: usize, length: usize) {
            #[cfg(target_arch = "x86_64")]
            for line in (0..length.min(AHEAD_MOST)).step_by(2 * ALIGNMENT) {
                let ahead = self.start.as_ptr().wrapping_add(index + AHEAD as usize + line);
                // SAFETY: hints that access nothing, so the address may be any. Every x86-64 processor accepts them;
                // those without the feature do nothing.
                unsafe {
                    std::arch::asm!(
                        "prefetchw [{ahead}]",
                        "prefetchw [{ahead} + 64]",
                        ahead = in(reg) ahead,
                        options(nostack, preserves_flags, readonly)
                    );
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = (index, length, AHEAD_MOST);
        }
    }
}

#[cfg(corelane_loom)]
use tracked::Backing;
#[cfg(corelane_loom)]
pub(super) use tracked::Data;

#[cfg(corelane_loom)]
mod tracked {
    use super::{ALIGNMENT, Header};
    use crate::sync::UnsafeCell;
    use std::io;

    /// loom checks accesses to the cells. The bytes themselves are stored separately.
    #[derive(Debug)]
    pub(super) struct Backing {
        header: Header,
        cells: Vec<UnsafeCell<()>>,
        data: Box<[std::cell::UnsafeCell<u8>]>,
    }

    // SAFETY: `data` is accessed only together with the tracked cells.
    unsafe impl Sync for Backing {}
    // SAFETY: as above.
    unsafe impl Send for Backing {}

    impl Backing {
        pub(super) fn new(capacity: usize, _touch: bool) -> io::Result<Self> {
            Ok(Self {
                header: Header::zeroed(),
                cells: (0..capacity / ALIGNMENT).map(|_| UnsafeCell::new(())).collect(),
                data: (0..capacity).map(|_| std::cell::UnsafeCell::new(0)).collect(),
            })
        }

        pub(super) fn header(&self) -> &Header {
            &self.header
        }

        pub(super) fn data(&self, mask: u64, max_record: usize) -> Data {
            Data { backing: std::ptr::NonNull::from(self), mask, max_record }
        }
    }

    /// As the mapped memory's.
    #[derive(Debug)]
    pub(in crate::ring) struct Data {
        backing: std::ptr::NonNull<Backing>,
        mask: u64,
        pub(in crate::ring) max_record: usize,
    }

    // SAFETY: as the mapped memory's.
    unsafe impl Send for Data {}

    impl Data {
        pub(in crate::ring) fn index(&self, position: u64) -> usize {
            (position & self.mask) as usize
        }

        pub(in crate::ring) fn to_end(&self, position: u64) -> u64 {
            self.mask + 1 - (position & self.mask)
        }

        /// # Safety
        /// As the mapped memory's.
        pub(in crate::ring) unsafe fn read(&self, index: usize, length: usize) -> &[u8] {
            // SAFETY: the end that has this value keeps the memory.
            let backing = unsafe { self.backing.as_ref() };
            for cell in &backing.cells[index / ALIGNMENT..(index + length).div_ceil(ALIGNMENT)] {
                cell.with(|_| ());
            }
            // SAFETY: in bounds; loom has just checked that no thread writes.
            unsafe { std::slice::from_raw_parts(backing.data.as_ptr().add(index).cast(), length) }
        }

        /// # Safety
        /// As the mapped memory's.
        #[expect(clippy::mut_from_ref, reason = "as in the mapped memory")]
        pub(in crate::ring) unsafe fn write(&self, index: usize, length: usize) -> &mut [u8] {
            // SAFETY: the end that has this value keeps the memory.
            let backing = unsafe { self.backing.as_ref() };
            for cell in &backing.cells[index / ALIGNMENT..(index + length).div_ceil(ALIGNMENT)] {
                cell.with_mut(|_| ());
            }
            // SAFETY: in bounds; loom has just checked that no other thread accesses these bytes.
            unsafe { std::slice::from_raw_parts_mut(backing.data[index].get(), length) }
        }

        pub(in crate::ring) fn own_ahead(&self, _index: usize, _length: usize) {}
    }
}
