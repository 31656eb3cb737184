//! Figures of clients that recorders count in lines of their own, and batches of a recorder.

use super::{Bench, MILLISECOND, START, took};
use crate::support::random::Random;
use corelane::clients::ClientId;
use corelane::record::{Measured, Recorder};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a client's figures must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Expected {
    messages: u64,
    errors: u64,
    bytes: u64,
    nanoseconds: u64,
    maximum: u64,
    last_milliseconds: u64,
}

impl Expected {
    fn add(&mut self, measured: Measured, now: u64) {
        let nanoseconds = (measured.queue_wait + measured.processing).as_nanos() as u64;
        self.messages += 1;
        self.errors += u64::from(measured.failed);
        self.bytes += measured.bytes;
        self.nanoseconds += nanoseconds;
        self.maximum = self.maximum.max(nanoseconds);
        self.last_milliseconds = now;
    }

    fn reset(&mut self) {
        *self = Self { last_milliseconds: self.last_milliseconds, ..Self::default() };
    }
}

/// Checks the figures of all clients, of which each has been silent for a while.
fn check(bench: &Bench, clients: &BTreeMap<String, (ClientId, Expected)>) {
    let shown = bench.monitor.idle_clients(Duration::ZERO);
    assert_eq!(shown.len(), clients.len());
    for client in shown {
        let (id, expected) = &clients[&*client.name];
        assert_eq!(client.id, id.0);
        let average = expected.nanoseconds.checked_div(expected.messages);
        assert_eq!((client.messages, client.errors), (expected.messages, expected.errors), "{client:?}");
        assert_eq!((client.bytes_in, client.average_nanoseconds), (expected.bytes, average), "{client:?}");
        assert_eq!(client.maximum_nanoseconds, expected.maximum, "{client:?}");
        assert_eq!(client.last_activity_milliseconds, expected.last_milliseconds, "{client:?}");
    }
}

/// Steps at random: messages through three recorders with own lines, one without, and through the monitor; connects,
/// disconnects, resets, and recorders that end. After each step every figure of every client is exact.
#[test]
fn several_recorders_count_the_same_clients_through_resets_and_turnover() {
    let bench = Bench::new(&[("max_recorders", "3"), ("max_recorded_clients", "4")]);
    let labels = bench.monitor.labels("peerjs", "OFFER", "app");
    let mut recorders: Vec<Recorder> = (0..4).map(|_| bench.monitor.recorder()).collect();
    assert_eq!(recorders.iter().filter(|one| one.is_alone()).count(), 3);
    let mut random = Random(17);
    let mut clients: BTreeMap<String, (ClientId, Expected)> = BTreeMap::new();
    let (mut now, mut gone, mut folded) = (START, Vec::new(), 0);
    let (mut resets, mut turnover) = (0, 0);
    for _ in 0..5_000 {
        let name = format!("client {}", random.below(6));
        match random.below(40) {
            0 => {
                bench.monitor.reset();
                clients.values_mut().for_each(|(_, expected)| expected.reset());
                (folded, resets) = (0, resets + 1);
            }
            1 => {
                // The next recorder has the lines of this one.
                let place = random.below(4) as usize;
                drop(recorders.remove(place));
                recorders.push(bench.monitor.recorder());
            }
            2..=4 if clients.len() < 4 && !clients.contains_key(&name) => {
                let id = bench.monitor.connect(&name, "app").unwrap();
                clients.insert(name, (id, Expected { last_milliseconds: now, ..Expected::default() }));
            }
            5 => {
                if let Some((id, _)) = clients.remove(&name) {
                    bench.monitor.disconnect(id).unwrap();
                    gone.push(id);
                    turnover += 1;
                }
            }
            step => {
                let measured = Measured {
                    failed: random.below(4) == 0,
                    reason: None,
                    bytes: random.below(1_000),
                    queue_wait: Duration::from_nanos(random.below(1_000)),
                    processing: Duration::from_nanos(random.below(1_000)),
                };
                let id = match clients.get_mut(&name) {
                    Some((id, expected)) => {
                        expected.add(measured, now);
                        Some(*id)
                    }
                    // A message of a client that has gone is counted, but in nobody's figures.
                    None => gone.last().copied().inspect(|_| folded += 1),
                };
                match recorders.get_mut(step as usize % 5) {
                    Some(recorder) => recorder.record(labels, id, measured),
                    None => bench.monitor.record_labelled(labels, id, measured),
                }
            }
        }
        bench.advance(1);
        now += 1;
        check(&bench, &clients);
    }
    assert!(resets > 50 && turnover > 50, "{resets} resets, {turnover} disconnects");
    assert_eq!(bench.stats().folded.clients, Some(folded));
}

/// A recorder has 4,096 lines, so clients 0 and 4096 share one. The figures of both are exact, whoever has it.
#[test]
fn clients_that_share_a_line_have_figures_of_their_own() {
    let bench = Bench::new(&[("max_recorded_clients", "5000"), ("top_clients", "10")]);
    let connect = |number| bench.monitor.connect(&format!("client {number}"), "app").unwrap();
    let ids: Vec<ClientId> = (0..=4_096).map(connect).collect();
    let (ann, ben) = (ids[0], ids[4_096]);
    let mut recorder = bench.monitor.recorder();
    let labels = recorder.labels("peerjs", "OFFER", "app");
    let of = |id: ClientId| {
        let rows = bench.stats().clients.unwrap().by_messages;
        rows.iter().find(|row| row.id == id.0).map(|row| (row.messages, row.maximum_nanoseconds))
    };
    for _ in 0..3 {
        recorder.record(labels, Some(ann), took(7));
        recorder.record(labels, Some(ben), took(5));
    }
    assert_eq!((of(ann), of(ben)), (Some((3, 7)), Some((3, 5))));
    bench.monitor.disconnect(ann).unwrap();
    recorder.record(labels, Some(ben), took(6));
    recorder.record(labels, Some(ann), took(9));
    assert_eq!((of(ann), of(ben)), (None, Some((4, 6))));
    bench.monitor.reset();
    recorder.record(labels, Some(ben), took(1));
    assert_eq!(of(ben), Some((1, 1)));
}

/// Four threads count one client at the same time, while others come and go in the slots beside it.
#[test]
fn threads_that_record_one_client_lose_nothing_and_count_nothing_twice() {
    const MESSAGES: u64 = 50_000;
    let bench = Bench::new(&[("max_recorders", "4"), ("max_recorded_clients", "6")]);
    let ann = bench.monitor.connect("ann", "app").unwrap();
    let seen = || {
        let row = bench.stats().clients.unwrap().by_messages.into_iter().find(|row| row.id == ann.0);
        row.map_or((0, 0), |row| (row.messages, row.bytes_in))
    };
    std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| {
            let monitor = bench.monitor.clone();
            scope.spawn(move || {
                let mut recorder = monitor.recorder();
                assert!(recorder.is_alone());
                let labels = recorder.labels("peerjs", "OFFER", "app");
                let name = format!("{:?}", std::thread::current().id());
                for number in 0..MESSAGES {
                    recorder.record(labels, Some(ann), Measured { bytes: 1, ..took(number) });
                    if number % 100 == 0 {
                        let passing = monitor.connect(&name, "app").unwrap();
                        recorder.record(labels, Some(passing), took(9 * MILLISECOND));
                        monitor.disconnect(passing).unwrap();
                    }
                }
            })
        });
        let mut last = (0, 0);
        while !threads.iter().all(|thread| thread.is_finished()) {
            let now = seen();
            assert!(now >= last && now.0 <= 4 * MESSAGES && now.1 >= last.1, "{now:?} after {last:?}");
            last = now;
        }
    });
    let rows = bench.stats().clients.unwrap().by_messages;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].messages, rows[0].bytes_in), (4 * MESSAGES, 4 * MESSAGES));
    assert_eq!((rows[0].errors, rows[0].maximum_nanoseconds), (0, MESSAGES - 1));
}

#[test]
fn a_reset_and_every_changed_setting_apply_to_the_next_batch() {
    let bench = Bench::new(&[("slow_message_threshold_ms", "100")]);
    let ann = bench.monitor.connect("ann", "app").unwrap();
    let mut recorder = bench.monitor.recorder();
    let labels = recorder.labels("peerjs", "OFFER", "app");
    let figures = || {
        let stats = bench.stats();
        let client = stats.clients.map(|clients| clients.by_messages.iter().map(|row| row.messages).sum());
        (stats.messages.unwrap().totals.total, stats.slow_messages.unwrap().total, client)
    };
    let mut batch = recorder.batch();
    batch.record(labels, Some(ann), took(60 * MILLISECOND));
    bench.monitor.set("slow_message_threshold_ms", "50").unwrap();
    batch.record(labels, Some(ann), took(60 * MILLISECOND));
    assert_eq!(figures(), (2, 0, Some(2)), "each message is counted at once, under the batch's settings");
    let mut batch = recorder.batch();
    batch.record(labels, Some(ann), took(60 * MILLISECOND));
    assert_eq!(figures(), (3, 1, Some(3)));

    bench.monitor.reset();
    batch.record(labels, Some(ann), took(70 * MILLISECOND));
    assert_eq!(figures(), (1, 1, Some(0)), "the client's figures of this batch belong to before the reset");
    let mut batch = recorder.batch();
    batch.record(labels, Some(ann), took(80 * MILLISECOND));
    assert_eq!(figures(), (2, 2, Some(1)));

    bench.monitor.set("detailed_stats", "off").unwrap();
    let mut batch = recorder.batch();
    batch.record(labels, Some(ann), took(MILLISECOND));
    bench.monitor.set("detailed_stats", "on").unwrap();
    batch.record(labels, Some(ann), took(MILLISECOND));
    recorder.batch().record(labels, Some(ann), took(MILLISECOND));
    let (total, _, client) = figures();
    assert_eq!(
        (total, client),
        (5, Some(2)),
        "the two messages of the batch that began without details are missing"
    );
}

#[test]
fn a_message_of_a_batch_ends_when_the_batch_began() {
    for recorders in ["1", "0"] {
        let bench = Bench::new(&[("max_recorders", recorders)]);
        let ann = bench.monitor.connect("ann", "app").unwrap();
        let mut recorder = bench.monitor.recorder();
        let labels = recorder.labels("peerjs", "OFFER", "app");
        bench.advance(10);
        let mut batch = recorder.batch();
        bench.advance(500);
        batch.record(labels, Some(ann), took(1));
        let stats = bench.stats();
        assert_eq!(stats.types.unwrap()[1].last_processed_milliseconds, Some(START + 10));
        assert_eq!(stats.clients.unwrap().by_messages[0].last_activity_milliseconds, START + 10);
    }
}
