//! The clusters of this process, their claims, and what waits to be told about these. A claim's news is kept with the claim, so
//! that there is room for it however late the host looks.

use super::cluster_parts::{
    CORELANE_CLUSTER_CLAIMED, CORELANE_CLUSTER_LOST, CORELANE_LOST_REPLACED, CORELANE_LOST_TAKEN,
    CorelaneClusterEvent, Part,
};
use super::guard::Failure;
use super::handle::{CorelaneClaim, CorelaneCluster, Table};
use super::router::with_signals_blocked;
use super::status::CorelaneStatus;
use crate::cluster::{Claim, ClaimError, Cluster, ClusterOptions, LostReason, StartError};
use crate::error::PortError;
use crate::router::Router;
use crate::sync::os::EventFd;
use crate::sync::{Arc, AtomicU64, Mutex, Relaxed, lock};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// The clusters of this process.
static CLUSTERS: Table<Arc<Joined>, 64> = Table::new("cluster");

/// In a claim's handle: the cluster's number is above, the claim's below.
const CLAIM_BITS: u32 = 40;
/// In a claim's number: it was refused before it got one of the cluster.
const REFUSED: u64 = 1 << (CLAIM_BITS - 1);

/// What [`join`] needs.
#[derive(Default)]
pub(super) struct Options(ClusterOptions);

impl Options {
    pub(super) fn set(&mut self, part: Part<'_>) {
        let options = &mut self.0;
        match part {
            Part::Servers(text) => options.servers = text.to_owned(),
            Part::Cluster(text) => options.cluster = text.to_owned(),
            Part::Machine(text) => options.machine = text.to_owned(),
            Part::Credentials(path) => options.credentials = Some(path.into()),
            Part::User(user, password) => options.user = Some((user.to_owned(), password.to_owned())),
            Part::Ca(path) => options.tls_ca = Some(path.into()),
            Part::Client(certificate, key) => options.tls_client = Some((certificate.into(), key.into())),
            Part::Secret(bytes) => options.secret = bytes.to_vec(),
            Part::Replicas(number) => options.replicas = number as usize,
            Part::Names(number) => options.names = number,
            Part::Rooms(number) => options.rooms = number,
            Part::LinkMessages(number) => options.link_messages = number,
            Part::LinkBytes(number) => options.link_bytes = number,
        }
    }
}

/// A router's part in a cluster.
pub(super) struct Joined {
    cluster: Cluster,
    /// Of this process, so that no claim is valid with another cluster.
    number: u64,
    desk: Arc<Desk>,
}

/// Where the cluster's thread and the host meet.
struct Desk {
    claims: Mutex<Claims>,
    /// Signalled and drained under the lock, so that it always agrees with `news`.
    bell: EventFd,
}

#[derive(Default)]
struct Claims {
    held: HashMap<u64, Held>,
    news: BTreeMap<u64, News>,
    refused: u64,
    is_closed: bool,
}

struct Held {
    correlation: u64,
    /// `None`: refused at once.
    claim: Option<Claim>,
}

#[derive(Default)]
struct News {
    answer: Option<Result<(), ClaimError>>,
    lost: Option<LostReason>,
}

impl Desk {
    /// Adds to a claim's news, if the host still has the claim.
    fn tell(&self, claims: &mut Claims, id: u64, add: impl FnOnce(&mut News)) {
        if claims.is_closed || !claims.held.contains_key(&id) {
            return;
        }
        if claims.news.is_empty() {
            self.bell.signal();
        }
        add(claims.news.entry(id).or_default());
    }

    /// Removes a claim. The caller drops it outside of the lock.
    fn remove(&self, claims: &mut Claims, id: u64) -> Option<Held> {
        if claims.news.remove(&id).is_some() {
            self.calm(claims);
        }
        claims.held.remove(&id)
    }

    fn calm(&self, claims: &Claims) {
        if claims.news.is_empty() && !claims.is_closed {
            self.bell.drain();
        }
    }

    fn next(&self) -> Option<(u64, u64, News)> {
        let mut claims = lock(&self.claims);
        let mut first = claims.news.first_entry()?;
        let id = *first.key();
        let told = match first.get_mut().answer.take() {
            Some(answer) => News { answer: Some(answer), lost: None },
            None => News { answer: None, lost: first.get_mut().lost.take() },
        };
        if first.get().lost.is_none() {
            first.remove();
            self.calm(&claims);
        }
        let correlation = claims.held.get(&id).map_or(0, |held| held.correlation);
        let over = matches!(told.answer, Some(Err(_))).then(|| self.remove(&mut claims, id));
        drop(claims);
        drop(over);
        Some((id, correlation, told))
    }
}

/// What gets a claim's answer, on the cluster's thread. Dropped without one, the cluster has stopped.
struct Reply {
    desk: Arc<Desk>,
    /// Set under the desk's lock, as soon as the claim is made.
    id: Arc<OnceLock<u64>>,
    /// A thread that waits; otherwise the answer is news.
    waiter: Option<SyncSender<Result<(), ClaimError>>>,
    /// A claim that is refused at once drops its reply on the host's thread, under the lock, and needs no answer.
    asked_by: ThreadId,
    is_told: bool,
}

impl Reply {
    fn tell(&mut self, answer: Result<(), ClaimError>) {
        self.is_told = true;
        if let Some(waiter) = &self.waiter {
            let _ = waiter.try_send(answer);
            return;
        }
        let mut claims = lock(&self.desk.claims);
        if let Some(id) = self.id.get() {
            self.desk.tell(&mut claims, *id, |news| news.answer = Some(answer));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.is_told && std::thread::current().id() != self.asked_by {
            self.tell(Err(ClaimError::Stopped));
        }
    }
}

pub(super) fn join(router: &Router, options: Options) -> Result<CorelaneCluster, Failure> {
    // A number is not used again. The first one is 1: 0 is never a valid handle.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let bell = EventFd::new().map_err(StartError::System)?;
    let desk = Arc::new(Desk { claims: Mutex::default(), bell });
    let cluster =
        with_signals_blocked(|| Cluster::start(router, options.0)).map_err(|error| match error {
            StartError::Port(PortError::TooManyPorts(_)) => {
                let text = "the router is in a cluster already, or has max_ports ports";
                Failure::new(CorelaneStatus::Limit, text)
            }
            other => other.into(),
        })?;
    let told = Arc::clone(&desk);
    cluster.on_lost(move |lost| {
        let mut claims = lock(&told.claims);
        told.tell(&mut claims, lost.claim, |news| news.lost = Some(lost.reason));
    });
    let number = NEXT.fetch_add(1, Relaxed); // Relaxed: only the number counts.
    let joined = Arc::new(Joined { cluster, number, desk });
    let kept = Arc::clone(&joined);
    let value = CLUSTERS.insert(joined).inspect_err(|_| kept.stop())?;
    Ok(CorelaneCluster { value })
}

/// The cluster of a handle. Calls work on it outside of the table, so that a release waits for none of them.
pub(super) fn joined(cluster: CorelaneCluster) -> Result<Arc<Joined>, Failure> {
    CLUSTERS.enter_shared(cluster.value, |joined| Ok(Arc::clone(joined)))
}

pub(super) fn release(cluster: CorelaneCluster) -> Result<(), Failure> {
    let joined = joined(cluster)?;
    drop(CLUSTERS.release(cluster.value)?);
    joined.stop();
    Ok(())
}

impl Joined {
    fn handle(&self, id: u64) -> CorelaneClaim {
        CorelaneClaim { value: self.number << CLAIM_BITS | id }
    }

    /// Sends a claim. Returns its number.
    fn send(
        &self,
        name: &str,
        token: &str,
        correlation: u64,
        waiter: Option<SyncSender<Result<(), ClaimError>>>,
    ) -> Result<u64, ClaimError> {
        let id = Arc::new(OnceLock::new());
        let mut reply = Reply {
            desk: Arc::clone(&self.desk),
            id: Arc::clone(&id),
            waiter,
            asked_by: std::thread::current().id(),
            is_told: false,
        };
        // The lock is held until the claim is known, so that its answer or its loss, which may be there already, finds it.
        let mut claims = lock(&self.desk.claims);
        let claim = self.cluster.claim_then(name, token, move |answer| reply.tell(answer))?;
        let number = claim.id();
        let _ = id.set(number);
        claims.held.insert(number, Held { correlation, claim: Some(claim) });
        Ok(number)
    }

    pub(super) fn claim(
        &self,
        name: &str,
        token: &str,
        correlation: u64,
        timeout: Duration,
    ) -> Result<CorelaneClaim, Failure> {
        let (sender, receiver) = sync_channel(1);
        let id = self.send(name, token, correlation, Some(sender))?;
        let failure = match receiver.recv_timeout(timeout) {
            Ok(Ok(())) => return Ok(self.handle(id)),
            Ok(Err(error)) => error.into(),
            Err(RecvTimeoutError::Timeout) => {
                Failure::new(CorelaneStatus::Timeout, "the cluster has not answered before the time-out")
            }
            Err(RecvTimeoutError::Disconnected) => ClaimError::Stopped.into(),
        };
        let over = self.desk.remove(&mut lock(&self.desk.claims), id);
        drop(over);
        Err(failure)
    }

    pub(super) fn start(&self, name: &str, token: &str, correlation: u64) -> CorelaneClaim {
        let id = self.send(name, token, correlation, None).unwrap_or_else(|error| {
            let mut claims = lock(&self.desk.claims);
            claims.refused += 1;
            let id = REFUSED | claims.refused;
            claims.held.insert(id, Held { correlation, claim: None });
            self.desk.tell(&mut claims, id, |news| news.answer = Some(Err(error)));
            id
        });
        self.handle(id)
    }

    pub(super) fn give_up(&self, claim: CorelaneClaim) -> Result<(), Failure> {
        let id = claim.value & ((1 << CLAIM_BITS) - 1);
        let is_ours = self.handle(id) == claim;
        let held = is_ours.then(|| self.desk.remove(&mut lock(&self.desk.claims), id)).flatten();
        let over = || Failure::new(CorelaneStatus::Stale, "the claim is over or was never valid");
        drop(held.ok_or_else(over)?.claim);
        Ok(())
    }

    pub(super) fn next(&self) -> Option<CorelaneClusterEvent> {
        let (id, correlation, news) = self.desk.next()?;
        let (kind, status, reason) = match news {
            News { answer: Some(Ok(())), .. } => (CORELANE_CLUSTER_CLAIMED, 0, 0),
            News { answer: Some(Err(error)), .. } => {
                (CORELANE_CLUSTER_CLAIMED, Failure::from(error).code(), 0)
            }
            News { lost: Some(LostReason::Replaced), .. } => {
                (CORELANE_CLUSTER_LOST, 0, CORELANE_LOST_REPLACED)
            }
            News { .. } => (CORELANE_CLUSTER_LOST, 0, CORELANE_LOST_TAKEN),
        };
        Some(CorelaneClusterEvent { size: 0, kind, claim: self.handle(id), correlation, status, reason })
    }

    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let start = Instant::now();
        loop {
            {
                let claims = lock(&self.desk.claims);
                if claims.is_closed || !claims.news.is_empty() {
                    return !claims.is_closed;
                }
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return false;
            }
            self.desk.bell.wait(Some(left));
        }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.desk.bell.as_fd()
    }

    pub(super) fn status(&self) -> String {
        serde_json::to_string(&self.cluster.status()).unwrap_or_default()
    }

    pub(super) fn names(&self, limit: usize, timeout: Duration) -> Result<String, Failure> {
        let late =
            || Failure::new(CorelaneStatus::Timeout, "the cluster has not answered before the time-out");
        let names = self.cluster.names_blocking(limit, timeout).ok_or_else(late)?;
        Ok(serde_json::to_string(&names).unwrap_or_default())
    }

    pub(super) fn is_joined(&self) -> bool {
        self.cluster.is_joined()
    }

    pub(super) fn drain(&self) {
        self.cluster.drain();
    }

    /// Leaves the cluster. Nothing waits with it afterwards.
    fn stop(&self) {
        let held = {
            let mut claims = lock(&self.desk.claims);
            claims.is_closed = true;
            claims.news.clear();
            self.desk.bell.signal();
            std::mem::take(&mut claims.held)
        };
        self.cluster.stop();
        drop(held);
    }
}
