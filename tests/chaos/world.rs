//! The router with its workers and ports. Each worker or port is taken out of its place while it is used, so code
//! that runs inside it can use the others, but never that same worker or port.

use crate::ledger::Ledger;
use crate::random::Random;
use crate::reach::Reached;
use crate::setup::{PROTOCOL, Setup};
use crate::{handlers, watching, workers};
use corelane::clock::{Clock, ManualClock};
use corelane::router::{Builder, Poller, Port, Request, Router, SharedPort, TaskId, Worker};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

const STEPS: u64 = 250;

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// The current run, for code that the router calls.
pub fn world() -> Rc<World> {
    WORLD.with_borrow(|world| Rc::clone(world.as_ref().expect("no run")))
}

/// Leaks the state of a failed run, so that no destructor runs.
pub fn forget() {
    std::mem::forget(WORLD.take());
}

/// The payload of the actors' panics.
pub struct Thrown;

pub fn throw() -> ! {
    std::panic::resume_unwind(Box::new(Thrown))
}

/// Runs code in which an actor may panic. Returns `None` if one did.
pub fn catch<R>(code: impl FnOnce() -> R) -> Option<R> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(code)) {
        Ok(result) => Some(result),
        Err(payload) if payload.is::<Thrown>() => None,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

/// A place that holds one port.
#[derive(Default)]
pub struct Place {
    /// The port's serial number, from 1 on; 0 for none.
    pub serial: Cell<u64>,
    pub plain: RefCell<Option<Port>>,
    pub shared: RefCell<Option<SharedPort>>,
    pub poller: RefCell<Option<Poller>>,
}

pub struct Hand {
    pub worker: RefCell<Option<Worker>>,
    pub tasks: RefCell<Vec<workers::Out>>,
    pub last_done: Cell<Option<TaskId>>,
    /// When the worker's last cycle began. There are no more cycles once the worker is gone.
    pub cycled: Cell<u64>,
    pub gone: Cell<bool>,
}

pub struct World {
    pub setup: Setup,
    random: RefCell<Random>,
    pub clock: Clock,
    pub hands: ManualClock,
    pub router: Router,
    /// The workers that are not local.
    pub workers: Vec<Hand>,
    pub ports: Vec<Place>,
    /// Shared ports whose pollers were dropped.
    pub orphans: RefCell<Vec<SharedPort>>,
    pub ledger: RefCell<Ledger>,
    reached: RefCell<Reached>,
    pub serials: Cell<u64>,
    pub tokens: Cell<u64>,
    /// When ports were released from which a worker may not have detached yet.
    pub releases: RefCell<Vec<u64>>,
    /// When the last cycle of all local workers began.
    pub locals_cycled: Cell<u64>,
    pub depth: Cell<u64>,
    pub fuel: Cell<u64>,
    /// The nesting depth of code inside a worker.
    pub inside: Cell<u64>,
    /// Actors neither panic nor act.
    pub calm: Cell<bool>,
    pub stopped: Cell<bool>,
    pub draining: Cell<bool>,
    /// The number of panics before this run.
    pub panics: u64,
    pub traced: bool,
}

/// Runs one seed.
pub fn run(seed: u64) -> Reached {
    let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(seed));
    let (setup, config) = Setup::random(&mut random);
    let (clock, hands) = Clock::manual();
    hands.advance(Duration::from_secs(1_000));
    let mut builder = Builder::new(config).clock(clock.clone()).name_keys([seed, 7]).protocol(setup.rules());
    // A handler that may block keeps its clients from local workers.
    let handler = |request: &mut Request<'_>| handlers::handle(&world(), request);
    builder = match setup.locals == setup.workers || random.chance(80) {
        true => builder.short_handler(PROTOCOL, "act", handler),
        false => builder.handler(PROTOCOL, "act", handler),
    };
    if setup.based {
        builder = builder.base_route(|request| handlers::base(&world(), request));
    }
    let (router, workers) = builder.build().unwrap();
    let hand = |worker| Hand {
        worker: RefCell::new(Some(worker)),
        tasks: RefCell::default(),
        last_done: Cell::new(None),
        cycled: Cell::new(0),
        gone: Cell::new(false),
    };
    let world = Rc::new(World {
        random: RefCell::new(random),
        clock,
        hands,
        router,
        workers: workers.into_iter().map(hand).collect(),
        ports: (0..setup.ports).map(|_| Place::default()).collect(),
        orphans: RefCell::default(),
        ledger: RefCell::new(Ledger { ordered: setup.ordered, ..Ledger::default() }),
        reached: RefCell::default(),
        serials: Cell::new(0),
        tokens: Cell::new(0),
        releases: RefCell::default(),
        locals_cycled: Cell::new(0),
        depth: Cell::new(0),
        fuel: Cell::new(0),
        inside: Cell::new(0),
        calm: Cell::new(false),
        stopped: Cell::new(false),
        draining: Cell::new(false),
        panics: watching::panics(),
        traced: std::env::var_os("CORELANE_CHAOS_TRACE").is_some(),
        setup,
    });
    // Messages of the host itself are numbered from 1 on, because a sender of 0 means no client.
    world.ledger.borrow_mut().send(0, 0, crate::ledger::To::Nobody, 0);
    world.trace(|| format!("{:?}", world.setup));
    WORLD.set(Some(Rc::clone(&world)));
    for _ in 0..=world.below(world.setup.ports as u64) {
        world.open_port();
    }
    for _ in 0..world.below(world.setup.max_clients.min(12)) {
        world.connect();
    }
    if world.setup.big {
        world.fill_a_room();
    }
    for _ in 0..STEPS {
        world.step();
    }
    world.end();
    WORLD.set(None);
    let reached = std::mem::take(&mut *world.reached.borrow_mut());
    drop(world);
    reached
}

impl World {
    pub fn below(&self, limit: u64) -> u64 {
        self.random.borrow_mut().below(limit)
    }

    pub fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&self, from: &[T]) -> Option<T> {
        self.random.borrow_mut().pick(from).copied()
    }

    pub fn reach(&self, count: impl FnOnce(&mut Reached)) {
        count(&mut self.reached.borrow_mut());
    }
}
