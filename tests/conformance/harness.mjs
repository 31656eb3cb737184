// Starts servers and connects to them. Shared by all suites in this folder.
//
// A server is a process of its own on free loopback ports, described by two variables:
//   SERVER_COMMAND  a JSON array of strings, run without a shell from this folder; {port} and {monitor} are filled in. Or an
//                   array of several such arrays: each server is started by the next of them, so that a cluster has all kinds
//   SUITE           "shared" (what npm's PeerServer does as well) or "all" (corelane's own behaviour too)
//   SKIPS           JSON files, separated by commas, with names of tests that this server skips, each with the reason; may be unset
//   CLUSTER         unset, or how many nats-servers (1 or 3): each server is then three of them as one, and each client
//                   and request goes to the next of the three
//
// Nothing here measures time. WAIT only limits how long a hung server can delay the run.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import http from "node:http";
import https from "node:https";
import { createInterface } from "node:readline";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";

/** The time limit for every wait, in milliseconds. */
export const WAIT = 60_000;
/** The time between SIGTERM and SIGKILL at the end of a test, in milliseconds. */
const GRACE = 3_000;
const HOST = "127.0.0.1";
const FOLDER = fileURLToPath(new URL(".", import.meta.url));

const commands = readCommands(process.env.SERVER_COMMAND);
let started = 0;
/** Whether corelane's own behaviour is tested as well. */
export const own = readSuite(process.env.SUITE ?? "shared") === "all";

/** Tests of the shared part that npm's server fails, with its behaviour. They run against corelane only. */
export const NPM_FAILS = {
  "a client that comes back with its token is greeted, and takes over": "the new socket gets no OPEN",
  "any frame is a sign of life": "only HEARTBEAT counts, and the server never pings",
};

// An interrupted run leaves no server behind.
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

function readCommands(text) {
  const hint = 'SERVER_COMMAND must be a JSON array of strings, such as ["server","--port","{port}"], or an array of such arrays';
  if (!text) throw new Error(`${hint}; it is not set`);
  let parsed;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new Error(`${hint}; it is ${text}`);
  }
  const isOne = (line) => Array.isArray(line) && line.length > 0 && line.every((part) => typeof part === "string");
  if (isOne(parsed)) return [parsed];
  if (!Array.isArray(parsed) || parsed.length === 0 || !parsed.every(isOne)) throw new Error(`${hint}; it is ${text}`);
  return parsed;
}

function readSuite(text) {
  if (text !== "shared" && text !== "all") throw new Error(`SUITE must be "shared" or "all"; it is "${text}"`);
  return text;
}

const skipFiles = (process.env.SKIPS ?? "").split(",").filter(Boolean);
const skips = Object.assign({}, ...skipFiles.map((file) => JSON.parse(readFileSync(file, "utf8"))));

/** Whether one of the servers skips the test with this name. */
export const isSkipped = (name) => name in skips;

/** A test with a time limit, so that a test that hangs ends with its server. */
export function check(name, run, { only = true, timeout = 120_000 } = {}) {
  const npm = !own && name in NPM_FAILS && `npm's server fails it: ${NPM_FAILS[name]}`;
  const skip = (!only && "corelane's own") || npm || skips[name] || false;
  test(name, { timeout, skip }, run);
}

// ---------------------------------------------------------------------------------------------------- waiting

/** Waits for `promise`. Fails with `what` after `limit` milliseconds. */
export async function within(promise, what, limit = WAIT) {
  const stop = new AbortController();
  const late = sleep(limit, undefined, { signal: stop.signal }).then(
    () => assert.fail(`waited ${limit} ms for ${what}`),
    () => new Promise(() => {}), // cancelled: the race is over
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
  }
}

/** Calls `probe` until it returns a truthy value, and returns that value. Fails after `limit` milliseconds. */
export async function eventually(what, probe, limit = WAIT) {
  const deadline = Date.now() + limit;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    if (Date.now() > deadline) assert.fail(`waited ${limit} ms for ${what}`);
    await sleep(50);
  }
}

// ---------------------------------------------------------------------------------------------------- HTTP

/** The token of every server's monitor, passed in its environment. Every request has it. */
export const TOKEN = "token-of-the-suite";

/** Sends one GET on a separate connection. Returns `{ status, headers, text }`. */
export function get(port, path, headers = {}, secure = false) {
  return ask("GET", port, path, "", headers, secure);
}

/** Sends one POST on a separate connection. Returns `{ status, headers, text }`. */
export function post(port, path, body = "", headers = {}) {
  return ask("POST", port, path, body, headers);
}

/** Sends one OPTIONS on a separate connection. Returns `{ status, headers, text }`. */
export function preflight(port, path, headers = {}) {
  return ask("OPTIONS", port, path, "", headers);
}

function ask(method, port, path, body, headers, secure) {
  const answer = new Promise((resolve, reject) => {
    const all = { authorization: `Bearer ${TOKEN}`, ...headers };
    const options = { host: HOST, port, path, method, headers: all, agent: false, rejectUnauthorized: false };
    const request = (secure ? https : http).request(options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() }),
      );
    });
    request.on("error", reject);
    request.end(body);
  });
  return within(answer, `${method} ${path}`);
}

/** The JSON response of the monitor at `path`. */
export async function show(server, path) {
  const answer = await get(server.monitor, path);
  assert.equal(answer.status, 200, `${path}: ${answer.text}`);
  return JSON.parse(answer.text);
}

/** Opens a TCP connection and sends `text`. `received()` returns the data so far, `ended()` whether it is closed. */
export async function raw({ port }, text) {
  const socket = net.connect(port, HOST);
  let [received, ended] = ["", false];
  socket.setEncoding("latin1").on("data", (data) => (received += data));
  socket.on("error", () => {});
  socket.on("close", () => (ended = true));
  await within(once(socket, "connect"), "a connection");
  socket.write(text);
  return { socket, received: () => received, ended: () => ended };
}

/** Distinct loopback ports that were free when they were chosen. */
export async function freePorts(count) {
  const listeners = await Promise.all(Array.from({ length: count }, () => listenAnywhere()));
  const ports = listeners.map((listener) => listener.address().port);
  await Promise.all(listeners.map((listener) => new Promise((done) => listener.close(done))));
  return ports;
}

/** Opens a listener on a free loopback port. */
export async function listenAnywhere() {
  const listener = net.createServer();
  listener.listen(0, HOST);
  await once(listener, "listening");
  return listener;
}

// ---------------------------------------------------------------------------------------------------- processes

/** The command line for these ports. `options` replace the command's own options or are appended. */
function commandLine(command, ports, options) {
  const line = command.map((part) => part.replaceAll("{port}", ports.port).replaceAll("{monitor}", ports.monitor));
  for (const [name, value] of Object.entries(options)) {
    const option = `--${name}`;
    const at = line.indexOf(option);
    if (value === null) line.splice(at, at < 0 ? 0 : 2);
    else if (value === true) line.push(option);
    else if (at < 0) line.push(option, String(value));
    else line[at + 1] = String(value);
  }
  return line;
}

/** Starts a child process. `output()` and `errors()` return its output; `ended` is a promise of `{ code, signal }`. */
function launch(ports, options, { unread = false, descriptors, environment = {}, lines, kind = started++ } = {}) {
  let [program, ...args] = commandLine(commands[kind % commands.length], ports, options);
  if (descriptors) {
    args = ["-c", `ulimit -n ${descriptors}; exec "$0" "$@"`, program, ...args];
    program = "sh";
  }
  const env = { ...process.env, MONITOR_TOKEN: TOKEN, ...environment };
  const child = spawn(program, args, { cwd: FOLDER, env, stdio: ["ignore", "pipe", "pipe"] });
  const printed = { stdout: "", stderr: "" };
  for (const stream of unread ? [] : ["stdout", "stderr"]) {
    child[stream].setEncoding("utf8").on("data", (text) => {
      printed[stream] = (printed[stream] + text).slice(-20_000);
    });
  }
  // The whole log, line by line.
  if (lines) createInterface({ input: child.stderr }).on("line", (line) => lines.push(line));
  running.add(child);
  const ended = new Promise((resolve) => {
    // Use "close" instead of "exit": all output has been read by then.
    child.on(unread ? "exit" : "close", (code, signal) => resolve({ code, signal }));
    child.on("error", (error) => {
      printed.stderr += `cannot start ${program}: ${error.message}`;
      resolve({ code: null, signal: null });
    });
  }).finally(() => running.delete(child));
  return { child, ended, output: () => printed.stdout + printed.stderr, errors: () => printed.stderr };
}

/** Ends a child process of this suite: SIGTERM, then SIGKILL. Returns `{ code, signal }`. */
async function end({ child, ended }) {
  child.kill("SIGTERM");
  const stop = new AbortController();
  const kill = sleep(GRACE, undefined, { signal: stop.signal }).then(
    () => child.kill("SIGKILL"),
    () => {},
  );
  const result = await ended;
  stop.abort();
  await kill;
  return result;
}

/** Runs the command with options that it must refuse. Returns `{ code, signal, errors }` when it has exited. */
export async function refusedStart(t, options, ports, environment) {
  const [port, monitor] = await freePorts(2);
  const program = launch({ port, monitor, ...ports }, options, { environment });
  t.after(() => end(program));
  const result = await within(program.ended, `the end of a server with ${JSON.stringify(options)}`);
  return { ...result, errors: program.errors() };
}

/**
 * Starts a server that answers, and ends it after the test `t`. `options` are command line options without dashes; null
 * removes one. `how`: `unread` (its output is not read), `descriptors` (limit of open descriptors), `secure` (TLS), `ports` (those
 * of a server before it), `lines` (an array for the lines of its log), `kind` (which of several commands; the next one if not
 * given). With CLUSTER, starts three as one.
 */
export async function startServer(t, options = {}, how = {}) {
  return process.env.CLUSTER ? startThree(t, options, how) : startOne(t, options, how);
}

let sharedNats;
// Of the whole file: within a test, `after` would mean the end of that test.
if (process.env.CLUSTER) after(async () => (await sharedNats)?.stop());

/** Starts three servers as one, with nats-servers that all tests of a file share. Each cluster has a name of its own. */
async function startThree(t, options, how) {
  const { startNats } = await import("./nats.mjs");
  sharedNats ??= startNats({ after: () => {} }, { count: Number(process.env.CLUSTER) });
  const nats = await sharedNats;
  // Each server lists the clients of all, unless the test removes the option.
  const cluster = { cluster: nats.urls, cluster_name: randomUUID(), allow_discovery: true, ...options };
  const start = (machine, kind) => startOne(t, { machine, ...cluster }, { kind, ...how });
  const [first, ...others] = await Promise.all(["a", "b", "c"].map(start));
  for (const server of [first, ...others]) await server.inCluster(3);
  first.others = others;
  first.lists = cluster.allow_discovery;
  return first;
}

/** Starts one server. */
export async function startOne(t, options = {}, how = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const [port, monitor] = how.ports ?? (await freePorts(2));
    const program = launch({ port, monitor }, options, how);
    const server = new Server(program, port, monitor, options, how);
    t.after(() => server.stop());
    if (await server.ready()) return server;
    await server.stop();
    // Another program may have taken the port after it was chosen and before the server bound it.
    const lost = /EADDRINUSE|in use/i.test(program.output());
    if (!lost || attempt === 3) assert.fail(`the server does not start:\n${program.output()}`);
  }
}

class Server {
  #program;
  #closers = [];
  #ended = false;
  #turn = 0;
  /** The other servers of a cluster that the tests take for one. */
  others = [];
  /** Whether the servers of a cluster list their clients. */
  lists = false;

  constructor(program, port, monitor, { path = "/", key = "peerjs" }, { secure = false }) {
    this.#program = program;
    this.secure = secure;
    this.port = port;
    this.monitor = monitor;
    this.path = path.endsWith("/") ? path : `${path}/`;
    this.key = key;
  }

  /** Whether the server answers. False if the process ended or could not bind its port. */
  async ready() {
    this.#program.ended.then(() => (this.#ended = true));
    const failed = () => this.#ended || /EADDRINUSE/.test(this.#program.output());
    await eventually(`the server to answer\n${this.#program.output()}`, async () => {
      if (failed()) return true;
      const answer = await get(this.port, `${this.path}${this.key}/id`, {}, this.secure).catch(() => null);
      return answer?.status === 200;
    });
    return !failed();
  }

  /** Waits until the server has a link to each other of `machines`. */
  async inCluster(machines) {
    await eventually(`links to ${machines - 1} machines`, async () => {
      const answer = await get(this.monitor, "/api/cluster").catch(() => null);
      const links = answer?.status === 200 ? JSON.parse(answer.text).links : [];
      return links.filter((link) => link.up).length >= machines - 1;
    });
  }

  /**
   * Waits until each server of a cluster lists this id. Until then the others hold only a few messages for it, and drop those that
   * may not be held.
   */
  async known(id) {
    for (const { port } of this.lists ? [this, ...this.others] : []) {
      await eventually(`${id} to be known on all servers`, async () => {
        const answer = await get(port, `${this.path}${this.key}/peers`).catch(() => null);
        return answer?.status === 200 && JSON.parse(answer.text).includes(id);
      });
    }
  }

  /** The server for the next client: itself, or each of a cluster in turn. */
  next() {
    const all = [this, ...this.others];
    this.#turn += 1;
    const server = all[this.#turn % all.length];
    return Object.assign(server, { path: this.path, key: this.key });
  }

  get pid() {
    return this.#program.child.pid;
  }

  /** All output so far. */
  output() {
    return this.#program.output();
  }

  /** The output to stderr so far. */
  errors() {
    return this.#program.errors();
  }

  /** Closes the read ends of the output pipes. */
  closeOutput() {
    this.#program.child.stdout.destroy();
    this.#program.child.stderr.destroy();
  }

  get(path, headers) {
    return get(this.next().port, path, headers);
  }

  /** Registers `close` to be called before the process is ended, so that the server can exit by itself. */
  onStop(close) {
    this.#closers.push(close);
  }

  /** Closes every client, then ends the process. */
  async stop() {
    await Promise.all(this.others.map((server) => server.stop()));
    await Promise.allSettled(this.#closers.splice(0).map((close) => close()));
    return end(this.#program);
  }

  /** Sends SIGTERM while sockets are open. Returns `{ code, signal }`. */
  async terminate() {
    this.#program.child.kill("SIGTERM");
    return within(this.#program.ended, "the server to end after SIGTERM");
  }

  /** Sends SIGKILL, and waits for the end. */
  async kill() {
    this.#program.child.kill("SIGKILL");
    return within(this.#program.ended, "the server to end after SIGKILL");
  }

  /** Opens a WebSocket with this query, whether or not the server accepts it. */
  async dial(query, options = {}) {
    return this.next().dialHere(query, options);
  }

  async dialHere(query, options) {
    const url = `${this.secure ? "wss" : "ws"}://${HOST}:${this.port}${this.path}peerjs?${new URLSearchParams(query)}`;
    const socket = new Socket(new WebSocket(url, { perMessageDeflate: false, rejectUnauthorized: false, ...options }));
    this.onStop(() => socket.ws.terminate());
    await within(socket.opened, `a WebSocket at ${url}`);
    return socket;
  }

  /** Opens a WebSocket with a client's complete query. The default token is a new one. */
  async attempt(id, { token = randomUUID(), key = this.key, ...options } = {}) {
    const socket = await this.dial({ key, id, token, version: "1.5.5" }, options);
    return Object.assign(socket, { id, token });
  }

  /** Connects a client and checks that OPEN arrives first. All servers of a cluster know its id afterwards. */
  async join(id, credentials) {
    const socket = await this.attempt(id, credentials);
    assert.deepEqual(await socket.next(), { type: "OPEN" }, `${id} is greeted`);
    await this.known(id);
    return socket;
  }

  /** Connects a client as soon as the server accepts it. All servers of a cluster know its id afterwards. */
  async joinEventually(id, credentials) {
    const joined = await eventually(`${id} to be let in`, async () => {
      // A server without descriptors may reset the connection.
      const socket = await this.attempt(id, credentials).catch(() => null);
      if (socket === null) return null;
      const greeting = await socket.next();
      if (greeting.type === "OPEN") return socket;
      await socket.closed();
      return null;
    });
    await this.known(id);
    return joined;
  }

  /** The samples of the monitor's exposition: `[{ name, labels, value }]`. */
  async metrics() {
    const answers = await Promise.all([this, ...this.others].map(({ monitor }) => get(monitor, "/metrics")));
    return answers.flatMap((answer) => {
      assert.equal(answer.status, 200);
      return readExposition(answer.text);
    });
  }

  async stats() {
    const answer = await get(this.monitor, "/api/stats");
    assert.equal(answer.status, 200);
    return JSON.parse(answer.text);
  }
}

// ---------------------------------------------------------------------------------------------------- WebSockets

/** A client on a plain WebSocket, with an inbox. */
class Socket {
  #inbox = [];
  #waiters = [];
  #closed;

  constructor(ws) {
    this.ws = ws;
    this.opened = new Promise((resolve, reject) => {
      ws.once("open", resolve);
      ws.once("error", reject);
    });
    this.opened.catch(() => {});
    ws.on("error", () => {}); // a close always follows
    this.#closed = new Promise((resolve) => ws.on("close", (code) => resolve(code)));
    ws.on("close", () => this.#waiters.splice(0).forEach(({ reject }) => reject(new Error("the socket was closed"))));
    ws.on("message", (data, binary) => this.#deliver(readMessage(data, binary)));
  }

  #deliver(message) {
    const at = this.#waiters.findIndex(({ wanted }) => wanted(message));
    if (at < 0) this.#inbox.push(message);
    else this.#waiters.splice(at, 1)[0].resolve(message);
  }

  #take(wanted, what) {
    const at = this.#inbox.findIndex(wanted);
    if (at >= 0) return Promise.resolve(this.#inbox.splice(at, 1)[0]);
    if (this.ws.readyState === WebSocket.CLOSED) return Promise.reject(new Error(`no ${what}: the socket was closed`));
    return within(
      new Promise((resolve, reject) => this.#waiters.push({ wanted, resolve, reject })),
      what,
    );
  }

  /** The next message of any type. */
  next() {
    return this.#take(() => true, "the next message");
  }

  /** The next message of this type. Others stay in the inbox. */
  nextOf(type) {
    return this.#take((message) => message.type === type, `the next ${type}`);
  }

  /** The next `count` messages in order. */
  async nextMany(count) {
    const messages = [];
    while (messages.length < count) messages.push(await this.next());
    return messages;
  }

  /** The messages that arrived and were not taken. */
  get unread() {
    return [...this.#inbox];
  }

  get isOpen() {
    return this.ws.readyState === WebSocket.OPEN;
  }

  send(message) {
    this.raw(JSON.stringify(message));
  }

  raw(data, options = {}) {
    this.ws.send(data, options);
  }

  /** Waits until the socket is closed. */
  closed() {
    return within(this.#closed, "the socket to be closed");
  }

  close() {
    this.ws.close();
    return this.closed();
  }
}

/** The message in a frame. A frame that a server must not send becomes a value that equals no message. */
function readMessage(data, binary) {
  if (binary) return { binaryFrame: data.toString() };
  try {
    return JSON.parse(data.toString());
  } catch {
    return { malformedFrame: data.toString() };
  }
}

/**
 * Asserts that a message gets from one client to the other, and that no earlier one was in flight: the server handles a
 * client's messages in order, so every delivery for an earlier message must arrive first.
 */
export async function nothingBefore(from, to, what = "a marker") {
  const marker = { type: "CANDIDATE", dst: to.id, payload: { marker: what, number: randomUUID() } };
  from.send(marker);
  assert.deepEqual(await to.next(), { ...marker, src: from.id }, what);
}

// ---------------------------------------------------------------------------------------------------- metrics

/** Parses Prometheus' text format, strictly enough to reject malformed lines. */
export function readExposition(text) {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return lines.map((line) => {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?$/.exec(line);
    assert.ok(match, `not a sample of the text format: ${line}`);
    const [, name, inner = "", value] = match;
    const labels = {};
    for (const [, label, quoted] of inner.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
      labels[label] = quoted.replace(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
    }
    return { name, labels, value: Number(value.replace("+Inf", "Infinity").replace("-Inf", "-Infinity")) };
  });
}

/** The sum of a metric's samples with these labels; 0 if there are none. */
export function total(samples, name, labels = {}) {
  const wanted = Object.entries(labels);
  return samples
    .filter((sample) => sample.name === name && wanted.every(([label, value]) => sample.labels[label] === value))
    .reduce((sum, sample) => sum + sample.value, 0);
}
