//! The credit word, the reuse of a slot, and a hold that races with a connect.

use super::explore;
use crate::clients::{
    ClientId, ClientLimits, Clients, Credit, CreditPolicy, Limits, NameHash, NameTable, NewClient, Phase,
    Shortage,
};
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::{ApplicationId, ProtocolId, TypeId};
use crate::park::WakeWord;
use crate::ring::ring;
use crate::router::model::{Held, Holds};
use crate::sync::{AcqRel, Arc, AtomicBool, Relaxed, Release, mutant, wake_fence};
use loom::thread;

const LIMITS: Limits = Limits { messages: 2, bytes: 100 };

/// Two workers deliver, the port acknowledges, one limit is met: never more outstanding than allowed, and one
/// of two closers wins. Catches: `credit-add-apart`, `credit-close-by-load`.
#[test]
fn credit_word() {
    explore(|| {
        let credit = Arc::new(Credit::new());
        credit.open(1);
        credit.try_add(1, 10, LIMITS).unwrap();
        let workers = [(); 2].map(|()| {
            let credit = credit.clone();
            thread::spawn(move || {
                let added = credit.try_add(1, 10, LIMITS).is_ok();
                assert!(credit.outstanding().0 <= 2, "over the limit");
                (added, credit.close(1))
            })
        });
        credit.subtract(1, 10);
        let mut left = 0;
        let mut closers = 0;
        for worker in workers {
            let (added, closed) = worker.join().unwrap();
            left += u32::from(added);
            closers += u32::from(closed);
        }
        assert_eq!((credit.outstanding(), closers), ((left, left * 10), 1));
        assert_eq!(credit.try_add(1, 1, LIMITS), Err(Shortage::Closed));
    });
}

fn limits(clients: u32) -> ClientLimits {
    ClientLimits { clients, applications: 1, figures: false }
}

fn new(name: &str) -> NewClient<'_> {
    let policy = CreditPolicy::default();
    NewClient { name, token: 0, port: 0, worker: 0, protocol: 0, application: 0, policy }
}

/// A worker looks two names up while the client before them in the chain leaves and its slot goes to another name, in
/// another chain: who has been there all the time is found, and who has gone is not taken for its slot's next client.
/// Catches: `name-miss-believed`, `name-insertion-uncounted`, `name-key-once`,
/// `name-count-relaxed`.
#[test]
fn name_table() {
    explore(|| {
        let names = Arc::new(NameTable::new(2, [1, 2]));
        // Two buckets: by the lowest bit.
        let (stays, leaves, comes) = (NameHash(2), NameHash(4), NameHash(3));
        let (first, second, third) = (ClientId::new(0, 1), ClientId::new(1, 1), ClientId::new(1, 2));
        names.insert(stays, first).unwrap();
        names.insert(leaves, second).unwrap();
        let worker = thread::spawn({
            let names = names.clone();
            move || {
                assert_eq!(names.get(stays), Some(first), "was there all the time");
                assert!(names.get(leaves).is_none_or(|found| found == second), "another's client");
            }
        });
        names.remove(leaves, second);
        assert_eq!(names.get(leaves), None);
        names.insert(comes, third).unwrap();
        worker.join().unwrap();
        assert_eq!(names.get(comes), Some(third));
    });
}

fn connect(clients: &Clients, name: &str) -> ClientId {
    clients.connect(new(name)).unwrap().0
}

/// A worker has looked a name up and delivers, while the client leaves and its slot goes to another: what gets
/// credit is the first client's, and the slot stays until it is given back. Catches: `slot-reuse-early`,
/// `credit-ignores-generation`.
#[test]
fn slot_reuse() {
    explore(|| {
        let clients = Arc::new(Clients::new(limits(1), [1, 2], Clock::manual().0));
        let first = connect(&clients, "a");
        let worker = thread::spawn({
            let clients = clients.clone();
            move || {
                let slot = clients.slot(first.index()).unwrap();
                if slot.credit.try_add(first.generation(), 10, LIMITS).is_ok() {
                    // With the credit the slot is the first client's, whatever happens meanwhile.
                    assert_eq!(slot.place().generation, first.generation());
                    slot.credit.subtract(1, 10);
                }
            }
        });
        clients.begin_close(first);
        clients.end_close(first);
        if let Ok((second, _)) = clients.connect(new("b")) {
            let slot = clients.slot(second.index()).unwrap();
            assert_eq!(slot.phase(), Phase::Open);
            assert_eq!(slot.credit.outstanding(), (0, 0), "another's credit");
        }
        worker.join().unwrap();
    });
}

/// A port connects a name while a worker finds it absent and holds: the held message goes out, by the post or
/// by the flag that stands for a post. Catches: `post-before-insert`, `flag-cleared-after-look`.
fn hold_and_connect(post_fits: bool) {
    explore(move || {
        let clients = Arc::new(Clients::new(limits(2), [1, 2], Clock::manual().0));
        let look_up_all = Arc::new(AtomicBool::new(false));
        let word = Arc::new(WakeWord::futex());
        let (mut producer, mut consumer) = ring(128).unwrap();
        let hash = clients.names().hash(b"a");
        let port = thread::spawn({
            let (clients, look_up_all, word) = (clients.clone(), look_up_all.clone(), word.clone());
            move || {
                if !post_fits {
                    // Another name before it: the worker may be clearing that post's flag.
                    connect(&clients, "b");
                    look_up_all.swap(true, Release);
                }
                if !mutant("post-before-insert") {
                    connect(&clients, "a");
                }
                if post_fits {
                    producer.claim(8, 1, 0).unwrap();
                    producer.commit();
                    producer.publish();
                } else {
                    look_up_all.swap(true, Release);
                }
                wake_fence("post-fence");
                word.wake_if_asleep();
                if mutant("post-before-insert") {
                    connect(&clients, "a");
                }
            }
        });
        let mut holds = Holds::new(&Config::default(), 100);
        let mut sent = clients.names().get(hash).is_some();
        if !sent {
            let held = Held {
                sender: ClientId(0),
                stamp: 0,
                correlation: 0,
                labels: (TypeId(0), ProtocolId(0), ApplicationId(0)),
            };
            holds.hold(hash, b"a", 0, held, b"");
        }
        while !sent {
            let mut look = |holds: &mut Holds| {
                if holds.holds_for(hash) && clients.names().get(hash).is_some() {
                    sent = holds.pop(hash).is_some();
                }
            };
            if look_up_all.load(Relaxed) {
                if mutant("flag-cleared-after-look") {
                    look(&mut holds);
                    look_up_all.swap(false, AcqRel);
                } else {
                    look_up_all.swap(false, AcqRel);
                    look(&mut holds);
                }
            }
            consumer.refresh().unwrap();
            while consumer.next().unwrap().is_some() {
                look(&mut holds);
            }
            consumer.release();
            if sent {
                break;
            }
            word.arm();
            if !look_up_all.load(Relaxed) && !consumer.has_more() {
                word.sleep(None);
            }
            word.disarm();
        }
        port.join().unwrap();
    });
}

#[test]
fn hold_and_connect_by_post() {
    hold_and_connect(true);
}

#[test]
fn hold_and_connect_by_flag() {
    hold_and_connect(false);
}
