// Two unmodified peerjs clients in a real browser connect through the server: a data connection in both directions,
// and a media call.
//
// This process serves the page with the published peerjs. Each client has its own browser context. The browser is
// Debian's chromium unless CHROMIUM names another program. README.md describes how to run the suite.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import { chromium } from "playwright-core";
import { eventually, own, startServer, total, within } from "./harness.mjs";

const PROGRAM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  // Both clients are on this machine: allow the loopback interface, and do without multicast DNS.
  "--allow-loopback-in-peer-connection",
  "--disable-features=WebRtcHideLocalIpsWithMdns",
];
const PAGE = '<!doctype html><meta charset="utf-8"><title>peer</title><script src="/peerjs.min.js"></script>';
const PEERJS = new URL("node_modules/peerjs/dist/peerjs.min.js", import.meta.url);
/** The time limit for one step of a browser, in milliseconds. */
const PATIENCE = 60_000;
const COUNT = 100;

let browser;
let pages;

before(async () => {
  pages = await servePage();
  browser = await chromium.launch({ executablePath: PROGRAM, args: FLAGS, timeout: PATIENCE });
});

after(async () => {
  await browser?.close();
  await new Promise((done) => (pages ? pages.close(done) : done()));
});

/** Serves the page and peerjs on the loopback interface. */
async function servePage() {
  const script = await readFile(PEERJS);
  const server = http.createServer((request, response) => {
    const isScript = request.url === "/peerjs.min.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : PAGE);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return server;
}

/** Opens a page with a `Peer` connected as `id`, or with an id from the server. Closes it before the server. */
async function openPeer(server, id) {
  const context = await browser.newContext();
  server.onStop(() => context.close());
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (fault) => faults.push(String(fault)));
  await page.goto(`http://127.0.0.1:${pages.address().port}/`);
  const opened = page.evaluate(
    ({ id, port }) =>
      new Promise((resolve, reject) => {
        window.faults = [];
        const peer = new Peer(id, { host: "127.0.0.1", port, path: "/", secure: false, config: { iceServers: [] } });
        window.peer = peer;
        peer.on("error", (fault) => {
          window.faults.push(`${fault.type}: ${fault.message}`);
          reject(fault);
        });
        peer.on("open", resolve);
      }),
    { id, port: server.next().port },
  );
  const assigned = await within(opened, `a Peer called ${id}`, PATIENCE);
  if (id) assert.equal(assigned, id);
  await server.known(assigned);
  return { page, id: assigned, faults: async () => [...faults, ...(await page.evaluate(() => window.faults))] };
}

/** Asserts that neither page reported an error. */
async function assertNoFaults(...peers) {
  for (const peer of peers) assert.deepEqual(await peer.faults(), []);
}

/** Asserts that the monitor, if there is one, counted the messages between the two clients. */
async function assertSignalingCounted(server) {
  if (!own) return;
  for (const message_type of ["OFFER", "ANSWER", "CANDIDATE"]) {
    await eventually(`${message_type} to be counted`, async () => {
      return total(await server.metrics(), "corelane_messages_received_total", { message_type, protocol: "peerjs" }) > 0;
    });
  }
}

/** In a page: sends `count` messages through `window.connection`. Resolves to the messages from the other side. */
function talk({ name, count }) {
  const { connection, incoming } = window;
  for (let number = 0; number < count; number += 1) {
    connection.send({ name, number, text: `žluťoučký 🦄 ${number}`, list: [number, null, { deep: true }] });
  }
  return new Promise((resolve) => {
    const look = () => (incoming.length >= count ? resolve(incoming) : setTimeout(look, 20));
    look();
  });
}

function spoken(name) {
  return Array.from({ length: COUNT }, (_, number) => ({
    name,
    number,
    text: `žluťoučký 🦄 ${number}`,
    list: [number, null, { deep: true }],
  }));
}

/** In a page: resolves to the tracks of the remote stream when it plays. */
async function watch() {
  const stream = await window.remoteStream;
  const video = document.createElement("video");
  Object.assign(video, { muted: true, playsInline: true, srcObject: stream });
  document.body.append(video);
  await video.play();
  const start = video.currentTime;
  await new Promise((resolve) => {
    const look = () => (video.currentTime > start && video.videoWidth > 0 ? resolve() : setTimeout(look, 20));
    look();
  });
  return stream.getTracks().map((track) => `${track.kind} ${track.readyState}`).sort();
}

describe("two peerjs clients in a browser", () => {
  test("a data connection carries 100 messages each way, in order", { timeout: 180_000 }, async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await openPeer(server, "ann"), await openPeer(server)];
    assert.match(ben.id, /^[A-Za-z0-9]+(?:[ _-][A-Za-z0-9]+)*$/, "an id that the server generated");

    await ben.page.evaluate(() => {
      window.incoming = [];
      window.opened = new Promise((resolve) => {
        window.peer.on("connection", (connection) => {
          window.connection = connection;
          connection.on("data", (data) => window.incoming.push(data));
          connection.on("error", (fault) => window.faults.push(String(fault)));
          connection.on("open", () => resolve({ peer: connection.peer, metadata: connection.metadata }));
        });
      });
    });
    const opened = ann.page.evaluate((id) => {
      window.incoming = [];
      const connection = window.peer.connect(id, { reliable: true, metadata: { greeting: "hello" } });
      window.connection = connection;
      connection.on("data", (data) => window.incoming.push(data));
      connection.on("error", (fault) => window.faults.push(String(fault)));
      return new Promise((resolve) => connection.on("open", resolve));
    }, ben.id);
    await within(opened, "the data connection to open", PATIENCE);
    const seen = await within(ben.page.evaluate(() => window.opened), "the other side to open", PATIENCE);
    assert.deepEqual(seen, { peer: "ann", metadata: { greeting: "hello" } });

    const conversation = Promise.all([
      ann.page.evaluate(talk, { name: "ann", count: COUNT }),
      ben.page.evaluate(talk, { name: "ben", count: COUNT }),
    ]);
    const [toAnn, toBen] = await within(conversation, "100 messages each way", PATIENCE);
    assert.deepEqual(toAnn, spoken("ben"));
    assert.deepEqual(toBen, spoken("ann"));
    await assertNoFaults(ann, ben);
    await assertSignalingCounted(server);
  });

  test("a media call carries sound and moving pictures both ways", { timeout: 180_000 }, async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await openPeer(server, "ann"), await openPeer(server, "ben")];

    await ben.page.evaluate(async () => {
      const local = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
      window.remoteStream = new Promise((resolve) => {
        window.peer.on("call", (call) => {
          call.on("stream", resolve);
          call.on("error", (fault) => window.faults.push(String(fault)));
          call.answer(local);
        });
      });
    });
    await ann.page.evaluate(async () => {
      const local = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
      const call = window.peer.call("ben", local);
      call.on("error", (fault) => window.faults.push(String(fault)));
      window.remoteStream = new Promise((resolve) => call.on("stream", resolve));
    });
    const streams = Promise.all([ann.page.evaluate(watch), ben.page.evaluate(watch)]);
    for (const tracks of await within(streams, "both sides to see the other", PATIENCE)) {
      assert.deepEqual(tracks, ["audio live", "video live"]);
    }
    await assertNoFaults(ann, ben);
    await assertSignalingCounted(server);
  });

  test("reconnect() opens again", { timeout: 180_000, skip: !own && "npm's server never opens a client that is still there" }, async (t) => {
    const server = await startServer(t);
    const [ann, ben] = [await openPeer(server, "ann"), await openPeer(server, "ben")];
    // Suppress the first socket's close, as a lost network does. The server does not know that the first socket is
    // gone.
    const opened = ann.page.evaluate(
      () =>
        new Promise((resolve) => {
          const { peer } = window;
          peer.socket._socket.close = () => {};
          peer.on("open", resolve);
          peer.disconnect();
          peer.reconnect();
        }),
    );
    assert.equal(await within(opened, "the second open", PATIENCE), "ann");
    await ben.page.evaluate(() => {
      window.called = new Promise((resolve) => window.peer.on("connection", ({ peer }) => resolve(peer)));
    });
    await ann.page.evaluate(() => void window.peer.connect("ben"));
    assert.equal(await within(ben.page.evaluate(() => window.called), "the connection", PATIENCE), "ann");
  });

  test("a client is told that the one it calls is not there", { timeout: 180_000 }, async (t) => {
    const server = await startServer(t, { expire_timeout: 300 });
    const ann = await openPeer(server, "ann");
    const told = ann.page.evaluate(
      () =>
        new Promise((resolve) => {
          window.peer.on("error", (fault) => resolve(`${fault.type}: ${fault.message}`));
          window.peer.connect("nobody");
        }),
    );
    assert.equal(await within(told, "an error", PATIENCE), "peer-unavailable: Could not connect to peer nobody");
  });
});
