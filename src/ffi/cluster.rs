//! A router's part in a cluster: claims of names, and what the cluster tells. The calls are in every build; without the feature
//! `nats` no router joins (`clusters`).

use super::borrow::{CStruct, OutStruct, out, read_struct, slice, text};
use super::cluster_parts::{CorelaneClusterEvent, Part};
use super::clusters::{self, Options, joined};
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::{CorelaneClaim, CorelaneCluster, CorelaneRouter};
use super::router::ROUTERS;
use super::status::CorelaneStatus;
use super::text::CorelaneText;
use std::ffi::c_char;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// How a machine takes part in a cluster. Set `machine`; everything else but the size may be 0 or NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneClusterOptions {
    /// `sizeof(corelane_cluster_options)`, set by the caller: CORELANE_CLUSTER_OPTIONS_INIT.
    pub size: u32,
    /// How many NATS servers keep what the machines know, 1 to 5. 0: three in a cluster of servers, one otherwise.
    pub replicas: u32,
    /// The addresses of NATS servers, separated by commas. NULL: "nats://127.0.0.1:4222".
    pub servers: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub servers_length: usize,
    /// The cluster's name, the same on all machines: 1 to 64 letters, digits, - or _. NULL: "corelane".
    pub cluster: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub cluster_length: usize,
    /// This machine's name, of the same form. Each machine has its own.
    pub machine: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub machine_length: usize,
    /// A file with credentials of NATS (JWT and seed). NULL: none.
    pub credentials_file: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub credentials_file_length: usize,
    /// The user at NATS. NULL: none.
    pub user: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub user_length: usize,
    /// The user's password.
    pub password: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub password_length: usize,
    /// PEM file of the authorities that the servers' certificates are checked with. With it, TLS is required.
    pub ca_file: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub ca_file_length: usize,
    /// PEM file of this machine's certificate. NULL: none.
    pub certificate_file: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub certificate_file_length: usize,
    /// PEM file of its private key.
    pub key_file: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub key_file_length: usize,
    /// The secret with which clients' tokens are hidden from who can read what NATS keeps. The same on all machines. NULL: the
    /// cluster's name, which hides nothing from who guesses tokens.
    pub secret: *const u8,
    /// Its length in bytes.
    pub secret_length: usize,
    /// The most names on other machines, 1 to 100,000,000. 0: the library's default, as for the next three.
    pub names: usize,
    /// The most rooms with members on other machines, 1 to 10,000,000.
    pub rooms: usize,
    /// The most messages that a worker may have under way to one machine: 16 or more, and 1,048,576 at most for all workers of the
    /// router together.
    pub link_messages: u32,
    /// The most bytes of their names and payloads, 65,536 to 268,435,456.
    pub link_bytes: u32,
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneClusterOptions {
    const NAME: &'static str = "corelane_cluster_options";
}

/// # Safety
/// As [`corelane_router_join_cluster`].
unsafe fn options(given: *const CorelaneClusterOptions) -> Result<Options, Failure> {
    // SAFETY: the caller upholds the same contract.
    let given = unsafe { read_struct("options", given) }?;
    let part = |name, start, length| {
        // SAFETY: the caller guarantees the texts.
        unsafe { text(name, start, length) }
    };
    let mut options = Options::default();
    let texts = [
        Part::Servers(part("servers", given.servers, given.servers_length)?),
        Part::Cluster(part("cluster", given.cluster, given.cluster_length)?),
        Part::Machine(part("machine", given.machine, given.machine_length)?),
        Part::Credentials(part("credentials_file", given.credentials_file, given.credentials_file_length)?),
        Part::Ca(part("ca_file", given.ca_file, given.ca_file_length)?),
    ];
    texts.into_iter().filter(Part::is_set).for_each(|text| options.set(text));
    let both = |first, second| Failure::invalid(format!("set both of {first} and {second}, or none"));
    let user = part("user", given.user, given.user_length)?;
    let password = part("password", given.password, given.password_length)?;
    match (user, password) {
        ("", "") => {}
        ("", _) | (_, "") => return Err(both("user", "password")),
        (user, password) => options.set(Part::User(user, password)),
    }
    let certificate = part("certificate_file", given.certificate_file, given.certificate_file_length)?;
    let key = part("key_file", given.key_file, given.key_file_length)?;
    match (certificate, key) {
        ("", "") => {}
        ("", _) | (_, "") => return Err(both("certificate_file", "key_file")),
        (certificate, key) => options.set(Part::Client(certificate, key)),
    }
    // SAFETY: the caller guarantees the bytes.
    options.set(Part::Secret(unsafe { slice("secret", given.secret, given.secret_length) }?));
    options.set(Part::Replicas(given.replicas));
    let numbers = [
        Part::Names(given.names),
        Part::Rooms(given.rooms),
        Part::LinkMessages(given.link_messages),
        Part::LinkBytes(given.link_bytes),
    ];
    numbers.into_iter().filter(Part::is_set).for_each(|number| options.set(number));
    Ok(options)
}

/// Makes the router one of several machines that act as one, over NATS (docs/cluster.md), with a thread of its own, which
/// blocks all signals. A message to a name that is on another machine goes there. Until NATS answers, claims are unavailable and
/// local routing goes on. A router is in one cluster at a time. Release the cluster before the router.
///
/// Any thread. Does not block: `corelane_cluster_is_joined` says when claims can succeed. CORELANE_INVALID (an option: the error
/// says which), CORELANE_LIMIT (the router is in a cluster; `max_ports`; 64 clusters of the process), CORELANE_STATE (the router
/// has stopped), CORELANE_SYSTEM (no descriptor, no thread), CORELANE_UNSUPPORTED (the library was built without clusters:
/// docs/packaging.md), CORELANE_STALE, CORELANE_NULL.
///
/// # Safety
/// `options` points at a corelane_cluster_options with its size set and its texts and bytes as their lengths say; `out_cluster`
/// points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_router_join_cluster(
    router: CorelaneRouter,
    options: *const CorelaneClusterOptions,
    out_cluster: *mut CorelaneCluster,
    error: *mut CorelaneError,
) -> i32 {
    let join = || -> Outcome {
        let out_cluster = out("out_cluster", out_cluster)?;
        // SAFETY: the caller upholds the same contract.
        let options = unsafe { self::options(options) }?;
        let cluster = ROUTERS.enter_shared(router.value, |router| clusters::join(router, options))?;
        // SAFETY: `out` checked the pointer; the caller has room for a handle there.
        unsafe { out_cluster.write(cluster) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, join) }
}

/// Claims a name for a client that shows this token, and waits for the answer for at most `timeout_ns`; after CORELANE_TIMEOUT
/// the claim is given up. The same client, by its token, takes its name over from wherever it was. Connect the client after the
/// claim, and release the claim after the client's CORELANE_EVENT_CLOSED. `correlation` is the host's own value: a loss of the
/// name is an event of `corelane_cluster_next` with it.
///
/// Any thread; waits. CORELANE_EXISTS (another client has the name), CORELANE_UNAVAILABLE (NATS does not answer),
/// CORELANE_FENCED (this machine is cut off), CORELANE_BUSY (not now: too many claims, or the name's owner or the bucket was lost
/// and may be about to return: let the client come again later, and do not connect it without a claim),
/// CORELANE_TIMEOUT, CORELANE_CLOSED (the cluster drains or has stopped), CORELANE_INVALID (the name's length; not UTF-8),
/// CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `name` and `token` are texts; `out_claim` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_cluster_claim(
    cluster: CorelaneCluster,
    name: *const c_char,
    name_length: usize,
    token: *const c_char,
    token_length: usize,
    correlation: u64,
    timeout_ns: u64,
    out_claim: *mut CorelaneClaim,
    error: *mut CorelaneError,
) -> i32 {
    let claim = || -> Outcome {
        let out_claim = out("out_claim", out_claim)?;
        // SAFETY: the caller upholds the same contract.
        let name = unsafe { text("name", name, name_length) }?;
        // SAFETY: as above.
        let token = unsafe { text("token", token, token_length) }?;
        let claim = joined(cluster)?.claim(name, token, correlation, Duration::from_nanos(timeout_ns))?;
        // SAFETY: `out` checked the pointer; the caller has room for a handle there.
        unsafe { out_claim.write(claim) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, claim) }
}

/// As `corelane_cluster_claim`, without waiting: the answer is an event of `corelane_cluster_next`, whatever it is. Released
/// before its answer, the claim is given up and has no event.
///
/// Any thread. Does not block. CORELANE_INVALID (not UTF-8), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `name` and `token` are texts; `out_claim` points at room for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_cluster_claim_start(
    cluster: CorelaneCluster,
    name: *const c_char,
    name_length: usize,
    token: *const c_char,
    token_length: usize,
    correlation: u64,
    out_claim: *mut CorelaneClaim,
) -> i32 {
    answer(|| {
        let out_claim = out("out_claim", out_claim)?;
        // SAFETY: the caller upholds the same contract.
        let name = unsafe { text("name", name, name_length) }?;
        // SAFETY: as above.
        let token = unsafe { text("token", token, token_length) }?;
        let claim = joined(cluster)?.start(name, token, correlation);
        // SAFETY: `out` checked the pointer; the caller has room for a handle there.
        unsafe { out_claim.write(claim) };
        Ok(0)
    })
}

/// Gives a claimed name up. What the cluster still had to tell about the claim is dropped.
///
/// Any thread. Does not block. CORELANE_STALE (cluster; or the claim is over), also the second time.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_claim_release(cluster: CorelaneCluster, claim: CorelaneClaim) -> i32 {
    answer(|| joined(cluster)?.give_up(claim).map(|()| 0))
}

/// Returns a descriptor that is readable (poll, epoll) while an event waits. Do not read or close it. Valid until
/// `corelane_cluster_release`.
///
/// Any thread. Does not block. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_cluster_fd(cluster: CorelaneCluster) -> i32 {
    answer(|| Ok(joined(cluster)?.as_fd().as_raw_fd().into()))
}

/// Takes the next event: the answer to a claim, or a lost name. No event is dropped: each claim has room for its own.
///
/// Any thread. Does not block. CORELANE_AGAIN (none waits), CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `out_event` points at a corelane_cluster_event with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_cluster_next(
    cluster: CorelaneCluster,
    out_event: *mut CorelaneClusterEvent,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let out_event = unsafe { OutStruct::new("out_event", out_event) }?;
        let none = || Failure::new(CorelaneStatus::Again, "no event waits");
        out_event.write(&joined(cluster)?.next().ok_or_else(none)?);
        Ok(0)
    })
}

/// Sleeps until an event waits, the cluster is released, or `timeout_ns` is over. Returns 1 if an event waits, otherwise 0.
///
/// Any thread; waits. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_cluster_wait(cluster: CorelaneCluster, timeout_ns: u64) -> i32 {
    answer(|| Ok(joined(cluster)?.wait(Duration::from_nanos(timeout_ns)).into()))
}

/// Writes the cluster's figures, as this machine knows them, as JSON (docs/cluster.md). The cluster's thread writes them ten times
/// a second, and less often when it has too much to do. Free the text with `corelane_text_free`.
///
/// Any thread. Does not block. CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `out_text` points at a corelane_text with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_cluster_status(
    cluster: CorelaneCluster,
    out_text: *mut CorelaneText,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let out_text = unsafe { OutStruct::new("out_text", out_text) }?;
        CorelaneText::hand_out(out_text, joined(cluster)?.status())
    })
}

/// Writes the names of the clients of all machines, as this machine knows them, as a JSON array: at most `limit`, in no order.
/// Copying many takes time of the cluster's thread, which does it in pieces: keep the list for a while. One list is made at a
/// time. Free the text with `corelane_text_free`.
///
/// Any thread; waits for the cluster's thread, for at most `timeout_ns`. CORELANE_TIMEOUT, CORELANE_INVALID (`size`),
/// CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `out_text` points at a corelane_text with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_cluster_names(
    cluster: CorelaneCluster,
    limit: usize,
    timeout_ns: u64,
    out_text: *mut CorelaneText,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let out_text = unsafe { OutStruct::new("out_text", out_text) }?;
        let names = joined(cluster)?.names(limit, Duration::from_nanos(timeout_ns))?;
        CorelaneText::hand_out(out_text, names)
    })
}

/// Returns 1 if claims can succeed now, otherwise 0.
///
/// Any thread. Does not block. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_cluster_is_joined(cluster: CorelaneCluster) -> i32 {
    answer(|| Ok(joined(cluster)?.is_joined().into()))
}

/// Takes no claims any more, and tells the other machines so. Then close the clients, paced, release their claims, and release
/// the cluster.
///
/// Any thread. Does not block. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_cluster_drain(cluster: CorelaneCluster) -> i32 {
    answer(|| {
        joined(cluster)?.drain();
        Ok(0)
    })
}

/// Leaves the cluster, and tells the other machines so. Its claims are over, and its descriptor is closed: remove it from the
/// event loop first. A thread that waits for a claim gets CORELANE_CLOSED. The router goes on alone.
///
/// Any thread; waits for a few seconds at most. CORELANE_STALE the second time.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_cluster_release(cluster: CorelaneCluster) -> i32 {
    answer(|| clusters::release(cluster).map(|()| 0))
}
