//! The cluster's thread: it moves messages between the router's gateway, the links and NATS, and tells the pure machines
//! (lease, names, directory, links) what happens. It never waits for NATS.
//!
//! | file | contents |
//! |---|---|
//! | this one | the loop, and what time, the router and other machines make due |
//! | `commands` | what the host asks for |
//! | `news` | what NATS tells |
//! | `figures` | what the host and the monitor are shown |

mod commands;
mod figures;
mod news;

use std::collections::HashMap;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};

use super::directory::{Change, Directory, MachineInfo};
use super::keys::{self, Key, Macs};
use super::lease::{self, Lease};
use super::link::Moment;
use super::link::sender::Due;
use super::links::{Links, Refused};
use super::lists::Lists;
use super::names::{ClaimError, LostReason, MAX_CLAIMS, Names, Told};
use super::nats::{Nats, News};
use super::options::ClusterOptions;
use super::rooms::Rooms;
use super::wire::{self, Kind};
use crate::metrics::ClusterStatus;
use crate::router::{FromWorker, Gateway};
use crate::sync::os::{register, since_boot};
pub use commands::{Command, Reply};

/// The time between two looks at what is due.
const TICK: Duration = Duration::from_millis(20);
/// After a stop, what is under way has so long to be acknowledged. The other machines' messages too.
const ENDING: Duration = Duration::from_secs(1);
/// Frames, news and commands that are taken in one turn.
const BATCH: usize = 64;
/// Records of workers that are taken in one turn.
const RECORDS: usize = 1024;

/// What the driver tells the host, on the driver's thread.
pub trait Host: Send {
    /// A claim has lost its name.
    fn lost(&self, name: &str, claim: u64, reason: LostReason);
    /// The figures.
    fn status(&self, status: ClusterStatus);
}

/// The state of the thread.
pub struct Driver<H> {
    options: ClusterOptions,
    host: H,
    gateway: Gateway,
    nats: Nats,
    macs: Macs,
    incarnation: u64,
    info: MachineInfo,
    lease: Lease,
    names: Names,
    directory: Directory,
    links: Links,
    waiting: HashMap<u64, Reply>,
    lists: Lists,
    subscriber: Option<Subscriber>,
    /// A subscription that is being made.
    subscribing: Option<oneshot::Receiver<Option<Subscriber>>>,
    is_connected: bool,
    has_bucket: bool,
    /// The watch that begins next is that of a new bucket.
    is_new_bucket: bool,
    operations: usize,
    sweeps: usize,
    rooms: Rooms,
    next_slow: Moment,
    /// From when on names are claimed.
    claims_from: Moment,
    fenced_from: Option<Moment>,
    /// NATS refuses something that this machine needs.
    is_refused: bool,
    /// NATS has refused a write since it last did one.
    is_not_written: bool,
    status: ClusterStatus,
    /// When the host has stopped the cluster.
    stopped: Option<Moment>,
    is_closed: bool,
}

/// Runs a cluster until it is stopped or its router has ended.
pub async fn run<H: Host>(
    options: ClusterOptions,
    gateway: Gateway,
    (nats, mut news): (Nats, mpsc::Receiver<News>),
    mut commands: mpsc::UnboundedReceiver<Command>,
    host: H,
) -> std::io::Result<()> {
    let descriptor = register(std::os::fd::AsFd::as_fd(&gateway))?;
    let mut driver = Driver::new(options, gateway, nats, host);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !driver.is_closed {
        let now = since_boot();
        let has_more = driver.turn(now);
        if driver.is_over(now, has_more) {
            break;
        }
        if has_more {
            // More to do at once; let the tasks of NATS run too.
            tokio::task::yield_now().await;
        } else if driver.gateway.arm() {
            tokio::select! {
                _ = tick.tick() => {}
                ready = descriptor.readable() => { ready?.clear_ready(); }
                command = commands.recv(), if driver.stopped.is_none() => {
                    driver.command(command.unwrap_or(Command::Stop), since_boot());
                }
                one = news.recv() => match one {
                    Some(one) => driver.news(one, since_boot()),
                    None => break,
                },
                message = next(&mut driver.subscriber) => driver.received(message, since_boot()),
                subscriber = made(&mut driver.subscribing) => {
                    driver.subscribing = None;
                    driver.subscriber = subscriber;
                }
            }
        }
        let now = since_boot();
        for _ in 0..BATCH {
            let Ok(command) = commands.try_recv() else { break };
            driver.command(command, now);
        }
        for _ in 0..BATCH * 16 {
            let Ok(one) = news.try_recv() else { break };
            driver.news(one, now);
        }
        for _ in 0..BATCH {
            let Some(Some(message)) = futures_util::FutureExt::now_or_never(next(&mut driver.subscriber))
            else {
                break;
            };
            driver.received(Some(message), now);
        }
    }
    driver.end().await;
    // Whoever has sent a claim meanwhile gets an answer too.
    commands.close();
    while let Ok(command) = commands.try_recv() {
        if let Command::Claim(.., reply) = command {
            reply(Err(ClaimError::Stopped));
        }
    }
    Ok(())
}

async fn next(subscriber: &mut Option<Subscriber>) -> Option<Message> {
    match subscriber {
        Some(subscriber) => subscriber.next().await,
        None => std::future::pending().await,
    }
}

async fn made(subscribing: &mut Option<oneshot::Receiver<Option<Subscriber>>>) -> Option<Subscriber> {
    match subscribing {
        Some(subscribing) => subscribing.await.ok().flatten(),
        None => std::future::pending().await,
    }
}

impl<H: Host> Driver<H> {
    fn new(options: ClusterOptions, gateway: Gateway, nats: Nats, host: H) -> Self {
        let now = since_boot();
        let incarnation = new_incarnation(&options.machine, 0);
        let secret = if options.secret.is_empty() { options.cluster.as_bytes() } else { &options.secret };
        let status = ClusterStatus {
            cluster: options.cluster.clone(),
            machine: options.machine.clone(),
            state: "starting".into(),
            ..ClusterStatus::default()
        };
        let mut driver = Self {
            macs: Macs::new(secret),
            incarnation,
            info: MachineInfo { machine: options.machine.clone(), is_draining: false },
            lease: Lease::new(now),
            names: Names::new(incarnation),
            directory: Directory::new(incarnation, options.names, options.rooms),
            links: Links::new(nats.max_payload()),
            waiting: HashMap::new(),
            lists: Lists::default(),
            subscriber: None,
            subscribing: None,
            is_connected: false,
            has_bucket: false,
            is_new_bucket: false,
            operations: 0,
            sweeps: 0,
            rooms: Rooms::default(),
            next_slow: now,
            claims_from: now,
            fenced_from: None,
            is_refused: false,
            is_not_written: false,
            status,
            stopped: None,
            is_closed: false,
            options,
            host,
            gateway,
            nats,
        };
        driver.subscribe();
        driver
    }

    fn subscribe(&mut self) {
        self.subscriber = None;
        let subject = keys::subject(&self.options.cluster, &self.options.machine, self.incarnation);
        let (sender, receiver) = oneshot::channel();
        let nats = self.nats.clone();
        tokio::spawn(async move {
            let _ = sender.send(nats.subscribe(subject).await);
        });
        self.subscribing = Some(receiver);
    }

    /// Does what there is to do without waiting. True: there is more.
    fn turn(&mut self, now: Moment) -> bool {
        let taken = self.take_records(now);
        self.due(now);
        self.carry_out(now);
        let sends_more = self.send_frames(now);
        let lists_more = self.copy_names();
        self.gateway.publish();
        if now >= self.next_slow {
            self.next_slow = now + 5 * TICK;
            self.slow(now);
        }
        taken >= RECORDS || sends_more || lists_more
    }

    /// Copies names for the host: not those of dead machines that are not swept yet. Own names are this machine's also while it is
    /// fenced. True: there are more.
    fn copy_names(&mut self) -> bool {
        let (directory, names) = (&self.directory, &self.names);
        let lives = |incarnation| directory.machine(incarnation).is_some();
        self.lists.turn(directory, |name, incarnation| lives(incarnation) || names.contains(name))
    }

    fn take_records(&mut self, now: Moment) -> usize {
        let (links, names, directory) = (&mut self.links, &mut self.names, &mut self.directory);
        let polled = self.gateway.poll(RECORDS, |record| match record {
            FromWorker::Ask { worker, name } => directory.ask(name, worker, now),
            record => links.record(record, names, now),
        });
        self.is_closed |= polled.is_err();
        polled.unwrap_or(0)
    }

    /// What time has made due.
    fn due(&mut self, now: Moment) {
        if self.has_bucket {
            match self.lease.due(now) {
                lease::Due::Renew(expected) => {
                    self.nats.renew(self.incarnation, keys::lease_value(&self.info), expected);
                }
                lease::Due::Read => self.nats.read_lease(self.incarnation),
                lease::Due::Fence => self.fence(now),
                lease::Due::Nothing => {}
            }
        } else if self.lease.due_fence(now) {
            self.fence(now);
        }
        for incarnation in self.links.incarnations() {
            self.links.retry(incarnation, &mut self.gateway, &mut self.names, now);
            let Some(peer) = self.links.get_mut(incarnation) else { continue };
            match peer.due(now) {
                Due::Nothing => {}
                Due::Lost => self.links.lose(incarnation, &mut self.gateway, now),
                Due::Send(kind) => {
                    if self.is_connected && self.lease.is_valid(now) && self.nats.has_room() {
                        let frame = peer.bare(kind, self.incarnation);
                        self.nats.send(&peer.subject, frame);
                    }
                }
            }
        }
    }

    /// The lease may have expired: this incarnation has ended. Local routing goes on.
    fn fence(&mut self, now: Moment) {
        tracing::warn!("fenced: no renewal of the lease was acknowledged in time");
        self.status.fences += 1;
        self.fenced_from.get_or_insert(now);
        let before = self.incarnation;
        self.incarnation = new_incarnation(&self.options.machine, before);
        self.lease = Lease::new(now);
        self.nats.sweep(Key::Lease(before), None);
        self.directory.set_own(self.incarnation, now);
        self.names.restart(self.incarnation);
        self.rooms.write_all();
        self.links.begin_again(&mut self.gateway, now);
        self.subscribe();
    }

    /// How many more operations may be in flight. Releases have their own limit: many of them keep no name from coming back.
    fn room(&self) -> usize {
        MAX_CLAIMS.saturating_sub(self.operations.saturating_sub(self.names.releasing()))
    }

    /// Operations, answers and changes of the pure machines.
    fn carry_out(&mut self, now: Moment) {
        if self.lease.is_valid(now) {
            if let Some(from) = self.fenced_from.take() {
                self.status.fenced_ms += now.saturating_sub(from).as_millis() as u64;
            }
            if self.names.reclaims() > 0 {
                self.names.tick(now, self.room());
            }
        }
        for operation in self.names.operations() {
            self.operations += 1;
            self.nats.operate(operation);
        }
        for told in self.names.told() {
            match told {
                Told::Claimed(claim, result) => {
                    if let Some(reply) = self.waiting.remove(&claim) {
                        reply(result);
                    }
                }
                Told::Lost(name, claim, reason) => {
                    if reason == LostReason::Replaced {
                        self.gateway.replaced(&name);
                    }
                    self.host.lost(&name, claim, reason);
                }
            }
        }
        for name in self.directory.reads(self.is_connected && self.has_bucket) {
            self.nats.ask(name);
        }
        for change in self.directory.changes() {
            self.change(change, now);
        }
        for (worker, name, answer) in self.directory.answers() {
            self.gateway.answer_ask(worker, &name, self.links.whereabouts(answer));
        }
    }

    fn change(&mut self, change: Change, now: Moment) {
        let cluster = &self.options.cluster;
        let subject = |machine: &str, incarnation| keys::subject(cluster, machine, incarnation);
        let router = (&mut self.gateway, &self.directory);
        if let Err(refused) = self.links.change(change, router, subject, now) {
            self.refused(refused);
        }
    }

    /// Counts or logs what found no room.
    fn refused(&mut self, refused: Refused) {
        match refused {
            Refused::Machine => tracing::warn!("too many machines: one gets no link until another ends"),
            Refused::Name => self.directory.leave_out(),
            Refused::Room => {
                if self.status.rooms_left_out == 0 {
                    tracing::warn!(
                        "rooms with members elsewhere have no place here: raise the option `rooms`"
                    );
                }
                self.status.rooms_left_out += 1;
            }
        }
    }

    /// Sends what fits. True: there is more, and room for it.
    fn send_frames(&mut self, now: Moment) -> bool {
        if !self.is_connected || !self.lease.is_valid(now) {
            return false;
        }
        let mut is_left = true;
        // In turn: no link keeps the others waiting.
        while is_left && self.nats.has_room() {
            is_left = false;
            for peer in self.links.values_mut() {
                if !self.nats.has_room() {
                    return false; // The tick comes back.
                }
                if let Some(frame) = peer.frame(self.incarnation, now) {
                    self.nats.send(&peer.subject, frame);
                    is_left |= peer.wants_to_send();
                }
            }
        }
        is_left
    }

    fn received(&mut self, message: Option<Message>, now: Moment) {
        let Some(message) = message else {
            self.subscriber = None;
            return self.subscribe();
        };
        // An owner whose lease may have expired delivers nothing.
        if !self.lease.is_valid(now) {
            return;
        }
        let frame = match wire::decode(&message.payload) {
            Ok(frame) if frame.to == self.incarnation => frame,
            _ => {
                self.status.frames_dropped += 1;
                return;
            }
        };
        if !self.links.frame(&frame, &mut self.gateway, &mut self.names, now) {
            // Dead, or not known yet: then its hello comes again.
            self.status.frames_dropped += u64::from(frame.kind != Kind::Hello);
        }
    }

    /// What need not be done in every turn.
    fn slow(&mut self, now: Moment) {
        if self.is_connected && self.lease.is_valid(now) {
            self.names.tick(now, self.room());
            self.sweep(now);
            for name in self.names.gone() {
                if self.gateway.is_local(&name) {
                    self.names.touch(&name);
                }
            }
        }
        // After a reconnect it may be another server.
        self.links.set_max_payload(self.nats.max_payload(), &mut self.gateway, now);
        if let Some(incarnation) = self.links.to_link() {
            self.directory.tell_again(incarnation);
        }
        self.directory.tick(now);
        if let Some(changes) = self.gateway.room_changes() {
            self.rooms.follow(changes);
        }
        if self.is_connected
            && let Some(reading) = self.directory.rooms_to_read(now)
        {
            self.nats.read_rooms(reading);
        }
        if self.is_connected && self.lease.is_valid(now) {
            while let Some((room, has_members)) = self.rooms.next_write() {
                self.nats.room(room, self.incarnation, has_members);
            }
        }
        self.tell(now);
    }

    /// Deletes what belongs to dead machines.
    fn sweep(&mut self, now: Moment) {
        let room = MAX_CLAIMS.saturating_sub(self.sweeps);
        // A name that is swept is free for everybody, as one that is seized.
        let swept = if self.lease.may_seize(now) { self.directory.sweep(now, room) } else { Vec::new() };
        for (name, revision) in swept {
            if self.names.contains(&name) {
                continue; // It is being claimed.
            }
            self.sweeps += 1;
            self.nats.sweep(Key::Name(name.into()), revision);
        }
        for (name, incarnation) in self.directory.dead_rooms(room) {
            self.sweeps += 1;
            self.nats.sweep(Key::Room(name.into(), incarnation), None);
        }
    }

    /// Whether the host has stopped the cluster, and nothing more is to be sent or acknowledged, or it takes too long.
    fn is_over(&self, now: Moment, has_more: bool) -> bool {
        let Some(stopped) = self.stopped else { return false };
        let can_wait = self.is_connected && self.lease.is_valid(now) && now < stopped + ENDING;
        // A worker may still be about to publish what it took before its host heard that the clients are closed.
        let is_settled = now >= stopped + TICK && self.links.is_settled();
        !can_wait || (is_settled && !has_more && self.nats.has_sent_all())
    }

    /// The end: what is acknowledged is sent, then the lease is deleted.
    async fn end(mut self) {
        let now = since_boot();
        let had_lease = self.is_connected && self.lease.is_valid(now);
        self.carry_out(now);
        if had_lease {
            let frames = self.links.last_frames(self.incarnation, now);
            self.nats.send_last(frames).await;
        }
        for (_, reply) in self.waiting.drain() {
            reply(Err(ClaimError::Stopped));
        }
        let status = ClusterStatus { state: "stopped".into(), problem: None, ..self.status.clone() };
        self.host.status(status);
        if had_lease {
            self.nats.end_lease(self.incarnation).await;
        }
        self.nats.close().await;
    }
}

/// A number that no other incarnation of the cluster has.
fn new_incarnation(machine: &str, before: u64) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write(machine.as_bytes());
    hasher.write_u64(before);
    hasher.write_u128(since_boot().as_nanos());
    hasher.write_u32(std::process::id());
    hasher.finish().max(1)
}

#[cfg(all(test, not(corelane_loom)))]
mod tests;
