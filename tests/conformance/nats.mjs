// Starts nats-servers with JetStream on free loopback ports: one alone, or a cluster of three. Each stores its files in
// a temporary folder. The program is `nats-server` of the PATH unless NATS_SERVER names another one (make deps).
//
// A test can kill, pause, resume and restart each server. All end with the test, by their process ids.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually, freePorts, get } from "./harness.mjs";

const PROGRAM = process.env.NATS_SERVER ?? "nats-server";
/** Per-key lifetimes, which the leases need, came with 2.11. */
const OLDEST = [2, 11];

const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** Why the program cannot be used; null if it can. */
export function unusable() {
  try {
    const [, major, minor] = /v(\d+)\.(\d+)/.exec(execFileSync(PROGRAM, ["--version"], { encoding: "utf8" }));
    const isNew = Number(major) > OLDEST[0] || (Number(major) === OLDEST[0] && Number(minor) >= OLDEST[1]);
    return isNew ? null : `${PROGRAM} is older than ${OLDEST.join(".")}`;
  } catch (error) {
    return `${PROGRAM} cannot be run (make deps): ${error.message}`;
  }
}

/** One nats-server. */
class Node {
  #child = null;
  #ended = null;
  #isPaused = false;

  constructor(name, ports, folder, configuration) {
    Object.assign(this, { name, ports, folder, url: `nats://127.0.0.1:${ports.client}` });
    this.file = join(folder, `${name}.conf`);
    this.log = "";
    writeFileSync(this.file, configuration);
  }

  get pid() {
    return this.#child.pid;
  }

  get isRunning() {
    return this.#child !== null;
  }

  start() {
    assert.equal(this.#child, null, `${this.name} runs already`);
    const child = spawn(PROGRAM, ["-c", this.file], { stdio: ["ignore", "ignore", "pipe"] });
    child.stderr.setEncoding("utf8").on("data", (text) => (this.log = (this.log + text).slice(-20_000)));
    child.on("error", (error) => (this.log += error.message));
    running.add(child);
    this.#child = child;
    this.#isPaused = false;
    this.#ended = once(child, "close").finally(() => {
      running.delete(child);
      if (this.#child === child) this.#child = null;
    });
    this.#ended.catch(() => {});
  }

  /** SIGKILL. */
  async kill() {
    if (this.#child === null) return;
    this.#child.kill("SIGKILL");
    await this.#ended.catch(() => {});
  }

  /** SIGTERM, and the time that an orderly end takes. */
  async stop() {
    if (this.#child === null) return;
    if (this.#isPaused) this.resume();
    this.#child.kill("SIGTERM");
    await this.#ended.catch(() => {});
  }

  pause() {
    this.#isPaused = true;
    this.#child.kill("SIGSTOP");
  }

  resume() {
    this.#isPaused = false;
    this.#child.kill("SIGCONT");
  }

  /** An answer of the monitoring port; null without one. */
  async ask(path) {
    const answer = await get(this.ports.monitor, path).catch(() => null);
    return answer?.status === 200 ? JSON.parse(answer.text) : null;
  }

  async isReady() {
    return (await this.ask("/healthz"))?.status === "ok";
  }
}

/** The nats-servers of a test. */
class Nats {
  constructor(nodes, folder) {
    Object.assign(this, { nodes, folder });
  }

  /** All addresses, as `--cluster` takes them. */
  get urls() {
    return this.nodes.map((node) => node.url).join(",");
  }

  /** Waits until every running server is ready, and until a cluster has a leader. False if a port was taken. */
  async ready() {
    const isTaken = () => this.nodes.some((node) => /address already in use/.test(node.log));
    const logs = () => this.nodes.map((node) => node.log).join("\n");
    const isReady = async () => {
      const states = await Promise.all(this.nodes.filter((node) => node.isRunning).map((node) => node.isReady()));
      return states.every(Boolean) && (this.nodes.length === 1 || (await this.leader()) !== null);
    };
    try {
      await eventually("the nats-servers to be ready", async () => isTaken() || (await isReady()));
    } catch (error) {
      throw new Error(`${error.message}\n${logs()}`);
    }
    return !isTaken();
  }

  /** The server that leads the cluster's own group; null while there is none. */
  async leader() {
    for (const node of this.nodes.filter((one) => one.isRunning)) {
      const name = (await node.ask("/jsz"))?.meta_cluster?.leader;
      const found = name && this.nodes.find((one) => one.name === name);
      if (found?.isRunning) return found;
    }
    return null;
  }

  /** The server that leads this stream, such as KV_corelane-names; null while there is none. */
  async leaderOf(stream) {
    for (const node of this.nodes.filter((one) => one.isRunning)) {
      const all = (await node.ask("/jsz?accounts=1&streams=1"))?.account_details ?? [];
      const found = all.flatMap((account) => account.stream_detail ?? []).find((one) => one.name === stream);
      const name = found?.cluster?.leader ?? (found && this.nodes.length === 1 ? node.name : undefined);
      if (name) return this.nodes.find((one) => one.name === name) ?? null;
    }
    return null;
  }

  /** The names of all streams. */
  async streams() {
    const node = this.nodes.find((one) => one.isRunning);
    const all = (await node.ask("/jsz?accounts=1&streams=1"))?.account_details ?? [];
    return all.flatMap((account) => account.stream_detail ?? []).map((one) => one.name);
  }

  /** Loses all that is stored: stops all servers, removes their files, and starts them again. */
  async forget() {
    await Promise.all(this.nodes.map((node) => node.kill()));
    for (const node of this.nodes) rmSync(join(this.folder, node.name), { recursive: true, force: true });
    this.nodes.forEach((node) => node.start());
    await this.ready();
  }

  async stop() {
    await Promise.all(this.nodes.map((node) => node.kill()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/**
 * Starts `count` nats-servers and ends them after the test `t`. `more` is text for each configuration: an
 * authorization, TLS.
 */
export async function startNats(t, { count = 1, more = "" } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const nats = await launch(count, more);
    t.after(() => nats.stop());
    if (await nats.ready()) return nats;
    await nats.stop();
    // Another program may have taken a port after it was chosen.
    assert.ok(attempt < 3, "no port stays free");
  }
}

async function launch(count, more) {
  const folder = mkdtempSync(join(tmpdir(), "corelane-nats-"));
  const free = await freePorts(3 * count);
  const ports = Array.from({ length: count }, (_, index) => {
    const [client, monitor, route] = free.slice(3 * index);
    return { client, monitor, route };
  });
  const routes = ports.map(({ route }) => `nats://127.0.0.1:${route}`).join(", ");
  const nodes = ports.map((own, index) => {
    const name = `nats-${index}`;
    const cluster = `cluster { name: test, listen: "127.0.0.1:${own.route}", routes: [${routes}] }\n`;
    const configuration =
      `server_name: ${name}\nlisten: "127.0.0.1:${own.client}"\nhttp: "127.0.0.1:${own.monitor}"\n` +
      `ping_interval: "5s"\nping_max: 2\n` +
      `jetstream { store_dir: "${join(folder, name)}", max_memory_store: 64MB, max_file_store: 256MB }\n` +
      (count > 1 ? cluster : "") +
      more;
    return new Node(name, own, folder, configuration);
  });
  nodes.forEach((node) => node.start());
  return new Nats(nodes, folder);
}

/** Appends text to the configuration of a server; it counts from its next start. */
export function configure(node, text) {
  appendFileSync(node.file, text);
}
