//! Performs a fixed amount of work on one thread for `scripts/callgrind.sh`: `instructions NAME COUNT`. Without
//! arguments it prints the names. The clock stands still and names are hashed with fixed keys, so every run is
//! identical.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark")]

use corelane::clients::ClientId;
use corelane::clock::Clock;
use corelane::config::Config;
use corelane::envelope::read;
use corelane::monitor::Monitor;
use corelane::record::Measured;
use corelane::ring::ring;
use corelane::router::{Builder, Event, ProtocolRules};
use std::hint::black_box;
use std::time::Duration;

const HEARTBEAT: &[u8] = br#"{"type":"HEARTBEAT"}"#;
const CANDIDATE: &[u8] = br#"{"type":"CANDIDATE","payload":{"candidate":{"candidate":"candidate:842163049 1 udp 1677729535 192.0.2.7 46154 typ srflx","sdpMLineIndex":0,"sdpMid":"0"},"connectionId":"mc_4x"},"dst":"ben-6fe1-4c55"}"#;
const NOBODY: &[u8] = br#"{"type":"ANSWER","payload":{"sdp":"v=0"},"dst":"nobody-6fe1-4c55"}"#;
const BROKEN: &[u8] = br#"{"type":"OFFER","payload":{"sdp":"v=0"},"dst":"ben-6fe1-4c55""#;

/// An offer of 3 KiB.
fn offer() -> Vec<u8> {
    let lines = "a=rtpmap:96 VP8/90000\\r\\na=rtcp-fb:96 goog-remb\\r\\n".repeat(58);
    format!(
        r#"{{"type":"OFFER","payload":{{"sdp":{{"type":"offer","sdp":"{lines}"}}}},"dst":"ben-6fe1-4c55"}}"#
    )
    .into_bytes()
}

/// Only instructions inside this function are counted. The calibration of clocks, whose duration varies, is outside.
#[inline(never)]
fn measured(work: impl FnOnce()) {
    work();
}

/// Records with `N` bytes behind the prefix, in batches, through both ends of a ring.
fn through_ring<const N: usize>(count: usize) {
    let (mut producer, mut consumer) = ring(512 << 10).unwrap();
    let message = [7; N];
    let mut received = 0;
    measured(|| {
        while received < count {
            let mut batch = producer.batch();
            for _ in 0..32 {
                batch.claim(8 + N, 1, 0).unwrap()[8..].copy_from_slice(black_box(&message));
                batch.commit();
            }
            drop(batch);
            producer.publish();
            assert!(consumer.refresh().unwrap());
            let mut records = consumer.records();
            while let Some(record) = records.next().unwrap() {
                black_box(record.bytes);
                received += 1;
            }
            drop(records);
            consumer.release();
        }
    });
}

/// Port, worker, port, on one thread.
fn through_router(message: &[u8], count: usize) {
    let mut config = Config::default();
    config.router.workers = Some(1);
    config.holds.per_sender = 0; // A message to an absent recipient fails at once.
    let (clock, _hands) = Clock::manual();
    let (router, mut workers) = Builder::new(config).clock(clock.clone()).name_keys([1, 2]).build().unwrap();
    let mut port = router.port().unwrap();
    let ann = port.connect("ann-1b9d-6bcd", "peerjs", "app", 1).unwrap();
    let ben = port.connect("ben-6fe1-4c55", "peerjs", "app", 2).unwrap();
    let mut sent = 0;
    measured(|| {
        while sent < count {
            for _ in 0..32 {
                port.submit(ann, black_box(message), 0).unwrap();
                sent += 1;
            }
            port.publish();
            for worker in &mut workers {
                worker.cycle(clock.now());
            }
            let (mut count, mut bytes) = (0, 0);
            port.poll_each(usize::MAX, |event| {
                if let Event::Message(message) = event {
                    count += 1;
                    bytes += black_box(message.payload).len() as u32;
                }
            })
            .unwrap();
            port.acknowledge(ben, count, bytes);
        }
    });
    let accounting = router.accounting();
    assert_eq!((accounting.in_flight, accounting.queued), (0, 0));
}

fn through_envelope(message: &[u8], count: usize) {
    let protocol = ProtocolRules::peerjs().protocol().clone();
    let mut out = vec![0; 8 << 10];
    measured(|| {
        for _ in 0..count {
            let envelope = read(&protocol, black_box(message));
            let Ok(envelope) = &envelope else { panic!("not read") };
            black_box((envelope.message_type(), envelope.recipient()));
            let length = envelope.relayed_len("ann-1b9d-6bcd");
            envelope.write_relayed("ann-1b9d-6bcd", &mut out[..length]);
            black_box(&out);
        }
    });
}

#[cfg(feature = "bench-internals")]
fn record(count: usize) {
    let mut recorder = corelane::metrics::bench::BenchRecorder::new(7, 3, 9);
    measured(|| {
        for place in 0..count {
            let service = black_box(place as u64 & 4095);
            recorder.record((3, 2, 1), 200, service + 512, service);
        }
    });
}

/// The figures that a host reports to the monitor for one message.
fn measured_by_host(place: usize) -> Measured {
    let nanoseconds = black_box(place as u64 & 4095);
    let (queue_wait, processing) =
        (Duration::new(0, nanoseconds as u32 + 512), Duration::new(0, nanoseconds as u32));
    Measured { failed: false, reason: None, bytes: 200, queue_wait, processing }
}

fn standing_monitor() -> (Monitor, ClientId) {
    let monitor = Monitor::with_clock(Config::default(), Clock::manual().0).unwrap();
    let client = monitor.connect("ann-1b9d-6bcd", "app").unwrap();
    (monitor, client)
}

/// Records on a thread that has its own cells, with a client (`known`) or without.
fn recorder(count: usize, known: bool) {
    let (monitor, client) = standing_monitor();
    let client = known.then_some(client);
    let mut recorder = monitor.recorder();
    assert!(recorder.is_alone());
    let labels = recorder.labels("peerjs", "OFFER", "app");
    measured(|| (0..count).for_each(|place| recorder.record(labels, client, measured_by_host(place))));
    assert_eq!(monitor.snapshot().messages.as_ref().unwrap().totals.total, count as u64);
}

/// Records on a thread that shares its cells.
fn recorder_shared(count: usize) {
    let (monitor, client) = standing_monitor();
    let labels = monitor.labels("peerjs", "OFFER", "app");
    measured(|| {
        (0..count).for_each(|place| monitor.record_labelled(labels, Some(client), measured_by_host(place)));
    });
    assert_eq!(monitor.snapshot().messages.as_ref().unwrap().totals.total, count as u64);
}

type Workload = (&'static str, usize, fn(usize));

/// Each workload is run twice, with COUNT and with twice COUNT. The difference is the cost of the second half.
const WORKLOADS: &[Workload] = &[
    ("ring-64", 102_400, through_ring::<56>),
    ("ring-200", 102_400, through_ring::<192>),
    ("router-heartbeat", 51_200, |count| through_router(HEARTBEAT, count)),
    ("router-candidate", 51_200, |count| through_router(CANDIDATE, count)),
    ("router-offer", 12_800, |count| through_router(&offer(), count)),
    ("router-unknown-recipient", 51_200, |count| through_router(NOBODY, count)),
    ("router-broken", 51_200, |count| through_router(BROKEN, count)),
    ("envelope-heartbeat", 51_200, |count| through_envelope(HEARTBEAT, count)),
    ("envelope-candidate", 51_200, |count| through_envelope(CANDIDATE, count)),
    ("envelope-offer", 12_800, |count| through_envelope(&offer(), count)),
    #[cfg(feature = "bench-internals")]
    ("record", 51_200, record),
    ("recorder", 51_200, |count| recorder(count, false)),
    ("recorder-client", 51_200, |count| recorder(count, true)),
    ("recorder-shared-client", 51_200, recorder_shared),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [name, count] = arguments.as_slice() else {
        for (name, count, _) in WORKLOADS {
            println!("{name} {count}");
        }
        return;
    };
    let (_, _, run) = WORKLOADS.iter().find(|(known, ..)| known == name).expect("a workload's name");
    run(count.parse().expect("how many"));
}
