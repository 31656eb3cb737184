//! Work that a poller leaves to whoever holds the submitting half of a shared port.

use super::explore;
use crate::sync::{Arc, Delegated};
use loom::thread;

/// A poller asks while a submitter holds the lock, and waits for nobody: what it asked for is done all the same. Catches:
/// `delegated-fence`.
#[test]
fn what_a_poller_asks_for_is_done() {
    explore(|| {
        let half = Arc::new(Delegated::new(0u32));
        let serve = |served: &mut u32| *served += 1;
        let submitter = thread::spawn({
            let half = half.clone();
            move || {
                let call = |half: Option<&mut u32>| {
                    thread::yield_now(); // Loom changes threads only where it is told to, and at atomics.
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
