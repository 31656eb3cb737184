//! The table of keys: name, unit, range, default, text and typed setter of each key.

use super::setting::{Balance, RouteFallback, Setting};
use super::{AllowedValues, Config, Idle};
use crate::clients::{CreditPolicy, MAX_BYTES, MAX_MESSAGES};
use crate::error::ConfigError;
use std::time::Duration;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name of the key.
    pub key: &'static str,
    /// Unit of the value.
    pub unit: &'static str,
    /// Allowed values.
    pub values: AllowedValues,
    /// Default value.
    pub default: u64,
    /// Effect of the key, as a sentence.
    pub text: &'static str,
    /// Name of the typed setter in [`Config`] and the type that it takes.
    pub setter: (&'static str, &'static str),
}

macro_rules! table {
    ($($variant:ident $key:literal $unit:literal $values:expr, $default:expr, $text:literal =>
        $setter:ident($type:ident);)+) => {
        /// The configuration keys.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        #[repr(usize)]
        pub enum Key { $(#[doc = $text] $variant,)+ }

        /// The rows of all keys, in the order of [`Key`].
        pub const TABLE: &[Row] = &[$(Row {
            key: $key, unit: $unit, values: $values, default: $default, text: $text,
            setter: (stringify!($setter), stringify!($type)),
        },)+];

        /// One typed setter per key, so that calls can be chained. Each setter refuses the same values as
        /// [`Config::set`].
        impl Config {
            $(
                #[doc = concat!($text, " Sets `", $key, "`.")]
                ///
                /// # Errors
                /// [`ConfigError`] with the key, the value and the allowed values.
                pub fn $setter(self, value: $type) -> Result<Self, ConfigError> {
                    self.with(Key::$variant, Setting::number(value))
                }
            )+
        }
    };
}

const fn number(minimum: u64, maximum: u64) -> AllowedValues {
    AllowedValues::Number { minimum, maximum }
}

const IDLE: &[&str] = &["spin", "backoff", "park"];
const BALANCE: &[&str] = &["round_robin", "hash", "least_loaded"];
pub(super) const SWITCH: &[&str] = &["off", "on"];
const FALLBACK: &[&str] = &["auto", "inline", "refuse"];
const CREDIT_POLICY: &[&str] = &["disconnect", "refuse", "drop"];

table! {
    Workers "workers" "threads" number(0, 64), 0,
        "Number of workers, local ones included; 0 means one per core that this process may use."
        => with_workers(u64);
    LocalWorkers "local_workers" "workers" number(0, 64), 0,
        "How many of the workers are local: each lives on the thread of a port that was opened with it. The other workers have threads of their own."
        => with_local_workers(u64);
    Pin "pin" "" AllowedValues::Choice(SWITCH), 1,
        "Pins each worker to a core, if there are at least as many cores as workers."
        => with_pin(bool);
    IdleStrategy "idle" "" AllowedValues::Choice(IDLE), 1,
        "How a worker waits for work: spin (poll without a pause), backoff (spin, yield, then sleep) or park (sleep at once)."
        => with_idle(Idle);
    MaxPorts "max_ports" "ports" number(1, 64), 8,
        "Largest number of open ports. Each port has a ring to and a ring from each worker."
        => with_max_ports(u64);
    MaxClients "max_clients" "clients" number(1, 1_000_000), 10_000,
        "Largest number of connected clients, including clients that are still leaving."
        => with_max_clients(u64);
    RingBytes "ring_bytes" "bytes" AllowedValues::PowerOfTwo { minimum: 4096, maximum: 1 << 26 }, 128 << 10,
        "Capacity of one ring. A record takes at most a quarter of it; a larger message becomes an out-of-line payload."
        => with_ring_bytes(u64);
    MaxMessage "max_message" "bytes" number(1, 16 << 20), 64 << 10,
        "Largest size of a message. Larger messages are refused."
        => with_max_message(u64);
    Batch "batch" "messages" number(1, 65_536), 256,
        "Messages that a worker takes from one ring before it turns to the next ring."
        => with_batch(u64);
    MaxQueueWait "max_queue_wait_ms" "milliseconds" number(1, 3_600_000), 5_000,
        "Longest time that a message may wait for a worker. A message that has waited longer expires."
        => with_max_queue_wait(Duration);
    HoldTime "hold_ms" "milliseconds" number(1, 3_600_000), 5_000,
        "How long messages for a name that is not connected are held, counted from the first of them."
        => with_hold(Duration);
    HoldPerSender "hold_per_sender" "messages" number(0, 65_536), 64,
        "Largest number of held messages of one sender."
        => with_hold_per_sender(u64);
    HoldPerName "hold_per_name" "messages" number(0, 65_536), 256,
        "Largest number of messages that one worker holds for one name."
        => with_hold_per_name(u64);
    HoldMessages "hold_messages" "messages" number(0, 1_000_000), 4_096,
        "Largest number of messages that one worker holds in total."
        => with_hold_messages(u64);
    HoldBytes "hold_bytes" "bytes" number(0, 1 << 30), 4 << 20,
        "Largest number of bytes that one worker holds in total."
        => with_hold_bytes(u64);
    CreditMessages "credit_messages" "messages" number(1, MAX_MESSAGES as u64), 1_024,
        "Messages that a client may have unacknowledged. Beyond this number `credit_policy` applies."
        => with_credit_messages(u64);
    CreditBytes "credit_bytes" "bytes" number(1, MAX_BYTES as u64), 1 << 20,
        "Bytes that a client may have unacknowledged. Beyond this number `credit_policy` applies."
        => with_credit_bytes(u64);
    BacklogBytes "backlog_bytes" "bytes" AllowedValues::PowerOfTwo { minimum: 4096, maximum: 1 << 28 }, 1 << 20,
        "Capacity of the backlog that a worker keeps for one port whose ring is full. Deliveries that do not fit are given up."
        => with_backlog_bytes(u64);
    MaxApplications "max_applications" "labels" number(0, 1_024), 32,
        "Applications with their own figures. Further applications are counted as `other`."
        => with_max_applications(u64);
    MaxRecordedTypes "max_recorded_types" "labels" number(0, 4_096), 64,
        "Types reported by the host that get their own figures. Further types are counted as `other`."
        => with_max_recorded_types(u64);
    TouchMemory "touch_memory" "" AllowedValues::Choice(SWITCH), 0,
        "Makes all memory resident when it is reserved. No page fault occurs later, and the whole budget is resident from the start."
        => with_touch_memory(bool);
    MemoryLimit "memory_limit_bytes" "bytes" number(0, 1 << 50), 0,
        "Largest budget with which the router starts; 0 for no limit."
        => with_memory_limit_bytes(u64);
    MaxCalls "max_calls" "calls" number(1, 4_096), 16,
        "Threads of one port that may wait for the result of a routed message at the same time."
        => with_max_calls(u64);
    RouteFallback "route_fallback" "" AllowedValues::Choice(FALLBACK), 0,
        "What happens to a message that is routed synchronously and cannot be handled: inline (the host's base route takes it over), refuse, or auto (inline if there is a base route, otherwise refuse)."
        => with_route_fallback(RouteFallback);
    ConcurrentRouting "enable_concurrent_routing" "" AllowedValues::Choice(SWITCH), 1,
        "If off, every message goes to the host's base route, on the caller's thread."
        => with_enable_concurrent_routing(bool);
    EnableMetrics "enable_metrics" "" AllowedValues::Choice(SWITCH), 1,
        "If off, a router counts messages only by outcome, messages that the host records are not counted, and all other figures of messages and clients are null. The host's own metrics are still recorded."
        => with_enable_metrics(bool);
    CreditPolicy "credit_policy" "" AllowedValues::Choice(CREDIT_POLICY), 0,
        "What happens when a client has no credit left, unless its connect says otherwise: disconnect the client, refuse the message and tell its sender, or drop messages of droppable types (and disconnect the client at any other type)."
        => with_credit_policy(CreditPolicy);
    RefusalNotices "refusal_notices" "" AllowedValues::Choice(SWITCH), 1,
        "Whether the credit policy `refuse` sends the sender a notice for each refused message. If off, refusals are only counted."
        => with_refusal_notices(bool);
    MaxRooms "max_rooms" "rooms" number(0, 1_000_000), 1_024,
        "Largest number of rooms with members."
        => with_max_rooms(u64);
    MaxRoomMembers "max_room_members" "clients" number(1, 65_536), 1_024,
        "Largest number of members of one room."
        => with_max_room_members(u64);
    MaxClientRooms "max_client_rooms" "rooms" number(1, 4_096), 16,
        "Largest number of rooms that one client may be in."
        => with_max_client_rooms(u64);
    RoomRetiredLists "room_retired_lists" "lists" number(1, 65_536), 256,
        "Replaced member lists that are kept while workers may still read them. Beyond this number, joins and leaves are refused with the advice to retry."
        => with_room_retired_lists(u64);
    RoomRetiredBytes "room_retired_bytes" "bytes" number(1024, 1 << 30), 4 << 20,
        "Total size of the replaced member lists that are kept."
        => with_room_retired_bytes(u64);
    ProcessingTimeout "processing_timeout_ms" "milliseconds" number(1, 3_600_000), 30_000,
        "A worker whose handler has processed one message for longer than this counts as stalled, until the handler returns."
        => with_processing_timeout(Duration);
    StopTimeout "stop_timeout_ms" "milliseconds" number(1, 3_600_000), 10_000,
        "How long a stop waits for running handlers. After that, it gives up the workers whose handlers have not returned."
        => with_stop_timeout(Duration);
    Balance "balance" "" AllowedValues::Choice(BALANCE), 2,
        "How the worker of a message is chosen: round_robin (the next one; does not keep the order of a client's messages), hash (by the client's name) or least_loaded. The last two keep the order of each client's messages."
        => with_balance(Balance);
    ActiveWorkers "active_workers" "threads" number(0, 64), 0,
        "Workers that get messages when the router starts; 0 for all. Local workers do not count. Can be changed while the router runs."
        => with_active_workers(u64);
    MaxInFlight "max_in_flight" "messages" number(0, 1_000_000), 0,
        "Accepted messages of one client that may be without an outcome, including held messages; 0 for no limit."
        => with_max_in_flight(u64);
    ClientRate "client_rate" "messages per second" number(0, 1_000_000), 0,
        "Messages per second that a client may send; 0 for no limit."
        => with_client_rate(u64);
    ClientBurst "client_burst" "messages" number(0, 1_000_000), 0,
        "Messages that a client may send in one burst; 0 for as many as `client_rate` allows in one second."
        => with_client_burst(u64);
    MaxConcurrentMessages "max_concurrent_messages" "messages" number(0, 1_000_000_000), 0,
        "Accepted messages of all clients that may be without an outcome, including held messages; 0 for no limit."
        => with_max_concurrent_messages(u64);
    QueueMessages "queue_messages" "messages" number(0, 1_000_000), 0,
        "Messages that may wait in the ring from one port to one worker; 0 for as many as fit in its bytes."
        => with_queue_messages(u64);
    Payloads "payloads" "payloads" number(1, 65_536), 256,
        "Largest number of out-of-line payloads: messages too large for a record, and payloads that the host has handed over."
        => with_payloads(u64);
    PayloadBytes "payload_bytes" "bytes" number(0, 1 << 40), 16 << 20,
        "Total size of the out-of-line payloads, including those that the host still views."
        => with_payload_bytes(u64);
    MaxTasks "max_tasks" "messages" number(1, 65_536), 1_024,
        "Largest number of tasks of one worker that the host has taken and not yet finished. Has no effect unless a message type is a task."
        => with_max_tasks(u64);
    MonitorInterval "monitor_interval_ms" "milliseconds" number(100, 3_600_000), 5_000,
        "How often the monitor measures the system and evaluates its alert rules. Windows are filled every second, independent of this value. Can be changed while the monitor runs."
        => with_monitor_interval(Duration);
    ReportInterval "report_interval_ms" "milliseconds" number(0, 86_400_000), 60_000,
        "How often the monitor passes its report to the callbacks that the host has registered; 0 for never. Can be changed while the monitor runs."
        => with_report_interval(Duration);
    SlowMessageThreshold "slow_message_threshold_ms" "milliseconds" number(1, 3_600_000), 1_000,
        "A message is slow if its waiting time, time on hold and handling time together exceed this. Slow messages are counted by type and listed. Can be changed while the monitor runs."
        => with_slow_message_threshold(Duration);
    SlowMessages "slow_messages" "messages" number(1, 10_000), 100,
        "Entries in the list of slow messages; the latest are kept. Messages with equal client and labels share one entry."
        => with_slow_messages(u64);
    HighMemory "high_memory_threshold_bytes" "bytes" number(1 << 20, 1 << 50), 1 << 30,
        "The alert `memory` is raised when the resident memory of the process exceeds this. Can be changed while the monitor runs."
        => with_high_memory_threshold_bytes(u64);
    HighConnections "high_connection_threshold" "connections" number(1, 10_000_000), 1_000,
        "The alert `connections` is raised when the number of connections exceeds this. Can be changed while the monitor runs."
        => with_high_connection_threshold(u64);
    ConnectionLimit "connection_limit" "connections" number(0, 10_000_000), 0,
        "Largest number of connections that the host accepts. `system.load.connection_pool_use` is the share of them in use. 0 uses `max_clients` instead."
        => with_connection_limit(u64);
    HighErrorRate "high_error_rate_threshold" "of the messages" AllowedValues::Fraction, 50_000,
        "The alert `error_rate` is raised when the share of the last minute's messages that failed or expired exceeds this. Can be changed while the monitor runs."
        => with_high_error_rate_threshold(f64);
    HighSlowRate "high_slow_rate_threshold" "of the messages" AllowedValues::Fraction, 50_000,
        "The alert `slow_messages` is raised when the share of the last minute's messages that were slow exceeds this. Can be changed while the monitor runs."
        => with_high_slow_rate_threshold(f64);
    HighP99 "high_p99_threshold_ms" "milliseconds" number(1, 3_600_000), 1_000,
        "The alert `p99` is raised when the 99th percentile of the last minute's handling times exceeds this. Can be changed while the monitor runs."
        => with_high_p99_threshold(Duration);
    HighQueueDepth "high_queue_depth_threshold" "messages" number(1, 1_000_000_000), 1_000,
        "The alert `queue_depth` is raised when the number of messages waiting in all queues exceeds this. Can be changed while the monitor runs."
        => with_high_queue_depth_threshold(u64);
    HighQueueWait "high_queue_wait_threshold_ms" "milliseconds" number(1, 3_600_000), 1_000,
        "The alert `queue_wait` is raised when the 99th percentile of the last minute's waiting times exceeds this. Can be changed while the monitor runs."
        => with_high_queue_wait_threshold(Duration);
    HighCpu "high_cpu_threshold" "of the process's cores" AllowedValues::Fraction, 900_000,
        "The alert `cpu` is raised when the process uses more than this share of the cores that it may use. Can be changed while the monitor runs."
        => with_high_cpu_threshold(f64);
    DetailedStats "detailed_stats" "" AllowedValues::Choice(SWITCH), 1,
        "Keeps figures for each client and windows for each type, protocol and application. If off, these are null and no memory is reserved for them. If on at the start, can be switched off and on while the monitor runs."
        => with_detailed_stats(bool);
    StatsRetention "stats_retention_hours" "hours" number(1, 168), 24,
        "How long figures are kept, at decreasing resolution: every second for a minute, every minute for an hour, then every quarter of an hour."
        => with_stats_retention_hours(u64);
    MaxWindowedSeries "max_windowed_series" "series" number(4, 1_024), 64,
        "Types, protocols and applications with their own windows. Further ones have only totals since the start. Each takes at most about 0.9 MiB."
        => with_max_windowed_series(u64);
    MaxRecorders "max_recorders" "recorders" number(0, 1_024), 8,
        "Threads that may have their own recorder at the same time. Further recorders share cells."
        => with_max_recorders(u64);
    MaxRecordedClients "max_recorded_clients" "clients" number(0, 1_000_000), 1_024,
        "Clients with their own figures among those that the host connects to the monitor or records messages of. Further clients are counted as `other`."
        => with_max_recorded_clients(u64);
    MaxCustomSeries "max_custom_series" "series" number(0, 65_536), 256,
        "Series of the host's own metrics: one for each label set."
        => with_max_custom_series(u64);
    TopClients "top_clients" "clients" number(1, 1_000), 10,
        "Length of each list of top clients. Can be changed while the monitor runs."
        => with_top_clients(u64);
    UnhealthyAfter "unhealthy_after_ms" "milliseconds" number(1_000, 86_400_000), 60_000,
        "A connection that has been silent for longer than this counts as unhealthy. Can be changed while the monitor runs."
        => with_unhealthy_after(Duration);
    EnableLogging "enable_logging" "" AllowedValues::Choice(SWITCH), 0,
        "Whether the monitor logs events through `tracing`: alerts and slow messages. Can be changed while the monitor runs."
        => with_enable_logging(bool);
}
