// The monitor's page in a browser: its figures, ranges, sorting, theme, alerts, an outage, the frozen report, its growth
// and its accessibility. In every test the page asks only its own server, and logs no error.
//
// SHOTS=FOLDER keeps screenshots, to be looked at. PAGE=sources shows the page of the sources in place of the server's, so that
// a change of it needs no build.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";
import { assemble, FOLDER, hashed, read } from "./assemble.mjs";
import { check, eventually, get, show, startServer, TOKEN } from "./harness.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SOURCES = process.env.PAGE === "sources";
/** The time limit for one step of a browser, in milliseconds. */
const PATIENCE = 60_000;
const HOSTILE = '</script><img src=x onerror="document.title=1">\u202egpj';
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS, timeout: 120_000 });
});
after(() => browser?.close());

// ------------------------------------------------------------------------------------------------ helpers

/**
 * Opens the page of `server`, or at its `url`. Fails the test if it asks another server, or logs an error that `mayFail` does not match.
 * Keeps what the events bring in `window.seen`.
 */
async function open(t, server, { mayFail, token = TOKEN, ...context } = {}) {
  const url = server.url ?? `http://127.0.0.1:${server.monitor}/`;
  const tab = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...context });
  tab.setDefaultTimeout(PATIENCE);
  const page = await tab.newPage();
  const [errors, elsewhere] = [[], []];
  page.on("pageerror", (error) => errors.push(error.stack ?? String(error)));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !mayFail?.test(message.text())) errors.push(message.text());
  });
  page.on("request", (request) => {
    const same = url.startsWith("file:") ? request.url() === url : new URL(request.url()).origin === new URL(url).origin;
    if (!same && !request.url().startsWith("data:")) elsewhere.push(request.url());
  });
  // The tab is closed before the server ends, which would be an error.
  server.onStop?.(() => tab.close());
  t.after(async () => {
    await tab.close();
    assert.deepEqual([errors, elsewhere], [[], []]);
  });
  if (token && !server.url) await page.addInitScript((token) => sessionStorage.setItem("corelane-token", token), token);
  await page.addInitScript(() => {
    const parse = JSON.parse;
    JSON.parse = (...given) => {
      const value = parse(...given);
      if (value?.stats && value.timeline) window.seen = value.stats;
      return value;
    };
  });
  if (SOURCES) await page.route(/^http:[^?]*:\d+\/$/, (route) => route.fulfill({ contentType: "text/html; charset=utf-8", body: assemble() }));
  await page.goto(url);
  return page;
}

/** Options with a configuration file of these lines. */
function configured(t, ...lines) {
  const folder = mkdtempSync(path.join(tmpdir(), "corelane-page-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(path.join(folder, "page.toml"), lines.join("\n"));
  return { config: path.join(folder, "page.toml") };
}
const live = (page) => page.locator("#status.live-now").waitFor({ timeout: PATIENCE });
const text = (page, selector) => page.locator(selector).innerText();

async function shoot(page, name) {
  if (!process.env.SHOTS) return;
  mkdirSync(process.env.SHOTS, { recursive: true });
  await page.screenshot({ path: path.join(process.env.SHOTS, `${name}.png`), fullPage: true });
}

/** Clients that send to each other until the test ends. `sent` counts. */
async function load(t, server, { names = ["ann", "ben", HOSTILE], pause = 5 } = {}) {
  const clients = [];
  for (const name of names) clients.push(await server.join(name));
  const traffic = { clients, sent: 0, stop: false };
  const run = async () => {
    while (!traffic.stop) {
      const at = traffic.sent % clients.length;
      const [from, to] = [clients[at], clients[(at + 1) % clients.length]];
      const type = ["OFFER", "ANSWER", "CANDIDATE", "CANDIDATE"][traffic.sent % 4];
      from.ws.send(traffic.sent % 20 === 7 ? "{no json" : JSON.stringify({ type, dst: to.id, payload: { sdp: "x".repeat(300) } }));
      traffic.sent += 1;
      await sleep(pause);
    }
  };
  traffic.done = run();
  t.after(() => (traffic.stop = true));
  return traffic;
}

/** What the page shows and the report that it shows, read at one moment. */
function shown(page) {
  return page.evaluate(async () => {
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    for (;;) {
      const before = window.seen;
      await frame();
      await frame();
      if (before !== window.seen) continue;
      const tiles = [...document.querySelectorAll(".tile")].map((tile) => [tile.querySelector("h3").textContent, tile.querySelector(".big").innerText]);
      const rows = (id) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => [...row.children].map((cell) => cell.innerText));
      return { stats: before, tiles: Object.fromEntries(tiles), series: rows("series-table"), workers: rows("workers-table"), clients: rows("clients-table") };
    }
  });
}

const UNITS = { ns: 1, "µs": 1e3, ms: 1e6, s: 1e9, B: 1, KiB: 1024, MiB: 1048576, GiB: 1073741824, "%": 0.01 };
/** The number in a text such as `1.23 µs` or `7,389 active`. */
function value(shown) {
  const [, number, unit] = /^([\d.,]+)\s*(\S*)/.exec(shown) ?? assert.fail(`no number: ${shown}`);
  return Number(number.replaceAll(",", "")) * (UNITS[unit] ?? 1);
}

/** Whether a shown number is the figure, to the digits that are shown. */
function same(shown, figure, what) {
  if (figure === null || figure === undefined) return assert.equal(shown, "–", what);
  const wanted = figure;
  const close = Math.abs(value(shown) - wanted) <= Math.max(Math.abs(wanted) * 0.006, wanted < 1 ? 6e-5 : 0);
  assert.ok(close, `${what}: shown ${shown}, figure ${figure}`);
}

async function noFault(page, what) {
  await page.evaluate(`${axe}; 0`);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  assert.deepEqual(serious.map(({ id, nodes }) => `${what}: ${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`), []);
}

/** The page is as wide as its window: no table or word makes it scroll sideways. */
async function fits(page) {
  const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= window, `${wide} > ${window}`);
}

// ------------------------------------------------------------------------------------------------ tests

check("the vendored copies and the policy are those that are written down", () => {
  const listed = [...read("vendor/LICENSES.md").matchAll(/\| (\S+) \| ([0-9a-f]{64}) \|/g)];
  assert.equal(listed.length, 2);
  for (const [, file, hash] of listed) {
    assert.equal(createHash("sha256").update(readFileSync(`${FOLDER}vendor/${file}`)).digest("hex"), hash, file);
  }
  assert.equal(read("page.html"), hashed(), "run node assemble.mjs");
});

check("the figures are those of the report, under load", async (t) => {
  const server = await startServer(t, { set: "slow_message_threshold_ms=1" });
  const traffic = await load(t, server);
  const page = await open(t, server);
  assert.ok(SOURCES || (await get(server.monitor, "/")).text === assemble(), "the server's page is not that of the sources");
  await live(page);
  let rounds = 0;
  const [end, latest] = [Date.now() + 6_000, Date.now() + PATIENCE];
  // A browser on a busy machine is slow.
  while (Date.now() < end || (rounds < 5 && Date.now() < latest)) {
    const { stats, tiles, series, workers, clients } = await shown(page);
    const window = stats.messages.windows.last_minute;
    if (window.count === 0) continue;
    rounds += 1;
    same(tiles["Message rate"], window.throughput_per_second, "rate");
    same(tiles["Error rate"], window.error_rate, "errors");
    for (const name of ["p50", "p95", "p99"]) same(tiles[`${name.toUpperCase()} handling`], window[name], name);
    same(tiles.Connections, stats.connections.active, "connections");
    same(tiles["Queue depth"], stats.routing.totals.queue_messages, "queue");
    same(tiles["Firing alerts"], stats.alerts.current.length, "alerts");
    for (const one of stats.types.filter((one) => one.total > 0)) {
      const row = series.find(([name]) => name === (one.protocol ? `${one.protocol}/${one.name}` : one.name));
      assert.ok(row, one.name);
      const minute = one.windows.last_minute;
      const wanted = [minute.throughput_per_second, minute.p50, minute.p99, minute.error_rate, one.total, one.failed, one.expired, one.slow, one.bytes, one.latency.p99, one.latency.maximum];
      wanted.forEach((figure, at) => same(row[at + 2], figure, `${one.name} ${at}`));
    }
    stats.routing.workers.forEach((worker, place) => {
      same(workers[place][2], stats.routing.rates.worker_utilisation[place], "load");
      same(workers[place][3], worker.queue_messages, "queue");
      same(workers[place][11], worker.received, "received");
    });
    stats.clients.by_messages.forEach((client, at) => {
      const row = clients[at];
      assert.equal(row[0], client.name.replace("\u202e", "\ufffd"));
      assert.ok(row[1] === "127.0.0.1" || row[1] === "–");
      same(row[3], client.messages, "messages");
      same(row[4], client.errors, "errors");
    });
    await sleep(300);
  }
  assert.ok(rounds >= 5, `${rounds} rounds`);
  traffic.stop = true;
  await traffic.done;
  // What was sent is what is shown.
  await eventually("all messages", async () => {
    const { series } = await shown(page);
    return series.reduce((sum, row) => sum + value(row[6]), 0) === traffic.sent;
  });
  // The client's name is text.
  assert.equal(await page.locator("main img").count(), 0);
  assert.match(await page.title(), /^(\(\d+\) )?corelane 127/);
  await shoot(page, "load");
});

check("ranges, sorting, theme and keys", async (t) => {
  const server = await startServer(t);
  await load(t, server);
  const page = await open(t, server, { colorScheme: "light" });
  await live(page);
  await eventually("rows", async () => (await page.locator("#series-table tbody tr").count()) >= 4);
  const pressed = () => text(page, "#spans [aria-pressed=true]");
  assert.equal(await pressed(), "Minute");
  assert.equal(await page.locator("#charts canvas").count(), 6);
  for (const [key, name] of [["2", "Hour"], ["3", "Day"], ["1", "Minute"]]) {
    await page.keyboard.press(key);
    assert.equal(await pressed(), name);
    // The legend has the latest value of the range.
    await eventually(`a value of the ${name}`, async () => /All\s*[1-9.]/.test(await text(page, "#charts .chart:first-child .u-legend")));
  }
  // The value under the cursor.
  const box = await page.locator("#charts .chart:first-child .u-over").boundingBox();
  await page.mouse.move(box.x + box.width - 12, box.y + box.height / 2);
  await eventually("a value under the cursor", async () => /Time\s*\d\d:\d\d:\d\d/.test(await text(page, "#charts .chart:nth-child(2) .u-legend")));
  // Sorting by name, both ways, with the keyboard.
  const names = () => page.locator("#series-table tbody th").allInnerTexts();
  const head = page.locator("#series-table thead button").first();
  await head.focus();
  await page.keyboard.press("Enter");
  const up = await names();
  assert.deepEqual(up, [...up].sort((a, b) => a.localeCompare(b)));
  assert.equal(await page.locator("#series-table thead th").first().getAttribute("aria-sort"), "ascending");
  await page.keyboard.press("Enter");
  assert.deepEqual(await names(), [...up].reverse());
  await page.locator("#series-tabs button", { hasText: "Protocols" }).click();
  await eventually("protocols", async () => (await names()).includes("peerjs"));
  // The idle clients are asked for.
  await page.locator("#clients-tabs button", { hasText: "Idle" }).click();
  // Theme: auto, light, dark; kept.
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.keyboard.press("t");
  assert.equal(await ground(), light);
  await page.keyboard.press("t");
  const dark = await ground();
  assert.notEqual(dark, light);
  await page.reload();
  await live(page);
  assert.equal(await ground(), dark);
  // Pause: figures stand still, and continue.
  await page.keyboard.press("p");
  assert.match(await text(page, "#state"), /^Paused/);
  const before = await text(page, "#foot");
  await sleep(2_500);
  assert.equal(await text(page, "#foot"), before);
  await page.keyboard.press("p");
  await eventually("it to go on", async () => (await text(page, "#foot")) !== before);
  await page.keyboard.press("?");
  assert.ok(await page.locator("#help-box").isVisible());
  await page.keyboard.press("Escape");
});

check("an alert is raised, marked and resolved", async (t) => {
  const server = await startServer(t, configured(t, "[monitor]", "monitor_interval_ms = 500", "[thresholds]", "high_connection_threshold = 2"));
  const page = await open(t, server);
  await live(page);
  assert.equal(await page.locator("#firing p").count(), 0);
  const clients = [];
  for (const name of ["ann", "ben", "cat"]) clients.push(await server.join(name));
  const alert = page.locator("#firing p");
  await alert.waitFor({ timeout: PATIENCE });
  assert.match(await alert.innerText(), /^Warning connections The number of connections is 3.* since \d\d:\d\d:\d\d UTC/);
  assert.match(await page.title(), /^\(1\) /);
  assert.ok(await page.locator(".tile.warn h3", { hasText: "Connections" }).isVisible());
  await eventually("its mark", async () => /firing.*connections/s.test(await text(page, "#marks")));
  await shoot(page, "alert");
  for (const client of clients) client.ws.close();
  await eventually("its end", async () => (await page.locator("#firing p").count()) === 0);
  await eventually("its past", async () => /connections/.test(await text(page, "#past-table")));
  await eventually("its mark's end", async () => /, for .*connections/s.test(await text(page, "#marks")));
});

check("a server that goes and comes back", async (t) => {
  const server = await startServer(t);
  const page = await open(t, server, { mayFail: /ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|ERR_NETWORK/ });
  await live(page);
  await server.terminate();
  const outage = page.locator("#outage");
  await outage.waitFor({ timeout: PATIENCE });
  const said = await outage.innerText();
  assert.match(said, /has not answered since \d\d:\d\d:\d\d UTC \(\d+ s\).*figures below are of \d\d:\d\d:\d\d UTC/);
  assert.match(await text(page, "#state"), /^No connection since/);
  await shoot(page, "outage");
  await startServer(t, {}, { ports: [server.port, server.monitor] });
  await live(page);
  assert.ok(await outage.isHidden());
  await eventually("a mark of the restart", async () => /started again/.test(await text(page, "#marks")));
});

check("settings change with the token only", async (t) => {
  const server = await startServer(t);
  const page = await open(t, server, { mayFail: /40[01]/, token: null });
  await page.locator("#token-box").waitFor({ timeout: PATIENCE });
  await page.locator("#token-value").fill(TOKEN);
  await page.keyboard.press("Enter");
  await live(page);
  const input = page.locator("#set-slow_message_threshold_ms");
  await input.waitFor();
  await input.fill("never");
  await page.keyboard.press("Enter");
  await eventually("a refusal", async () => /slow_message_threshold_ms/.test(await text(page, "#settings-answer.bad").catch(() => "")));
  await input.fill("7");
  await page.keyboard.press("Enter");
  await eventually("the change", async () => (await show(server, "/api/stats")).slow_messages.threshold_nanoseconds === 7e6);
  await eventually("the change on the page", async () => /longer than 7.00 ms/.test(await text(page, "#slow-note")));
  await shoot(page, "settings");
  // The report needs the token too, which a link cannot send.
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("footer a").first().click()]);
  assert.equal(download.suggestedFilename(), "corelane.html");
  assert.match(readFileSync(await download.path(), "utf8"), /^<!doctype html>[^]*"schema_version"/);
});

check("the report is the same page, frozen", async (t) => {
  const server = await startServer(t);
  const traffic = await load(t, server);
  await sleep(2_500);
  traffic.stop = true;
  await traffic.done;
  await eventually("all messages", async () => (await show(server, "/api/stats")).messages.total === traffic.sent);
  const report = await get(server.monitor, "/api/report?format=html");
  const folder = mkdtempSync(path.join(tmpdir(), "corelane-page-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, "report.html");
  writeFileSync(file, report.text);
  const figures = /id="figures">([^]*?)<\/script>/.exec(report.text)[1];
  const held = JSON.parse(figures);
  if (SOURCES) writeFileSync(file, assemble(figures));
  const page = await open(t, { url: `file://${file}` });
  assert.match(await text(page, "#state"), /^Report of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/);
  assert.ok(await page.locator("#pause").isHidden());
  assert.ok(await page.locator("#settings").isHidden());
  const rows = await page.locator("#series-table tbody tr").allInnerTexts();
  assert.equal(rows.length, held.stats.types.filter((one) => one.total > 0).length);
  assert.match(await text(page, "#clients-table"), /<\/script><img src=x/);
  assert.equal(await page.locator("main img").count(), 0);
  await page.keyboard.press("2");
  assert.match(await text(page, "#charts .chart:first-child .u-legend"), /All\s*[\d.,]+ \/s/);
  await noFault(page, "report");
  await shoot(page, "report");
});

/** The values of the first chart's legend under the cursor, as the arrow key moves it from slot to slot to the left. */
async function walk(page, steps) {
  const chart = page.locator("#charts .chart").first();
  await chart.focus();
  const seen = [];
  for (let step = 0; step < steps; step += 1) {
    await page.keyboard.press("ArrowLeft");
    const legend = await chart.locator(".u-legend").innerText();
    seen.push(/All\s*(\S+)/.exec(legend)[1]);
  }
  return seen;
}

check("a gap is shown as a gap, and an alert as a mark, by the frozen page alone", async (t) => {
  const server = await startServer(t);
  await load(t, server);
  await sleep(2_500);
  const stats = await show(server, "/api/stats");
  const timeline = await show(server, "/api/timeline?span=minute");
  // Sixty slots, of which ten are missing in the middle.
  const end = stats.time_milliseconds;
  const slots = Array.from({ length: 60 }, (_, at) => at).filter((at) => at < 30 || at >= 40);
  const column = (value) => slots.map(value);
  const start = column((at) => end - (60 - at) * 1_000);
  const all = { start, end: start.map((time) => time + 1_000), count: column((at) => at + 1), errors: column(() => 0), slow: column(() => 0), bytes: column(() => 0), p50: column(() => null), p95: column(() => null), p99: column(() => null) };
  const alert = { id: "made_up", name: "made_up", severity: "critical", state: "resolved", message: "It is made up", metric: "x", raised: end - 50_000, resolved: end - 20_000, since: end - 50_000 };
  const figures = { stats: { ...stats, alerts: { ...stats.alerts, history: [alert] } }, timelines: [{ ...timeline, messages: all, time_milliseconds: end }] };
  const folder = mkdtempSync(path.join(tmpdir(), "corelane-page-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(path.join(folder, "gap.html"), assemble(JSON.stringify(figures)));
  const page = await open(t, { url: `file://${folder}/gap.html` });
  const values = await walk(page, 51);
  const wanted = [...Array.from({ length: 20 }, (_, at) => 60 - at), "–", ...Array.from({ length: 30 }, (_, at) => 30 - at)];
  assert.deepEqual(values.map((value) => (value === "–" ? value : Number(value))), wanted);
  assert.match(await text(page, "#marks"), /UTC, for 30 s\s*critical made_up: It is made up/);
  await shoot(page, "gap");
});

check("what is off is said, and nothing breaks", async (t) => {
  const server = await startServer(t, { set: "enable_metrics=off" });
  await load(t, server);
  const page = await open(t, server);
  await live(page);
  await eventually("the notice", async () => /No message figures: enable_metrics is off/.test(await text(page, "#notes")));
  assert.match(await text(page, ".tile:first-child"), /–/);
  await shoot(page, "off");
  // A monitor without a router and without system figures.
  const stats = await show(server, "/api/stats");
  const nothing = { routing: null, system: null, messages: null, clients: null, types: null, protocols: null, applications: null, slow_messages: null };
  const folder = mkdtempSync(path.join(tmpdir(), "corelane-page-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(path.join(folder, "little.html"), assemble(JSON.stringify({ stats: { ...stats, ...nothing }, timelines: [] })));
  const little = await open(t, { url: `file://${folder}/little.html` });
  assert.match(await text(little, "#notes"), /No client figures/);
  for (const id of ["path", "workers", "system"]) assert.ok(await little.locator(`#${id}`).isHidden(), id);
  await shoot(little, "little");
});

check("no serious accessibility fault, and nothing wider than the window", async (t) => {
  const server = await startServer(t, configured(t, "[monitor]", "monitor_interval_ms = 500", "slow_message_threshold_ms = 1", "[thresholds]", "high_connection_threshold = 2"));
  await load(t, server, { names: ["ann", "ben", HOSTILE, "a".repeat(64)] });
  for (const [name, viewport] of [["desktop", { width: 1280, height: 900 }], ["phone", { width: 390, height: 844 }]]) {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(t, server, { viewport, colorScheme });
      await live(page);
      await page.locator("#firing p").first().waitFor();
      await page.locator("#settings-list form").first().waitFor();
      await noFault(page, `${name} ${colorScheme}`);
      await fits(page);
      await shoot(page, `${name}-${colorScheme}`);
    }
  }
});

check("a minute at ten times the event rate does not grow it", async (t) => {
  const server = await startServer(t);
  const traffic = await load(t, server, { pause: 20 });
  await sleep(2_000);
  const [stats, timeline] = [await show(server, "/api/stats"), await show(server, "/api/timeline?span=minute")];
  traffic.stop = true;
  // A server of its own that sends ten events a second, each with other figures.
  let [at, events] = [Date.now(), 0];
  const pages = http.createServer((request, response) => {
    const url = new URL(request.url, "http://x");
    if (url.pathname === "/") return response.writeHead(200, { "content-type": "text/html" }).end(assemble());
    if (url.pathname === "/api/info") return response.end("{}");
    if (url.pathname !== "/api/events") return response.writeHead(404).end();
    response.writeHead(200, { "content-type": "text/event-stream" });
    const send = () => {
      at += 1_000;
      events += 1;
      const moved = structuredClone(stats);
      moved.time_milliseconds = at;
      moved.messages.windows.last_minute.count += events;
      moved.clients.by_messages.forEach((client, place) => Object.assign(client, { id: client.id + events * 100 + place, name: `${client.name} ${events}` }));
      const slot = { start: [at - 1_000], end: [at] };
      const columns = { ...slot, count: [events], errors: [events % 5], slow: [0], bytes: [events * 10], p50: [1_000], p95: [2_000], p99: [3_000 + events] };
      const counts = Object.fromEntries(Object.keys(timeline.counts).map((name) => [name, { ...slot, count: [events], errors: [0] }]));
      const points = Object.fromEntries(Object.keys(timeline.points).map((name) => [name, { start: [at - 1_000], average: [events], maximum: [events] }]));
      const moment = { ...timeline, time_milliseconds: at, messages: columns, queue_wait: columns, counts, points };
      response.write(`id: ${at}\nevent: figures\ndata: ${JSON.stringify({ stats: moved, timeline: moment })}\n\n`);
    };
    const timer = setInterval(send, 100);
    request.on("close", () => clearInterval(timer));
  });
  await new Promise((done) => pages.listen(0, "127.0.0.1", done));
  const page = await open(t, { url: `http://127.0.0.1:${pages.address().port}/` }, { mayFail: /404/ });
  t.after(() => {
    pages.closeAllConnections();
    pages.close();
  });
  await live(page);
  const session = await page.context().newCDPSession(page);
  const measure = async () => {
    await session.send("HeapProfiler.collectGarbage");
    await session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    const { nodes, jsEventListeners } = await session.send("Memory.getDOMCounters");
    return { usedSize, nodes, jsEventListeners };
  };
  // Every range and list is full after 150 slots. A busy machine sends fewer events in a minute.
  await eventually("150 events", () => events >= 150);
  const first = await measure();
  await eventually("600 more", () => events >= 750, 4 * PATIENCE);
  const last = await measure();
  t.diagnostic(`${events} events; heap ${first.usedSize} → ${last.usedSize} bytes, nodes ${first.nodes} → ${last.nodes}`);
  // The heap itself varies by some 100 KiB. Six hundred kept reports would be 46 MB, kept rows of clients 10 MB.
  assert.ok(last.usedSize < first.usedSize * 1.1 + 1_000_000, `heap ${first.usedSize} → ${last.usedSize}`);
  assert.ok(last.nodes <= first.nodes * 1.05 + 100, `nodes ${first.nodes} → ${last.nodes}`);
  assert.ok(last.jsEventListeners <= first.jsEventListeners + 10, `listeners ${first.jsEventListeners} → ${last.jsEventListeners}`);
}, { timeout: 8 * PATIENCE });

check("the machines of a cluster and their links are shown", async (t) => {
  const { unusable, startNats } = await import("./nats.mjs");
  const reason = unusable();
  if (reason) return t.skip(reason);
  const nats = await startNats(t);
  const start = (machine) => startServer(t, { cluster: nats.urls, cluster_name: "page", machine, drain_seconds: 0 });
  const [server, other] = [await start("left"), await start("right")];
  await server.inCluster(2);
  const [ann, ben] = [await server.join("ann"), await other.join("ben")];
  for (let number = 0; number < 30; number += 1) ann.send({ type: "OFFER", dst: "ben", payload: number });
  await ben.nextMany(30);
  const page = await open(t, server);
  await live(page);
  await eventually("the figures of the link", async () => /right\s+up[^]*\b30\b/.test(await text(page, "#links-table")));
  for (const wanted of [/left\s+this one/, /NATS\s+connected/, /Names of all\s+2/]) {
    await eventually(`the cluster to show ${wanted}`, async () => wanted.test(await text(page, "#cluster")));
  }
  await shoot(page, "cluster");
  await page.setViewportSize({ width: 390, height: 800 });
  await shoot(page, "cluster-phone");
  await other.kill();
  await eventually("the other to be gone", async () => /right\s+down/.test(await text(page, "#links-table")) || !/right/.test(await text(page, "#links-table")), PATIENCE);
});
