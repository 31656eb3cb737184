//! A port whose submitting half is behind a lock, for hosts whose threads come and go. The lock covers place, claim,
//! write and publish, so one client's messages keep the order in which they were submitted. Polling has one owner.

use super::connect::ConnectOptions;
use super::poll::{Event, Poll};
use super::port::Lease;
use super::submit::{Submit, SubmitOptions};
use crate::clients::{ClientId, Outstanding, RoomId};
use crate::error::{Error, Refused};
use crate::sync::{Arc, Mutex, lock};
use std::time::Duration;

pub(super) fn split(submit: Submit, poll: Poll, lease: Lease) -> (SharedPort, Poller) {
    let submit = Arc::new(Mutex::new(Some(submit)));
    (SharedPort { submit: Arc::clone(&submit) }, Poller { submit, poll, lease })
}

/// Submits from any thread; clones are the same port. Calls wait for each other, never for a worker or a poll. Once
/// the [`Poller`] is dropped everything is refused as closed.
#[derive(Clone, Debug)]
pub struct SharedPort {
    submit: Arc<Mutex<Option<Submit>>>,
}

impl SharedPort {
    pub(super) fn with<R>(&self, call: impl FnOnce(&mut Submit) -> Result<R, Error>) -> Result<R, Error> {
        match lock(&self.submit).as_mut() {
            Some(submit) => call(submit),
            None => Err(Error::Refused(Refused::Closed)),
        }
    }

    fn publishing<R>(&self, call: impl FnOnce(&mut Submit) -> Result<R, Error>) -> Result<R, Error> {
        self.with(|submit| {
            let result = call(submit);
            submit.publish();
            result
        })
    }

    /// As [`Port::connect`](super::Port::connect).
    ///
    /// # Errors
    /// As there.
    pub fn connect(
        &self,
        name: &str,
        protocol: &str,
        application: &str,
        token: u64,
    ) -> Result<ClientId, Error> {
        self.connect_with(name, ConnectOptions::new(protocol, application, token))
    }

    /// As [`Port::connect_with`](super::Port::connect_with).
    ///
    /// # Errors
    /// As there.
    pub fn connect_with(&self, name: &str, options: ConnectOptions<'_>) -> Result<ClientId, Error> {
        self.with(|submit| submit.connect(name, options))
    }

    /// Submits and publishes one message.
    ///
    /// # Errors
    /// As [`Port::submit`](super::Port::submit).
    pub fn submit(&self, client: ClientId, message: &[u8], correlation: u64) -> Result<(), Error> {
        self.publishing(|submit| submit.submit(client, message, correlation))
    }

    /// As [`submit`](Self::submit), with all that a message can be submitted with.
    ///
    /// # Errors
    /// As [`Port::submit`](super::Port::submit).
    pub fn submit_with(&self, client: ClientId, message: &[u8], options: SubmitOptions) -> Result<(), Error> {
        self.publishing(|submit| submit.submit_with(client, message, options))
    }

    /// As [`Port::submit_batch`](super::Port::submit_batch), under one lock: neither the batch nor `each` may call
    /// back into this port.
    /// Once the poller is dropped nothing is tried: the first is told that it is closed.
    pub fn submit_batch<'a>(
        &self,
        batch: impl IntoIterator<Item = (ClientId, &'a [u8], u64)>,
        each: impl FnMut(usize, Result<(), Error>) -> bool,
    ) -> usize {
        self.batch(batch, Submit::submit, each)
    }

    /// Sends and publishes one message of the host's own, as [`Port::send`](super::Port::send).
    ///
    /// # Errors
    /// As there.
    pub fn send(&self, to: ClientId, message: &[u8], correlation: u64) -> Result<(), Error> {
        self.publishing(|submit| submit.send(to, message, correlation))
    }

    /// Sends many, as [`submit_batch`](Self::submit_batch).
    pub fn send_batch<'a>(
        &self,
        batch: impl IntoIterator<Item = (ClientId, &'a [u8], u64)>,
        each: impl FnMut(usize, Result<(), Error>) -> bool,
    ) -> usize {
        self.batch(batch, Submit::send, each)
    }

    fn batch<'a>(
        &self,
        batch: impl IntoIterator<Item = (ClientId, &'a [u8], u64)>,
        one: impl Fn(&mut Submit, ClientId, &[u8], u64) -> Result<(), Error>,
        mut each: impl FnMut(usize, Result<(), Error>) -> bool,
    ) -> usize {
        match lock(&self.submit).as_mut() {
            Some(submit) => submit.batch(batch, one, each),
            None => {
                if batch.into_iter().next().is_some() {
                    each(0, Err(Error::Refused(Refused::Closed)));
                }
                0
            }
        }
    }

    /// As [`Port::disconnect`](super::Port::disconnect).
    ///
    /// # Errors
    /// As there.
    pub fn disconnect(&self, client: ClientId) -> Result<(), Error> {
        self.with(|submit| submit.disconnect(client))
    }

    /// As [`Port::release_name`](super::Port::release_name).
    ///
    /// # Errors
    /// As there.
    pub fn release_name(&self, client: ClientId) -> Result<(), Error> {
        self.with(|submit| submit.release_name(client))
    }

    /// As [`Port::join`](super::Port::join).
    ///
    /// # Errors
    /// As there.
    pub fn join(&self, client: ClientId, room: &str) -> Result<RoomId, Error> {
        self.with(|submit| submit.join(client, room))
    }

    /// As [`Port::leave`](super::Port::leave).
    ///
    /// # Errors
    /// As there.
    pub fn leave(&self, client: ClientId, room: RoomId) -> Result<(), Error> {
        self.with(|submit| submit.leave(client, room))
    }
}

/// The polling half of a shared port. `Send`, not `Sync`. Dropping it closes the port.
#[derive(Debug)]
pub struct Poller {
    submit: Arc<Mutex<Option<Submit>>>,
    poll: Poll,
    lease: Lease,
}

impl Poller {
    /// As [`Port::poll`](super::Port::poll).
    ///
    /// # Errors
    /// As there.
    pub fn poll(&mut self, limit: usize, each: impl FnMut(Event<'_>)) -> Result<usize, Error> {
        let taken = self.poll.take(limit, each);
        self.poll.release();
        if let Some(submit) = lock(&self.submit).as_mut() {
            submit.follow_up(taken.left);
        }
        taken.result()
    }

    /// As [`Port::acknowledge`](super::Port::acknowledge).
    pub fn acknowledge(&mut self, client: ClientId, messages: u32, bytes: u32) {
        self.poll.acknowledge_batch([(client, messages, bytes)]);
    }

    /// As [`Port::acknowledge_batch`](super::Port::acknowledge_batch).
    pub fn acknowledge_batch(&mut self, written: impl IntoIterator<Item = (ClientId, u32, u32)>) {
        self.poll.acknowledge_batch(written);
    }

    /// As [`Port::rebind`](super::Port::rebind).
    ///
    /// # Errors
    /// As there.
    pub fn rebind(&mut self, client: ClientId, token: u64) -> Result<(), Error> {
        self.poll.rebind(client, token)
    }

    /// As [`Port::outstanding`](super::Port::outstanding).
    ///
    /// # Errors
    /// As there.
    pub fn outstanding(&self, client: ClientId) -> Result<Outstanding, Error> {
        self.poll.outstanding(client)
    }

    /// As [`Port::descriptor`](super::Port::descriptor).
    pub fn descriptor(&self) -> i32 {
        self.poll.descriptor()
    }

    /// As [`Port::arm`](super::Port::arm).
    pub fn arm(&mut self) -> bool {
        let mut submit = lock(&self.submit);
        if let Some(submit) = submit.as_mut() {
            submit.request_space();
        }
        self.poll.arm();
        let space = submit.as_mut().is_some_and(Submit::space_moved);
        !space && !self.poll.has_news()
    }

    /// As [`Port::wait`](super::Port::wait).
    pub fn wait(&mut self, timeout: Duration) {
        let sleep = self.arm();
        self.poll.wait(sleep, timeout);
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        if let Some(mut submit) = lock(&self.submit).take() {
            self.lease.give_up(&mut submit, &mut self.poll);
        }
    }
}
