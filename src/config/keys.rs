//! The table of keys: name, unit, range, default and text of each, and the typed setter that takes it.

use super::setting::{Balance, RouteFallback, Setting};
use super::{AllowedValues, Config, Idle};
use crate::clients::{CreditPolicy, MAX_BYTES, MAX_MESSAGES};
use crate::error::Error;
use std::time::Duration;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The key.
    pub key: &'static str,
    /// What its value counts.
    pub unit: &'static str,
    /// What it may be.
    pub values: AllowedValues,
    /// What it is unless set.
    pub default: u64,
    /// What it does.
    pub text: &'static str,
    /// The setter of [`Config`] that takes it as a type, and that type.
    pub setter: (&'static str, &'static str),
}

macro_rules! table {
    ($($variant:ident $key:literal $unit:literal $values:expr, $default:expr, $text:literal =>
        $setter:ident($type:ident);)+) => {
        /// The keys.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        #[repr(usize)]
        pub enum Key { $(#[doc = $text] $variant,)+ }

        /// Every key's row, in the order of [`Key`].
        pub const TABLE: &[Row] = &[$(Row {
            key: $key, unit: $unit, values: $values, default: $default, text: $text,
            setter: (stringify!($setter), stringify!($type)),
        },)+];

        /// One setter per key, for building in one expression. Each refuses what [`Config::set`] refuses.
        impl Config {
            $(
                #[doc = concat!($text, " Sets `", $key, "`.")]
                ///
                /// # Errors
                /// [`Error::Config`] with the key, the value and what is allowed.
                pub fn $setter(self, value: $type) -> Result<Self, Error> {
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
        "Worker threads; 0 for one per core that this process may use."
        => with_workers(u64);
    Pin "pin" "" AllowedValues::Choice(SWITCH), 1,
        "Pin each worker to a core, while there are no more workers than cores."
        => with_pin(bool);
    IdleStrategy "idle" "" AllowedValues::Choice(IDLE), 1,
        "How a worker waits: spin, backoff (spin, yield, then sleep) or park (sleep at once)."
        => with_idle(Idle);
    MaxPorts "max_ports" "ports" number(1, 64), 8,
        "Ports open at once; each has a ring to and from each worker."
        => with_max_ports(u64);
    MaxClients "max_clients" "clients" number(1, 1_000_000), 10_000,
        "Clients connected at once, those still leaving included."
        => with_max_clients(u64);
    RingBytes "ring_bytes" "bytes" AllowedValues::PowerOfTwo { minimum: 4096, maximum: 1 << 26 }, 128 << 10,
        "Capacity of one ring; a record takes at most a quarter of it, and larger messages travel beside it."
        => with_ring_bytes(u64);
    MaxMessage "max_message" "bytes" number(1, 16 << 20), 64 << 10,
        "Largest message; larger ones are refused."
        => with_max_message(u64);
    Batch "batch" "messages" number(1, 65_536), 256,
        "Messages that a worker takes from one ring before it looks at the next."
        => with_batch(u64);
    MaxQueueWait "max_queue_wait_ms" "milliseconds" number(1, 3_600_000), 5_000,
        "A message that has waited longer expires instead of being handled late."
        => with_max_queue_wait(Duration);
    HoldTime "hold_ms" "milliseconds" number(1, 3_600_000), 5_000,
        "How long messages for a name that is not connected are held, from the first of them on."
        => with_hold(Duration);
    HoldPerSender "hold_per_sender" "messages" number(0, 65_536), 64,
        "Messages held for one sender."
        => with_hold_per_sender(u64);
    HoldPerName "hold_per_name" "messages" number(0, 65_536), 256,
        "Messages that one worker holds for one name."
        => with_hold_per_name(u64);
    HoldMessages "hold_messages" "messages" number(0, 1_000_000), 4_096,
        "Messages that one worker holds in all."
        => with_hold_messages(u64);
    HoldBytes "hold_bytes" "bytes" number(0, 1 << 30), 4 << 20,
        "Bytes that one worker holds in all."
        => with_hold_bytes(u64);
    CreditMessages "credit_messages" "messages" number(1, MAX_MESSAGES as u64), 1_024,
        "Messages that a client may have been given and not acknowledged; past it `credit_policy` holds."
        => with_credit_messages(u64);
    CreditBytes "credit_bytes" "bytes" number(1, MAX_BYTES as u64), 1 << 20,
        "Bytes that a client may have been given and not acknowledged; past it `credit_policy` holds."
        => with_credit_bytes(u64);
    BacklogBytes "backlog_bytes" "bytes" AllowedValues::PowerOfTwo { minimum: 4096, maximum: 1 << 28 }, 1 << 20,
        "What a worker keeps for one port whose ring is full, before deliveries are given up."
        => with_backlog_bytes(u64);
    MaxApplications "max_applications" "labels" number(0, 1_024), 32,
        "Applications with figures of their own; further ones are counted as other."
        => with_max_applications(u64);
    MaxRecordedTypes "max_recorded_types" "labels" number(0, 4_096), 64,
        "Types reported by the host that get figures of their own; further ones are counted as other."
        => with_max_recorded_types(u64);
    TouchMemory "touch_memory" "" AllowedValues::Choice(SWITCH), 0,
        "Take all memory from the system when it is reserved, so that no page fault comes later and what the budget states is resident at once."
        => with_touch_memory(bool);
    MemoryLimit "memory_limit_bytes" "bytes" number(0, 1 << 50), 0,
        "Refuse to start with a budget above this; 0 for no limit."
        => with_memory_limit_bytes(u64);
    MaxCalls "max_calls" "calls" number(1, 4_096), 16,
        "Threads that may wait for a routed message's result at once, on one port."
        => with_max_calls(u64);
    RouteFallback "route_fallback" "" AllowedValues::Choice(FALLBACK), 0,
        "What happens to a message that is routed synchronously and cannot be handled: inline (the host's base route takes it over), refuse, or auto (inline where there is a base route, otherwise refuse)."
        => with_route_fallback(RouteFallback);
    ConcurrentRouting "enable_concurrent_routing" "" AllowedValues::Choice(SWITCH), 1,
        "Off: every message goes to the host's base route, on the caller's thread."
        => with_enable_concurrent_routing(bool);
    EnableMetrics "enable_metrics" "" AllowedValues::Choice(SWITCH), 1,
        "Off: a router counts its messages by outcome alone, and messages that the host records are not counted. Figures of messages and clients are null then. The host's own metrics go on."
        => with_enable_metrics(bool);
    CreditPolicy "credit_policy" "" AllowedValues::Choice(CREDIT_POLICY), 0,
        "What a client's lack of credit leads to, unless its connect says otherwise: disconnect it, refuse the message and tell its sender, or drop types listed as droppable (and disconnect for others)."
        => with_credit_policy(CreditPolicy);
    RefusalNotices "refusal_notices" "" AllowedValues::Choice(SWITCH), 1,
        "Whether the policy refuse tells the sender of each message that it refused; off: it is only counted."
        => with_refusal_notices(bool);
    MaxRooms "max_rooms" "rooms" number(0, 1_000_000), 1_024,
        "Rooms that have members at once."
        => with_max_rooms(u64);
    MaxRoomMembers "max_room_members" "clients" number(1, 65_536), 1_024,
        "Members of one room."
        => with_max_room_members(u64);
    MaxClientRooms "max_client_rooms" "rooms" number(1, 4_096), 16,
        "Rooms that one client may be in."
        => with_max_client_rooms(u64);
    RoomRetiredLists "room_retired_lists" "lists" number(1, 65_536), 256,
        "Replaced member lists kept while workers may still read them; past it joining and leaving say to retry."
        => with_room_retired_lists(u64);
    RoomRetiredBytes "room_retired_bytes" "bytes" number(1024, 1 << 30), 4 << 20,
        "Bytes of such lists."
        => with_room_retired_bytes(u64);
    ProcessingTimeout "processing_timeout_ms" "milliseconds" number(1, 3_600_000), 30_000,
        "A worker whose handler has been at one message for longer counts as stalled until it moves on."
        => with_processing_timeout(Duration);
    StopTimeout "stop_timeout_ms" "milliseconds" number(1, 3_600_000), 10_000,
        "How long a stop waits before it gives up the workers whose handlers have not returned."
        => with_stop_timeout(Duration);
    Balance "balance" "" AllowedValues::Choice(BALANCE), 2,
        "Which worker gets a message: round_robin (the next one; keeps no order), hash (the one of the client's name) or least_loaded. The latter two keep each client's order."
        => with_balance(Balance);
    ActiveWorkers "active_workers" "threads" number(0, 64), 0,
        "Workers that messages are placed on at first; 0 for all. Can be changed while the router runs."
        => with_active_workers(u64);
    MaxInFlight "max_in_flight" "messages" number(0, 1_000_000), 0,
        "Messages of one client that may be accepted and not ended, held ones included; 0 for any number."
        => with_max_in_flight(u64);
    ClientRate "client_rate" "messages per second" number(0, 1_000_000), 0,
        "How many messages a client may send per second; 0 for any number."
        => with_client_rate(u64);
    ClientBurst "client_burst" "messages" number(0, 1_000_000), 0,
        "How many of them at once; 0 for a second's worth."
        => with_client_burst(u64);
    MaxConcurrentMessages "max_concurrent_messages" "messages" number(0, 1_000_000_000), 0,
        "Messages of all clients that may be accepted and not ended, held ones included; 0 for any number."
        => with_max_concurrent_messages(u64);
    QueueMessages "queue_messages" "messages" number(0, 1_000_000), 0,
        "Messages that may wait in the ring from one port to one worker; 0 for as many as its bytes take."
        => with_queue_messages(u64);
    Payloads "payloads" "payloads" number(1, 65_536), 256,
        "Payloads that wait outside rings at once: too large for a record, or given away by the host."
        => with_payloads(u64);
    PayloadBytes "payload_bytes" "bytes" number(0, 1 << 40), 16 << 20,
        "Their bytes, those that the host still views included."
        => with_payload_bytes(u64);
    MaxTasks "max_tasks" "messages" number(1, 65_536), 1_024,
        "Messages that one worker may have handed out to the host that drives it and not had back; means nothing without a type that is handed out."
        => with_max_tasks(u64);
    MonitorInterval "monitor_interval_ms" "milliseconds" number(100, 3_600_000), 5_000,
        "How often the monitor looks at the system and at its alert rules. Windows are filled once a second whatever this is. Can be changed while it runs."
        => with_monitor_interval(Duration);
    ReportInterval "report_interval_ms" "milliseconds" number(0, 86_400_000), 60_000,
        "How often the monitor writes its report to whoever has asked for it; 0 for never. Can be changed while it runs."
        => with_report_interval(Duration);
    SlowMessageThreshold "slow_message_threshold_ms" "milliseconds" number(1, 3_600_000), 1_000,
        "A message that has waited and been handled for longer, both together, is slow: counted by type and listed. Can be changed while it runs."
        => with_slow_message_threshold(Duration);
    SlowMessages "slow_messages" "messages" number(1, 10_000), 100,
        "Slow messages that are listed, the latest ones; alike ones are one entry."
        => with_slow_messages(u64);
    HighMemory "high_memory_threshold_bytes" "bytes" number(1 << 20, 1 << 50), 1 << 30,
        "Resident memory of the process above which the alert `memory` is raised. Can be changed while it runs."
        => with_high_memory_threshold_bytes(u64);
    HighConnections "high_connection_threshold" "connections" number(1, 10_000_000), 1_000,
        "Connections above which the alert `connections` is raised. Can be changed while it runs."
        => with_high_connection_threshold(u64);
    ConnectionLimit "connection_limit" "connections" number(0, 10_000_000), 0,
        "Connections past which the host lets no other in: what `system.load.connection_pool_use` is a share of; 0 where that is `max_clients`."
        => with_connection_limit(u64);
    HighErrorRate "high_error_rate_threshold" "of the messages" AllowedValues::Fraction, 50_000,
        "Share of the last minute's messages that failed or expired above which the alert `error_rate` is raised. Can be changed while it runs."
        => with_high_error_rate_threshold(f64);
    HighSlowRate "high_slow_rate_threshold" "of the messages" AllowedValues::Fraction, 50_000,
        "Share of the last minute's messages that were slow above which the alert `slow_messages` is raised. Can be changed while it runs."
        => with_high_slow_rate_threshold(f64);
    HighP99 "high_p99_threshold_ms" "milliseconds" number(1, 3_600_000), 1_000,
        "99th percentile of the last minute's handling times above which the alert `p99` is raised. Can be changed while it runs."
        => with_high_p99_threshold(Duration);
    HighQueueDepth "high_queue_depth_threshold" "messages" number(1, 1_000_000_000), 1_000,
        "Messages waiting in all queues above which the alert `queue_depth` is raised. Can be changed while it runs."
        => with_high_queue_depth_threshold(u64);
    HighQueueWait "high_queue_wait_threshold_ms" "milliseconds" number(1, 3_600_000), 1_000,
        "99th percentile of the last minute's waiting times above which the alert `queue_wait` is raised. Can be changed while it runs."
        => with_high_queue_wait_threshold(Duration);
    HighCpu "high_cpu_threshold" "of the process's cores" AllowedValues::Fraction, 900_000,
        "Share of the cores that it may use which the process takes above which the alert `cpu` is raised. Can be changed while it runs."
        => with_high_cpu_threshold(f64);
    DetailedStats "detailed_stats" "" AllowedValues::Choice(SWITCH), 1,
        "Figures for each client, windows for each type, protocol and application. Off: these are null, and no memory is reserved for them. Can be switched off and on while it runs where it was on at the start."
        => with_detailed_stats(bool);
    StatsRetention "stats_retention_hours" "hours" number(1, 168), 24,
        "How long figures are kept, at falling resolution: seconds for a minute, minutes for an hour, then quarters of an hour."
        => with_stats_retention_hours(u64);
    MaxWindowedSeries "max_windowed_series" "series" number(4, 1_024), 64,
        "Types, protocols and applications with windows of their own; what comes later has only figures since the start. About 0.7 MiB each, at most."
        => with_max_windowed_series(u64);
    MaxRecorders "max_recorders" "recorders" number(0, 1_024), 8,
        "Threads with a recorder to themselves at once; further ones share cells."
        => with_max_recorders(u64);
    MaxRecordedClients "max_recorded_clients" "clients" number(0, 1_000_000), 1_024,
        "Clients that the host connects to the monitor, or records messages of, with figures of their own; further ones are counted as other."
        => with_max_recorded_clients(u64);
    MaxCustomSeries "max_custom_series" "series" number(0, 65_536), 256,
        "Series of the host's own metrics: one for each set of label values."
        => with_max_custom_series(u64);
    TopClients "top_clients" "clients" number(1, 1_000), 10,
        "Clients in each list of those with the most. Can be changed while it runs."
        => with_top_clients(u64);
    UnhealthyAfter "unhealthy_after_ms" "milliseconds" number(1_000, 86_400_000), 60_000,
        "A connection that has been silent for longer counts as unhealthy. Can be changed while it runs."
        => with_unhealthy_after(Duration);
    EnableLogging "enable_logging" "" AllowedValues::Choice(SWITCH), 0,
        "Whether the monitor logs what happens: alerts and slow messages (`tracing`). Can be changed while it runs."
        => with_enable_logging(bool);
}
