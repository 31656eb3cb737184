//! Figures about this process from the operating system and the C library, read without opening a file: processor
//! time, the descriptor limit, the heap. Called by `monitor::system`.

/// Processor time used by the calling thread, in nanoseconds.
pub(crate) fn thread_cpu_nanoseconds() -> u64 {
    nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time used by all threads of this process, in nanoseconds, including threads that have ended.
pub(crate) fn process_cpu_nanoseconds() -> u64 {
    nanoseconds(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to one live timespec. Every kernel has both clocks; an error would leave it 0.
    unsafe { libc::clock_gettime(clock, &mut time) };
    // Neither field is ever negative.
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// The limit of open descriptors of this process; `None` if there is no limit.
pub(crate) fn descriptor_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: writes to one live rlimit.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Bytes that `malloc` has handed out and that are not freed. `None` if the C library does not report them, or if
/// another allocator replaces its `malloc`. Holds each arena's lock in turn while it walks that arena's free list.
#[cfg(target_env = "gnu")]
pub(crate) fn heap_bytes() -> Option<u64> {
    glibc::mallinfo2().map(|info| (info.uordblks as u64).saturating_add(info.hblkhd as u64))
}

#[cfg(not(target_env = "gnu"))]
pub(crate) const fn heap_bytes() -> Option<u64> {
    None
}

/// `mallinfo2` is looked up at run time. If it were linked, the library would not load with a glibc before 2.33.
#[cfg(target_env = "gnu")]
mod glibc {
    use std::ffi::CStr;
    use std::ptr::NonNull;
    use std::sync::OnceLock;

    type Mallinfo2 = unsafe extern "C" fn() -> libc::mallinfo2;

    pub(super) fn mallinfo2() -> Option<libc::mallinfo2> {
        static FOUND: OnceLock<Option<Mallinfo2>> = OnceLock::new();
        // SAFETY: the function is glibc's; it takes no arguments, and any thread may call it.
        FOUND.get_or_init(find).map(|function| unsafe { function() })
    }

    fn find() -> Option<Mallinfo2> {
        let function = symbol(c"mallinfo2")?;
        // Another `malloc` is in use (preloaded, or a sanitizer's). glibc's figures would describe an unused heap.
        if object(function)? != object(symbol(c"malloc")?)? {
            return None;
        }
        // SAFETY: the symbol has this type wherever it exists. The C library is never unloaded.
        Some(unsafe { std::mem::transmute::<*mut libc::c_void, Mallinfo2>(function.as_ptr()) })
    }

    fn symbol(name: &CStr) -> Option<NonNull<libc::c_void>> {
        // SAFETY: looks up a NUL-terminated name.
        NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
    }

    /// The base address of the library or program that contains the function.
    fn object(function: NonNull<libc::c_void>) -> Option<usize> {
        let mut found = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: looks up an address and writes to one live Dl_info.
        let status = unsafe { libc::dladdr(function.as_ptr(), found.as_mut_ptr()) };
        // SAFETY: the struct consists of pointers, for which all zeroes is a valid value.
        (status != 0).then(|| unsafe { found.assume_init() }.dli_fbase as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps this thread busy until it has used this much processor time. Returns the time used.
    fn burn(nanoseconds: u64) -> u64 {
        let before = thread_cpu_nanoseconds();
        while thread_cpu_nanoseconds() - before < nanoseconds {}
        thread_cpu_nanoseconds() - before
    }

    #[test]
    fn a_threads_time_is_its_own_and_the_processs_is_everybodys() {
        let (own, all) = (thread_cpu_nanoseconds(), process_cpu_nanoseconds());
        let burnt = std::thread::spawn(|| burn(50_000_000)).join().unwrap();
        let (own, all) = (thread_cpu_nanoseconds() - own, process_cpu_nanoseconds() - all);
        assert!(burnt >= 50_000_000);
        assert!(all >= burnt, "the process has used {all} ns, one of its threads {burnt} ns");
        assert!(own < burnt, "this thread has waited, and is said to have used {own} ns");
        let more = burn(10_000_000);
        assert!(thread_cpu_nanoseconds() >= own + more);
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn the_heaps_figures_come_from_the_library_that_has_malloc() {
        let found = glibc::mallinfo2().unwrap();
        assert!(found.uordblks > 0);
    }
}
