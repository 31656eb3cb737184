//! A client moves from one worker to another while its port polls deliveries.

use super::clients::{limits, new};
use super::explore;
use crate::clients::{ClientId, Clients};
use crate::clock::Clock;
use crate::ring::{Consumer, Producer, ring};
use crate::router::model::{Frontier, frontiers};
use crate::sync::{Arc, AtomicU64, Relaxed, mutant, own_load};
use crossbeam_utils::CachePadded;
use loom::thread;

type Frontiers = Arc<Box<[CachePadded<AtomicU64>]>>;

/// What a worker does with each of the client's messages: emit one delivery (through the backlog if `backlog` is
/// set), record it in the client's slot, finish the message.
struct Side {
    ingress: Consumer,
    egress: Producer,
    frontier: Frontier,
    published: Frontiers,
    batch: u64,
    backlogged: u64,
}

impl Side {
    fn cycle(&mut self, clients: &Clients, client: ClientId, backlog: bool) -> bool {
        self.batch += 1;
        if self.backlogged > 0 {
            self.put();
            self.backlogged -= 1;
        }
        self.ingress.refresh().unwrap();
        let mut any = false;
        while self.ingress.next().unwrap().is_some() {
            any = true;
            if backlog {
                self.backlogged += 1;
            } else {
                self.put();
            }
            self.frontier.emitted(self.batch, &self.published[0]);
            let slot = clients.slot(client.index()).unwrap();
            if mutant("reach-after-finish") {
                slot.finish(1);
                slot.reach(0, self.batch);
            } else {
                slot.reach(0, self.batch);
                slot.finish(1);
            }
        }
        self.ingress.release();
        self.egress.publish();
        self.frontier.advance(self.batch, &self.egress, self.backlogged, &self.published[0]);
        any
    }

    fn put(&mut self) {
        self.egress.claim(8, 1, 0).unwrap();
        self.egress.commit();
    }
}

fn side() -> (Producer, Side, Consumer) {
    let (to, ingress) = ring(128).unwrap();
    let (egress, from) = ring(128).unwrap();
    let published = Arc::new(frontiers(1));
    (to, Side { ingress, egress, frontier: Frontier::new(), published, batch: 0, backlogged: 0 }, from)
}

/// The client's first message goes through worker A; once the client is quiet, the second goes through worker B. The
/// port that polls both egress rings hands out the first message first, in whatever order it reads the rings.
fn change(backlog: bool) {
    explore(move || {
        let clients = Arc::new(Clients::new(limits(1), [1, 2], Clock::manual().0));
        let client = clients.connect(new("a")).unwrap().0;
        let (mut to_a, mut a, mut from_a) = side();
        let (mut to_b, mut b, mut from_b) = side();
        let frontiers_a = a.published.clone();
        let slot = clients.slot(client.index()).unwrap();
        slot.start_at(0, 0, None);
        let send = |to: &mut Producer| {
            to.claim(8, 1, 0).unwrap();
            to.commit();
            slot.submit();
            to.publish();
        };
        send(&mut to_a);
        let worker_a = thread::spawn({
            let clients = clients.clone();
            move || {
                assert!(a.cycle(&clients, client, backlog));
                // The backlog drains, and the port has this many cycles to consume it; otherwise the client stays.
                for _ in 0..2 {
                    thread::yield_now();
                    a.cycle(&clients, client, false);
                }
            }
        });
        let handed_out = Arc::new(AtomicU64::new(0));
        let poller_handed_out = handed_out.clone();
        let poller = thread::spawn(move || {
            let mut first = false;
            for _ in 0..2 {
                // B before A: the deliveries that A emitted before must have been handed out by then.
                from_b.refresh().unwrap();
                if from_b.next().unwrap().is_some() {
                    assert!(first, "the second message overtook the first");
                }
                from_a.refresh().unwrap();
                if from_a.next().unwrap().is_some() {
                    first = true;
                    poller_handed_out.store(1, Relaxed); // Relaxed: stands for plain memory of the host.
                }
                from_a.release();
                from_b.release();
                thread::yield_now();
            }
        });
        for attempt in 0..2 {
            if attempt > 0 {
                // Not before the first attempt: after a yield, loom shows this thread no stale values.
                thread::yield_now();
            }
            if slot.is_quiet(&frontiers_a) {
                // A load that loom rejects unless it happens after the host's store for the first delivery.
                assert_eq!(own_load(&handed_out), 1, "quiet before it was handed out");
                slot.move_to(1);
                send(&mut to_b);
                // Runs on this thread; B is still another writer of the slot's cells.
                b.cycle(&clients, client, false);
                break;
            }
        }
        worker_a.join().unwrap();
        poller.join().unwrap();
    });
}

/// Catches: `placement-without-quiet`, `placement-without-frontier`, `frontier-before-consumed`,
/// `frontier-not-lowered`, `reach-after-finish`, `finished-relaxed`, `quiet-finished-relaxed`.
#[test]
fn change_of_worker() {
    change(false);
}

/// The same with the first delivery in the backlog. Catches: `frontier-without-backlog`.
#[test]
fn change_of_worker_with_a_backlog() {
    change(true);
}
