// Writes corelane.json, the dashboard for Grafana 10 and later: node docs/grafana/make.mjs. With --check it compares only.
//
// Every query is limited to $job and $instance, those of messages to $protocol and $type too. A host has routed messages, recorded
// messages, or both; `both` adds them up.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FILE = fileURLToPath(new URL("corelane.json", import.meta.url));
const DATASOURCE = { type: "prometheus", uid: "${datasource}" };
const RANGE = "[$__rate_interval]";
/** Width of the grid. */
const WIDTH = 24;

const HOST = 'job=~"$job", instance=~"$instance"';
const TYPE = `${HOST}, protocol=~"$protocol", message_type=~"$type"`;

// ---------------------------------------------------------------------------------------------------- queries

const of = (name, labels = "") => `${name}{${HOST}${labels && `, ${labels}`}}`;
const ofType = (name) => `${name}{${TYPE}}`;
const rate = (series) => `rate(${series}${RANGE})`;
const sum = (by, what) => `sum by (${by}) (${what})`;
/** Routed and recorded messages. The label `source` keeps equal series apart. */
const both = (routed, recorded) => `${routed} or label_replace(${recorded}, "source", "recorded", "", "")`;

const DELIVERED = rate(ofType("corelane_messages_delivered_total"));
const EXPIRED = rate(ofType("corelane_messages_expired_total"));
const FAILED = `sum without (reason) (${rate(ofType("corelane_messages_failed_total"))})`;
const RECORDED = rate(ofType("corelane_recorded_messages_total"));
/** Messages that ended, with the label outcome. */
const ENDED = [
  `label_replace(${DELIVERED}, "outcome", "ok", "", "")`,
  `label_replace(${EXPIRED}, "outcome", "expired", "", "")`,
  both(`label_replace(${FAILED}, "outcome", "failed", "", "")`, RECORDED),
].join(" or ");
/** The same without those that ended well. */
const BAD = [
  `label_replace(${EXPIRED}, "outcome", "expired", "", "")`,
  both(
    `label_replace(${FAILED}, "outcome", "failed", "", "")`,
    RECORDED.replace('message_type=~"$type"', 'message_type=~"$type", outcome!="ok"'),
  ),
].join(" or ");

const HANDLING = both(
  rate(ofType("corelane_message_duration_seconds_bucket")),
  rate(ofType("corelane_recorded_duration_seconds_bucket")),
);
const WAIT = both(
  rate(of("corelane_message_queue_duration_seconds_bucket")),
  rate(ofType("corelane_recorded_queue_duration_seconds_bucket")),
);
const WRITE = rate(of("corelane_message_write_duration_seconds_bucket"));
const HELD = rate(of("corelane_message_held_duration_seconds_bucket"));
const LIVED = rate(of("corelane_connection_duration_seconds_bucket"));
const quantile = (part, buckets, by = "") => `histogram_quantile(${part}, ${sum(`${by}le`, buckets)})`;
const quantiles = (buckets) => [
  [quantile(0.5, buckets), "P50"],
  [quantile(0.95, buckets), "P95"],
  [quantile(0.99, buckets), "P99"],
];

// ---------------------------------------------------------------------------------------------------- panels

const target = ([expr, legend], index, more = {}) => ({
  datasource: DATASOURCE,
  editorMode: "code",
  expr,
  legendFormat: legend,
  range: true,
  refId: String.fromCharCode(65 + index),
  ...more,
});

const panel = (type, title, description, size, targets, unit, { defaults = {}, options = {}, ...more } = {}) => ({
  type,
  title,
  description,
  size,
  datasource: DATASOURCE,
  fieldConfig: { defaults: { unit, ...defaults }, overrides: [] },
  options,
  targets,
  ...more,
});

/** Lines over time. `queries`: [expression, legend]. */
function lines(title, description, unit, queries, { stack = false, width = 8, max } = {}) {
  const custom = {
    drawStyle: "line",
    fillOpacity: stack ? 30 : 8,
    lineWidth: 1,
    showPoints: "never",
    spanNulls: false,
    stacking: { mode: stack ? "normal" : "none", group: "A" },
  };
  const options = {
    legend: { calcs: [], displayMode: "list", placement: "bottom", showLegend: true },
    tooltip: { mode: "multi", sort: "desc" },
  };
  const defaults = { custom, min: 0, ...(max === undefined ? {} : { max }) };
  const targets = queries.map((query, index) => target(query, index));
  return panel("timeseries", title, description, [width, 8], targets, unit, { defaults, options });
}

/** One number. `steps`: [value, colour] from which the colour changes. */
function number(title, description, unit, expr, steps = [], width = 4) {
  const thresholds = {
    mode: "absolute",
    steps: [["green"], ...steps].map(([value, color]) => (color ? { value, color } : { value: null, color: value })),
  };
  const options = {
    colorMode: steps.length ? "background" : "value",
    graphMode: "area",
    justifyMode: "center",
    orientation: "auto",
    percentChangeColorMode: "standard",
    reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false },
    showPercentChange: false,
    textMode: "auto",
    wideLayout: true,
  };
  const defaults = { thresholds, color: { mode: "thresholds" } };
  return panel("stat", title, description, [width, 4], [target([expr, ""], 0)], unit, { defaults, options });
}

/** Buckets over time. */
function heatmap(title, description, buckets, width = 8) {
  const options = {
    calculate: false,
    cellGap: 1,
    color: { mode: "scheme", scheme: "Oranges", fill: "dark-orange", steps: 64, exponent: 0.5, scale: "exponential", reverse: false },
    exemplars: { color: "rgba(255,0,255,0.7)" },
    filterValues: { le: 1e-9 },
    legend: { show: true },
    rowsFrame: { layout: "auto" },
    showValue: "never",
    tooltip: { mode: "single", yHistogram: false },
    yAxis: { axisPlacement: "left", reverse: false, unit: "s" },
  };
  const one = target([sum("le", buckets), "{{le}}"], 0, { format: "heatmap" });
  return panel("heatmap", title, description, [width, 8], [one], "s", { options });
}

/** A table of the present values, one column per query. `columns`: [expression, heading, unit]. */
function table(title, description, columns, labels, width = 24) {
  const targets = columns.map(([expr], index) =>
    target([expr, ""], index, { format: "table", instant: true, range: false }),
  );
  const renamed = Object.fromEntries(columns.map(([, heading], index) => [value(index, columns), heading]));
  const overrides = columns.map(([, heading, unit]) => ({
    matcher: { id: "byName", options: heading },
    properties: [{ id: "unit", value: unit }],
  }));
  const made = panel("table", title, description, [width, 8], targets, "short", {
    options: { cellHeight: "sm", frameIndex: 0, showHeader: true },
    transformations: [
      ...(columns.length > 1 ? [{ id: "merge", options: {} }] : []),
      { id: "organize", options: { excludeByName: { Time: true, __name__: true, job: true }, renameByName: renamed } },
    ],
  });
  made.fieldConfig.overrides = overrides;
  made.labels = labels;
  return made;
}

const value = (index, columns) => (columns.length > 1 ? `Value #${String.fromCharCode(65 + index)}` : "Value");

// ---------------------------------------------------------------------------------------------------- rows

const rows = {
  Overview: [
    number("Servers up", "Targets that Prometheus can scrape.", "short", `sum(up{${HOST}})`, [], 3),
    number("Messages per second", "Messages that ended, routed and recorded.", "ops", `sum(${ENDED})`, [], 4),
    number("Errors", "Share of the messages that failed or expired.", "percentunit", `sum(${BAD}) / (sum(${ENDED}) > 0)`, [[0.01, "orange"], [0.05, "red"]], 4),
    number("P99", "99th percentile of the handling time.", "s", quantile(0.99, HANDLING), [[0.1, "orange"], [1, "red"]], 4),
    number("Connections", "Clients that are connected.", "short", `sum(${of("corelane_connections_open")})`, [], 3),
    number("Queued", "Messages that wait for a worker, and deliveries that wait for a port.", "short", `sum(${of("corelane_worker_queue_messages")}) + sum(${of("corelane_deliveries_queued")})`, [[100, "orange"], [1000, "red"]], 3),
    number("Firing alerts", "Alerts of the monitor itself.", "short", `sum(${of("corelane_alerts_firing")})`, [[1, "red"]], 3),
    lines("Messages by outcome", "Messages that ended, per second.", "ops", [[sum("outcome", ENDED), "{{outcome}}"]], { stack: true, width: 12 }),
    lines("Firing alerts by rule", "Alerts of the monitor itself. Its page says since when and why.", "short", [[`${sum("instance, alert, severity", of("corelane_alerts_firing"))} > 0`, "{{instance}} {{alert}} ({{severity}})"]], { width: 12 }),
    table("Servers", "", [
      [sum("instance, version", of("corelane_build_info")), "Running", "short"],
      [`time() - ${sum("instance", of("corelane_start_time_seconds"))}`, "Up for", "s"],
      [sum("instance", of("corelane_connections_open")), "Connections", "short"],
      [sum("instance", ENDED), "Messages per second", "ops"],
      [quantile(0.99, HANDLING, "instance, "), "P99", "s"],
      [sum("instance", of("process_resident_memory_bytes")), "Resident memory", "bytes"],
    ]),
  ],
  Messages: [
    lines("By type", "Messages that ended, per second.", "ops", [[sum("protocol, message_type", ENDED), "{{protocol}} {{message_type}}"]], { stack: true }),
    lines("Failures by reason", "docs/reasons.md says what each reason means.", "ops", [[`${sum("reason", rate(ofType("corelane_messages_failed_total")))} > 0`, "{{reason}}"]]),
    lines("Error rate by type", "Share of the messages that failed or expired.", "percentunit", [[`${sum("protocol, message_type", BAD)} / (${sum("protocol, message_type", ENDED)} > 0)`, "{{protocol}} {{message_type}}"]], { max: 1 }),
    lines("Slow messages by type", "Messages that took longer than slow_message_threshold_ms.", "ops", [[sum("protocol, message_type", both(rate(ofType("corelane_slow_messages_total")), rate(ofType("corelane_recorded_slow_total")))), "{{protocol}} {{message_type}}"]]),
    lines("By application", "Messages that ended, per second.", "ops", [[sum("app", both(rate(of("corelane_app_messages_total")), rate(of("corelane_recorded_app_messages_total")))), "{{app}}"]], { stack: true }),
    lines("Held and expired", "Messages for recipients that are not connected.", "short", [[`sum(${of("corelane_messages_held")})`, "held now"], [`sum(${EXPIRED})`, "expired per second"]]),
    lines("Bytes", "Payload bytes per second.", "Bps", [[`sum(${rate(of("corelane_received_bytes_total"))})`, "received"], [`sum(${rate(of("corelane_sent_bytes_total"))})`, "sent"]]),
    lines("Bytes by type", "Payload bytes per second.", "Bps", [[sum("protocol, message_type", both(rate(ofType("corelane_message_bytes_total")), rate(ofType("corelane_recorded_bytes_total")))), "{{protocol}} {{message_type}}"]], { stack: true }),
    lines("Names without a series", "Connects and recorded names that were folded into the series other.", "ops", [[sum("label", both(rate(of("corelane_label_overflows_total")), rate(of("corelane_recorded_folded_total")))), "{{label}}"]]),
    table("Types", "", [
      [sum("protocol, message_type", ENDED), "Per second", "ops"],
      [`${sum("protocol, message_type", BAD)} / (${sum("protocol, message_type", ENDED)} > 0)`, "Errors", "percentunit"],
      [quantile(0.5, HANDLING, "protocol, message_type, "), "P50", "s"],
      [quantile(0.99, HANDLING, "protocol, message_type, "), "P99", "s"],
    ]),
  ],
  Latency: [
    heatmap("Handling time", "From leaving the ingress ring to the end of the message. Excludes the queue wait.", HANDLING),
    lines("Handling time", "A percentile is interpolated inside a bucket; buckets are a factor of two apart.", "s", quantiles(HANDLING)),
    lines("P99 of the handling time by type", "", "s", [[quantile(0.99, HANDLING, "protocol, message_type, "), "{{protocol}} {{message_type}}"]]),
    heatmap("Queue wait", "From the socket to the worker.", WAIT),
    lines("Queue wait", "From the socket to the worker.", "s", quantiles(WAIT)),
    lines("P99 of the handling time by application", "", "s", [[quantile(0.99, both(rate(of("corelane_app_message_duration_seconds_bucket")), rate(of("corelane_recorded_app_duration_seconds_bucket"))), "app, "), "{{app}}"]]),
    heatmap("Write time", "From the poll that hands a delivery out to its acknowledgement.", WRITE),
    lines("Write time", "From the poll that hands a delivery out to its acknowledgement.", "s", quantiles(WRITE)),
    lines("Hold time", "Of held messages that were delivered or have expired.", "s", quantiles(HELD)),
  ],
  Connections: [
    lines("Connected clients", "", "short", [[sum("instance", of("corelane_connections_open")), "{{instance}}"]]),
    lines("By application", "", "short", [[sum("app", of("corelane_app_connections_open")), "{{app}}"]], { stack: true }),
    lines("Use of the limits", "Connections that count against a limit, by pool.", "percentunit", [[`max by (instance, pool) (${of("corelane_connection_pool_open")} / (${of("corelane_connection_pool_limit")} > 0))`, "{{instance}} {{pool}}"]], { max: 1 }),
    lines("Connects and disconnects", "Per second.", "ops", [
      [`sum(${rate(of("corelane_connections_opened_total"))})`, "connects"],
      [`sum(${rate(of("corelane_connections_closed_total"))})`, "disconnects"],
      [`sum(${rate(of("corelane_reconnect_attempts_total"))})`, "reconnect attempts"],
    ]),
    lines("Health", "Silent for longer than unhealthy_after_ms counts as unhealthy.", "short", [[sum("health", of("corelane_connections_by_health")), "{{health}}"]], { stack: true }),
    lines("Duration", "Of connections that have ended.", "s", quantiles(LIVED)),
    lines("Sockets by state", "Of the bundled server.", "short", [[sum("state", of("peerjs_sockets")), "{{state}}"]], { stack: true }),
    lines("Connects by application", "Per second.", "ops", [[sum("app", rate(of("corelane_app_connections_opened_total"))), "{{app}}"]], { stack: true }),
    heatmap("Duration", "Of connections that have ended.", LIVED),
  ],
  "Path of a message": [
    lines("From port to port", "Each step per second. A gap between two lines is what is refused, fails, or waits.", "ops", [
      [`sum(${rate(of("corelane_messages_submitted_total"))})`, "submitted"],
      [`sum(${rate(ofType("corelane_messages_received_total"))})`, "taken by workers"],
      [`sum(${rate(of("corelane_deliveries_total"))})`, "deliveries"],
      [`sum(${rate(of("corelane_port_deliveries_total"))})`, "handed out"],
      [`sum(${rate(of("corelane_port_acknowledged_total"))})`, "acknowledged"],
    ]),
    lines("Where messages wait", "", "short", [
      [`sum(${of("corelane_path_ingress_messages")})`, "for a worker"],
      [`sum(${of("corelane_path_egress_messages")})`, "for a port"],
      [`sum(${of("corelane_messages_held")})`, "for a recipient (held)"],
      [`sum(${of("corelane_payloads_waiting")})`, "out-of-line payloads"],
    ]),
    lines("In flight", "Accepted messages that have not ended. The limit is max_concurrent_messages, 0 for none.", "short", [
      [`sum(${of("corelane_messages_in_flight")})`, "in flight"],
      [`sum(${of("corelane_messages_permitted")})`, "limit"],
    ]),
    lines("Load of the workers", "Share of its time that a worker is busy.", "percentunit", [[`${rate(of("corelane_worker_busy_seconds_total"))} / (${rate(of("corelane_worker_busy_seconds_total"))} + ${rate(of("corelane_worker_idle_seconds_total"))} > 0)`, "{{instance}} worker {{worker}}"]], { max: 1 }),
    lines("Messages by worker", "Per second.", "ops", [[sum("instance, worker", rate(of("corelane_worker_messages_total"))), "{{instance}} worker {{worker}}"]], { stack: true }),
    lines("Queue of the workers", "Records in ingress rings, and the most that waited at once.", "short", [
      [sum("instance, worker", of("corelane_worker_queue_messages")), "{{instance}} worker {{worker}}"],
      [`max by (instance, worker) (${of("corelane_worker_queue_peak_messages")})`, "{{instance}} worker {{worker}} peak"],
    ]),
    lines("Batches of the workers", "Per second. Full batches show that more waited.", "ops", [
      [`sum(${rate(of("corelane_worker_batches_total"))})`, "batches"],
      [`sum(${rate(of("corelane_worker_full_batches_total"))})`, "full batches"],
      [`sum(${rate(of("corelane_worker_parks_total"))})`, "sleeps"],
      [`sum(${rate(of("corelane_worker_wakeups_total"))})`, "wake-ups of ports"],
    ]),
    lines("Faults of the workers", "Stalled: the handler exceeds processing_timeout_ms.", "short", [
      [sum("instance", of("corelane_worker_stalled")), "{{instance}} stalled"],
      [`${sum("instance", of("corelane_worker_lost"))} + ${sum("instance", of("corelane_worker_given_up"))}`, "{{instance}} lost"],
      [sum("instance", rate(of("corelane_worker_handler_panics_total"))), "{{instance}} panics per second"],
      [sum("instance", of("corelane_worker_corrupt_rings_total")), "{{instance}} corrupt rings"],
    ]),
    lines("Running handler", "Time that the running handler has spent on its message.", "s", [[`max by (instance, worker) (${of("corelane_worker_message_age_seconds")})`, "{{instance}} worker {{worker}}"]]),
    lines("Ports", "Deliveries handed out, per second.", "ops", [[sum("instance, port", rate(of("corelane_port_deliveries_total"))), "{{instance}} port {{port}}"]], { stack: true }),
    lines("Ports: to the workers", "Records in ingress rings.", "short", [[sum("instance, port, worker", of("corelane_path_ingress_messages")), "{{instance}} {{port}} → {{worker}}"]]),
    lines("Ports: from the workers", "Deliveries in egress rings.", "short", [[sum("instance, port, worker", of("corelane_path_egress_messages")), "{{instance}} {{worker}} → {{port}}"]]),
    lines("Placement", "Per second: submissions for which another worker would have been better, and moves made.", "ops", [
      [`sum(${rate(of("corelane_placement_moves_wanted_total"))})`, "wanted"],
      [`sum(${rate(of("corelane_placement_moves_total"))})`, "made"],
    ]),
    lines("Out-of-line payloads", "Bytes, and the limit payload_bytes.", "bytes", [
      [`sum(${of("corelane_payload_bytes")})`, "in use"],
      [`sum(${of("corelane_payload_limit_bytes")})`, "limit"],
    ]),
    lines("Rooms", "Room messages and their recipients, per second; rooms and members.", "short", [
      [`sum(${rate(of("corelane_room_messages_total"))})`, "messages per second"],
      [`sum(${rate(of("corelane_room_recipients_total"))})`, "recipients per second"],
      [`sum(${of("corelane_rooms_open")})`, "rooms"],
      [`sum(${of("corelane_room_members")})`, "members"],
    ]),
  ],
  "Slow recipients and refusals": [
    lines("Refused messages by reason", "Messages that a port did not accept.", "ops", [[`${sum("reason", rate(of("corelane_messages_refused_total")))} > 0`, "{{reason}}"]]),
    lines("Refused connections by reason", "Of the bundled server.", "ops", [[`${sum("reason", rate(of("peerjs_refused_total")))} > 0`, "{{reason}}"]]),
    lines("Refused requests of the monitor", "Of the monitor's address.", "ops", [[`${sum("reason", rate(of("corelane_http_refused_total")))} > 0`, "{{reason}}"]]),
    lines("Dropped deliveries by reason", "Given up before they were handed out.", "ops", [[`${sum("reason", rate(of("corelane_deliveries_dropped_total")))} > 0`, "{{reason}}"]]),
    lines("Unacknowledged deliveries by reason", "Handed out, and never acknowledged.", "ops", [[`${sum("reason", rate(of("corelane_deliveries_unacknowledged_total")))} > 0`, "{{reason}}"]]),
    lines("Clients closed by the router", "By reason.", "ops", [[sum("instance, reason", rate(of("corelane_clients_expelled_total"))), "{{instance}} {{reason}}"]]),
    lines("Full egress rings", "Deliveries per second that were lost because egress ring and backlog were full, or that went through the backlog.", "ops", [
      [sum("instance, port", rate(of("corelane_path_egress_full_total"))), "{{instance}} port {{port}} lost"],
      [sum("instance, worker", rate(of("corelane_worker_backlogged_total"))), "{{instance}} worker {{worker}} backlogged"],
    ]),
    lines("Use of the backlogs", "The fullest backlog of each port.", "percentunit", [[`max by (instance, port) (${of("corelane_path_backlog_bytes")} / on (job, instance) group_left () (${of("corelane_backlog_capacity_bytes")} > 0))`, "{{instance}} port {{port}}"]], { max: 1 }),
    lines("Most unacknowledged bytes of one client", "Since the start, by port. Compare with credit_bytes.", "bytes", [[`max by (instance, port) (${of("corelane_port_outstanding_peak_bytes")})`, "{{instance}} port {{port}}"]]),
    lines("Base route", "Messages that the host's base route handled instead, by reason.", "ops", [[sum("reason", rate(of("corelane_messages_taken_over_total"))), "{{reason}}"]]),
    lines("Refused joins and leaves", "Of rooms, by reason.", "ops", [[sum("reason", rate(of("corelane_room_refused_total"))), "{{reason}}"]]),
    lines("Policies without credit", "Refused, or dropped because the type is droppable, per second.", "ops", [
      [`sum(${rate(of("corelane_worker_credit_refusals_total"))})`, "refused"],
      [`sum(${rate(of("corelane_worker_credit_drops_total"))})`, "dropped"],
    ]),
  ],
  Cluster: [
    table("Machines", "As each machine sees itself. Empty without a cluster.", [
      [`max by (instance, state) (${of("corelane_cluster_state")} == 1)`, "In this state", "short"],
    ]),
    lines("Not well", "1 while NATS does not answer or refuses, or while the machine is fenced.", "short", [
      [sum("instance", of("corelane_cluster_unavailable")), "{{instance}} unavailable"],
      [sum("instance", of("corelane_cluster_fenced")), "{{instance}} fenced"],
    ], { max: 1 }),
    lines("Links", "1 while messages flow from one machine to the other.", "short", [[sum("instance, machine", of("corelane_cluster_link_up")), "{{instance}} → {{machine}}"]], { max: 1 }),
    lines("Messages between machines", "Per second.", "ops", [[sum("instance, machine", rate(of("corelane_cluster_link_sent_total"))), "{{instance}} → {{machine}}"]]),
    lines("Not delivered by other machines", "Per second: gone (the recipient had left), lost on the way, rejected.", "ops", [
      [sum("instance, machine", rate(of("corelane_cluster_link_gone_total"))), "{{instance}} → {{machine}} gone"],
      [sum("instance, machine", rate(of("corelane_cluster_link_lost_total"))), "{{instance}} → {{machine}} lost"],
      [sum("instance, machine", rate(of("corelane_cluster_link_rejected_total"))), "{{instance}} → {{machine}} rejected"],
    ]),
    lines("Round trip", "Time from a frame to its acknowledgement.", "s", [[`max by (instance, machine) (${of("corelane_cluster_link_round_trip_seconds")})`, "{{instance}} → {{machine}}"]]),
    lines("In flight", "Messages without an acknowledgement.", "short", [[sum("instance, machine", of("corelane_cluster_link_in_flight")), "{{instance}} → {{machine}}"]]),
    lines("Names", "Of the machine's own clients, and all that it knows.", "short", [
      [sum("instance", of("corelane_cluster_names_owned")), "{{instance}} own"],
      [sum("instance", of("corelane_cluster_names_known")), "{{instance}} known"],
      [sum("instance", of("corelane_cluster_names_left_out_total")), "{{instance}} without room"],
      [sum("instance", of("corelane_cluster_rooms_left_out_total")), "{{instance}} rooms without a place"],
      [sum("instance", of("corelane_cluster_names_asked")), "{{instance}} without room, kept"],
    ]),
    lines("Names asked for", "Per second, at the leader: names that have no room in the directory.", "ops", [
      [sum("instance", rate(of("corelane_cluster_asks_found_total"))), "{{instance}} found"],
      [sum("instance", rate(of("corelane_cluster_asks_nowhere_total"))), "{{instance}} nowhere"],
      [sum("instance", rate(of("corelane_cluster_asks_failed_total"))), "{{instance}} without an answer"],
      [sum("instance", rate(of("corelane_cluster_names_evicted_total"))), "{{instance}} evicted"],
    ]),
    lines("Directory", "Changes that the machine has not seen, and claims without an answer.", "short", [
      [sum("instance", of("corelane_cluster_directory_lag")), "{{instance}} behind"],
      [sum("instance", of("corelane_cluster_claims_in_flight")), "{{instance}} claims"],
    ]),
  ],
  System: [
    lines("Processor", "Cores that the process uses.", "short", [[sum("instance", rate(of("process_cpu_seconds_total"))), "{{instance}}"]]),
    lines("Processor, share", "Of what the process may use, and of the whole machine by all processes.", "percentunit", [
      [sum("instance", of("corelane_cpu_ratio")), "{{instance}} process"],
      [sum("instance", of("corelane_system_cpu_ratio")), "{{instance}} machine"],
    ], { max: 1 }),
    lines("Load average", "Over one minute, and the number of cores.", "short", [
      [sum("instance", of("corelane_system_load1")), "{{instance}}"],
      [sum("instance", of("corelane_system_cpus")), "{{instance}} cores"],
    ]),
    lines("Memory of the process", "", "bytes", [
      [sum("instance", of("process_resident_memory_bytes")), "{{instance}} resident"],
      [sum("instance", of("corelane_heap_bytes")), "{{instance}} heap"],
    ]),
    lines("Memory of the machine", "", "bytes", [
      [sum("instance", of("corelane_system_memory_available_bytes")), "{{instance}} available"],
      [sum("instance", of("corelane_system_memory_size_bytes")), "{{instance}} size"],
    ]),
    lines("Limit of the control groups", "Memory that the control groups may still use. Empty without a limit.", "bytes", [[sum("instance", of("corelane_system_memory_limit_free_bytes")), "{{instance}}"]]),
    lines("File descriptors", "", "short", [
      [sum("instance", of("process_open_fds")), "{{instance}} open"],
      [sum("instance", of("process_max_fds")), "{{instance}} limit"],
    ]),
    lines("Threads", "", "short", [[sum("instance", of("corelane_threads")), "{{instance}}"]]),
    lines("Go runtime", "Of hosts in Go. Empty for others.", "short", [[sum("instance", of("corelane_runtime_goroutines")), "{{instance}} goroutines"]]),
    lines("Cost of the monitor", "Processor time per second.", "percentunit", [[sum("instance", rate(of("corelane_monitor_cpu_seconds_total"))), "{{instance}}"]]),
    lines("Collections of the monitor", "Duration of the last and of the longest.", "s", [
      [`max by (instance) (${of("corelane_monitor_collection_last_seconds")})`, "{{instance}} last"],
      [`max by (instance) (${of("corelane_monitor_collection_peak_seconds")})`, "{{instance}} longest"],
    ]),
    lines("Losses of the monitor", "What it could not hand on, since the start.", "short", [
      [sum("instance", of("corelane_reports_dropped_total")), "{{instance}} reports"],
      [sum("instance", of("corelane_reports_failed_total")), "{{instance}} report files"],
      [sum("instance", of("corelane_alert_notifications_dropped_total")), "{{instance}} alert notifications"],
      [sum("instance", of("peerjs_log_lines_dropped_total")), "{{instance}} log lines"],
    ]),
  ],
};

// ---------------------------------------------------------------------------------------------------- the dashboard

/** The panels of all rows, placed from left to right. The first two rows are open, the others are folded. */
function placed() {
  let [id, y] = [1, 0];
  const all = [];
  for (const [title, panels] of Object.entries(rows)) {
    const row = { id: id++, type: "row", title, collapsed: y > 0 && title !== "Messages", panels: [] };
    row.gridPos = { x: 0, y: y++, w: WIDTH, h: 1 };
    all.push(row);
    let [x, height] = [0, 0];
    for (const { size: [w, h], labels: _, ...one } of panels) {
      if (x + w > WIDTH) [x, y, height] = [0, y + height, 0];
      (row.collapsed ? row.panels : all).push({ id: id++, ...one, gridPos: { x, y, w, h } });
      [x, height] = [x + w, Math.max(height, h)];
    }
    y += height;
  }
  return all;
}

const variable = (name, label, query) => ({
  type: "query",
  name,
  label,
  datasource: DATASOURCE,
  definition: query,
  query: { query, refId: `variable-${name}` },
  includeAll: true,
  allValue: ".*",
  multi: true,
  refresh: 2,
  sort: 1,
  current: { selected: true, text: ["All"], value: ["$__all"] },
});

const MESSAGES = `{__name__=~"corelane_messages_received_total|corelane_recorded_messages_total", ${HOST}}`;
const dashboard = {
  title: "corelane",
  uid: "corelane",
  description: "Messages, latency, connections, queues and refusals of servers with corelane.",
  tags: ["corelane", "webrtc", "signaling"],
  schemaVersion: 38,
  version: 1,
  editable: true,
  graphTooltip: 1,
  refresh: "30s",
  time: { from: "now-1h", to: "now" },
  timezone: "browser",
  templating: {
    list: [
      { type: "datasource", name: "datasource", label: "Data source", query: "prometheus", current: { selected: false, text: "default", value: "default" }, refresh: 1 },
      variable("job", "Job", "label_values(corelane_build_info, job)"),
      variable("instance", "Instance", 'label_values(corelane_build_info{job=~"$job"}, instance)'),
      variable("protocol", "Protocol", `label_values(${MESSAGES}, protocol)`),
      variable("type", "Type", `label_values(${MESSAGES.replace("}", ', protocol=~"$protocol"}')}, message_type)`),
    ],
  },
  annotations: {
    list: [
      {
        name: "Starts",
        datasource: DATASOURCE,
        enable: true,
        iconColor: "blue",
        expr: `changes(${of("corelane_start_time_seconds")}[2m]) > 0`,
        titleFormat: "{{instance}} has started",
      },
    ],
  },
  links: [],
  panels: placed(),
};

const text = `${JSON.stringify(dashboard, null, 1)}\n`;
if (process.argv.includes("--check")) {
  if (readFileSync(FILE, "utf8") !== text) {
    console.error("docs/grafana/corelane.json is not what make.mjs writes: run node docs/grafana/make.mjs");
    process.exit(1);
  }
} else {
  writeFileSync(FILE, text);
}
