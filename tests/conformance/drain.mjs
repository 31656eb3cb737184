// The drain of corelane's server on SIGTERM: idle clients first, paced, nothing lost. README.md describes how to run the
// suite. Times are only compared with the time that the drain was given.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import * as harness from "./harness.mjs";
import { eventually, get, nothingBefore, own, startServer, total, within } from "./harness.mjs";

const check = (name, run) => harness.check(name, run, { only: own });

const RESTART = 1012;
/** The time without a message after which the server takes a client for idle, and more. */
const QUIET = 3_500;

/** Exchanges a message between two clients every 100 ms until one is closed. Returns when the last one came. */
async function talk(from, to) {
  let [count, last] = [0, 0];
  while (from.isOpen && to.isOpen) {
    from.send({ type: "OFFER", dst: to.id, payload: count });
    const message = await to.next().catch(() => null);
    if (message === null) break;
    assert.equal(message.payload, count);
    count += 1;
    last = Date.now();
    await sleep(100);
  }
  return last;
}

check("idle clients are closed first and one after another, a call that is set up later", async (t) => {
  const server = await startServer(t, { drain_seconds: 8 });
  const idle = [];
  for (let number = 0; number < 30; number += 1) idle.push(await server.join(`idle ${number}`));
  const [ann, ben] = [await server.join("ann"), await server.join("ben")];
  await sleep(QUIET);
  const heartbeats = setInterval(() => idle.forEach((one) => one.isOpen && one.send({ type: "HEARTBEAT" })), 500);
  t.after(() => clearInterval(heartbeats));
  const closed = [];
  for (const one of [...idle, ann, ben]) one.closed().then((code) => closed.push({ id: one.id, code, at: Date.now() }));
  const conversation = talk(ann, ben);
  const begin = Date.now();
  const ended = server.terminate();
  await eventually("not ready", async () => /drains/.test((await get(server.monitor, "/readyz")).text));
  await assert.rejects(server.attempt("late"), /503/);
  assert.deepEqual(await ended, { code: 0, signal: null });
  assert.ok((await conversation) - begin > 3_000, "the conversation went on for most of the drain");
  await eventually("all to be closed", () => closed.length === 32);
  assert.ok(closed.every(({ code }) => code === RESTART), JSON.stringify(closed));
  const names = closed.map(({ id }) => id);
  assert.deepEqual(names.slice(30).sort(), ["ann", "ben"], "the two that talked are the last");
  // One for each step of 50 ms.
  assert.ok(closed[29].at - closed[0].at > 300, "paced");
});

check("what a client has sent before it is closed arrives, and what was sent to it", async (t) => {
  const server = await startServer(t, { drain_seconds: 8, threads: 2 });
  const pairs = [];
  for (let number = 0; number < 20; number += 1) {
    const [from, to] = [await server.join(`from ${number}`), await server.join(`to ${number}`)];
    pairs.push({ from, to, sent: [] });
  }
  const sending = setInterval(() => {
    for (const pair of pairs) {
      if (!pair.from.isOpen || !pair.to.isOpen) continue;
      pair.from.send({ type: "OFFER", dst: pair.to.id, payload: pair.sent.length });
      pair.sent.push(Date.now());
    }
  }, 20);
  t.after(() => clearInterval(sending));
  await sleep(300);
  assert.deepEqual(await server.terminate(), { code: 0, signal: null });
  for (const { to, sent } of pairs) {
    const numbers = to.unread.filter(({ type }) => type === "OFFER").map(({ payload }) => payload);
    assert.deepEqual(numbers, numbers.map((_, index) => index), "in order, none missing between");
    // Those of the last 2 s may have been sent while one of the two was already being closed: a busy machine closes slowly.
    const due = sent.filter((at) => at < sent.at(-1) - 2_000).length;
    assert.ok(numbers.length >= due, `${sent.length} sent, ${due} of them in time, ${numbers.length} arrived`);
  }
});

check("a drain without clients is over at once, and a second signal ends one", async (t) => {
  const empty = await startServer(t, { drain_seconds: 600 });
  assert.deepEqual(await empty.terminate(), { code: 0, signal: null });
  const server = await startServer(t, { drain_seconds: 600 });
  const [ann, ben] = [await server.join("ann"), await server.join("ben")];
  process.kill(server.pid, "SIGTERM");
  await eventually("the drain", () => /draining/.test(server.errors()));
  await nothingBefore(ann, ben);
  assert.deepEqual(await server.terminate(), { code: 0, signal: null });
  assert.match(server.errors(), /second signal/);
  await within(Promise.all([ann.closed(), ben.closed()]), "both to be closed");
});

check("SIGINT and the default drain nothing, and refusals are counted", async (t) => {
  const server = await startServer(t, { drain_seconds: 600 });
  await server.join("ann");
  assert.equal(total(await server.metrics(), "peerjs_refused_total", { reason: "draining" }), 0);
  process.kill(server.pid, "SIGINT");
  await eventually("the end", () => server.get("/").then(() => false, () => true));
  const other = await startServer(t);
  const ben = await other.join("ben");
  assert.deepEqual(await other.terminate(), { code: 0, signal: null });
  assert.notEqual(await ben.closed(), RESTART);
});
