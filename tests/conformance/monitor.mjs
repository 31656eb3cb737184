// The figures of corelane's server under /api, and the settings that can be changed there. Runs with SUITE=all only.
// README.md describes how to run the suite.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as harness from "./harness.mjs";
import { eventually, get, nothingBefore, own, post, refusedStart, startServer } from "./harness.mjs";

const JSON_TYPE = "application/json; charset=utf-8";
/** The addresses of parts of the report, and their names in the report. */
const PARTS = {
  messages: "messages",
  types: "types",
  protocols: "protocols",
  applications: "applications",
  clients: "clients",
  slow: "slow_messages",
  connections: "connections",
  system: "system",
  routing: "routing",
  alerts: "alerts",
  custom: "custom",
};

const check = (name, run) => harness.check(name, run, { only: own });

/** The JSON response of the monitor at an address. */
async function show(server, path) {
  const answer = await get(server.monitor, path);
  assert.equal(answer.status, 200, `${path}: ${answer.text}`);
  assert.equal(answer.headers["content-type"], JSON_TYPE, path);
  return JSON.parse(answer.text);
}

/** Changes a key in the same way as an HTML form. */
function set(server, key, value, headers) {
  return post(server.monitor, "/api/set", new URLSearchParams([[key, value]]).toString(), headers);
}

/** Connects two clients, exchanges some messages, and waits until they are counted. */
async function busy(t, options) {
  const server = await startServer(t, options);
  const [ann, ben] = [await server.join("ann"), await server.join("ben")];
  for (let number = 0; number < 10; number += 1) ann.send({ type: "OFFER", dst: "ben", payload: number });
  await ben.nextMany(10);
  await eventually("every message to be counted", async () => (await server.stats()).messages.total === 10);
  return { server, ann, ben };
}

/** Asserts that a reading has the members of those before and after it, and their values where these agree; counts them. */
function between(first, middle, last, path) {
  if (first === null || typeof first !== "object") {
    if (first !== last) return 0;
    // A time of day is computed from the time of the reading, in whole milliseconds, so it may differ by one.
    if (path.endsWith("_milliseconds")) assert.ok(Math.abs(middle - first) <= 1, `${path}: ${first}, then ${middle}`);
    else assert.equal(middle, first, path);
    return 1;
  }
  assert.deepEqual(Object.keys(middle).sort(), Object.keys(first).sort(), path);
  const agreed = Object.keys(first).map((key) => between(first[key], middle[key], last[key], `${path}.${key}`));
  return agreed.reduce((sum, count) => sum + count, 0);
}

check("each part is the whole report's", async (t) => {
  // With this interval the system is evaluated once, so that all parts show the same figures.
  const { server } = await busy(t, { set: "monitor_interval_ms=3600000" });
  await eventually("the first look at the system", async () => (await server.stats()).system !== null);
  for (const [address, name] of Object.entries(PARTS)) {
    const first = await show(server, "/api/stats");
    const middle = await show(server, `/api/${address}`);
    const last = await show(server, "/api/stats");
    assert.ok(name in first, name);
    const agreed = between(first[name], middle, last[name], name);
    assert.ok(agreed > 0 || name === "custom", `${agreed} steady values of ${name}`);
  }
});

check("the report's schema is served and describes what is there", async (t) => {
  const { server } = await busy(t);
  const { status, headers, text } = await get(server.monitor, "/api/schema");
  assert.equal(status, 200, text);
  assert.equal(headers["content-type"], "application/schema+json");
  assert.deepEqual(Object.keys(JSON.parse(text).properties).sort(), Object.keys(await server.stats()).sort());
});

check("the report comes in each format", async (t) => {
  const { server } = await busy(t);
  const report = async (query) => {
    const { status, headers, text } = await get(server.monitor, `/api/report${query}`);
    assert.equal(status, 200, text);
    return { type: headers["content-type"], text };
  };
  for (const query of ["", "?format=html"]) {
    const page = await report(query);
    assert.equal(page.type, "text/html; charset=utf-8");
    assert.match(page.text, /^<!doctype html>/i);
    assert.match(page.text, /OFFER/);
  }
  const text = await report("?format=text");
  assert.equal(text.type, "text/plain; charset=utf-8");
  assert.match(text.text, /OFFER/);
  const json = await report("?format=json");
  assert.equal(json.type, JSON_TYPE);
  assert.equal(JSON.parse(json.text).messages.total, 10);
});

check("histories are listed and shown", async (t) => {
  const { server } = await busy(t);
  const { names } = await show(server, "/api/history");
  for (const name of ["messages", "queue_wait", "types.peerjs/OFFER", "connections.active"]) {
    assert.ok(names.includes(name), `${name} in ${names}`);
  }
  const count = ({ slots }) => slots.reduce((sum, slot) => sum + slot.count, 0);
  for (const span of ["minute", "hour", "day"]) {
    const name = encodeURIComponent("types.peerjs/OFFER");
    const history = await show(server, `/api/history?name=${name}&span=${span}`);
    assert.deepEqual([history.name, count(history), history.points], ["types.peerjs/OFFER", 10, []], span);
  }
  assert.equal(count(await show(server, "/api/history?name=messages")), 10);
  await eventually("a point of the connections", async () => {
    const { points } = await show(server, "/api/history?name=connections.active");
    return points.length > 0;
  });
});

check("idle clients are found by how long they are silent", async (t) => {
  const { server } = await busy(t);
  const idle = async (milliseconds) => {
    const clients = await show(server, `/api/clients/idle?longer_than_ms=${milliseconds}`);
    return clients.map(({ name }) => name).sort();
  };
  await eventually("both to have been silent for a moment", async () => (await idle(1)).length === 2);
  assert.deepEqual(await idle(0), ["ann", "ben"]);
  assert.deepEqual(await idle(3_600_000), []);
});

check("what means nothing is refused with what is allowed", async (t) => {
  const { server } = await busy(t);
  for (const [path, allowed] of [
    ["/api/report?format=xml", /xml.*html, text, json/],
    ["/api/report?form=text", /form.*format/],
    ["/api/report?format=text&format=json", /format.*once/],
    ["/api/stats?x=1", /x.*none/],
    ["/api/messages?x=1", /x.*none/],
    ["/api/clients/idle", /longer_than_ms.*number/],
    ["/api/clients/idle?longer_than_ms=-1", /longer_than_ms.*-1.*number/],
    ["/api/history?name=nobody", /nobody.*\/api\/history/],
    ["/api/history?name=messages&span=year", /year.*minute, hour, day/],
    ["/api/history?span=hour", /name/],
  ]) {
    const { status, text } = await get(server.monitor, path);
    assert.equal(status, 400, path);
    assert.match(text, allowed);
  }
  assert.equal((await get(server.monitor, "/api/nothing")).status, 404);
  for (const path of ["/api/reset", "/api/set"]) {
    const { status, headers } = await get(server.monitor, path);
    assert.deepEqual([status, headers.allow], [405, "POST"]);
  }
  const { status, headers } = await post(server.monitor, "/api/stats");
  assert.deepEqual([status, headers.allow], [405, "GET, HEAD"]);
});

check("a reset starts the figures anew, and leaves who is connected", async (t) => {
  const { server, ann, ben } = await busy(t);
  assert.equal((await post(server.monitor, "/api/reset")).status, 200);
  const after = await server.stats();
  assert.deepEqual([after.messages.total, after.resets, after.connections.active], [0, 1, 2]);
  await nothingBefore(ann, ben);
  await eventually("the next message to be counted", async () => (await server.stats()).messages.total === 1);
});

check("a threshold changes, and nonsense does not", async (t) => {
  const server = await startServer(t);
  const threshold = async () => (await server.stats()).slow_messages.threshold_nanoseconds;
  assert.equal(await threshold(), 1_000_000_000);
  assert.equal((await set(server, "slow_message_threshold_ms", "7")).status, 200);
  assert.equal(await threshold(), 7_000_000);
  for (const [key, value, says] of [
    ["slow_message_threshold_ms", "0", /slow_message_threshold_ms.*0.*allowed/],
    ["slow_message_threshold_ms", "soon", /soon.*allowed/],
    ["workers", "2", /workers.*cannot be changed.*slow_message_threshold_ms/],
    ["nonsense", "1", /nonsense.*nearest/],
  ]) {
    const { status, text } = await set(server, key, value);
    assert.equal(status, 400, `${key}=${value}`);
    assert.match(text, says);
  }
  for (const body of ["", "slow_message_threshold_ms=8&slow_message_threshold_ms=9"]) {
    assert.equal((await post(server.monitor, "/api/set", body)).status, 400, body);
  }
  assert.equal((await set(server, "slow_message_threshold_ms", "9".repeat(5_000))).status, 413);
  assert.equal(await threshold(), 7_000_000);
});

check("many changes do not put off the next look", async (t) => {
  const { server } = await busy(t, { set: "monitor_interval_ms=100" });
  for (let number = 0; number < 60; number += 1) await set(server, "slow_message_threshold_ms", "5");
  const points = async () => (await show(server, "/api/history?name=connections.active")).points.length;
  const before = await points();
  // Sixty changes must not delay the next look by a minute.
  await eventually("another look", async () => (await points()) > before);
});

check("a page of another origin changes nothing", async (t) => {
  const server = await startServer(t);
  for (const origin of ["http://example.com", "null", `http://127.0.0.1:${server.port}`]) {
    assert.equal((await post(server.monitor, "/api/reset", "", { origin })).status, 403, origin);
    assert.equal((await set(server, "slow_message_threshold_ms", "7", { origin })).status, 403, origin);
  }
  const { resets, slow_messages } = await server.stats();
  assert.deepEqual([resets, slow_messages.threshold_nanoseconds], [0, 1_000_000_000]);
  const origin = `http://127.0.0.1:${server.monitor}`;
  assert.equal((await post(server.monitor, "/api/reset", "", { origin })).status, 200);
  assert.equal((await server.stats()).resets, 1);
});

check("an alert is raised, told in the journal, and resolved", async (t) => {
  const server = await startServer(t);
  const clients = [await server.join("ann"), await server.join("ben"), await server.join("cleo")];
  assert.equal((await set(server, "monitor_interval_ms", "100")).status, 200);
  assert.equal((await set(server, "high_connection_threshold", "2")).status, 200);
  const alerts = () => show(server, "/api/alerts");
  const raised = await eventually("the alert", async () => {
    return (await alerts()).current.find(({ name }) => name === "connections");
  });
  assert.deepEqual([raised.state, raised.threshold, raised.current_value], ["firing", 2, 3]);
  await eventually("the alert's line", () => /WARN.* alert: warning: .*connections/.test(server.output()));
  await Promise.all(clients.slice(1).map((client) => client.close()));
  const over = await eventually("the alert to be over", async () => {
    return (await alerts()).history.find(({ name }) => name === "connections");
  });
  assert.equal(over.state, "resolved");
  assert.deepEqual((await alerts()).current, []);
  await eventually("the line that it is over", () => /INFO.* alert: resolved: .*connections/.test(server.output()));
});

check("a rule that cannot raise an alert is named at the start", async (t) => {
  const server = await startServer(t, { set: "enable_metrics=off" });
  await eventually("the warning", () => /WARN this rule cannot raise an alert.*error_rate.*enable_metrics is off/.test(server.output()));
  assert.equal((await server.stats()).messages, null);
  const on = await startServer(t);
  await on.join("ann");
  assert.doesNotMatch(on.output(), /cannot raise an alert/);
});

check("the report is kept in a file", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "corelane-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "report.json");
  const server = await startServer(t, { report_file: file, report_format: "json" });
  // Write soon, and not after a minute.
  assert.equal((await set(server, "report_interval_ms", "1000")).status, 200);
  await eventually("the file", () => existsSync(file));
  assert.equal(JSON.parse(readFileSync(file, "utf8")).schema_version, 3);
  const { code, errors } = await refusedStart(t, { report_file: file, report_format: "xml" });
  assert.equal(code, 2, errors);
  assert.match(errors, /xml.*html, text, json/s);
});
