// Opening, lifetime and closing of sockets. npm's PeerServer passes the first part as well, except for the tests that
// NPM_FAILS in harness.mjs lists. The second part is specific to corelane and runs with SUITE=all. README.md
// describes how to run the suite.

import assert from "node:assert/strict";
import { once } from "node:events";
import { describe } from "node:test";
import { TOKEN, check, eventually, get, nothingBefore, own, raw, show, startServer, total, within } from "./harness.mjs";

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
      // The socket of the round before may still be on its way out.
      const ann = await server.joinEventually("ann");
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
    const server = await startServer(t, { alive_timeout: 4_000 });
    // One client answers the server's pings, one pings, one sends messages; none sends a HEARTBEAT.
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
      // A message so large that the server does not read it: the client gets an ERROR, then a close with code 1009.
      ann.raw(message(2 * MIB));
      assert.equal((await ann.next()).type, "ERROR");
      assert.equal(await ann.closed(), 1009);
      await nothingBefore(ben, ben);
    });

    check("refusals are counted by reason, and logged with address and id", async (t) => {
      const server = await startServer(t, { concurrent_limit: 2, set: "monitor_interval_ms=100" });
      const [ann] = [await server.join("ann"), await server.join("ben")];
      const counted = async (reason) => total(await server.metrics(), "peerjs_refused_total", { reason });
      for (const reason of ["wrong_key", "id_taken", "server_full", "missing_parameters"]) {
        const there = (await server.metrics()).some(({ name, labels }) => name === "peerjs_refused_total" && labels.reason === reason);
        assert.ok(there, `${reason} is there before the first`);
      }
      const refuse = async (id, options, count, reason) => {
        for (let number = 0; number < count; number += 1) await (await server.attempt(id, options)).closed();
        await eventually(`${count} of ${reason}`, async () => (await counted(reason)) === count);
      };
      await refuse("cleo", {}, 5, "server_full");
      await refuse("cleo", { key: "wrong" }, 4, "wrong_key");
      await refuse("ann", {}, 3, "id_taken");
      const { custom } = await server.stats();
      const family = custom.families.find(({ name }) => name === "peerjs_refused_total");
      assert.match(JSON.stringify(family), /server_full/);
      await eventually("a full pool", async () => (await server.stats()).system?.load.connection_pool_use === 1);
      await eventually("the lines", () => /WARN refused address=127\.0\.0\.1 id="cleo" reason="server_full"/.test(server.output()));
      assert.match(server.output(), /^\d{4}-\d\d-\d\dT[\d:.]+Z +INFO connected id="ann" address=127\.0\.0\.1$/m);
      await ann.close();
      await eventually("the end's line", () => /INFO disconnected id="ann" .*reason="closed by the client"/.test(server.output()));
    });

    check("reconnects, takeovers and taken ids are attempts to reconnect", async (t) => {
      const server = await startServer(t);
      const attempts = async () => (await server.stats()).connections.reconnect_attempts;
      const first = await server.join("ann", { token: "mine" });
      assert.equal(await attempts(), 0);
      await (await server.attempt("ann")).closed();
      await eventually("a taken id", async () => (await attempts()) === 1);
      const second = await server.join("ann", { token: "mine" });
      await eventually("a takeover", async () => (await attempts()) === 2);
      await Promise.all([first.closed(), second.close()]);
      await eventually("the id to be free", async () => (await show(server, "/api/peers")).total === 0);
      await server.join("ann", { token: "mine" });
      await eventually("a reconnect", async () => (await attempts()) === 3);
    });

    check("a client that is taken over keeps its figures", async (t) => {
      const server = await startServer(t);
      const ben = await server.join("ben");
      const sent = async () => (await server.stats()).clients.by_messages.find(({ name }) => name === "ann");
      const first = await server.join("ann", { token: "mine" });
      first.send({ type: "OFFER", dst: "ben", payload: 1 });
      await ben.next();
      await eventually("one to be counted", async () => (await sent())?.messages === 1);
      const before = await sent();
      const second = await server.join("ann", { token: "mine" });
      await first.closed();
      second.send({ type: "OFFER", dst: "ben", payload: 2 });
      await ben.next();
      await eventually("both to be counted", async () => (await sent())?.messages === 2);
      assert.ok((await sent()).bytes_in > before.bytes_in);
    });

    check("with --cors a page of another origin cannot connect", async (t) => {
      const server = await startServer(t, { cors: "https://a.example" });
      const origin = (origin) => ({ origin });
      await server.join("ann", origin("https://a.example"));
      await server.join("no page", {});
      for (const other of ["https://b.example", "http://a.example", "null"]) {
        await assert.rejects(server.attempt("ben", origin(other)), /403/, other);
      }
      await eventually("three refusals", async () => total(await server.metrics(), "peerjs_refused_total", { reason: "origin" }) === 3);
    });

    check("an upgrade needs Connection: Upgrade and HTTP/1.1", async (t) => {
      const server = await startServer(t);
      const lines = (version, ...more) =>
        [`GET /peerjs?key=peerjs&id=ann&token=t HTTP/${version}`, "Host: x", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", ...more, "", ""].join("\r\n");
      for (const [text, status] of [
        [lines("1.1", "Connection: keep-alive, Upgrade"), 101],
        [lines("1.1"), 400],
        [lines("1.1", "Connection: keep-alive"), 400],
        [lines("1.0", "Connection: Upgrade"), 400],
      ]) {
        const { socket, received } = await raw(server, text);
        await eventually("the answer", () => received().length > 12);
        assert.match(received(), new RegExp(`^HTTP/1\\.[01] ${status}`), text);
        socket.destroy();
      }
      await eventually("three refusals", async () => total(await server.metrics(), "peerjs_refused_total", { reason: "bad_upgrade" }) === 3);
    });

    check("a client's address is shown, a proxy's word only with --proxied", async (t) => {
      const headers = { "x-forwarded-for": "6.6.6.6, 192.0.2.7" };
      for (const [options, address] of [[{}, "127.0.0.1"], [{ proxied: true }, "192.0.2.7"]]) {
        const server = await startServer(t, options);
        await server.join("ann", { headers });
        await server.join("ben", { headers });
        const { total: count, peers } = await show(server, "/api/peers");
        assert.equal(count, 2);
        assert.deepEqual(peers.map((peer) => peer.address), [address, address]);
        assert.ok(Math.abs(Date.now() - peers[0].since_milliseconds) < 60_000);
        assert.deepEqual((await show(server, "/api/peers?id=ann")).peers.map(({ id }) => id), ["ann"]);
        assert.equal((await show(server, "/api/peers?limit=1")).peers.length, 1);
        assert.equal((await get(server.monitor, "/api/peers?limit=0")).status, 400);
        await eventually("the line", () => server.output().includes(`connected id="ann" address=${address}`));
        await server.stop();
      }
    });

    check("sockets have deadlines, whatever they are at", async (t) => {
      const server = await startServer(t, { socket_timeout: 2_000, alive_timeout: 60_000 });
      const state = async (state) => total(await server.metrics(), "peerjs_sockets", { state });
      await server.join("ann");
      await eventually("one WebSocket", async () => (await state("websocket")) === 1);
      const request = "GET /peerjs/id HTTP/1.1\r\nHost: x\r\n\r\n";
      const half = await raw(server, "GET /peerjs/id HT");
      const silent = await raw(server, "");
      const idle = await raw(server, request);
      const unsent = await raw(server, "POST /peerjs/id HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n");
      await eventually("some of HTTP", async () => (await state("http")) >= 3 || half.ended());
      const body = await raw({ port: server.monitor }, `POST /api/set HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Length: 9\r\n\r\n`);
      const head = await raw({ port: server.monitor }, "GET /met");
      for (const [what, { ended }] of Object.entries({ half, silent, idle, unsent, body, head })) await eventually(`the end of ${what}`, ended);
      assert.match(body.received(), /^HTTP\/1.1 408/);
      // Responses that are not read: the clients send many requests and read nothing.
      const deaf = [await raw(server, ""), await raw({ port: server.monitor }, "")];
      for (const { socket } of deaf) {
        socket.pause();
        for (let number = 0; number < 100; number += 1) socket.write(request.replace("peerjs/id", "api/report").repeat(200));
      }
      await eventually("both to be closed", async () => (await state("http")) === 0);
      await server.stop();
    });

    check("a WebSocket that does not read is closed, though it sends", async (t) => {
      const server = await startServer(t, { alive_timeout: 4_000, set: "credit_bytes=268435456" });
      const [ann, deaf] = [await server.join("ann"), await server.join("deaf")];
      deaf.ws.pause();
      const timer = setInterval(() => {
        deaf.send({ type: "HEARTBEAT" });
        ann.send({ type: "HEARTBEAT" });
      }, 200);
      t.after(() => clearInterval(timer));
      // Less than the client's credit, but more than the network buffers hold.
      const here = async () => (await show(server, "/api/peers?id=deaf")).peers.length === 1;
      for (let number = 0; number < 60 && (await here()); number += 1) {
        ann.send({ type: "OFFER", dst: "deaf", payload: "x".repeat(900_000) });
      }
      await eventually("it to be closed", async () => !(await here()));
      await eventually("it to be counted", async () => total(await server.metrics(), "peerjs_refused_total", { reason: "not_read" }) === 1);
      assert.ok(ann.isOpen);
    });

    check("--max_connections and --max_per_address are kept", async (t) => {
      for (const [options, reason] of [[{ max_connections: 3 }, "too_many_connections"], [{ max_per_address: 3 }, "too_many_of_address"]]) {
        const server = await startServer(t, options);
        await eventually("no other sockets", async () => total(await server.metrics(), "peerjs_sockets") === 0);
        const [ann] = [await server.join("ann"), await server.join("ben"), await server.join("cleo")];
        await assert.rejects(server.attempt("dora"));
        await eventually("the refusal", async () => total(await server.metrics(), "peerjs_refused_total", { reason }) >= 1);
        const ready = async () => (await get(server.monitor, "/readyz")).status === 200;
        assert.equal(await ready(), reason === "too_many_of_address");
        await ann.close();
        await eventually("room again", async () => (await ready()) && total(await server.metrics(), "peerjs_sockets") === 2);
        await server.join("dora");
        await server.stop();
      }
      // Behind a proxy the limit applies to the client's own address.
      const server = await startServer(t, { max_per_address: 1, proxied: true });
      const from = (address) => ({ headers: { "x-forwarded-for": address } });
      await server.join("ann", from("192.0.2.1"));
      await server.join("ben", from("192.0.2.2"));
      await assert.rejects(server.attempt("cleo", from("192.0.2.1")), /429/);
    });
  });
}
