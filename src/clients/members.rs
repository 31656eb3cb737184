//! The members of a room as workers read them: one immutable list of handles, grouped by port and sorted
//! within each port. A join or leave creates a new list (RCU).

use crate::id::{ClientId, RoomId};

/// The members of one room. Never empty.
#[derive(Debug)]
pub(crate) struct Members {
    room: RoomId,
    name: Box<[u8]>,
    ports: Box<[PortRange]>,
    clients: Box<[ClientId]>,
}

/// The part of the list that holds the members of one port.
#[derive(Clone, Copy, Debug)]
struct PortRange {
    port: u16,
    start: u32,
    end: u32,
}

impl Members {
    /// A room with its first member.
    pub(super) fn first(room: RoomId, name: &[u8], port: u16, client: ClientId) -> Self {
        Self::build(room, name.into(), &[(port, client)])
    }

    /// A copy with one more member. `None` if the client is a member already.
    pub(super) fn with(&self, port: u16, client: ClientId) -> Option<Self> {
        let mut members = self.all();
        let place = members.binary_search(&(port, client)).err()?;
        members.insert(place, (port, client));
        Some(Self::build(self.room, self.name.clone(), &members))
    }

    /// A copy without a member. `Err` if the client is not a member. `Ok(None)` if it was the last member.
    pub(super) fn without(&self, port: u16, client: ClientId) -> Result<Option<Self>, ()> {
        let mut members = self.all();
        let place = members.binary_search(&(port, client)).map_err(|_| ())?;
        members.remove(place);
        let rest = || Self::build(self.room, self.name.clone(), &members);
        Ok((!members.is_empty()).then(rest))
    }

    fn all(&self) -> Vec<(u16, ClientId)> {
        let mut all = Vec::with_capacity(self.clients.len() + 1);
        for (port, clients) in self.by_port() {
            all.extend(clients.iter().map(|client| (port as u16, *client)));
        }
        all
    }

    fn build(room: RoomId, name: Box<[u8]>, members: &[(u16, ClientId)]) -> Self {
        let mut start = 0;
        let ports = members
            .chunk_by(|one, next| one.0 == next.0)
            .filter_map(|chunk| {
                let (port, end) = (chunk.first()?.0, start + chunk.len() as u32);
                Some(PortRange { port, start: std::mem::replace(&mut start, end), end })
            })
            .collect();
        Self { room, name, ports, clients: members.iter().map(|member| member.1).collect() }
    }

    /// Bytes of the list, as they count against the limit on replaced lists.
    pub(super) fn bytes(&self) -> usize {
        Self::bytes_of(self.clients.len(), self.ports.len(), self.name.len())
    }

    pub(super) const fn bytes_of(clients: usize, ports: usize, name: usize) -> usize {
        size_of::<Self>() + clients * size_of::<ClientId>() + ports * size_of::<PortRange>() + name
    }

    pub(crate) fn room(&self) -> RoomId {
        self.room
    }

    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Each port that has members, with its members.
    #[inline]
    pub(crate) fn by_port(&self) -> impl Iterator<Item = (usize, &[ClientId])> {
        self.ports.iter().map(|range| {
            let clients = self.clients.get(range.start as usize..range.end as usize);
            (usize::from(range.port), clients.unwrap_or_default())
        })
    }

    /// Whether a client of this port is a member.
    #[inline]
    pub(crate) fn contains(&self, port: u16, client: ClientId) -> bool {
        let mut of_port = self.by_port().filter(|(here, _)| *here == usize::from(port));
        of_port.any(|(_, clients)| clients.binary_search(&client).is_ok())
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn members_stay_grouped_by_port_and_sorted_whatever_the_order_of_joins() {
        let id = |index| ClientId::new(index, 1);
        let mut members = Members::first(RoomId(1), b"lobby", 2, id(5));
        for (port, index) in [(0, 9), (2, 1), (1, 4), (0, 3), (2, 7)] {
            members = members.with(port, id(index)).unwrap();
        }
        assert!(members.with(2, id(7)).is_none());
        let grouped = |members: &Members| -> Vec<(usize, Vec<u32>)> {
            let indices = |clients: &[ClientId]| clients.iter().map(|client| client.index()).collect();
            members.by_port().map(|(port, clients)| (port, indices(clients))).collect()
        };
        assert_eq!(grouped(&members), [(0, vec![3, 9]), (1, vec![4]), (2, vec![1, 5, 7])]);
        assert!(members.contains(2, id(5)) && !members.contains(1, id(5)) && !members.contains(2, id(6)));
        assert!(members.without(1, id(9)).is_err());
        let rest = members.without(1, id(4)).unwrap().unwrap();
        assert_eq!(grouped(&rest), [(0, vec![3, 9]), (2, vec![1, 5, 7])]);
        assert_eq!((rest.len(), rest.name()), (5, &b"lobby"[..]));
        assert!(Members::first(RoomId(1), b"x", 0, id(1)).without(0, id(1)).unwrap().is_none());
    }
}
