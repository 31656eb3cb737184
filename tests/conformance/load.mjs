// A loaded server with something wrong of each kind, for tests that look at its figures. Not a benchmark.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually, get, startServer, total } from "./harness.mjs";

/** Small limits, so that a few clients reach each of them. */
const CONFIG = `
[limits]
client_rate = 2000
client_burst = 1000
max_message = 65536
max_concurrent_messages = 4000

[credit]
credit_messages = 1024
credit_bytes = 1048576
credit_policy = "disconnect"

[holds]
hold_ms = 200

[monitor]
monitor_interval_ms = 200
slow_message_threshold_ms = 1

[thresholds]
high_connection_threshold = 2
`;

/** Starts a server with small limits and two network threads. `workers`: the number of worker threads, 0 for none. */
export async function startLoaded(t, workers, options = {}) {
  const folder = mkdtempSync(join(tmpdir(), "corelane-load-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "corelane.toml");
  writeFileSync(file, CONFIG);
  return startServer(t, { config: file, workers, threads: 2, concurrent_limit: 40, ...options });
}

/** Sends messages until `stop` is aborted: good ones, and every kind of bad one. */
export async function load(server, stop) {
  const clients = await Promise.all(Array.from({ length: 8 }, (_, number) => server.join(`client-${number}`)));
  for (const client of clients) client.ws.removeAllListeners("message"); // what arrives is not looked at
  const send = (from, to, type, payload) => clients[from].send({ type, dst: to, payload });
  for (let turn = 0; !stop.aborted; turn += 1) {
    const [from, to] = [turn % 8, `client-${(turn + 3) % 8}`];
    for (const type of ["OFFER", "ANSWER", "CANDIDATE", "CANDIDATE"]) send(from, to, type, "x".repeat(200));
    if (turn % 3 === 0) {
      clients[from].raw("{");
      send(from, to, "NO_SUCH_TYPE", 1);
      send(from, `nobody-${turn}`, "OFFER", 1); // held, then expired
      clients[from].raw('{"type":"HEARTBEAT"}');
    }
    if (turn % 50 === 0) send(from, to, "OFFER", "x".repeat(70_000)); // too_large
    if (turn % 100 === 0) {
      for (let number = 0; number < 1500; number += 1) send(from, to, "LEAVE", 1); // rate_limited
      await wrongOnes(server);
    }
    if (turn % 100 === 50) await slowOne(server, turn, clients[from]);
    await sleep(5);
  }
}

/** Connections that the server refuses, clients that come and go, and a wrong token. */
async function wrongOnes(server) {
  const short = await server.join(`short-${Math.random()}`);
  await short.close();
  const wrong = await server.attempt("wrong", { key: "not-the-key" });
  wrong.ws.terminate();
  await get(server.monitor, "/metrics", { authorization: "Bearer another-token-of-16" });
}

/** A client that does not read: its credit is exhausted, and the server closes it. */
async function slowOne(server, turn, from) {
  const slow = await server.join(`slow-${turn}`);
  slow.ws._socket.pause();
  const expelled = async () => total(await server.metrics(), "corelane_clients_expelled_total");
  const before = await expelled();
  await eventually("a client without credit to be closed", async () => {
    for (let number = 0; number < 40; number += 1) {
      from.send({ type: "CANDIDATE", dst: slow.id, payload: "x".repeat(32_000) });
    }
    return (await expelled()) > before;
  });
  slow.ws.terminate();
}
