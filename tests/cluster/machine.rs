//! A machine of a test: a router with its threads, a port, and its part in the cluster.

use corelane::clients::ClientId;
use corelane::cluster::{Claim, Cluster, ClusterOptions, Lost};
use corelane::config::Config;
use corelane::metrics::Accounting;
use corelane::router::{Builder, Event, Port, Router, SubmitOptions};
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub const LONG: Duration = Duration::from_secs(60);

pub struct Machine {
    pub cluster: Cluster,
    pub port: Port,
    pub router: Router,
    pub claims: HashMap<String, (ClientId, Claim)>,
    pub lost: Receiver<Lost>,
}

/// What a port's clients got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// A payload, by the recipient's name.
    Message(String, String),
    /// A correlation and the reason.
    Undelivered(u64, &'static str),
    /// A correlation.
    Expired(u64),
}

impl Got {
    /// The number that is the payload of a message.
    pub fn number(&self) -> u64 {
        let Self::Message(_, text) = self else { panic!("{self:?}") };
        text.split(r#""payload":"#).nth(1).unwrap().trim_end_matches('}').parse().unwrap()
    }
}

impl Machine {
    pub fn new(url: &str, machine: &str) -> Self {
        Self::with(url, machine, &[], |_| {})
    }

    pub fn with(
        url: &str,
        machine: &str,
        config: &[(&str, &str)],
        change: impl FnOnce(&mut ClusterOptions),
    ) -> Self {
        let mut all = Config::default();
        for (key, value) in [("workers", "1"), ("hold_ms", "2000")].iter().chain(config) {
            all.set(key, value).unwrap();
        }
        let router = Builder::new(all).start().unwrap();
        let port = router.port().unwrap();
        let mut options = ClusterOptions {
            servers: url.to_owned(),
            cluster: "test".to_owned(),
            machine: machine.to_owned(),
            secret: b"secret".to_vec(),
            names: 100_000,
            ..ClusterOptions::default()
        };
        change(&mut options);
        let cluster = Cluster::start(&router, options).unwrap();
        let (sender, lost) = channel();
        cluster.on_lost(move |lost| sender.send(lost).unwrap());
        Self { cluster, port, router, claims: HashMap::new(), lost }
    }

    /// Waits until the cluster is joined, with links to that many machines up.
    pub fn join(&self, links: usize) {
        wait_for(&format!("{:?} joins with {links} links", self.cluster), || {
            let status = self.cluster.status();
            status.state == "joined" && status.links.iter().filter(|link| link.up).count() == links
        });
    }

    /// Claims a name and connects its client.
    pub fn connect(&mut self, name: &str) -> ClientId {
        self.connect_as(name, "peerjs")
    }

    pub fn connect_as(&mut self, name: &str, protocol: &str) -> ClientId {
        let claim = self.cluster.claim_blocking(name, "token", LONG).unwrap();
        let client = self.port.connect(name, protocol, "", self.claims.len() as u64).unwrap();
        self.claims.insert(name.to_owned(), (client, claim));
        client
    }

    /// Disconnects a client and gives its name up.
    pub fn disconnect(&mut self, name: &str) {
        let (client, claim) = self.claims.remove(name).unwrap();
        self.port.disconnect(client).unwrap();
        self.port.wait(Duration::from_millis(1));
        drop(claim);
    }

    pub fn client(&self, name: &str) -> ClientId {
        self.claims[name].0
    }

    pub fn offer(&mut self, from: &str, to: &str, number: u64) {
        let text = format!(r#"{{"type":"OFFER","dst":"{to}","payload":{number}}}"#);
        let options = SubmitOptions { correlation: number, tell_failed: true, ..SubmitOptions::default() };
        let client = self.client(from);
        while self.port.submit_with(client, text.as_bytes(), options).is_err() {
            self.port.wait(Duration::from_millis(1));
        }
    }

    /// What the clients have got now.
    pub fn events(&mut self) -> Vec<Got> {
        self.port.wait(Duration::from_millis(1));
        let names: HashMap<ClientId, &String> =
            self.claims.iter().map(|(name, (client, _))| (*client, name)).collect();
        let (mut all, mut written) = (Vec::new(), Vec::new());
        self.port
            .poll_each(1024, |event| match event {
                Event::Message(message) => {
                    written.push((message.client, 1, message.payload.len() as u32));
                    let payload = String::from_utf8(message.payload.to_vec()).unwrap();
                    let name = names.get(&message.client).map_or("", |name| name.as_str());
                    all.push(Got::Message(name.to_owned(), payload));
                }
                Event::Undelivered { correlation, reason, .. } => {
                    all.push(Got::Undelivered(correlation, reason.label()));
                }
                Event::Expired { correlation, .. } => all.push(Got::Expired(correlation)),
                _ => {}
            })
            .unwrap();
        self.port.acknowledge_batch(written);
        all
    }

    /// Waits for that many events.
    pub fn get(&mut self, count: usize) -> Vec<Got> {
        let (mut all, end) = (Vec::new(), Instant::now() + LONG);
        while all.len() < count {
            assert!(Instant::now() < end, "{} of {count} events: {:?}", all.len(), all.last());
            all.extend(self.events());
        }
        all
    }

    pub fn accounting(&self) -> Accounting {
        self.router.stats().accounting
    }

    /// Waits until nothing is in flight; then everything adds up.
    pub fn settled(&mut self) -> Accounting {
        let end = Instant::now() + LONG;
        loop {
            self.events();
            let all = self.accounting();
            if all.in_flight == 0 && all.held == 0 {
                assert_eq!(all.submitted, all.refused + all.accepted, "{all:?}");
                assert_eq!(all.accepted, all.ok + all.failed + all.expired + all.taken_over, "{all:?}");
                self.links_add_up();
                return all;
            }
            assert!(Instant::now() < end, "{all:?}");
        }
    }

    /// Each message over each link has an end, or is in flight.
    fn links_add_up(&self) {
        for link in self.cluster.status().links {
            let ended = link.delivered + link.gone + link.lost + link.rejected;
            assert_eq!(link.sent, ended + link.in_flight as u64, "{link:?}");
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.claims.clear();
        self.cluster.stop();
    }
}

pub fn wait_for(what: &str, mut is_done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !is_done() {
        assert!(Instant::now() < end, "too late: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A message as its recipient gets it.
pub fn offer(from: &str, to: &str, number: u64) -> Got {
    let text = format!(r#"{{"src":"{from}","type":"OFFER","dst":"{to}","payload":{number}}}"#);
    Got::Message(to.to_owned(), text)
}
