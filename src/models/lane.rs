//! Lanes: acknowledgements and deliveries while a slot goes to its next client, a stop while the host pushes, posts, payloads
//! that are put while the other side leaves, and the count of what the host has read.

use super::clients::{limits, new};
use super::explore;
use crate::clients::{ClientId, Clients, Limits, NewClient, Phase};
use crate::clock::Clock;
use crate::metrics::PathShard;
use crate::park::{Doorbell, Seen, WakeWord, post_bit};
use crate::ring::record::ingress_kind;
use crate::ring::{Attachment, Consumer, Memory, Producer, ring};
use crate::router::model::{LaneRings, Payloads, Way, untaken_messages};
use crate::sync::{Arc, Mutex};
use loom::thread;

const LIMITS: Limits = Limits { messages: 2, bytes: 100 };

/// Connects a client of a lane in both steps, if a slot is free.
fn connect(clients: &Clients, client: NewClient<'_>) -> Option<ClientId> {
    let (reserved, _) = clients.reserve(client).ok()?;
    let slot = clients.slot(reserved.index()).unwrap();
    assert_eq!(slot.phase_of(reserved.generation()), Some(Phase::Reserved));
    assert!(
        slot.credit.try_add(reserved.generation(), 1, LIMITS).is_err(),
        "nobody delivers before the second step"
    );
    clients.enter(reserved).unwrap().unwrap();
    Some(reserved)
}

/// The home worker closes a client whose last record was read, and takes a late acknowledgement of it, while the slot goes to
/// the next client and that one gets a delivery. The next client's credit is unaffected. Catches:
/// `lane-acknowledges-successor`.
#[test]
fn acknowledgement_and_reuse() {
    explore(|| {
        let clients = Arc::new(Clients::new(limits(1), [1, 2], Clock::manual().0));
        let first = connect(&clients, new("a")).unwrap();
        let slot = clients.slot(first.index()).unwrap();
        slot.credit.try_add(first.generation(), 10, LIMITS).unwrap();
        assert!(clients.begin_close(first));
        let home = thread::spawn({
            let clients = clients.clone();
            move || {
                let forgiven = clients.end_close(first).map(|(messages, _)| messages);
                let late = clients.acknowledge_on_lane(first, 1, 10);
                (forgiven, late)
            }
        });
        let second = connect(&clients, new("b"));
        if let Some(second) = second {
            slot.credit.try_add(second.generation(), 10, LIMITS).unwrap();
        }
        assert_eq!(home.join().unwrap(), (Some(1), (0, 0)));
        if let Some(second) = second {
            assert_eq!(slot.place().generation, second.generation());
            assert_eq!(slot.credit.outstanding(), (1, 10), "the credit of another");
        }
    });
}

/// Another worker delivers to a client while its home worker closes it, forgives what is outstanding, and the slot goes to a
/// client of another port. The delivery goes to the first client's port or nowhere, and the next client's credit is
/// unaffected. Nobody waits for the end of the other worker's batch. Catches: `lane-place-unchecked`,
/// `credit-ignores-generation`.
#[test]
fn delivery_and_reuse() {
    explore(|| {
        let clients = Arc::new(Clients::new(limits(1), [1, 2], Clock::manual().0));
        let first = connect(&clients, new("a")).unwrap();
        let other = thread::spawn({
            let clients = clients.clone();
            move || {
                let slot = clients.slot(first.index()).unwrap();
                match Clients::take_credit(slot, first, 10, LIMITS) {
                    Ok(port) => {
                        assert_eq!(port, 0, "another client's port");
                        // The ring has no room after all.
                        slot.credit.subtract(first.generation(), 1, 10);
                    }
                    Err(_) => {}
                }
            }
        });
        assert!(clients.begin_close(first));
        clients.end_close(first).unwrap();
        let second = connect(&clients, NewClient { port: 1, ..new("b") });
        if let Some(second) = second {
            let slot = clients.slot(second.index()).unwrap();
            slot.credit.try_add(second.generation(), 10, LIMITS).unwrap();
            other.join().unwrap();
            assert_eq!(slot.credit.outstanding(), (1, 10), "the credit of another");
        } else {
            other.join().unwrap();
        }
    });
}

fn push(producer: &mut Producer) -> bool {
    if producer.claim(8, ingress_kind::MESSAGE, 0).is_err() {
        return false;
    }
    producer.commit();
    producer.publish();
    true
}

/// A worker stops while a host pushes without a look at the closed word. Each message is taken, or counted as refused by the
/// side that leaves second; never both. Catches: `lane-settle-from-head`, `attach-leave-relaxed`.
#[test]
fn stop_and_push() {
    explore(|| {
        let (mut producer, mut consumer) = ring(256).unwrap();
        let slot = Arc::new(Attachment::new());
        let rings = Arc::new(LaneRings::new(256, 0));
        let memory = producer.memory().clone();
        assert!(slot.attach((memory, rings.clone())).is_ok());
        let settle = |(memory, rings): (Arc<Memory>, Arc<LaneRings>)| untaken_messages(&memory, &rings);
        assert!(push(&mut producer));
        let worker = thread::spawn({
            let slot = slot.clone();
            move || {
                let (mut taken, mut settled) = (0, 0);
                let seal = consumer.close_and_seal().unwrap();
                while consumer.position() < seal && consumer.next().unwrap().is_some() {
                    taken += 1;
                }
                rings.store_seal(consumer.position());
                slot.leave(|pair| settled = settle(pair));
                consumer.release();
                (taken, settled)
            }
        });
        let pushed = 1 + (0..2).filter(|_| push(&mut producer)).count() as u64;
        let mut settled = 0;
        slot.leave(|pair| settled = settle(pair));
        let (taken, settled_by_worker) = worker.join().unwrap();
        assert_eq!(taken + settled + settled_by_worker, pushed);
    });
}

/// Two lanes connect names with different bits, while the worker takes the posts and sleeps. It sees both. Catches:
/// `post-overwrites`, `post-lost`, `sleep-without-post`, `wake-fence-publisher`, `wake-fence-sleeper`.
#[test]
fn two_posts() {
    explore(|| {
        let bell = Arc::new(Doorbell::new(WakeWord::futex()));
        let lanes = [1u64, 2].map(|hash| {
            let bell = bell.clone();
            thread::spawn(move || bell.post(hash))
        });
        let all = post_bit(1) | post_bit(2);
        let mut seen = 0;
        while seen != all {
            let posts = bell.take_posts();
            seen |= posts;
            if posts == 0 {
                bell.sleep_unless(Seen { attach_changes: 0, stop: false }, None, || false);
            }
        }
        lanes.into_iter().for_each(|lane| lane.join().unwrap());
    });
}

/// A host puts a payload while the worker leaves and sweeps. The payload does not stay. Catches: `put-without-look`,
/// `put-without-fence`, `sweep-without-fence`.
#[test]
fn put_and_leave() {
    explore(|| {
        let payloads = Arc::new(Payloads::new(1, 100));
        let rings = Arc::new(LaneRings::new(128, 0));
        let worker = thread::spawn({
            let (payloads, rings) = (payloads.clone(), rings.clone());
            move || {
                rings.store_seal(0);
                drop(payloads.sweep(Way::In, 0, 0));
            }
        });
        let payload = payloads.fill(10, |_| ()).unwrap();
        let put = payloads.put_unless((Way::In, 0, 0), payload, || rings.seal().is_some());
        worker.join().unwrap();
        let _ = put;
        assert_eq!(payloads.figures(), (0, 0), "nobody takes it any more");
    });
}

/// A reader counts what the host has read, while the worker writes records of one recipient each and the host reads them, for
/// more than a lap of the rows. The count is never more than was released and never less than was released before. Catches:
/// `lane-head-once`.
#[test]
fn count_of_the_read() {
    explore(|| {
        let memory = Arc::new(Memory::new(128).unwrap());
        let rings = Arc::new(LaneRings::new(128, 0));
        let (mut producer, mut consumer) = (Producer::new(memory.clone()), Consumer::new(memory.clone()));
        // Three records are read; the row of the second one is the one that the sixth overwrites.
        let write = |producer: &mut Producer, rings: &LaneRings| {
            let before = producer.position();
            producer.claim(8, 1, 0).unwrap();
            producer.commit();
            rings.emit((before, before, producer.position()), 1);
            producer.publish();
        };
        let read = |consumer: &mut Consumer| {
            consumer.refresh().unwrap();
            assert!(consumer.next().unwrap().is_some());
            consumer.release();
        };
        for _ in 0..2 {
            write(&mut producer, &rings);
            read(&mut consumer);
        }
        let released = Arc::new(Mutex::new(2u64));
        let both = thread::spawn({
            let (rings, released) = (rings.clone(), released.clone());
            move || {
                for _ in 0..4 {
                    *released.lock().unwrap() += 1;
                    write(&mut producer, &rings);
                    read(&mut consumer);
                }
            }
        });
        let path = PathShard::new();
        let before = *released.lock().unwrap();
        let count = rings.consumed(&memory, &path.lane);
        let after = *released.lock().unwrap();
        assert!(count + 1 >= before && count <= after, "{before} {count} {after}");
        both.join().unwrap();
        assert_eq!(rings.consumed(&memory, &path.lane), 6);
    });
}
