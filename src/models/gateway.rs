//! The gateway and a worker: a link is lost while the worker hands messages over. Two threads that open the gateway.

use super::explore;
use crate::ring::ring;
use crate::router::model::{Directory, GatewayOptions, LinkId};
use crate::sync::Arc;
use loom::thread;

/// The gateway loses a link and tells the worker by a record. Before the record the worker may hand messages over in the old
/// epoch; it ends them when it takes the record. Afterwards it must see that the link is down: a message that it handed over
/// in the old epoch then would never be answered. Catches: `link-word-late`.
#[test]
fn link_lost() {
    explore(|| {
        let directory =
            Arc::new(Directory::new(GatewayOptions { names: 1, rooms: 1, ..GatewayOptions::default() }));
        let link = LinkId { slot: 0, epoch: 1 };
        directory.set_link(link, true);
        let (mut to_worker, mut from_gateway) = ring(128).unwrap();
        let gateway = thread::spawn({
            let directory = directory.clone();
            move || {
                directory.lose_link(link, || {
                    to_worker.claim(8, 1, 0).unwrap();
                    to_worker.commit();
                    to_worker.publish();
                });
            }
        });
        for _ in 0..2 {
            from_gateway.refresh().unwrap();
            let told = from_gateway.next().unwrap().is_some();
            let (epoch, up) = directory.link(0);
            assert!(!told || (epoch, up) == (2, false), "handed over after the end: {epoch} {up}");
            if told {
                break;
            }
        }
        gateway.join().unwrap();
    });
}

/// Two threads open the gateway at the same moment. One of them gets the place, and the directory has that one's port. Catches:
/// `gateway-place-checked`.
#[test]
fn one_gateway() {
    explore(|| {
        let directory =
            Arc::new(Directory::new(GatewayOptions { names: 1, rooms: 1, ..GatewayOptions::default() }));
        let open = |directory: &Directory, port: usize| {
            directory.take_place().map(|place| place.keep(port)).is_some().then_some(port)
        };
        let other = thread::spawn({
            let directory = directory.clone();
            move || open(&directory, 1)
        });
        let own = open(&directory, 2);
        let opened = [own, other.join().unwrap()];
        assert_eq!(opened.iter().flatten().count(), 1, "{opened:?}");
        assert_eq!(directory.port(), opened.into_iter().flatten().next());
    });
}
