//! The credit word, the reuse of a slot, and a hold that races with a connect.

use super::explore;
use crate::clients::{
    ClientId, ClientLimits, Clients, Credit, CreditPolicy, KeptFigures, Limits, NameHash, NameTable,
    NewClient, Phase, Shortage, SlotList, Stack, UNLISTED,
};
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::{ApplicationId, ProtocolId, TypeId};
use crate::park::{Doorbell, Seen, WakeWord, after_publishing, post_bit};
use crate::ring::ring;
use crate::router::model::{Held, Holds};
use crate::sync::{Acquire, Arc, AtomicU64, Relaxed, Release, mutant};
use loom::thread;

const LIMITS: Limits = Limits { messages: 2, bytes: 100 };

/// Two workers deliver and the port acknowledges, with one limit. The outstanding credit never exceeds the limit, and
/// exactly one of two closers wins. Catches: `credit-add-apart`, `credit-close-by-load`.
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
                (added, credit.close_and_send(1))
            })
        });
        credit.subtract(1, 1, 10);
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

pub(super) fn limits(clients: u32) -> ClientLimits {
    ClientLimits { clients, applications: 1, figures: false, recorders: 0 }
}

/// A client of port 0 and worker 0.
pub(super) fn new(name: &str) -> NewClient<'_> {
    let policy = CreditPolicy::default();
    NewClient {
        name,
        token: 0,
        port: 0,
        worker: 0,
        protocol: 0,
        application: 0,
        policy,
        figures: KeptFigures::NONE,
    }
}

/// A worker looks up two names while the client before them in the hash chain leaves and its slot is reused for
/// another name, in another chain. A name that is present all the time is found, and a departed name never yields its
/// slot's next client. Catches: `name-miss-believed`, `name-insertion-uncounted`, `name-key-once`,
/// `name-count-relaxed`.
#[test]
fn name_table() {
    explore(|| {
        let names = Arc::new(NameTable::new(2, [1, 2]));
        // Two buckets, selected by the lowest bit.
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

/// A worker has found a name before and finds it again, by its entry, while the client leaves and its slot is reused for
/// another name. It finds the first client or nobody, and nobody once it knows of the removal. Catches:
/// `name-has-key-once`.
#[test]
fn a_recent_name() {
    explore(|| {
        let names = Arc::new(NameTable::new(1, [1, 2]));
        let (leaves, comes) = (NameHash(4), NameHash(3));
        let (first, second) = (ClientId::new(0, 1), ClientId::new(0, 2));
        names.insert(leaves, first).unwrap();
        let known = Arc::new(AtomicU64::new(0));
        let worker = thread::spawn({
            let (names, known) = (names.clone(), known.clone());
            move || {
                assert!(!names.has(leaves, second), "another's client");
                let is_removed = known.load(Acquire) == 1;
                assert!(!(names.has(leaves, first) && is_removed), "a removed name");
            }
        });
        names.remove(leaves, first);
        known.store(1, Release);
        names.insert(comes, second).unwrap();
        assert!(!names.has(leaves, first) && !names.has(leaves, second) && names.has(comes, second));
        worker.join().unwrap();
    });
}

fn connect(clients: &Clients, name: &str) -> ClientId {
    clients.connect(new(name)).unwrap().0
}

/// A worker has looked a name up and delivers, while the client leaves and its slot is reused. Credit is only given
/// to the first client, and the slot is not reused until that credit is returned. Catches: `slot-reuse-early`,
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
                    thread::yield_now(); // loom does not explore this switch of threads by itself: see `own_load`.
                    // While the worker holds the credit, the slot belongs to the first client.
                    assert_eq!(slot.place().generation, first.generation());
                    slot.credit.subtract(first.generation(), 1, 10);
                }
            }
        });
        clients.begin_close(first);
        clients.end_close(first);
        if let Ok((second, _)) = clients.connect(new("b")) {
            let slot = clients.slot(second.index()).unwrap();
            assert_eq!(slot.phase_of(second.generation()), Some(Phase::Open));
            assert_eq!(slot.credit.outstanding(), (0, 0), "another's credit");
        }
        worker.join().unwrap();
    });
}

/// Credit that is returned late or twice does not borrow from another field of the word. Catches: `credit-underflow`.
#[test]
fn credit_does_not_borrow() {
    explore(|| {
        let credit = Arc::new(Credit::new());
        credit.open(1);
        credit.try_add(1, 10, LIMITS).unwrap();
        let port = thread::spawn({
            let credit = credit.clone();
            move || credit.subtract(1, 5, 500)
        });
        assert!(credit.close_and_send(1), "the generation is still there");
        port.join().unwrap();
        assert_eq!(credit.outstanding(), (0, 0));
        credit.end_close_delivery(1);
        assert!(credit.is_unused());
    });
}

/// A port acknowledges with the handle of a client that has left, while the slot is reused for a client of another
/// port. The new client is unaffected. Catches: `phase-without-generation`.
#[test]
fn stale_handle_of_a_port() {
    explore(|| {
        let clients = Arc::new(Clients::new(limits(1), [1, 2], Clock::manual().0));
        let gone = connect(&clients, "a");
        clients.begin_close(gone);
        clients.end_close(gone);
        let port = thread::spawn({
            let clients = clients.clone();
            move || clients.acknowledge(gone, 0, 1, 10)
        });
        let (second, _) = clients.connect(NewClient { port: 1, ..new("b") }).unwrap();
        let slot = clients.slot(second.index()).unwrap();
        slot.credit.try_add(second.generation(), 10, LIMITS).unwrap();
        slot.hand_out(10, || 1);
        assert!(port.join().unwrap().is_none());
        let outstanding = slot.outstanding();
        assert_eq!((outstanding.messages, outstanding.handed_messages, outstanding.handed_bytes), (1, 1, 10));
    });
}

/// A worker asks to close a client and lists its CLOSE in the slot, while the client leaves by itself and a connect
/// looks for a free slot. The connect does not get the slot before the CLOSE has ended. Catches: `close-unpinned`.
#[test]
fn close_keeps_its_slot() {
    explore(|| {
        let clients = Arc::new(Clients::new(limits(1), [1, 2], Clock::manual().0));
        let first = connect(&clients, "a");
        let worker = thread::spawn({
            let clients = clients.clone();
            move || {
                let slot = clients.slot(first.index()).unwrap();
                if slot.credit.close_and_send(first.generation()) {
                    let mut list = SlotList::new();
                    list.push(first.index(), |_| Some(&slot.close_link));
                    assert_eq!(slot.place().generation, first.generation());
                    list.pop(|_| Some(&slot.close_link));
                    slot.credit.end_close_delivery(first.generation());
                }
            }
        });
        clients.begin_close(first);
        clients.end_close(first);
        if let Ok((second, _)) = clients.connect(new("b")) {
            let slot = clients.slot(second.index()).unwrap();
            assert_eq!(slot.close_link.load(Relaxed), UNLISTED, "another's CLOSE");
        }
        worker.join().unwrap();
    });
}

/// A port closes a client that is on one of the port's lists, while a connect looks for a free slot. The connect does
/// not get the slot before the client is off the list. Catches: `listed-slot-reused`.
#[test]
fn a_list_keeps_its_slots() {
    explore(|| {
        let clients = Arc::new(Clients::new(limits(1), [1, 2], Clock::manual().0));
        let stack = Stack::new();
        let first = connect(&clients, "a");
        clients.begin_close(first);
        stack.push(first.index(), &clients.slot(first.index()).unwrap().port_link);
        let port = thread::spawn({
            let clients = clients.clone();
            move || {
                assert_eq!(stack.take(), first.index());
                let slot = clients.slot(first.index()).unwrap();
                assert!(clients.end_close(first).is_some());
                slot.port_link.store(UNLISTED, Release);
            }
        });
        if let Ok((second, _)) = clients.connect(new("b")) {
            let slot = clients.slot(second.index()).unwrap();
            assert_eq!(slot.port_link.load(Relaxed), UNLISTED, "another's list");
        }
        port.join().unwrap();
    });
}

/// A port connects a name while a worker finds the name absent and holds a message. The held message is delivered,
/// because of the record or of the post that replaces it. Catches: `post-before-insert`, `flag-cleared-after-look`,
/// `post-lost`, `post-overwrites`.
fn hold_and_connect(post_fits: bool) {
    explore(move || {
        let clients = Arc::new(Clients::new(limits(2), [1, 2], Clock::manual().0));
        let bell = Arc::new(Doorbell::new(WakeWord::futex()));
        let (mut producer, mut consumer) = ring(128).unwrap();
        let hash = clients.names().hash(b"a");
        let port = thread::spawn({
            let (clients, bell) = (clients.clone(), bell.clone());
            move || {
                if !post_fits {
                    // Connect another name first: the worker may be clearing the flag of that name's post.
                    connect(&clients, "b");
                    bell.post(clients.names().hash(b"b").0);
                }
                if !mutant("post-before-insert") {
                    connect(&clients, "a");
                }
                if post_fits {
                    producer.claim(8, 1, 0).unwrap();
                    producer.commit();
                    producer.publish();
                    after_publishing(|| bell.wake().wake_if_asleep());
                } else {
                    bell.post(clients.names().hash(b"a").0);
                }
                if mutant("post-before-insert") {
                    connect(&clients, "a");
                }
            }
        });
        let mut holds = Holds::new(&Config::default(), 100);
        let mut sent = clients.names().get(hash).is_some();
        if !sent {
            let held = Held {
                port: 0,
                tell: crate::router::model::Tell::No,
                sender: ClientId(0),
                stamp: 0,
                correlation: 0,
                labels: (TypeId(0), ProtocolId(0), ApplicationId(0)),
                started: 0,
                since: 0,
                bytes: 0,
                is_brief: false,
            };
            holds.hold(hash, b"a", 0, held, b"");
        }
        while !sent {
            let mut look = |holds: &mut Holds| {
                if holds.holds_for(hash) && clients.names().get(hash).is_some() {
                    sent = holds.pop(hash).is_some();
                }
            };
            if mutant("flag-cleared-after-look") {
                look(&mut holds);
                bell.take_posts();
            } else if bell.take_posts() & post_bit(hash.0) != 0 {
                look(&mut holds);
            }
            consumer.refresh().unwrap();
            while consumer.next().unwrap().is_some() {
                look(&mut holds);
            }
            consumer.release();
            if sent {
                break;
            }
            let seen = Seen { attach_changes: 0, stop: false };
            bell.sleep_unless(seen, None, || consumer.has_more());
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
