//! Clients of a port: connect, disconnect, names, tokens.

use super::borrow::{CStruct, OutStruct, out, read_struct, text};
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::{CorelaneClient, CorelanePort};
use super::port::{Polling, Submitting, either, polling, submitting};
use super::status::CorelaneStatus;
use super::text::CorelaneText;
use crate::clients::CreditPolicy;
use crate::id::ClientId;
use crate::router::ConnectOptions;
use std::ffi::c_char;

/// As `corelane_connect_options.credit_policy`: as the configuration says.
pub const CORELANE_CREDIT_DEFAULT: u32 = 0;
/// The client stays connected. The message fails, and its sender gets CORELANE_EVENT_UNDELIVERED.
pub const CORELANE_CREDIT_REFUSE: u32 = 1;
/// The client stays connected if the message's type is droppable. Otherwise as CORELANE_CREDIT_DISCONNECT.
pub const CORELANE_CREDIT_DROP: u32 = 2;
/// The client's port gets CORELANE_EVENT_CLOSE once, and should close the connection.
pub const CORELANE_CREDIT_DISCONNECT: u32 = 3;

/// A client to connect. Set the texts' pointers; their lengths are CORELANE_NUL_TERMINATED after
/// CORELANE_CONNECT_OPTIONS_INIT.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneConnectOptions {
    /// `sizeof(corelane_connect_options)`, set by the caller: CORELANE_CONNECT_OPTIONS_INIT.
    pub size: u32,
    /// A CORELANE_CREDIT_ value.
    pub credit_policy: u32,
    /// The client's name, 1 to 64 bytes. Other clients send to this name.
    pub name: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub name_length: usize,
    /// The protocol that the client speaks, such as "peerjs" or "generic".
    pub protocol: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub protocol_length: usize,
    /// The client's application, for the figures. May be NULL.
    pub application: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub application_length: usize,
    /// The host's own value, such as a socket's index. Every event for the client carries it.
    pub token: u64,
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneConnectOptions {
    const NAME: &'static str = "corelane_connect_options";
}

/// What a client has outstanding: deliveries that use its credit.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneOutstanding {
    /// `sizeof(corelane_outstanding)`, set by the caller: CORELANE_OUTSTANDING_INIT.
    pub size: u32,
    /// Messages that use credit: in rings, in a backlog, or handed out and not acknowledged.
    pub messages: u32,
    /// Bytes of these messages.
    pub bytes: u32,
    /// Messages that were handed out and are not acknowledged.
    pub handed_messages: u32,
    /// Bytes of these messages.
    pub handed_bytes: u32,
    /// The most messages that were handed out and not acknowledged at one time, since the client connected.
    pub handed_messages_maximum: u32,
    /// The most bytes that were handed out and not acknowledged at one time, since the client connected.
    pub handed_bytes_maximum: u32,
    /// Always 0.
    pub reserved: u32,
}

// SAFETY: integers only, the size first.
unsafe impl CStruct for CorelaneOutstanding {
    const NAME: &'static str = "corelane_outstanding";
}

pub(super) fn credit_policy(number: u32) -> Result<Option<CreditPolicy>, Failure> {
    match number {
        CORELANE_CREDIT_DEFAULT => Ok(None),
        CORELANE_CREDIT_REFUSE => Ok(Some(CreditPolicy::Refuse)),
        CORELANE_CREDIT_DROP => Ok(Some(CreditPolicy::Drop)),
        CORELANE_CREDIT_DISCONNECT => Ok(Some(CreditPolicy::Disconnect)),
        _ => Err(Failure::invalid(format!("credit_policy is {number}: use a CORELANE_CREDIT_ value"))),
    }
}

/// Connects a client on this port under a name. Messages held for the name are delivered to the client.
///
/// The port's owner, on a shared port any thread. Does not block. CORELANE_EXISTS (the name is taken), CORELANE_INVALID (length
/// of the name; not UTF-8; `size`), CORELANE_NOT_FOUND (no such protocol), CORELANE_LIMIT (`max_clients`),
/// CORELANE_CONFIG_VALUE (a local port, and the protocol's handlers may block), CORELANE_CLOSED, CORELANE_NULL,
/// CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `options` points at a corelane_connect_options with its size set and its texts as their lengths say; `out_client` points
/// at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_connect(
    port: CorelanePort,
    options: *const CorelaneConnectOptions,
    out_client: *mut CorelaneClient,
    error: *mut CorelaneError,
) -> i32 {
    let connect = || -> Outcome {
        let out_client = out("out_client", out_client)?;
        // SAFETY: the caller upholds the same contract.
        let given = unsafe { read_struct("options", options) }?;
        // SAFETY: as above.
        let name = unsafe { text("name", given.name, given.name_length) }?;
        // SAFETY: as above.
        let protocol = unsafe { text("protocol", given.protocol, given.protocol_length) }?;
        // SAFETY: as above.
        let application = unsafe { text("application", given.application, given.application_length) }?;
        let mut options = ConnectOptions::new(protocol, application, given.token);
        if let Some(policy) = credit_policy(given.credit_policy)? {
            options = options.credit_policy(policy);
        }
        let client = submitting(port, |ends| {
            Ok(either!(ends, Submitting, port => port.connect_with(name, options))?)
        })?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_client.write(CorelaneClient { value: client.0 }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, connect) }
}

/// Starts to disconnect a client. Its name is free at once. Messages that it has submitted are still handled;
/// CORELANE_EVENT_CLOSED follows them, also if the router stops meanwhile or has stopped.
///
/// The port's owner, on a shared port any thread. Does not block. CORELANE_STALE (port; or the client is not connected),
/// CORELANE_INVALID (another port's client), CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_disconnect(port: CorelanePort, client: CorelaneClient) -> i32 {
    answer(|| {
        submitting(port, |ends| {
            either!(ends, Submitting, port => port.disconnect(ClientId(client.value)))?;
            Ok(0)
        })
    })
}

/// Frees a client's name for other clients. The client stays connected. See CORELANE_EVENT_LEFT.
///
/// The port's owner, on a shared port any thread. Does not block. Errors as for `corelane_port_disconnect`.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_release_name(port: CorelanePort, client: CorelaneClient) -> i32 {
    answer(|| {
        submitting(port, |ends| {
            either!(ends, Submitting, port => port.release_name(ClientId(client.value)))?;
            Ok(0)
        })
    })
}

/// Gives a connected client another token. Events handed out after this call carry the new token. Deliveries that were
/// handed out before and are not acknowledged stay outstanding.
///
/// The port's owner. Does not block. CORELANE_STALE (port; or the client is not connected or is leaving), CORELANE_INVALID
/// (another port's client: disconnect it there, then connect it here), CORELANE_BUSY.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_rebind(port: CorelanePort, client: CorelaneClient, token: u64) -> i32 {
    answer(|| {
        polling(port, |ends| {
            either!(ends, Polling, port => port.rebind(ClientId(client.value), token))?;
            Ok(0)
        })
    })
}

/// Writes what a client of this port has outstanding. Workers may add to it meanwhile.
///
/// The port's owner. Does not block. CORELANE_STALE (port, client), CORELANE_INVALID (another port's client; `size`),
/// CORELANE_NULL, CORELANE_BUSY.
///
/// # Safety
/// `out_outstanding` points at a corelane_outstanding with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_outstanding(
    port: CorelanePort,
    client: CorelaneClient,
    out_outstanding: *mut CorelaneOutstanding,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let out = unsafe { OutStruct::new("out_outstanding", out_outstanding) }?;
        polling(port, |ends| {
            let now = either!(ends, Polling, port => port.outstanding(ClientId(client.value)))?;
            out.write(&CorelaneOutstanding {
                size: 0,
                messages: now.messages,
                bytes: now.bytes,
                handed_messages: now.handed_messages,
                handed_bytes: now.handed_bytes,
                handed_messages_maximum: now.handed_messages_maximum,
                handed_bytes_maximum: now.handed_bytes_maximum,
                reserved: 0,
            });
            Ok(0)
        })
    })
}

/// Writes the name of a connected client, of this or another port. Free it with `corelane_text_free`.
///
/// The port's owner. Does not block. CORELANE_STALE (port; or the client is not connected), CORELANE_NULL, CORELANE_INVALID
/// (`size`), CORELANE_BUSY.
///
/// # Safety
/// `out_name` points at a corelane_text with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_port_client_name(
    port: CorelanePort,
    client: CorelaneClient,
    out_name: *mut CorelaneText,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let out_name = unsafe { OutStruct::new("out_name", out_name) }?;
        polling(port, |ends| {
            let name = either!(ends, Polling, port => port.name(ClientId(client.value)));
            let gone = || Failure::new(CorelaneStatus::Stale, "the client is not connected");
            CorelaneText::hand_out(out_name, name.ok_or_else(gone)?.to_string())
        })
    })
}
