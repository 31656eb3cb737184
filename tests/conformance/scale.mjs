// Many clients at once, and many clients one after another: memory stays flat and within the budget that the server
// prints at its start. Specific to corelane; runs with SUITE=all only. Figures are counts and bytes, never times.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { eventually, own, startServer, total } from "./harness.mjs";

const IDLE = 2_000;
const VANISHING = 500;
const COMING_AND_GOING = 5_000;
const AT_ONCE = 50;
const MIB = 1024 * 1024;

/** The resident bytes of a process that the test started. */
function resident(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) * 1024;
}

/** Runs `one` for each number below `count`, several at once. */
async function many(count, one) {
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const number = next;
      next += 1;
      await one(number);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const open = async (server) => total(await server.metrics(), "corelane_connections_open");

test("idle clients, vanishing ones, and ones that come and go cost what was stated", { skip: !own }, async (t) => {
  const server = await startServer(t, { concurrent_limit: 4000 });
  const empty = resident(server.pid);
  const [, stated] = await eventually("the budget", () => /at most ([\d.]+) MiB/.exec(server.output()));
  const budget = Number(stated) * MIB;

  await many(IDLE, (number) => server.join(`idle-${number}`));
  await eventually("all to be counted", async () => (await open(server)) === IDLE);
  const full = resident(server.pid);

  // Send malformed messages of every kind, then drop the socket without a closing frame.
  await many(VANISHING, async (number) => {
    const socket = await server.join(`gone-${number}`);
    for (const data of ["{", "[".repeat(1000), Buffer.of(0x7b, 0xff), `{"type":"x${number}","dst":"y${number}"}`]) {
      socket.raw(data);
    }
    socket.raw(JSON.stringify({ type: "OFFER", dst: `nobody-${number}`, payload: "x".repeat(2000) }));
    socket.ws.terminate();
  });
  await eventually("those that vanished to be gone", async () => (await open(server)) === IDLE);

  const come = async (number) => {
    const socket = await server.join(`short-${number}`);
    await socket.close();
  };
  await many(COMING_AND_GOING / 2, come);
  await eventually("those that left to be gone", async () => (await open(server)) === IDLE);
  const before = resident(server.pid);
  await many(COMING_AND_GOING / 2, (number) => come(number + COMING_AND_GOING / 2));
  await eventually("those that left to be gone", async () => (await open(server)) === IDLE);
  const after = resident(server.pid);

  t.diagnostic(`stated ${budget / MIB} MiB; resident MiB: empty ${Math.round(empty / MIB)}, with ${IDLE} idle clients ${Math.round(full / MIB)}, after all ${Math.round(after / MIB)}`);
  // A socket's memory belongs to the server and the allocator. The router's memory is in the printed budget.
  assert.ok(after - before < 4 * MIB, `grew by ${after - before} bytes over ${COMING_AND_GOING / 2} short connections`);
  assert.ok(after < empty + budget + IDLE * 32 * 1024, `${after} bytes, ${budget} were stated for the router`);

  const stats = await server.stats();
  assert.equal(stats.connections.total, IDLE + VANISHING + COMING_AND_GOING);
  assert.ok(stats.connections.peak >= IDLE);
  const ann = await server.join("ann");
  const ben = await server.join("ben");
  ann.send({ type: "OFFER", dst: "ben", payload: 1 });
  assert.deepEqual(await ben.next(), { type: "OFFER", src: "ann", dst: "ben", payload: 1 });
});
