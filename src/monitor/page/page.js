// The page of a monitor. With figures in #figures it is a frozen report; otherwise it reads /api/events and stays live.
(() => {
"use strict";

// ------------------------------------------------------------------------------------------------ small helpers

const byId = (id) => document.getElementById(id);
const DASH = "–";
const MINUTE = 60_000;

/** Text of a peer or host. Characters that change the direction of the text could disguise a name. */
const safe = (text) => String(text).replace(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

/** Creates an element. Strings become text nodes, never HTML. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.map((child) => (child instanceof Node ? child : safe(child))));
  return element;
}

function setText(element, text) {
  const shown = safe(text);
  if (element.textContent !== shown) element.textContent = shown;
}

function setClass(element, name) {
  if (element.className !== name) element.className = name;
}

/** Makes the children of `parent` one element per item, reusing those of the same key. */
function keyed(parent, items, keyOf, create, update) {
  const known = (parent.known ??= new Map());
  const seen = new Set();
  let at = parent.firstChild;
  items.forEach((item, place) => {
    const key = keyOf(item, place);
    if (seen.has(key)) return;
    seen.add(key);
    let element = known.get(key);
    if (!element) known.set(key, (element = create(item)));
    update(element, item);
    if (element === at) at = at.nextSibling;
    else parent.insertBefore(element, at);
  });
  for (const [key, element] of known) {
    if (seen.has(key)) continue;
    element.remove();
    known.delete(key);
  }
}

function store(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(key);
    localStorage.setItem(key, value);
  } catch {
    // Storage is off, for example in a file.
  }
  return null;
}

const svgNode = (name) => document.createElementNS("http://www.w3.org/2000/svg", name);

/** A small line without axes. `update(values)` takes numbers and nulls. */
function spark() {
  const svg = svgNode("svg");
  svg.setAttribute("viewBox", "0 0 100 24");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const [area, line] = [svgNode("path"), svgNode("path")];
  area.setAttribute("class", "area");
  line.setAttribute("class", "line");
  svg.append(area, line);
  const update = (values) => {
    const top = Math.max(...values.map((value) => value ?? 0), 0) || 1;
    const x = (place) => ((place / Math.max(values.length - 1, 1)) * 100).toFixed(1);
    const y = (value) => (22.5 - (value / top) * 20).toFixed(1);
    let [path, filled, run] = ["", "", []];
    const finish = () => {
      if (run.length === 0) return;
      path += `M${run.join("L")}`;
      if (run.length === 1) path += `h.6`;
      filled += `M${run[0].split(",")[0]},24L${run.join("L")}L${run.at(-1).split(",")[0]},24Z`;
      run = [];
    };
    values.forEach((value, place) => {
      if (value === null || value === undefined) finish();
      else run.push(`${x(place)},${y(value)}`);
    });
    finish();
    if (line.getAttribute("d") === path) return;
    line.setAttribute("d", path);
    area.setAttribute("d", filled);
  };
  return { svg, update };
}

// ------------------------------------------------------------------------------------------------ figures as text

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const digits = (value) => (value < 10 ? 2 : value < 100 ? 1 : 0);
/** A count in four characters or so: 401 k. */
const large = (show, value) => (value >= 1e6 ? compact(value) : show(value));
const compact = (value) => {
  if (!isNumber(value) || value < 100_000) return count(value);
  return value < 1e6 ? `${Math.round(value / 1e3)} k` : value < 1e9 ? `${(value / 1e6).toFixed(digits(value / 1e6))} M` : `${(value / 1e9).toFixed(digits(value / 1e9))} G`;
};
const count = (value) => (isNumber(value) ? Math.round(value).toLocaleString("en") : DASH);

/** A duration in nanoseconds: three digits and a unit. */
function duration(value) {
  if (!isNumber(value)) return DASH;
  if (value < 1e3) return `${Math.round(value)} ns`;
  if (value < 1e6) return `${(value / 1e3).toFixed(digits(value / 1e3))} µs`;
  if (value < 1e9) return `${(value / 1e6).toFixed(digits(value / 1e6))} ms`;
  return `${(value / 1e9).toFixed(digits(value / 1e9))} s`;
}

function bytes(value) {
  if (!isNumber(value)) return DASH;
  if (value < 1024) return `${Math.round(value)} B`;
  if (value < 1048576) return `${(value / 1024).toFixed(digits(value / 1024))} KiB`;
  if (value < 1073741824) return `${(value / 1048576).toFixed(digits(value / 1048576))} MiB`;
  if (value < 1099511627776) return `${(value / 1073741824).toFixed(digits(value / 1073741824))} GiB`;
  return `${(value / 1099511627776).toFixed(2)} TiB`;
}

function percent(share) {
  if (!isNumber(share)) return DASH;
  const value = share * 100;
  return `${value === 0 ? "0" : value < 0.01 ? "<0.01" : value.toFixed(value < 10 ? 2 : 1)} %`;
}

/** A rate per second. */
function rate(value) {
  if (!isNumber(value)) return DASH;
  if (value >= 100) return count(value);
  return value === 0 ? "0" : value < 0.01 ? "<0.01" : value.toFixed(value < 10 ? 2 : 1);
}

const iso = (milliseconds) => new Date(milliseconds).toISOString();
/** A date and time of day, UTC. */
const dated = (milliseconds) => (isNumber(milliseconds) ? `${iso(milliseconds).slice(0, 19).replace("T", " ")} UTC` : DASH);
/** A time of day, with the date if it is another day than `now`. UTC. */
function clock(milliseconds, now = shownTime()) {
  if (!isNumber(milliseconds)) return DASH;
  const [text, today] = [iso(milliseconds), iso(now)];
  return text.slice(0, 10) === today.slice(0, 10) ? text.slice(11, 19) : text.slice(0, 19).replace("T", " ");
}

/** A length of time in two units at most. */
function span(milliseconds) {
  if (!isNumber(milliseconds)) return DASH;
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [name, size] = units[first];
  const rest = units[first + 1] && Math.floor((seconds % size) / units[first + 1][1]);
  return `${Math.floor(seconds / size)} ${name}${rest ? ` ${rest} ${units[first + 1][0]}` : ""}`;
}

/** `ring_full` as `ring full`. */
const words = (name) => name.replaceAll("_", " ");
const fullName = (protocol, name) => (protocol ? `${protocol}/${name}` : name);

/** A number in the unit that the path of a figure says. */
function inUnit(path, value) {
  if (!isNumber(value)) return DASH;
  if (/_bytes(_maximum)?$|\.bytes(_in|_out)?$/.test(path)) return bytes(value);
  if (/_rate$|share|utilisation|pool_use/.test(path)) return percent(value);
  if (/nanoseconds|\.(p\d+|average|maximum|minimum)$/.test(path)) return duration(value);
  if (/milliseconds/.test(path)) return span(value);
  if (/per_second/.test(path)) return `${rate(value)} /s`;
  return value >= 100 || Number.isInteger(value) ? count(value) : String(+value.toPrecision(3));
}

// ------------------------------------------------------------------------------------------------ state

const embedded = JSON.parse(byId("figures").textContent);
const isFrozen = embedded !== null;
const SPANS = [["minute", "Minute"], ["hour", "Hour"], ["day", "Day"]];
const state = {
  stats: null, //      the report shown last
  span: "minute", //   the range of the timeline
  paused: false,
  restarts: [], //     wall times at which the server was started again while this page was open
  peers: new Map(), // addresses by id, if the host tells them
  idle: [],
  info: {},
  token: "",
};
const shownTime = () => state.stats?.time_milliseconds ?? Date.now();

// ------------------------------------------------------------------------------------------------ timeline data

/** The slots of one span: series of columns, each a map from the start of a slot to its values. */
class History {
  constructor(name) {
    this.name = name;
    this.step = { minute: 1000, hour: MINUTE, day: 15 * MINUTE }[name];
    this.slots = { minute: 60, hour: 60, day: 96 }[name];
    this.time = 0;
    this.series = new Map();
  }

  get length() {
    return this.slots * this.step;
  }

  /** Takes a timeline of the server. Slots that are known are replaced: an open one has grown. */
  take(timeline) {
    this.step = timeline.step_milliseconds;
    this.slots = timeline.slots;
    this.time = Math.max(this.time, timeline.time_milliseconds);
    this.put("messages", timeline.messages);
    this.put("queue_wait", timeline.queue_wait);
    for (const [name, columns] of Object.entries(timeline.counts)) this.put(name, columns);
    for (const [name, columns] of Object.entries(timeline.points)) this.put(name, columns);
    const oldest = this.time - this.length - this.step;
    for (const [name, slots] of this.series) {
      for (const start of slots.keys()) {
        if (start >= oldest) break;
        slots.delete(start);
      }
      if (slots.size === 0) this.series.delete(name);
    }
  }

  put(name, columns) {
    if (columns.start.length === 0) return;
    // The new slots are the latest ones without a hole, so they replace whatever is known from their beginning on. Starts
    // differ by a millisecond between readings.
    const known = this.series.get(name) ?? new Map();
    const slots = new Map([...known].filter(([start]) => start < columns.start[0] - this.step / 2));
    const names = Object.keys(columns).filter((column) => column !== "start");
    columns.start.forEach((start, place) => {
      const slot = {};
      for (const column of names) slot[column] = columns[column][place];
      slots.set(start, slot);
    });
    this.series.set(name, slots);
  }

  /** The slots of a series as [start, slot], without the open one while it is too short to tell a rate, unless it is the only one. */
  of(name) {
    const all = [...(this.series.get(name) ?? [])];
    const [start, slot] = all.at(-1) ?? [];
    if (all.length > 1 && slot.end - start < Math.min(this.step / 2, 5_000)) all.pop();
    return all;
  }

  /** Columns for a chart: times in seconds, then one column per function. A missing slot is a null, drawn as a gap. */
  columns(name, functions) {
    const slots = this.of(name);
    const result = [[], ...functions.map(() => [])];
    const push = (time, slot, start) => {
      result[0].push(time);
      functions.forEach((value, place) => result[place + 1].push(slot ? value(slot, start) : null));
    };
    // Numbers are sampled less often than slots begin; the usual distance is no gap.
    const steps = slots.slice(1).map(([start], place) => start - slots[place][0]).sort((a, b) => a - b);
    const usual = Math.max(this.step, steps[Math.floor(steps.length / 2)] ?? 0);
    slots.forEach(([start, slot], place) => {
      const before = slots[place - 1]?.[0];
      if (place > 0 && start - before > usual * 1.75) push((before + usual) / 1000, null);
      push((start + Math.min(slot.end ?? this.time, start + this.step)) / 2000, slot, start);
    });
    return result;
  }

  /** One value per slot of the span, null where there is none, for a sparkline. */
  line(name, value) {
    const values = new Array(this.slots).fill(null);
    let last = -1;
    for (const [start, slot] of this.of(name)) {
      const place = this.slots - 1 - Math.floor((this.time - this.step / 2 - start) / this.step);
      if (place < 0 || place >= this.slots) continue;
      values[place] = value(slot, start);
      // Samples a few slots apart are one line.
      if (slot.end === undefined && last >= 0 && place - last <= 8) for (let at = last + 1; at < place; at += 1) values[at] = values[last];
      last = place;
    }
    return values;
  }
}

const histories = Object.fromEntries(SPANS.map(([name]) => [name, new History(name)]));
const perSecond = (column) => (slot, start) => (slot.end > start ? (slot[column] * 1000) / (slot.end - start) : null);

// ------------------------------------------------------------------------------------------------ tables

/**
 * A sortable table. A column is { head, value(item), show(value, item), kind, first } with `kind` one of text, number, spark
 * and meter. `keyOf` names an item.
 */
class Table {
  constructor(place, { title, columns, keyOf, sort, ascending = false, limit = 12, empty = "None." }) {
    Object.assign(this, { columns, keyOf, sort, ascending, limit, empty, all: false, items: [], order: new Map() });
    this.heads = columns.map((column, at) => {
      const isText = ["text", "name", "wrap"].includes(column.kind);
      const head = make("th", { scope: "col", class: isText ? "text" : "", title: column.title });
      if (column.kind === "spark" || !column.value) head.append(column.head);
      else head.append(make("button", { type: "button", click: () => this.by(at) }, column.head));
      return head;
    });
    this.body = make("tbody");
    this.table = make("table", { class: "data" }, make("thead", {}, make("tr", {}, ...this.heads)), this.body);
    this.scroll = make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": title }, this.table);
    this.none = make("p", { class: "none" }, empty);
    this.more = make("button", { type: "button", class: "more", click: () => this.toggle() }, "");
    place.append(this.scroll, this.none, this.more);
    this.mark();
  }

  by(at) {
    const column = this.columns[at];
    this.ascending = this.sort === at ? !this.ascending : typeof column.value(this.items[0] ?? {}) === "string";
    this.sort = at;
    this.mark();
    this.draw(false);
  }

  mark() {
    this.heads.forEach((head, at) => {
      if (at === this.sort) head.setAttribute("aria-sort", this.ascending ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
  }

  toggle() {
    this.all = !this.all;
    this.draw(false);
  }

  update(items) {
    this.items = items;
    this.draw();
  }

  /** Rows under the pointer keep their places. */
  draw(keep = this.body.matches(":hover")) {
    const column = this.columns[this.sort];
    const items = [...this.items];
    if (keep) {
      const place = (item) => this.order.get(this.keyOf(item)) ?? Infinity;
      items.sort((a, b) => place(a) - place(b) || 0);
    } else if (column) {
      const sign = this.ascending ? 1 : -1;
      items.sort((a, b) => {
        const [x, y] = [column.value(a), column.value(b)];
        if (typeof x === "string" || typeof y === "string") return sign * String(x).localeCompare(String(y));
        return sign * ((isNumber(x) ? x : -Infinity) - (isNumber(y) ? y : -Infinity) || 0);
      });
    }
    this.order = new Map(items.map((item, place) => [this.keyOf(item), place]));
    const shown = this.all ? items : items.slice(0, this.limit);
    this.scroll.hidden = items.length === 0;
    this.none.hidden = items.length > 0;
    this.more.hidden = items.length <= this.limit;
    setText(this.more, this.all ? `Show the first ${this.limit}` : `Show all ${count(items.length)}`);
    keyed(this.body, shown, this.keyOf, () => this.row(), (row, item) => this.fill(row, item));
  }

  row() {
    const row = make("tr");
    row.cells_ = this.columns.map((column, at) => {
      const isText = ["text", "name", "wrap"].includes(column.kind);
      const cell = at === 0 ? make("th", { scope: "row" }) : make("td");
      const base = [isText && "text", column.kind === "name" && "name", column.kind === "wrap" && "wrap"].filter(Boolean).join(" ");
      cell.className = base;
      const entry = { cell, base };
      if (column.kind === "spark") {
        entry.spark = spark();
        cell.append(entry.spark.svg);
      } else if (column.kind === "meter") {
        entry.fill = make("b");
        entry.text = make("span");
        cell.append(make("span", { class: "meter" }, make("i", {}, entry.fill), entry.text));
      }
      row.append(cell);
      return entry;
    });
    return row;
  }

  fill(row, item) {
    this.columns.forEach((column, at) => {
      const entry = row.cells_[at];
      const value = column.value?.(item);
      if (column.kind === "spark") return entry.spark.update(column.line(item));
      const text = column.show ? column.show(value, item) : value ?? DASH;
      if (column.kind === "meter") {
        const width = `${Math.round(Math.min(Math.max(value ?? 0, 0), 1) * 100)}%`;
        if (entry.fill.style.width !== width) entry.fill.style.width = width;
        return setText(entry.text, text);
      }
      setText(entry.cell, text);
      setClass(entry.cell, [entry.base, column.look?.(value, item) || (value === 0 && !entry.base && "zero")].filter(Boolean).join(" "));
      if (column.kind === "name") entry.cell.title = safe(text);
    });
  }
}

/** A list of names with values: [[name, text, class]]. */
function facts(list, entries) {
  keyed(
    list,
    entries.filter(Boolean),
    ([name]) => name,
    ([name]) => make("div", {}, make("dt", {}, name), make("dd")),
    (element, [, text]) => setText(element.lastChild, text),
  );
}

/** Buttons of which one is pressed. */
function choice(place, entries, chosen, choose) {
  const buttons = entries.map(([name, text]) =>
    make("button", { type: "button", "aria-pressed": String(name === chosen), click: () => pick(name) }, text),
  );
  const pick = (name) => {
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(entries[at][0] === name)));
    choose(name);
  };
  place.append(...buttons);
  return pick;
}

// ------------------------------------------------------------------------------------------------ overview

const minute = (stats) => stats.messages?.windows?.last_minute;
const sum = (list, value) => list.reduce((total, one) => total + (value(one) ?? 0), 0);
const messageRate = perSecond("count");
const errorRate = (slot) => (slot.count > 0 ? slot.errors / slot.count : slot.end === undefined ? null : 0);

/** Tiles: title, value, unit, text below, sparkline, and the figures whose alerts colour it. */
const TILES = [
  {
    title: "Message rate",
    value: (stats) => large(rate, minute(stats)?.throughput_per_second),
    unit: "/s",
    sub: (stats) => {
      const last = histories.minute.of("messages").at(-1);
      return minute(stats) ? `Last minute; now ${last ? rate(messageRate(last[1], last[0])) : DASH} /s` : "Metrics are off";
    },
    line: () => histories.minute.line("messages", messageRate),
    metrics: /throughput|messages_per_second/,
  },
  {
    title: "Error rate",
    value: (stats) => percent(minute(stats)?.error_rate).replace(" %", ""),
    unit: "%",
    sub: (stats) => (minute(stats) ? `${count(minute(stats).errors)} of ${count(minute(stats).count)} in the last minute` : ""),
    line: () => histories.minute.line("messages", errorRate),
    metrics: /error_rate|failures_per_second/,
  },
  ...[["p50", "P50"], ["p95", "P95"], ["p99", "P99"]].map(([key, title]) => ({
    title: `${title} handling`,
    value: (stats) => duration(minute(stats)?.[key]).split(" ")[0],
    unit: (stats) => duration(minute(stats)?.[key]).split(" ")[1] ?? "",
    sub: (stats) => `Queue wait ${title}: ${duration(stats.messages?.queue_wait_windows?.last_minute?.[key])}`,
    line: () => histories.minute.line("messages", (slot) => slot[key]),
    metrics: new RegExp(`^messages\\.(windows|queue_wait_windows)\\..*\\.${key}$`),
  })),
  {
    title: "Connections",
    value: (stats) => large(count, stats.connections.active),
    unit: "active",
    sub: (stats) => `Peak ${count(stats.connections.peak)}; last minute +${count(stats.connections.connects_last_minute)} −${count(stats.connections.disconnects_last_minute)}`,
    line: () => histories.minute.line("connections.active", (slot) => slot.maximum),
    metrics: /^connections\.|connection_pool/,
  },
  {
    title: "Queue depth",
    value: (stats) => large(count, stats.routing?.totals.queue_messages),
    unit: "waiting",
    sub: (stats) => (stats.routing ? `${bytes(stats.routing.totals.queue_bytes)} in rings; held ${count(stats.routing.accounting.held)}` : "No router"),
    line: () => histories.minute.line("routing.totals.queue_messages", (slot) => slot.maximum),
    metrics: /queue_messages|queue_bytes|worker|egress|credit/,
  },
  {
    title: "Firing alerts",
    value: (stats) => count(stats.alerts.current.length),
    unit: "",
    sub: (stats) => {
      const oldest = Math.min(...stats.alerts.current.map((alert) => alert.raised ?? alert.since));
      if (stats.alerts.current.length > 0) return `Since ${clock(oldest)} UTC (${span(shownTime() - oldest)})`;
      const last = stats.alerts.history.map((alert) => alert.resolved).filter(isNumber);
      return last.length > 0 ? `Last resolved ${clock(Math.max(...last))} UTC` : `${count(stats.alerts.raised)} raised since the start`;
    },
    metrics: /./,
  },
];

const tiles = TILES.map((tile) => {
  const value = document.createTextNode("");
  const unit = make("small");
  const big = make("p", { class: "big" }, value, unit);
  const sub = make("p", { class: "sub" });
  const line = tile.line && spark();
  const element = make("div", { class: "tile" }, make("h3", {}, tile.title), big, sub, ...(line ? [line.svg] : []));
  byId("tiles").append(element);
  return (stats) => {
    const text = tile.value(stats);
    if (value.data !== text) value.data = text;
    setText(unit, text === DASH ? "" : typeof tile.unit === "function" ? tile.unit(stats) : tile.unit);
    setText(sub, tile.sub(stats));
    line?.update(tile.line());
    const firing = stats.alerts.current.filter((alert) => tile.metrics.test(alert.metric));
    const look = firing.some((alert) => alert.severity === "critical") ? " bad" : firing.length > 0 ? " warn" : "";
    setClass(element, `tile${look}`);
    setClass(big, value.data.length + unit.textContent.length > 9 ? "big long" : "big");
  };
});

const severityLook = (severity) => (severity === "critical" ? "bad" : severity === "warning" ? "warn" : "");

function drawFiring(stats) {
  keyed(
    byId("firing"),
    stats.alerts.current,
    (alert) => `${alert.id} ${alert.raised}`,
    () => make("p", {}, make("b"), " ", make("span"), " ", make("span", { class: "when" })),
    (element, alert) => {
      setClass(element, `note ${severityLook(alert.severity)}`);
      const [name, , text, , when] = element.childNodes;
      setText(name, `${alert.severity[0].toUpperCase()}${alert.severity.slice(1)} ${alert.id}${alert.state === "recovering" ? " (recovering)" : ""}`);
      setText(text, alert.message);
      const since = alert.raised ?? alert.since;
      setText(when, `since ${clock(since)} UTC (${span(shownTime() - since)})`);
    },
  );
}

let announced = null;
/** Tells a screen reader what has changed. The visible texts change every second and would be read again and again. */
function announce(stats) {
  const now = new Map(stats.alerts.current.map((alert) => [alert.id, alert.message]));
  if (announced) {
    const raised = [...now].filter(([id]) => !announced.has(id)).map(([, message]) => `Alert: ${message}.`);
    const resolved = [...announced.keys()].filter((id) => !now.has(id)).map((id) => `Alert ${id} is resolved.`);
    if (raised.length + resolved.length > 0) say([...raised, ...resolved].join(" "));
  }
  announced = now;
}
const say = (text) => setText(byId("say"), text);

function drawNotes(stats) {
  const notes = [];
  if (isFrozen) notes.push(`Report of ${dated(stats.time_milliseconds)}. It does not change.`);
  if (!stats.messages) notes.push("No message figures: enable_metrics is off.");
  if (!stats.clients) notes.push("No client figures: detailed_stats or enable_metrics is off.");
  keyed(byId("notes"), notes, (note) => note, (note) => make("p", { class: "note" }, note), () => {});
}

// ------------------------------------------------------------------------------------------------ charts

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const seconds = (value) => (isNumber(value) ? value : null);

const PERCENTILES = [
  ["P50", "green", (slot) => slot.p50 || null, duration],
  ["P95", "orange", (slot) => slot.p95 || null, duration],
  ["P99", "red", (slot) => slot.p99 || null, duration],
];

const CHARTS = [
  {
    title: "Messages per second",
    source: "messages",
    lines: [
      ["All", "blue", messageRate, (value) => `${rate(value)} /s`],
      ["Failed or expired", "red", perSecond("errors"), (value) => `${rate(value)} /s`],
      ["Slow", "orange", perSecond("slow"), (value) => `${rate(value)} /s`],
    ],
    axis: rate,
  },
  {
    title: "Handling time",
    source: "messages",
    log: true,
    lines: PERCENTILES,
    axis: duration,
  },
  {
    title: "Queue wait",
    source: "queue_wait",
    log: true,
    lines: PERCENTILES,
    axis: duration,
  },
  {
    title: "Connections",
    source: "connections.active",
    whole: true,
    lines: [["Active", "blue", (slot) => seconds(slot.maximum), count]],
    axis: count,
  },
  {
    title: "Queue depth",
    source: "routing.totals.queue_messages",
    whole: true,
    lines: [["Messages waiting, most", "orange", (slot) => seconds(slot.maximum), count]],
    axis: count,
  },
  {
    title: "Processor time of this process",
    source: "system.cpu.process_share",
    lines: [
      ["Highest", "orange", (slot) => seconds(slot.maximum), percent],
      ["Average", "purple", (slot) => seconds(slot.average), percent],
    ],
    axis: percent,
  },
];

/** Alerts and restarts that touch the range: { from, to, text, look }. */
function marksIn(from, to) {
  const alerts = [...state.stats.alerts.history, ...state.stats.alerts.current].map((alert) => ({
    from: alert.raised ?? alert.since,
    to: alert.resolved ?? shownTime(),
    isOver: isNumber(alert.resolved),
    what: `${alert.severity} ${alert.id}: ${alert.message}`,
    look: alert.severity === "critical" ? "red" : "orange",
  }));
  const starts = state.restarts.map((time) => ({ from: time, to: time, what: "The server was started again.", look: "muted" }));
  const marks = [...alerts, ...starts].filter((mark) => mark.to >= from && mark.from <= to);
  return marks.sort((a, b) => b.from - a.from);
}

function range() {
  const history = histories[state.span];
  const to = Math.max(history.time, shownTime());
  return [to - history.length, to];
}

/** Draws the marks: a strip at the top while an alert fires, lines where it was raised and resolved. */
function drawMarks(plot) {
  const { ctx, bbox } = plot;
  const [from, to] = range();
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const mark of marksIn(from, to)) {
    const [left, right] = [mark.from, mark.to].map((time) => plot.valToPos(time / 1000, "x", true));
    ctx.fillStyle = ctx.strokeStyle = colour(mark.look);
    ctx.globalAlpha = 0.55;
    ctx.fillRect(left, bbox.top, Math.max(right - left, devicePixelRatio), 3 * devicePixelRatio);
    ctx.globalAlpha = 1;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const x of mark.isOver ? [left, right] : [left]) {
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.beginPath();
    const size = 5 * devicePixelRatio;
    ctx.moveTo(left - size, bbox.top);
    ctx.lineTo(left + size, bbox.top);
    ctx.lineTo(left, bbox.top + size * 1.5);
    ctx.fill();
  }
  ctx.restore();
}

const CHART_HEIGHT = 170;
/** Powers of ten, at most about six of them. */
const decades = (plot, at, low, high) => {
  const [from, to] = [low, high].map((value) => Math.round(Math.log10(value)));
  const step = Math.ceil((to - from) / 6);
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, place) => 10 ** (from + place * step));
};
let plots = [];

function chartData(chart) {
  return histories[state.span].columns(chart.source, chart.lines.map(([, , value]) => value));
}

/** The text of a legend: the value under the cursor, otherwise the latest one. */
const latest = (show) => (plot, value, at, place) => {
  if (place !== null && place !== undefined) return show(value);
  const column = plot.data[at];
  return column.length > 0 ? show(column.at(-1)) : DASH;
};

function build() {
  plots.forEach((plot) => plot.destroy());
  const [muted, grid] = [colour("muted"), colour("line")];
  const font = "11px system-ui, sans-serif";
  const axis = { stroke: muted, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
  const time = (value) => new Date(value * 1000).toISOString().slice(11, state.span === "minute" ? 19 : 16);
  plots = CHARTS.map((chart, at) => {
    const place = byId("charts").children[at].lastChild;
    const options = {
      width: Math.max(place.clientWidth, 200),
      height: CHART_HEIGHT,
      padding: [8, 24, 0, 0],
      tzDate: (value) => uPlot.tzDate(new Date(value * 1000), "Etc/UTC"),
      cursor: { y: false, sync: { key: "corelane", setSeries: false }, drag: { x: false, y: false }, points: { size: 6 } },
      legend: { live: true, isolate: false, markers: { width: 0, fill: (plot, index) => chart.lines[index - 1] && colour(chart.lines[index - 1][1]) } },
      scales: {
        x: { time: true, range: () => range().map((value) => value / 1000) },
        y: chart.log
          ? { distr: 3, range: (plot, low, high) => (low === null || low <= 0 ? [1e3, 1e6] : [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high * 1.01))]) }
          : { range: (plot, low, high) => [0, high > 0 ? high * 1.12 : 1] },
      },
      axes: [
        { ...axis, space: 64, size: 26, values: (plot, splits) => splits.map(time) },
        {
          ...axis,
          size: 56,
          gap: 6,
          space: 26,
          ...(chart.log && { splits: decades }),
          ...(chart.whole && { incrs: [1, 2, 5].flatMap((step) => [0, 1, 2, 3, 4, 5, 6].map((power) => step * 10 ** power)).sort((a, b) => a - b) }),
          filter: (plot, splits) => splits,
          values: (plot, splits) => splits.map((value) => axisText(chart, value)),
        },
      ],
      series: [
        { label: "Time", value: latest((value) => (isNumber(value) ? clock(value * 1000) : DASH)) },
        ...chart.lines.map(([label, name, , show]) => ({
          label,
          stroke: colour(name),
          width: 1.6,
          spanGaps: false,
          points: { show: (plot, index) => plot.data[0].length < 4, size: 4 },
          value: latest((value) => show(value)),
        })),
      ],
      hooks: { drawAxes: [drawMarks] },
    };
    return new uPlot(options, chartData(chart), place);
  });
}

/** A tick of an axis: as the value, without needless zeros. */
const axisText = (chart, value) => chart.axis(value).replace(/(\.\d*?)0+(?= |$)/, "$1").replace(/\.(?= |$)/, "");

function drawCharts() {
  const [from, to] = range();
  plots.forEach((plot, at) => plot.setData(chartData(CHARTS[at])));
  const marks = marksIn(from, to);
  keyed(
    byId("marks"),
    marks.slice(0, 12),
    (mark) => `${mark.from} ${mark.what}`,
    () => make("li", {}, make("span", { class: "when" }), make("span", { class: "what" })),
    (element, mark) => {
      const length = mark.to > mark.from ? (mark.isOver ? `, for ${span(mark.to - mark.from)}` : ", firing") : "";
      setText(element.firstChild, `${clock(mark.from)} UTC${length}`);
      setText(element.lastChild, mark.what);
    },
  );
  const texts = { minute: "Slots of 1 s", hour: "Slots of 1 min", day: "Slots of 15 min" };
  setText(byId("span-note"), `${texts[state.span]}. Times are UTC. A gap: the monitor has no figures.`);
}

/** The cursor of all charts, moved by the arrow keys. */
function moveCursor(at, event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const plot = plots[at];
  if (!step || !plot || plot.data[0].length === 0) return;
  event.preventDefault();
  const last = plot.data[0].length - 1;
  const place = Math.min(Math.max((plot.cursor.idx ?? (step > 0 ? -1 : last + 1)) + step, 0), last);
  plot.setCursor({ left: plot.valToPos(plot.data[0][place], "x"), top: 20 }, true, true);
}

CHARTS.forEach((chart, at) => {
  const label = `${chart.title}, a chart. The arrow keys move the cursor.`;
  const keydown = (event) => moveCursor(at, event);
  byId("charts").append(make("div", { class: "chart", role: "group", tabindex: "0", "aria-label": label, keydown }, make("h3", {}, chart.title), make("div")));
});
const chooseSpan = choice(byId("spans"), SPANS, state.span, (name) => {
  state.span = name;
  if (!state.stats) return;
  build();
  drawCharts();
  if (name !== "minute") readTimeline(name);
});
new ResizeObserver(() => {
  plots.forEach((plot) => {
    const width = Math.max(plot.root.parentElement.clientWidth, 200);
    if (width !== plot.width) plot.setSize({ width, height: CHART_HEIGHT });
  });
}).observe(byId("charts"));

// ------------------------------------------------------------------------------------------------ path

/** Boxes and the hops between them. A hop has `waits`: how many messages wait there. */
function stages(stats) {
  const { routing, messages, connections } = stats;
  const window = minute(stats);
  const wait = messages?.queue_wait_windows?.last_minute;
  const accounting = routing.accounting;
  const paths = routing.ports.flatMap((port) => port.workers);
  const used = routing.ports.filter((port) => port.submitted + port.consumed > 0).length;
  const open = Math.max(accounting.consumed - accounting.acknowledged - accounting.unacknowledged, 0);
  const ingress = sum(paths, (path) => path.ingress_messages);
  const egress = sum(paths, (path) => path.egress_messages);
  return [
    { title: "Sockets", lines: [["Open", count(connections.active)], ["In", `${bytes((window?.bytes ?? 0) / Math.max((window?.end_milliseconds - window?.start_milliseconds) / 1000 || 60, 1))}/s`]] },
    { hop: "Admission", waits: 0, lines: [["Refused", compact(accounting.refused)], ["Taken over", compact(accounting.taken_over)]] },
    { title: "Ports", lines: [["In use", count(used)], ["Accepted", compact(accounting.accepted)]] },
    { hop: "Ingress rings", waits: ingress, lines: [["Waiting", compact(ingress), "wait"], ["Size", bytes(sum(paths, (path) => path.ingress_bytes))], ["P50", duration(wait?.p50)], ["P99", duration(wait?.p99)]] },
    { title: "Workers", lines: [["Load", percent(routing.rates.utilisation)], ["P50", duration(window?.p50)], ["P99", duration(window?.p99)], ["Held", compact(accounting.held)], ["Hold P50", duration(messages?.held?.p50)]] },
    { hop: "Egress rings", waits: egress, lines: [["Waiting", compact(egress), "wait"], ["Size", bytes(sum(paths, (path) => path.egress_bytes))], ["Backlog", bytes(sum(paths, (path) => path.backlog_bytes))], ["Full", `${compact(routing.egress_full_last_minute)} /min`]] },
    { title: "Ports", lines: [["Given out", compact(accounting.consumed)], ["Lost", compact(accounting.undeliverable)]] },
    { hop: "Write", waits: open, lines: [["Waiting", compact(open), "wait"], ["P50", duration(messages?.write?.p50)], ["P99", duration(messages?.write?.p99)]] },
    { title: "Sockets", lines: [["Written", compact(accounting.acknowledged)], ["Out", bytes(messages?.bytes_out)]] },
  ];
}

function drawPath(stats) {
  byId("path").hidden = !stats.routing;
  if (!stats.routing) return;
  keyed(
    byId("stages"),
    stages(stats),
    (stage, place) => place,
    (stage) => make("li", { class: stage.hop ? "hop" : "stage" }, make("h3", {}, stage.hop ?? stage.title), ...(stage.hop ? [make("div", { class: "rail", "aria-hidden": "true" })] : []),
      ...stage.lines.map(([name, , look]) => make("p", { class: look ?? "" }, make("span", {}, name), make("b")))),
    (element, stage) => {
      const lines = element.querySelectorAll("p");
      stage.lines.forEach(([, text], at) => setText(lines[at].lastChild, text));
      if (stage.hop) setClass(element, stage.waits > 0 ? "hop waits" : "hop");
    },
  );
  setText(byId("path-note"), `Queue wait and handling: last minute. Write and hold: since ${clock(stats.since_milliseconds)} UTC. Counts: since ${clock(stats.started_milliseconds)} UTC.`);
  const used = stats.routing.ports.map((port, place) => ({ ...port, place })).filter((port) => port.submitted + port.consumed + port.refused > 0);
  tables.ports.update(used);
  const paths = used.flatMap((port) => port.workers.map((path, worker) => ({ ...path, port: port.place, worker })));
  const waits = (path) => path.ingress_bytes + path.egress_bytes + path.backlog_bytes;
  tables.queues.update(paths.sort((a, b) => waits(b) - waits(a) || a.port - b.port || a.worker - b.worker));
}

// ------------------------------------------------------------------------------------------------ tables of the page

const number = (head, value, show = count, more = {}) => ({ head, value, show, ...more });
const some = (look) => (value) => (value > 0 ? look : "");
/** A share of errors: red from 5 %, the default threshold of the alert. */
const errorLook = (value) => (value >= 0.05 ? "bad" : "");
const seriesErrors = (one) => (one.total > 0 ? (one.failed + one.expired) / one.total : null);
const lastMinute = (one) => one.windows?.last_minute;
const waiting = (messages, size) => (messages > 0 ? `${count(messages)}, ${bytes(size)}` : "0");
const heading = (text) => make("h3", {}, text);

byId("ports").append(heading("Ports"));
byId("queues").append(heading("Queues between ports and workers"));
let seriesKind = "types";
let clientKind = "by_messages";

const tables = {
  series: new Table(byId("series-table"), {
    title: "Messages",
    keyOf: (one) => `${one.kind}.${one.full}`,
    sort: 2,
    limit: 16,
    empty: "No messages yet.",
    columns: [
      { head: "Name", kind: "name", value: (one) => one.full },
      { head: "Last minute", kind: "spark", line: (one) => histories.minute.line(`${one.kind}.${one.full}`, messageRate) },
      number("Per second", (one) => lastMinute(one)?.throughput_per_second, rate, { title: "Over the last minute" }),
      number("P50", (one) => lastMinute(one)?.p50, duration, { title: "Handling time, last minute" }),
      number("P99", (one) => lastMinute(one)?.p99, duration, { title: "Handling time, last minute" }),
      number("Errors", (one) => lastMinute(one)?.error_rate, percent, { title: "Last minute", look: errorLook }),
      number("Total", (one) => one.total),
      number("Failed", (one) => one.failed),
      number("Expired", (one) => one.expired),
      number("Slow", (one) => one.slow),
      number("Bytes", (one) => one.bytes, bytes),
      number("P99, all", (one) => one.latency?.p99, duration, { title: "Since the start or the last reset" }),
      number("Longest", (one) => one.latency?.maximum, duration),
    ],
  }),
  workers: new Table(byId("workers-table"), {
    title: "Workers",
    keyOf: (worker) => worker.place,
    sort: 0,
    ascending: true,
    limit: 64,
    columns: [
      { head: "Worker", kind: "text", value: (worker) => worker.place },
      { head: "State", kind: "text", value: (worker) => worker.status, look: (value) => (value === "stalled" || value === "lost" || value === "given up" ? "bad" : value === "active" ? "good" : "") },
      { head: "Load", kind: "meter", value: (worker) => worker.utilisation, show: percent },
      number("Queue", (worker) => worker.queue_messages, count, { look: some("warn"), title: "Messages that wait for this worker now" }),
      number("Most queued", (worker) => worker.queue_messages_maximum),
      number("Held", (worker) => worker.held),
      number("Most in flight", (worker) => worker.in_flight_maximum),
      number("Average", (worker) => worker.average_nanoseconds, duration, { title: "Average time of a message, waiting included" }),
      number("Running for", (worker) => worker.message_age_nanoseconds, (value) => (value > 0 ? duration(value) : DASH), { title: "How long the current message has run" }),
      number("Stalls", (worker) => worker.stalls, count, { look: some("bad") }),
      number("Panics", (worker) => worker.handler_panics, count, { look: some("bad") }),
      number("Received", (worker) => worker.received),
      number("Failed", (worker) => worker.failed),
      number("Expired", (worker) => worker.expired),
    ],
  }),
  links: new Table(byId("links-table"), {
    title: "Machines and links",
    keyOf: (one) => one.incarnation,
    sort: 0,
    ascending: true,
    limit: 64,
    columns: [
      { head: "Machine", kind: "name", value: (one) => one.machine },
      { head: "State", kind: "text", value: (one) => one.status, look: (value) => (value === "up" || value === "this one" ? "good" : value === "down" ? "bad" : "") },
      number("Round trip", (one) => one.round_trip_us, (value) => (value > 0 ? duration(value * 1000) : DASH), { title: "From a frame to its acknowledgement, measured last" }),
      number("In flight", (one) => one.in_flight, count, { title: "Messages to it that it has not acknowledged" }),
      number("Sent", (one) => one.sent),
      number("Delivered", (one) => one.delivered),
      number("Gone", (one) => one.gone, count, { title: "Came back: the recipient was not there any more" }),
      number("Rejected", (one) => one.rejected, count, { look: some("warn") }),
      number("Lost", (one) => one.lost, count, { look: some("bad"), title: "Lost between the machines" }),
      number("Link lost", (one) => one.losses, count, { look: some("warn"), title: "How often the link was lost, with all that was in flight" }),
      number("Received", (one) => one.received),
      number("Not delivered here", (one) => one.receive_rejected, count, { look: some("warn") }),
      number("Gaps", (one) => one.receive_lost, count, { look: some("bad"), title: "Messages of it that did not arrive in order" }),
      number("Late frames", (one) => one.stale),
    ],
  }),
  ports: new Table(byId("ports"), {
    title: "Ports",
    keyOf: (port) => port.place,
    sort: 0,
    ascending: true,
    columns: [
      { head: "Port", kind: "text", value: (port) => port.place },
      number("Submitted", (port) => port.submitted, compact),
      number("Refused", (port) => port.refused, count, { look: some("bad") }),
      number("Handed out", (port) => port.consumed, compact),
      number("Bytes", (port) => port.bytes_out, bytes),
      number("Write P50", (port) => port.write?.p50, duration),
      number("Write P99", (port) => port.write?.p99, duration),
      number("Unack.", (port) => port.outstanding_messages_maximum, count, { title: "Most deliveries to one client that were not acknowledged" }),
    ],
  }),
  queues: new Table(byId("queues"), {
    title: "Queues between ports and workers",
    keyOf: (path) => `${path.port} ${path.worker}`,
    sort: -1, // As given: where messages wait comes first.
    limit: 8,
    columns: [
      { head: "Port → worker", kind: "text", value: (path) => path.port * 1000 + path.worker, show: (value, path) => `${path.port} → ${path.worker}` },
      number("Ingress", (path) => path.ingress_messages, (value, path) => waiting(value, path.ingress_bytes), { look: some("warn") }),
      number("Egress", (path) => path.egress_messages, (value, path) => waiting(value, path.egress_bytes), { look: some("warn") }),
      number("Backlog", (path) => path.backlog_bytes, bytes, { look: some("warn") }),
      number("Most backlog", (path) => path.backlog_bytes_maximum, bytes),
      number("Ring full", (path) => path.egress_full, count, { look: some("warn") }),
    ],
  }),
  clients: new Table(byId("clients-table"), {
    title: "Clients",
    keyOf: (client) => client.id,
    limit: 10,
    columns: [
      { head: "Client", kind: "name", value: (client) => client.name },
      { head: "Address", kind: "text", value: (client) => state.peers.get(client.name) ?? DASH },
      { head: "Application", kind: "name", value: (client) => client.application || DASH },
      number("Messages", (client) => client.messages),
      number("Errors", (client) => client.errors),
      number("In", (client) => client.bytes_in, bytes),
      number("Out", (client) => client.bytes_out, bytes),
      number("Average", (client) => client.average_nanoseconds, duration, { title: "Waiting and hold included" }),
      number("Longest", (client) => client.maximum_nanoseconds, duration),
      number("Unack.", (client) => client.outstanding_bytes, bytes, { title: "Not acknowledged now", look: some("warn") }),
      number("Lost", (client) => client.undelivered, count, { title: "Deliveries that were not handed out", look: some("bad") }),
      number("Idle", (client) => client.idle_milliseconds, span),
      number("Connected", (client) => (client.connected ? client.connected_for_milliseconds : null), (value, client) => (client.connected ? span(value) : "no")),
    ],
  }),
  slow: new Table(byId("slow-table"), {
    title: "Slow messages",
    keyOf: (one) => `${one.client} ${one.protocol} ${one.message_type} ${one.application} ${one.first_milliseconds}`,
    sort: 0,
    limit: 10,
    empty: "No slow messages.",
    columns: [
      { head: "Last", kind: "text", value: (one) => one.last_milliseconds, show: (value) => clock(value) },
      { head: "Type", kind: "name", value: (one) => fullName(one.protocol, one.message_type) },
      { head: "Client", kind: "name", value: (one) => one.client || DASH },
      { head: "Application", kind: "name", value: (one) => one.application || DASH },
      { head: "Mostly", kind: "text", value: (one) => mostly(one)[0], look: () => "warn", title: "Where the message spent most of its time" },
      number("Queue wait", (one) => one.queue_wait_nanoseconds, duration),
      number("Handling", (one) => one.service_nanoseconds, duration),
      number("Hold", (one) => one.held_nanoseconds, (value) => (value > 0 ? duration(value) : DASH)),
      number("Slowest", (one) => one.slowest_nanoseconds, duration),
      number("Times", (one) => one.count),
      number("Size", (one) => one.bytes, bytes, { title: "Payload of the last one" }),
      number("Worker", (one) => one.worker, (value) => (value === null ? DASH : `${value}`)),
      { head: "Ended", kind: "text", value: (one) => (one.succeeded ? "ok" : "failed"), title: "Delivered; or failed or expired" },
    ],
  }),
  applications: new Table(byId("connections-table"), {
    title: "Connections by application",
    keyOf: (one) => one.name,
    sort: 1,
    limit: 8,
    columns: [
      { head: "Application", kind: "name", value: (one) => one.name },
      number("Open", (one) => one.active),
      number("Total", (one) => one.total),
      number("Last activity", (one) => one.last_activity_milliseconds, (value) => (value ? `${clock(value)} UTC` : DASH)),
    ],
  }),
  custom: new Table(byId("custom-table"), {
    title: "Metrics of the host",
    keyOf: (one) => `${one.name} ${one.labels}`,
    sort: 2,
    limit: 12,
    columns: [
      { head: "Name", kind: "name", value: (one) => one.name },
      { head: "Labels", kind: "text", value: (one) => one.labels || DASH },
      number("Value", (one) => one.value, (value, one) => one.shown),
      { head: "Meaning", kind: "wrap", value: (one) => one.help },
    ],
  }),
  past: new Table((byId("past-table").append(heading("Past alerts, since the start")), byId("past-table")), {
    title: "Past alerts",
    keyOf: (alert) => `${alert.id} ${alert.raised}`,
    sort: 1,
    limit: 8,
    empty: "No alert has been resolved.",
    columns: [
      { head: "Alert", kind: "name", value: (alert) => alert.id },
      { head: "Raised", kind: "text", value: (alert) => alert.raised, show: (value) => clock(value) },
      number("For", (alert) => alert.resolved - alert.raised, span),
      { head: "Message", kind: "wrap", value: (alert) => alert.message },
    ],
  }),
  rules: new Table((byId("rules-table").append(heading("Rules")), byId("rules-table")), {
    title: "Rules",
    keyOf: (rule) => rule.name,
    sort: 2,
    limit: 8,
    columns: [
      { head: "Rule", kind: "name", value: (rule) => rule.name },
      { head: "Severity", kind: "text", value: (rule) => rule.severity },
      number("Firing", (rule) => rule.firing, count, { look: some("bad") }),
      number("Raised", (rule) => rule.transitions.firing),
      number("Threshold", (rule) => rule.trigger, (value, rule) => inUnit(rule.metric, value)),
      { head: "Figure", kind: "text", value: (rule) => rule.metric },
      { head: "Off because", kind: "text", value: (rule) => rule.unavailable ?? "" },
    ],
  }),
};

/** What a slow message spent most of its time on. */
function mostly(one) {
  const parts = [["queue wait", one.queue_wait_nanoseconds], ["handling", one.service_nanoseconds], ["hold", one.held_nanoseconds]];
  return parts.reduce((most, part) => (part[1] > most[1] ? part : most));
}

choice(byId("series-tabs"), [["types", "Types"], ["protocols", "Protocols"], ["applications", "Applications"]], seriesKind, (name) => {
  seriesKind = name;
  if (state.stats) drawSeries(state.stats);
});

function drawSeries(stats) {
  const all = stats[seriesKind] ?? [];
  setText(tables.series.none, stats.messages ? "No messages yet." : "No figures: enable_metrics is off.");
  const used = all.filter((one) => one.total > 0 || one.received > 0 || one.latency?.count > 0);
  tables.series.update(used.map((one) => ({ ...one, kind: seriesKind, full: fullName(one.protocol, one.name) })));
  setText(byId("series-note"), `Totals since ${dated(stats.since_milliseconds)}${stats.resets > 0 ? ` (resets: ${stats.resets})` : ""}`);
}

function drawWorkers(stats) {
  byId("workers").hidden = !stats.routing;
  if (!stats.routing) return;
  const { workers, rates, totals } = stats.routing;
  tables.workers.update(
    workers.map((worker, place) => {
      const status = worker.lost ? "lost" : worker.given_up ? "given up" : worker.stalled ? "stalled" : worker.is_active ? "active" : "idle";
      return { ...worker, place, status, utilisation: rates.worker_utilisation[place] ?? null };
    }),
  );
  const stalled = stats.routing.workers_stalled > 0 ? `, ${stats.routing.workers_stalled} stalled` : "";
  setText(byId("workers-note"), `${workers.length} workers, load ${percent(rates.utilisation)} over the last ${span(rates.nanoseconds / 1e6)}${stalled}; in flight ${count(totals.concurrency)}`);
}

const CLIENTS = [
  ["by_messages", "Most messages", 3],
  ["by_errors", "Most errors", 4],
  ["by_average", "Slowest", 7],
  ["by_outstanding", "Unacknowledged", 9],
  ["by_undelivered", "Lost deliveries", 10],
  ...(isFrozen ? [] : [["idle", "Idle", 11]]),
];
tables.clients.sort = 3;
tables.clients.mark();
choice(byId("clients-tabs"), CLIENTS, clientKind, (name) => {
  clientKind = name;
  tables.clients.sort = CLIENTS.find(([one]) => one === name)[2];
  tables.clients.ascending = false;
  tables.clients.mark();
  if (state.stats) drawClients(state.stats);
  if (name === "idle") readIdle();
  if (!isFrozen) readPeers();
});

function drawClients(stats) {
  const listed = clientKind === "idle" ? state.idle : stats.clients?.[clientKind] ?? [];
  tables.clients.update(listed);
  const what = clientKind === "idle" ? "silent for at least 10 s" : `of ${count(stats.clients?.tracked)}`;
  setText(byId("clients-note"), stats.clients ? `${count(listed.length)} ${what}` : "");
}

function drawSlow(stats) {
  const slow = stats.slow_messages;
  tables.slow.update(slow?.entries ?? []);
  const lost = slow?.unlisted > 0 ? `; ${count(slow.unlisted)} not listed` : "";
  setText(byId("slow-note"), slow ? `${count(slow.total)} took longer than ${duration(slow.threshold_nanoseconds)}${lost}` : "");
}

/** Lists of reasons: what was refused or lost, where, and why. */
function drawReasons(stats) {
  const accounting = stats.routing?.accounting;
  const lists = [
    ["Messages refused by ports", accounting?.refusals],
    ["Messages failed", stats.messages?.failures ?? accounting?.failures],
    ["Deliveries not handed out", accounting?.undelivered],
    ["Deliveries not acknowledged", accounting?.unacknowledged_reasons],
    ["Messages taken over by the host", accounting?.takeovers],
    ["Rooms refused", stats.routing?.rooms.refusals],
    ...stats.custom.families
      .filter((family) => /refused|rejected|dropped/.test(family.name) && family.kind === "counter")
      .map((family) => [family.help || family.name, Object.fromEntries(family.series.map((one) => [one.labels.map(([, value]) => value).join(", "), one.value]))]),
  ];
  const rows = lists.filter(([, reasons]) => reasons).map(([title, reasons]) => {
    const counted = Object.entries(reasons).filter(([, value]) => value > 0).sort(([, a], [, b]) => b - a);
    return { title, counted, total: sum(counted, ([, value]) => value) };
  });
  rows.sort((a, b) => (b.total > 0) - (a.total > 0));
  const shown = rows.filter((row) => row.total > 0);
  const empty = rows.filter((row) => row.total === 0).map((row) => row.title.toLowerCase());
  keyed(
    byId("reasons-lists"),
    shown,
    (row) => row.title,
    (row) => make("div", {}, heading(row.title), make("dl", { class: "facts" })),
    (element, row) => facts(element.lastChild, row.counted.map(([reason, value]) => [words(reason), count(value)])),
  );
  setText(byId("reasons-note"), empty.length > 0 ? `None: ${empty.join("; ")}` : "");
}

function drawConnections(stats) {
  const all = stats.connections;
  facts(byId("connections-list"), [
    ["Open", count(all.active)],
    ["Peak", count(all.peak)],
    ["Total", count(all.total)],
    ["Connects, last minute", count(all.connects_last_minute)],
    ["Disconnects, last minute", count(all.disconnects_last_minute)],
    ["Unhealthy", count(all.unhealthy)],
    ["Reconnect attempts", count(all.reconnect_attempts)],
    ["Open for, P50", span(all.open_milliseconds?.p50)],
    ["Closed after, P50", span(all.closed_milliseconds?.p50)],
    stats.system && ["Connection pool used", percent(stats.system.load.connection_pool_use)],
  ]);
  tables.applications.update(all.applications.filter((one) => one.total > 0));
}

function drawSystem(stats) {
  const { system } = stats;
  byId("system").hidden = !system;
  if (!system) return;
  const { memory, cpu, process, runtime } = system;
  const load = cpu.load_average;
  facts(byId("system-list"), [
    ["Processor, this process", percent(cpu.process_share)],
    ["Processor, whole system", percent(cpu.system_share)],
    ["Cores allowed", `${cpu.cores_allowed ?? DASH} of ${cpu.cores ?? DASH}`],
    ["Load, 1, 5, 15 min", load ? `${load.one}  ${load.five}  ${load.fifteen}` : DASH],
    ["Resident memory", bytes(memory.resident_bytes)],
    ["Allocated", bytes(memory.heap_bytes)],
    ["Of the memory threshold", percent(memory.share_of_threshold)],
    ["Memory limit", memory.limit_bytes ? bytes(memory.limit_bytes) : "none"],
    memory.limit_bytes && ["Free below the limit", bytes(memory.limit_free_bytes)],
    ["System memory free", bytes(memory.system_available_bytes)],
    ["System memory", bytes(memory.system_total_bytes)],
    ["Threads", count(process.threads)],
    ["Descriptors", `${count(process.open_descriptors)} of ${count(process.descriptor_limit)}`],
    ["Process up", span((process.uptime_seconds ?? 0) * 1000)],
    runtime && ["Goroutines", count(runtime.goroutines)],
    runtime && ["Host heap", bytes(runtime.heap_bytes)],
    runtime && ["Last GC pause", duration(runtime.gc_last_pause_nanoseconds)],
    ["Monitor's processor share", percent(stats.monitor.cpu_nanoseconds / stats.uptime_nanoseconds)],
    ["Monitor's memory", bytes(stats.monitor.bytes)],
    ["Longest collection", duration(stats.monitor.collect_nanoseconds_maximum)],
  ]);
}

/** The machines of the cluster as this one knows them, and its links to them. */
function drawCluster({ cluster }) {
  byId("cluster").hidden = byId("cluster-link").hidden = !cluster;
  if (!cluster) return;
  const isWell = !cluster.unavailable && !cluster.fenced;
  facts(byId("cluster-list"), [
    ["Cluster", safe(cluster.cluster)],
    ["This machine", safe(cluster.machine)],
    ["State", cluster.state],
    ["NATS", cluster.connected ? "connected" : "not connected"],
    cluster.problem && ["Problem", safe(cluster.problem)],
    ["Directory", cluster.synced ? `complete, ${count(cluster.directory_lag)} behind` : "not complete"],
    ["Names of this machine", count(cluster.names_owned)],
    ["Names of all", count(cluster.names_known)],
    cluster.names_left_out > 0 && ["Names without room", count(cluster.names_left_out)],
    cluster.rooms_left_out > 0 && ["Rooms without a place", count(cluster.rooms_left_out)],
    cluster.asks > 0 && [
      "Names asked for",
      `${count(cluster.asks_found)} found, ${count(cluster.asks_nowhere)} nowhere, ${count(cluster.asks_failed)} failed, ${count(cluster.asks_in_flight)} in flight`,
    ],
    cluster.names_asked > 0 && ["Asked names kept", `${count(cluster.names_asked)}, ${count(cluster.names_evicted)} evicted`],
    cluster.machines_left_out > 0 && ["Machines without a link", count(cluster.machines_left_out)],
    ["Claims in flight", count(cluster.claims_in_flight)],
    ["Fenced", `${count(cluster.fences)} times, ${span(cluster.fenced_ms)}`],
    cluster.frames_dropped > 0 && ["Frames dropped", count(cluster.frames_dropped)],
  ]);
  const links = new Map(cluster.links.map((link) => [link.incarnation, link]));
  const status = (one) => {
    if (one.incarnation === cluster.incarnation) return "this one";
    if (one.draining) return "draining";
    return links.get(one.incarnation)?.up ? "up" : "down";
  };
  tables.links.update(cluster.machines.map((one) => ({ ...links.get(one.incarnation), ...one, status: status(one) })));
  setText(byId("cluster-note"), isWell ? `${count(cluster.machines.length)} machines` : cluster.fenced ? "fenced" : "unavailable");
  setClass(byId("cluster-note"), isWell ? "side" : "side bad");
}

function drawCustom(stats) {
  const rows = stats.custom.families.flatMap((family) =>
    family.series.map((one) => ({
      name: family.name,
      help: family.help,
      labels: one.labels.map(([name, value]) => `${name}=${value}`).join(", "),
      value: one.value ?? one.histogram?.count,
      shown: one.value !== null ? inUnit(family.name, Number(one.value)) : `${count(one.histogram?.count)} values, P99 ${one.histogram?.p99 ?? DASH}`,
    })),
  );
  byId("custom").hidden = rows.length === 0;
  tables.custom.update(rows.filter((row) => row.value > 0 || row.labels === ""));
}

function drawAlerts(stats) {
  const { alerts } = stats;
  tables.past.update(alerts.history);
  tables.rules.update(alerts.rules);
  const lost = alerts.notifications_dropped > 0 ? `, ${count(alerts.notifications_dropped)} notifications dropped` : "";
  setText(byId("alerts-note"), `${count(alerts.raised)} raised, ${count(alerts.resolved)} resolved since ${dated(stats.started_milliseconds)}${lost}`);
}

// ------------------------------------------------------------------------------------------------ drawing

function draw() {
  const { stats } = state;
  if (!stats) return;
  drawNotes(stats);
  drawFiring(stats);
  announce(stats);
  tiles.forEach((tile) => tile(stats));
  if (plots.length === 0) build();
  drawCharts();
  drawPath(stats);
  drawSeries(stats);
  drawWorkers(stats);
  drawClients(stats);
  drawSlow(stats);
  drawReasons(stats);
  drawConnections(stats);
  drawSystem(stats);
  drawCluster(stats);
  drawCustom(stats);
  drawAlerts(stats);
  showTitle();
  setText(byId("foot"), `corelane ${stats.version ?? ""}. Up ${span(stats.uptime_nanoseconds / 1e6)}. Figures of messages, clients and connections since ${dated(stats.since_milliseconds)} (resets: ${stats.resets}); of routing and alerts since ${dated(stats.started_milliseconds)}.`);
}

function showTitle(isDown = false) {
  const alerts = state.stats?.alerts.current.length ?? 0;
  const mark = isDown ? "(down) " : alerts > 0 ? `(${alerts}) ` : "";
  document.title = `${mark}${isFrozen ? "corelane report" : `corelane ${location.host}`}`;
}

let isDue = false;
/** Draws once per frame, however many events arrive. A hidden page draws when it is shown. */
function drawSoon() {
  if (isDue || state.paused || document.hidden) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
}
document.addEventListener("visibilitychange", drawSoon);

// ------------------------------------------------------------------------------------------------ theme, keys, help

const THEMES = ["auto", "light", "dark"];
function setTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  setText(byId("theme"), `Theme: ${name}`);
  store("corelane-theme", name);
  if (plots.length > 0) {
    build();
    drawCharts();
  }
}
const theme = () => document.documentElement.dataset.theme ?? "auto";
const nextTheme = () => setTheme(THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
setTheme(THEMES.includes(store("corelane-theme")) ? store("corelane-theme") : "auto");
byId("theme").addEventListener("click", nextTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(theme()));

function pause() {
  state.paused = !state.paused;
  byId("pause").setAttribute("aria-pressed", String(state.paused));
  setText(byId("pause"), state.paused ? "Continue" : "Pause");
  if (!state.paused && pending) [state.stats, pending] = [pending, null];
  showState();
  drawSoon();
}
let pending = null; // The report that came last while paused.
byId("pause").addEventListener("click", pause);
byId("help").addEventListener("click", () => byId("help-box").showModal());
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (document.querySelector("dialog[open]")) return;
  const action = { 1: () => chooseSpan("minute"), 2: () => chooseSpan("hour"), 3: () => chooseSpan("day"), t: nextTheme, "?": () => byId("help-box").showModal(), p: isFrozen ? null : pause }[event.key];
  action?.();
});

// ------------------------------------------------------------------------------------------------ frozen or live

if (isFrozen) {
  document.documentElement.classList.add("frozen");
  state.stats = embedded.stats;
  embedded.timelines.forEach((timeline) => histories[timeline.span].take(timeline));
  setText(byId("state"), `Report of ${dated(state.stats.time_milliseconds)}`);
  draw();
  return;
}

const EVENT_LIMIT = 6_000; // Without an event for this long, the server counts as gone.
const connection = { since: Date.now(), isLive: false, last: 0, heard: 0, id: "", reason: "", tries: 0 };
setText(byId("host"), location.host);

function showState() {
  const bar = byId("status");
  showTitle(!connection.isLive && (connection.tries > 0 || state.stats !== null));
  if (connection.isLive) {
    setClass(bar, "live-now");
    setClass(byId("tiles"), "tiles");
    setText(byId("state"), `${state.paused ? "Paused" : "Live"}, ${clock(shownTime())} UTC, up ${span(state.stats.uptime_nanoseconds / 1e6)}`);
    byId("outage").hidden = true;
    return;
  }
  setClass(bar, state.stats || connection.tries > 0 ? "down" : "");
  setClass(byId("tiles"), "tiles stale");
  const since = `since ${clock(connection.since, Date.now())} UTC (${span(Date.now() - connection.since)})`;
  setText(byId("state"), connection.tries > 0 || state.stats ? `No connection ${since}` : "Connecting…");
  byId("outage").hidden = connection.tries === 0 && !state.stats;
  const shown = state.stats ? ` The figures below are of ${clock(state.stats.time_milliseconds, Date.now())} UTC.` : "";
  setText(byId("outage"), `The server has not answered ${since}: ${connection.reason}.${shown} Trying again.`);
}

function down(reason) {
  if (connection.isLive || connection.tries === 0) {
    connection.since = connection.last || Date.now();
  }
  if (connection.isLive) say(`The server has stopped answering: ${reason}.`);
  connection.isLive = false;
  connection.reason = reason;
  connection.tries += 1;
  showState();
}

const ask = (path, options = {}) => {
  const headers = { ...options.headers };
  if (state.token) headers.Authorization = `Bearer ${state.token}`;
  return fetch(path, { cache: "no-store", credentials: "omit", ...options, headers });
};

async function readJson(path) {
  const answer = await ask(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

/** Reads a further range, or what the events do not bring. A failure is shown by the events' own state. */
async function readTimeline(name) {
  const history = histories[name];
  const after = history.time > 0 ? Math.max(0, history.time - 2 * history.step) : 0;
  try {
    history.take(await readJson(`api/timeline?span=${name}&after=${after}`));
    drawSoon();
  } catch {
    // Tried again with the next turn.
  }
}

async function readIdle() {
  try {
    state.idle = await readJson("api/clients/idle?longer_than_ms=10000&limit=100");
    drawSoon();
  } catch {
    // As above.
  }
}

/** Asks for the addresses of the listed clients. The host may have far too many clients to list them all. */
async function readPeers() {
  if (!(state.info.pages ?? []).includes("/api/peers")) return;
  const listed = clientKind === "idle" ? state.idle : state.stats?.clients?.[clientKind];
  const names = new Set((listed ?? []).slice(0, 12).map((client) => client.name));
  try {
    const found = await Promise.all([...names].map((name) => readJson(`api/peers?id=${encodeURIComponent(name)}`)));
    state.peers = new Map(found.flatMap(({ peers }) => peers.map((peer) => [peer.id, peer.address])));
    drawSoon();
  } catch {
    // As above.
  }
}

/** Takes the figures of an event. While paused, only the histories grow. */
function take({ stats, timeline }) {
  const before = (pending ?? state.stats)?.started_milliseconds;
  if (before !== undefined && before !== stats.started_milliseconds) {
    state.restarts = [...state.restarts, stats.started_milliseconds].slice(-20);
    say("The server was started again.");
    readSettings();
  }
  if (timeline) histories.minute.take(timeline);
  if (state.paused && state.stats) pending = stats;
  else state.stats = stats;
  showState();
  drawSoon();
}

/** Reads the events until the stream ends. */
async function readEvents() {
  const stop = new AbortController();
  const guard = setInterval(() => {
    if (Date.now() - connection.heard > EVENT_LIMIT) stop.abort();
  }, 1000);
  connection.heard = Date.now();
  try {
    const headers = connection.id ? { "Last-Event-ID": connection.id } : {};
    const answer = await ask("api/events", { headers, signal: stop.signal });
    if (answer.status === 401) return askToken();
    if (!answer.ok) throw new Error(`it answers ${answer.status} ${(await answer.text()).slice(0, 200)}`);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error("it has closed the connection");
      connection.heard = Date.now();
      text += value;
      const events = text.split(/\r?\n\r?\n/);
      text = events.pop();
      // Only the newest figures are shown, but each may have slots that no other has.
      events.forEach(event);
    }
  } catch (error) {
    const reasons = { AbortError: `nothing arrived for ${EVENT_LIMIT / 1000} s`, TypeError: "it cannot be reached" };
    down(reasons[error.name] ?? error.message);
  } finally {
    clearInterval(guard);
    stop.abort();
  }
}

function event(text) {
  let [name, data] = ["message", ""];
  for (const line of text.split(/\r?\n/)) {
    const [, field, value] = /^([^:]*)(?:: ?)?(.*)$/.exec(line);
    if (field === "event") name = value;
    else if (field === "data") data += value;
    else if (field === "id") connection.id = value;
  }
  if (name !== "figures" || !data) return;
  const isFirst = !connection.isLive;
  Object.assign(connection, { isLive: true, tries: 0, last: Date.now() });
  take(JSON.parse(data));
  if (isFirst) reread();
}

/** What changes seldom, or is not in the events. */
async function reread() {
  if (state.span !== "minute") readTimeline(state.span);
  if (clientKind === "idle") readIdle();
  readPeers();
}

/** Waits until a token is given. */
function askToken() {
  down(state.token ? "it refuses the token" : "it asks for a token");
  byId("token").hidden = false;
  if (!byId("token-box").open) byId("token-box").showModal();
  return new Promise((resolve) => (tokenGiven = resolve));
}
let tokenGiven = () => {};
byId("token").addEventListener("click", () => byId("token-box").showModal());
byId("token-box").addEventListener("close", () => {
  const value = byId("token-value").value.trim();
  byId("token-value").value = "";
  if (byId("token-box").returnValue !== "ok" || !value) return;
  state.token = value;
  try {
    sessionStorage.setItem("corelane-token", value);
  } catch {
    // Kept in memory only.
  }
  tokenGiven();
  readSettings();
});

/** A link cannot send the token, so the page fetches the file. */
document.querySelector("footer").addEventListener("click", async (event) => {
  const link = event.target.closest("a");
  if (!link || !state.token) return;
  event.preventDefault();
  const answer = await ask(link.getAttribute("href")).catch(() => null);
  if (!answer?.ok) return;
  const address = URL.createObjectURL(await answer.blob());
  make("a", { href: address, download: link.dataset.file }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
});

// ------------------------------------------------------------------------------------------------ settings

async function send(path, body) {
  const answer = byId("settings-answer");
  try {
    const response = await ask(path, { method: "POST", body: new URLSearchParams(body) });
    setText(answer, (await response.text()).trim() || `${response.status}`);
    setClass(answer, response.ok ? "note" : "note bad");
    if (response.status === 401) byId("token-box").showModal();
    await readSettings();
  } catch {
    setText(answer, "The server does not answer. Nothing has changed.");
    setClass(answer, "note bad");
  }
}

async function readSettings() {
  let settings;
  try {
    settings = await readJson("api/settings");
  } catch {
    byId("settings").hidden = true;
    return;
  }
  byId("settings").hidden = false;
  const isClosed = settings.changeable === false;
  setText(byId("settings-note"), isClosed ? "This monitor has no token, so nothing can be changed here." : "A change lasts until the server stops.");
  keyed(
    byId("settings-list"),
    settings.settings,
    (setting) => setting.key,
    (setting) => {
      const id = `set-${setting.key}`;
      const words = /^\w+(, \w+)+$/.test(setting.allowed) ? setting.allowed.split(", ") : [];
      const input = words.length > 0 ? make("select", { id }, ...words.map((word) => make("option", {}, word))) : make("input", { id, autocomplete: "off", spellcheck: "false" });
      const submit = (event) => {
        event.preventDefault();
        send("api/set", { [setting.key]: input.value });
      };
      return make("form", { submit }, make("label", { for: id }, setting.key + (setting.unit ? ` (${setting.unit.startsWith("of ") ? "share " : ""}${setting.unit})` : "")), input, make("button", {}, "Set"), make("p"));
    },
    (form, setting) => {
      const [, input, button, text] = form.children;
      if (document.activeElement !== input) input.value = setting.value;
      input.disabled = button.disabled = isClosed;
      setText(text, `${setting.text.replaceAll("`", "")} Allowed: ${setting.allowed}. Default: ${setting.default}.`);
    },
  );
}

// ------------------------------------------------------------------------------------------------ start

(async () => {
  try {
    state.token = sessionStorage.getItem("corelane-token") ?? "";
  } catch {
    // No storage.
  }
  setInterval(() => (connection.isLive ? null : showState()), 1000);
  setInterval(() => connection.isLive && !document.hidden && reread(), 10_000);
  const info = async () => {
    try {
      state.info = await readJson("api/info");
    } catch {
      state.info = {};
    }
  };
  await info();
  byId("token").hidden = !state.info.token;
  readSettings();
  for (;;) {
    await readEvents();
    await new Promise((resolve) => setTimeout(resolve, Math.min(500 * 2 ** Math.min(connection.tries - 1, 3), 3000)));
    if (connection.tries > 0 && !state.info.pages) await info();
  }
})();
})();
