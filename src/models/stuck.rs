//! A worker inside a handler, and a stop that no longer waits for it.

use super::explore;
use crate::sync::{Arc, Handover};
use loom::cell::UnsafeCell;
use loom::thread;

/// A worker's own state: whoever has it is the only one to touch what goes with it.
struct State {
    probe: Arc<UnsafeCell<u32>>,
}

impl State {
    fn touch(&self) {
        // SAFETY: loom checks that nobody else is at it; that is the test.
        self.probe.with_mut(|value| unsafe { *value += 1 });
    }
}

/// A handler comes back, emits in between, and ends, while a stop claims its worker as stuck: either the worker goes on
/// or the claimer settles, never both, and never neither. Catches: `stuck-claim-by-swap`, `stuck-back-by-swap`,
/// `stuck-lay-down-relaxed`, `stuck-take-relaxed`.
#[test]
fn handler_returns_while_it_is_given_up() {
    explore(|| {
        let handover = Arc::new(Handover::new());
        let probe = Arc::new(UnsafeCell::new(0));
        let worker = thread::spawn({
            let (handover, probe) = (handover.clone(), probe.clone());
            move || {
                let mut state = State { probe };
                // Two turns: an emission in the middle of the handler, and its end.
                for _ in 0..2 {
                    state.touch();
                    assert!(handover.lay_down(state).is_ok());
                    state = handover.take_back()?;
                }
                state.touch();
                Some(())
            }
        });
        let claimed: Option<State> = handover.claim();
        let settled = claimed.is_some();
        if let Some(state) = claimed {
            state.touch();
            assert!(handover.is_claimed());
        }
        let went_on = worker.join().unwrap().is_some();
        assert_ne!(went_on, settled, "the worker and the stop both went on, or neither did");
        assert!(handover.claim().is_none(), "claimed twice");
    });
}
