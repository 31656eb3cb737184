//! The statuses that calls return, their texts, and the library's version.

use std::ffi::{CStr, c_char};

/// What a call returns: 0 or a count if it succeeds, otherwise one of these negative numbers. A number is never reused for
/// another meaning. New statuses may be added: treat an unknown one as a failure.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorelaneStatus {
    /// Success.
    Ok = 0,
    /// Nothing to read, or, in a call that precedes a wait, something to read already. Not an error.
    Again = -1,
    /// The ring has no room. Poll, wait with `corelane_port_wait` or for the port's descriptor, then retry the
    /// message or drop it. Not an error.
    Full = -2,
    /// A required pointer is NULL or not aligned.
    Null = -10,
    /// An argument is not valid: not UTF-8, a wrong struct size, a client of another port.
    Invalid = -11,
    /// The message is larger than `max_message`, or does not fit a ring.
    TooLarge = -12,
    /// Nothing has this name or number.
    NotFound = -13,
    /// The handle was released or was never valid, or the client is not connected.
    Stale = -14,
    /// The name is taken.
    Exists = -15,
    /// A limit of the configuration or of this process is reached; the error says which.
    Limit = -16,
    /// Not possible in the present state of the router, port or monitor.
    State = -17,
    /// In use: another thread is inside a call with this handle, or a name cannot be claimed now. Retry later.
    Busy = -18,
    /// The time-out expired first.
    Timeout = -19,
    /// The router or the cluster is draining or has stopped.
    Closed = -20,
    /// Called from a thread that must not make this call, because the call would wait for that thread.
    Thread = -21,
    /// Called in a child of fork whose parent has used the library. The child has none of the library's
    /// threads. Use exec.
    Forked = -22,
    /// The program was compiled with the header of another version that this library does not support.
    Abi = -23,
    /// No configuration key has this name. The error names the nearest keys.
    ConfigKey = -24,
    /// A configuration value is not allowed, or conflicts with other values.
    ConfigValue = -25,
    /// Reserved: out of memory.
    NoMemory = -26,
    /// The operating system refused a call; `os_errno` has its error number.
    System = -27,
    /// Not in this build of the library.
    Unsupported = -28,
    /// A ring contains values that neither end can have written. It cannot be used any more.
    Corrupt = -29,
    /// A defect in the library: please report it. The handle can be released.
    Panic = -30,
    /// The time-out expired while a worker was already handling the message. The message may still be
    /// delivered.
    TimeoutStarted = -31,
    /// The client sends more than `client_rate` messages in a second.
    RateLimited = -32,
    /// The client has `max_in_flight` messages on the way. Wait until some are handled.
    InFlight = -33,
    /// `max_concurrent_messages` messages are on the way. Wait until some are handled.
    Concurrency = -34,
    /// The memory for large messages, `payload_bytes`, is in use. Wait until some are delivered.
    Payloads = -35,
    /// A handler's send or relay has failed; the reason is told beside.
    Failed = -36,
    /// The cluster does not answer. Local routing goes on.
    Unavailable = -37,
    /// This machine is cut off from its cluster, and owns no name until it has joined again.
    Fenced = -38,
}

impl CorelaneStatus {
    /// Every status.
    const ALL: [Self; 32] = [
        Self::Ok,
        Self::Again,
        Self::Full,
        Self::Null,
        Self::Invalid,
        Self::TooLarge,
        Self::NotFound,
        Self::Stale,
        Self::Exists,
        Self::Limit,
        Self::State,
        Self::Busy,
        Self::Timeout,
        Self::Closed,
        Self::Thread,
        Self::Forked,
        Self::Abi,
        Self::ConfigKey,
        Self::ConfigValue,
        Self::NoMemory,
        Self::System,
        Self::Unsupported,
        Self::Corrupt,
        Self::Panic,
        Self::TimeoutStarted,
        Self::RateLimited,
        Self::InFlight,
        Self::Concurrency,
        Self::Payloads,
        Self::Failed,
        Self::Unavailable,
        Self::Fenced,
    ];

    /// The status with this number.
    fn of(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| *status as i32 == number)
    }

    fn text(self) -> &'static CStr {
        match self {
            Self::Ok => c"ok",
            Self::Again => c"nothing to read, or something to read already",
            Self::Full => c"the ring is full",
            Self::Null => c"a pointer is NULL or not aligned",
            Self::Invalid => c"an argument is not valid",
            Self::TooLarge => c"the message is too large",
            Self::NotFound => c"nothing has this name or number",
            Self::Stale => c"the handle is not valid",
            Self::Exists => c"the name is taken",
            Self::Limit => c"a limit is reached",
            Self::State => c"not possible in the present state",
            Self::Busy => c"in use: retry later",
            Self::Timeout => c"the time-out expired",
            Self::Closed => c"the router or the cluster is draining or has stopped",
            Self::Thread => c"called from a thread that must not make this call",
            Self::Forked => c"called in a child of fork",
            Self::Abi => c"header and library have different versions",
            Self::ConfigKey => c"no such configuration key",
            Self::ConfigValue => c"a configuration value is not allowed",
            Self::NoMemory => c"out of memory",
            Self::System => c"the operating system refused a call",
            Self::Unsupported => c"not in this build of the library",
            Self::Corrupt => c"a ring is corrupt",
            Self::Panic => c"a defect in the library",
            Self::TimeoutStarted => c"the time-out expired while the message was being handled",
            Self::RateLimited => c"the client sends too many messages",
            Self::InFlight => c"the client has too many messages on the way",
            Self::Concurrency => c"too many messages are on the way",
            Self::Payloads => c"the memory for large messages is in use",
            Self::Failed => c"not sent",
            Self::Unavailable => c"the cluster does not answer",
            Self::Fenced => c"this machine is cut off from its cluster",
        }
    }

    /// The name in the header.
    fn name(self) -> &'static CStr {
        match self {
            Self::Ok => c"CORELANE_OK",
            Self::Again => c"CORELANE_AGAIN",
            Self::Full => c"CORELANE_FULL",
            Self::Null => c"CORELANE_NULL",
            Self::Invalid => c"CORELANE_INVALID",
            Self::TooLarge => c"CORELANE_TOO_LARGE",
            Self::NotFound => c"CORELANE_NOT_FOUND",
            Self::Stale => c"CORELANE_STALE",
            Self::Exists => c"CORELANE_EXISTS",
            Self::Limit => c"CORELANE_LIMIT",
            Self::State => c"CORELANE_STATE",
            Self::Busy => c"CORELANE_BUSY",
            Self::Timeout => c"CORELANE_TIMEOUT",
            Self::Closed => c"CORELANE_CLOSED",
            Self::Thread => c"CORELANE_THREAD",
            Self::Forked => c"CORELANE_FORKED",
            Self::Abi => c"CORELANE_ABI",
            Self::ConfigKey => c"CORELANE_CONFIG_KEY",
            Self::ConfigValue => c"CORELANE_CONFIG_VALUE",
            Self::NoMemory => c"CORELANE_NO_MEMORY",
            Self::System => c"CORELANE_SYSTEM",
            Self::Unsupported => c"CORELANE_UNSUPPORTED",
            Self::Corrupt => c"CORELANE_CORRUPT",
            Self::Panic => c"CORELANE_PANIC",
            Self::TimeoutStarted => c"CORELANE_TIMEOUT_STARTED",
            Self::RateLimited => c"CORELANE_RATE_LIMITED",
            Self::InFlight => c"CORELANE_IN_FLIGHT",
            Self::Concurrency => c"CORELANE_CONCURRENCY",
            Self::Payloads => c"CORELANE_PAYLOADS",
            Self::Failed => c"CORELANE_FAILED",
            Self::Unavailable => c"CORELANE_UNAVAILABLE",
            Self::Fenced => c"CORELANE_FENCED",
        }
    }
}

/// Returns the version of the library that the program runs with: major << 24 | minor << 16 | patch << 8. Compare it with
/// CORELANE_VERSION_NUMBER, the version of the header. A library of the same major and minor version works with an older
/// header.
///
/// Any thread. Never fails, never blocks.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_version() -> u32 {
    const fn number(text: &str) -> u32 {
        let (bytes, mut value, mut at) = (text.as_bytes(), 0, 0);
        while at < bytes.len() {
            value = 10 * value + (bytes[at] - b'0') as u32;
            at += 1;
        }
        value
    }
    number(env!("CARGO_PKG_VERSION_MAJOR")) << 24
        | number(env!("CARGO_PKG_VERSION_MINOR")) << 16
        | number(env!("CARGO_PKG_VERSION_PATCH")) << 8
}

/// Returns what a status means, in a few words: a static text, never NULL. A status of 0 or more is "ok".
///
/// Any thread. Never fails, never blocks.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_status_text(status: i32) -> *const c_char {
    let text = match CorelaneStatus::of(status.min(0)) {
        Some(status) => status.text(),
        None => c"unknown status",
    };
    text.as_ptr()
}

/// Returns the name of a status in this header, such as "CORELANE_FULL": a static text, never NULL.
///
/// Any thread. Never fails, never blocks.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_status_name(status: i32) -> *const c_char {
    let name = match CorelaneStatus::of(status.min(0)) {
        Some(status) => status.name(),
        None => c"unknown status",
    };
    name.as_ptr()
}
