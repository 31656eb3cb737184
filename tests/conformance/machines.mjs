// Several machines of one cluster, and what must hold of them: at most one owner of an id, figures that add up, local
// clients that notice nothing. Used by cluster.mjs.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually, get, show, startOne } from "./harness.mjs";

/** How long after a claim elsewhere a machine may take to give up an id to a take-over. */
const TAKE_OVER = 2_000;
/** How long a machine that was cut off may take, once it is back, to give up an id that another one got meanwhile. */
const RETURN = 15_000;
/** The time between two round trips of a pair of clients, in milliseconds. */
const PACE = 20;

/** The machines of a test, and what happened to them. */
export class Machines {
  #t;
  #options;
  /** Times at which a machine could not know what others do: `{ name, from, to }`. */
  #away = [];

  constructor(t, nats, options) {
    this.#t = t;
    this.#options = { cluster: nats.urls, cluster_name: randomUUID(), drain_seconds: 2, ...options };
    this.nats = nats;
    this.all = new Map();
    this.events = [];
    this.names = [];
  }

  /** Starts a machine, or starts it again on its old ports. */
  async start(name, options = {}) {
    const lines = [];
    const before = this.all.get(name);
    const ports = before && [before.port, before.monitor];
    if (!this.names.includes(name)) this.names.push(name);
    const own = { machine: name, log: "debug", log_format: "json", ...this.#options, ...options };
    // Started again, a machine is of its old kind.
    const server = await startOne(this.#t, own, { lines, ports, kind: this.names.indexOf(name) });
    this.events.push({ name, lines });
    this.all.set(name, Object.assign(server, { machine: name }));
    return server;
  }

  /** Waits until all machines that run have links to each other. */
  async linked(names = [...this.all.keys()]) {
    for (const name of names) await this.all.get(name).inCluster(names.length);
  }

  pause(name) {
    process.kill(this.all.get(name).pid, "SIGSTOP");
    this.#away.push({ name, from: Date.now(), to: Infinity });
  }

  resume(name) {
    process.kill(this.all.get(name).pid, "SIGCONT");
    this.#away.find((one) => one.name === name && one.to === Infinity).to = Date.now();
  }

  async kill(name) {
    this.#away.push({ name, from: Date.now(), to: Infinity });
    await this.all.get(name).kill();
  }

  /** From now on no machine can know what others do; the function ends that. */
  cutOff() {
    const entries = [...this.all.keys()].map((name) => ({ name, from: Date.now(), to: Infinity }));
    this.#away.push(...entries);
    return () => entries.forEach((one) => (one.to = Date.now()));
  }

  /** What all machines say about ids, by time: `{ time, machine, id, what }`. */
  history() {
    const parse = ({ name, lines }) =>
      lines.flatMap((line) => {
        const match = /"message":"id (claimed|released|lost)"/.exec(line);
        if (!match) return [];
        const { timestamp, id } = JSON.parse(line);
        return [{ time: Date.parse(timestamp), machine: name, id, what: match[1] }];
      });
    return this.events.flatMap(parse).sort((one, other) => one.time - other.time);
  }

  /** Asserts that every id had at most one owner at any instant. A machine that does not know of a newer claim must give
   * the id up soon after it can. Returns the number of claims. */
  assertSingleOwners() {
    const history = this.history();
    let claims = 0;
    for (const [at, event] of history.entries()) {
      if (event.what !== "claimed") continue;
      claims += 1;
      const before = history.slice(0, at).filter((one) => one.id === event.id && one.machine !== event.machine);
      const last = new Map(before.map((one) => [one.machine, one]));
      for (const held of [...last.values()].filter((one) => one.what === "claimed")) {
        const end = history.slice(at).find((one) => one.id === event.id && one.machine === held.machine);
        const away = this.#away.find(({ name, from, to }) => name === held.machine && from <= event.time && event.time <= to);
        if (away?.to === Infinity) continue; // it was killed
        const limit = away ? away.to + RETURN : event.time + TAKE_OVER;
        const what = `${event.id}: ${held.machine} (since ${held.time}) and ${event.machine} (since ${event.time})`;
        assert.ok(end && end.what !== "claimed" && end.time <= limit, `two owners of ${what}`);
      }
    }
    return claims;
  }

  /** Asserts that every machine that runs accounts for each of its messages and deliveries, once all are quiet. */
  async assertFiguresAddUp() {
    for (const server of this.running()) {
      let figures;
      const addUp = async () => {
        figures = (await show(server, "/api/stats")).routing.accounting;
        const { accepted, ok, failed, expired, taken_over, in_flight } = figures;
        assert.equal(accepted, ok + failed + expired + taken_over + in_flight, `${server.machine}: messages`);
        const { deliveries, consumed, undeliverable, queued } = figures;
        assert.equal(deliveries, consumed + undeliverable + queued, `${server.machine}: deliveries`);
        return in_flight === 0 && queued === 0;
      };
      await eventually(`${server.machine} to be quiet`, addUp).catch((error) => {
        assert.fail(`${error.message}: ${JSON.stringify(figures)}`);
      });
    }
  }

  /** What each machine knows, for the report of a failure. */
  async describe() {
    const texts = [];
    for (const server of this.running()) {
      const cluster = await show(server, "/api/cluster").catch(() => null);
      const stats = await show(server, "/api/stats").catch(() => null);
      const isUsed = ([, value]) => value !== 0 && typeof value !== "object";
      const used = (object) => Object.fromEntries(Object.entries(object ?? {}).filter(isUsed));
      const accounting = stats?.routing.accounting;
      const figures = { ...used(accounting), failures: used(accounting?.failures), undelivered: used(accounting?.undelivered) };
      texts.push(`${server.machine}: ${JSON.stringify(figures)}\n${JSON.stringify(cluster)}`);
    }
    return texts.join("\n");
  }

  running() {
    const isHere = ({ machine }) => !this.#away.some(({ name, to }) => name === machine && to === Infinity);
    return [...this.all.values()].filter(isHere);
  }
}

/**
 * Two clients of one machine that send to each other all the time, to notice what others do to them. `stop()` asserts
 * that nothing was lost, late beyond `limit` or out of order, and returns what was measured.
 */
export async function startChatter(server, name) {
  const [one, other] = [await server.join(`${name} one`), await server.join(`${name} other`)];
  const took = [];
  let over = false;
  const running = (async () => {
    for (let number = 0; !over; number += 1) {
      const start = performance.now();
      one.send({ type: "OFFER", dst: other.id, payload: number });
      assert.deepEqual(await other.next(), { type: "OFFER", src: one.id, dst: other.id, payload: number });
      other.send({ type: "ANSWER", dst: one.id, payload: number });
      assert.deepEqual(await one.next(), { type: "ANSWER", src: other.id, dst: one.id, payload: number });
      took.push(performance.now() - start);
      await sleep(PACE);
    }
  })();
  running.catch(() => {});
  return {
    /** The quantile of the round trips since the start, in milliseconds. */
    quantile: (q) => took.toSorted((a, b) => a - b)[Math.floor(q * (took.length - 1))],
    count: () => took.length,
    async stop(limit = 1_000) {
      over = true;
      await running;
      const most = Math.max(...took);
      assert.ok(most < limit, `a local round trip took ${most} ms`);
      return { count: took.length, p50: this.quantile(0.5), p99: this.quantile(0.99), most };
    },
  };
}

/** Whether a server says that it can take clients. */
export const isReady = async (server) => (await get(server.monitor, "/readyz").catch(() => null))?.status === 200;
