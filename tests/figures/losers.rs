//! Who loses: the deliveries that a client did not get, the largest number of its unacknowledged messages, and the
//! clients behind failures. (M9)

use super::support;
use corelane::clients::{ClientId, KeptFigures};
use corelane::export;
use corelane::monitor::{ClientFigures, Monitor};
use corelane::router::{ConnectOptions, Event, Port};

const OFFER: &[u8] = br#"{"type":"OFFER","dst":"ben"}"#;
/// The length of the message that ben gets.
const RELAYED: u32 = r#"{"src":"ann","type":"OFFER","dst":"ben"}"#.len() as u32;

struct Scene {
    monitor: Monitor,
    bench: support::Bench,
    port: Port,
    ann: ClientId,
    ben: ClientId,
}

impl Scene {
    fn new(set: &[(&str, &str)]) -> Self {
        let set = [&[("workers", "1")][..], set].concat();
        let bench = support::Bench::of(support::config_of(&set), |builder| builder);
        let mut port = bench.router.port().unwrap();
        let monitor = Monitor::of(&bench.router.source());
        let ann = port.connect("ann", "peerjs", "", 1).unwrap();
        let ben = port.connect("ben", "peerjs", "", 2).unwrap();
        Self { monitor, bench, port, ann, ben }
    }

    fn submit(&mut self, message: &[u8]) {
        self.port.submit(self.ann, message, 0).unwrap();
    }

    fn cycle(&mut self) {
        self.port.publish();
        self.bench.cycle();
    }

    /// Polls. Returns the figures of a closed client.
    fn poll(&mut self) -> Option<KeptFigures> {
        let mut kept = None;
        let each = |event: Event<'_>| {
            if let Event::Closed { figures, .. } = event {
                kept = Some(figures);
            }
        };
        self.port.poll_each(usize::MAX, each).unwrap();
        kept
    }

    /// Another connection takes a client over.
    fn take_over(&mut self, client: ClientId, name: &str) -> ClientId {
        self.port.disconnect(client).unwrap();
        self.cycle();
        let options = ConnectOptions::new("peerjs", "", 3).figures(self.poll().unwrap());
        self.port.connect_with(name, options).unwrap()
    }

    fn undelivered(&self) -> Vec<(String, u64)> {
        let by = |one: &ClientFigures| (one.name.clone(), one.undelivered);
        self.monitor.snapshot().clients.unwrap().by_undelivered.iter().map(by).collect()
    }

    fn peaks(&self) -> Vec<(String, u64)> {
        let by = |one: &ClientFigures| (one.name.clone(), one.outstanding_peak);
        self.monitor.snapshot().clients.unwrap().by_outstanding_peak.iter().map(by).collect()
    }
}

fn ben(figure: u64) -> Vec<(String, u64)> {
    vec![("ben".to_owned(), figure)]
}

/// A relayed message, a send of the host and a room's message: the same figure, and the same client.
#[test]
fn what_the_credit_drops_is_one_figure_and_its_recipient_is_known() {
    for (policy, policies) in [("refuse", [3, 0]), ("drop", [0, 0])] {
        let mut scene = Scene::new(&[("credit_messages", "1"), ("credit_policy", policy)]);
        let lobby = scene.port.join(scene.ann, "lobby").unwrap();
        scene.port.join(scene.ben, "lobby").unwrap();
        scene.submit(OFFER);
        scene.cycle();
        assert_eq!((scene.undelivered(), scene.bench.failed("credit_exhausted")), (vec![], 0));
        scene.submit(OFFER);
        scene.port.send(scene.ben, b"a send", 0).unwrap();
        scene.port.send_to_room(lobby, b"to all", 0).unwrap();
        scene.cycle();
        let stats = scene.bench.router.stats();
        // The first delivery closes a client under `drop`: its type may not be dropped.
        let dropped = if policy == "refuse" { 3 } else { 1 };
        assert_eq!(stats.accounting.undelivered.get("credit_exhausted"), dropped, "{policy}");
        assert_eq!(scene.bench.failed("credit_exhausted"), if policy == "refuse" { 2 } else { 1 });
        let worker = &stats.workers[0];
        assert_eq!([worker.credit_refusals, worker.credit_drops], policies, "{policy}");
        let text = export::prometheus(&scene.monitor);
        let line = format!(r#"corelane_deliveries_dropped_total{{reason="credit_exhausted"}} {dropped}"#);
        support::assert_lines(&text, &[&line]);
        assert_eq!(scene.undelivered(), ben(3), "{policy}: a closing client loses deliveries too");
        scene.monitor.reset();
        assert_eq!(scene.undelivered(), []);
        scene.port.send(scene.ben, b"one more", 0).unwrap();
        scene.cycle();
        assert_eq!(scene.undelivered(), ben(1));
        scene.poll();
        let all = scene.bench.router.accounting();
        assert_eq!((all.consumed + all.undeliverable, all.queued), (all.deliveries, 0), "{policy}");
    }
}

#[test]
fn a_full_port_costs_its_clients_deliveries_which_a_successor_continues() {
    let small = [("ring_bytes", "4096"), ("backlog_bytes", "4096"), ("max_message", "256")];
    let mut scene = Scene::new(&small);
    for _ in 0..200 {
        scene.submit(OFFER);
        scene.cycle();
    }
    let lost = scene.bench.failed("egress_full");
    assert!(lost > 0);
    assert_eq!(scene.undelivered(), ben(lost));
    scene.poll();
    scene.cycle();
    scene.poll();
    scene.take_over(scene.ben, "ben");
    assert_eq!(scene.undelivered(), ben(lost));
}

#[test]
fn the_peak_of_unacknowledged_messages_is_that_of_the_connection() {
    let mut scene = Scene::new(&[]);
    for _ in 0..3 {
        scene.submit(OFFER);
    }
    scene.cycle();
    assert_eq!(scene.peaks(), [], "nothing is handed out");
    scene.poll();
    scene.port.acknowledge(scene.ben, 3, 3 * RELAYED);
    scene.submit(OFFER);
    scene.cycle();
    scene.poll();
    assert_eq!(scene.peaks(), ben(3));
    scene.monitor.reset();
    assert_eq!(scene.peaks(), ben(3), "a reset does not restart it");
    scene.take_over(scene.ben, "ben");
    assert_eq!(scene.peaks(), [], "another connection");
}

#[test]
fn a_peer_that_is_taken_over_fails_as_one_client() {
    let mut scene = Scene::new(&[]);
    let clients = |scene: &Scene| scene.monitor.snapshot().messages.unwrap().error_clients_last_minute;
    for round in 0..4 {
        scene.submit(b"{");
        scene.cycle();
        assert_eq!(clients(&scene), 1, "{round}");
        if round == 1 {
            // A reset forgets the counts, but not whose they are.
            scene.monitor.reset();
        }
        scene.ann = scene.take_over(scene.ann, "ann");
    }
    scene.port.submit(scene.ben, b"{", 0).unwrap();
    scene.cycle();
    assert_eq!(clients(&scene), 2);
}
