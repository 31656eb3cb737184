//! Memory, row I3: the memory that a router takes from the system stays below the budget that it states in advance,
//! reaches that budget when everything is touched, and does not grow however many clients connect and disconnect.
//! Each case runs in a separate process, so that earlier allocations do not affect it. The measure is resident
//! anonymous memory (`RssAnon`): private pages that the process has written to, without the program's text and its
//! files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::config::{Budget, Config};
use corelane::error::{BuildError, PortError};
use corelane::router::{Builder, Event, Port, Router};
use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

mod support;

const CHILD: &str = "CORELANE_MEMORY_CHILD";

/// Runs a case with `argument` in a separate process, prints its output, and returns the last number in it.
fn alone_with(name: &str, argument: u64, case: impl FnOnce(u64)) -> u64 {
    let child = std::env::var(CHILD).ok();
    if let Some((test, argument)) = child.as_deref().and_then(|child| child.split_once(' ')) {
        if test == name {
            case(argument.parse().unwrap());
            std::process::exit(0);
        }
        return 0;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{name} {argument}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.starts_with("memory:")).for_each(|line| println!("{line}"));
    let ran = text.contains("memory: ");
    assert!(output.status.success() && ran, "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.split_whitespace().filter_map(|word| word.parse().ok()).next_back().unwrap_or(0)
}

fn alone(name: &str, case: impl FnOnce()) {
    alone_with(name, 0, |_| case());
}

/// Resident anonymous bytes of this process. Does not allocate.
fn resident() -> u64 {
    let mut buffer = [0u8; 4096];
    let mut file = std::fs::File::open("/proc/self/status").unwrap();
    let length = file.read(&mut buffer).unwrap();
    let text = std::str::from_utf8(&buffer[..length]).unwrap();
    let line = text.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Page faults so far of the worker threads, which are found by name.
fn worker_faults() -> u64 {
    let mut faults = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        let (name, rest) = stat.rsplit_once(')').unwrap();
        if name.contains("(corelane-") {
            faults += rest.split_whitespace().nth(7).unwrap().parse::<u64>().unwrap();
        }
    }
    faults
}

/// Text on the stack, so that names and messages need no heap memory.
struct Text([u8; 256], usize);

impl Text {
    fn of(arguments: std::fmt::Arguments<'_>) -> Self {
        let mut text = Self([0; 256], 0);
        let mut rest = &mut text.0[..];
        rest.write_fmt(arguments).unwrap();
        text.1 = 256 - rest.len();
        text
    }

    fn bytes(&self) -> &[u8] {
        &self.0[..self.1]
    }

    fn text(&self) -> &str {
        std::str::from_utf8(self.bytes()).unwrap()
    }
}

struct Counts {
    messages: u64,
    closed: u64,
}

/// Polls and acknowledges everything.
fn poll(port: &mut Port, counts: &mut Counts) -> usize {
    let mut acknowledge = [(ClientId(0), 0u32); 256];
    let mut used = 0;
    let taken = port
        .poll_each(acknowledge.len(), |event| match event {
            Event::Message(message) => {
                acknowledge[used] = (message.client, message.payload.len() as u32);
                used += 1;
                counts.messages += 1;
            }
            Event::Closed { .. } => counts.closed += 1,
            _ => {}
        })
        .unwrap();
    for (client, bytes) in acknowledge.iter().take(used) {
        port.acknowledge(*client, 1, *bytes);
    }
    taken
}

/// A router with its ports and clients.
struct Host {
    router: Router,
    ports: Vec<Port>,
    clients: Vec<ClientId>,
    counts: Counts,
    before: u64,
    budget: Budget,
}

impl Host {
    /// Allocates the test's own memory before the first measurement.
    fn start(config: Config) -> Self {
        let ports = config.router.max_ports as usize;
        let mut clients = vec![ClientId(1); config.limits.max_clients as usize];
        clients.clear();
        let mut opened = Vec::with_capacity(ports);
        let builder = Builder::new(config);
        let budget = builder.budget().unwrap();
        println!("memory: {budget}");
        let before = resident();
        let router = builder.start().unwrap();
        opened.extend((0..ports).map(|_| router.port().unwrap()));
        Self { router, ports: opened, clients, counts: Counts { messages: 0, closed: 0 }, before, budget }
    }

    fn growth(&self) -> u64 {
        resident().saturating_sub(self.before)
    }

    fn poll(&mut self) -> usize {
        self.ports.iter_mut().map(|port| poll(port, &mut self.counts)).sum()
    }

    /// Connects `count` clients, alternating between the ports.
    fn connect(&mut self, count: usize) {
        for number in 0..count {
            let port = number % self.ports.len();
            let name = Text::of(format_args!("client-{number}"));
            let client = self.ports[port].connect(name.text(), "peerjs", "memory", number as u64).unwrap();
            self.clients.push(client);
            if number % 64 == 0 {
                self.poll();
            }
        }
    }

    /// Each client sends one message to another client and gets one.
    fn exchange(&mut self) {
        let (count, before) = (self.clients.len(), self.counts.messages);
        for number in 0..count {
            let port = number % self.ports.len();
            let to = (number * 7919 + 1) % count;
            let message =
                Text::of(format_args!(r#"{{"type":"OFFER","dst":"client-{to}","payload":"{number:0100}"}}"#));
            while self.ports[port].submit(self.clients[number], message.bytes(), 0).is_err() {
                self.ports[port].publish();
                self.poll();
                std::thread::yield_now();
            }
            if number % 32 == 0 {
                self.ports.iter_mut().for_each(Port::publish);
                self.poll();
            }
        }
        self.ports.iter_mut().for_each(Port::publish);
        while self.counts.messages - before < count as u64 {
            if self.poll() == 0 {
                std::thread::yield_now();
            }
        }
    }

    fn disconnect(&mut self) {
        let before = self.counts.closed;
        let count = self.clients.len() as u64;
        for number in 0..self.clients.len() {
            let port = number % self.ports.len();
            self.ports[port].disconnect(self.clients[number]).unwrap();
            if number % 64 == 0 {
                self.poll();
            }
        }
        self.clients.clear();
        while self.counts.closed - before < count {
            if self.poll() == 0 {
                std::thread::yield_now();
            }
        }
    }

    fn say(&self, what: &str) -> u64 {
        let (growth, total) = (self.growth(), self.budget.total());
        println!("memory: {what}: {growth} bytes of {total}, {:.1} %", 100.0 * growth as f64 / total as f64);
        growth
    }
}

fn config(workers: u32, ports: u32, clients: u64) -> Config {
    let mut config = Config::default();
    config.router.workers = Some(workers);
    config.router.pin = false;
    config.router.max_ports = ports;
    config.limits.max_clients = clients as u32;
    // Each message arrives, however slow the machine is.
    config.limits.max_queue_wait = Duration::from_secs(600);
    // Rings that carry the largest message, because out-of-line payloads are allocated on demand.
    config.router.ring_bytes = 512 << 10;
    config
}

fn connected(clients: u64) {
    let mut host = Host::start(config(3, 4, clients));
    host.say("started");
    host.connect(clients as usize);
    host.say("connected");
    host.exchange();
    let growth = host.say("with traffic");
    println!("memory: {} bytes of clients per client are stated", host.budget.clients / clients);
    assert!(growth <= host.budget.total(), "{growth} bytes, stated: {}", host.budget);
    assert!(host.budget.clients <= 320 * clients);
}

#[test]
fn a_thousand_clients_stay_below_the_budget() {
    alone("a_thousand_clients_stay_below_the_budget", || connected(1_000));
}

#[test]
fn a_hundred_thousand_clients_stay_below_the_budget() {
    alone("a_hundred_thousand_clients_stay_below_the_budget", || connected(100_000));
}

/// Bytes per client, measured with a hundred thousand additional clients that are connected and served by sixteen
/// workers.
fn bytes_per_client(name: &str, detailed: bool) -> u64 {
    let growth = |clients: u64| {
        alone_with(name, clients, |clients| {
            let mut config = config(16, 2, clients);
            config.holds.bytes = 64 << 10;
            config.holds.messages = 64;
            config.limits.max_message = 8_000;
            config.router.ring_bytes = 64 << 10;
            config.router.touch_memory = true;
            config.monitor.detailed_stats = detailed;
            let mut host = Host::start(config);
            host.connect(clients as usize);
            host.exchange();
            println!("memory: with {clients} clients connected and served: {}", host.growth());
        })
    };
    let (few, many) = (growth(1_000), growth(101_000));
    let each = (many - few) / 100_000;
    println!("memory: {each} bytes per client");
    each
}

#[test]
fn a_client_takes_at_most_256_bytes() {
    let each = bytes_per_client("a_client_takes_at_most_256_bytes", false);
    // A client slot alone takes 192 bytes. A smaller result means that the measurement failed.
    assert!((192..=256).contains(&each), "{each} bytes per client");
}

/// With figures a client takes one more cache line: `docs/decisions/0007-client-figures.md`.
#[test]
fn a_client_with_figures_takes_a_line_more() {
    let each = bytes_per_client("a_client_with_figures_takes_a_line_more", true);
    assert!((256..=320).contains(&each), "{each} bytes per client");
}

/// Touched memory is resident before it is used: at least nine tenths of the budget, and never more than it.
/// Afterwards everything is filled, and no further page becomes resident.
fn touched(workers: u32, ports: u32, clients: u64) {
    let mut config = config(workers, ports, clients);
    config.router.touch_memory = true;
    let limit = config.router.backlog_bytes;
    let count = clients as usize;
    let (mut held, mut backlog) = (0, 0);
    let recipient =
        |to| format!(r#"{{"type":"OFFER","dst":"client-{to}","payload":"{}"}}"#, "x".repeat(60_000));
    let long: Vec<_> = (0..16).map(recipient).collect();
    let mut host = Host::start(config);
    // A thread touches its stack when it first runs.
    host.connect(count);
    host.exchange();
    let touched = host.say("touched");
    // Rooms, out-of-line payloads and a host's own metrics are allocated on demand, and there are none here.
    let as_they_come = host.budget.rooms + host.budget.payloads + host.budget.custom_metrics;
    let total = host.budget.total() - as_they_come;
    assert!(touched <= total && touched * 10 >= total * 9, "{touched} bytes, stated: {}", host.budget);
    let faults = worker_faults();
    // Every worker holds as many messages as it can.
    for number in 0..count.max(5_000) {
        for copy in 0..4 {
            let message = Text::of(format_args!(
                r#"{{"type":"OFFER","dst":"nobody-{}-{copy}","payload":"{number:0100}"}}"#,
                number % 2_500,
            ));
            let (client, port) = (host.clients[number % count], number % count % host.ports.len());
            // A refusal because of a full ring is fine here.
            let _ = host.ports[port].submit(client, message.bytes(), 0);
            host.ports[port].publish();
        }
    }
    // Deliveries that are not polled fill a worker's egress rings and then its backlogs.
    for message in long.iter().cycle().take(20 * long.len()) {
        while host.ports[0].submit(host.clients[0], message.as_bytes(), 0).is_err() {
            std::thread::yield_now();
        }
        host.ports[0].publish();
    }
    let full = host.say("filled");
    let faults = worker_faults() - faults;
    println!("memory: {faults} page faults of workers meanwhile");
    // The remaining faults are first uses of the program's own pages. Without touching there are thousands.
    assert!(faults < 100, "{faults}");
    assert!(full <= total, "{full} bytes, stated: {}", host.budget);
    assert!(full <= touched + (128 << 10), "{touched} bytes touched, {full} filled");
    // Check that everything was filled.
    for worker in host.router.stats().workers {
        println!("memory: held {}, in a backlog {} bytes", worker.held_maximum, worker.backlog_bytes_maximum);
        held += worker.held_maximum;
        backlog = backlog.max(worker.backlog_bytes_maximum);
    }
    assert!(held >= 1_000 && backlog > limit / 2, "{held} held, {backlog} bytes in a backlog");
}

#[test]
fn touched_memory_is_the_budget_from_the_start() {
    alone("touched_memory_is_the_budget_from_the_start", || touched(2, 3, 5_000));
}

#[test]
fn touched_memory_is_the_budget_for_one_of_each() {
    alone("touched_memory_is_the_budget_for_one_of_each", || touched(1, 1, 16));
}

#[test]
fn touched_memory_is_the_budget_for_many() {
    alone("touched_memory_is_the_budget_for_many", || touched(6, 10, 40_000));
}

/// Half of these rounds use all pages, whatever the scheduling of the threads.
const ROUNDS: usize = 80;

/// Clients connect and disconnect: the first rounds take all the memory, the later ones none.
#[test]
fn clients_that_come_and_go_leave_nothing() {
    alone("clients_that_come_and_go_leave_nothing", || {
        // Small rings, so that the first rounds use all their pages.
        let mut config = config(2, 2, 1_000);
        config.limits.max_message = 8_000;
        config.router.ring_bytes = 64 << 10;
        let mut host = Host::start(config);
        let mut after = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            host.connect(500);
            if round % 4 == 0 {
                host.exchange();
            }
            host.disconnect();
            after.push(host.growth());
        }
        let growth = host.say("after all clients, some at a time");
        assert_eq!(host.router.stats().connections.total, 500 * ROUNDS as u64);
        assert!(growth <= host.budget.total(), "{growth} bytes, stated: {}", host.budget);
        // A leak grows in each window. What grows once, in one window, is a first use: a thread that starts late.
        let windows = after[ROUNDS / 2..].chunks(ROUNDS / 8);
        let least = windows.map(|window| window[window.len() - 1].saturating_sub(window[0])).min();
        assert!(least.unwrap() <= 16 << 10, "{after:?}");
    });
}

#[test]
fn a_limit_refuses_with_the_parts_and_what_to_change_before_anything_is_taken() {
    alone("a_limit_refuses_with_the_parts_and_what_to_change_before_anything_is_taken", || {
        let config = |limit: Option<u64>| {
            let mut config = config(64, 64, 1_000_000);
            config.router.touch_memory = true;
            config.router.ring_bytes = 1 << 26;
            config.limits.memory = limit;
            config
        };
        let budget = Builder::new(config(None)).budget().unwrap();
        let tasks = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let (before, threads) = (resident(), tasks());
        let error = Builder::new(config(Some(budget.total() - 1))).start().unwrap_err();
        let taken = resident() - before;
        println!("memory: {taken} bytes for a refusal: {error}");
        assert!(taken < 1 << 20, "{taken}");
        assert_eq!(tasks(), threads);
        assert!(matches!(error, BuildError::Config(_)));
        let expected = format!(
            "memory_limit_bytes = {} is not valid; allowed: at least {} bytes for this configuration, or lower \
             ring_bytes, max_ports or workers; this configuration needs {budget}",
            budget.total() - 1,
            budget.total()
        );
        assert_eq!(error.to_string(), expected);
        for part in ["rings", "backlogs", "clients", "holds", "metrics", "threads", "router", "stacks"] {
            assert!(expected.contains(part), "{part}");
        }
        // A limit of exactly the budget is sufficient.
        let small = |limit| support::changed(config_small(), |config| config.limits.memory = limit);
        let total = Builder::new(small(None)).budget().unwrap().total();
        Builder::new(small(Some(total))).build().unwrap();
        Builder::new(small(Some(total - 1))).build().unwrap_err();
    });
}

fn config_small() -> Config {
    config(1, 1, 10)
}

/// If the system has no memory left, touching returns an error and nothing runs.
#[test]
fn memory_that_cannot_be_touched_is_a_typed_error() {
    alone("memory_that_cannot_be_touched_is_a_typed_error", || {
        let mut config = config(1, 1, 10);
        config.router.ring_bytes = 1 << 26;
        config.router.touch_memory = true;
        let router = Builder::new(config).start().unwrap();
        // The worker's thread has everything that it needs once it sleeps.
        support::until(|| router.stats().workers[0].parks > 0);
        // Limit the address space to its current size plus 32 MiB: a ring of 64 MiB does not fit.
        let now = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = now.split_whitespace().next().unwrap().parse().unwrap();
        rlimit::setrlimit(rlimit::Resource::AS, pages * 4096 + (32 << 20), rlimit::INFINITY).unwrap();
        let error = router.port().unwrap_err();
        println!("memory: {error}");
        assert!(matches!(error, PortError::System(ref error) if error.errno() == libc::ENOMEM));
        rlimit::setrlimit(rlimit::Resource::AS, rlimit::INFINITY, rlimit::INFINITY).unwrap();
        router.port().unwrap();
    });
}
