// packaging/nginx and packaging/caddy in front of the server, with a real nginx, and with a real Caddy if there is one (`caddy`, or
// the program in CADDY). Also the systemd unit, if systemd-analyze is there. Runs with SUITE=all only.

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { TOKEN, eventually, freePorts, own, show, startServer, within } from "./harness.mjs";

const PACKAGING = fileURLToPath(new URL("../../packaging/", import.meta.url));
const SIGNAL = "signal.example.org";
const MONITOR = "monitor.example.org";
/** A second address of the loopback, for a client that is not where the proxy is. */
const ELSEWHERE = "127.0.0.2";

const there = (program, ...args) => spawnSync(program, args, { stdio: "ignore" }).status === 0;
const CADDY = process.env.CADDY ?? "caddy";

function check(name, missing, run) {
  const skip = (!own && "corelane's own") || missing || false;
  test(name, { timeout: 120_000, skip }, run);
}

/** A folder of the test with a certificate for both names. */
function folderOf(t) {
  const folder = mkdtempSync(join(tmpdir(), "corelane-proxies-"));
  chmodSync(folder, 0o755); // nginx's workers are another user if the test is root
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  const [key, certificate] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const names = `subjectAltName=DNS:${SIGNAL},DNS:${MONITOR}`;
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-addext", names];
  execFileSync("openssl", [...request, "-keyout", key, "-out", certificate], { stdio: "ignore" });
  return { folder, key, certificate };
}

/** Replaces `from`, which must be there, everywhere. */
function replaced(text, from, to) {
  assert.ok(from instanceof RegExp ? from.test(text) : text.includes(from), `${from} is in the snippet`);
  return text.replaceAll(from, to);
}

/** Starts a proxy in the foreground, and waits until it answers at `port`. */
async function startProxy(t, program, args, environment, port) {
  const child = spawn(program, args, { env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (printed += text));
  const ended = once(child, "exit");
  t.after(async () => {
    child.kill("SIGTERM");
    await within(ended, `${program} to end`);
  });
  await eventually(`${program} to answer`, async () => {
    if (child.exitCode !== null) assert.fail(`${program} ended:\n${printed}`);
    return (await ask(port, SIGNAL, "/peerjs/id").catch(() => null))?.status === 200;
  });
}

/** What a request to the proxy has in common: the name, which no DNS knows, and the address that it comes from. */
const common = (port, name) => ({
  host: "127.0.0.1",
  port,
  servername: name,
  rejectUnauthorized: false,
  localAddress: ELSEWHERE,
  agent: false,
});

/** Sends a request to a name through the proxy. Returns `{ status, text, response }`; with `until`, as soon as the text matches. */
function ask(port, name, path, { method = "GET", headers = {}, body = "", until } = {}) {
  const answer = new Promise((resolve, reject) => {
    const all = { host: `${name}:${port}`, ...headers };
    const request = https.request({ ...common(port, name), path, method, headers: all }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("error", reject);
      response.on("data", (data) => {
        text += data;
        if (until?.test(text)) resolve({ status: response.statusCode, text, response });
      });
      response.on("end", () => resolve({ status: response.statusCode, text, response }));
    });
    request.on("error", reject).end(body);
  });
  return within(answer, `${method} ${path} through the proxy`);
}

/** Connects a client through the proxy. Its messages are in `received`. */
async function connect(t, port, id, headers) {
  const query = new URLSearchParams({ key: "peerjs", id, token: `token-of-${id}`, version: "1.5.5" });
  const all = { host: `${SIGNAL}:${port}`, ...headers };
  const options = { ...common(port, SIGNAL), headers: all, perMessageDeflate: false };
  const ws = new WebSocket(`wss://127.0.0.1:${port}/peerjs?${query}`, options);
  t.after(() => ws.terminate());
  const received = [];
  ws.on("message", (data) => received.push(JSON.parse(data.toString())));
  await within(once(ws, "open"), `${id} to connect through the proxy`);
  await eventually(`${id} to be greeted`, () => received.length > 0);
  assert.deepEqual(received.shift(), { type: "OPEN" });
  return { ws, received };
}

/** What must work through every proxy. */
async function through(t, server, port) {
  const bearer = { authorization: `Bearer ${TOKEN}` };

  // Whatever a client writes into the headers, the server sees the address that the proxy has seen.
  const forged = { "x-forwarded-for": "6.6.6.6", forwarded: "for=6.6.6.6" };
  const ann = await connect(t, port, "ann", forged);
  const ben = await connect(t, port, "ben", { forwarded: "for=6.6.6.6" });
  const { peers } = await show(server, "/api/peers");
  assert.deepEqual(peers.map(({ address }) => address), [ELSEWHERE, ELSEWHERE]);

  const payload = "x".repeat(50_000);
  ann.ws.send(JSON.stringify({ type: "OFFER", dst: "ben", payload }));
  await eventually("the offer", () => ben.received.length > 0);
  assert.deepEqual(ben.received, [{ type: "OFFER", src: "ann", dst: "ben", payload }]);
  ben.ws.close();
  await eventually("the disconnect", async () => (await show(server, "/api/peers")).total === 1);

  // Requests one after another: a connection that the proxy keeps open is used again, or replaced.
  for (let number = 0; number < 20; number += 1) {
    const { status, text } = await ask(port, SIGNAL, "/peerjs/id");
    assert.deepEqual([status, text.length > 0], [200, true]);
  }

  // The monitor: token, live events, and a change from its own page, but not from another's.
  assert.equal((await ask(port, MONITOR, "/metrics")).status, 401);
  await eventually("one connection in the figures", async () => {
    return /^corelane_connections_open 1$/m.test((await ask(port, MONITOR, "/metrics", { headers: bearer })).text);
  });
  const events = await ask(port, MONITOR, "/api/events", { headers: bearer, until: /^id: \d+\nevent: figures$/m });
  assert.equal(events.status, 200);
  assert.match(events.text, /^id: \d+\nevent: figures$/m);
  events.response.destroy();
  const set = (origin) => {
    const headers = { ...bearer, origin, "content-type": "application/x-www-form-urlencoded" };
    return ask(port, MONITOR, "/api/set", { method: "POST", headers, body: "slow_message_threshold_ms=77" });
  };
  assert.equal((await set(`https://${MONITOR}:${port}`)).status, 200);
  assert.equal((await set("https://other.example.org")).status, 403);
}

/** A server with the options that the snippets name. */
const behind = (t) => startServer(t, { proxied: true, trusted_proxy: "127.0.0.1", monitor_host: MONITOR });

check("the nginx snippet works", !there("nginx", "-v") && "nginx is missing", async (t) => {
  const { folder, key, certificate } = folderOf(t);
  const server = await behind(t);
  const [port] = await freePorts(1);
  let snippet = readFileSync(`${PACKAGING}nginx/corelane.conf`, "utf8");
  snippet = replaced(snippet, "listen 443 ssl", `listen 127.0.0.1:${port} ssl`);
  snippet = replaced(snippet, /\/etc\/letsencrypt\/\S+\/fullchain\.pem/g, certificate);
  snippet = replaced(snippet, /\/etc\/letsencrypt\/\S+\/privkey\.pem/g, key);
  snippet = replaced(snippet, "127.0.0.1:9000", `127.0.0.1:${server.port}`);
  snippet = replaced(snippet, "127.0.0.1:9090", `127.0.0.1:${server.monitor}`);
  writeFileSync(join(folder, "snippet.conf"), snippet);
  const bodies = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`);
  const main = `daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr warn;
    events {} http { access_log off; ${bodies.join(" ")} include ${folder}/snippet.conf; }`;
  writeFileSync(join(folder, "nginx.conf"), main);
  const args = ["-c", join(folder, "nginx.conf"), "-e", "stderr"];
  await startProxy(t, "nginx", args, {}, port);
  await through(t, server, port);
});

check("the Caddy snippet works", !there(CADDY, "version") && "Caddy is missing", async (t) => {
  const { folder, key, certificate } = folderOf(t);
  const server = await behind(t);
  const [port] = await freePorts(1);
  let snippet = readFileSync(`${PACKAGING}caddy/Caddyfile`, "utf8");
  for (const name of [SIGNAL, MONITOR]) {
    const site = `https://${name}:${port} {\n\tbind 127.0.0.1\n\ttls ${certificate} ${key}`;
    snippet = replaced(snippet, new RegExp(`^${name.replaceAll(".", "\\.")} \\{`, "gm"), site);
  }
  snippet = replaced(snippet, "127.0.0.1:9000", `127.0.0.1:${server.port}`);
  snippet = replaced(snippet, "127.0.0.1:9090", `127.0.0.1:${server.monitor}`);
  const file = join(folder, "Caddyfile");
  writeFileSync(file, `{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}\n${snippet}`);
  // Caddy writes below the home folder.
  mkdirSync(join(folder, "home"));
  const home = join(folder, "home");
  const environment = { HOME: home, XDG_DATA_HOME: home, XDG_CONFIG_HOME: home };
  await startProxy(t, CADDY, ["run", "--config", file, "--adapter", "caddyfile"], environment, port);
  await through(t, server, port);
});

check("systemd accepts the unit", !there("systemd-analyze", "--version") && "systemd-analyze is missing", (t) => {
  const { folder } = folderOf(t);
  // The program must exist.
  const unit = replaced(readFileSync(`${PACKAGING}systemd/corelane.service`, "utf8"), "/usr/local/bin/peerjs_server", "/bin/true");
  const file = join(folder, "corelane.service");
  writeFileSync(file, unit);
  const verified = spawnSync("systemd-analyze", ["verify", "--man=no", file], { encoding: "utf8" });
  assert.deepEqual([verified.status, verified.stderr], [0, ""]);
  // Exposure times ten; 96 without any hardening.
  const args = ["security", "--offline=true", "--threshold=20", file];
  const security = spawnSync("systemd-analyze", args, { encoding: "utf8" });
  assert.equal(security.status, 0, security.stdout + security.stderr);
});

// The unit's command line must be one that the server takes.
check("the server takes the options of the unit", false, async (t) => {
  const unit = readFileSync(`${PACKAGING}systemd/corelane.service`, "utf8");
  const [, line] = /^ExecStart=(.*)$/m.exec(unit.replaceAll("\\\n", " "));
  const given = [...line.matchAll(/--(\w+)(?: ((?!--)\S+))?/g)].map(([, name, value]) => [name, value ?? true]);
  const config = fileURLToPath(new URL("../../examples/peerjs_server/corelane.toml", import.meta.url));
  const options = Object.fromEntries(given.filter(([name]) => !["host", "port", "monitor"].includes(name)));
  assert.deepEqual(Object.keys(options), ["proxied", "trusted_proxy", "config", "log_format"]);
  const server = await startServer(t, { ...options, config });
  const { code } = await server.terminate();
  assert.equal(code, 0);
});
