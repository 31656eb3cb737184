// How sockets begin, live and end. The first part is true of npm's PeerServer too, but for what NPM_FAILS in harness.mjs
// lists; the second is corelane's own and runs with SUITE=all. README.md says how to run it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { describe } from "node:test";
import { check, eventually, nothingBefore, own, startServer, within } from "./harness.mjs";

const MIB = 1024 * 1024;

/** Sends some messages from one client to the other and asserts that they arrive in order. */
async function exchange(from, to, count) {
  for (let number = 0; number < count; number += 1) from.send({ type: "OFFER", dst: to.id, payload: number });
  const arrived = await to.nextMany(count);
  assert.deepEqual(arrived.map(({ src, payload }) => [src, payload]), Array.from({ length: count }, (_, n) => [from.id, n]));
}

describe("sockets", () => {
  check("a closing frame is answered with its code", async (t) => {
    const server = await startServer(t);
    for (const [code, reason] of [[1000, "bye"], [1001, ""], [4000, "mine"]]) {
      const ann = await server.join("ann");
      const closed = once(ann.ws, "close");
      ann.ws.close(code, reason);
      const [answered] = await within(closed, "the answer");
      assert.equal(answered, code);
      await eventually("the id to be free", async () => {
        const next = await server.attempt("ann");
        const { type } = await next.next();
        await next.close();
        return type === "OPEN";
      });
    }
  });

  check("a message of 66,000 bytes is delivered", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    const payload = "x".repeat(66_000);
    ann.send({ type: "OFFER", dst: "ben", payload });
    assert.deepEqual(await ben.next(), { type: "OFFER", src: "ann", dst: "ben", payload });
    await nothingBefore(ben, ann);
  });

  check("a client that comes back with its token is greeted, and takes over", async (t) => {
    const server = await startServer(t, { allow_discovery: true });
    const [old, ben] = [await server.join("ann", { token: "mine" }), await server.join("ben")];
    const renewed = await server.join("ann", { token: "mine" });
    await exchange(ben, renewed, 20);
    assert.deepEqual(old.unread, []);
    await old.close();
    for (let round = 0; round < 10; round += 1) {
      await exchange(ben, renewed, 3);
      await exchange(renewed, ben, 3);
    }
    const stranger = await server.attempt("ann");
    assert.equal((await stranger.next()).type, "ID-TAKEN");
    assert.deepEqual(JSON.parse((await server.get("/peerjs/peers")).text).sort(), ["ann", "ben"]);
  });

  check("any frame is a sign of life", async (t) => {
    const server = await startServer(t, { alive_timeout: 1_500 });
    // One answers the server's pings, one pings, one sends messages; none sends a HEARTBEAT.
    const answers = await server.join("answers");
    const [pings, sends] = [await server.join("pings", { autoPong: false }), await server.join("sends", { autoPong: false })];
    const asked = once(answers.ws, "ping");
    const timer = setInterval(() => {
      pings.ws.ping();
      sends.send({ type: "OFFER", dst: "sends", payload: 1 });
    }, 200);
    t.after(() => clearInterval(timer));
    const silent = await server.join("silent", { autoPong: false });
    await silent.closed();
    const later = await server.join("silent", { autoPong: false });
    await later.closed();
    await within(asked, "a ping of the server's");
    for (const alive of [answers, pings, sends]) assert.ok(alive.isOpen, alive.id);
  });
});

if (own) {
  describe("corelane: sockets", () => {
    check("messages up to 1 MiB are delivered, and the sender of a larger one is told", async (t) => {
      const server = await startServer(t);
      const [ann, ben] = [await server.join("ann"), await server.join("ben")];
      const message = (size) => JSON.stringify({ type: "OFFER", dst: "ben", payload: "x".repeat(size) });
      const largest = MIB - message(0).length;
      for (let number = 0; number < 10; number += 1) {
        ann.raw(message(largest));
        assert.equal((await ben.next()).payload.length, largest);
      }
      for (const size of [largest + 1, 2 * MIB - message(0).length]) {
        ann.raw(message(size));
        const { type, payload } = await ann.next();
        assert.equal(type, "ERROR");
        assert.match(payload.msg, /message has \d+ bytes.*up to 1048576/);
      }
      await nothingBefore(ann, ben);
      const refused = (await server.metrics()).filter(({ name }) => name === "corelane_messages_refused_total");
      assert.equal(refused.find(({ labels }) => labels.reason === "too_large").value, 2);
      assert.match(JSON.stringify((await server.stats()).routing.accounting.refusals), /too_large/);
      // So large that it is not read: told, then closed with the code for that.
      ann.raw(message(2 * MIB));
      assert.equal((await ann.next()).type, "ERROR");
      assert.equal(await ann.closed(), 1009);
      await nothingBefore(ben, ben);
    });
  });
}
