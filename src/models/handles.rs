//! Handles of the C interface: calls, releases during calls, and the reuse of a place.

use super::explore;
use crate::sync::{Arc, Handles, Refused};
use loom::cell::UnsafeCell;
use loom::thread;

/// A value that only one thread may use at a time. loom reports concurrent accesses.
struct Probe(Arc<UnsafeCell<u32>>);

// SAFETY: the accesses are checked by loom; that is the test.
unsafe impl Send for Probe {}
// SAFETY: as above.
unsafe impl Sync for Probe {}

impl Probe {
    fn touch(&self) {
        // SAFETY: loom checks that accesses are exclusive.
        self.0.with_mut(|value| unsafe { *value += 1 });
    }

    fn look(&self) {
        // SAFETY: loom checks that nobody writes meanwhile.
        self.0.with(|value| unsafe { *value });
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.touch();
    }
}

/// One thread calls exclusively, one releases; the value is dropped once and not during the call, and the next value
/// uses the place. Catches: `handle-leave-relaxed`, `handle-release-at-once`, `handle-release-relaxed`,
/// `handle-free-relaxed`, `handle-insert-relaxed`.
#[test]
fn release_during_an_exclusive_call() {
    explore(|| {
        let table: Arc<Handles<Probe, 1>> = Arc::new(Handles::new());
        let memory = Arc::new(UnsafeCell::new(0));
        let handle = table.insert(Probe(Arc::clone(&memory))).ok().unwrap();
        let caller = thread::spawn({
            let table = Arc::clone(&table);
            move || {
                let called = table.enter(handle, |probe| probe.touch());
                assert!(matches!(called, Ok(()) | Err(Refused::Stale)));
            }
        });
        drop(table.release(handle).unwrap());
        assert_eq!(table.release(handle).err(), Some(Refused::Stale));
        // A value's destructor may run after its place is free, so the next value has memory of its own.
        let mut second = Probe(Arc::new(UnsafeCell::new(0)));
        let next = loop {
            match table.insert(second) {
                Ok(next) => break next,
                Err(probe) => second = probe,
            }
            thread::yield_now();
        };
        table.enter(next, |probe| probe.touch()).unwrap();
        caller.join().unwrap();
        drop(table.release(next).unwrap());
        // SAFETY: every thread has ended.
        let touched = memory.with(|value| unsafe { *value });
        assert!(touched == 1 || touched == 2, "dropped once, after the call if there was one");
    });
}

/// Two threads call shared while a third releases. Catches: `handle-leave-relaxed`, `handle-release-at-once`.
#[test]
fn release_during_shared_calls() {
    explore(|| {
        let table: Arc<Handles<Probe, 1>> = Arc::new(Handles::new());
        let memory = Arc::new(UnsafeCell::new(0));
        let handle = table.insert(Probe(Arc::clone(&memory))).ok().unwrap();
        let callers = [0, 1].map(|_| {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                let _ = table.enter_shared(handle, |probe| probe.look());
            })
        });
        drop(table.release(handle).unwrap());
        for caller in callers {
            caller.join().unwrap();
        }
        // SAFETY: every thread has ended.
        assert_eq!(memory.with(|value| unsafe { *value }), 1, "dropped once");
    });
}
