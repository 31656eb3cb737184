// The required behaviour of a PeerJS-compatible signaling server, tested on a server process through its sockets.
//
// npm's PeerServer passes the first part as well, which validates the suite. The second part is specific to corelane
// and runs with SUITE=all. README.md describes how to run the suite. Every test starts its own server. No test waits
// to show that nothing was sent: it sends a marker afterwards, which must arrive first.

import assert from "node:assert/strict";
import { describe } from "node:test";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { check, eventually, get, listenAnywhere, nothingBefore, own, preflight, refusedStart, startServer, total } from "./harness.mjs";

const RELAYED = ["OFFER", "ANSWER", "CANDIDATE"];
const MISSING = "No id, token, or key supplied to websocket server";
const TAKEN = { type: "ID-TAKEN", payload: { msg: "ID is taken" } };
const MIB = 1024 * 1024;

/** Input that is not a JSON object, with a name for it. */
const MALFORMED = [
  ["broken JSON", '{"type":"OFFER","dst":"ben",'],
  ["no JSON", "{nope"],
  ["nothing", ""],
  ["blanks", "  \n"],
  ["null", "null"],
  ["a number", "5"],
  ["a string", '"OFFER"'],
  ["an open end, 10,000 deep", "[".repeat(10_000)],
  ["something after the end", '{"type":"OFFER","dst":"ben","payload":1}}'],
  ["two objects", '{"type":"OFFER","dst":"ben","payload":1}{"type":"OFFER","dst":"ben","payload":2}'],
  ["a trailing comma", '{"type":"OFFER","dst":"ben","payload":1,}'],
  ["a malformed payload", '{"type":"OFFER","dst":"ben","payload":{"a":01}}'],
  ["a malformed escape", '{"type":"OFFER","dst":"ben","payload":"\\x41"}'],
  ["a control character in a string", '{"type":"OFFER","dst":"ben","payload":"\n"}'],
  ["a binary frame that is not UTF-8 outside of strings", Buffer.of(0x7b, 0xff, 0x7d)],
].map(named);

/** Input that npm's server accepts and corelane refuses. */
const REFUSED = [
  ["an array", "[]"],
  ["arrays, 10,000 deep", "[".repeat(10_000) + "]".repeat(10_000)],
  ["two recipients", '{"type":"OFFER","dst":"cleo","dst":"ben","payload":1}'],
  ["two recipients, the same", '{"type":"OFFER","dst":"ben","dst":"ben","payload":1}'],
  ["two recipients, one escaped", '{"type":"OFFER","dst":"ben","payload":1,"\\u0064st":"cleo"}'],
  ["two types", '{"type":"HEARTBEAT","dst":"ben","payload":1,"type":"OFFER"}'],
  ["two payloads", '{"type":"OFFER","dst":"ben","payload":1,"payload":2}'],
  ["more than 1 MiB", JSON.stringify({ type: "OFFER", dst: "ben", payload: "x".repeat(MIB) })],
  ["a binary frame with a string that is not UTF-8", Buffer.from('{"type":"OFFER","dst":"ben","payload":"\xff"}', "latin1")],
].map(named);

const RANGE = /\d[\d_,]*\s*(?:\.\.=?|to|and|through|-|–)\s*\d|at least|at most|>=|<=/i;

/** Options that must be refused at start, and the text that the error must contain besides the option and the value. */
const BAD_OPTIONS = [
  { name: "port", value: "70000", says: [RANGE, /65[_,]?535/] },
  { name: "port", value: "x", says: [RANGE, /65[_,]?535/] },
  { name: "expire_timeout", value: "-1", says: [RANGE] },
  { name: "concurrent_limit", value: "0", says: [RANGE] },
  { name: "alive_timeout", value: "abc", says: [RANGE] },
  { name: "monitor", value: "nonsense", says: [/address|port/i] },
];

function named([what, data]) {
  return { what, data };
}

/** Sends `count` messages from one client to the other and asserts that they arrive unchanged and in order. */
async function exchange(from, to, count, label) {
  const messages = Array.from({ length: count }, (_, number) => ({
    type: RELAYED[number % RELAYED.length],
    dst: to.id,
    payload: { label, number },
  }));
  messages.forEach((message) => from.send(message));
  assert.deepEqual(await to.nextMany(count), messages.map((message) => ({ ...message, src: from.id })));
}

/** Asserts that a connection is refused with exactly this message and then closed. */
async function refused(socket, message) {
  assert.deepEqual(await socket.next(), message);
  await socket.closed();
  assert.deepEqual(socket.unread, []);
}

function error(msg) {
  return { type: "ERROR", payload: { msg } };
}

/** Sends large OFFERs to `dst` until it is stopped, never faster than the server reads them. */
async function flood(socket, dst, over) {
  const message = JSON.stringify({ type: "OFFER", dst, payload: "x".repeat(32 * 1024) });
  while (!over() && socket.isOpen) {
    if (socket.ws.bufferedAmount > MIB) await sleep(5);
    else socket.raw(message);
    await turn();
  }
}

/** The number of messages that failed with a reason. */
async function failures(server) {
  const samples = (await server.metrics()).filter(({ labels }) => labels.reason);
  // A message that is too large is refused before it is accepted. Every other malformed message fails afterwards.
  return total(samples, "corelane_messages_failed_total") + total(samples, "corelane_messages_refused_total");
}

// ---------------------------------------------------------------------------------------------------- shared

describe("HTTP", () => {
  check("an id is fresh text each time", async (t) => {
    const server = await startServer(t);
    const answers = await Promise.all(Array.from({ length: 20 }, () => server.get("/peerjs/id?ts=1&version=1.5.5")));
    for (const answer of answers) {
      assert.equal(answer.status, 200);
      assert.match(answer.headers["content-type"], /^text\//);
      assert.match(answer.text, /^[A-Za-z0-9]+(?:[ _-][A-Za-z0-9]+)*$/, "an id that a peerjs client accepts");
    }
    assert.equal(new Set(answers.map((answer) => answer.text)).size, answers.length);
  });

  check("the root says what it is", async (t) => {
    const server = await startServer(t);
    const answer = await server.get("/");
    assert.equal(answer.status, 200);
    assert.match(answer.headers["content-type"], /^application\/json/);
    assert.equal(JSON.parse(answer.text).name, "PeerJS Server");
  });

  check("pages of other origins may read it", async (t) => {
    const server = await startServer(t);
    const origin = "http://page.example";
    for (const path of ["/peerjs/id", "/"]) {
      const answer = await server.get(path, { origin });
      assert.ok([origin, "*"].includes(answer.headers["access-control-allow-origin"]), path);
    }
  });

  check("a preflight is answered", async (t) => {
    const server = await startServer(t);
    const origin = "http://page.example";
    const { status, headers } = await preflight(server.port, "/peerjs/id", { origin, "access-control-request-headers": "x-mine" });
    assert.equal(status, 204);
    assert.match(headers["access-control-allow-methods"], /GET/);
    assert.equal(headers["access-control-allow-headers"], "x-mine");
    assert.ok([origin, "*"].includes(headers["access-control-allow-origin"]));
  });

  check("the list of clients is refused unless discovery is allowed", async (t) => {
    const server = await startServer(t, { allow_discovery: null });
    await server.join("hidden");
    const answer = await server.get("/peerjs/peers");
    assert.equal(answer.status, 401);
    assert.doesNotMatch(answer.text, /hidden/);
  });

  check("the list of clients is shown with --allow_discovery", async (t) => {
    const server = await startServer(t, { allow_discovery: true });
    const list = async () => JSON.parse((await server.get("/peerjs/peers")).text).sort();
    assert.deepEqual(await list(), []);
    const ann = await server.join("ann");
    await server.join("ben");
    await eventually("both to be listed", async () => String(await list()) === "ann,ben");
    await ann.close();
    await eventually("only one to be listed", async () => String(await list()) === "ben");
  });

  check("an unknown address is not found, and no WebSocket either", async (t) => {
    const server = await startServer(t);
    assert.equal((await server.get("/peerjs/nonsense")).status, 404);
    server.path = "/nowhere/";
    await assert.rejects(server.dial({ key: "peerjs", id: "ann", token: "t" }));
  });
});

describe("entering", () => {
  check("a client with key, id and token is greeted with OPEN", async (t) => {
    const server = await startServer(t);
    await server.join("ann");
    await server.join("ids may have spaces, & signs, and žluťoučký 🦄");
  });

  check("without id, token or key there is an error", async (t) => {
    const server = await startServer(t);
    const whole = { key: "peerjs", id: "ann", token: "secret" };
    for (const missing of Object.keys(whole)) {
      const { [missing]: _, ...rest } = whole;
      await refused(await server.dial(rest), error(MISSING));
      await refused(await server.dial({ ...whole, [missing]: "" }), error(MISSING));
    }
    await refused(await server.dial({}), error(MISSING));
    await server.join("ann");
  });

  check("a wrong key is an error", async (t) => {
    const server = await startServer(t);
    await refused(await server.attempt("ann", { key: "another" }), error("Invalid key provided"));
    await server.join("ann");
  });

  check("an id that is in use is refused to another token, and its owner keeps it", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    await refused(await server.attempt("ann"), TAKEN);
    await exchange(ann, ben, 3, "to ben");
    await exchange(ben, ann, 3, "to ann");
  });

  check("an id can be used again after its client has gone", async (t) => {
    const server = await startServer(t);
    const [first, ben] = [await server.join("ann"), await server.join("ben")];
    await first.close();
    const second = await server.joinEventually("ann");
    await exchange(ben, second, 3, "to the second ann");
    await exchange(second, ben, 3, "from the second ann");
  });

  check("--concurrent_limit is kept", async (t) => {
    const server = await startServer(t, { concurrent_limit: 2 });
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    await refused(await server.attempt("cleo"), error("Server has reached its concurrent user limit"));
    await refused(await server.attempt("ann"), TAKEN);
    await exchange(ann, ben, 3, "to ben");
    await ann.close();
    const cleo = await server.joinEventually("cleo");
    await exchange(ben, cleo, 3, "to cleo");
  });

  check("--path is respected", async (t) => {
    const server = await startServer(t, { path: "/my/app" });
    assert.equal(JSON.parse((await server.get("/my/app")).text).name, "PeerJS Server");
    assert.equal((await server.get("/peerjs/id")).status, 404);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    await exchange(ann, ben, 3, "under a path");
    server.path = "/";
    await assert.rejects(server.dial({ key: "peerjs", id: "cleo", token: "t" }));
  });

  check("--key is respected", async (t) => {
    const server = await startServer(t, { key: "sesame" });
    assert.equal((await server.get("/sesame/id")).status, 200);
    await refused(await server.attempt("ann", { key: "peerjs" }), error("Invalid key provided"));
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    await exchange(ann, ben, 3, "with a key");
  });
});

describe("relaying", () => {
  check("OFFER, ANSWER and CANDIDATE arrive with type, src, dst and payload only", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    for (const type of RELAYED) {
      const payload = { connectionId: "dc_1", sdp: { type: type.toLowerCase(), sdp: "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n" } };
      ann.send({ extra: { dst: "cleo" }, payload, dst: "ben", id: 7, type, Type: "LEAVE", token: "secret" });
      assert.deepEqual(await ben.next(), { type, src: "ann", dst: "ben", payload });
    }
    ann.send({ type: "OFFER", dst: "ben" });
    assert.deepEqual(await ben.next(), { type: "OFFER", src: "ann", dst: "ben" }, "a missing payload stays missing");
  });

  check("a payload arrives as it was, whatever JSON it is", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    const payloads = [
      "null", "true", "0", "-1.5e-7", '""', "[]", "{}", "[[[[[[[[[[1]]]]]]]]]]",
      '"žluťoučký kůň 日本語 🦄 \u2028\u2029"',
      '"\\u0000 \\u001f \\" \\\\ \\/ \\b\\f\\n\\r\\t \\u00e9 \\ud83e\\udd84 \\u2028"',
      '"half a pair: \\ud83e, and the other half: \\udd84"',
      "[9007199254740993, 123456789012345678901234567890, 1e300, 1E-300, 0.1, 4.9e-324]",
      '{"":{"type":"LEAVE","src":"mallory","dst":"cleo","payload":null},"\\"":[null,{}],"a":1,"a":2}',
      '{"__proto__":{"polluted":true},"constructor":{"prototype":0},"toString":"x"}',
      '  {\t"spaced" :\r\n [ 1 , 2 , { } ] }  ',
      JSON.stringify({ sdp: "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n".repeat(600) }),
    ];
    for (const payload of payloads) {
      ann.raw(` {"payload" :${payload},"dst":"ben" , "type":"OFFER"}\n`);
      assert.deepEqual(await ben.next(), { type: "OFFER", src: "ann", dst: "ben", payload: JSON.parse(payload) });
    }
  });

  check("keys may be written with escapes", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    ann.raw('{"\\u0074ype":"O\\u0046FER","d\\u0073t":"\\u0062en","\\u0070ayload":[1]}');
    assert.deepEqual(await ben.next(), { type: "OFFER", src: "ann", dst: "ben", payload: [1] });
  });

  check("200 messages keep their order, both ways at once", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    await Promise.all([exchange(ann, ben, 200, "to ben"), exchange(ben, ann, 200, "to ann")]);
  });

  check("the sender cannot be forged", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("mallory"), await server.join("ben")];
    const relayed = { type: "OFFER", src: "mallory", dst: "ben", payload: 1 };
    for (const forged of ['"src":"ann"', '"\\u0073rc":"ann"', '"s\\u0072\\u0063":"ann"', '"src":{"a":1}', '"src":null']) {
      ann.raw(`{${forged},"type":"OFFER","dst":"ben","payload":1}`);
      assert.deepEqual(await ben.next(), relayed, forged);
      ann.raw(`{"type":"OFFER","dst":"ben","payload":1,${forged}}`);
      assert.deepEqual(await ben.next(), relayed, forged);
    }
    // A duplicate "src" key: npm's server relays the message with the true sender; a server that rejects duplicate
    // keys may refuse it.
    const twice = ['"src":"mallory","\\u0073rc":"ann"', '"\\u0073rc":"ann","src":"mallory"', '"src":"ann","src":"cleo"'];
    for (const forged of twice) ann.raw(`{${forged},"type":"OFFER","dst":"ben","payload":1}`);
    const marker = { type: "ANSWER", src: "mallory", dst: "ben", payload: "end" };
    ann.send(marker);
    const arrived = [];
    while (arrived.at(-1)?.type !== "ANSWER") arrived.push(await ben.next());
    assert.deepEqual(arrived.pop(), marker);
    assert.ok(own || process.env.CLUSTER || arrived.length === twice.length);
    for (const message of arrived) assert.deepEqual(message, relayed);
  });

  check("an id cannot break out of its field", async (t) => {
    const server = await startServer(t);
    const [id, ben] = ['mallory","src":"ann\\', await server.join('ben"')];
    const mallory = await server.join(id);
    mallory.send({ type: "OFFER", dst: ben.id, payload: 1 });
    assert.deepEqual(await ben.next(), { type: "OFFER", src: id, dst: ben.id, payload: 1 });
    await exchange(ben, mallory, 3, "back");
  });

  check("an id may have a line feed", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben\n")];
    await exchange(ann, ben, 3, "to it");
    await exchange(ben, ann, 3, "from it");
  });

  check("HEARTBEAT is neither relayed nor answered", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    ann.send({ type: "HEARTBEAT" });
    ann.send({ type: "HEARTBEAT", dst: "ben", payload: "x" });
    await nothingBefore(ann, ben);
    await nothingBefore(ben, ann);
  });

  check("an unknown type is dropped and the connection stays", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    const words = ["GREETING", "OPEN", "ERROR", "ID-TAKEN", "offer", " OFFER", "OFFER\u0000", ""];
    for (const type of [...words, 5, null, ["OFFER"], undefined]) {
      ann.send({ type, dst: "ben", payload: "dropped" });
      await nothingBefore(ann, ben, `after type ${JSON.stringify(type)}`);
    }
    await nothingBefore(ben, ann);
  });

  check("a message without a usable recipient is dropped", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    for (const dst of [undefined, "", null, 0, false]) {
      ann.send({ type: "OFFER", dst, payload: "dropped" });
      await nothingBefore(ann, ben, `after dst ${JSON.stringify(dst)}`);
    }
    await nothingBefore(ben, ann);
  });

  check("a binary frame is treated like text, and a fragmented message like a whole one", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    const relayed = { type: "OFFER", src: "ann", dst: "ben", payload: "žluťoučký 🦄" };
    ann.raw(Buffer.from(JSON.stringify(relayed)), { binary: true });
    assert.deepEqual(await ben.next(), relayed);
    const bytes = Buffer.from(JSON.stringify(relayed));
    for (const byte of bytes) ann.raw(Buffer.of(byte), { binary: false, fin: false });
    ann.raw("", { fin: true });
    assert.deepEqual(await ben.next(), relayed);
  });

  check("a WebSocket ping is answered", async (t) => {
    const server = await startServer(t);
    const ann = await server.join("ann");
    const pong = new Promise((resolve) => ann.ws.once("pong", (data) => resolve(data.toString())));
    ann.ws.ping("are you there");
    assert.equal(await pong, "are you there");
  });
});

describe("what is not a message", () => {
  check("an array costs only itself, however deep", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    for (const text of ["[]", '[{"type":"OFFER","dst":"ben"}]', "[".repeat(10_000) + "]".repeat(10_000), "{}"]) {
      ann.raw(text);
      await nothingBefore(ann, ben, `after ${text.slice(0, 40)}`);
    }
    await nothingBefore(ben, ann);
  });

  // The SUITE=all test also checks the sender itself. npm's server stops reading from the sender's socket.
  check("malformed input harms no other connection", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    for (const [number, { what, data }] of MALFORMED.entries()) {
      const cleo = await server.join(`cleo ${number}`);
      cleo.raw(data);
      await nothingBefore(ann, ben, `after ${what}`);
      await nothingBefore(ben, ann, `after ${what}`);
    }
    const dora = await server.join("dora");
    dora.raw(Buffer.of(0x22, 0xff, 0x22), { binary: false }); // a text frame that is not UTF-8: RFC 6455 requires a close
    await dora.closed();
    await nothingBefore(ann, ben);
  });
});

describe("absent clients", () => {
  check("messages are held and delivered in order once the client comes", async (t) => {
    const server = await startServer(t, { expire_timeout: 60_000 });
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    const held = Array.from({ length: 50 }, (_, number) => ({
      type: RELAYED[number % RELAYED.length],
      dst: "late",
      payload: { number },
    }));
    held.forEach((message) => ann.send(message));
    await nothingBefore(ann, ben);
    const late = await server.join("late"); // join asserts that OPEN arrives first
    assert.deepEqual(await late.nextMany(50), held.map((message) => ({ ...message, src: "ann" })));
    await nothingBefore(ann, late);
    await late.close();
    const again = await server.joinEventually("late");
    await nothingBefore(ben, again, "nothing is delivered twice");
    await nothingBefore(ben, ann);
  });

  check("held messages outlive their sender", async (t) => {
    const server = await startServer(t, { expire_timeout: 60_000 });
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    ann.send({ type: "OFFER", dst: "late", payload: 1 });
    await nothingBefore(ann, ben);
    await ann.close();
    const late = await server.join("late");
    assert.deepEqual(await late.next(), { type: "OFFER", src: "ann", dst: "late", payload: 1 });
  });

  check("a message to a client that never comes expires at its sender", async (t) => {
    const server = await startServer(t, { expire_timeout: 300 });
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    const absent = ["ghost", "phantom"];
    for (const dst of ["ghost", "ghost", "phantom"]) ann.send({ type: "OFFER", dst, payload: "lost" });
    // npm's server sends one EXPIRE per pair and round, corelane may send one per message. Expect at least one per
    // pair.
    const seen = new Set();
    while (seen.size < absent.length) {
      const message = await ann.next();
      assert.ok(absent.includes(message.src), "about a client that was written to");
      assert.deepEqual(message, { type: "EXPIRE", src: message.src, dst: "ann" });
      seen.add(message.src);
    }
    const ghost = await server.join("ghost");
    await nothingBefore(ben, ghost, "what has expired is not delivered");
    await nothingBefore(ann, ben, "no other client gets a notice");
  });

  check("LEAVE to a client is relayed", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    ann.send({ type: "LEAVE", src: "cleo", dst: "ben", extra: 1 });
    assert.deepEqual(await ben.next(), { type: "LEAVE", src: "ann", dst: "ben" });
    ann.send({ type: "LEAVE", dst: "ben", payload: { why: "tired" } });
    assert.deepEqual(await ben.next(), { type: "LEAVE", src: "ann", dst: "ben", payload: { why: "tired" } });
    await exchange(ben, ann, 3, "both are still there");
    await refused(await server.attempt("ann"), TAKEN);
  });

  check("LEAVE and EXPIRE to an absent client are not held", async (t) => {
    const server = await startServer(t, { expire_timeout: 60_000 });
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    ann.send({ type: "LEAVE", dst: "late" });
    ann.send({ type: "EXPIRE", dst: "late" });
    ann.send({ type: "OFFER", dst: "late", payload: 1 });
    ann.send({ type: "LEAVE", dst: "late", payload: 2 });
    ann.send({ type: "ANSWER", dst: "late", payload: 3 });
    await nothingBefore(ann, ben);
    const late = await server.join("late");
    assert.deepEqual(await late.next(), { type: "OFFER", src: "ann", dst: "late", payload: 1 });
    assert.deepEqual(await late.next(), { type: "ANSWER", src: "ann", dst: "late", payload: 3 });
    await nothingBefore(ben, late);
  });

  check("LEAVE without a recipient frees the sender's id", async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await server.join("ann"), await server.join("ben")];
    ann.send({ type: "LEAVE" });
    const another = await server.joinEventually("ann");
    await exchange(ben, another, 3, "to the new owner");
    await exchange(another, ben, 3, "from the new owner");
    assert.deepEqual(ann.unread, []);
  });
});

describe("staying", () => {
  check("a client without HEARTBEAT is closed after --alive_timeout, one with stays", async (t) => {
    const server = await startServer(t, { alive_timeout: 4_000 });
    const alive = await server.join("alive"); // the older client: if it were silent, it would be closed first
    const beat = setInterval(() => alive.send({ type: "HEARTBEAT" }), 200);
    t.after(() => clearInterval(beat));
    const silent = await server.join("silent", { autoPong: false });
    await silent.closed();
    assert.deepEqual(silent.unread, []);
    assert.ok(alive.isOpen);
    const again = await server.joinEventually("silent");
    await exchange(again, alive, 3, "from the newcomer");
    await nothingBefore(alive, alive, "a client may write to itself");
  });
});

// ---------------------------------------------------------------------------------------------------- corelane's own

if (own) {
  describe("corelane: input", () => {
    check("malformed input costs only itself and is counted with its reason", async (t) => {
      const server = await startServer(t);
      const [ann, ben] = [await server.join("ann"), await server.join("ben")];
      for (const { what, data } of [...MALFORMED, ...REFUSED]) {
        const before = await failures(server);
        ann.raw(data);
        await nothingBefore(ann, ben, `after ${what}`);
        await eventually(`${what} to be counted with a reason`, async () => (await failures(server)) === before + 1);
      }
      // Only the sender of a message that is too large gets an ERROR.
      assert.match((await ann.next()).payload.msg, /message has \d+ bytes/);
      await nothingBefore(ben, ann);
    });

    check("malformed input does not stop what comes in the same packet", async (t) => {
      const server = await startServer(t);
      const [ann, ben] = [await server.join("ann"), await server.join("ben")];
      const socket = ann.ws._socket; // a private field, and the only way to put many frames into one segment
      socket.cork();
      for (const { data } of MALFORMED) {
        ann.raw(data);
        ann.send({ type: "OFFER", dst: "ben", payload: "in between" });
      }
      socket.uncork();
      for (const { what } of MALFORMED) {
        assert.deepEqual(await ben.next(), { type: "OFFER", src: "ann", dst: "ben", payload: "in between" }, what);
      }
    });

    check("a payload 10,000 deep costs at most itself", async (t) => {
      const server = await startServer(t);
      const [ann, ben] = [await server.join("ann"), await server.join("ben")];
      ann.raw(`{"type":"OFFER","dst":"ben","payload":${"[".repeat(10_000)}${"]".repeat(10_000)}}`);
      ann.send({ type: "ANSWER", dst: "ben", payload: "behind it" });
      assert.deepEqual(await ben.nextOf("ANSWER"), { type: "ANSWER", src: "ann", dst: "ben", payload: "behind it" });
      assert.ok(ben.unread.length <= 1);
      await nothingBefore(ben, ann, "the sender gets no notice that its peer has left");
    });

    check("the id is free for a new owner after LEAVE, also once the old socket is closed", async (t) => {
      const server = await startServer(t);
      const [ann, ben] = [await server.join("ann"), await server.join("ben")];
      ann.send({ type: "LEAVE" });
      const another = await server.joinEventually("ann");
      await ann.close();
      for (let round = 0; round < 10; round += 1) {
        await exchange(ben, another, 3, `to the new owner, round ${round}`);
        await exchange(another, ben, 3, `from the new owner, round ${round}`);
      }
      await refused(await server.attempt("ann"), TAKEN);
    });
  });

  describe("corelane: monitor", () => {
    check("health", async (t) => {
      const server = await startServer(t);
      await eventually("the monitor to be healthy", async () => (await get(server.monitor, "/healthz")).status === 200);
    });

    check("metrics count the messages by type", async (t) => {
      const server = await startServer(t);
      const [ann, ben] = [await server.join("ann"), await server.join("ben")];
      const sent = { OFFER: 25, ANSWER: 7, CANDIDATE: 40 };
      for (const [type, count] of Object.entries(sent)) {
        for (let number = 0; number < count; number += 1) ann.send({ type, dst: "ben", payload: number });
        await ben.nextMany(count);
      }
      const answer = await get(server.monitor, "/metrics");
      assert.match(answer.headers["content-type"], /^text\/plain/);
      const received = (samples, message_type) =>
        total(samples, "corelane_messages_received_total", { message_type, protocol: "peerjs" });
      await eventually("every message to be counted", async () => {
        const samples = await server.metrics();
        return Object.entries(sent).every(([type, count]) => received(samples, type) === count);
      });
      await nothingBefore(ben, ann);
      await eventually("one more to be counted", async () => {
        return received(await server.metrics(), "CANDIDATE") === sent.CANDIDATE + 1;
      });
    });

    check("invented types make no series of their own", async (t) => {
      const server = await startServer(t);
      const [ann, ben] = [await server.join("ann"), await server.join("ben")];
      for (let number = 0; number < 300; number += 1) ann.send({ type: `INVENTED${number}`, dst: "ben" });
      await nothingBefore(ann, ben);
      await eventually("the marker to be counted", async () => {
        return total(await server.metrics(), "corelane_messages_received_total", { message_type: "CANDIDATE" }) === 1;
      });
      const invented = (await server.metrics()).filter(({ labels }) => /INVENTED/.test(Object.values(labels).join()));
      assert.deepEqual(invented, []);
    });

    check("statistics fit what was sent", async (t) => {
      const server = await startServer(t);
      const [ann, ben] = [await server.join("ann"), await server.join("ben")];
      await eventually("both connections to be seen", async () => (await server.stats()).connections.active === 2);
      const before = await server.stats();
      await exchange(ann, ben, 30, "counted");
      await eventually("every message to be counted", async () => {
        const { messages } = await server.stats();
        assert.ok(messages.total - before.messages.total <= 30);
        return messages.succeeded - before.messages.succeeded === 30 && messages.total - before.messages.total === 30;
      });
      assert.equal((await server.stats()).messages.failed, before.messages.failed);
      ann.raw("{nope");
      await nothingBefore(ann, ben);
      await eventually("the failure to be counted", async () => {
        const { messages } = await server.stats();
        return messages.failed === before.messages.failed + 1 && messages.total === messages.succeeded + messages.failed;
      });
      await ann.close();
      await eventually("the closed connection to be seen", async () => (await server.stats()).connections.active === 1);
      const { connections } = await server.stats();
      assert.ok(connections.total >= 2 && connections.peak >= 2 && connections.peak <= connections.total);
    });
  });

  describe("corelane: limits", () => {
    check("a client that never reads is closed at its limit, and nobody else waits for it", async (t) => {
      const server = await startServer(t, { allow_discovery: true });
      const [ann, ben] = [await server.join("ann"), await server.join("ben")];
      const deaf = await server.join("deaf");
      const flooders = [await server.join("flooder 1"), await server.join("flooder 2")];
      deaf.ws.pause();
      let gone = false;
      const floods = flooders.map((flooder) => flood(flooder, "deaf", () => gone));
      const listed = async () => JSON.parse((await server.get("/peerjs/peers")).text).includes("deaf");
      const closed = eventually("the deaf client to be closed", async () => !(await listed()), 60_000).finally(() => {
        gone = true;
      });
      await Promise.all([closed, exchange(ann, ben, 200, "to ben"), exchange(ben, ann, 200, "to ann")]);
      await Promise.all(floods);
      deaf.ws.resume();
      await deaf.closed();
      await nothingBefore(ann, ben);
      await nothingBefore(ben, ann);
    });
  });

  describe("corelane: starting and stopping", () => {
    check("SIGTERM ends it cleanly, with clients connected", async (t) => {
      const server = await startServer(t);
      const [ann, ben] = [await server.join("ann"), await server.join("ben")];
      await exchange(ann, ben, 20, "before the end");
      assert.deepEqual(await server.terminate(), { code: 0, signal: null });
      await Promise.all([ann.closed(), ben.closed()]);
    });

    for (const { name, value, says } of BAD_OPTIONS) {
      check(`--${name} ${value} is refused`, async (t) => {
        const { code, errors } = await refusedStart(t, { [name]: value });
        assert.equal(code, 2, errors);
        for (const part of [name, value]) assert.ok(errors.includes(part), `"${part}" in: ${errors}`);
        for (const pattern of says) assert.match(errors, pattern);
        assert.doesNotMatch(errors, /panicked|backtrace/);
      });
    }

    check("an unknown option is refused", async (t) => {
      const { code, errors } = await refusedStart(t, { bogus: "1" });
      assert.equal(code, 2, errors);
      assert.match(errors, /bogus/);
    });

    check("a port in use is said", async (t) => {
      const taken = await listenAnywhere();
      t.after(() => taken.close());
      const { port } = taken.address();
      const { code, errors } = await refusedStart(t, {}, { port });
      assert.ok(code > 0, `status ${code}`);
      assert.match(errors, new RegExp(port));
      assert.match(errors, /in use/i);
      assert.doesNotMatch(errors, /panicked|backtrace/);
    });

    check("a monitor's port in use is said", async (t) => {
      const taken = await listenAnywhere();
      t.after(() => taken.close());
      const { port: monitor } = taken.address();
      const { code, errors } = await refusedStart(t, {}, { monitor });
      assert.ok(code > 0, `status ${code}`);
      assert.match(errors, new RegExp(monitor));
      assert.match(errors, /in use/i);
    });
  });
}
