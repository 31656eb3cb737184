//! The server as one of several machines, which NATS connects (feature `cluster`). Before a client connects, its id is
//! claimed for this machine. `admit` claims, `network` closes the clients whose ids are lost.

use crate::Failure;
use crate::connection::{Connection, Lost, State};
use crate::counts::Refusal;
use crate::http;
use crate::ledger::Ledger;
use crate::listing::Listing;
use crate::network::{Command, Network, Service};
use crate::registry::Registry;
use crate::values::{check_nats_address, without};
use clap::Args;
use corelane::cluster::{self as library, ClaimError, Cluster, ClusterOptions, LostReason};
use corelane::router::Router;
use futures_util::stream::{self, StreamExt};
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Interval between the claims for clients that have connected without one.
const CATCH_UP: Duration = Duration::from_secs(1);
/// The most claims of one thread at a time for such clients.
const CLAIMS: usize = 32;
/// The most ids in a list of the clients of all machines.
const LISTED: usize = 100_000;

/// What the server does with new clients while NATS is unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// Connects them for this machine alone, and claims their ids later.
    Local,
    /// Answers 503.
    Refuse,
}

/// The options of a cluster.
#[derive(Debug, Args)]
pub(crate) struct MembershipOptions {
    /// Serve as one of several machines: addresses of nats-servers with JetStream, separated by commas. Clients of all
    /// machines with the same --cluster_name reach each other.
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    cluster: Vec<String>,

    /// Name of the cluster. Several clusters may share one NATS.
    #[arg(long = "cluster_name", alias = "cluster-name", value_name = "NAME", default_value = "corelane")]
    #[arg(requires = "cluster")]
    cluster_name: String,

    /// Name of this machine: 1 to 64 letters, digits, - or _. Default: the host's name, with - for any other character.
    #[arg(long, value_name = "NAME", requires = "cluster")]
    machine: Option<String>,

    /// File with the credentials for NATS (.creds: a user's JWT and seed). Without it, user and password are those of the
    /// environment variables CLUSTER_USER and CLUSTER_PASSWORD, if they are set.
    #[arg(
        long = "cluster_credentials",
        alias = "cluster-credentials",
        value_name = "FILE",
        requires = "cluster"
    )]
    cluster_credentials: Option<PathBuf>,

    /// File with the secret that hides the clients' tokens from readers of NATS. The same on all machines.
    #[arg(long = "cluster_secret", alias = "cluster-secret", value_name = "FILE", requires = "cluster")]
    cluster_secret: Option<PathBuf>,

    /// TLS to NATS: file of the certificates to trust (PEM). Default: those of this system.
    #[arg(long = "cluster_ca", alias = "cluster-ca", value_name = "FILE", requires = "cluster")]
    cluster_ca: Option<PathBuf>,

    /// TLS to NATS: file of this machine's private key (PEM).
    #[arg(long = "cluster_key", alias = "cluster-key", value_name = "FILE", requires = "cluster_cert")]
    cluster_key: Option<PathBuf>,

    /// TLS to NATS: file of this machine's certificate chain (PEM).
    #[arg(long = "cluster_cert", alias = "cluster-cert", value_name = "FILE", requires = "cluster_key")]
    #[arg(requires = "cluster")]
    cluster_cert: Option<PathBuf>,

    /// New clients while NATS is unreachable: "local" connects them for this machine alone and claims their ids once NATS is
    /// back, when the client that came later loses its id; "refuse" answers 503.
    #[arg(long = "cluster_without", alias = "cluster-without", value_name = "HOW", default_value = "local")]
    #[arg(value_parser = without, requires = "cluster")]
    cluster_without: Without,
}

impl MembershipOptions {
    /// Whether the server is one of several.
    pub(crate) fn is_on(&self) -> bool {
        !self.cluster.is_empty()
    }

    /// Checks the addresses. clap would repeat a wrong one, with its password.
    ///
    /// # Errors
    /// [`Failure`] with the allowed addresses.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let check = |address: &String| check_nats_address(address);
        let wrong = |allowed| Failure::configuration(format_args!("--cluster: {allowed}"));
        self.cluster.iter().try_for_each(check).map_err(wrong)
    }

    /// Joins the cluster, if there is one. Does not wait for NATS.
    ///
    /// # Errors
    /// [`Failure`] if an option is not valid or a file cannot be read.
    pub(crate) fn join(&self, router: &Router) -> Result<Option<Membership>, Failure> {
        if !self.is_on() {
            return Ok(None);
        }
        let options = ClusterOptions {
            servers: self.cluster.join(","),
            cluster: self.cluster_name.clone(),
            machine: self.machine.clone().unwrap_or_else(host_name),
            credentials: self.cluster_credentials.clone(),
            user: std::env::var("CLUSTER_USER").ok().zip(std::env::var("CLUSTER_PASSWORD").ok()),
            secret: self.cluster_secret.as_deref().map(secret).transpose()?.unwrap_or_default(),
            tls_ca: self.cluster_ca.clone(),
            tls_client: self.cluster_cert.clone().zip(self.cluster_key.clone()),
            ..ClusterOptions::default()
        };
        let cluster = Cluster::start(router, options)
            .map_err(|error| Failure::configuration(format_args!("--cluster: {error}")))?;
        let without = self.cluster_without;
        Ok(Some(Membership { cluster, without, ledger: Arc::default(), listing: Listing::default() }))
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "-_".contains(one);
    let name: String =
        name.trim().chars().map(|one| if is_plain(one) { one } else { '-' }).take(64).collect();
    if name.is_empty() { "machine".to_owned() } else { name }
}

/// The secret of a file, without the line's end.
fn secret(file: &Path) -> Result<Vec<u8>, Failure> {
    let refuse = |problem: &dyn fmt::Display| {
        Failure::configuration(format_args!("--cluster_secret {}: {problem}", file.display()))
    };
    let text = std::fs::read(file).map_err(|error| refuse(&format_args!("cannot be read: {error}")))?;
    let text = text.trim_ascii();
    if text.len() < 16 {
        return Err(refuse(&"it has fewer than 16 characters"));
    }
    Ok(text.to_vec())
}

/// This machine's part in a cluster.
pub(crate) struct Membership {
    pub(crate) cluster: Cluster,
    without: Without,
    ledger: Arc<Ledger>,
    /// The last list of clients.
    listing: Listing,
}

/// The claim of an id for this machine. Its drop releases the id. The log tells of every change.
#[derive(Debug)]
pub(crate) struct Claim {
    claim: library::Claim,
    ledger: Arc<Ledger>,
}

impl Claim {
    /// Why another machine has the id; `None` if this one has it.
    pub(crate) fn lost(&self) -> Option<Lost> {
        self.ledger.lost(self.claim.id()).map(|reason| match reason {
            LostReason::Taken => Lost::Taken,
            _ => Lost::Replaced,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.ledger.end(self.claim.id(), self.claim.name());
    }
}

/// The result of a claim.
pub(crate) enum Claimed {
    Owned(Claim),
    /// NATS is unreachable; the client connects for this machine alone.
    Local,
    /// Another client has the id, on any machine.
    Taken,
    Refused(Refusal, &'static str),
}

impl Membership {
    pub(crate) async fn claim(&self, id: &str, token: &str) -> Claimed {
        let _asking = self.ledger.ask();
        match self.cluster.claim(id, token).await {
            Ok(claim) => {
                self.ledger.hold(claim.id(), id, token);
                Claimed::Owned(Claim { claim, ledger: Arc::clone(&self.ledger) })
            }
            Err(ClaimError::Taken) => Claimed::Taken,
            Err(ClaimError::Busy) => {
                Claimed::Refused(Refusal::ClusterBusy, "too many clients connect at once; try again")
            }
            Err(ClaimError::Draining) => Claimed::Refused(Refusal::Draining, http::DRAINS),
            Err(_) if self.without == Without::Local => Claimed::Local,
            Err(_) => Claimed::Refused(
                Refusal::ClusterUnavailable,
                "the server cannot reach its cluster; connect to another one",
            ),
        }
    }

    /// Why the server cannot connect a client; `None` if it can.
    pub(crate) fn is_unready(&self) -> Option<&'static str> {
        let is_cut_off = self.without == Without::Refuse && !self.cluster.is_joined();
        is_cut_off.then_some("the server cannot reach its cluster")
    }

    /// Closes the sockets of clients whose ids another machine gets.
    pub(crate) fn watch(&self, service: &Arc<Service>) {
        let service: Weak<Service> = Arc::downgrade(service);
        let ledger = Arc::clone(&self.ledger);
        self.cluster.on_lost(move |lost| {
            ledger.lose(lost.claim, &lost.name, lost.reason);
            // The socket that has the id may not have the claim yet. It looks at the claim when it gets it.
            if let Some(service) = service.upgrade()
                && let Some(owner) = service.registry.owner(&lost.name)
                && let Some(thread) = service.threads.get(owner.thread)
            {
                // An error means that the thread has ended.
                let _ = thread.send(Command::Lose(owner.connection));
            }
        });
    }

    /// Tells the other machines that this one drains.
    pub(crate) fn drain(&self) {
        self.cluster.drain();
    }

    /// Leaves the cluster.
    pub(crate) fn stop(&self) {
        self.cluster.stop();
    }

    /// The ids of the clients of this machine and of all others, as JSON. At most `LISTED` of the others, and some time old.
    pub(crate) async fn ids(&self, registry: &Registry) -> Arc<str> {
        let make = async {
            let mut ids = registry.ids();
            let names = self.cluster.names(LISTED).await;
            // So many ids take some time: other sockets of this thread are served meanwhile.
            let listed = tokio::task::spawn_blocking(move || {
                let own: HashSet<_> = ids.iter().cloned().collect();
                ids.extend(names.into_iter().filter(|name| !own.contains(name)));
                serde_json::Value::from(ids).to_string()
            });
            listed.await.unwrap_or_else(|_| "[]".to_owned()).into()
        };
        self.listing.get(make).await
    }
}

/// Claims the ids of clients that connected while NATS was unreachable. A client whose id is taken is closed.
pub(crate) async fn catch_up(network: Rc<Network>) {
    let Some(membership) = network.service.membership.as_ref() else { return };
    loop {
        tokio::time::sleep(CATCH_UP).await;
        if !membership.cluster.is_joined() {
            continue;
        }
        let without_claim: Vec<_> =
            network.connections.borrow().iter().filter(|one| lacks_claim(one)).cloned().collect();
        stream::iter(without_claim)
            .for_each_concurrent(CLAIMS, |connection| claim_late(membership, &network, connection))
            .await;
    }
}

fn lacks_claim(connection: &Connection) -> bool {
    connection.client.get().is_some()
        && connection.claim.borrow().is_none()
        && connection.state() == State::Open
}

async fn claim_late(membership: &Membership, network: &Network, connection: Rc<Connection>) {
    let Some(token) = network.service.registry.token(&connection.id, connection.owner) else { return };
    match membership.claim(&connection.id, &token).await {
        // If the client has left meanwhile, the claim ends with `connection`.
        Claimed::Owned(claim) => connection.take_claim(claim),
        Claimed::Taken => connection.end(State::Taken, "another client has the id"),
        Claimed::Local | Claimed::Refused(..) => {}
    }
}
