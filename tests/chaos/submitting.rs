//! Submits messages of all types and sizes, copied or owned by the router, and messages of the host itself.

use crate::ledger::{To, filling, name_of, room_of, send_bytes};
use crate::values::{Value, Whims};
use crate::world::{Place, World, catch};
use corelane::clients::ClientId;
use corelane::clock::Stamp;
use corelane::error::{ClientError, ConnectError, SubmitError};
use corelane::router::{Port, SharedPort, SubmitOptions};
use std::ops::ControlFlow;

/// A port's submitting side.
pub enum Way<'a> {
    Plain(&'a mut Port),
    Shared(&'a SharedPort),
}

impl Way<'_> {
    pub fn submit_with(
        &mut self,
        client: ClientId,
        bytes: &[u8],
        options: SubmitOptions,
    ) -> Result<(), SubmitError> {
        match self {
            Self::Plain(port) => port.submit_with(client, bytes, options),
            Self::Shared(port) => port.submit_with(client, bytes, options),
        }
    }
}

/// A message before it is given to a port.
pub struct Draft {
    pub number: u64,
    pub client: ClientId,
    pub bytes: Vec<u8>,
}

impl World {
    /// Runs code on a port's submitting side, unless it is in use or dropped.
    pub fn submitting<R>(&self, place: &Place, run: impl FnOnce(Way<'_>) -> R) -> Option<R> {
        let shared = place.shared.borrow().clone();
        if let Some(shared) = shared {
            return Some(run(Way::Shared(&shared)));
        }
        let mut port = place.plain.take()?;
        let result = run(Way::Plain(&mut port));
        *place.plain.borrow_mut() = Some(port);
        Some(result)
    }

    pub fn can_submit(place: &Place) -> bool {
        place.shared.borrow().is_some() || place.plain.borrow().is_some()
    }

    pub fn draft(&self, client: u64, place: &Place) -> Draft {
        let name = self.some_name();
        let fill = match self.below(20) {
            0 => self.below(self.setup.max_message),
            1..4 => self.below(900),
            _ => self.below(40),
        };
        let (kind, to) = match self.below(40) {
            // If there are hundreds of clients, they are in one room.
            0..30 if self.setup.big => (self.pick(&["room", "room", "act"]).unwrap(), To::Room(0)),
            0..8 => ("relay", To::Name(name)),
            8..12 => ("now", To::Name(name)),
            12..18 => ("room", To::Room(self.room_for(client))),
            18..22 => ("lossy", To::Name(name)),
            22..24 => ("act", To::Room(self.room_for(client))),
            24..31 => ("act", To::Name(name)),
            31..36 => ("task", To::Name(name)),
            36 => ("alive", To::Nobody),
            37 => ("novel", To::Nobody),
            38 => ("leave", To::Nobody),
            39 => ("act", To::Room(self.room_for(client))),
            _ => unreachable!("below"),
        };
        let mut ledger = self.ledger.borrow_mut();
        let number = ledger.send(client, place.serial.get(), to, fill);
        ledger.sent[number as usize].is_leave = kind == "leave";
        let address = match to {
            To::Name(name) => format!(r#""dst":"{}","#, name_of(name)),
            To::Room(room) => format!(r#""room":"{}","#, room_of(room)),
            _ => String::new(),
        };
        let fill = filling(number, fill);
        let mut bytes = format!(r#"{{"type":"{kind}",{address}"payload":[{number},"{fill}"]}}"#).into_bytes();
        if self.chance(2) {
            bytes.truncate(self.below(20) as usize);
        }
        Draft { number, client: ClientId(client), bytes }
    }

    /// Records a port's answer. The answer is `None` if a value of the host panicked.
    pub fn answered(&self, number: u64, answer: Option<&SubmitError>) {
        let mut ledger = self.ledger.borrow_mut();
        self.trace(|| {
            format!(
                "{number} {:x} -> {:?}: {answer:?}",
                ledger.sent[number as usize].from, ledger.sent[number as usize].to
            )
        });
        let Some(reason) = answer else { return };
        ledger.sent[number as usize].dead = true;
        ledger.refused += 1;
        drop(ledger);
        let stopped = self.stopped.get();
        let lost = self.workers.iter().any(|hand| hand.gone.get());
        self.reach(|reached| match reason {
            SubmitError::RingFull => reached.full += 1,
            SubmitError::Closed => {
                assert!(stopped || lost, "the port is closed although all its workers run");
                reached.after_stop += u64::from(stopped);
            }
            SubmitError::Draining => assert!(self.draining.get()),
            SubmitError::RateLimited => reached.rate_refusals += 1,
            SubmitError::InFlightLimit => reached.in_flight_refusals += 1,
            SubmitError::ConcurrencyLimit => reached.concurrency_refusals += 1,
            SubmitError::PayloadsFull => reached.payload_refusals += 1,
            SubmitError::StaleClient
            | SubmitError::WrongPort
            | SubmitError::TooLarge
            | SubmitError::TooManyCalls => {}
            other => panic!("{other}"),
        });
    }

    pub fn submit(&self) {
        if self.chance(3) {
            return self.submit_to_orphan();
        }
        let Some((client, place)) = self.client_and_place() else { return };
        if !Self::can_submit(place) {
            return;
        }
        let draft = self.draft(client, place);
        if self.chance(15) && place.plain.borrow().is_some() {
            self.give(place, draft);
        } else {
            self.submit_one(place, draft);
        }
        if self.chance(30) {
            self.publish();
        }
    }

    fn options(&self, number: u64) -> SubmitOptions {
        let Stamp(now) = self.clock.now();
        let stamp = match self.below(20) {
            0 => Some(0),
            1 => Some(u64::MAX),
            2 => Some(now.saturating_sub(60_000_000_000)),
            3 => Some(now + 60_000_000_000),
            4..8 => Some(now),
            _ => None,
        };
        let tell_failed = self.chance(30);
        self.ledger.borrow_mut().sent[number as usize].tell = tell_failed;
        SubmitOptions {
            correlation: number,
            stamp: stamp.map(Stamp),
            tell_failed,
            ..SubmitOptions::default()
        }
    }

    /// Returns whether the port refused the message because the ring is full.
    pub fn submit_one(&self, place: &Place, Draft { number, client, bytes }: Draft) -> bool {
        if !Self::can_submit(place) {
            return false; // The base route has released the port.
        }
        let options = self.options(number);
        self.reach(|reached| reached.beside += u64::from(bytes.len() > 960));
        let result = self.submitting(place, |mut way| match &mut way {
            Way::Plain(port) if !options.tell_failed && options.stamp.is_some() => {
                port.submit_at(client, &bytes, number, options.stamp.unwrap())
            }
            way => way.submit_with(client, &bytes, options),
        });
        self.ledger.borrow_mut().submitted += 1;
        let error = result.unwrap().err();
        self.answered(number, error.as_ref());
        error == Some(SubmitError::RingFull)
    }

    fn give(&self, place: &Place, Draft { number, client, bytes }: Draft) {
        let options = self.options(number);
        let whims = match self.below(8) {
            0 => Whims { reading: 1 + self.below(4), ..Whims::default() },
            1 => Whims { shrinks: 1 + self.below(4), ..Whims::default() },
            2 => Whims { dropping: true, ..Whims::default() },
            3 | 4 => Whims { acts: true, ..Whims::default() },
            _ => Whims::default(),
        };
        let value = Box::new(Value::new(bytes, whims));
        let ahead = || self.router.accounting().submitted - self.ledger.borrow().submitted;
        let before = ahead();
        let result = self.submitting(place, |way| match way {
            Way::Plain(port) => catch(|| port.submit_owned(client, value, options)),
            Way::Shared(_) => unreachable!("asked before"),
        });
        self.trace(|| format!("{:?}", self.router.accounting()));
        // If the value panicked when its length was read, nothing was submitted.
        let counted = ahead() - before;
        self.ledger.borrow_mut().submitted += counted;
        self.reach(|reached| reached.given += 1);
        self.trace(|| {
            format!(
                "give {number}: {:?}, counted {counted}, {whims:?}",
                result.as_ref().map(|one| one.as_ref().map(Result::is_ok))
            )
        });
        match result.unwrap() {
            None => {}
            Some(Ok(())) => assert_eq!(counted, 1),
            Some(Err(returned)) => {
                assert_eq!(counted, 1);
                self.answered(number, Some(&returned.error));
                self.reach(|reached| reached.returned += 1);
                catch(|| drop(returned.message));
            }
        }
    }

    fn submit_to_orphan(&self) {
        let orphan = self.orphans.borrow().first().cloned();
        let (Some(orphan), Some(client)) = (orphan, self.some_client()) else { return };
        let closed = Err(SubmitError::Closed);
        let client = ClientId(client);
        match self.below(5) {
            0 => assert_eq!(orphan.submit(client, b"{}", 0), closed),
            1 => assert_eq!(orphan.send(client, b"{}", 0), closed),
            2 => assert_eq!(orphan.disconnect(client), Err(ClientError::StaleClient)),
            3 => assert_eq!(
                orphan.submit_batch([(client, &b"{}"[..], 0)], |_, one| {
                    assert_eq!(one, closed);
                    ControlFlow::Continue(())
                }),
                0
            ),
            _ => assert_eq!(orphan.connect("orphan", "chaos", "", 0), Err(ConnectError::Closed)),
        }
        self.reach(|reached| reached.orphan_calls += 1);
    }

    pub fn send(&self) {
        let (Some(place), Some(to)) = (self.some_place(), self.some_client()) else { return };
        self.send_to(place, to);
    }

    pub fn send_to(&self, place: &Place, to: u64) -> bool {
        if !Self::can_submit(place) {
            return false;
        }
        let large = self.chance(10) && !self.calm.get();
        let fill = self.below(if large { self.setup.max_message } else { 60 });
        let number = self.ledger.borrow_mut().send(0, place.serial.get(), To::Client(to), fill);
        let bytes = send_bytes(number, fill);
        let result = self.submitting(place, |way| match way {
            Way::Plain(port) => port.send(ClientId(to), bytes.as_bytes(), number),
            Way::Shared(port) => port.send(ClientId(to), bytes.as_bytes(), number),
        });
        self.ledger.borrow_mut().submitted += 1;
        let result = result.unwrap();
        self.answered(number, result.as_ref().err());
        result.is_ok()
    }
}
