//! The HTTP door of a monitor.

use super::borrow::{CORELANE_NUL_TERMINATED, CStruct, OutStruct, out, read_struct, slice, structs, text};
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::{CorelaneDoor, CorelaneMonitor, Table};
use super::handler::CorelaneFreeFn;
use super::monitors::with_monitor;
use super::router::with_signals_blocked;
use super::status::CorelaneStatus;
use super::text::CorelaneText;
use crate::http::asked::{Asked, ask};
use crate::http::{Certificate, Door, Options};
use crate::sync::{Arc, Mutex, lock};
use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// As a flag of a door: /metrics has the process_ families too. Without it they are left out, because a host whose own metrics
/// library has them must not have them twice.
pub const CORELANE_DOOR_PROCESS_METRICS: u32 = 1;

/// The answer of a page of the host. The function fills in what it needs; the rest is zero.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelanePage {
    /// The size of this struct, set by the library.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// JSON, or why the query is refused. The library copies it when the function has returned.
    pub text: *const c_char,
    /// Its length; CORELANE_NUL_TERMINATED unless the function sets it.
    pub text_length: usize,
    /// Frees the text after that, called with `text`. NULL: the text stays the host's.
    pub free_text: CorelaneFreeFn,
}

/// Writes a page of the host. `query` is what follows the question mark of the address, as it was sent: it ends with a NUL, and
/// its length does not include it. Returns 0 for JSON; any other value is a refusal (400), whose reason is the text. Runs on the
/// door's thread, which serves nobody meanwhile. It must not release its door.
pub type CorelanePageFn = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        query: *const c_char,
        query_length: usize,
        page: *mut CorelanePage,
    ) -> i32,
>;

/// A page of the host. /api/info lists its address.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneDoorPage {
    /// `sizeof(corelane_door_page)`, set by the caller: CORELANE_DOOR_PAGE_INIT.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// The address: /api/ and letters, digits, and / _ - or a period.
    pub path: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub path_length: usize,
    /// Writes the page.
    pub function: CorelanePageFn,
    /// Passed to the function. It must be valid until `corelane_door_release` has returned.
    pub context: *mut c_void,
}

// SAFETY: integers, pointers and a function, the size first; a function is given by the caller.
unsafe impl CStruct for CorelaneDoorPage {
    const NAME: &'static str = "corelane_door_page";
}

/// What a door serves, where, and to whom. Everything but the size may be 0 or NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneDoorOptions {
    /// `sizeof(corelane_door_options)`, set by the caller: CORELANE_DOOR_OPTIONS_INIT.
    pub size: u32,
    /// CORELANE_DOOR_ flags.
    pub flags: u32,
    /// The address, as "HOST:PORT". Port 0 takes a free one. NULL: "127.0.0.1:9090".
    pub address: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub address_length: usize,
    /// Names that a request's Host header may have besides IP addresses, localhost and the host of `address`: separated by
    /// commas.
    pub names: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub names_length: usize,
    /// The token that a request needs, as `Authorization: Bearer TOKEN`: 16 to 256 visible ASCII characters. NULL: everybody
    /// may read, and nothing can be changed.
    pub token: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub token_length: usize,
    /// PEM file of the private key, for HTTPS. It and the next file are read again when they change. NULL: HTTP.
    pub key_file: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub key_file_length: usize,
    /// PEM file of the certificate chain.
    pub chain_file: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub chain_file_length: usize,
    /// Why /readyz answers 503 at first; `corelane_door_set_ready` changes it. NULL: it answers 200.
    pub not_ready: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub not_ready_length: usize,
    /// The most connections at once; 0: 128.
    pub connections: u32,
    /// The most of them that may be streams of events; 0: 16.
    pub streams: u32,
    /// The time limit for a TLS handshake, for a request, for reading an answer, and between two requests; 0: 10 seconds.
    pub patience_ns: u64,
    /// Pages of the host. The size in the first one is the distance between two.
    pub pages: *const CorelaneDoorPage,
    /// How many.
    pub page_count: usize,
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneDoorOptions {
    const NAME: &'static str = "corelane_door_options";
}

/// Why the host is not ready. `None` if it is.
type NotReady = Arc<Mutex<Option<String>>>;

struct Entry {
    door: Door,
    not_ready: NotReady,
    pages: Arc<Gate>,
}

/// Whether the host's pages may be called. The lock is held during a call.
struct Gate(Mutex<bool>);

impl Gate {
    /// Waits for the running call. No other begins.
    fn close(&self) {
        *lock(&self.0) = false;
    }
}

thread_local! {
    /// Whether a page of the host runs on this thread.
    static IN_PAGE: Cell<bool> = const { Cell::new(false) };
}

/// One page of the host.
#[derive(Clone, Copy)]
struct Page {
    function: unsafe extern "C" fn(*mut c_void, *const c_char, usize, *mut CorelanePage) -> i32,
    context: *mut c_void,
}

// SAFETY: the host guarantees that its function may run on the door's thread with this context.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// Calls the function, unless the gate is closed.
    fn answer(self, query: &str, gate: &Gate) -> Result<String, String> {
        let open = lock(&gate.0);
        if !*open {
            return Err("the server is stopping".to_owned());
        }
        let query_text = [query.as_bytes(), b"\0"].concat();
        let mut page = CorelanePage {
            size: size_of::<CorelanePage>() as u32,
            reserved: 0,
            text: std::ptr::null(),
            text_length: CORELANE_NUL_TERMINATED,
            free_text: None,
        };
        IN_PAGE.set(true);
        // SAFETY: the host allows calls on this thread with this context; both pointers live until the end of the call.
        let status =
            unsafe { (self.function)(self.context, query_text.as_ptr().cast(), query.len(), &raw mut page) };
        IN_PAGE.set(false);
        // SAFETY: the host guarantees the text until it is freed.
        let text = unsafe { text("text", page.text, page.text_length) }.map(str::to_owned);
        if let Some(free) = page.free_text {
            // SAFETY: the host guarantees that its function frees its text.
            unsafe { free(page.text.cast_mut().cast()) };
        }
        let text = text.map_err(|_| "the page is not UTF-8".to_owned())?;
        if status == 0 { Ok(text) } else { Err(text) }
    }
}

/// The doors of this process.
static DOORS: Table<Box<Entry>, 16> = Table::new("door");

fn reason(why: &str) -> Option<String> {
    (!why.is_empty()).then(|| why.to_owned())
}

/// # Safety
/// As [`corelane_monitor_serve`].
unsafe fn options(
    given: *const CorelaneDoorOptions,
    gate: &Arc<Gate>,
) -> Result<(Options, NotReady), Failure> {
    if given.is_null() {
        return Ok((Options::default().process_metrics(false), NotReady::default()));
    }
    // SAFETY: not NULL; the caller set its size.
    let given = unsafe { read_struct("options", given) }?;
    let part = |name, start, length| {
        // SAFETY: the caller guarantees the texts.
        unsafe { text(name, start, length) }
    };
    if given.flags & !CORELANE_DOOR_PROCESS_METRICS != 0 {
        return Err(Failure::invalid(format!("flags is {}: use CORELANE_DOOR_ flags", given.flags)));
    }
    let mut options = match part("address", given.address, given.address_length)? {
        "" => Options::default(),
        address => Options::new(address),
    };
    for name in part("names", given.names, given.names_length)?.split(',').map(str::trim) {
        if !name.is_empty() {
            options = options.name(name);
        }
    }
    // An empty token that was set is a mistake, and is refused.
    if !given.token.is_null() {
        options = options.token(part("token", given.token, given.token_length)?);
    }
    let key = part("key_file", given.key_file, given.key_file_length)?;
    let chain = part("chain_file", given.chain_file, given.chain_file_length)?;
    options = match (key, chain) {
        ("", "") => options,
        ("", _) | (_, "") => {
            return Err(Failure::invalid(
                "one of key_file and chain_file is set: set both, or none".to_owned(),
            ));
        }
        (key, chain) => options.tls(Certificate::load(key, chain)?),
    };
    let or = |given: u32, default: u32| if given == 0 { default } else { given } as usize;
    options = options
        .limits(or(given.connections, 128), or(given.streams, 16))
        .process_metrics(given.flags & CORELANE_DOOR_PROCESS_METRICS != 0);
    if given.patience_ns > 0 {
        options = options.patience(Duration::from_nanos(given.patience_ns));
    }
    // SAFETY: the caller guarantees the array.
    for page in unsafe { structs("pages", given.pages, given.page_count) }? {
        let path = part("path", page.path, page.path_length)?.to_owned();
        let function = page.function.ok_or_else(|| Failure::null("the function of a page"))?;
        let (page, gate) = (Page { function, context: page.context }, Arc::clone(gate));
        options = options.page(path, move |query| page.answer(query, &gate));
    }
    let why = part("not_ready", given.not_ready, given.not_ready_length)?;
    Ok((options, Arc::new(Mutex::new(reason(why)))))
}

/// Serves a monitor over HTTP, on a thread of its own, which blocks all signals: / (the page), /metrics (Prometheus), /healthz,
/// /readyz, /api/stats and other JSON, /api/events (server-sent events), and `pages` of the host. docs/monitor.md lists all addresses. The default address is
/// on the loopback; beyond it, set a token. `options` may be NULL. The door stays open if the monitor is released; what it shows then is
/// collected when somebody asks.
///
/// Any thread. Does not block, unless the host of the address must be looked up. CORELANE_INVALID (an option: the error says
/// what is allowed; or key or certificate cannot be used), CORELANE_SYSTEM (the address is in use, or no thread), CORELANE_LIMIT (16 doors),
/// CORELANE_STALE, CORELANE_NULL (`out_door`, or the function of a page).
///
/// # Safety
/// `options` is NULL or points at a corelane_door_options with its size set; `out_door` points at room for a handle; `error`
/// is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_serve(
    monitor: CorelaneMonitor,
    options: *const CorelaneDoorOptions,
    out_door: *mut CorelaneDoor,
    error: *mut CorelaneError,
) -> i32 {
    let serve = || -> Outcome {
        let out_door = out("out_door", out_door)?;
        let gate = Arc::new(Gate(Mutex::new(true)));
        // SAFETY: the caller upholds the same contract.
        let (options, not_ready) = unsafe { self::options(options, &gate) }?;
        let asked = Arc::clone(&not_ready);
        let options = options.ready(move || lock(&asked).clone().map_or(Ok(()), Err));
        let value = with_monitor(monitor, |entry| {
            let door = with_signals_blocked(|| Door::serve(&entry.monitor, options))?;
            let entry = Entry { door, not_ready, pages: Arc::clone(&gate) };
            // A door without a place ends at once, and calls no page any more.
            DOORS.insert(Box::new(entry)).inspect_err(|_| gate.close())
        })?;
        // SAFETY: `out` checked the pointer; the caller has room for a handle there.
        unsafe { out_door.write(CorelaneDoor { value }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, serve) }
}

/// Writes the address on which the door listens, as "127.0.0.1:9090". Free the text with `corelane_text_free`.
///
/// Any thread. Does not block. CORELANE_INVALID (`size`), CORELANE_NULL, CORELANE_STALE.
///
/// # Safety
/// `out_text` points at a corelane_text with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_door_address(door: CorelaneDoor, out_text: *mut CorelaneText) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let out_text = unsafe { OutStruct::new("out_text", out_text) }?;
        let address = DOORS.enter_shared(door.value, |entry| Ok(entry.door.address().to_string()))?;
        CorelaneText::hand_out(out_text, address)
    })
}

/// Says whether the host is ready: /readyz answers 200 if `why_not` is NULL or empty, otherwise 503 with this text.
///
/// Any thread. Does not block. CORELANE_INVALID (not UTF-8), CORELANE_NULL (a length without a text), CORELANE_STALE.
///
/// # Safety
/// `why_not` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_door_set_ready(
    door: CorelaneDoor,
    why_not: *const c_char,
    why_not_length: usize,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let why = reason(unsafe { text("why_not", why_not, why_not_length) }?);
        DOORS.enter_shared(door.value, |entry| {
            *lock(&entry.not_ready) = why;
            Ok(0)
        })
    })
}

/// Closes a door and its connections. Waits for the page of the host that runs, and then up to a second for the door's thread. No
/// page is called any more when the call has returned.
///
/// Any thread; waits. CORELANE_STALE the second time, CORELANE_THREAD (inside a page of the host).
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_door_release(door: CorelaneDoor) -> i32 {
    answer(|| {
        if IN_PAGE.get() {
            let text = "a page cannot release a door: release it on another thread";
            return Err(Failure::new(CorelaneStatus::Thread, text));
        }
        // The close waits without the table's place, so that others still find the door.
        let pages = DOORS.enter_shared(door.value, |entry| Ok(Arc::clone(&entry.pages)))?;
        pages.close();
        drop(DOORS.release(door.value)?);
        Ok(0)
    })
}

/// As a flag of a request: it may change something (POST /api/reset and /api/set).
pub const CORELANE_HTTP_CHANGEABLE: u32 = 1;

/// As a flag of a request: /metrics has the process_ families too.
pub const CORELANE_HTTP_PROCESS_METRICS: u32 = 2;

/// A request that a host has received itself.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneHttpRequest {
    /// `sizeof(corelane_http_request)`, set by the caller: CORELANE_HTTP_REQUEST_INIT.
    pub size: u32,
    /// CORELANE_HTTP_ flags.
    pub flags: u32,
    /// The method. NULL: "GET".
    pub method: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub method_length: usize,
    /// The path below the place where the host serves the monitor, with the query: "/api/history?name=messages".
    pub target: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub target_length: usize,
    /// The header Accept, or NULL.
    pub accept: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub accept_length: usize,
    /// The header Last-Event-ID, or NULL.
    pub last_event: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub last_event_length: usize,
    /// The body of a POST.
    pub body: *const u8,
    /// Its length.
    pub body_length: usize,
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneHttpRequest {
    const NAME: &'static str = "corelane_http_request";
}

/// What to answer, besides the body.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneHttpReply {
    /// `sizeof(corelane_http_reply)`, set by the caller: CORELANE_HTTP_REPLY_INIT.
    pub size: u32,
    /// The status: 200.
    pub status: u32,
    /// For /api/events: the id of the event that the body is. 0 for any other answer.
    pub event: u64,
    /// The header Content-Type, with a closing NUL.
    pub content_type: [c_char; 96],
    /// The header Content-Security-Policy, with a closing NUL; empty for none.
    pub policy: [c_char; 256],
}

// SAFETY: integers only, the size first.
unsafe impl CStruct for CorelaneHttpReply {
    const NAME: &'static str = "corelane_http_reply";
}

fn fixed<const N: usize>(text: &str) -> [c_char; N] {
    let mut fixed = [0; N];
    for (place, byte) in fixed.iter_mut().take(N - 1).zip(text.bytes()) {
        *place = byte as c_char;
    }
    fixed
}

/// Answers a request for a host that has an HTTP server of its own: the addresses of `corelane_monitor_serve`, except /healthz
/// and /readyz, without a socket or a thread. The host checks who may ask. Add `Cache-Control: no-store` and
/// `X-Content-Type-Options: nosniff`. /api/events is answered with one event: send it, and ask a second later for the next, with
/// this event's id as `last_event`. Free the body with `corelane_text_free`.
///
/// Any thread. Does not block. CORELANE_INVALID (`size`, flags, a text that is not UTF-8), CORELANE_STALE, CORELANE_NULL.
///
/// # Safety
/// `request`, `out_reply` and `out_body` point at their structs with their sizes set; the request's texts and body are as their
/// lengths say; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_monitor_answer(
    monitor: CorelaneMonitor,
    request: *const CorelaneHttpRequest,
    out_reply: *mut CorelaneHttpReply,
    out_body: *mut CorelaneText,
    error: *mut CorelaneError,
) -> i32 {
    let respond = || -> Outcome {
        // SAFETY: the caller upholds the same contract.
        let out_reply = unsafe { OutStruct::new("out_reply", out_reply) }?;
        // SAFETY: as above.
        let out_body = unsafe { OutStruct::new("out_body", out_body) }?;
        // SAFETY: as above.
        let given = unsafe { read_struct("request", request) }?;
        const FLAGS: u32 = CORELANE_HTTP_CHANGEABLE | CORELANE_HTTP_PROCESS_METRICS;
        if given.flags & !FLAGS != 0 {
            return Err(Failure::invalid(format!("flags is {}: use CORELANE_HTTP_ flags", given.flags)));
        }
        let part = |name, start, length| {
            // SAFETY: the caller guarantees the texts.
            unsafe { text(name, start, length) }
        };
        let method = part("method", given.method, given.method_length)?;
        // SAFETY: the caller guarantees the body.
        let body = unsafe { slice("body", given.body, given.body_length) }?;
        let asked = Asked {
            method: if method.is_empty() { "GET" } else { method },
            target: part("target", given.target, given.target_length)?,
            accept: part("accept", given.accept, given.accept_length)?,
            last_event: part("last_event", given.last_event, given.last_event_length)?,
            body,
            changeable: given.flags & CORELANE_HTTP_CHANGEABLE != 0,
            process_metrics: given.flags & CORELANE_HTTP_PROCESS_METRICS != 0,
        };
        let reply = with_monitor(monitor, |entry| Ok(ask(&entry.monitor, &asked)))?;
        let text = String::from_utf8(reply.body).map_err(|_| Failure::invalid("the answer is not UTF-8"))?;
        CorelaneText::hand_out(out_body, text)?;
        out_reply.write(&CorelaneHttpReply {
            size: 0,
            status: reply.status.into(),
            event: reply.event,
            content_type: fixed(&reply.content_type),
            policy: fixed(reply.policy),
        });
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, respond) }
}
