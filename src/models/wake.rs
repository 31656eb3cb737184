//! Both wakes: sleepers really sleep, so that a lost wake is a deadlock that loom reports.

use super::explore;
use crate::park::WakeWord;
use crate::ring::{Consumer, Producer, PushError, ring};
use crate::sync::{Arc, mutant, wake_fence};
use loom::thread;

fn push(producer: &mut Producer) -> Result<(), PushError> {
    producer.claim(8, 1, 0)?;
    producer.commit();
    producer.publish();
    Ok(())
}

fn publish_and_wake(producer: &mut Producer, word: &WakeWord) {
    push(producer).unwrap();
    wake_fence("wake-fence-publisher");
    word.wake_if_asleep();
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
            let nothing =
                |a: &Consumer, b: &Consumer| !a.has_more() && (mutant("wake-one-ring") || !b.has_more());
            if mutant("wake-recheck-before-arm") {
                let sleep = nothing(&from_first, &from_second);
                word.arm();
                if sleep {
                    word.sleep(None);
                }
            } else {
                word.arm();
                if nothing(&from_first, &from_second) {
                    word.sleep(None);
                }
            }
            word.disarm();
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// A thread that is producer on one ring and consumer of another at once, sleeping for either on one
/// descriptor, against a worker that drains the one and fills the other. Catches: `wake-fence-sleeper`,
/// `space-fence-consumer`, `space-consumer-clears`, `wake-leaves-word`, `space-drain-after-recheck`.
#[test]
fn wake_space() {
    explore(|| {
        let port_word = Arc::new(WakeWord::descriptor().unwrap());
        let worker_word = Arc::new(WakeWord::futex());
        let (mut out, mut worker_in) = ring(128).unwrap();
        let (mut worker_out, mut back) = ring(128).unwrap();
        let worker = thread::spawn({
            let (port_word, worker_word) = (port_word.clone(), worker_word.clone());
            move || {
                let mut taken = 0;
                loop {
                    let count = drain(&mut worker_in);
                    taken += count;
                    if count > 0 {
                        if taken == 4 {
                            push(&mut worker_out).unwrap();
                        }
                        wake_fence("space-fence-consumer");
                        if worker_in.memory().needs_space() || taken == 4 {
                            port_word.wake_if_asleep();
                            if mutant("space-consumer-clears") {
                                // As late as a store buffer would have it.
                                worker_in.memory().clear_need_space();
                            }
                        }
                    }
                    if taken == 4 {
                        return;
                    }
                    worker_word.arm();
                    if !worker_in.has_more() {
                        worker_word.sleep(None);
                    }
                    worker_word.disarm();
                }
            }
        });
        let (mut sent, mut got) = (0, 0);
        loop {
            port_word.drain();
            got += drain(&mut back);
            let mut stalled = false;
            while sent < 4 {
                match push(&mut out) {
                    Ok(()) => sent += 1,
                    Err(_) => {
                        stalled = true;
                        break;
                    }
                }
                wake_fence("wake-fence-publisher");
                worker_word.wake_if_asleep();
            }
            if got == 1 {
                break;
            }
            if stalled {
                out.request_space();
            }
            port_word.arm();
            let moved = back.has_more() || (stalled && out.space_moved());
            if mutant("space-drain-after-recheck") {
                port_word.drain();
            }
            if !moved {
                port_word.sleep(None);
            }
            port_word.disarm();
        }
        worker.join().unwrap();
    });
}
