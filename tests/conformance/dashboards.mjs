// docs/prometheus and docs/grafana against a real Prometheus that scrapes a loaded server: every expression of the rules and of the
// dashboard returns data. Runs with SUITE=all only; needs prometheus and promtool. RECORDER is a program that records messages
// without a router: examples/small/monitor_axum.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import * as harness from "./harness.mjs";
import { TOKEN, eventually, freePorts, get, own, within } from "./harness.mjs";
import { load, startLoaded } from "./load.mjs";

const DOCS = fileURLToPath(new URL("../../docs/", import.meta.url));
const RULES = `${DOCS}prometheus/`;
const dashboard = JSON.parse(readFileSync(`${DOCS}grafana/corelane.json`, "utf8"));

/** How long the load may take to give every expression data, in milliseconds. */
const PATIENCE = 180_000;
/** The dashboard's variables, as Grafana fills them in for "All", and a rate interval of five scrapes. */
const VARIABLES = { job: ".*", instance: ".*", protocol: ".*", type: ".*", __rate_interval: "5s" };

/**
 * Expressions that may have no data here, with the reason. docs/monitor.md lists them too.
 * A string matches if the expression contains it.
 */
const MAY_BE_EMPTY = {
  corelane_system_memory_limit: "the machine's control groups may set no limit",
  corelane_cluster_: "only routers in a cluster",
  corelane_runtime_: "only hosts in Go have a runtime that they report",
  "absent(": "has data only if Prometheus has no such target",
};

const check = (name, run) => harness.check(name, run, { only: own });

/** Runs a program to its end and returns its output; fails with it. */
function output(program, ...args) {
  try {
    return execFileSync(program, args, { cwd: RULES, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    return assert.fail(`${program} ${args.join(" ")}\n${error.message}\n${error.stdout}${error.stderr}`);
  }
}

/** A folder of the test, with the configuration and rules of docs/prometheus and the token of the suite. */
function folderOf(t) {
  const folder = mkdtempSync(join(tmpdir(), "corelane-dashboards-"));
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  for (const file of ["prometheus.yml", "corelane.rules.yml", "corelane.alerts.yml"]) {
    copyFileSync(RULES + file, join(folder, file));
  }
  writeFileSync(join(folder, "corelane.token"), `${TOKEN}\n`);
  return folder;
}

// ---------------------------------------------------------------------------------------------------- without a server

check("the dashboard is what its script writes", () => {
  output(process.execPath, `${DOCS}grafana/make.mjs`, "--check");
});

check("promtool accepts rules, their unit tests and the example configuration", (t) => {
  output("promtool", "check", "rules", "corelane.rules.yml", "corelane.alerts.yml");
  output("promtool", "test", "rules", "corelane.tests.yml");
  output("promtool", "check", "config", join(folderOf(t), "prometheus.yml"));
  const alerts = readFileSync(`${RULES}corelane.alerts.yml`, "utf8").matchAll(/- alert: (\S+)/g);
  const tests = readFileSync(`${RULES}corelane.tests.yml`, "utf8");
  for (const [, name] of alerts) assert.ok(tests.includes(`- name: ${name}`), `${name} has a unit test`);
});

/** All panels that are no rows. */
const panels = dashboard.panels.flatMap((one) => (one.type === "row" ? one.panels : [one]));

check("docs/monitor.md lists the expressions that may have no data", () => {
  const text = readFileSync(`${DOCS}monitor.md`, "utf8");
  const listed = text.slice(text.indexOf("Panels without data:"), text.indexOf("The thresholds of the alerts"));
  for (const part of Object.keys(MAY_BE_EMPTY)) assert.ok(listed.includes(part), part);
});

check("panels have ids of their own, do not overlap, and use the variables that exist", () => {
  const ids = [...dashboard.panels, ...dashboard.panels.flatMap((one) => one.panels ?? [])].map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  for (const [at, { title, gridPos: a }] of panels.entries()) {
    assert.ok(a.x + a.w <= 24, title);
    for (const { title: other, gridPos: b } of panels.slice(at + 1)) {
      const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      assert.ok(apart, `${title} and ${other}`);
    }
  }
  const known = [...dashboard.templating.list.map(({ name }) => name), "__rate_interval", "__all"];
  for (const [, name] of JSON.stringify(dashboard).matchAll(/\$\{?(\w+)/g)) assert.ok(known.includes(name), name);
  for (const { title, targets } of panels) {
    for (const { datasource } of targets) assert.equal(datasource.uid, "${datasource}", title);
  }
});

// ---------------------------------------------------------------------------------------------------- with a server

/** A Prometheus with the configuration and the rules of docs/prometheus, which scrapes each second. */
class Prometheus {
  constructor(port, child) {
    Object.assign(this, { port, child });
  }

  static async start(t, targets) {
    const folder = folderOf(t);
    const file = join(folder, "prometheus.yml");
    const list = targets.map((port) => `"127.0.0.1:${port}"`).join(", ");
    const config = readFileSync(file, "utf8").replaceAll("15s", "1s").replace('"127.0.0.1:9090"', list);
    assert.ok(config.includes(list) && config.includes("scrape_interval: 1s"), config);
    writeFileSync(file, config);
    const [port] = await freePorts(1);
    const args = [`--config.file=${file}`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`];
    const child = spawn("prometheus", [...args, "--log.level=warn"], { stdio: ["ignore", "ignore", "inherit"] });
    const ended = once(child, "exit");
    t.after(async () => {
      child.kill("SIGTERM");
      await within(ended, "Prometheus to end");
    });
    const prometheus = new Prometheus(port, child);
    await eventually("Prometheus to answer", () => prometheus.ready());
    return prometheus;
  }

  async ready() {
    const answer = await get(this.port, "/-/ready").catch(() => null);
    return answer?.status === 200;
  }

  /** The data of an answer of the API; fails with its error. */
  async ask(path, query = {}) {
    const { text } = await get(this.port, `/api/v1/${path}?${new URLSearchParams(query)}`);
    const { status, data, error } = JSON.parse(text);
    assert.equal(status, "success", `${JSON.stringify(query)}: ${error}`);
    return data;
  }

  /** The series of a query now. NaN is no data. */
  async series(query) {
    const { resultType, result } = await this.ask("query", { query });
    assert.equal(resultType, "vector", query);
    return result.filter(({ value }) => value[1] !== "NaN");
  }
}

/** Starts the program that records messages, and sends it some of each kind until `stop` is aborted. */
async function startRecorder(t, stop) {
  const child = spawn(process.env.RECORDER, ["127.0.0.1:0"], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "exit");
  t.after(async () => {
    child.stdin.end();
    child.kill("SIGTERM");
    await ended;
  });
  const [line] = await within(once(createInterface(child.stdout), "line"), "the recorder's address");
  const port = Number(/:(\d+)$/.exec(line)[1]);
  const send = (type, body) =>
    new Promise((resolve, reject) => {
      const request = http.request({ host: "127.0.0.1", port, method: "POST", path: `/message/ann/${type}` }, (answer) => {
        answer.resume().on("end", resolve).on("error", reject);
      });
      request.on("error", reject).end(body);
    });
  const run = async () => {
    while (!stop.aborted) {
      await send("greeting", "hello");
      await send("greeting", Buffer.of(0xff));
      await sleep(50);
    }
  };
  return { port, done: run() };
}

/** An expression of a query with the variables filled in. */
const filled = (text) => text.replace(/\$\{?(\w+)\}?/g, (_, name) => VARIABLES[name] ?? assert.fail(`${name} in ${text}`));

/** All expressions with the place where they are. */
function expressions(rules) {
  const all = panels.flatMap(({ title, targets }) =>
    targets.map(({ expr, legendFormat }) => ({ where: `panel "${title}"`, query: filled(expr), legend: legendFormat })),
  );
  for (const { name, expr } of dashboard.annotations.list) {
    // An annotation marks a change, which there is none of in a server that runs.
    all.push({ where: `annotation "${name}"`, query: filled(expr).replace(/ > 0$/, "") });
  }
  for (const { name, type, query } of rules) {
    // An alert has data only if it is raised: without its comparison it must have data always.
    const always = type === "alerting" ? query.replace(/ (?:==|>=|<=|>|<) [\d.]+/g, "") : query;
    all.push({ where: `rule ${name}`, query: always });
  }
  return all;
}

const mayBeEmpty = (query) => Object.keys(MAY_BE_EMPTY).some((part) => query.includes(part));

/** The names of the server's metrics in an expression. Names of recording rules have colons. */
const names = (query) => query.match(/(?<![\w:])(?:corelane|peerjs|process)_\w+(?![\w:])/g) ?? [];

for (const [workers, kind] of [[0, "network threads that route"], [2, "worker threads"]]) {
  const name = `every expression of the dashboard and of the rules has data, with ${kind}`;
  harness.check(name, (t) => everyExpression(t, workers), { only: own, timeout: 4 * PATIENCE });
}

/** A server that takes all that an exporter sends. Returns its address. */
async function collector(t) {
  const server = http.createServer((request, response) => request.resume().on("end", () => response.end()));
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => server.close().closeAllConnections());
  return `http://127.0.0.1:${server.address().port}`;
}

async function everyExpression(t, workers) {
  const server = await startLoaded(t, workers, { otlp: await collector(t) });
  const stop = new AbortController();
  const recorder = process.env.RECORDER ? await startRecorder(t, stop.signal) : null;
  if (!recorder) t.diagnostic("RECORDER is not set: queries over recorded messages alone are not tested");
  const prometheus = await Prometheus.start(t, [server.monitor, ...(recorder ? [recorder.port] : [])]);
  const loading = load(server, stop.signal);
  loading.catch(() => {}); // awaited below
  t.after(() => stop.abort());

  const { groups } = await prometheus.ask("rules");
  const rules = groups.flatMap((group) => group.rules);
  const all = expressions(rules);
  assert.ok(rules.length >= 45 && all.length >= 170, `${rules.length} rules, ${all.length} expressions`);

  let empty = all;
  const found = new Map();
  const deadline = Date.now() + PATIENCE;
  const needed = () => empty.filter(({ query }) => !mayBeEmpty(query));
  do {
    await sleep(1000);
    const answers = await Promise.all(empty.map(({ query }) => prometheus.series(query)));
    empty.forEach((one, at) => answers[at].length > 0 && found.set(one, answers[at]));
    empty = empty.filter((one) => !found.has(one));
  } while (needed().length > 0 && Date.now() < deadline);
  assert.deepEqual(needed().map(({ where, query }) => `${where}: ${query}`), [], "expressions without data");
  t.diagnostic(`${found.size} of ${all.length} expressions have data, ${empty.length} need what this machine lacks`);

  // A label in a legend is one of the result.
  for (const [{ where, legend }, series] of found) {
    for (const [, label] of (legend ?? "").matchAll(/{{(\w+)}}/g)) {
      assert.ok(series.every(({ metric }) => label in metric), `${where}: ${label} in ${JSON.stringify(series[0].metric)}`);
    }
  }

  // Each variable offers something.
  for (const { name, type, definition } of dashboard.templating.list) {
    if (type !== "query") continue;
    const [, series, label] = /^label_values\((.*), (\w+)\)$/.exec(definition);
    const values = await prometheus.ask(`label/${label}/values`, { "match[]": filled(series) });
    assert.ok(values.length > 0, `variable ${name}`);
  }

  // Both formats have every metric, so it does not matter which one a Prometheus asks for. A look at the heap that costs too much is
  // left out for a while, so one answer may lack it.
  const wanted = new Set(all.flatMap(({ query }) => (mayBeEmpty(query) ? [] : names(query))));
  for (const accept of ["text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"]) {
    let missing = [...wanted].filter((name) => !name.startsWith("corelane_recorded_")); // the recorder's, in 0.0.4
    const seen = async () => {
      const { headers, text } = await get(server.monitor, "/metrics", { accept });
      assert.ok(headers["content-type"].startsWith(accept.split(";")[0]), headers["content-type"]);
      missing = missing.filter((name) => !new RegExp(`^${name}[ {]`, "m").test(text));
      return missing.length === 0;
    };
    await eventually(`every metric in ${accept}`, seen).catch((error) => assert.fail(`${error.message}: ${missing}`));
  }

  // Prometheus evaluates the rules too, and raises what has no waiting time.
  await eventually("every rule to be evaluated", async () => {
    const after = (await prometheus.ask("rules")).groups.flatMap((group) => group.rules);
    for (const { name, lastError, health } of after) assert.notEqual(health, "err", `${name}: ${lastError}`);
    return after.every(({ health }) => health === "ok");
  });
  const raised = async () => (await prometheus.ask("alerts")).alerts;
  await eventually("the monitor's alert to be passed on", async () => {
    const wanted = { alertname: "CorelaneMonitorAlert", alert: "connections", severity: "warning" };
    const isIt = ({ labels }) => Object.entries(wanted).every(([label, value]) => labels[label] === value);
    return (await raised()).some((alert) => alert.state === "firing" && isIt(alert));
  });
  for (const name of ["CorelaneErrorRate", "CorelaneRefusals", "CorelaneCreditExhausted"]) {
    const isIt = ({ labels }) => labels.alertname === name;
    await eventually(`${name} to wait or to fire`, async () => (await raised()).some(isIt), PATIENCE);
  }
  for (const { labels, annotations } of await raised()) {
    for (const text of Object.values(annotations)) assert.doesNotMatch(text, /<no value>|{{|error (?:expanding|executing|parsing)/, labels.alertname);
  }

  stop.abort();
  await loading;
  await recorder?.done;
}
