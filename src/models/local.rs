//! A worker and a port on one thread, with one wake word and one descriptor for both. The models use the shipped
//! sequences of `park`.

use super::explore;
use crate::park::{Doorbell, Keeping, Seen, Waiter, WakeWord, after_publishing};
use crate::ring::{Consumer, Producer, ring};
use crate::sync::{Arc, mutant};
use loom::thread;

fn publish(producer: &mut Producer, bell: &Doorbell) -> bool {
    producer.claim(8, 1, 0).unwrap();
    producer.commit();
    producer.publish();
    after_publishing(|| bell.wake().wake_if_asleep())
}

fn drain(consumer: &mut Consumer) -> usize {
    consumer.refresh().unwrap();
    let mut count = 0;
    while consumer.next().unwrap().is_some() {
        count += 1;
    }
    consumer.release();
    count
}

/// One thread is producer and consumer at once: its port pushes to its own worker. Another port pushes to the worker,
/// and another worker pushes to the port. Its first wake comes from a socket, so that a waker may have cleared the word
/// and not signalled yet. The thread sleeps on no data, never signals itself, and sees each signal once. Catches:
/// `local-port-half-only`, `local-worker-half-only`, `local-no-disarm`, `local-read-if-cleared`,
/// `local-read-before-wait`, `wake-fence-sleeper`, `wake-fence-publisher`, `wake-recheck-before-arm`,
/// `wake-before-clear`.
#[test]
fn one_thread_is_worker_and_port() {
    explore(|| {
        let bell = Arc::new(Doorbell::new(WakeWord::descriptor().unwrap()));
        let (mut own, mut from_own) = ring(128).unwrap();
        let (mut other_port, mut from_port) = ring(128).unwrap();
        let (mut other_worker, mut from_worker) = ring(128).unwrap();
        let others = [
            thread::spawn({
                let bell = bell.clone();
                move || publish(&mut other_port, &bell)
            }),
            thread::spawn({
                let bell = bell.clone();
                move || publish(&mut other_worker, &bell)
            }),
        ];
        let mut waiter = Waiter::default();
        let (mut taken, mut polled, mut waits, mut socket) = (0, 0, 0, true);
        loop {
            taken += drain(&mut from_own) + drain(&mut from_port);
            polled += drain(&mut from_worker);
            if (taken, polled) == (2, 1) {
                break;
            }
            let seen = Seen { attach_changes: 0, stop: false };
            let rings = || from_own.has_more() || from_port.has_more();
            let may_wait = bell.arm_unless(&mut waiter, seen, rings, || from_worker.has_more());
            // The first wait ends with a socket; the descriptor is not reported, whatever its state is.
            let reported = may_wait && !socket && bell.wake().sleep(None);
            waits += u32::from(reported);
            assert!(waits <= 2, "the descriptor stays readable after its signals were seen");
            waiter.awake(bell.wake(), reported);
            if std::mem::take(&mut socket) {
                assert!(!publish(&mut own, &bell), "the thread signals itself");
            }
        }
        for thread in others {
            thread.join().unwrap();
        }
    });
}

/// An owner takes a worker over from its keeper while another thread publishes. Keeper and owner sleep on the same word
/// one after the other; neither hides the other's sleep. Catches: `own-without-waiting`, `keeper-sleeps-on`,
/// `wake-fence-sleeper`, `wake-fence-publisher`.
#[test]
fn an_owner_follows_the_keeper() {
    explore(|| {
        let bell = Arc::new(Doorbell::new(WakeWord::descriptor().unwrap()));
        let keeping = Arc::new(Keeping::new());
        let (mut other_port, mut from_port) = ring(128).unwrap();
        let publisher = thread::spawn({
            let bell = bell.clone();
            move || publish(&mut other_port, &bell)
        });
        let keeper = thread::spawn({
            let (bell, keeping) = (bell.clone(), keeping.clone());
            move || {
                keeping.keep(|| {
                    // The keeper leaves the records to the owner, as if it had been in a cycle when they came.
                    let mut waiter = Waiter::default();
                    let seen = Seen { attach_changes: 0, stop: false };
                    let owned = || keeping.is_owned() && !mutant("keeper-sleeps-on");
                    let may_wait = bell.arm_unless(&mut waiter, seen, || false, owned);
                    let reported = may_wait && bell.wake().sleep(None);
                    waiter.awake(bell.wake(), reported);
                    true
                });
            }
        });
        assert!(keeping.own(bell.wake()));
        let mut waiter = Waiter::default();
        while drain(&mut from_port) == 0 {
            let seen = Seen { attach_changes: 0, stop: false };
            let may_wait = bell.arm_unless(&mut waiter, seen, || from_port.has_more(), || false);
            let reported = may_wait && bell.wake().sleep(None);
            waiter.awake(bell.wake(), reported);
        }
        publisher.join().unwrap();
        keeper.join().unwrap();
    });
}
