//! What the calls of a cluster (`cluster`) share with its state (`clusters`, or `no_clusters`): events and options.

use super::borrow::CStruct;
use super::handle::CorelaneClaim;

/// As the kind of a cluster's event: the answer to `corelane_cluster_claim_start`, in `status`.
pub const CORELANE_CLUSTER_CLAIMED: u32 = 1;
/// The claim's name is lost, for `reason`. Close the client, and release the claim after the client's CORELANE_EVENT_CLOSED.
pub const CORELANE_CLUSTER_LOST: u32 = 2;

/// As the reason of a loss: the same client, by its token, has connected elsewhere.
pub const CORELANE_LOST_REPLACED: u32 = 1;
/// Another client has the name: this machine was cut off from the cluster for too long.
pub const CORELANE_LOST_TAKEN: u32 = 2;

/// What a cluster tells about a claim.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneClusterEvent {
    /// `sizeof(corelane_cluster_event)`, set by the caller: CORELANE_CLUSTER_EVENT_INIT.
    pub size: u32,
    /// A CORELANE_CLUSTER_ value. Ignore events of a kind that you do not know.
    pub kind: u32,
    /// The claim.
    pub claim: CorelaneClaim,
    /// The host's value from the claim.
    pub correlation: u64,
    /// In CORELANE_CLUSTER_CLAIMED: 0 if the name belongs to the client now; otherwise a status that `corelane_cluster_claim`
    /// lists, and the claim is over: its handle is stale.
    pub status: i32,
    /// In CORELANE_CLUSTER_LOST a CORELANE_LOST_ value, otherwise 0.
    pub reason: u32,
}

// SAFETY: integers only, the size first.
unsafe impl CStruct for CorelaneClusterEvent {
    const NAME: &'static str = "corelane_cluster_event";
}

/// An option that is set, for [`Options::set`].
#[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "no option is read then"))]
pub(super) enum Part<'a> {
    Servers(&'a str),
    Cluster(&'a str),
    Machine(&'a str),
    Credentials(&'a str),
    User(&'a str, &'a str),
    Ca(&'a str),
    Client(&'a str, &'a str),
    Secret(&'a [u8]),
    Replicas(u32),
    Names(usize),
    Rooms(usize),
    LinkMessages(u32),
    LinkBytes(u32),
}

impl Part<'_> {
    /// Empty texts and zeros leave the default.
    pub(super) fn is_set(&self) -> bool {
        match self {
            Self::Servers(text)
            | Self::Cluster(text)
            | Self::Machine(text)
            | Self::Credentials(text)
            | Self::Ca(text) => !text.is_empty(),
            Self::Names(number) | Self::Rooms(number) => *number != 0,
            Self::LinkMessages(number) | Self::LinkBytes(number) => *number != 0,
            Self::User(..) | Self::Client(..) | Self::Secret(_) | Self::Replicas(_) => true,
        }
    }
}
