//! What the cluster does with NATS: one connection, a task that keeps bucket and watch, operations on keys, frames.
//! Everything here may wait; the driver never does, it gets [`News`].

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::kv::{self, Operation as Change, Store};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ClientError, ConnectOptions, Event, HeaderMap, ServerError, Subscriber};
use futures_util::{Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::keys::{self, Key};
use super::lease;
use super::link::Moment;
use super::names::{Action, Operation, Outcome};
use super::options::ClusterOptions;
use super::owner::{SEQUENCE, bucket_of};
use crate::sync::os::since_boot;
use crate::sync::{Acquire, Arc, AtomicU64, Relaxed, Release};

/// The time after which an operation on the bucket has no answer.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(3);
/// The time that the marker of a deleted key stays.
const MARKER_TTL: Duration = Duration::from_secs(60);
/// The time between two looks at the bucket itself.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// Publishing waits for room in the client for as many frames as this; beyond, they stay with their links.
const FRAMES: usize = 64;

/// What NATS tells the driver.
#[derive(Debug)]
pub enum News {
    /// The connection is there.
    Connected,
    /// The connection is lost.
    Disconnected,
    /// NATS does not do what this machine needs. The text says what to change.
    Problem(String),
    /// NATS refuses to write to the bucket, until it does write. The text says what to change.
    NotWritten(String),
    /// NATS does not permit what this machine needs, until the next connection. The text says what to change.
    Refused(String),
    /// The bucket is another one than before: the one before was lost.
    BucketIsNew,
    /// The bucket is there, and the watch begins.
    WatchBegins,
    /// A key's value, or none, with its revision.
    Entry(Key, u64, Option<Vec<u8>>),
    /// The watch has told all that there was, up to this revision.
    Synced(u64),
    /// An operation on a name has ended.
    Done(Operation, Outcome),
    /// A name that a worker has asked for was read.
    Asked(Box<str>, Outcome),
    /// A renewal of an incarnation's lease, sent at that time, has ended.
    Renewed(u64, Moment, Outcome),
    /// The key of an incarnation's lease was read.
    LeaseRead(u64, Outcome),
    /// A room's key was written or deleted.
    RoomDone(String, bool, bool),
    /// A reading of all rooms, by its number, has found that an incarnation has members in a room, in that revision.
    RoomRead(u32, String, u64, u64),
    /// It has ended. False: not with all rooms.
    RoomsRead(u32, bool),
    /// Another operation has ended that nobody waits for.
    Swept,
}

/// The upper bits of a bucket's revisions.
fn mark_of(created: &impl std::fmt::Debug) -> u64 {
    let text = format!("{created:?}");
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    bucket_of(hash)
}

/// How far the driver is behind the bucket. Beside the news, which wait in a queue when the driver is overloaded.
#[derive(Debug, Default)]
struct Progress {
    /// The last revision that the driver has handled.
    handled: AtomicU64,
    /// Revisions that the bucket had when it was looked at last, and the driver had not handled.
    behind: AtomicU64,
}

/// What the watch tells of a key.
struct Entry {
    key: String,
    sequence: u64,
    value: Option<Vec<u8>>,
    /// Nothing else was there when the watch began.
    is_last: bool,
}

/// The connection to NATS.
#[derive(Clone, Debug)]
pub struct Nats {
    progress: Arc<Progress>,
    /// Of the bucket that is watched.
    mark: Arc<AtomicU64>,
    client: Client,
    context: Context,
    bucket: String,
    news: mpsc::Sender<News>,
    frames: mpsc::Sender<Queued>,
}

/// What is to be published, in order.
#[derive(Debug)]
enum Queued {
    /// A frame, with its subject.
    Frame(String, Vec<u8>),
    /// Everything before was handed to the connection.
    Mark(oneshot::Sender<()>),
}

impl Nats {
    /// Connects in the background, now and after each loss.
    ///
    /// # Errors
    /// A text: the options make no sense.
    pub async fn connect(options: &ClusterOptions) -> Result<(Self, mpsc::Receiver<News>), String> {
        let (news, receiver) = mpsc::channel(65_536);
        let told = news.clone();
        let mut connect = ConnectOptions::new()
            .name(format!("corelane {} {}", options.cluster, options.machine))
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(delay)
            .connection_timeout(Duration::from_secs(3))
            .request_timeout(Some(OPERATION_TIMEOUT))
            .ping_interval(Duration::from_secs(2))
            .subscription_capacity(16_384)
            .client_capacity(1024)
            .event_callback(move |event| {
                let told = told.clone();
                async move {
                    if let Some(news) = of_event(event) {
                        let _ = told.send(news).await;
                    }
                }
            });
        if let Some(path) = &options.credentials {
            connect = connect
                .credentials_file(path)
                .await
                .map_err(|error| format!("credentials: {}: {error}", path.display()))?;
        }
        if let Some((user, password)) = &options.user {
            connect = connect.user_and_password(user.clone(), password.clone());
        }
        if let Some(path) = &options.tls_ca {
            is_pem("tls_ca", path, "CERTIFICATE")?;
            connect = connect.add_root_certificates(path.clone()).require_tls(true);
        }
        if let Some((certificate, key)) = &options.tls_client {
            is_pem("tls_client", certificate, "CERTIFICATE")?;
            is_pem("tls_client", key, "PRIVATE KEY")?;
            connect = connect.add_client_certificate(certificate.clone(), key.clone()).require_tls(true);
        }
        let servers: Vec<&str> =
            options.servers.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
        let client = connect.connect(&servers[..]).await.map_err(|error| error.to_string())?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(OPERATION_TIMEOUT);
        let (frames, queue) = mpsc::channel(FRAMES);
        tokio::spawn(publish(client.clone(), queue));
        let mark = Arc::new(AtomicU64::new(0));
        let bucket = keys::bucket(&options.cluster);
        let nats = Self { progress: Arc::default(), mark, client, context, bucket, news, frames };
        tokio::spawn(nats.clone().keep(options.replicas));
        Ok((nats, receiver))
    }

    /// The largest payload that the server takes.
    pub fn max_payload(&self) -> usize {
        self.client.try_server_info().map_or(1 << 20, |info| info.max_payload)
    }

    /// The driver has handled what the watch told up to this revision.
    pub fn handled(&self, revision: u64) {
        self.progress.handled.store(revision, Relaxed); // Relaxed: a number for a figure.
    }

    /// Whether the driver has handled everything up to this revision.
    pub fn has_handled(&self, revision: u64) -> bool {
        let handled = self.progress.handled.load(Relaxed); // Relaxed: the driver's own last store.
        bucket_of(handled) == bucket_of(revision) && handled >= revision
    }

    /// Revisions that the bucket had when it was looked at last, and the driver had not handled.
    pub fn behind(&self) -> u64 {
        self.progress.behind.load(Relaxed) // Relaxed: a number for a figure.
    }

    /// The bucket's last sequence is this one.
    pub fn measure(&self, last: u64) {
        let handled = self.progress.handled.load(Relaxed); // Relaxed, both: numbers for a figure.
        // Of the bucket before: nothing of this one.
        let is_present = bucket_of(handled) == bucket_of(self.revision(last));
        let behind = last.saturating_sub(if is_present { handled & SEQUENCE } else { 0 });
        self.progress.behind.store(behind, Relaxed);
    }

    /// Subscribes to an incarnation's frames. Dropping the subscriber ends it.
    pub async fn subscribe(&self, subject: String) -> Option<Subscriber> {
        self.client.subscribe(subject).await.ok()
    }

    /// Whether a frame can be sent now.
    pub fn has_room(&self) -> bool {
        self.frames.capacity() > 0
    }

    /// Whether no frame waits to be sent.
    pub fn has_sent_all(&self) -> bool {
        self.frames.capacity() == self.frames.max_capacity()
    }

    /// Sends a frame, or drops it if there is no room.
    pub fn send(&self, subject: &str, frame: Vec<u8>) {
        let _ = self.frames.try_send(Queued::Frame(subject.to_owned(), frame));
    }

    /// Sends the last frames, behind all frames before. What is asked for afterwards, NATS gets after them.
    pub async fn send_last(&self, frames: Vec<(String, Vec<u8>)>) {
        let (mark, is_sent) = oneshot::channel();
        let sent = async {
            for (subject, frame) in frames {
                self.frames.send(Queued::Frame(subject, frame)).await.ok()?;
            }
            self.frames.send(Queued::Mark(mark)).await.ok()?;
            is_sent.await.ok()
        };
        let _ = tokio::time::timeout(OPERATION_TIMEOUT, sent).await;
    }

    /// Starts an operation on a name. Its result is news.
    pub fn operate(&self, operation: Operation) {
        let nats = self.clone();
        tokio::spawn(async move {
            let key = keys::name_key(&operation.name);
            let outcome = match operation.action {
                Action::Put(expected, owner) => {
                    nats.write(&key, keys::owner_value(&owner), HeaderMap::new(), Some(expected)).await
                }
                Action::Delete(expected) => nats.delete(&key, Some(expected)).await,
                Action::Read => nats.read(&key).await,
            };
            let _ = nats.news.send(News::Done(operation, outcome)).await;
        });
    }

    /// Reads a name that a worker has asked for.
    pub fn ask(&self, name: Box<str>) {
        let nats = self.clone();
        tokio::spawn(async move {
            let outcome = nats.read(&keys::name_key(&name)).await;
            let _ = nats.news.send(News::Asked(name, outcome)).await;
        });
    }

    /// Deletes a dead machine's name in that revision.
    pub fn sweep(&self, key: Key, expected: Option<u64>) {
        let nats = self.clone();
        tokio::spawn(async move {
            let _ = nats.delete(&key.text(), expected).await;
            let _ = nats.news.send(News::Swept).await;
        });
    }

    /// Writes a lease.
    pub fn renew(&self, incarnation: u64, value: String, expected: u64) {
        let (nats, sent) = (self.clone(), since_boot());
        tokio::spawn(async move {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-TTL", lease::TTL.as_secs().to_string());
            let outcome = nats.write(&Key::Lease(incarnation).text(), value, headers, Some(expected)).await;
            let _ = nats.news.send(News::Renewed(incarnation, sent, outcome)).await;
        });
    }

    /// Reads a lease.
    pub fn read_lease(&self, incarnation: u64) {
        let nats = self.clone();
        tokio::spawn(async move {
            let outcome = nats.read(&Key::Lease(incarnation).text()).await;
            let _ = nats.news.send(News::LeaseRead(incarnation, outcome)).await;
        });
    }

    /// Tells that an incarnation has members in a room, or none any more.
    pub fn room(&self, room: String, incarnation: u64, has_members: bool) {
        let nats = self.clone();
        tokio::spawn(async move {
            let key = Key::Room(room.clone(), incarnation).text();
            let outcome = if has_members {
                nats.write(&key, String::new(), HeaderMap::new(), None).await
            } else {
                nats.delete(&key, None).await
            };
            let _ =
                nats.news.send(News::RoomDone(room, has_members, matches!(outcome, Outcome::Done(_)))).await;
        });
    }

    /// Reads the keys of all rooms, beside the watch.
    pub fn read_rooms(&self, reading: u32) {
        let nats = self.clone();
        tokio::spawn(async move {
            let is_done = nats.rooms(reading).await.is_ok();
            let _ = nats.news.send(News::RoomsRead(reading, is_done)).await;
        });
    }

    async fn rooms(&self, reading: u32) -> Result<(), async_nats::Error> {
        let store = self.context.get_key_value(&self.bucket).await?;
        let mut keys = pin!(store.watch_with_history("r.>").await?);
        loop {
            let entry = tokio::time::timeout(OPERATION_TIMEOUT, keys.next()).await;
            // Without any key the watch tells nothing.
            let Ok(entry) = entry else { return Ok(()) };
            let entry = entry.ok_or("it has ended")??;
            if let (Change::Put, Some(Key::Room(room, of))) = (entry.operation, Key::read(&entry.key)) {
                let revision = self.revision(entry.revision);
                self.news.send(News::RoomRead(reading, room, of, revision)).await?;
            }
            if entry.seen_current {
                return Ok(());
            }
        }
    }

    /// Deletes a lease, after everything that was sent before.
    pub async fn end_lease(&self, incarnation: u64) {
        let _ =
            tokio::time::timeout(OPERATION_TIMEOUT, self.delete(&Key::Lease(incarnation).text(), None)).await;
    }

    /// Sends what is waiting and closes the connection.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.client.flush()).await;
        let _ = self.client.drain().await;
    }

    /// The revision of a sequence in the bucket.
    fn revision(&self, sequence: u64) -> u64 {
        // Acquire: as the Release in `watch`; the number is all that there is.
        self.mark.load(Acquire) | sequence & SEQUENCE
    }

    fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.bucket)
    }

    fn stream(&self) -> String {
        format!("KV_{}", self.bucket)
    }

    async fn write(
        &self,
        key: &str,
        value: String,
        mut headers: HeaderMap,
        expected: Option<u64>,
    ) -> Outcome {
        if let Some(expected) = expected {
            headers.insert("Nats-Expected-Last-Subject-Sequence", (expected & SEQUENCE).to_string());
        }
        let acknowledged = async {
            self.context.publish_with_headers(self.subject(key), headers, value.into()).await?.await
        };
        match tokio::time::timeout(OPERATION_TIMEOUT, acknowledged).await {
            Ok(Ok(acknowledgement)) => Outcome::Done(self.revision(acknowledgement.sequence)),
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => Outcome::Conflict,
            // A cluster has a code of its own for a sequence that another proposal is about to change.
            Ok(Err(error)) if error.to_string().contains("wrong last sequence") => Outcome::Conflict,
            Ok(Err(error)) => {
                tracing::debug!("{key}: {error}");
                // The server's own words, and not only that nobody has answered.
                if error.kind() == PublishErrorKind::Other {
                    let (bucket, text) = (&self.bucket, error.to_string());
                    let told = format!(
                        "NATS does not write to the bucket {bucket}: {}; check the storage and the limits of its account and stream",
                        shortened(&text)
                    );
                    let _ = self.news.send(News::NotWritten(told)).await;
                }
                Outcome::Unavailable
            }
            Err(_) => Outcome::Unavailable,
        }
    }

    async fn delete(&self, key: &str, expected: Option<u64>) -> Outcome {
        let mut headers = HeaderMap::new();
        headers.insert("KV-Operation", "DEL");
        headers.insert("Nats-TTL", MARKER_TTL.as_secs().to_string());
        self.write(key, String::new(), headers, expected).await
    }

    /// Reads a key at the leader.
    async fn read(&self, key: &str) -> Outcome {
        let subject = self.subject(key);
        let read = async {
            let stream = self.context.get_stream_no_info(self.stream()).await.ok()?;
            match stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => {
                    let is_marker = message.headers.get("KV-Operation").is_some()
                        || message.headers.get("Nats-Marker-Reason").is_some();
                    if is_marker {
                        return Some(Outcome::Nothing(self.revision(message.sequence)));
                    }
                    match keys::read_owner(&message.payload) {
                        Some(owner) => Some(Outcome::Owned(owner, self.revision(message.sequence))),
                        None => Some(Outcome::Done(self.revision(message.sequence))),
                    }
                }
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                    Some(Outcome::Nothing(0))
                }
                Err(_) => None,
            }
        };
        let read = tokio::time::timeout(OPERATION_TIMEOUT, read).await;
        read.ok().flatten().unwrap_or(Outcome::Unavailable)
    }

    /// Keeps the bucket and its watch, for ever.
    async fn keep(self, replicas: usize) {
        let mut created = None;
        loop {
            if let Err(error) = self.watch(replicas, &mut created).await
                && self.client.connection_state() == State::Connected
            {
                let text = error.to_string();
                let bucket = &self.bucket;
                let told = format!(
                    "the bucket {bucket}: {}; check that the servers have JetStream",
                    shortened(&text)
                );
                let _ = self.news.send(News::Problem(told)).await;
            }
            if self.news.is_closed() {
                return;
            }
            tokio::time::sleep(delay(1)).await;
        }
    }

    async fn open(&self, replicas: usize) -> Result<Store, async_nats::Error> {
        if let Ok(store) = self.context.get_key_value(&self.bucket).await {
            return Ok(store);
        }
        let config = |replicas| kv::Config {
            bucket: self.bucket.clone(),
            description: "corelane: names, leases and rooms".to_owned(),
            history: 1,
            num_replicas: replicas,
            limit_markers: Some(MARKER_TTL),
            ..kv::Config::default()
        };
        let wanted = if replicas == 0 { 3 } else { replicas };
        match self.context.create_key_value(config(wanted)).await {
            Ok(store) => Ok(store),
            // One server alone has no replicas.
            Err(error) if replicas == 0 && format!("{error:?}").contains("non-clustered") => {
                Ok(self.context.create_key_value(config(1)).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Watches until the bucket is another one, or the watch ends.
    async fn watch(
        &self,
        replicas: usize,
        last: &mut Option<async_nats::jetstream::stream::Info>,
    ) -> Result<(), async_nats::Error> {
        let store = self.open(replicas).await?;
        let info = self.context.get_stream(self.stream()).await?.cached_info().clone();
        let created = info.created;
        self.mark.store(mark_of(&created), Release); // Release: pairs with the Acquire in `revision`.
        if last.replace(info.clone()).is_some_and(|last| last.created != created) {
            let _ = self.news.send(News::BucketIsNew).await;
        }
        // With what is there already: `watch` alone tells only what is new.
        let entries = store.watch_with_history(">").await?.map(|entry| {
            entry.map(|entry| Entry {
                value: (entry.operation == Change::Put).then(|| entry.value.to_vec()),
                key: entry.key,
                sequence: entry.revision,
                is_last: entry.seen_current,
            })
        });
        let _ = self.news.send(News::WatchBegins).await;
        let last = info.state.last_sequence;
        let is_synced = info.state.messages == 0;
        if is_synced {
            let _ = self.news.send(News::Synced(self.revision(last))).await;
        }
        let told = AtomicU64::new(0);
        let tells = self.tell((!is_synced).then_some(last), entries, &told);
        first_of(self.look(&info, &told), tells).await
    }

    /// Tells what the watch tells. `begins_at`: what there is up to this sequence is still to be told.
    async fn tell<E: Into<async_nats::Error>>(
        &self,
        mut begins_at: Option<u64>,
        entries: impl Stream<Item = Result<Entry, E>>,
        told: &AtomicU64,
    ) -> Result<(), async_nats::Error> {
        let mut entries = pin!(entries);
        loop {
            let entry =
                entries.next().await.ok_or("it has ended")?.map_err(Into::<async_nats::Error>::into)?;
            if let Some(key) = Key::read(&entry.key) {
                self.news.send(News::Entry(key, self.revision(entry.sequence), entry.value)).await?;
            }
            told.store(entry.sequence, Relaxed); // Relaxed: `look` runs in the same task.
            if let Some(last) = begins_at.take_if(|_| entry.is_last) {
                self.news.send(News::Synced(self.revision(last.max(entry.sequence)))).await?;
            }
        }
    }

    /// Looks at the bucket itself from time to time: whether it is still the same, and how far the watch and the driver are.
    async fn look(&self, began: &jetstream::stream::Info, told: &AtomicU64) -> Result<(), async_nats::Error> {
        let (mut stuck_at, mut stuck) = (u64::MAX, 0);
        let mut check = tokio::time::interval(CHECK_EVERY);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            check.tick().await;
            let info = match self.context.get_stream(self.stream()).await {
                Ok(stream) => stream.cached_info().clone(),
                Err(error) if format!("{error:?}").contains("10059") => {
                    return Err("the bucket is gone".into());
                }
                Err(_) => continue, // Nobody answers: that says nothing of the bucket.
            };
            if info.created != began.created {
                return Err("the bucket is another one".into());
            }
            self.measure(info.state.last_sequence);
            let seen = told.load(Relaxed); // Relaxed: as in `tell`.
            // Behind, and no progress: begin again. Deleted revisions at the end are no lag.
            let is_behind = info.state.last_sequence > seen;
            stuck = if is_behind && seen == stuck_at { stuck + 1 } else { 0 };
            stuck_at = seen;
            if stuck >= 5 && info.state.messages > 0 && !self.is_told(&info, seen).await {
                return Err("it does not go on".into());
            }
        }
    }

    /// Whether nothing is newer than what the watch has told.
    async fn is_told(&self, info: &jetstream::stream::Info, seen: u64) -> bool {
        let Ok(stream) = self.context.get_stream_no_info(self.stream()).await else { return true };
        // The last message may have expired: then there is nothing behind.
        stream.get_raw_message(info.state.last_sequence).await.is_err() || info.state.last_sequence <= seen
    }
}

/// Runs both until one ends. The first one runs whenever it can, although the second one always has something to do.
async fn first_of<T>(first: impl Future<Output = T>, second: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        ended = first => ended,
        ended = second => ended,
    }
}

/// Whether a file has what an option needs. The client reads it at each connection, and would then only say "IO error".
fn is_pem(option: &str, path: &std::path::Path, what: &str) -> Result<(), String> {
    let text = std::fs::read(path).map_err(|error| format!("{option}: {}: {error}", path.display()))?;
    let has = text.windows(what.len()).any(|part| part == what.as_bytes());
    if has { Ok(()) } else { Err(format!("{option}: {}: it has no {what} in PEM", path.display())) }
}

/// What an event of the connection means, in words that say what to change.
fn of_event(event: Event) -> Option<News> {
    let news = match event {
        Event::Connected => return Some(News::Connected),
        Event::Disconnected | Event::Closed => return Some(News::Disconnected),
        Event::ServerError(ServerError::Other(text))
            if text.to_lowercase().contains("permissions violation") =>
        {
            let lists = "give this machine's user the permissions that docs/cluster.md lists";
            News::Refused(format!("NATS refuses: {}; {lists}", shortened(&text)))
        }
        Event::ServerError(ServerError::AuthorizationViolation) => News::Problem(CREDENTIALS.to_owned()),
        Event::ClientError(ClientError::Other(text)) if text.contains("authorization violation") => {
            News::Problem(CREDENTIALS.to_owned())
        }
        Event::ClientError(ClientError::Other(text)) => News::Problem(format!(
            "no connection to NATS: {}; check that `servers` names NATS servers, and with TLS that `tls_ca` holds the authority of \
             their certificates, that these name the address, and that the servers accept the certificate of `tls_client`",
            shortened(&text)
        )),
        other => {
            tracing::warn!("NATS: {other}");
            return None;
        }
    };
    Some(news)
}

/// What to change when the server does not let this machine in.
const CREDENTIALS: &str = "NATS does not let this machine in: check `credentials` or `user`, and with a server that verifies certificates `tls_client`";

/// The most bytes of a server's text that are kept.
const TEXT_BYTES: usize = 512;

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES)).unwrap_or_default()
}

/// Publishes frames, and waits where the driver must not.
async fn publish(client: Client, mut queue: mpsc::Receiver<Queued>) {
    while let Some(queued) = queue.recv().await {
        match queued {
            Queued::Frame(subject, frame) => {
                if let Err(error) = client.publish(subject, frame.into()).await {
                    tracing::debug!("a frame was not sent: {error}");
                }
            }
            Queued::Mark(mark) => drop(mark.send(())),
        }
    }
}

/// The delay before a try, with jitter: all machines lose a server at the same time.
fn delay(tries: usize) -> Duration {
    let longest = 100_u64 << tries.min(5);
    let random =
        u64::from(since_boot().subsec_nanos()) ^ u64::from(std::process::id()).wrapping_mul(0x9E37_79B9);
    Duration::from_millis(longest / 2 + random % (longest / 2 + 1))
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn the_bucket_is_looked_at_while_the_watch_always_has_something_to_tell() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = ClusterOptions {
                servers: "nats://127.0.0.1:1".to_owned(), // Nobody listens there.
                machine: "a".to_owned(),
                ..ClusterOptions::default()
            };
            let (nats, mut news) = Nats::connect(&options).await.unwrap();
            tokio::spawn(async move { while news.recv().await.is_some() {} });
            let mut sequence = 0;
            let entries = futures_util::stream::repeat_with(move || {
                sequence += 1;
                let key = Key::Lease(sequence).text();
                Ok::<_, async_nats::Error>(Entry { key, sequence, value: None, is_last: false })
            });
            let told = AtomicU64::new(0);
            let look = async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(())
            };
            // So many that it is no chance.
            let entries = entries.take(10_000_000);
            assert!(first_of(look, nats.tell(None, entries, &told)).await.is_ok(), "the entries have ended");
        });
    }
}
