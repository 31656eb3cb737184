//! Synchronous calls: the result, the caller's time-out and a stop race, and the slot is reused by another caller.

use super::explore;
use crate::call::{CallEnd, Calls};
use crate::sync::{Arc, AtomicU32, AtomicU64, Relaxed, own_load};
use loom::sync::atomic::AtomicBool;
use loom::thread;

/// A worker handles a call, or the caller gives up at any moment. The message is handled exactly once, by one of the
/// two, and the slot is free again at once, whatever the worker still does. Catches: `call-start-by-store`,
/// `call-done-by-store`.
#[test]
fn call_given_up() {
    explore(|| {
        let calls = Arc::new(Calls::new(1, false));
        let handled = Arc::new(AtomicU32::new(0));
        let id = calls.take().unwrap();
        let worker = thread::spawn({
            let (calls, handled) = (calls.clone(), handled.clone());
            move || {
                if calls.start(id) {
                    handled.fetch_add(1, Relaxed);
                    calls.finish(id, 7);
                }
            }
        });
        let ended = calls.give_up(id);
        if ended == CallEnd::Cancelled {
            handled.fetch_add(1, Relaxed); // The base route.
        }
        let next = calls.take().expect("the slot is free again");
        assert_ne!(next, id);
        worker.join().unwrap();
        assert_eq!(handled.load(Relaxed), 1, "handled by both, or by none: {ended:?}");
        assert!(matches!(ended, CallEnd::Cancelled | CallEnd::Abandoned | CallEnd::Done(7)));
        assert!(!calls.start(id), "an old record starts nothing");
        assert!(calls.start(next) && calls.finish(next, 9), "the next call is untouched");
    });
}

/// A caller sleeps until its result is there. The slot's next user sleeps until its own result is there, even if a
/// late wake reaches it. Catches: `call-done-relaxed`, `call-wake-before-done`, `wake-fence-publisher`,
/// `call-trusts-wake`.
#[test]
fn call_and_next_user() {
    explore(|| {
        let calls = Arc::new(Calls::new(1, false));
        let first = calls.take().unwrap();
        let done = Arc::new(AtomicU64::new(0));
        let one = thread::spawn({
            let (calls, done) = (calls.clone(), done.clone());
            move || {
                assert!(calls.start(first));
                done.store(1, Relaxed); // Relaxed: stands for plain memory of the handler.
                calls.finish(first, 7);
            }
        });
        assert_eq!(calls.wait(first, None, || false), CallEnd::Done(7));
        // A load that loom rejects unless it happens after the handler's store.
        assert_eq!(own_load(&done), 1);
        let second = calls.take().unwrap();
        let two = thread::spawn({
            let calls = calls.clone();
            move || {
                assert!(calls.start(second));
                calls.finish(second, 8);
            }
        });
        assert_eq!(calls.wait(second, None, || false), CallEnd::Done(8));
        one.join().unwrap();
        two.join().unwrap();
    });
}

/// A stop closes the ring while a caller goes to sleep. The caller wakes and has its message back. Catches:
/// `wake-fence-publisher`.
#[test]
fn call_and_stop() {
    explore(|| {
        let calls = Arc::new(Calls::new(1, false));
        let closed = Arc::new(AtomicBool::new(false));
        let id = calls.take().unwrap();
        let stopper = thread::spawn({
            let (calls, closed) = (calls.clone(), closed.clone());
            move || {
                closed.store(true, crate::sync::Release);
                calls.wake_all();
            }
        });
        assert_eq!(calls.wait(id, None, || closed.load(Relaxed)), CallEnd::Cancelled);
        stopper.join().unwrap();
    });
}
