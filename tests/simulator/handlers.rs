//! The handlers of a simulated run. A message's number decides what its handler does, so the host can predict it.

use crate::host::ROOMS;
use corelane::clients::{ClientId, RoomId};
use corelane::clock::{Clock, ManualClock};
use corelane::error::{Failed, JoinError, LeaveError, StopError};
use corelane::router::{Relayed, Request, Router};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// The maximum time that a handler may take in these runs.
pub const PROCESSING_MILLISECONDS: u64 = 5;

/// The data that handlers and host share.
#[derive(Default)]
pub struct Plan {
    router: Mutex<Weak<Router>>,
    /// The client that was last connected under each name.
    pub directory: Mutex<HashMap<&'static str, ClientId>>,
    /// The next handler never returns, from its router's point of view.
    pub give_up: AtomicBool,
    pub panics: AtomicU64,
    pub stalls: AtomicU64,
    pub emitted: AtomicU64,
    pub given_up: AtomicU64,
    pub failed: AtomicU64,
    /// What handlers have done to rooms, until the host follows it in its model.
    pub changes: Mutex<Vec<Change>>,
}

/// A join or leave by a handler, with its result.
pub enum Change {
    Join(ClientId, &'static str, Result<RoomId, JoinError>),
    Leave(ClientId, RoomId, Result<(), LeaveError>),
}

impl Plan {
    pub fn set_router(&self, router: &Arc<Router>) {
        *self.router.lock().unwrap() = Arc::downgrade(router);
    }

    /// Some messages make their senders join or leave a room.
    fn change_rooms(&self, request: &mut Request<'_>, number: u64) {
        let client = request.client();
        let change = match number % 5 {
            0 => {
                let name = ROOMS[number as usize / 5 % ROOMS.len()];
                Change::Join(client, name, request.join(name))
            }
            1 => match request.rooms().unwrap().first() {
                Some(room) => Change::Leave(client, *room, request.leave(*room)),
                None => return,
            },
            _ => return,
        };
        self.changes.lock().unwrap().push(change);
    }

    fn handle(&self, request: &mut Request<'_>, clock: &Clock, hands: &ManualClock) -> Result<(), Failed> {
        let number = request.correlation();
        let to = |name: &str| format!(r#"{{"dst":"{name}","payload":[{number}]}}"#);
        let sent = |result: Result<(), Failed>| {
            self.emitted.fetch_add(u64::from(result.is_ok()), SeqCst);
            result
        };
        let router = self.router.lock().unwrap().upgrade().unwrap();
        if self.give_up.swap(false, SeqCst) {
            // Messages that the handler has already relayed or held stay so.
            let early = number.is_multiple_of(2).then(|| request.relay());
            let stopped = router.stop_within(Duration::ZERO);
            if stopped == Err(StopError::OwnThread) {
                // A local worker lives on this thread, so no stop gives the handler up.
                return early.map_or(Ok(()), |early| early.map(drop));
            }
            let stuck = matches!(stopped, Err(StopError::Stuck(_)));
            let told = request.reply(b"never") == Err(Failed::Stuck);
            let relayed = number.is_multiple_of(2) || request.relay() == Err(Failed::Stuck);
            self.given_up.fetch_add(u64::from(stuck && told && relayed), SeqCst);
            return Ok(());
        }
        self.change_rooms(request, number);
        match number % 8 {
            0 => {
                // Panics without the panic hook's report.
                sent(request.reply(to(request.name()).as_bytes()))?;
                self.panics.fetch_add(1, SeqCst);
                std::panic::resume_unwind(Box::new("planned"))
            }
            1 => Err(Failed::HandlerFailed),
            2 => sent(request.reply(to(request.name()).as_bytes())),
            3 | 4 => {
                let name = request.recipient().unwrap().to_owned();
                sent(request.send_to_name(&name, to(&name).as_bytes()))
            }
            5 => {
                let name = request.recipient().unwrap().to_owned();
                let known = self.directory.lock().unwrap().get(&*name).copied();
                sent(request.send_to(known.unwrap_or(ClientId(0)), to(&name).as_bytes()))
            }
            6 => {
                hands.advance(Duration::from_millis(PROCESSING_MILLISECONDS + 1));
                let watchdog = router.watchdog();
                let (first, second) = (watchdog.look(clock.now()), watchdog.look(clock.now()));
                self.stalls.fetch_add(u64::from((first, second) == (1, 1)), SeqCst);
                request.relay().map(|_| ())
            }
            _ => match request.relay() {
                // The hold decides the outcome, whatever this returns.
                Ok(Relayed::Held) => Err(Failed::HandlerFailed),
                other => other.map(|_| ()),
            },
        }
    }
}

pub fn handler(
    plan: Arc<Plan>,
    clock: Clock,
    hands: ManualClock,
) -> impl Fn(&mut Request<'_>) -> Result<(), Failed> + Send + Sync + 'static {
    move |request| {
        let result = plan.handle(request, &clock, &hands);
        plan.failed.fetch_add(u64::from(result == Err(Failed::HandlerFailed)), SeqCst);
        result
    }
}
