//! Work that a poller leaves to the thread that holds the submitting half of a shared port.

use super::explore;
use crate::sync::{Arc, Delegated};
use loom::thread;

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
