//! Values handed over by number: taken once, dropped once, whoever comes first.

use super::explore;
use crate::sync::Arc;
use crate::sync::handoff::Handoff;
use loom::thread;

/// A worker takes a value by a number that stands in the ring twice, while its port's end sweeps the table: one of the
/// three gets it. Catches: `handoff-take-by-load`, `handoff-live-relaxed`.
#[test]
fn handoff_once() {
    explore(|| {
        let table = Arc::new(Handoff::new(1));
        let number = table.put(7, Box::new(42)).unwrap();
        let takers = [(); 2].map(|()| {
            let table = table.clone();
            thread::spawn(move || usize::from(table.take(number).is_some_and(|value| *value == 42)))
        });
        let swept = table.sweep(|tag| tag == 7).len();
        let taken: usize = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
        assert_eq!(swept + taken, 1);
        assert_eq!(table.live(), 0);
    });
}

/// Another thread puts its value where one has just been taken: each number leads to its own value. Catches:
/// `handoff-free-relaxed`, `handoff-put-relaxed`, `handoff-live-relaxed`.
#[test]
fn handoff_reuse() {
    explore(|| {
        let table = Arc::new(Handoff::new(1));
        let first = table.put(1, Box::new(1)).unwrap();
        let other = thread::spawn({
            let table = table.clone();
            move || {
                // Where the first is still there, there is no room.
                let Ok(second) = table.put(2, Box::new(2)) else { return };
                assert_eq!(table.take(first), None, "an old number");
                assert_eq!(table.take(second), Some(Box::new(2)));
            }
        });
        assert_eq!(table.take(first), Some(Box::new(1)));
        assert!(table.sweep(|tag| tag == 1).is_empty());
        other.join().unwrap();
        assert_eq!(table.live(), 0);
    });
}

/// A value is put by one thread and found by the other's sweep. Catches: `handoff-live-relaxed`.
#[test]
fn handoff_put_and_sweep() {
    explore(|| {
        let table = Arc::new(Handoff::new(1));
        let putter = thread::spawn({
            let table = table.clone();
            move || table.put(1, Box::new(1)).unwrap()
        });
        // A thread of its own, behind the other: loom then tries the sweep after the put as well.
        let sweeper = thread::spawn({
            let table = table.clone();
            move || table.sweep(|tag| tag == 1)
        });
        let number = putter.join().unwrap();
        let swept = sweeper.join().unwrap();
        assert_eq!(table.take(number).is_some(), swept.is_empty());
    });
}
