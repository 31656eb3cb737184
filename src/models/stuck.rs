//! A worker inside a handler: a stop that has given up waiting for it, and the word pair that tells a watchdog which
//! handler it is in, and since when (a seqlock).

use super::explore;
use crate::router::model::Activity;
use crate::sync::{Arc, Handover};
use loom::cell::UnsafeCell;
use loom::thread;

/// A worker's own state. Only its holder may touch the data that belongs to it.
struct State {
    probe: Arc<UnsafeCell<u32>>,
}

impl State {
    fn touch(&self) {
        // SAFETY: loom checks that accesses are exclusive; that is the test.
        self.probe.with_mut(|value| unsafe { *value += 1 });
    }
}

/// A handler emits a message and then returns, while a stop claims its worker as stuck. Either the worker continues
/// or the claimer settles; never both, never neither. Catches: `stuck-claim-by-swap`, `stuck-back-by-swap`,
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
                // Two rounds: an emission in the middle of the handler, and the handler's end.
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

/// A watchdog reads while one handler returns and the next begins. It never pairs one handler's number with the
/// other's start. Catches: `activity-no-release-fence`, `activity-no-acquire-fence`.
#[test]
fn starts_of_handlers_are_not_mixed_up() {
    explore(|| {
        let activity = Arc::new(Activity::new());
        activity.begin(10);
        let worker = thread::spawn({
            let activity = activity.clone();
            move || {
                activity.end();
                activity.begin(20);
            }
        });
        if let Some((number, started)) = activity.present() {
            assert_eq!(started, if number == 1 { 10 } else { 20 }, "handler {number}");
        }
        worker.join().unwrap();
        assert_eq!(activity.present(), Some((3, 20)));
    });
}
