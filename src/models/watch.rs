//! The word pair that tells a watchdog which handler a worker is in, and since when: a seqlock.

use super::explore;
use crate::router::model::Activity;
use crate::sync::Arc;
use loom::thread;

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
