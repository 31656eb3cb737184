//! The feed of connection events.

use super::Monitor;
use crate::clients::{ConnectionQueue, LoggedConnection};
use crate::error::ListenError;
use crate::metrics::ApplicationId;
use crate::record::Source;
use crate::sync::{Arc, Mutex, lock};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many events [`ConnectionEvents::take`] takes at once from each source.
const TAKEN_AT_ONCE: usize = 1024;

/// A connect or a disconnect, of a router's client or of a client that the host has reported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionEvent {
    /// When it happened: wall time, in milliseconds since 1970.
    pub time_milliseconds: u64,
    /// The client's name.
    pub client: String,
    /// The client's application. Empty for none.
    pub application: String,
    /// Whether the client has connected. Otherwise it has disconnected.
    pub connected: bool,
    /// How long the client was connected, in milliseconds. None for a connect, and while `detailed_stats` is off.
    pub lived_milliseconds: Option<u64>,
}

/// The connects and disconnects since [`Monitor::connection_events`], for one reader. Dropping it ends the feed.
#[derive(Debug)]
pub struct ConnectionEvents {
    source: Arc<dyn Source>,
    routed: Option<Arc<Mutex<ConnectionQueue>>>,
    recorded: Arc<Mutex<ConnectionQueue>>,
}

impl Monitor {
    /// A feed of connects and disconnects from this moment on. The feed keeps at most `capacity` events (1 to 65,536;
    /// other values are clamped) of a router's clients, and as many of the clients that the host reports. A full
    /// feed drops its oldest event and counts it. While no feed exists, events cost nothing.
    ///
    /// ```
    /// use corelane::{config::Config, monitor::Monitor};
    ///
    /// let monitor = Monitor::new(Config::default())?;
    /// let mut feed = monitor.connection_events(1000)?;
    /// let ann = monitor.connect("ann", "shop")?;
    /// monitor.disconnect(ann)?;
    /// let (events, dropped) = feed.take();
    /// assert_eq!((events.len(), dropped), (2, 0));
    /// assert!(events[0].connected && !events[1].connected);
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ListenError::TooMany`] if there are 16 feeds.
    pub fn connection_events(&self, capacity: usize) -> Result<ConnectionEvents, ListenError> {
        let capacity = capacity.clamp(1, 65_536);
        let too_many = || ListenError::TooMany(super::outbox::MAX_LISTENERS as u32);
        let source = Arc::clone(&self.core.source);
        let routed = source.routed_clients().map(|clients| clients.follow(capacity).ok_or_else(too_many));
        let routed = routed.transpose()?;
        let recorded = source.hub().clients.follow(capacity).ok_or_else(too_many)?;
        Ok(ConnectionEvents { source, routed, recorded })
    }
}

impl ConnectionEvents {
    /// Takes the waiting events, at most 2,048, in the order of their times. Also returns how many events were dropped
    /// since the last call because the feed was full. Does not wait.
    pub fn take(&mut self) -> (Vec<ConnectionEvent>, u64) {
        let (mut taken, mut dropped, mut events) = (Vec::new(), 0, Vec::new());
        if let Some(routed) = &self.routed {
            dropped += lock(routed).take(TAKEN_AT_ONCE, &mut taken);
            self.source.read(&mut |sources| {
                let name = |id| sources.labels.application_name(ApplicationId(id)).to_owned();
                events.extend(taken.drain(..).map(|event| shown(&event, name(event.application))));
            });
        }
        dropped += lock(&self.recorded).take(TAKEN_AT_ONCE, &mut taken);
        if !taken.is_empty() {
            let names = self.source.hub().applications.names_from(0);
            let name =
                |id: u16| names.get(usize::from(id)).map_or_else(String::new, |(_, name)| name.clone());
            events.extend(taken.iter().map(|event| shown(event, name(event.application))));
        }
        events.sort_by_key(|event| event.time_milliseconds);
        (events, dropped)
    }
}

fn shown(event: &LoggedConnection, application: String) -> ConnectionEvent {
    ConnectionEvent {
        time_milliseconds: milliseconds(event.at),
        client: event.name.as_str().to_owned(),
        application,
        connected: event.connected,
        lived_milliseconds: event.lived_milliseconds,
    }
}

fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
