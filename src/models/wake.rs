//! Both wakes. Sleepers really sleep, so that loom reports a lost wake as a deadlock. The models use the shipped
//! sequences of `park`, so a weakening in `park` applies to all of them.

use super::explore;
use crate::park::{Doorbell, Seen, WakeWord, after_publishing};
use crate::ring::{Consumer, Producer, PushError, ring};
use crate::router::model::{EgressReceiver, PortLink};
use crate::sync::{Arc, AtomicBool, Relaxed, Release, mutant};
use loom::thread;

fn push(producer: &mut Producer) -> Result<(), PushError> {
    producer.claim(8, 1, 0)?;
    producer.commit();
    producer.publish();
    Ok(())
}

fn publish_and_wake(producer: &mut Producer, word: &WakeWord) {
    push(producer).unwrap();
    after_publishing(|| word.wake_if_asleep());
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

/// One consumer asleep on two rings, two producers. Catches: `wake-fence-sleeper`, `wake-fence-publisher`,
/// `wake-before-clear`, `wake-recheck-before-arm`, `wake-one-ring`, `wake-cached-tail`.
#[test]
fn wake_data() {
    explore(|| {
        let word = Arc::new(WakeWord::futex());
        let (mut first, mut from_first) = ring(128).unwrap();
        let (mut second, mut from_second) = ring(128).unwrap();
        let threads = [
            thread::spawn({
                let word = word.clone();
                move || {
                    publish_and_wake(&mut first, &word);
                    publish_and_wake(&mut first, &word);
                }
            }),
            thread::spawn({
                let word = word.clone();
                move || publish_and_wake(&mut second, &word)
            }),
        ];
        let mut taken = 0;
        loop {
            taken += drain(&mut from_first) + drain(&mut from_second);
            if taken == 3 {
                break;
            }
            word.sleep_unless(None, || {
                from_first.has_more() || (from_second.has_more() && !mutant("wake-one-ring"))
            });
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// A port that is both the producer of one ring and the consumer of another sleeps for either on one descriptor,
/// while a worker drains the first ring and fills the second. Catches: `wake-fence-sleeper`, `wake-fence-publisher`,
/// `space-consumer-clears`, `wake-leaves-word`, `space-drain-after-recheck`, `stall-not-noted`.
#[test]
fn wake_space() {
    explore(|| {
        let port_word = Arc::new(WakeWord::descriptor().unwrap());
        let bell = Arc::new(Doorbell::new(WakeWord::futex()));
        let (mut out, mut worker_in) = ring(128).unwrap();
        let (mut worker_out, mut back) = ring(128).unwrap();
        let link = PortLink::new(port_word.clone(), 0, [out.memory().clone()].into_iter());
        let worker = thread::spawn({
            let (port_word, bell) = (port_word.clone(), bell.clone());
            move || {
                let mut taken = 0;
                loop {
                    let count = drain(&mut worker_in);
                    taken += count;
                    if count > 0 {
                        if taken == 4 {
                            push(&mut worker_out).unwrap();
                        }
                        after_publishing(|| {
                            if worker_in.memory().needs_space() || taken == 4 {
                                port_word.wake_if_asleep();
                                if mutant("space-consumer-clears") {
                                    // As late as a store buffer could make it visible.
                                    worker_in.memory().clear_need_space();
                                }
                            }
                        });
                    }
                    if taken == 4 {
                        return;
                    }
                    let seen = Seen { attach_changes: 0, stop: false };
                    bell.sleep_unless(seen, None, || worker_in.has_more());
                }
            }
        });
        let (mut sent, mut got) = (0, 0);
        loop {
            port_word.drain();
            got += drain(&mut back);
            while sent < 4 {
                match push(&mut out) {
                    Ok(()) => {
                        sent += 1;
                        link.published(0, &mut out);
                    }
                    Err(_) => {
                        let head = out.seen_head();
                        link.stall(0, &mut out, head);
                        break;
                    }
                }
                after_publishing(|| bell.wake().wake_if_asleep());
            }
            if got == 1 {
                break;
            }
            let sleeps = port_word.arm_unless(|| link.space_moved() || back.has_more());
            if mutant("space-drain-after-recheck") {
                port_word.drain();
            }
            if sleeps {
                port_word.sleep(None);
            }
            port_word.disarm();
        }
        worker.join().unwrap();
    });
}

/// A port commits a message, has the next one refused, then publishes. The publication does not withdraw the request
/// for space. Catches: `publish-ends-request`, `wake-fence-publisher`.
#[test]
fn refused_before_publishing() {
    explore(|| {
        let word = Arc::new(WakeWord::descriptor().unwrap());
        let (mut out, mut worker_in) = ring(128).unwrap();
        push(&mut out).unwrap();
        let link = PortLink::new(word.clone(), 0, [out.memory().clone()].into_iter());
        let worker = thread::spawn({
            let word = word.clone();
            move || {
                // The first drain may take one record or both.
                for _ in 0..2 {
                    drain(&mut worker_in);
                    after_publishing(|| {
                        if worker_in.memory().needs_space() {
                            word.wake_if_asleep();
                        }
                    });
                    thread::yield_now();
                }
            }
        });
        out.claim(8, 1, 0).unwrap();
        out.commit();
        if out.claim(8, 1, 0).is_err() {
            let head = out.seen_head();
            link.stall(0, &mut out, head);
            out.publish();
            link.published(0, &mut out);
            while !link.space_moved() {
                if word.arm_unless(|| link.space_moved()) {
                    word.sleep(None);
                } else {
                    break;
                }
                word.disarm();
                word.drain();
            }
        }
        worker.join().unwrap();
    });
}

/// A shared port: a submitter is refused while the poller goes to sleep and the worker makes room. The poller learns
/// of the room. Catches: `stall-without-look`, `stall-not-noted`, `wake-fence-publisher`.
#[test]
fn space_of_a_shared_port() {
    explore(|| {
        let word = Arc::new(WakeWord::descriptor().unwrap());
        let (mut out, mut worker_in) = ring(128).unwrap();
        push(&mut out).unwrap();
        push(&mut out).unwrap();
        let link = Arc::new(PortLink::new(word.clone(), 0, [out.memory().clone()].into_iter()));
        let accepted = Arc::new(AtomicBool::new(false));
        let submitter = thread::spawn({
            let (link, accepted, word) = (link.clone(), accepted.clone(), word.clone());
            move || match push(&mut out) {
                Ok(()) => {
                    accepted.store(true, Release);
                    after_publishing(|| word.wake_if_asleep());
                }
                Err(_) => {
                    let head = out.seen_head();
                    link.stall(0, &mut out, head);
                }
            }
        });
        let worker = thread::spawn({
            let word = word.clone();
            move || {
                drain(&mut worker_in);
                after_publishing(|| {
                    if worker_in.memory().needs_space() {
                        word.wake_if_asleep();
                    }
                });
            }
        });
        let mut room = false;
        while !room {
            let look = || {
                room |= link.space_moved() || accepted.load(Relaxed);
                room
            };
            if word.arm_unless(look) {
                word.sleep(None);
            }
            word.disarm();
            word.drain();
        }
        submitter.join().unwrap();
        worker.join().unwrap();
    });
}

/// A port finds a limit on messages reached while a worker ends the message that uses it up. The port asks for the ring's
/// space and looks again, so it does not sleep past the end. Catches: `stall-not-noted`, `wake-fence-publisher`.
#[test]
fn end_of_a_message_below_a_limit() {
    explore(|| {
        let word = Arc::new(WakeWord::descriptor().unwrap());
        let (mut out, mut worker_in) = ring(128).unwrap();
        push(&mut out).unwrap();
        let link = PortLink::new(word.clone(), 0, [out.memory().clone()].into_iter());
        let ended = Arc::new(AtomicBool::new(false));
        let worker = thread::spawn({
            let (word, ended) = (word.clone(), ended.clone());
            move || {
                worker_in.refresh().unwrap();
                worker_in.next().unwrap().unwrap();
                ended.store(true, Relaxed); // Relaxed: released with the record.
                worker_in.release();
                after_publishing(|| {
                    if worker_in.memory().needs_space() {
                        word.wake_if_asleep();
                    }
                });
            }
        });
        while !ended.load(Relaxed) {
            link.stall_behind_records(0, &mut out);
            if ended.load(Relaxed) {
                break;
            }
            if word.arm_unless(|| link.space_moved()) {
                word.sleep(None);
            }
            word.disarm();
            word.drain();
        }
        worker.join().unwrap();
    });
}

/// A worker's whole sleep: a pair is attached, a post finds its ring full, a record arrives, a stop. Catches:
/// `sleep-without-attach`, `sleep-without-stop`, `sleep-without-post`, `wake-recheck-before-arm`,
/// `wake-fence-sleeper`, `wake-fence-publisher`.
#[test]
fn worker_sleeps() {
    explore(|| {
        let bell = Arc::new(Doorbell::new(WakeWord::futex()));
        let (mut producer, mut consumer) = ring(128).unwrap();
        let port = thread::spawn({
            let bell = bell.clone();
            move || {
                bell.announce_attach();
                publish_and_wake(&mut producer, bell.wake());
            }
        });
        let others = thread::spawn({
            let bell = bell.clone();
            move || {
                bell.post(0);
                bell.request_stop();
            }
        });
        let (mut attached, mut posts, mut records, mut stop) = (0, 0, 0, false);
        loop {
            attached = bell.attach_changes().max(attached);
            posts += u32::from(bell.take_posts() != 0);
            records += drain(&mut consumer);
            stop |= bell.is_stopping();
            if (attached, posts, records, stop) == (1, 1, 1, true) {
                break;
            }
            let seen = Seen { attach_changes: attached, stop };
            bell.sleep_unless(seen, None, || consumer.has_more());
        }
        port.join().unwrap();
        others.join().unwrap();
    });
}

/// A worker whose egress ring is full sleeps until the port has read. Catches: `wake-fence-sleeper`,
/// `wake-fence-publisher`.
#[test]
fn worker_sleeps_for_space() {
    explore(|| {
        let bell = Arc::new(Doorbell::new(WakeWord::futex()));
        let (mut producer, mut consumer) = ring(128).unwrap();
        push(&mut producer).unwrap();
        push(&mut producer).unwrap();
        let port = thread::spawn({
            let bell = bell.clone();
            move || {
                drain(&mut consumer);
                after_publishing(|| {
                    if consumer.memory().needs_space() {
                        bell.wake().wake_if_asleep();
                    }
                });
            }
        });
        while push(&mut producer).is_err() {
            producer.request_space();
            let seen = Seen { attach_changes: 0, stop: false };
            bell.sleep_unless(seen, None, || producer.space_moved());
        }
        port.join().unwrap();
    });
}

/// A worker closes its egress ring while the port goes to sleep. A close that the port has not seen is news. Catches:
/// `closed-is-no-news`, `wake-fence-sleeper`, `wake-fence-publisher`.
#[test]
fn closed_while_a_port_goes_to_sleep() {
    explore(|| {
        let word = Arc::new(WakeWord::descriptor().unwrap());
        let (producer, consumer) = ring(128).unwrap();
        let memory = consumer.memory().clone();
        let way = EgressReceiver::new(consumer, false);
        let worker = thread::spawn({
            let word = word.clone();
            move || {
                producer.memory().close();
                after_publishing(|| word.wake_if_asleep());
            }
        });
        while !memory.is_closed() {
            if word.arm_unless(|| way.has_news()) {
                word.sleep(None);
            }
            word.disarm();
            word.drain();
        }
        worker.join().unwrap();
    });
}
