//! Joins the router and the monitor, which do not know each other: gives a router its monitor.

use crate::error::SystemError;
use crate::monitor::Monitor;
use crate::router::Router;

impl Router {
    /// Creates the router's monitor and starts its thread. Call it once, keep the monitor, and clone it where it is
    /// needed: a router should have one monitor at a time. [`Monitor::of`] creates one that is not started.
    ///
    /// ```
    /// use corelane::{config::Config, export::prometheus, monitor::Format, router::Builder};
    ///
    /// let mut config = Config::default();
    /// config.router.workers = Some(1);
    /// let router = Builder::new(config).start()?;
    /// let monitor = router.monitor()?;
    /// println!("{}", monitor.report(Format::Text));
    /// assert!(prometheus(&monitor).contains("corelane_workers_enabled 1"));
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`SystemError`] if the thread cannot be created.
    pub fn monitor(&self) -> Result<Monitor, SystemError> {
        let monitor = Monitor::of(&self.source());
        monitor.start()?;
        Ok(monitor)
    }
}
