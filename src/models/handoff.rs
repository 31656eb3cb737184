//! Values handed over by number: each is taken once and dropped once, in any order of the threads. Work that a poller
//! leaves to the thread that holds the submitting half of a shared port: it is done once.

use super::explore;
use crate::sync::handoff::Handoff;
use crate::sync::{Arc, Delegated};
use loom::thread;

/// A ring contains a value's number twice, so that workers take it twice, while the end of the port sweeps the table.
/// Exactly one of the three gets the value. Catches: `handoff-take-by-load`, `handoff-live-relaxed`.
#[test]
fn handoff_once() {
    explore(|| {
        let table = Arc::new(Handoff::new(1));
        let number = table.put(7, Box::new(42)).unwrap();
        let takers = [(); 2].map(|()| {
            let table = table.clone();
            thread::spawn(move || usize::from(table.take(number, 7).is_some_and(|value| *value == 42)))
        });
        let swept = table.sweep(|tag| tag == 7).len();
        let taken: usize = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
        assert_eq!(swept + taken, 1);
        assert_eq!(table.live(), 0);
    });
}

/// Another thread puts its value into an entry whose value has just been taken. Each number leads to its own value.
/// Catches: `handoff-free-relaxed`, `handoff-put-relaxed`, `handoff-live-relaxed`.
#[test]
fn handoff_reuse() {
    explore(|| {
        let table = Arc::new(Handoff::new(1));
        let first = table.put(1, Box::new(1)).unwrap();
        let other = thread::spawn({
            let table = table.clone();
            move || {
                // The table is full while the first value is still there.
                let Ok(second) = table.put(2, Box::new(2)) else { return };
                assert_eq!(table.take(first, 1), None, "an old number");
                assert_eq!(table.take(second, 2), Some(Box::new(2)));
            }
        });
        assert_eq!(table.take(first, 1), Some(Box::new(1)));
        assert!(table.sweep(|tag| tag == 1).is_empty());
        other.join().unwrap();
        assert_eq!(table.live(), 0);
    });
}

/// One thread puts a value; another thread's sweep finds it. Catches: `handoff-live-relaxed`.
#[test]
fn handoff_put_and_sweep() {
    explore(|| {
        let table = Arc::new(Handoff::new(1));
        let putter = thread::spawn({
            let table = table.clone();
            move || table.put(1, Box::new(1)).unwrap()
        });
        // A separate thread, spawned after the putter, so that loom also tries the sweep after the put.
        let sweeper = thread::spawn({
            let table = table.clone();
            move || table.sweep(|tag| tag == 1)
        });
        let number = putter.join().unwrap();
        let swept = sweeper.join().unwrap();
        assert_eq!(table.take(number, 1).is_some(), swept.is_empty());
    });
}

/// A poller requests work while a submitter holds the lock, and does not wait. The work is done nevertheless.
/// Catches: `delegated-fence`.
#[test]
fn what_a_poller_asks_for_is_done() {
    explore(|| {
        let half = Arc::new(Delegated::new(0u32));
        let serve = |served: &mut u32| *served += 1;
        let submitter = thread::spawn({
            let half = half.clone();
            move || {
                let call = |half: Option<&mut u32>| {
                    thread::yield_now(); // loom switches threads only at atomics and at explicit yields.
                    *half.unwrap() += 100;
                };
                half.with(call, serve);
            }
        });
        half.ask(serve);
        submitter.join().unwrap();
        assert_eq!(half.take(), Some(101));
    });
}
