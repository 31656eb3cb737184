// Several machines of one cluster, and what must hold of them: at most one owner of an id, figures that add up, local
// clients that notice nothing. Used by cluster.mjs.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually, get, show, startOne } from "./harness.mjs";

/**
 * How long a machine may take to give up an id that the same client has taken to another one, by its token: some milliseconds, or
 * more on a computer that is busy.
 */
const TAKE_OVER = 5_000;
/**
 * For so long at least nobody else gets an id of a machine that is killed or paused: a lease lasts 20 s, its last renewal was up to
 * 5 s before, and 3 s are for a computer that is busy.
 */
const LEASED = 12_000;
/** The time between two round trips of a pair of clients, in milliseconds. */
const PACE = 20;
/** So many round trips tell how long one takes when all is well. */
const CALM = 100;
/** What a round trip may take while something is wrong elsewhere: so many times what it took before, or so many milliseconds. */
const MORE = 20;
const FLOOR = 250;
const TAKEN = { type: "ID-TAKEN", payload: { msg: "ID is taken" } };

/** The machines of a test, and what happened to them. */
export class Machines {
  #t;
  #options;

  constructor(t, nats, options) {
    this.#t = t;
    this.#options = { cluster: nats.urls, cluster_name: randomUUID(), drain_seconds: 2, ...options };
    this.nats = nats;
    this.all = new Map();
    /** Each process that was started: its log, and when it could not act or not know what others do (`{ from, to, isStopped }`). */
    this.processes = [];
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
    const log = { name, lines, away: [] };
    this.processes.push(log);
    this.all.set(name, Object.assign(server, { machine: name, process: log }));
    return server;
  }

  /** Waits until all machines that run have links to each other. */
  async linked(names = [...this.all.keys()]) {
    for (const name of names) await this.all.get(name).inCluster(names.length);
  }

  pause(name) {
    this.#leaves([name], true);
    process.kill(this.all.get(name).pid, "SIGSTOP");
  }

  /** Lets a machine go on. It is away until `isBack`, when it has told its clients what it has lost. */
  resume(name) {
    process.kill(this.all.get(name).pid, "SIGCONT");
  }

  isBack(name) {
    this.all.get(name).process.away.at(-1).to = Date.now();
  }

  async kill(name) {
    this.#leaves([name], true);
    await this.all.get(name).kill();
  }

  /** From now on no machine can know what others do; the function ends that. */
  cutOff() {
    const away = this.#leaves([...this.all.keys()], false);
    return () => away.forEach((one) => (one.to = Date.now()));
  }

  #leaves(names, isStopped) {
    return names.map((name) => {
      const away = { from: Date.now(), to: Infinity, isStopped };
      this.all.get(name).process.away.push(away);
      return away;
    });
  }

  /** Asserts that every id had at most one owner at any instant. Returns the number of claims. */
  assertSingleOwners() {
    return assertSingleOwners(this.processes);
  }

  /** Asserts that every machine that runs accounts for each of its messages and deliveries, and for each message of its links, once
   * all are quiet. */
  async assertFiguresAddUp() {
    for (const server of this.running()) {
      let figures, links;
      const addUp = async () => {
        figures = (await show(server, "/api/stats")).routing.accounting;
        const { accepted, ok, failed, expired, taken_over, in_flight } = figures;
        assert.equal(accepted, ok + failed + expired + taken_over + in_flight, `${server.machine}: messages`);
        const { deliveries, consumed, undeliverable, queued } = figures;
        assert.equal(deliveries, consumed + undeliverable + queued, `${server.machine}: deliveries`);
        ({ links } = await show(server, "/api/cluster"));
        return in_flight === 0 && queued === 0 && links.every((link) => link.in_flight === 0);
      };
      await eventually(`${server.machine} to be quiet`, addUp).catch((error) => {
        assert.fail(`${error.message}: ${JSON.stringify(figures)} ${JSON.stringify(links)}`);
      });
      for (const link of links) assertLinkAddsUp(link, server.machine);
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
    return [...this.all.values()].filter(({ process }) => !process.away.some(({ to }) => to === Infinity));
  }
}

/** Asserts that each message that was sent over a link has an end, or is in flight. */
export function assertLinkAddsUp(link, machine) {
  const { sent, delivered, gone, lost, rejected, in_flight } = link;
  assert.ok([sent, delivered, gone, lost, rejected, in_flight].every(Number.isInteger), JSON.stringify(link));
  const ended = delivered + gone + lost + rejected;
  assert.equal(sent, ended + in_flight, `${machine}: messages of the link to ${link.machine}: ${JSON.stringify(link)}`);
}

/** When a line was logged, in milliseconds, with its microseconds. */
function timeOf(timestamp) {
  const [, seconds, micros] = /^(.*)\.(\d{6})Z$/.exec(timestamp);
  return Date.parse(`${seconds}Z`) + Number(micros) / 1_000;
}

/** The claims that the logs tell of: `{ id, token, machine, away, start, end }`, by their start. `token` is a mark of the token. */
function claimsOf(processes) {
  const all = [];
  for (const { name, lines, away } of processes) {
    const held = new Map();
    for (const line of lines) {
      assert.doesNotMatch(line, /"message":"log lines were dropped"/, `the log of ${name} does not tell all`);
      const match = /"message":"id (claimed|released|lost)"/.exec(line);
      if (!match) continue;
      const { timestamp, id, claim, token } = JSON.parse(line);
      const time = timeOf(timestamp);
      const number = String(claim);
      if (match[1] === "claimed") {
        assert.ok(/^[0-9a-f]{4}$/.test(token) && held.get(number)?.end !== Infinity, line);
        held.set(number, { id, token, machine: name, away, start: time, end: Infinity });
        all.push(held.get(number));
      } else {
        assert.equal(held.get(number)?.end, Infinity, `${name} has no such claim: ${line}`);
        held.get(number).end = time;
      }
    }
  }
  return all.sort((one, other) => one.start - other.start);
}

/**
 * Asserts that every id had at most one owner at any instant. A machine logs a release before it happens, and a claim after it has
 * succeeded; so two claims whose times overlap did overlap. Only this is allowed:
 *
 * - The same client has come back, by its token. One of the two machines gives the id up within `TAKE_OVER`; one that was away, so
 *   long after it is back. It may be the one with the later line: a claim is logged when its answer is here, and the id may have been
 *   taken over again before.
 * - Another client gets the id of a machine that is killed or paused, `LEASED` after that at the earliest. Such a machine cannot close
 *   its client before it runs again; it has done so when it is back.
 *
 * A machine that was cut off from NATS loses no id to another client. Returns the number of claims.
 */
export function assertSingleOwners(processes) {
  const claims = claimsOf(processes);
  const lasting = new Map();
  for (const next of claims) {
    const before = (lasting.get(next.id) ?? []).filter(({ end }) => end > next.start);
    for (const held of before) {
      const away = held.away.find(({ from, to }) => from <= next.start && next.start <= to);
      const isSame = held.token === next.token;
      const isFree = isSame || (away?.isStopped && next.start >= away.from + LEASED);
      const limit = Math.max(next.start, away?.to ?? 0) + (isSame ? TAKE_OVER : 0);
      const end = isSame ? Math.min(held.end, next.end) : held.end;
      if (isFree && (end <= limit || away?.to === Infinity)) continue;
      const all = claims.filter(({ id }) => id === next.id);
      const what = all.map(({ machine, token, start, end }) => `${machine} with token ${token} from ${start} to ${end}`);
      assert.fail(`two owners of ${next.id}, ${isSame ? "the same client" : "two clients"}: ${held.machine} and ${next.machine}\n${what.join("\n")}`);
    }
    lasting.set(next.id, [...before, next]);
  }
  return claims.length;
}

/**
 * Two clients on each of these machines that send to each other all the time, to notice what others do to them. Waits until it is
 * known how long a round trip takes before anything happens. `stop()` asserts that no message was lost or out of order, and that the
 * round trips since then took no longer than `MORE` and `FLOOR` allow; it returns what was measured.
 */
export async function startChatter(...servers) {
  const pairs = await Promise.all(servers.map(startPair));
  await eventually("the clients to talk", () => pairs.every((pair) => pair.took.length >= CALM));
  const before = pairs.map((pair) => pair.took.splice(0));
  return {
    async stop() {
      const measured = [];
      for (const [index, pair] of pairs.entries()) {
        await pair.stop();
        const [calm, after] = [before[index], pair.took].map((took) => quantile(took, 0.99));
        assert.ok(after <= Math.max(MORE * calm, FLOOR), `local clients of ${pair.machine}: ${after} ms, before ${calm} ms (p99)`);
        measured.push(`${pair.machine}: ${pair.took.length} round trips, p99 ${after.toFixed(1)} ms, before ${calm.toFixed(1)} ms`);
      }
      return measured.join("; ");
    },
  };
}

function quantile(took, q) {
  return took.toSorted((a, b) => a - b)[Math.floor(q * (took.length - 1))];
}

async function startPair(server) {
  const [one, other] = await Promise.all(["one", "other"].map((name) => server.join(`${server.machine} ${name}`)));
  const took = [];
  let over = false;
  const running = (async () => {
    // A message that is lost ends this: the next one is waited for, and another number comes, or none.
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
  const stop = () => {
    over = true;
    return running;
  };
  return { machine: server.machine, took, stop };
}

/**
 * Other clients that want the ids of these (`[socket, machine]`) on all other machines, all the time. None may get one: an answer is
 * ID-TAKEN, or a refusal. `stop()` waits until each was told ID-TAKEN by each machine once more, and returns the numbers of answers.
 */
export function startRivals(t, machines, holders) {
  const wanted = holders.flatMap(([{ id }, owner]) =>
    [...machines.all.values()].filter((server) => server !== owner).map((server) => ({ id, server, taken: 0 })),
  );
  let [refused, over] = [0, false];
  t.after(() => (over = true));
  const running = Promise.all(
    wanted.map(async (rival) => {
      for (; !over; await sleep(50)) {
        const socket = await rival.server.attempt(rival.id).catch(() => null);
        const greeting = await socket?.next().catch(() => null);
        socket?.ws.terminate();
        if (greeting) {
          assert.deepEqual(greeting, TAKEN, `another client wants ${rival.id} on ${rival.server.machine}`);
          rival.taken += 1;
        } else {
          refused += 1;
        }
      }
    }),
  );
  running.catch(() => {});
  return {
    async stop() {
      const before = wanted.map(({ taken }) => taken);
      const isTold = () => wanted.every(({ taken }, index) => taken > before[index]);
      await Promise.race([running, eventually("ID-TAKEN on every machine", isTold)]);
      over = true;
      await running;
      const taken = wanted.reduce((sum, one) => sum + one.taken, 0);
      return `${taken} rivals were told ID-TAKEN, ${refused} refused`;
    },
  };
}

/** Whether a server says that it can take clients. */
export const isReady = async (server) => (await get(server.monitor, "/readyz").catch(() => null))?.status === 200;
