//! A monitor whose clock and looks the test controls. A callback and a poll must get the same notifications.

pub use crate::support::{PATIENCE, until};
use corelane::clock::{Clock, ManualClock};
use corelane::config::Config;
use corelane::monitor::alert::{Alert, AlertFigures, AlertState, Notification};
use corelane::monitor::{AlertPoll, Monitor};
use corelane::record::{Measured, RecordedMessage};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// The default of `monitor_interval_ms`.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// Memory and processor time are figures of the whole process: tests of these figures run while no other test does.
static TURN: RwLock<()> = RwLock::new(());

/// Held by a test that depends on the process's figures.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Held by all other tests.
fn among_others() -> RwLockReadGuard<'static, ()> {
    TURN.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub struct Watch {
    pub monitor: Monitor,
    pub hands: ManualClock,
    poll: AlertPoll,
    heard: Receiver<Alert>,
    /// The numbers of notifications so far: raised, resolved, repeated.
    told: [u64; 3],
    /// `None` in tests that run alone.
    _turn: Option<RwLockReadGuard<'static, ()>>,
}

impl Watch {
    /// A monitor without a router.
    pub fn standalone(config: Config) -> Self {
        let (clock, hands) = Clock::manual();
        Self::of(Monitor::with_clock(config, clock).unwrap(), hands)
    }

    /// A watch without the rules over the process, whose figures the test does not control.
    pub fn of(monitor: Monitor, hands: ManualClock) -> Self {
        for rule in ["memory", "cpu"] {
            monitor.remove_rule(rule).unwrap();
        }
        Self { _turn: Some(among_others()), ..Self::with_all_rules(monitor, hands) }
    }

    pub fn with_all_rules(monitor: Monitor, hands: ManualClock) -> Self {
        let (sender, heard) = channel();
        let sender = std::sync::Mutex::new(sender);
        // A send error only means that the test has dropped the receiver.
        monitor.on_alert(move |alert| drop(sender.lock().unwrap().send(alert.clone()))).unwrap();
        let poll = monitor.alerts().unwrap();
        Self { monitor, hands, poll, heard, told: [0; 3], _turn: None }
    }

    /// Ticks, which looks if a look is due. Returns the notifications that both listeners got.
    pub fn tick(&mut self) -> Vec<Alert> {
        self.monitor.tick();
        // A poll has the notification when the tick returns; the callback's thread may need some time.
        let told: Vec<_> = std::iter::from_fn(|| self.poll.next()).collect();
        for alert in &told {
            assert_eq!(self.heard.recv_timeout(PATIENCE).as_ref(), Ok(alert));
            match alert.notification.unwrap() {
                Notification::Raised => self.told[0] += 1,
                Notification::Resolved => self.told[1] += 1,
                _ => self.told[2] += 1,
            }
        }
        let AlertFigures { raised, resolved, repeated, .. } = self.figures();
        // Alerts that are not yet notified, or never will be, are not counted here; see `withheld`.
        assert!(self.told[0] <= raised && self.told[1] <= resolved && self.told[2] == repeated);
        told
    }

    /// The next look.
    pub fn look(&mut self) -> Vec<Alert> {
        self.hands.advance(INTERVAL);
        self.tick()
    }

    /// Performs `looks` looks that must cause no notification.
    pub fn quiet(&mut self, looks: usize) {
        for number in 0..looks {
            let told = self.look();
            assert_eq!(told, [], "at look {number} of {looks}");
        }
    }

    /// The next look must cause exactly this notification.
    pub fn tells(&mut self, id: &str, notification: Notification) -> Alert {
        let mut told = self.look();
        assert_eq!(brief(&told), [(id, notification)]);
        told.remove(0)
    }

    /// A value that rises must stay bad for two more looks before the alert is raised.
    pub fn raises_at_the_third(&mut self, id: &str) -> Alert {
        self.quiet(1);
        assert_eq!(self.state(id), AlertState::Pending);
        self.quiet(1);
        let alert = self.tells(id, Notification::Raised);
        assert_eq!((alert.state, self.state(id)), (AlertState::Firing, AlertState::Firing));
        assert!(alert.current_value > alert.threshold, "{alert:?}");
        alert
    }

    /// A value that is good again must stay good for two more looks before the alert is resolved.
    pub fn resolves_at_the_third(&mut self, id: &str) -> Alert {
        self.quiet(1);
        assert_eq!(self.state(id), AlertState::Recovering);
        self.quiet(1);
        let alert = self.tells(id, Notification::Resolved);
        assert_eq!((alert.state, self.state(id)), (AlertState::Resolved, AlertState::Resolved));
        assert!(alert.current_value < alert.threshold, "{alert:?}");
        alert
    }

    /// Performs looks, with `before` ahead of each, until there is a notification. Returns the number of looks
    /// without one, and the notifications.
    pub fn until_told(&mut self, mut before: impl FnMut(&Monitor)) -> (usize, Vec<Alert>) {
        for number in 0..100 {
            before(&self.monitor);
            let told = self.look();
            if !told.is_empty() {
                return (number, told);
            }
        }
        panic!("there was no notification: {:?}", self.figures());
    }

    pub fn figures(&self) -> AlertFigures {
        self.monitor.snapshot().alerts
    }

    /// The current state of an alert.
    pub fn state(&self, id: &str) -> AlertState {
        let figures = self.figures();
        let mut all = figures.current.iter().chain(&figures.pending);
        all.find(|alert| alert.id == id).map_or(AlertState::Resolved, |alert| alert.state)
    }

    /// Ends the watch: the figures must match the notifications, and there must be no others.
    pub fn end(self) {
        let figures = self.figures();
        assert_eq!([figures.raised - figures.withheld, figures.resolved - figures.withheld], self.told[..2]);
        assert_eq!((figures.repeated, figures.notifications_dropped), (self.told[2], 0));
        assert_eq!(figures.history.len() as u64, figures.resolved.min(256));
        assert_eq!(figures.current.len() as u64, figures.raised - figures.resolved);
        assert_eq!(self.poll.next(), None);
        drop(self.monitor);
        assert!(self.poll.is_closed());
        assert_eq!(self.heard.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    }
}

/// The ids and the kinds of the notifications.
pub fn brief(told: &[Alert]) -> Vec<(&str, Notification)> {
    told.iter().map(|alert| (alert.id.as_str(), alert.notification.unwrap())).collect()
}

/// Records `count` equal messages.
pub fn record(monitor: &Monitor, count: usize, message_type: &str, measured: Measured) {
    for _ in 0..count {
        monitor.record(&RecordedMessage {
            message_type,
            protocol: "test",
            measured,
            ..RecordedMessage::default()
        });
    }
}
