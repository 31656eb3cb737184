//! Host code that the router runs: handlers, callbacks that answer tasks, and the base route. It sends, relays,
//! performs any other act, and panics.

use crate::ledger::{To, emission_bytes, name_of};
use crate::world::{World, throw};
use corelane::clients::ClientId;
use corelane::error::{Failed, StopError};
use corelane::router::{BaseRequest, Relayed, Request};
use std::time::Duration;

pub fn handle(world: &World, request: &mut Request<'_>) -> Result<(), Failed> {
    world.inside.set(world.inside.get() + 1);
    world.reach(|reached| reached.handlers += 1);
    let is_closed = world.ledger.borrow().peers[&request.client().0].closed;
    assert!(!is_closed, "a handler runs after its sender's last event");
    world.trace(|| format!("handle {} of {:?}", request.correlation(), request.client()));
    let result = crate::world::catch(|| world.answer(request));
    world.inside.set(world.inside.get() - 1);
    result.unwrap_or_else(|| {
        world.reach(|reached| reached.handler_panics += 1);
        throw()
    })
}

/// A message that the base route handles is taken over: nothing may be delivered for it afterwards.
pub fn base(world: &World, request: &BaseRequest<'_>) -> bool {
    let text = String::from_utf8_lossy(request.message);
    let number = text.split("\"payload\":[").nth(1).and_then(|rest| rest.split(',').next());
    {
        let mut ledger = world.ledger.borrow_mut();
        ledger.base_runs += 1;
        if let Some(sent) =
            number.and_then(|number| number.parse().ok()).and_then(|at: usize| ledger.sent.get_mut(at))
        {
            sent.dead = true;
        }
    }
    world.reach(|reached| reached.base_runs += 1);
    if world.chance(20) {
        world.act_inside();
    }
    world.chance(50)
}

impl World {
    fn answer(&self, request: &mut Request<'_>) -> Result<(), Failed> {
        if self.calm.get() {
            return self.relay(request);
        }
        for _ in 0..self.below(4) {
            match self.below(10) {
                0 | 1 => {
                    // When `relay` returns, the router no longer uses the room table, so room operations must
                    // succeed.
                    let _ = self.relay(request);
                    if self.chance(40) {
                        self.churn();
                    }
                }
                2 => {
                    let client = request.client();
                    self.emit(request, To::Client(client.0));
                }
                3 | 4 => {
                    if let Some(client) = self.some_client() {
                        self.emit(request, To::Client(client));
                    }
                }
                5 => {
                    let name = self.below(self.setup.names);
                    self.emit(request, To::Name(name));
                }
                6 if self.setup.may_stop && self.chance(4) => self.give_up(request),
                _ => self.act_inside(),
            }
        }
        match self.below(12) {
            0 => throw(),
            1 => Err(Failed::HandlerFailed),
            2..6 => self.relay(request),
            _ => Ok(()),
        }
    }

    /// A message of a synchronous call has no number. It counts as number 0, which belongs to no client.
    fn number(&self, request: &Request<'_>) -> Option<u64> {
        Some(request.correlation()).filter(|number| *number > 0)
    }

    fn relay(&self, request: &mut Request<'_>) -> Result<(), Failed> {
        let Some(number) = self.number(request) else { return Ok(()) };
        {
            let mut ledger = self.ledger.borrow_mut();
            let place = ledger.emissions.len() as u64;
            let sent = &mut ledger.sent[number as usize];
            if sent.place == 0 {
                sent.place = place + 1;
                // The relayed message occupies one position among the emissions, so that their order can be checked.
                ledger.emit(number, To::Nobody, 0);
                ledger.sent[number as usize].emissions -= 1;
            }
        }
        let first = request.relay();
        self.trace(|| format!("relay {number}: {first:?}"));
        assert_eq!(request.relay(), first, "a second call repeats the first one's answer");
        first.map(|relayed| assert!(matches!(relayed, Relayed::Delivered | Relayed::Held)))
    }

    fn emit(&self, request: &mut Request<'_>, to: To) {
        let Some(number) = self.number(request) else { return };
        let fill = match self.below(20) {
            0 => self.below(self.setup.max_message),
            1..4 => self.below(600),
            _ => self.below(40),
        };
        let id = self.ledger.borrow_mut().emit(number, to, fill);
        let bytes = emission_bytes(id, fill);
        let result = match to {
            To::Client(client) if client == request.client().0 => request.reply(bytes.as_bytes()),
            To::Client(client) => request.send_to(ClientId(client), bytes.as_bytes()),
            To::Name(name) => request.send_to_name(&name_of(name), bytes.as_bytes()),
            To::Room(_) | To::Nobody => unreachable!("a handler sends to clients"),
        };
        self.trace(|| format!("emit E{id} of {number} to {to:?}: {result:?}"));
        self.ledger.borrow_mut().emissions[id as usize].ok = result.is_ok();
    }

    /// Stops the router without waiting. The stop gives up this worker, as if its handler never returned.
    fn give_up(&self, request: &mut Request<'_>) {
        self.request_stop();
        let stuck = self.router.stop_within(Duration::ZERO);
        if stuck == Err(StopError::OwnThread) {
            // A local worker lives on this thread, so no stop gives the handler up.
            assert!(self.setup.locals > 0, "no worker lives on this thread");
            return;
        }
        assert!(matches!(stuck, Err(StopError::Stuck(_) | StopError::TimedOut)), "{stuck:?}");
        assert_eq!(request.reply(b"never"), Err(Failed::Stuck));
        self.reach(|reached| reached.given_up += 1);
    }
}
