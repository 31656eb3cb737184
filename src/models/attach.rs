//! Attach, detach and the seal: two sides that leave in any order, and a stop while a producer is stalled.

use super::explore;
use crate::park::{WakeWord, after_publishing};
use crate::ring::{AttachState, Attachment, Consumer, Producer, PushError, ring};
use crate::router::model::PortLink;
use crate::sync::{Arc, Mutex, mutant};
use loom::cell::UnsafeCell;
use loom::thread;

/// Data that only the side that owns the pair may touch. loom reports concurrent accesses.
#[derive(Clone)]
struct Probe(Arc<UnsafeCell<u32>>);

impl Probe {
    fn touch(&self) {
        // SAFETY: loom checks that accesses are exclusive; that is the test.
        self.0.with_mut(|value| unsafe { *value += 1 });
    }
}

/// Port and worker use one slot twice: first the port leaves and the worker follows, then the worker stops while the
/// port leaves. The second pair reuses the memory of the first, as an allocator would. Catches:
/// `attach-leave-relaxed`, `attach-free-relaxed`, `attach-free-relaxed-load`, `attach-attached-relaxed`,
/// `attach-free-before-settle`.
#[test]
fn attach_and_leave() {
    explore(|| {
        let slot: Arc<Attachment<(Probe, u32)>> = Arc::new(Attachment::new());
        let settled = Arc::new(Mutex::new(Vec::new()));
        let memory = Probe(Arc::new(UnsafeCell::new(0)));
        let settle = |settled: &Mutex<Vec<u32>>, (memory, round): (Probe, u32)| {
            memory.touch();
            settled.lock().unwrap().push(round);
        };
        // Stands for what each side writes in its own part of the memory before it leaves.
        let parts = [Probe(Arc::new(UnsafeCell::new(0))), Probe(Arc::new(UnsafeCell::new(0)))];
        let worker = thread::spawn({
            let (slot, settled, parts) = (slot.clone(), settled.clone(), parts.clone());
            move || {
                while slot.state() != AttachState::Detaching {
                    thread::yield_now();
                }
                assert!(slot.view().is_some());
                parts[0].touch();
                slot.leave(|value| {
                    parts[1].touch();
                    settle(&settled, value);
                });
                while slot.state() == AttachState::Free {
                    thread::yield_now();
                }
                assert!(slot.view().is_some());
                parts[0].touch();
                slot.leave(|value| {
                    parts[1].touch();
                    settle(&settled, value);
                });
            }
        });
        for round in 0..2 {
            while slot.attach((memory.clone(), round)).is_err() {
                thread::yield_now();
            }
            parts[1].touch();
            slot.leave(|value| {
                parts[0].touch();
                settle(&settled, value);
            });
        }
        worker.join().unwrap();
        assert_eq!(*settled.lock().unwrap(), [0, 1], "each pair is settled once, in turn");
    });
}

struct Rings {
    consumer_memory: Arc<crate::ring::Memory>,
}

impl Clone for Rings {
    fn clone(&self) -> Self {
        Self { consumer_memory: self.consumer_memory.clone() }
    }
}

/// Counts the records above the seal, as `router::pair` does when it settles them.
fn settle(rings: &Rings) -> u32 {
    let start = if mutant("settle-from-head") {
        rings.consumer_memory.shared_head()
    } else {
        rings.consumer_memory.seal().expect("the worker sealed before it left")
    };
    let mut rest = Consumer::starting_at(rings.consumer_memory.clone(), start);
    rest.refresh().unwrap();
    let mut count = 0;
    while rest.next().unwrap().is_some() {
        count += 1;
    }
    count
}

/// A worker stops while a producer publishes and stalls. Every pushed record is handled or settled, exactly once, and
/// the stalled producer wakes. Catches: `stop-no-space-step`, `stall-recheck-without-closed`, `settle-from-head`. The
/// swap in `leave` is covered by `attach-leave-relaxed`.
#[test]
fn stop_and_seal() {
    explore(|| {
        let (mut producer, mut consumer) = ring(128).unwrap();
        let slot = Arc::new(Attachment::new());
        assert!(slot.attach(Rings { consumer_memory: producer.memory().clone() }).is_ok());
        let port_word = Arc::new(WakeWord::descriptor().unwrap());
        let link = PortLink::new(port_word.clone(), 0, [producer.memory().clone()].into_iter());
        let worker = thread::spawn({
            let (slot, port_word) = (slot.clone(), port_word.clone());
            move || {
                let mut handled = 0u32;
                let mut settled = 0;
                let seal = consumer.close_and_seal().unwrap();
                while consumer.position() < seal && consumer.next().unwrap().is_some() {
                    handled += 1;
                }
                consumer.store_seal();
                if mutant("settle-from-head") {
                    // The head is released in batches, so it may lie below the seal.
                } else {
                    consumer.release();
                }
                after_publishing(|| {
                    if !mutant("stop-no-space-step") {
                        port_word.wake_if_asleep();
                    }
                });
                slot.leave(|rings| settled = settle(&rings));
                (handled, settled)
            }
        });
        let mut pushed = 0u32;
        // Three records into a ring of two: the third stalls unless the worker has taken one before.
        while pushed < 3 {
            match push(&mut producer) {
                Ok(()) => pushed += 1,
                Err(_) if producer.memory().is_closed() => break,
                Err(_) => {
                    let head = producer.seen_head();
                    link.stall(0, &mut producer, head);
                    if port_word.arm_unless(|| link.space_moved()) {
                        port_word.sleep(None);
                    }
                    port_word.disarm();
                    port_word.drain();
                }
            }
        }
        let mut settled = 0;
        slot.leave(|rings| settled = settle(&rings));
        let (handled, settled_by_worker) = worker.join().unwrap();
        assert_eq!(handled + settled + settled_by_worker, pushed);
    });
}

fn push(producer: &mut Producer) -> Result<(), PushError> {
    producer.claim(8, 1, 0)?;
    producer.commit();
    producer.publish();
    Ok(())
}
