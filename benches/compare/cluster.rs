//! What a cluster costs (docs/cluster.md): messages per second of processor time within one machine, without a gateway and
//! with one; across two machines over a real nats-server; and through NATS alone. All sides take turns in each round.
//!
//! `cargo bench -p corelane-compare --bench cluster [ROUNDS]`. Needs nats-server, in PATH or named by NATS_SERVER.

#![allow(clippy::unwrap_used, reason = "a benchmark")]

#[path = "../../tests/cluster/server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod server;

use corelane::clients::ClientId;
use corelane::cluster::{Claim, Cluster, ClusterOptions};
use corelane::config::Config;
use corelane::router::{Builder, Event, Port, Router};
use futures_util::StreamExt;
use server::Server;
use std::time::{Duration, Instant};

const CLIENTS: usize = 64;
/// Messages that are under way at most.
const WINDOW: usize = 1024;
const BATCH: usize = 32;

/// A machine of the benchmark. Fields are dropped in this order.
struct Machine {
    clients: Vec<(ClientId, Option<Claim>)>,
    port: Port,
    cluster: Option<Cluster>,
    _router: Router,
}

impl Machine {
    fn new(machine: &str, url: Option<&str>) -> Self {
        let mut config = Config::default();
        config.set("workers", "1").unwrap();
        let router = Builder::new(config).start().unwrap();
        let mut port = router.port().unwrap();
        let cluster = url.map(|url| {
            let options = ClusterOptions {
                servers: url.to_owned(),
                cluster: format!("bench{}", std::process::id()),
                machine: machine.to_owned(),
                ..ClusterOptions::default()
            };
            Cluster::start(&router, options).unwrap()
        });
        if let Some(cluster) = &cluster {
            until(|| cluster.is_joined());
        }
        let clients = (0..CLIENTS)
            .map(|number| {
                let name = format!("{machine}{number}");
                let claim = cluster
                    .as_ref()
                    .map(|cluster| cluster.claim_blocking(&name, "", Duration::from_secs(10)).unwrap());
                (port.connect(&name, "peerjs", "", number as u64).unwrap(), claim)
            })
            .collect();
        Self { clients, port, cluster, _router: router }
    }

    fn send(&mut self, number: usize, to: &str) {
        let (client, _) = self.clients[number % CLIENTS];
        let text = format!(
            r#"{{"type":"CANDIDATE","dst":"{to}{}","payload":{{"candidate":"candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.7","sdpMid":"0","sdpMLineIndex":0}}}}"#,
            (number + 1) % CLIENTS
        );
        while self.port.submit(client, text.as_bytes(), 0).is_err() {
            self.port.publish();
            self.port.wait(Duration::from_millis(1));
        }
    }

    fn receive(&mut self) -> usize {
        let mut written = Vec::with_capacity(BATCH);
        self.port
            .poll_each(1024, |event| {
                if let Event::Message(message) = event {
                    written.push((message.client, 1, message.payload.len() as u32));
                }
            })
            .unwrap();
        let count = written.len();
        self.port.acknowledge_batch(written);
        count
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(cluster) = self.cluster.take() {
            self.clients.clear();
            cluster.stop();
        }
    }
}

fn until(mut what: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !what() {
        assert!(Instant::now() < end, "it takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Within one machine, from client to client.
fn within(machine: &mut Machine, messages: usize) {
    let mut got = 0;
    let mut sent = 0;
    while got < messages {
        while sent < messages && sent - got < WINDOW {
            for _ in 0..BATCH {
                machine.send(sent, "a");
                sent += 1;
            }
            machine.port.publish();
        }
        machine.port.wait(Duration::from_millis(100));
        got += machine.receive();
    }
}

/// From one machine to the other.
fn across(from: &mut Machine, to: &mut Machine, messages: usize) {
    let (mut got, mut sent) = (0, 0);
    while got < messages {
        while sent < messages && sent - got < WINDOW {
            for _ in 0..BATCH {
                from.send(sent, "b");
                sent += 1;
            }
            from.port.publish();
        }
        to.port.wait(Duration::from_millis(100));
        got += to.receive();
        from.receive();
    }
}

/// Through NATS alone: one connection publishes, one subscribes. One NATS message each.
fn alone(runtime: &tokio::runtime::Runtime, url: &str, messages: usize) {
    runtime.block_on(async {
        let publisher = async_nats::connect(url).await.unwrap();
        let subscriber = async_nats::connect(url).await.unwrap();
        let mut subscription = subscriber.subscribe("alone.>").await.unwrap();
        subscriber.flush().await.unwrap();
        // The subscription is there once its first message comes.
        loop {
            publisher.publish("alone.first", "".into()).await.unwrap();
            if tokio::time::timeout(Duration::from_millis(50), subscription.next()).await.is_ok() {
                break;
            }
        }
        let payload = async_nats::Subject::from("alone.x");
        let bytes = vec![b'x'; 200];
        let (mut got, mut sent) = (0, 0);
        while got < messages {
            while sent < messages && sent - got < WINDOW {
                for _ in 0..BATCH {
                    publisher.publish(payload.clone(), bytes.clone().into()).await.unwrap();
                    sent += 1;
                }
            }
            subscription.next().await.unwrap();
            got += 1;
        }
    });
}

/// Processor time of this process, and of the server.
fn processor(server: u32) -> (f64, f64) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call writes the whole value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let stat = std::fs::read_to_string(format!("/proc/{server}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = [fields[11], fields[12]].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    (seconds(usage.ru_utime) + seconds(usage.ru_stime), ticks / 100.0)
}

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let quick = std::env::args().any(|argument| argument == "--quick");
    let Some(server) = Server::start("bench") else { return };
    let url = server.url();
    let messages = if quick { 20_000 } else { 400_000 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut off = Machine::new("a", None);
    let mut on = Machine::new("a", Some(&url));
    let mut other = Machine::new("b", Some(&url));
    until(|| {
        [&on, &other]
            .iter()
            .all(|one| one.cluster.as_ref().unwrap().status().links.iter().any(|link| link.up))
    });
    until(|| on.cluster.as_ref().unwrap().status().names_known >= CLIENTS);
    let names = ["within one machine", "the same, gateway on", "across two machines", "through NATS alone"];
    let mut own: [Vec<f64>; 4] = Default::default();
    let mut theirs: [Vec<f64>; 4] = Default::default();
    for round in 0..=rounds {
        for step in 0..names.len() {
            let side = (round + step) % names.len();
            let messages = if side < 2 { messages * 2 } else { messages };
            let before = processor(server.id());
            match side {
                0 => within(&mut off, messages),
                1 => within(&mut on, messages),
                2 => across(&mut on, &mut other, messages),
                _ => alone(&runtime, &url, messages),
            }
            let after = processor(server.id());
            if round > 0 {
                own[side].push((after.0 - before.0) * 1e6 / messages as f64);
                theirs[side].push((after.1 - before.1) * 1e6 / messages as f64);
            }
        }
    }
    println!(
        "{messages} messages of about 200 bytes, {rounds} rounds; microseconds of processor time per message, median [lowest–highest]"
    );
    println!("| | process | nats-server | messages per CPU-second, both together |");
    println!("|---|---|---|---|");
    for (side, name) in names.iter().enumerate() {
        let (ours, server) = (spread(&mut own[side]), spread(&mut theirs[side]));
        println!(
            "| {name} | {:.3} [{:.3}–{:.3}] | {:.3} [{:.3}–{:.3}] | {:.0} |",
            ours.0,
            ours.1,
            ours.2,
            server.0,
            server.1,
            server.2,
            1e6 / (ours.0 + server.0)
        );
    }
    let mut ratios: Vec<f64> = own[0].iter().zip(&own[1]).map(|(off, on)| off / on).collect();
    let ratio = spread(&mut ratios);
    println!("gateway off ÷ on, round by round: {:.3} [{:.3}–{:.3}]", ratio.0, ratio.1, ratio.2);
}

/// Median, lowest and highest.
fn spread(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}
