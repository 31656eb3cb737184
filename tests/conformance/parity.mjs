// The parts of PeerServer's environment: TLS, a list of origins, environment variables, a proxy in front. npm's
// server passes these tests as well. README.md describes how to run the suite.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import WebSocket from "ws";
import { eventually, freePorts, within } from "./harness.mjs";

const command = JSON.parse(process.env.SERVER_COMMAND);

/** Fetches from the loopback interface without verifying the certificate. */
function get(url, headers = {}) {
  return new Promise((done, failed) => {
    const client = url.startsWith("https") ? https : http;
    const request = client.get(url, { headers, rejectUnauthorized: false, agent: false }, (answer) => {
      let text = "";
      answer.on("data", (data) => (text += data));
      answer.on("end", () => done({ status: answer.statusCode, headers: answer.headers, text }));
    });
    request.on("error", failed);
  });
}

/** Starts the command with additional options and environment. `without` removes an option of the command. */
async function start(t, how) {
  for (let attempt = 1; ; attempt += 1) {
    const port = await startOnce(t, how);
    if (port !== null) return port;
    // Another program may have taken a port after it was chosen.
    assert.ok(attempt < 3, "the server does not start");
  }
}

/** The same, once: null if the server has ended. */
async function startOnce(t, { options = [], environment = {}, without, probe }) {
  const [port, monitor] = await freePorts(2);
  const line = command.map((part) => part.replaceAll("{port}", port).replaceAll("{monitor}", monitor));
  const at = line.indexOf(without);
  if (at >= 0) line.splice(at, 2);
  const env = { ...process.env };
  for (const [name, value] of Object.entries(environment)) env[name] = String(value).replaceAll("{port}", port);
  const child = spawn(line[0], [...line.slice(1), ...options], { cwd: import.meta.dirname, env, stdio: "ignore" });
  const ended = once(child, "close");
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  await eventually("the server to answer", async () => {
    const answer = await get(probe(port)).catch(() => null);
    return answer?.status === 200 || hasEnded();
  });
  return hasEnded() ? null : port;
}

/** Joins by WebSocket. Returns the first message. */
async function greeting(t, url) {
  const socket = new WebSocket(url, { rejectUnauthorized: false });
  t.after(() => socket.terminate());
  const [data] = await within(once(socket, "message"), `a message at ${url}`);
  return JSON.parse(data);
}

test("a key and a certificate make it speak TLS", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "corelane-tls-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const [key, certificate] = [join(folder, "key.pem"), join(folder, "certificate.pem")];
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
  execFileSync("openssl", [...request, "-keyout", key, "-out", certificate], { stdio: "ignore" });
  const options = ["--sslkey", key, "--sslcert", certificate];
  const port = await start(t, { options, probe: (port) => `https://127.0.0.1:${port}/peerjs/id` });
  const url = `wss://127.0.0.1:${port}/peerjs?key=peerjs&id=ann&token=t`;
  assert.deepEqual(await greeting(t, url), { type: "OPEN" });
});

test("a list of origins is kept to", async (t) => {
  const origins = ["http://one.example", "http://two.example"];
  const options = origins.flatMap((origin) => ["--cors", origin]);
  const port = await start(t, { options, probe: (port) => `http://127.0.0.1:${port}/peerjs/id` });
  for (const origin of [...origins, "http://three.example"]) {
    const answer = await get(`http://127.0.0.1:${port}/peerjs/id`, { origin });
    const allowed = answer.headers["access-control-allow-origin"];
    assert.equal(allowed === origin, origins.includes(origin), `${origin}: ${allowed}`);
  }
});

test("port and path come from the environment where the command line does not say", async (t) => {
  const environment = { PORT: "{port}", PEERSERVER_PATH: "/from/environment" };
  const probe = (port) => `http://127.0.0.1:${port}/from/environment/peerjs/id`;
  const port = await start(t, { environment, without: "--port", probe });
  const url = `ws://127.0.0.1:${port}/from/environment/peerjs?key=peerjs&id=ann&token=t`;
  assert.deepEqual(await greeting(t, url), { type: "OPEN" });
});

test("behind a proxy it serves all the same", async (t) => {
  const port = await start(t, { options: ["--proxied"], probe: (port) => `http://127.0.0.1:${port}/peerjs/id` });
  const answer = await get(`http://127.0.0.1:${port}/peerjs/id`, { "x-forwarded-for": "192.0.2.1" });
  assert.equal(answer.status, 200);
});
