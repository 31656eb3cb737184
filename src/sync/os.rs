//! The operating system's services: pages, sleeping on a word, and descriptors that an event loop can wait for.
//! Called by `ring::memory` and `park`; nothing here depends on its callers. `usage` reads the process's resource
//! usage for the monitor.

/// The processor's time stamp counter.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn cycle_counter() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; it only reads a register.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The system counter. The barriers order it between readings of the counter before and after this call.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(crate) fn cycle_counter() -> u64 {
    let count: u64;
    // SAFETY: Linux lets user mode read the register. The barriers prevent the processor from reading it early or
    // late.
    unsafe {
        std::arch::asm!("isb", "mrs {}, cntvct_el0", "isb", out(reg) count, options(nomem, nostack, preserves_flags));
    }
    count
}

/// The time since the machine started, with the time for which it was suspended.
#[cfg(all(feature = "nats", not(corelane_loom)))]
pub(crate) fn since_boot() -> std::time::Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes into `time`, which lives on this stack. The clock exists on every Linux that Rust supports.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    std::time::Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// The number of cores that the process may use: those of its main thread, because other threads may be pinned. At
/// least 1.
pub(crate) fn process_cores() -> usize {
    // SAFETY: all zeros is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes at most `size_of_val(&set)` bytes into `set`, which lives on this stack.
    let status =
        unsafe { libc::sched_getaffinity(std::process::id() as i32, size_of_val(&set), &raw mut set) };
    // SAFETY: reads `set`, which is initialized. It stays empty if the call has failed.
    if status == 0 { unsafe { libc::CPU_COUNT(&set) }.max(1) as usize } else { 1 }
}

#[cfg(not(corelane_loom))]
mod usage;
#[cfg(not(corelane_loom))]
pub(crate) use usage::{descriptor_limit, heap_bytes, process_cpu_nanoseconds, thread_cpu_nanoseconds};

#[cfg(not(corelane_loom))]
pub(crate) use real::{EventFd, Pages, futex_wait, futex_wake, page_bytes, touch};

#[cfg(all(any(feature = "tokio", feature = "nats"), not(corelane_loom)))]
pub(crate) use real::register;

#[cfg(all(test, not(corelane_loom)))]
pub(crate) use real::is_readable;

#[cfg(not(corelane_loom))]
mod real {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
    use std::ptr::NonNull;
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    /// Private anonymous pages, initially zero. The kernel commits each page at its first use. Unmapped on drop.
    #[derive(Debug)]
    pub(crate) struct Pages {
        start: NonNull<u8>,
        length: usize,
    }

    // SAFETY: the pages belong to this value alone. The ring's protocol decides which thread touches which bytes.
    unsafe impl Send for Pages {}
    // SAFETY: as above; sharing the value shares only the address.
    unsafe impl Sync for Pages {}

    impl Pages {
        /// Maps `length` bytes. The kernel rounds up to whole pages.
        ///
        /// # Errors
        /// The error of `mmap`, usually that memory is exhausted.
        pub(crate) fn map(length: usize) -> io::Result<Self> {
            // SAFETY: a new anonymous mapping at an address that the kernel chooses affects no existing memory.
            let start = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    length,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                    -1,
                    0,
                )
            };
            if start == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            match NonNull::new(start.cast::<u8>()) {
                Some(start) => Ok(Self { start, length }),
                None => Err(io::Error::from_raw_os_error(libc::ENOMEM)),
            }
        }

        /// Makes the pages zero in child processes.
        ///
        /// # Errors
        /// The error of `madvise`. Kernels before 4.14 do not support this.
        pub(crate) fn wipe_on_fork(&self) -> io::Result<()> {
            // SAFETY: the mapping belongs to this value; the advice changes nothing in this process.
            let result =
                unsafe { libc::madvise(self.start.as_ptr().cast(), self.length, libc::MADV_WIPEONFORK) };
            if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        }

        /// Commits every page now.
        ///
        /// # Errors
        /// The system's error, usually that memory is exhausted.
        pub(crate) fn touch(&mut self) -> io::Result<()> {
            // SAFETY: `length` bytes of this value's mapping, initialised (pages are zeroed), borrowed uniquely.
            touch(unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) })
        }

        /// The first byte; page-aligned.
        #[inline(always)]
        pub(crate) fn start(&self) -> NonNull<u8> {
            self.start
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: `start` and `length` are those of the mapping made in `map`; it is unmapped only here.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        }
    }

    /// Size of a memory page, in bytes.
    pub(crate) fn page_bytes() -> usize {
        // SAFETY: reads a constant.
        usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
    }

    /// Commits every page that `memory` lies on, for writing. The contents do not change.
    ///
    /// # Errors
    /// The system's error, usually that memory is exhausted.
    pub(crate) fn touch<T>(memory: &mut [T]) -> io::Result<()> {
        let page = page_bytes();
        let range = memory.as_mut_ptr_range();
        let first = range.start as usize / page * page;
        let end = (range.end as usize).next_multiple_of(page);
        if size_of_val(memory) == 0 {
            return Ok(());
        }
        // SAFETY: whole pages, each of which contains at least one byte of `memory`, so all are mapped and writable.
        // Populating changes no contents.
        let status = unsafe { libc::madvise(first as *mut _, end - first, libc::MADV_POPULATE_WRITE) };
        if status == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
        write_to_each_page(memory);
        Ok(())
    }

    /// Does the same on kernels before 5.14. If memory is exhausted, the kernel kills the process.
    fn write_to_each_page<T>(memory: &mut [T]) {
        for offset in (0..size_of_val(memory)).step_by(page_bytes()) {
            // SAFETY: inside `memory`, borrowed uniquely.
            let byte = unsafe { memory.as_mut_ptr().cast::<std::mem::MaybeUninit<u8>>().add(offset) };
            // SAFETY: as above; the byte is written back as it was read.
            unsafe { byte.write_volatile(byte.read_volatile()) };
        }
    }

    /// Sleeps while `*word == expected`, until woken or until `timeout` has passed. May return early for any reason.
    pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
        let limit = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().min(i64::MAX as u64) as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let limit_ptr = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `word` is a live, aligned u32, and `limit` outlives the call.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                expected,
                limit_ptr,
            )
        };
    }

    /// Wakes every sleeper on `word`.
    pub(crate) fn futex_wake(word: &AtomicU32) {
        // SAFETY: `word` is a live, aligned u32; waking accesses no memory.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                libc::c_int::MAX,
            )
        };
    }

    /// A Linux eventfd, non-blocking, closed on exec. It is readable from a signal until it is drained.
    #[derive(Debug)]
    pub(crate) struct EventFd(OwnedFd);

    impl EventFd {
        /// # Errors
        /// The error of `eventfd`, usually that the process has no descriptors left.
        pub(crate) fn new() -> io::Result<Self> {
            // SAFETY: takes two integers, returns a new descriptor or -1.
            let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the descriptor was just created and has no other owner.
            Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
        }

        /// The descriptor, for pollers.
        pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }

        /// Makes the descriptor readable. If the counter were full, the write would fail, and the descriptor is
        /// readable already.
        pub(crate) fn signal(&self) {
            let one = 1u64;
            // SAFETY: writes eight bytes from a live u64 to this value's descriptor.
            unsafe { libc::write(self.0.as_raw_fd(), std::ptr::from_ref(&one).cast(), 8) };
        }

        /// Makes the descriptor unreadable until the next signal.
        pub(crate) fn drain(&self) {
            let mut count = 0u64;
            // SAFETY: reads eight bytes into a live u64 from this value's descriptor.
            unsafe { libc::read(self.0.as_raw_fd(), std::ptr::from_mut(&mut count).cast(), 8) };
        }

        /// Sleeps until the descriptor is readable or until `timeout` has passed. Returns whether it is readable.
        pub(crate) fn wait(&self, timeout: Option<Duration>) -> bool {
            let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            let milliseconds = timeout.map_or(-1, |timeout| {
                timeout.as_millis().saturating_add(1).min(i32::MAX as u128) as libc::c_int
            });
            // SAFETY: one live pollfd.
            unsafe { libc::poll(&mut poll, 1, milliseconds) > 0 }
        }
    }

    /// Registers a copy of a descriptor with the event loop of the current tokio runtime.
    ///
    /// # Errors
    /// An error of the event loop, or no descriptor left for the copy.
    #[cfg(any(feature = "tokio", feature = "nats"))]
    pub(crate) fn register(descriptor: BorrowedFd<'_>) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
        let copy = descriptor.try_clone_to_owned()?;
        // SAFETY: an `OwnedFd` always names the same descriptor. It is open until the `AsyncFd`, which owns it and
        // gives it to nobody, has ended the registration.
        Ok(unsafe { tokio::io::unix::AsyncFd::register_with_interest(copy, tokio::io::Interest::READABLE) }?)
    }

    /// Whether `poll` reports the descriptor as readable now. For tests of what event loops see.
    #[cfg(test)]
    pub(crate) fn is_readable(descriptor: impl AsFd) -> bool {
        let mut poll = libc::pollfd { fd: descriptor.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live pollfd.
        let count = unsafe { libc::poll(&mut poll, 1, 0) };
        count == 1 && poll.revents & libc::POLLIN != 0
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn touching_leaves_what_is_there() {
            for touching in [|memory: &mut [u32]| touch(memory).unwrap(), write_to_each_page] {
                let mut memory: Vec<u32> = (0..100_000).collect();
                touching(&mut memory[3..99_999]);
                assert!(memory.iter().enumerate().all(|(place, value)| place == *value as usize));
                touching(&mut memory[..0]);
            }
            let mut pages = Pages::map(100_000).unwrap();
            pages.touch().unwrap();
        }
    }
}

#[cfg(corelane_loom)]
pub(crate) use modelled::{EventFd, futex_wait, futex_wake, page_bytes, touch};

/// The same calls for loom. The futex and the eventfd consist of loom's lock and condition variable, so that loom
/// reports a lost wake as a deadlock.
#[cfg(corelane_loom)]
mod modelled {
    use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use loom::sync::{Condvar, Mutex};
    use std::time::Duration;

    loom::lazy_static! {
        static ref FUTEX: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    }

    pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, _timeout: Option<Duration>) {
        let mut guard = FUTEX.0.lock().unwrap();
        // The kernel compares under its own lock; so does this model.
        if word.load(Relaxed) == expected {
            guard = FUTEX.1.wait(guard).unwrap();
        }
        drop(guard);
    }

    pub(crate) fn futex_wake(_word: &AtomicU32) {
        drop(FUTEX.0.lock().unwrap());
        FUTEX.1.notify_all();
    }

    pub(crate) const fn page_bytes() -> usize {
        4096
    }

    pub(crate) const fn touch<T>(_memory: &mut [T]) -> std::io::Result<()> {
        Ok(())
    }

    #[derive(Debug)]
    pub(crate) struct EventFd {
        readable: Mutex<bool>,
        changed: Condvar,
    }

    impl EventFd {
        pub(crate) fn new() -> std::io::Result<Self> {
            Ok(Self { readable: Mutex::new(false), changed: Condvar::new() })
        }

        pub(crate) fn signal(&self) {
            *self.readable.lock().unwrap() = true;
            self.changed.notify_all();
        }

        pub(crate) fn drain(&self) {
            *self.readable.lock().unwrap() = false;
        }

        pub(crate) fn wait(&self, _timeout: Option<Duration>) -> bool {
            let mut readable = self.readable.lock().unwrap();
            while !*readable {
                readable = self.changed.wait(readable).unwrap();
            }
            true
        }
    }
}
