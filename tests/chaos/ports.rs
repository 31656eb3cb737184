//! Opens, shares and releases ports, from every place where host code runs.

use crate::submitting::Way;
use crate::world::{Place, World};
use corelane::error::PortError;

impl World {
    /// The indices of open ports.
    pub fn open_places(&self) -> Vec<usize> {
        (0..self.ports.len()).filter(|place| self.ports[*place].serial.get() > 0).collect()
    }

    pub fn some_place(&self) -> Option<&Place> {
        self.pick(&self.open_places()).map(|place| &self.ports[place])
    }

    pub fn place_of(&self, serial: u64) -> Option<&Place> {
        self.ports.iter().find(|place| place.serial.get() == serial)
    }

    /// Opens a port if one can be opened at once. The place of a released port is free after its workers have
    /// detached from it.
    pub fn open_port(&self) {
        let Some(place) = self.ports.iter().find(|place| place.serial.get() == 0) else { return };
        if self.stopped.get() {
            let refused = self.router.port().map(drop);
            let every_worker_is_local = matches!(refused, Err(PortError::EveryWorkerIsLocal));
            let stopped = matches!(refused, Err(PortError::Stopped));
            assert!(stopped || every_worker_is_local && self.workers.is_empty(), "{refused:?}");
            if self.setup.locals > 0 {
                let refused = self.router.local_port().map(drop);
                assert!(matches!(refused, Err(PortError::Stopped)), "{refused:?}");
            }
            return;
        }
        self.releases.borrow_mut().retain(|released| {
            let locals = self.setup.locals == 0 || self.locals_cycled.get() > *released;
            !(locals && self.workers.iter().all(|hand| hand.gone.get() || hand.cycled.get() > *released))
        });
        let open = self.open_places().len() + self.releases.borrow().len();
        if open >= self.ports.len() {
            return;
        }
        let Some(port) = self.open_some_port() else { return };
        self.serials.set(self.serials.get() + 1);
        place.serial.set(self.serials.get());
        *place.plain.borrow_mut() = Some(port);
    }

    pub fn share(&self) {
        let Some(place) = self.some_place() else { return };
        let Some(port) = place.plain.take() else { return };
        let (shared, poller) = port.share();
        *place.shared.borrow_mut() = Some(shared);
        *place.poller.borrow_mut() = Some(poller);
        self.reach(|reached| reached.shared_ports += 1);
    }

    /// Releases a port, or one half of a shared port.
    pub fn release_port(&self) {
        let Some(place) = self.some_place() else { return };
        if place.poller.borrow().is_some() && place.shared.borrow().is_some() && self.chance(30) {
            drop(place.shared.take());
            self.reach(|reached| reached.mute_ports += 1);
            return;
        }
        self.release(place);
    }

    pub fn release(&self, place: &Place) {
        let (plain, poller) = (place.plain.take(), place.poller.take());
        if plain.is_none() && poller.is_none() {
            return; // The port is in use.
        }
        self.trace(|| format!("release {}", place.serial.get()));
        self.ledger.borrow_mut().release(place.serial.get());
        if let Some(shared) = place.shared.take() {
            let mut orphans = self.orphans.borrow_mut();
            orphans.truncate(3);
            orphans.push(shared);
            self.reach(|reached| reached.pollers_first += 1);
        }
        drop((plain, poller));
        place.serial.set(0);
        self.releases.borrow_mut().push(self.ledger.borrow().now);
        let inside = u64::from(self.is_inside());
        self.reach(|reached| {
            reached.released_ports += 1;
            reached.released_inside += inside;
        });
    }

    pub fn publish(&self) {
        if let Some(place) = self.some_place() {
            self.publish_on(place);
        }
    }

    pub fn publish_on(&self, place: &Place) {
        self.submitting(place, |way| {
            if let Way::Plain(port) = way {
                port.publish();
            }
        });
    }
}
