//! The lines in which a recorder counts its clients' messages, and their reader.

use super::clients::{limits, new};
use super::explore;
use crate::clients::{ClientId, ClientLimits, ClientMessage, Clients, Phase};
use crate::clock::Clock;
use crate::metrics::Writer;
use crate::sync::Arc;
use loom::thread;

/// Clients of one recorder with one line.
fn clients() -> Clients {
    let limits = ClientLimits { figures: true, recorders: 1, ..limits(2) };
    Clients::new(limits, [1, 2], Clock::manual().0)
}

/// Counts a message if the client has the line or gets it.
fn count(clients: &Clients, writer: &mut Writer, client: ClientId, epoch: u64, bytes: u64) {
    let message = ClientMessage { epoch, failed: true, bytes, nanoseconds: bytes, ended: bytes };
    let lines = clients.recorder_lines(0).unwrap();
    if let Some(line) = clients.recorder_line(&lines, writer, client, epoch) {
        line.count(writer, message);
    }
}

fn close(clients: &Clients, client: ClientId) {
    let slot = clients.get(client).unwrap();
    assert!(slot.leave_phase(client.generation(), Phase::Open, Phase::Closed));
}

/// A client is closed, and the recorder gives its line to another client, while the monitor reads the first. It finds
/// all figures of that client or none. Catches: `recorder-line-relaxed`, `recorder-line-maximum-relaxed`,
/// `recorder-line-no-look`.
#[test]
fn a_client_that_loses_its_line() {
    explore(|| {
        let (clients, mut writer) = (Arc::new(clients()), Writer::new());
        let (ann, _) = clients.connect(new("ann")).unwrap();
        let (ben, _) = clients.connect(new("ben")).unwrap();
        count(&clients, &mut writer, ann, 0, 7);
        let closer = thread::spawn({
            let clients = clients.clone();
            move || close(&clients, ann)
        });
        let recorder = thread::spawn({
            let clients = clients.clone();
            move || count(&clients, &mut writer, ben, 0, 5)
        });
        if let Some(counts) = clients.counts(ann, 0) {
            assert_eq!((counts.messages, counts.errors, counts.bytes_in), (1, 1, 7));
            assert_eq!((counts.maximum, counts.last), (7, 7));
        }
        closer.join().unwrap();
        recorder.join().unwrap();
    });
}

/// The recorder gives the line of a closed client to another client while the monitor reads that one: none of the
/// first client's figures appears. Catches: `recorder-line-client-first`.
#[test]
fn a_client_that_gets_a_line() {
    explore(|| {
        let (clients, mut writer) = (Arc::new(clients()), Writer::new());
        let (ann, _) = clients.connect(new("ann")).unwrap();
        let (ben, _) = clients.connect(new("ben")).unwrap();
        count(&clients, &mut writer, ann, 0, 7);
        close(&clients, ann);
        let recorder = thread::spawn({
            let clients = clients.clone();
            move || count(&clients, &mut writer, ben, 0, 5)
        });
        let counts = clients.counts(ben, 0).unwrap();
        assert!(counts.messages <= 1 && counts.errors <= counts.messages);
        assert!([0, 5].contains(&counts.bytes_in) && counts.bytes_in >= 5 * counts.messages);
        // The manual clock stands at 1, when both clients connect.
        assert!([0, 5].contains(&counts.maximum) && [1, 5].contains(&counts.last));
        recorder.join().unwrap();
        assert_eq!(clients.counts(ben, 0).map(|counts| (counts.messages, counts.bytes_in)), Some((1, 5)));
    });
}

/// The recorder restarts a client's line in a new epoch while the monitor reads that epoch: no count of the old epoch
/// appears. Catches: `recorder-line-epoch-first`.
#[test]
fn a_line_that_changes_its_epoch() {
    explore(|| {
        let (clients, mut writer) = (Arc::new(clients()), Writer::new());
        let (ann, _) = clients.connect(new("ann")).unwrap();
        count(&clients, &mut writer, ann, 0, 7);
        let recorder = thread::spawn({
            let clients = clients.clone();
            move || count(&clients, &mut writer, ann, 1, 5)
        });
        let counts = clients.counts(ann, 1).unwrap();
        assert!(
            counts.messages <= 1 && [0, 5].contains(&counts.bytes_in) && [0, 5].contains(&counts.maximum)
        );
        recorder.join().unwrap();
        let counts = clients.counts(ann, 1).unwrap();
        assert_eq!((counts.messages, counts.errors, counts.bytes_in, counts.last), (1, 1, 5, 5));
    });
}
