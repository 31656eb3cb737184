//! Rooms: member lists that workers read while a port joins and leaves (the copy-on-write cells of `sync::published`),
//! and a handler's join against its client's disconnect.

use super::explore;
use crate::clients::{ClientId, RoomLimits, Rooms};
use crate::sync::{
    Arc, AtomicBool, Crowded, PublishedWriter, Reader, Relaxed, Retirement, UnsafeCell, published,
};
use loom::thread;

/// A list whose drop loom observes: the drop writes the cell that readers read.
#[derive(Debug)]
struct List(UnsafeCell<u64>);

// SAFETY: the model checks that the cell is never written while it is read.
unsafe impl Sync for List {}

impl List {
    fn boxed(members: u64) -> Option<Box<Self>> {
        let list = Self(UnsafeCell::new(0));
        list.0.with_mut(|cell| {
            // SAFETY: not shared yet.
            unsafe { *cell = members }
        });
        Some(Box::new(list))
    }

    fn members(&self) -> u64 {
        // SAFETY: loom fails the model if the list is written or freed meanwhile.
        self.0.with(|cell| unsafe { *cell })
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: loom fails the model if another thread reads meanwhile.
        self.0.with_mut(|cell| unsafe { *cell = u64::MAX });
    }
}

fn cells(limits: Retirement) -> (PublishedWriter<List>, Vec<Reader<List>>) {
    published(1, 2, limits)
}

/// A port joins a client and then lets the last member leave, while two workers read. Each worker sees complete lists
/// that are not freed under it, and never an older list after a newer one. Catches: `published-free-early`,
/// `published-fence-reader`, `published-fence-writer`, `published-swap-relaxed`, `published-enter-relaxed`,
/// `published-leave-relaxed`, `published-moved-on-relaxed`.
#[test]
fn room_copy_on_write() {
    explore(|| {
        let (mut writer, readers) = cells(Retirement { values: 4, bytes: 400 });
        writer.replace(0, List::boxed(1), 0).unwrap();
        let mut readers = readers.into_iter();
        let (mut twice, mut once) = (readers.next().unwrap(), readers.next().unwrap());
        let workers = [
            thread::spawn(move || {
                let first = twice.get(0).map_or(3, List::members);
                twice.leave();
                let second = twice.get(0).map_or(3, List::members);
                assert!((1..=3).contains(&first) && first <= second && second <= 3, "{first} {second}");
                twice.leave();
            }),
            thread::spawn(move || {
                let seen = once.get(0).map_or(3, List::members);
                assert!((1..=3).contains(&seen), "{seen}");
                once.leave();
            }),
        ];
        writer.replace(0, List::boxed(2), 100).unwrap();
        writer.replace(0, None, 100).unwrap();
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(writer.collect(), (0, 0), "kept although nobody reads it");
    });
}

/// The lists kept for a worker in the middle of a batch are bounded. At the limit the writer gets an error and
/// nothing changes; once the worker has left its batch, the writer succeeds. Catches: `published-free-early`.
#[test]
fn room_lists_are_bounded() {
    explore(|| {
        let (mut writer, mut readers) = cells(Retirement { values: 1, bytes: 100 });
        writer.replace(0, List::boxed(1), 0).unwrap();
        let mut reader = readers.pop().unwrap();
        let inside = reader.get(0).unwrap();
        writer.replace(0, List::boxed(2), 100).unwrap();
        assert_eq!(writer.replace(0, List::boxed(3), 100), Err(Crowded));
        assert_eq!((inside.members(), writer.get(0).map(List::members)), (1, Some(2)));
        let worker = thread::spawn(move || {
            reader.leave();
            reader.get(0).map(List::members)
        });
        let replaced = writer.replace(0, List::boxed(3), 100);
        assert!(matches!(worker.join().unwrap(), Some(2 | 3)));
        assert_eq!(writer.collect(), (0, 0), "kept although nobody reads it");
        assert!(replaced.is_ok() || writer.replace(0, None, 100).is_ok());
    });
}

/// A handler joins its client while the port disconnects the client. Afterwards the client is in no room, whichever was
/// first. Catches: `room-join-checked-early`.
#[test]
fn room_join_against_disconnect() {
    const LIMITS: RoomLimits = RoomLimits {
        rooms: 1,
        members: 1,
        client_rooms: 1,
        clients: 1,
        ports: 1,
        workers: 1,
        retired_lists: 1,
        retired_bytes: 4096,
    };
    explore(|| {
        let client = ClientId::new(0, 1);
        let rooms = Arc::new(Rooms::new(LIMITS, [1, 2]));
        let open = Arc::new(AtomicBool::new(true));
        let port = thread::spawn({
            let (rooms, open) = (Arc::clone(&rooms), Arc::clone(&open));
            move || {
                // Relaxed: the lock of the rooms orders it, which the model checks.
                open.store(false, Relaxed);
                rooms.leave_all(client);
            }
        });
        let _ = rooms.join_now(client, 0, "lobby", || open.load(Relaxed));
        port.join().unwrap();
        assert_eq!(rooms.figures().members, 0, "a disconnected client is a member");
    });
}
