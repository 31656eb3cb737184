//! The tasks that the host holds: taken and not yet done. A table of fixed size, owned by the worker. Tasks of
//! one ring are in one list, in the order of the ring; the ring's bytes are kept from the list's first task on.
//!
//! Used by `driven` (hands out and ends tasks), `dispatch` (makes a message a task) and `state`.

use crate::clients::ClientId;
use crate::metrics::SeriesIds;
use crate::ring::record::IngressHeader;
use crate::router::payload::Payload;
use crate::sync::mutant;

/// The id of a task and of its worker; another worker treats it as stale. Bits 32 to 63 are a generation, bits
/// 24 to 31 the worker, bits 0 to 23 the place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId(pub u64);

impl TaskId {
    fn new(generation: u32, worker: usize, place: u32) -> Self {
        Self(u64::from(generation) << 32 | (worker as u64 & 0xff) << 24 | u64::from(place))
    }

    fn place(self) -> usize {
        (self.0 & 0xff_ffff) as usize
    }

    fn worker(self) -> usize {
        (self.0 >> 24 & 0xff) as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

const NONE: u32 = u32::MAX;

/// The position of a record.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::router) struct Spot {
    /// The ring position before the record and the count of records read until then: everything before can be
    /// released.
    pub(in crate::router) before: (u64, u64),
    /// The position of its first byte, and its length in bytes.
    pub(in crate::router) start: u64,
    pub(in crate::router) length: usize,
}

/// One task.
#[derive(Clone, Copy, Debug)]
pub(in crate::router) struct TaskEntry {
    pub(in crate::router) port: usize,
    pub(in crate::router) header: IngressHeader,
    pub(in crate::router) ids: SeriesIds,
    /// Never later than `started`.
    pub(in crate::router) stamp: u64,
    /// When the task was handed out.
    pub(in crate::router) started: u64,
    pub(in crate::router) spot: Spot,
    /// Whether the message is held for an absent recipient if the host has it relayed.
    pub(in crate::router) hold: bool,
}

impl TaskEntry {
    pub(in crate::router) fn client(&self) -> ClientId {
        ClientId(self.header.client)
    }
}

#[derive(Debug)]
struct TaskPlace {
    generation: u32,
    /// The next free place, or the next task of the same ring.
    next: u32,
    /// The previous task of the same ring.
    previous: u32,
    entry: Option<TaskEntry>,
    /// Its out-of-line payload.
    beside: Option<Payload>,
}

/// The tasks of one ring.
#[derive(Clone, Copy, Debug)]
struct TaskList {
    first: u32,
    last: u32,
    count: u32,
}

#[derive(Debug)]
pub(in crate::router) struct Tasks {
    worker: usize,
    places: Box<[TaskPlace]>,
    lists: Box<[TaskList]>,
    /// Tasks in the order in which they were taken from the rings. Those from `shown` on have not been shown to
    /// the host yet.
    fresh: Vec<TaskId>,
    shown: usize,
    free: u32,
    count: usize,
    /// How many tasks the current call may still hand out.
    pub(in crate::router) allowance: usize,
    /// How many tasks have come back.
    pub(in crate::router) returned: u64,
    /// The position of the record that the worker is handling.
    pub(in crate::router) spot: Spot,
    /// The task whose answer is running.
    pub(in crate::router) answering: Option<TaskId>,
    /// The out-of-line payload of the message that the worker is handling.
    pub(in crate::router) arriving: Option<Payload>,
}

impl Tasks {
    /// A table for `limit` tasks from `ports` rings. A limit of 0 makes an empty table.
    pub(in crate::router) fn new(worker: usize, limit: usize, ports: usize) -> Self {
        let next = |place: usize| if place + 1 < limit { place as u32 + 1 } else { NONE };
        let place =
            |place| TaskPlace { generation: 1, next: next(place), previous: NONE, entry: None, beside: None };
        Self {
            worker,
            places: (0..limit).map(place).collect(),
            lists: vec![TaskList { first: NONE, last: NONE, count: 0 }; ports].into(),
            fresh: Vec::with_capacity(limit),
            shown: 0,
            free: if limit > 0 { 0 } else { NONE },
            count: 0,
            allowance: 0,
            returned: 0,
            spot: Spot::default(),
            answering: None,
            arriving: None,
        }
    }

    /// Bytes of a table.
    pub(in crate::router) const fn memory(limit: u64, ports: u64) -> u64 {
        limit * (size_of::<TaskPlace>() + size_of::<TaskId>()) as u64 + ports * size_of::<TaskList>() as u64
    }

    /// Whether the worker can hand out tasks at all.
    #[inline(always)]
    pub(in crate::router) fn is_driven(&self) -> bool {
        !self.places.is_empty()
    }

    #[inline(always)]
    pub(in crate::router) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(in crate::router) fn is_full(&self) -> bool {
        self.free == NONE
    }

    /// Whether one more task can be handed out in this call.
    #[inline]
    pub(in crate::router) fn can_take(&self) -> bool {
        self.allowance > 0 && !self.is_full()
    }

    /// How many tasks of a port are out.
    #[inline]
    pub(in crate::router) fn of_port(&self, port: usize) -> usize {
        self.lists.get(port).map_or(0, |list| list.count as usize)
    }

    /// The position up to which a port's ring can be released: its first task. `None` if no task of the port is
    /// out.
    pub(in crate::router) fn kept_from(&self, port: usize) -> Option<(u64, u64)> {
        Some(self.first_of(port)?.1.spot.before)
    }

    fn first_of(&self, port: usize) -> Option<(TaskId, &TaskEntry)> {
        let first = self.lists.get(port)?.first;
        let place = self.places.get(first as usize)?;
        Some((TaskId::new(place.generation, self.worker, first), place.entry.as_ref()?))
    }

    /// When the oldest task was handed out.
    pub(in crate::router) fn oldest(&self) -> Option<u64> {
        (0..self.lists.len()).filter_map(|port| self.first_of(port)).map(|(_, entry)| entry.started).min()
    }

    /// Any task that is the oldest of its ring.
    pub(in crate::router) fn any(&self) -> Option<TaskId> {
        (0..self.lists.len()).find_map(|port| self.first_of(port)).map(|(id, _)| id)
    }

    /// Adds a task. `can_take` must have returned true.
    pub(in crate::router) fn put(&mut self, entry: TaskEntry) {
        let index = self.free;
        let (Some(place), Some(list)) = (self.places.get_mut(index as usize), self.lists.get_mut(entry.port))
        else {
            debug_assert!(false, "`can_take` returned true");
            return;
        };
        self.free = std::mem::replace(&mut place.next, NONE);
        place.previous = list.last;
        place.entry = Some(entry);
        place.beside = self.arriving.take();
        let id = TaskId::new(place.generation, self.worker, index);
        let last = std::mem::replace(&mut list.last, index);
        list.count += 1;
        if last == NONE {
            list.first = index;
        } else if let Some(last) = self.places.get_mut(last as usize) {
            last.next = index;
        }
        self.fresh.push(id);
        self.count += 1;
        self.allowance = self.allowance.saturating_sub(1);
    }

    /// The next task that has not been shown to the host.
    pub(in crate::router) fn next_fresh(&mut self) -> Option<TaskId> {
        let id = self.fresh.get(self.shown).copied();
        self.shown += 1;
        if id.is_none() {
            self.fresh.clear();
            self.shown = 0;
        }
        id
    }

    pub(in crate::router) fn get(&self, id: TaskId) -> Option<&TaskEntry> {
        let place = self.places.get(id.place()).filter(|_| id.worker() == self.worker)?;
        let same = place.generation == id.generation() || mutant("done-twice-counted");
        place.entry.as_ref().filter(|_| same)
    }

    /// The out-of-line payload of a task.
    pub(in crate::router) fn beside(&self, id: TaskId) -> Option<&Payload> {
        self.get(id)?;
        self.places.get(id.place())?.beside.as_ref()
    }

    /// Removes a task. Its id is stale from now on.
    pub(in crate::router) fn remove(&mut self, id: TaskId) -> Option<TaskEntry> {
        let entry = *self.get(id)?;
        let place = self.places.get_mut(id.place())?;
        place.entry = None;
        place.beside = None;
        place.generation = place.generation.wrapping_add(1).max(1);
        let (previous, next) = (place.previous, place.next);
        place.next = std::mem::replace(&mut self.free, id.place() as u32);
        place.previous = NONE;
        match self.places.get_mut(next as usize) {
            Some(next) => next.previous = previous,
            None => self.lists.get_mut(entry.port)?.last = previous,
        }
        match self.places.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => self.lists.get_mut(entry.port)?.first = next,
        }
        self.lists.get_mut(entry.port)?.count -= 1;
        self.count -= 1;
        self.returned += 1;
        Some(entry)
    }
}
