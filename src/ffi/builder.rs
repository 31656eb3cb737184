//! Routers with protocols, handlers and a base route of the host's own.

use super::borrow::{CStruct, out, read_struct, slice_mut, text};
use super::guard::{CorelaneError, Failure, Outcome, answer, guard};
use super::handle::{CorelaneClient, CorelaneRouter, Table};
use super::handler::{Callback, CorelaneFreeFn, CorelaneHandlerFn, run};
use super::router::{ROUTERS, insert, with_signals_blocked};
use super::worker::{CorelaneWorker, WORKERS};
use crate::config::Config;
use crate::router::{Builder, ProtocolRules};
use std::ffi::{c_char, c_void};

/// A router to be. Valid until `corelane_builder_start`, `corelane_builder_build` or `corelane_builder_release`. The value 0
/// is never a valid handle. Copy it freely.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorelaneBuilder {
    /// The library's own number.
    pub value: u64,
}

/// As `corelane_handler.flags`: the function never blocks and always returns within microseconds. It may then also run on
/// the thread of a local port's event loop. Clients of a protocol with any other handler, or with tasks, are placed on workers
/// with threads of their own.
pub const CORELANE_HANDLER_SHORT: u32 = 1;

/// A function that handles the messages of a type.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CorelaneHandler {
    /// `sizeof(corelane_handler)`, set by the caller: CORELANE_HANDLER_INIT.
    pub size: u32,
    /// CORELANE_HANDLER_SHORT or 0.
    pub flags: u32,
    /// The protocol.
    pub protocol: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub protocol_length: usize,
    /// The message type. The protocol must list it.
    pub message_type: *const c_char,
    /// Its length, or CORELANE_NUL_TERMINATED.
    pub message_type_length: usize,
    /// The function.
    pub function: CorelaneHandlerFn,
    /// Passed to the function.
    pub context: *mut c_void,
    /// Frees the context when the router, or the builder, is gone. May be NULL.
    pub free_context: CorelaneFreeFn,
}

// SAFETY: integers and pointers, the size first.
unsafe impl CStruct for CorelaneHandler {
    const NAME: &'static str = "corelane_handler";
}

/// The base route: handles a message that the router cannot handle (`route_fallback`, `enable_concurrent_routing`), on the
/// thread of the caller. Returns 0 if it has succeeded. It must not route or submit with the same port.
pub type CorelaneBaseRouteFn = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        client: CorelaneClient,
        message: *const u8,
        length: usize,
    ) -> i32,
>;

static BUILDERS: Table<Option<Builder>, 64> = Table::new("builder");

/// Changes a builder. A change that panics leaves the builder empty.
fn change(builder: CorelaneBuilder, how: impl FnOnce(Builder) -> Builder) -> Outcome {
    BUILDERS.enter(builder.value, |place| {
        *place = Some(how(place.take().ok_or_else(used_up)?));
        Ok(0)
    })
}

/// As [`change`], with a function of the host. If the builder is stale, busy or used up, the context stays the caller's.
fn change_with<F>(
    builder: CorelaneBuilder,
    callback: Callback<F>,
    how: impl FnOnce(Builder, Callback<F>) -> Builder,
) -> Outcome {
    let mut kept = Some(callback);
    let changed = change(builder, |one| match kept.take() {
        Some(callback) => how(one, callback),
        None => one,
    });
    if let Some(callback) = kept {
        callback.forget();
    }
    changed
}

fn used_up() -> Failure {
    Failure::invalid("a call with this builder has failed with CORELANE_PANIC: release it")
}

/// Takes the builder out of its handle, which is stale afterwards.
fn take(builder: CorelaneBuilder) -> Result<Builder, Failure> {
    BUILDERS.enter(builder.value, |place| {
        let taken = place.take().ok_or_else(used_up)?;
        // Released from inside, so that no other thread enters in between and finds an empty place.
        drop(BUILDERS.release(builder.value)?);
        Ok(taken)
    })
}

/// Begins a router. `config` is a configuration as for `corelane_router_start`.
///
/// Any thread. Does not block. CORELANE_CONFIG_KEY, CORELANE_CONFIG_VALUE, CORELANE_INVALID, CORELANE_LIMIT (64 builders),
/// CORELANE_NULL.
///
/// # Safety
/// `config` is a text; `out_builder` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_builder_new(
    config: *const c_char,
    config_length: usize,
    out_builder: *mut CorelaneBuilder,
    error: *mut CorelaneError,
) -> i32 {
    let begin = || -> Outcome {
        let out_builder = out("out_builder", out_builder)?;
        // SAFETY: the caller upholds the same contract.
        let config: Config = unsafe { text("config", config, config_length) }?.parse()?;
        let value = BUILDERS.insert(Some(Builder::new(config)))?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_builder.write(CorelaneBuilder { value }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, begin) }
}

/// Adds a protocol: the name of one that comes with the library (docs/protocols.md), or the JSON text of the host's own, which
/// begins with `{`. It replaces a protocol of the same name.
///
/// Any thread, one at a time. Does not block. CORELANE_NOT_FOUND (no protocol of this name comes with the library),
/// CORELANE_CONFIG_VALUE (what is wrong in the text), CORELANE_INVALID (not UTF-8), CORELANE_NULL, CORELANE_STALE,
/// CORELANE_BUSY.
///
/// # Safety
/// `protocol` is a text; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_builder_protocol(
    builder: CorelaneBuilder,
    protocol: *const c_char,
    protocol_length: usize,
    error: *mut CorelaneError,
) -> i32 {
    let add = || -> Outcome {
        // SAFETY: the caller upholds the same contract.
        let protocol = unsafe { text("protocol", protocol, protocol_length) }?;
        let rules = if protocol.trim_start().starts_with('{') {
            ProtocolRules::parse(protocol)?
        } else {
            ProtocolRules::by_name(protocol).ok_or_else(|| unknown_protocol(protocol))?
        };
        change(builder, |one| one.protocol(rules))
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, add) }
}

fn unknown_protocol(name: &str) -> Failure {
    let names: Vec<&str> = ProtocolRules::SHIPPED.iter().map(|(name, _)| *name).collect();
    let text = format!("no protocol is named {name}; there are {}, and JSON texts", names.join(", "));
    Failure::new(super::status::CorelaneStatus::NotFound, text)
}

/// Runs a function on every message of a listed type, whatever the type's action. The function can call
/// `corelane_request_relay` to run that action. The context is the library's from now on, unless the call fails.
///
/// Any thread, one at a time. Does not block. CORELANE_NULL (also: no function), CORELANE_INVALID (`size`, flags, not UTF-8),
/// CORELANE_STALE, CORELANE_BUSY. Whether the protocol lists the type is checked when the router starts.
///
/// # Safety
/// `handler` points at a corelane_handler with its size set and its texts as their lengths say. The function may be called
/// with the context on any thread, on several at once, until the context is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_builder_handler(
    builder: CorelaneBuilder,
    handler: *const CorelaneHandler,
) -> i32 {
    answer(|| {
        // SAFETY: the caller upholds the same contract.
        let given = unsafe { read_struct("handler", handler) }?;
        // SAFETY: as above.
        let protocol = unsafe { text("protocol", given.protocol, given.protocol_length) }?;
        // SAFETY: as above.
        let message_type = unsafe { text("message_type", given.message_type, given.message_type_length) }?;
        let function = given.function.ok_or_else(|| Failure::null("function"))?;
        if given.flags & !CORELANE_HANDLER_SHORT != 0 {
            return Err(Failure::invalid(format!("flags is {}: no such flags", given.flags)));
        }
        let callback = Callback::new(function, given.context, given.free_context);
        change_with(builder, callback, |one, callback| {
            let handle = move |request: &mut crate::router::Request<'_>| {
                run(callback.function, callback.context(), request)
            };
            if given.flags & CORELANE_HANDLER_SHORT != 0 {
                one.short_handler(protocol, message_type, handle)
            } else {
                one.handler(protocol, message_type, handle)
            }
        })
    })
}

/// Sets the base route. The context is the library's from now on, unless the call fails.
///
/// Any thread, one at a time. Does not block. CORELANE_NULL (no function), CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// The function may be called with the context on any thread, on several at once, until the context is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_builder_base_route(
    builder: CorelaneBuilder,
    function: CorelaneBaseRouteFn,
    context: *mut c_void,
    free_context: CorelaneFreeFn,
) -> i32 {
    answer(|| {
        let function = function.ok_or_else(|| Failure::null("function"))?;
        change_with(builder, Callback::new(function, context, free_context), |one, callback| {
            one.base_route(move |request| {
                let (client, message) = (CorelaneClient { value: request.client.0 }, request.message);
                let (context, function) = (callback.context(), callback.function);
                // SAFETY: the host guarantees that its function may be called with this context.
                unsafe { function(context, client, message.as_ptr(), message.len()) == 0 }
            })
        })
    })
}

/// Writes the most memory that the router can need, in bytes. Nothing is reserved yet.
///
/// Any thread, one at a time. Does not block. CORELANE_CONFIG_VALUE (values that do not fit together), CORELANE_NULL,
/// CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `out_bytes` points at room for a uint64_t; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_builder_bytes(
    builder: CorelaneBuilder,
    out_bytes: *mut u64,
    error: *mut CorelaneError,
) -> i32 {
    let bytes = || -> Outcome {
        let out_bytes = out("out_bytes", out_bytes)?;
        BUILDERS.enter(builder.value, |place| {
            let total =
                place.as_ref().map_or(Ok(0), |builder| builder.budget().map(|budget| budget.total()))?;
            // SAFETY: `out` checked the pointer; the caller has room there.
            unsafe { out_bytes.write(total) };
            Ok(0)
        })
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, bytes) }
}

/// Starts the router with its worker threads. The builder is released, also if the call fails.
///
/// Any thread. Does not block. CORELANE_CONFIG_VALUE (values that do not fit together, a handler of a type that is not
/// listed), CORELANE_NOT_FOUND (a handler of a protocol that the router does not have), CORELANE_LIMIT (64 routers),
/// CORELANE_SYSTEM, CORELANE_NULL, CORELANE_STALE, CORELANE_BUSY.
///
/// # Safety
/// `out_router` points at room for a handle; `error` is NULL or a corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_builder_start(
    builder: CorelaneBuilder,
    out_router: *mut CorelaneRouter,
    error: *mut CorelaneError,
) -> i32 {
    let start = || -> Outcome {
        let out_router = out("out_router", out_router)?;
        let taken = take(builder)?;
        let value = insert(taken)?;
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_router.write(CorelaneRouter { value }) };
        Ok(0)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, start) }
}

/// Builds the router without worker threads: the host drives the workers, with `corelane_worker_cycle` or
/// `corelane_worker_take`. Writes the handles of the workers, and returns their number. If `capacity` is smaller, the call
/// fails with CORELANE_LIMIT, and the error says the number. The builder is released, also if the call fails, except then.
///
/// Any thread. Does not block. As `corelane_builder_start`; CORELANE_LIMIT also for `capacity` and for more than 1024 workers
/// in the process.
///
/// # Safety
/// `out_router` points at room for a handle, `out_workers` at room for `capacity` handles; `error` is NULL or a
/// corelane_error with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_builder_build(
    builder: CorelaneBuilder,
    out_router: *mut CorelaneRouter,
    out_workers: *mut CorelaneWorker,
    capacity: usize,
    error: *mut CorelaneError,
) -> i32 {
    let build = || -> Outcome {
        let out_router = out("out_router", out_router)?;
        // SAFETY: the caller upholds the same contract.
        let places = unsafe { slice_mut("out_workers", out_workers, capacity) }?;
        BUILDERS.enter(builder.value, |place| {
            let workers = place.as_ref().map_or(0, Builder::driven_workers);
            if workers <= capacity {
                return Ok(());
            }
            let text = format!("the router has {workers} workers: pass room for {workers} handles");
            Err(Failure::new(super::status::CorelaneStatus::Limit, text))
        })?;
        let taken = take(builder)?;
        super::fork::watch();
        let (router, workers) = with_signals_blocked(|| taken.build())?;
        let value = ROUTERS.insert(router)?;
        let count = workers.len();
        let mut handles = Vec::with_capacity(count);
        for worker in workers {
            match WORKERS.insert(worker) {
                Ok(handle) => handles.push(handle),
                Err(failure) => {
                    drop(ROUTERS.release(value));
                    for handle in handles {
                        drop(WORKERS.release(handle)); // The caller never gets this handle.
                    }
                    return Err(failure);
                }
            }
        }
        for (place, value) in places.iter_mut().zip(handles) {
            *place = CorelaneWorker { value };
        }
        // SAFETY: `out` checked the pointer; the caller has room there.
        unsafe { out_router.write(CorelaneRouter { value }) };
        Ok(count as i64)
    };
    // SAFETY: the caller upholds the same contract.
    unsafe { guard(error, build) }
}

/// Releases a builder that is not to be started. Contexts of its handlers are freed.
///
/// Any thread. Does not block. CORELANE_STALE.
///
/// # Safety
/// No requirements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corelane_builder_release(builder: CorelaneBuilder) -> i32 {
    answer(|| {
        drop(BUILDERS.release(builder.value)?);
        Ok(0)
    })
}
