//! Corelane's side: one port, with nothing of the router turned off.

use super::side::{Idle, ON_THEIR_WAY, Side, Threads};
use crate::race::pin;
use corelane::clients::ClientId;
use corelane::config::{self, Config};
use corelane::error::JoinError;
use corelane::router::{Builder, Event, Port, Router, Worker};

pub struct Corelane {
    port: Port,
    clients: Vec<ClientId>,
    handed_out: Vec<(ClientId, u32, u32)>,
    /// The workers that the host drives if there is only one thread.
    workers: Vec<Worker>,
    _router: Router,
}

fn config(workers: usize, idle: Idle) -> Config {
    let mut config = Config::default();
    config.router.workers = Some(workers as u32);
    config.router.idle = match idle {
        Idle::Spin => config::Idle::Spin,
        Idle::Backoff => config::Idle::Backoff,
        Idle::Park => config::Idle::Park,
    };
    config.router.pin = false;
    config
}

/// Starts a router. A single worker runs on the core with index 1, like the worker of a peer.
pub fn start(threads: Threads) -> (Router, Vec<Worker>) {
    match threads {
        Threads::One => Builder::new(config(1, Idle::Spin)).build().unwrap(),
        Threads::Workers(1, idle) => {
            pin(1); // The worker inherits the affinity.
            let router = Builder::new(config(1, idle)).start().unwrap();
            pin(0);
            (router, Vec::new())
        }
        Threads::Workers(count, idle) => (Builder::new(config(count, idle)).start().unwrap(), Vec::new()),
        Threads::Default => (Builder::new(Config::default()).start().unwrap(), Vec::new()),
    }
}

impl Corelane {
    /// A router with PeerJS clients.
    pub fn new(names: &[String], threads: Threads) -> Self {
        Self::with(names, threads, "peerjs")
    }

    /// A router whose clients are all members of one room.
    pub fn room(names: &[String], threads: Threads) -> Self {
        let mut side = Self::with(names, threads, "generic");
        for client in side.clients.clone() {
            // A join leaves an old list behind, which is kept until each worker has moved on.
            while let Err(error) = side.port.join(client, "room") {
                assert!(matches!(error, JoinError::ListsInUse), "{error}");
                side.flush();
                std::thread::yield_now();
            }
        }
        side
    }

    fn with(names: &[String], threads: Threads, protocol: &str) -> Self {
        let (router, workers) = start(threads);
        let mut port = router.port().unwrap();
        let connect =
            |(token, name): (usize, &String)| port.connect(name, protocol, "app", token as u64).unwrap();
        let clients = names.iter().enumerate().map(connect).collect();
        Self { port, clients, handed_out: Vec::with_capacity(ON_THEIR_WAY), workers, _router: router }
    }
}

impl Side for Corelane {
    fn send(&mut self, from: usize, message: &[u8]) -> bool {
        let client = self.clients[from % self.clients.len()];
        self.port.submit(client, message, 0).is_ok()
    }

    fn flush(&mut self) {
        self.port.publish();
        for worker in &mut self.workers {
            worker.cycle(self.port.clock().now());
        }
    }

    fn receive(&mut self, each: &mut dyn FnMut(usize, &[u8])) -> usize {
        let handed_out = &mut self.handed_out;
        self.port
            .poll_each(ON_THEIR_WAY, |event| {
                if let Event::Message(message) = event {
                    each(message.token as usize, message.payload);
                    handed_out.push((message.client, 1, message.payload.len() as u32));
                }
            })
            .unwrap();
        let count = handed_out.len();
        self.port.acknowledge_batch(handed_out.drain(..));
        count
    }
}
