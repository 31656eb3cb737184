//! The table of keys: section, field, type, default, name, allowed values, unit, changes at run time, scope, and text of
//! each key. Sections, rows, and everything that reads or writes a value by its key are derived from it.

use super::value::{Balance, Choice, Idle, RouteFallback, Value};
use super::{AllowedValues, Changes, ConfigError, Row, Scope};
use crate::clients::{CreditPolicy, MAX_BYTES, MAX_MESSAGES};
use serde::Serialize;
use std::time::Duration;

macro_rules! sections {
    ($($(#[$doc:meta])* $section:ident: $Section:ident { $(
        $Key:ident $field:ident: $type:ty = $default:expr, $key:literal $values:expr, $unit:literal, $changes:ident,
            $scope:ident, $text:literal;
    )+ })+) => {
        /// A router's configuration, in sections. [`Config::default`] suits small machines.
        ///
        /// Change the fields, or write a text (see [`Config::from_str`](std::str::FromStr::from_str)). The values are
        /// checked where they are used: by [`Builder::build`](crate::router::Builder::build),
        /// [`Monitor::new`](crate::monitor::Monitor::new), or earlier by [`Config::validate`]. A field that is `None`
        /// is 0 in a text.
        ///
        /// ```
        /// use corelane::config::{Config, Credit};
        ///
        /// let mut config = Config::default();
        /// config.router.workers = Some(2);
        /// config.credit = Credit { messages: 100, ..Credit::default() };
        /// config.validate()?;
        ///
        /// let same: Config = "workers = 2\ncredit_messages = 100".parse()?;
        /// assert_eq!(config, same);
        /// # Ok::<(), corelane::config::ConfigError>(())
        /// ```
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        pub struct Config { $($(#[$doc])* pub $section: $Section,)+ }

        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section { $(
                #[doc = concat!($text, " Key: `", $key, "`. Default: `", stringify!($default), "`.")]
                pub $field: $type,
            )+ }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $($field: $default,)+ }
                }
            }
        )+

        /// The configuration keys.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub(crate) enum Key { $($($Key,)+)+ }

        impl Key {
            /// Every key, in the order of [`TABLE`].
            pub(crate) const ALL: &[Self] = &[$($(Self::$Key,)+)+];
        }

        /// The rows of all keys.
        pub const TABLE: &[Row] = &[$($(Row {
            key: $key,
            section: stringify!($section),
            field: stringify!($field),
            field_type: stringify!($type),
            unit: $unit,
            values: $values,
            changes: Changes::$changes,
            scope: Scope::$scope,
            text: $text,
        },)+)+];

        /// The names of the sections.
        pub const SECTIONS: &[&str] = &[$(stringify!($section),)+];

        impl Config {
            /// The number of a value, in the unit of its key; of a switch or choice, the place of its word; of a
            /// fraction, its bits.
            pub(crate) fn get(&self, key: Key) -> u64 {
                match key { $($(Key::$Key => self.$section.$field.number($unit),)+)+ }
            }

            /// Sets the value that has this number.
            pub(super) fn put(&mut self, key: Key, number: u64) {
                match key { $($(Key::$Key => self.$section.$field = Value::of_number(number, $unit),)+)+ }
            }

            /// Checks that a number stands for exactly this value, so that it can be written.
            pub(super) fn exact(&self, key: Key) -> Result<(), ConfigError> {
                match key { $($(Key::$Key => key.row().number(&self.$section.$field).map(|_| ()),)+)+ }
            }
        }
    };
}

const fn number(minimum: u64, maximum: u64) -> AllowedValues {
    AllowedValues::Number { minimum, maximum }
}

const fn power_of_two(minimum: u64, maximum: u64) -> AllowedValues {
    AllowedValues::PowerOfTwo { minimum, maximum }
}

const fn choice<C: Choice>() -> AllowedValues {
    AllowedValues::Choice(C::WORDS)
}

const SWITCH: AllowedValues = AllowedValues::Choice(&["off", "on"]);

sections! {
/// How the router works: workers, rings, placement, time limits.
router: RouterConfig {
    Workers workers: Option<u32> = None, "workers" number(0, 64), "threads", Never, Router,
        "Number of workers, local ones included; 0 (`None`): half as many as the cores that this process may use, at least 1 and at least `local_workers`.";
    LocalWorkers local_workers: u32 = 0, "local_workers" number(0, 64), "workers", Never, Router,
        "How many of the workers are local: each lives on the thread of a port that was opened with it. The other workers have threads of their own.";
    ActiveWorkers active_workers: Option<u32> = None, "active_workers" number(0, 64), "threads", Router, Router,
        "Workers that get messages when the router starts; 0 (`None`) for all. Local workers do not count.";
    Pin pin: bool = true, "pin" SWITCH, "", Never, Router,
        "Pins each worker to a core, if there are at least as many cores as workers.";
    IdleStrategy idle: Idle = Idle::Backoff, "idle" choice::<Idle>(), "", Never, Router,
        "How a worker waits for work: spin (poll without a pause), backoff (spin, yield, then sleep) or park (sleep at once).";
    Balance balance: Balance = Balance::LeastLoaded, "balance" choice::<Balance>(), "", Never, Router,
        "How the worker of a message is chosen: round_robin (the next one; does not keep the order of a client's messages), hash (by the client's name) or least_loaded. The last two keep the order of each client's messages.";
    Batch batch: u32 = 256, "batch" number(1, 65_536), "messages", Never, Router,
        "Messages that a worker takes from one ring before it turns to the next ring.";
    MaxPorts max_ports: u32 = 8, "max_ports" number(1, 64), "ports", Never, Router,
        "Largest number of open ports. Each port has a ring to and a ring from each worker.";
    RingBytes ring_bytes: u64 = 128 << 10, "ring_bytes" power_of_two(4096, 1 << 26), "bytes", Never, Router,
        "Capacity of one ring. A record takes at most a quarter of it; a larger message becomes an out-of-line payload.";
    BacklogBytes backlog_bytes: u64 = 1 << 20, "backlog_bytes" power_of_two(4096, 1 << 28), "bytes", Never, Router,
        "Capacity of the backlog that a worker keeps for one port whose ring is full. Deliveries that do not fit are given up.";
    TouchMemory touch_memory: bool = false, "touch_memory" SWITCH, "", Never, Router,
        "Makes all memory resident when it is reserved. No page fault occurs later, and the whole budget is resident from the start.";
    ConcurrentRouting concurrent_routing: bool = true, "enable_concurrent_routing" SWITCH, "", Never, Router,
        "If off, every message goes to the host's base route, on the caller's thread.";
    RouteFallback route_fallback: RouteFallback = RouteFallback::Auto, "route_fallback" choice::<RouteFallback>(), "", Never, Router,
        "What happens to a message that is routed synchronously and cannot be handled: inline (the host's base route takes it over), refuse, or auto (inline if there is a base route, otherwise refuse).";
    ProcessingTimeout processing_timeout: Duration = Duration::from_secs(30), "processing_timeout_ms" number(1, 3_600_000), "milliseconds", Never, Router,
        "A worker whose handler has processed one message for longer than this counts as stalled, until the handler returns.";
    StopTimeout stop_timeout: Duration = Duration::from_secs(10), "stop_timeout_ms" number(1, 3_600_000), "milliseconds", Never, Router,
        "How long a stop waits for running handlers. After that, it gives up the workers whose handlers have not returned.";
}
/// Limits on clients, messages and memory.
limits: Limits {
    MaxClients max_clients: u32 = 10_000, "max_clients" number(1, 1_000_000), "clients", Never, Router,
        "Largest number of connected clients, including clients that are still leaving.";
    MaxMessage max_message: u64 = 64 << 10, "max_message" number(1, 16 << 20), "bytes", Never, Router,
        "Largest size of a message. Larger messages are refused.";
    MaxQueueWait max_queue_wait: Duration = Duration::from_secs(5), "max_queue_wait_ms" number(1, 3_600_000), "milliseconds", Never, Router,
        "Longest time that a message may wait for a worker. A message that has waited longer expires.";
    QueueMessages queue_messages: Option<u32> = None, "queue_messages" number(0, 1_000_000), "messages", Never, Router,
        "Messages that may wait in the ring from one port to one worker; 0 (`None`) for as many as fit in its bytes.";
    MaxInFlight max_in_flight: Option<u32> = None, "max_in_flight" number(0, 1_000_000), "messages", Never, Router,
        "Accepted messages of one client that may be without an outcome, including held messages; 0 (`None`) for no limit.";
    MaxConcurrentMessages max_concurrent_messages: Option<u32> = None, "max_concurrent_messages" number(0, 1_000_000_000), "messages", Never, Router,
        "Accepted messages of all clients that may be without an outcome, including held messages; 0 (`None`) for no limit.";
    ClientRate client_rate: Option<u32> = None, "client_rate" number(0, 1_000_000), "messages per second", Never, Router,
        "Messages per second that a client may send; 0 (`None`) for no limit.";
    ClientBurst client_burst: Option<u32> = None, "client_burst" number(0, 1_000_000), "messages", Never, Router,
        "Messages that a client may send in one burst; 0 (`None`) for as many as `client_rate` allows in one second.";
    MaxCalls max_calls: u32 = 16, "max_calls" number(1, 4_096), "calls", Never, Router,
        "Threads of one port that may wait for the result of a routed message at the same time.";
    MaxTasks max_tasks: u32 = 1_024, "max_tasks" number(1, 65_536), "messages", Never, Router,
        "Largest number of tasks of one worker that the host has taken and not yet finished. Has no effect unless a message type is a task.";
    Payloads payloads: u32 = 256, "payloads" number(1, 65_536), "payloads", Never, Router,
        "Largest number of out-of-line payloads: messages too large for a record, and payloads that the host has handed over.";
    PayloadBytes payload_bytes: u64 = 16 << 20, "payload_bytes" number(0, 1 << 40), "bytes", Never, Router,
        "Total size of the out-of-line payloads, including those that the host still views.";
    MemoryLimit memory: Option<u64> = None, "memory_limit_bytes" number(0, 1 << 50), "bytes", Never, Router,
        "Largest budget with which the router starts; 0 (`None`) for no limit.";
}
/// How much a client may leave unacknowledged, and what happens beyond that.
credit: Credit {
    CreditMessages messages: u32 = 1_024, "credit_messages" number(1, MAX_MESSAGES as u64), "messages", Never, Router,
        "Messages that a client may have unacknowledged. Beyond this number `credit_policy` applies.";
    CreditBytes bytes: u64 = 1 << 20, "credit_bytes" number(1, MAX_BYTES as u64), "bytes", Never, Router,
        "Bytes that a client may have unacknowledged. Beyond this number `credit_policy` applies.";
    CreditPolicy policy: CreditPolicy = CreditPolicy::Disconnect, "credit_policy" choice::<CreditPolicy>(), "", Never, Router,
        "What happens when a client has no credit left, unless its connect says otherwise: disconnect the client, refuse the message and tell its sender, or drop messages of droppable types (and disconnect the client at any other type).";
    RefusalNotices refusal_notices: bool = true, "refusal_notices" SWITCH, "", Never, Router,
        "Whether the credit policy `refuse` sends the sender a notice for each refused message. If off, refusals are only counted.";
}
/// Messages that wait for a recipient that is not connected.
holds: Holds {
    HoldTime time: Duration = Duration::from_secs(5), "hold_ms" number(1, 3_600_000), "milliseconds", Never, Router,
        "How long messages for a name that is not connected are held, counted from the first of them.";
    HoldPerSender per_sender: u32 = 64, "hold_per_sender" number(0, 65_536), "messages", Never, Router,
        "Largest number of held messages of one sender.";
    HoldPerName per_name: u32 = 256, "hold_per_name" number(0, 65_536), "messages", Never, Router,
        "Largest number of messages that one worker holds for one name.";
    HoldMessages messages: u32 = 4_096, "hold_messages" number(0, 1_000_000), "messages", Never, Router,
        "Largest number of messages that one worker holds in total.";
    HoldBytes bytes: u64 = 4 << 20, "hold_bytes" number(0, 1 << 30), "bytes", Never, Router,
        "Largest number of bytes that one worker holds in total.";
}
/// Rooms and their members.
rooms: Rooms {
    MaxRooms max_rooms: u32 = 1_024, "max_rooms" number(0, 1_000_000), "rooms", Never, Router,
        "Largest number of rooms with members.";
    MaxRoomMembers max_members: u32 = 1_024, "max_room_members" number(1, 65_536), "clients", Never, Router,
        "Largest number of members of one room.";
    MaxClientRooms max_per_client: u32 = 16, "max_client_rooms" number(1, 4_096), "rooms", Never, Router,
        "Largest number of rooms that one client may be in.";
    RoomRetiredLists retired_lists: u32 = 256, "room_retired_lists" number(1, 65_536), "lists", Never, Router,
        "Replaced member lists that are kept while workers may still read them. Beyond this number, joins and leaves are refused with the advice to retry.";
    RoomRetiredBytes retired_bytes: u64 = 4 << 20, "room_retired_bytes" number(1024, 1 << 30), "bytes", Never, Router,
        "Total size of the replaced member lists that are kept.";
}
/// What is measured, for how long, and how often it is looked at.
monitor: MonitorConfig {
    EnableMetrics metrics: bool = true, "enable_metrics" SWITCH, "", Never, Any,
        "If off, a router counts messages only by outcome, messages that the host records are not counted, and all other figures of messages and clients are null. The host's own metrics are still recorded.";
    DetailedStats detailed_stats: bool = true, "detailed_stats" SWITCH, "", Monitor, Any,
        "Keeps figures for each client and windows for each type, protocol and application. If off, these are null and no memory is reserved for them. At run time it can be switched on only if it was on at the start.";
    EnableLogging logging: bool = false, "enable_logging" SWITCH, "", Monitor, Any,
        "Whether the monitor logs events through `tracing`: alerts and slow messages.";
    MonitorInterval interval: Duration = Duration::from_secs(5), "monitor_interval_ms" number(100, 3_600_000), "milliseconds", Monitor, Any,
        "How often the monitor measures the system and evaluates its alert rules. Windows are filled every second, independent of this value.";
    ReportInterval report_interval: Option<Duration> = Some(Duration::from_secs(60)), "report_interval_ms" number(0, 86_400_000), "milliseconds", Monitor, Any,
        "How often the monitor passes its report to the callbacks that the host has registered; 0 (`None`) for never.";
    SlowMessageThreshold slow_message_threshold: Duration = Duration::from_secs(1), "slow_message_threshold_ms" number(1, 3_600_000), "milliseconds", Monitor, Any,
        "A message is slow if its waiting time, time on hold and handling time together exceed this. Slow messages are counted by type and listed.";
    SlowMessages slow_messages: u32 = 100, "slow_messages" number(1, 10_000), "messages", Never, Any,
        "Entries in the list of slow messages; the latest are kept. Messages with equal client and labels share one entry.";
    StatsRetention stats_retention: Duration = Duration::from_secs(24 * 3_600), "stats_retention_hours" number(1, 168), "hours", Never, Any,
        "How long figures are kept, at decreasing resolution: every second for a minute, every minute for an hour, then every quarter of an hour.";
    MaxWindowedSeries max_windowed_series: u32 = 64, "max_windowed_series" number(4, 1_024), "series", Never, Any,
        "Types, protocols and applications with their own windows. Further ones have only totals since the start. Each takes at most about 0.9 MiB.";
    MaxApplications max_applications: u32 = 32, "max_applications" number(0, 1_024), "labels", Never, Any,
        "Applications with their own figures. Further applications are counted as `other`.";
    MaxRecordedTypes max_recorded_types: u32 = 64, "max_recorded_types" number(0, 4_096), "labels", Never, Any,
        "Types reported by the host that get their own figures. Further types are counted as `other`.";
    MaxRecordedClients max_recorded_clients: u32 = 1_024, "max_recorded_clients" number(0, 1_000_000), "clients", Never, Any,
        "Clients with their own figures among those that the host connects to the monitor or records messages of. Further clients are counted as `other`.";
    MaxRecorders max_recorders: u32 = 8, "max_recorders" number(0, 1_024), "recorders", Never, Any,
        "Threads that may have their own recorder at the same time. Further recorders share cells.";
    MaxCustomSeries max_custom_series: u32 = 256, "max_custom_series" number(0, 65_536), "series", Never, Any,
        "Series of the host's own metrics: one for each label set.";
    BucketMinimum bucket_minimum_us: u32 = 1, "bucket_minimum_us" number(1, 1_000_000), "microseconds", Never, Any,
        "The first bound of the histograms of durations for Prometheus is not below this.";
    BucketMaximum bucket_maximum: Duration = Duration::from_secs(10), "bucket_maximum_ms" number(1, 60_000), "milliseconds", Never, Any,
        "The last bound of the histograms of durations for Prometheus is the first that is not below this.";
    BucketsPerOctave buckets_per_octave: u32 = 1, "buckets_per_octave" power_of_two(1, 8), "bounds", Never, Any,
        "Bounds of the histograms of durations for Prometheus from one power of two nanoseconds to the next. Each is the bound of a cell, so every count is exact.";
    TopClients top_clients: u32 = 10, "top_clients" number(1, 1_000), "clients", Monitor, Any,
        "Length of each list of top clients.";
    UnhealthyAfter unhealthy_after: Duration = Duration::from_secs(60), "unhealthy_after_ms" number(1_000, 86_400_000), "milliseconds", Monitor, Any,
        "A connection that has been silent for longer than this counts as unhealthy.";
    ConnectionLimit connection_limit: Option<u32> = None, "connection_limit" number(0, 10_000_000), "connections", Never, Any,
        "Largest number of connections that the host accepts. `system.load.connection_pool_use` is the share of them in use. 0 (`None`) uses `max_clients` instead.";
}
/// Thresholds of the shipped alerts.
thresholds: Thresholds {
    HighMemory memory_bytes: u64 = 1 << 30, "high_memory_threshold_bytes" number(1 << 20, 1 << 50), "bytes", Monitor, Any,
        "The alert `memory` is raised when the resident memory of the process exceeds this.";
    HighConnections connections: u32 = 1_000, "high_connection_threshold" number(1, 10_000_000), "connections", Monitor, Any,
        "The alert `connections` is raised when the number of connections exceeds this.";
    HighErrorRate error_rate: f64 = 0.05, "high_error_rate_threshold" AllowedValues::Fraction, "of the messages", Monitor, Any,
        "The alert `error_rate` is raised when the share of the last minute's messages that failed or expired exceeds this.";
    HighSlowRate slow_rate: f64 = 0.05, "high_slow_rate_threshold" AllowedValues::Fraction, "of the messages", Monitor, Any,
        "The alert `slow_messages` is raised when the share of the last minute's messages that were slow exceeds this.";
    HighP99 p99: Duration = Duration::from_secs(1), "high_p99_threshold_ms" number(1, 3_600_000), "milliseconds", Monitor, Any,
        "The alert `p99` is raised when the 99th percentile of the last minute's handling times exceeds this.";
    HighQueueDepth queue_depth: u32 = 1_000, "high_queue_depth_threshold" number(1, 1_000_000_000), "messages", Monitor, Router,
        "The alert `queue_depth` is raised when the number of messages waiting in all queues exceeds this.";
    HighQueueWait queue_wait: Duration = Duration::from_secs(1), "high_queue_wait_threshold_ms" number(1, 3_600_000), "milliseconds", Monitor, Any,
        "The alert `queue_wait` is raised when the 99th percentile of the last minute's waiting times exceeds this.";
    HighCpu cpu: f64 = 0.9, "high_cpu_threshold" AllowedValues::Fraction, "of the process's cores", Monitor, Any,
        "The alert `cpu` is raised when the process uses more than this share of the cores that it may use.";
}}
