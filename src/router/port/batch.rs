//! [`Batch`]: lends the events of one poll to the host one by one.
//!
//! Used by `handle` and `shared` (the poller). `walk` finds the events.

use crate::error::Closed;
use crate::router::port::event::Event;
use crate::router::port::walk::Walk;

/// The events of one poll, lent one by one. An event's bytes are valid until the next call. Between two events the port
/// can be used, through [`port`](Self::port). Dropping the batch gives the ring space of its events back; events that
/// were not taken come with the next poll. So a loop that polls until the port says closed must take the events, also those
/// that it has no use for: `batch.for_each(|_| ())`.
///
/// ```
/// use corelane::{config::Config, router::{Builder, Event}};
///
/// let router = Builder::new(Config::default()).start()?;
/// let mut port = router.port()?;
/// let ann = port.connect("ann", "generic", "", 1)?;
/// port.send(ann, b"hello", 7)?;
/// port.publish();
/// port.wait(std::time::Duration::from_secs(5));
/// let mut batch = port.poll(64)?;
/// while let Some(event) = batch.next() {
///     if let Event::Message(message) = event {
///         let (client, bytes) = (message.client, message.payload.len() as u32);
///         assert_eq!(message.payload, b"hello"); // Here the host writes them to the client's socket.
///         batch.port().acknowledge(client, 1, bytes);
///     }
/// }
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Batch<'p, P: Polled> {
    port: &'p mut P,
    walk: Walk,
    /// The bytes stay in the rings until the next poll.
    keep: bool,
}

/// What a [`Batch`] can borrow: a [`Port`](crate::router::Port), or the [`Poller`](crate::router::Poller) of a shared port.
pub trait Polled: sealed::Polled {}

pub(super) mod sealed {
    use crate::router::port::poll::PollHalf;

    pub trait Polled {
        #[expect(private_interfaces, reason = "sealed: no other crate can name it")]
        fn half(&mut self) -> &mut PollHalf;
        /// The part of a poll that the submitting half does.
        fn follow_up(&mut self);
    }
}

impl<'p, P: Polled> Batch<'p, P> {
    pub(super) fn begin(port: &'p mut P, limit: usize) -> Result<Self, Closed> {
        let begun = port.half().begin(limit);
        match begun {
            Ok(walk) => Ok(Self { port, walk, keep: false }),
            Err(closed) => {
                port.follow_up();
                Err(closed)
            }
        }
    }

    /// The next event, or `None` after the last one, or once the poll's limit is reached.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "the event borrows the batch")]
    pub fn next(&mut self) -> Option<Event<'_>> {
        let half = self.port.half();
        let found = half.find(&mut self.walk)?;
        Some(half.event(found))
    }

    /// The port, to submit, send, acknowledge, connect and disconnect between two events.
    pub fn port(&mut self) -> &mut P {
        self.port
    }

    /// How many recipients this poll has taken, including those whose client is closed, for whom there is no event.
    pub fn taken(&self) -> usize {
        self.walk.taken
    }

    /// Passes each event to `each`. Returns [`taken`](Self::taken).
    pub fn for_each(mut self, mut each: impl FnMut(Event<'_>)) -> usize {
        while let Some(event) = self.next() {
            each(event);
        }
        self.taken()
    }

    /// The events' bytes stay in the rings until the next poll, or a release.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl<P: Polled> Drop for Batch<'_, P> {
    fn drop(&mut self) {
        if !self.keep {
            self.port.half().release();
        }
        self.port.follow_up();
    }
}
