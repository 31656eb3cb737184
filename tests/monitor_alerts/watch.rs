//! A monitor whose clock and looks are the test's, with a callback and a poll that must be told the same.

use corelane::clock::{Clock, ManualClock};
use corelane::config::Config;
use corelane::monitor::alert::{Alert, AlertFigures, AlertState, Notification};
use corelane::monitor::{AlertPoll, Monitor};
use corelane::record::{Measured, RecordedMessage};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// `monitor_interval_ms`, as it is unless set.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// A bound for what must come, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Memory and processor time are the whole process's: the tests of these run while no other does.
static TURN: RwLock<()> = RwLock::new(());

/// Held by a test that goes by the process's figures.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Held by all others.
fn among_others() -> RwLockReadGuard<'static, ()> {
    TURN.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Waits until it is so.
pub fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < PATIENCE, "it never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub struct Watch {
    pub monitor: Monitor,
    pub hands: ManualClock,
    poll: AlertPoll,
    heard: Receiver<Alert>,
    /// Told so far: raised, resolved, repeated.
    told: [u64; 3],
    /// Not in tests that run alone.
    _turn: Option<RwLockReadGuard<'static, ()>>,
}

impl Watch {
    /// A monitor without a router.
    pub fn standalone(config: Config) -> Self {
        let (clock, hands) = Clock::manual();
        Self::of(Monitor::with_clock(config, clock).unwrap(), hands)
    }

    /// Without the rules over the process, which this test does not rule.
    pub fn of(monitor: Monitor, hands: ManualClock) -> Self {
        for rule in ["memory", "cpu"] {
            monitor.remove_rule(rule).unwrap();
        }
        Self { _turn: Some(among_others()), ..Self::with_all_rules(monitor, hands) }
    }

    pub fn with_all_rules(monitor: Monitor, hands: ManualClock) -> Self {
        let (sender, heard) = channel();
        let sender = std::sync::Mutex::new(sender);
        // Who no longer hears is no defect of the monitor's.
        monitor.on_alert(move |alert| drop(sender.lock().unwrap().send(alert.clone()))).unwrap();
        let poll = monitor.alerts().unwrap();
        Self { monitor, hands, poll, heard, told: [0; 3], _turn: None }
    }

    /// Looks now, if a look is due, and gives what both listeners were told.
    pub fn tick(&mut self) -> Vec<Alert> {
        self.monitor.tick();
        // A poll has it once the tick is over; the callback's thread may need a while.
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
        // Whoever was not told yet, or never will be, is not counted here: see `withheld`.
        assert!(self.told[0] <= raised && self.told[1] <= resolved && self.told[2] == repeated);
        told
    }

    /// The next look.
    pub fn look(&mut self) -> Vec<Alert> {
        self.hands.advance(INTERVAL);
        self.tick()
    }

    /// So many looks that tell nothing.
    pub fn quiet(&mut self, looks: usize) {
        for number in 0..looks {
            let told = self.look();
            assert_eq!(told, [], "at look {number} of {looks}");
        }
    }

    /// The next look tells one thing, and which.
    pub fn tells(&mut self, id: &str, notification: Notification) -> Alert {
        let mut told = self.look();
        assert_eq!(brief(&told), [(id, notification)]);
        told.remove(0)
    }

    /// What jumps must stay bad for two more looks.
    pub fn raises_at_the_third(&mut self, id: &str) -> Alert {
        self.quiet(1);
        assert_eq!(self.state(id), AlertState::Pending);
        self.quiet(1);
        let alert = self.tells(id, Notification::Raised);
        assert_eq!((alert.state, self.state(id)), (AlertState::Firing, AlertState::Firing));
        assert!(alert.current_value > alert.threshold, "{alert:?}");
        alert
    }

    /// What is good again must stay so for two more looks.
    pub fn resolves_at_the_third(&mut self, id: &str) -> Alert {
        self.quiet(1);
        assert_eq!(self.state(id), AlertState::Recovering);
        self.quiet(1);
        let alert = self.tells(id, Notification::Resolved);
        assert_eq!((alert.state, self.state(id)), (AlertState::Resolved, AlertState::Resolved));
        assert!(alert.current_value < alert.threshold, "{alert:?}");
        alert
    }

    /// Looks, doing `before` each time, until something is told; gives how many looks told nothing.
    pub fn until_told(&mut self, mut before: impl FnMut(&Monitor)) -> (usize, Vec<Alert>) {
        for number in 0..100 {
            before(&self.monitor);
            let told = self.look();
            if !told.is_empty() {
                return (number, told);
            }
        }
        panic!("nothing was told: {:?}", self.figures());
    }

    pub fn figures(&self) -> AlertFigures {
        self.monitor.snapshot().alerts
    }

    /// Where an alert is now.
    pub fn state(&self, id: &str) -> AlertState {
        let figures = self.figures();
        let mut all = figures.current.iter().chain(&figures.pending);
        all.find(|alert| alert.id == id).map_or(AlertState::Resolved, |alert| alert.state)
    }

    /// Ends: the figures say what was told, and nothing else comes.
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

/// Which alerts were told, and what of them.
pub fn brief(told: &[Alert]) -> Vec<(&str, Notification)> {
    told.iter().map(|alert| (alert.id.as_str(), alert.notification.unwrap())).collect()
}

/// Records so many messages alike.
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
