//! The stream of `/api/events` (server-sent events): once a second the figures, and the slots of the last minute that the
//! client does not have yet, or that have changed since.
//!
//! The id of an event is its wall time. The monitor keeps the slots of the last minute, so a client that comes back with
//! the id of its last event misses none of them, even if this is another process.

use super::parts::{member, part_name};
use super::query::parameters;
use crate::monitor::{Monitor, Span};
use crate::sync::Arc;
use ::tokio::sync::{Notify, mpsc};
use ::tokio::time::{MissedTickBehavior, interval};
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

pub(super) const CONTENT_TYPE: &str = "text/event-stream; charset=utf-8";

/// Time between two events, and the time after which a client that has lost its stream tries again.
const PERIOD: Duration = Duration::from_secs(1);
const RETRY: &[u8] = b"retry: 2000\n\n";
/// Events that wait for a client that does not read. Later ones are left out; the next that finds room has their slots.
const WAITING: usize = 4;
/// Slots that ended this long before the last event are sent again, in milliseconds: one was open then, and a number's
/// sample may come later than the slots of its time.
const AGAIN: u64 = 3_000;

/// A client's end of a stream.
pub(super) struct Stream {
    events: mpsc::Receiver<Bytes>,
    /// Compresses each event, if the client accepts that.
    gzip: Option<GzEncoder<Vec<u8>>>,
}

impl Stream {
    /// The same events, compressed.
    pub(super) fn compressed(mut self) -> Self {
        // The fastest level: an event is mostly what the event before it was.
        self.gzip = Some(GzEncoder::new(Vec::new(), Compression::fast()));
        self
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(event) = ready!(self.events.poll_recv(context)) else {
            // The end of the compressed data, once.
            let rest = self.gzip.take().and_then(|gzip| gzip.finish().ok());
            return Poll::Ready(rest.filter(|rest| !rest.is_empty()).map(Bytes::from));
        };
        let Some(gzip) = &mut self.gzip else { return Poll::Ready(Some(event)) };
        // The flush ends the event at a whole byte, so that the client can read all of it. Writing into memory does not
        // fail.
        let _ = gzip.write_all(&event).and_then(|()| gzip.flush());
        Poll::Ready(Some(std::mem::take(gzip.get_mut()).into()))
    }
}

/// What a client has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Members of the report; `None` for all.
    parts: Option<Vec<String>>,
    /// The id of the last event that the client has.
    after: u64,
}

impl Wanted {
    /// Reads the query and the header `Last-Event-ID`.
    ///
    /// # Errors
    /// A text that says what is allowed.
    pub(super) fn read(query: &str, last_event: Option<&str>) -> Result<Self, String> {
        let [parts, after] = parameters(query, ["parts", "after"])?;
        let id = last_event.or(after.as_deref());
        let after = id.map_or(Ok(0), str::parse).map_err(|_| {
            let id = id.unwrap_or_default();
            format!("after = {id} is not valid; allowed: the id of an event")
        })?;
        let member = |part: &str| member(part.trim()).to_owned();
        let parts = parts.map(|parts| parts.split(',').map(member).collect());
        Ok(Self { parts, after })
    }
}

struct Client {
    wanted: Wanted,
    sender: mpsc::Sender<Bytes>,
}

/// All streams of a door.
pub(super) struct Feed {
    monitor: Monitor,
    clients: RefCell<Vec<Client>>,
    any: Notify,
    limit: usize,
    counts: Arc<super::counts::Counts>,
}

impl Feed {
    pub(super) fn new(monitor: Monitor, limit: usize, counts: Arc<super::counts::Counts>) -> Rc<Self> {
        Rc::new(Self { monitor, clients: RefCell::default(), any: Notify::new(), limit, counts })
    }

    /// Adds a client, which gets its first event at once. `None` if there is no room.
    pub(super) fn subscribe(&self, wanted: Wanted) -> Result<Option<Stream>, String> {
        self.forget_closed();
        if self.clients.borrow().len() >= self.limit {
            return Ok(None);
        }
        let now = Now::read(&self.monitor);
        now.check(&wanted)?;
        let (sender, events) = mpsc::channel(WAITING);
        let mut client = Client { wanted, sender };
        // There is room for both.
        let _ = client.sender.try_send(Bytes::from_static(RETRY));
        client.tell(&self.monitor, &now);
        self.clients.borrow_mut().push(client);
        self.any.notify_one();
        self.count();
        Ok(Some(Stream { events, gzip: None }))
    }

    /// Sends an event each second, as long as there is a client.
    pub(super) async fn run(&self) {
        loop {
            while self.clients.borrow().is_empty() {
                self.any.notified().await;
            }
            let mut ticks = interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            // The first tick is at once, and new clients have had their event.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                self.forget_closed();
                if self.clients.borrow().is_empty() {
                    break;
                }
                let now = Now::read(&self.monitor);
                self.clients.borrow_mut().iter_mut().for_each(|client| client.tell(&self.monitor, &now));
            }
        }
    }

    fn forget_closed(&self) {
        self.clients.borrow_mut().retain(|client| !client.sender.is_closed());
        self.count();
    }

    fn count(&self) {
        self.counts.streams(self.clients.borrow().len());
    }
}

/// The figures of one second, for all clients.
struct Now {
    stats: Map<String, Value>,
    wall: u64,
}

impl Now {
    fn read(monitor: &Monitor) -> Self {
        let report = serde_json::from_str(&monitor.report(crate::monitor::Format::Json));
        let stats: Map<String, Value> = report.unwrap_or_default();
        let wall = stats.get("time_milliseconds").and_then(Value::as_u64).unwrap_or(0);
        Self { stats, wall }
    }

    /// # Errors
    /// A text that says which parts there are.
    fn check(&self, wanted: &Wanted) -> Result<(), String> {
        let mut parts = wanted.parts.iter().flatten();
        let Some(unknown) = parts.find(|part| !self.stats.contains_key(&**part)) else { return Ok(()) };
        let is_part = |value: &Value| !value.is_number() && !value.is_string();
        let parts = self.stats.iter().filter(|(_, value)| is_part(value));
        let names: Vec<_> = parts.map(|(name, _)| part_name(name)).collect();
        Err(format!("parts = {unknown} is not valid; allowed: {}", names.join(", ")))
    }

    /// The event of this second.
    fn event(&self, monitor: &Monitor, wanted: &Wanted) -> String {
        // A clock that was set back would keep a client waiting: it gets the whole minute.
        let after = if wanted.after > self.wall + 1_000 { 0 } else { wanted.after };
        let timeline = monitor.timeline(Span::Minute, after.saturating_sub(AGAIN));
        let stats = self.parts(wanted.parts.as_deref());
        let data = json!({ "stats": stats, "timeline": timeline });
        // JSON has no line feed outside of texts, and escapes those in texts.
        format!("id: {}\nevent: figures\ndata: {data}\n\n", self.wall)
    }

    /// The members that the client wants. Numbers and texts are always there.
    fn parts(&self, wanted: Option<&[String]>) -> Map<String, Value> {
        let is_wanted = |name: &String, value: &Value| match wanted {
            None => true,
            Some(names) => names.contains(name) || value.is_number() || value.is_string(),
        };
        let members = self.stats.iter().filter(|(name, value)| is_wanted(name, value));
        members.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// The event of this second, and its id.
///
/// # Errors
/// A text that says which parts there are.
pub(super) fn event(monitor: &Monitor, wanted: &Wanted) -> Result<(String, u64), String> {
    let now = Now::read(monitor);
    now.check(wanted)?;
    Ok((now.event(monitor, wanted), now.wall))
}

impl Client {
    /// Sends the event of this second, if there is room. Otherwise the next event has these slots too.
    fn tell(&mut self, monitor: &Monitor, now: &Now) {
        let event = now.event(monitor, &self.wanted);
        if self.sender.try_send(event.into()).is_ok() {
            self.wanted.after = now.wall;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_comes_before_the_query() {
        let wanted = Wanted::read("parts=types,%20slow&after=7", None).unwrap();
        let parts = Some(vec!["types".to_owned(), "slow_messages".to_owned()]);
        assert_eq!(wanted, Wanted { parts, after: 7 });
        assert_eq!(Wanted::read("after=7", Some("9")).unwrap().after, 9);
        assert!(Wanted::read("after=x", None).unwrap_err().contains("allowed: the id"));
        assert!(Wanted::read("x=1", None).unwrap_err().contains("parts, after"));
    }
}
