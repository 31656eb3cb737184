// Start, operation and end of corelane's server when the resources that it depends on fail: its log, its descriptors,
// its key and certificate, its process. Runs with SUITE=all only. README.md describes how to run the suite.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import * as harness from "./harness.mjs";
import { eventually, get, nothingBefore, own, post, raw, refusedStart, show, startServer, total, within } from "./harness.mjs";

const check = (name, run) => harness.check(name, run, { only: own });

/** A temporary folder that is removed after the test. */
function folder(t) {
  const path = mkdtempSync(join(tmpdir(), "corelane-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

/** Writes a key and a certificate for a name. */
function certify(name, key, certificate, ...more) {
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-days", "2", "-subj", `/CN=${name}`];
  const plain = more.length > 0 ? more : ["-nodes"];
  execFileSync("openssl", [...request, ...plain, "-keyout", key, "-out", certificate], { stdio: "ignore" });
}

const MIB = 1024 * 1024;

/** The resident bytes of a process that the test started. */
function resident(pid) {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024;
}

const isReady = async (server) => (await get(server.monitor, "/readyz")).status === 200;

check("a log that nobody reads, or that is closed, stops nothing", async (t) => {
  const server = await startServer(t, { log: "info", concurrent_limit: 3000 }, { unread: true });
  const [ann, ben] = [await server.join("ann"), await server.join("ben")];
  // Each attempt logs a line. The pipe holds a few hundred lines, the writer's queue a few thousand.
  for (let round = 0; round < 12; round += 1) {
    const all = Array.from({ length: 50 }, (_, number) => server.attempt("ann", { key: `wrong ${number}` }));
    await Promise.all((await Promise.all(all)).map((socket) => socket.closed()));
    await nothingBefore(ann, ben);
  }
  server.closeOutput();
  for (let number = 0; number < 20; number += 1) await (await server.attempt("ann")).closed();
  await nothingBefore(ben, ann);
  await eventually("dropped lines to be counted", async () => {
    return total(await server.metrics(), "peerjs_log_lines_dropped_total") > 0;
  });
  assert.ok(await isReady(server));
  assert.deepEqual(await server.terminate(), { code: 0, signal: null });
});

check("the log has levels, and a form for machines", async (t) => {
  const quiet = await startServer(t, { log: "error" });
  await (await quiet.join("ann")).close();
  await (await quiet.attempt("ann", { key: "wrong" })).closed();
  const server = await startServer(t, { log_format: "json" });
  await server.join('an"n\t');
  const line = await eventually("the line", () => server.errors().split("\n").find((one) => one.includes('"connected"')));
  const { timestamp, level, message, id, address } = JSON.parse(line);
  assert.deepEqual([level, message, id, address], ["INFO", "connected", 'an"n\t', "127.0.0.1"]);
  assert.ok(Math.abs(Date.parse(timestamp) - Date.now()) < 60_000);
  assert.equal(quiet.errors(), "");
  for (const [name, value] of [["log", "loud"], ["log_format", "xml"]]) {
    const { code, errors } = await refusedStart(t, { [name]: value });
    assert.equal(code, 2);
    assert.match(errors, new RegExp(`${value}.*allowed`));
  }
});

check("used-up descriptors are survived, told and refused", async (t) => {
  const server = await startServer(t, {}, { descriptors: 60 });
  const [ann, ben] = [await server.join("ann"), await server.join("ben")];
  const flood = await Promise.all(Array.from({ length: 100 }, () => raw(server, "").catch(() => null)));
  await eventually("some to be closed", async () => flood.filter((one) => one?.ended()).length >= 20);
  await nothingBefore(ann, ben);
  await eventually("the line", () => /ERROR cannot accept connections/.test(server.errors()));
  flood.forEach((one) => one?.socket.destroy());
  await server.joinEventually("cleo");
  // The monitor's connection may be one of those that find no descriptor.
  await eventually("the refusals", async () => {
    const metrics = await server.metrics().catch(() => "");
    return metrics !== "" && total(metrics, "peerjs_refused_total", { reason: "no_descriptor" }) >= 20;
  });
  const lines = server.errors().match(/cannot accept connections/g).length;
  assert.ok(lines <= 20, `${lines} lines`);
});

check("a listener that fails is opened again", async (t) => {
  const server = await startServer(t, { threads: 2 });
  const [ann, ben] = [await server.join("ann"), await server.join("ben")];
  for (let round = 1; round <= 3; round += 1) {
    // Shuts down every listening socket of the process, as a fault of the network stack would.
    execFileSync("python3", [join(import.meta.dirname, "shut_listeners.py"), String(server.pid)]);
    await eventually("all to be open again", () => server.errors().match(/the listener is open again/g)?.length === 3 * round);
    await server.join(`later ${round}`);
    await nothingBefore(ann, ben);
    await eventually("ready", () => isReady(server));
  }
});

check("a listener that cannot be opened again is tried until it can", async (t) => {
  const server = await startServer(t, { threads: 1 });
  const [ann, ben] = [await server.join("ann"), await server.join("ben")];
  const script = join(import.meta.dirname, "shut_listeners.py");
  const holder = spawn("python3", [script, String(server.pid), String(server.port), "3"], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(holder, "exit");
  await within(once(holder.stdout, "data"), "the port to be taken");
  await eventually("not ready", async () => /listener/.test((await get(server.monitor, "/readyz").catch(() => ({ text: "" }))).text));
  // The first failure is that of the listener. Later failures, logged once a second, are failures to open it again.
  await eventually("a second failure", () => /listener failed.*in use/i.test(server.errors()));
  await nothingBefore(ann, ben);
  assert.deepEqual(await ended, [0, null]);
  await eventually("ready", () => isReady(server));
  await server.join("later");
  await nothingBefore(ann, ben);
});

check("idle sockets of the monitor make room for others, and are counted", async (t) => {
  const server = await startServer(t);
  const idle = [];
  const crowded = async () => total(await server.metrics(), "corelane_http_refused_total", { reason: "crowded_out" });
  for (let number = 0; number < 140; number += 1) idle.push(await raw({ port: server.monitor }, ""));
  await eventually("some to be closed", () => idle.filter(({ socket }) => socket.closed || socket.destroyed).length > 0);
  await eventually("them to be counted", async () => (await crowded()) >= 12);
  assert.ok(await isReady(server));
  idle.forEach(({ socket }) => socket.destroy());
});

check("memory of a flood of half-open connections is given back", async (t) => {
  // The connections stay open for as long as it takes to make all of them.
  const server = await startServer(t, { max_connections: 5_000, socket_timeout: 100_000 });
  await server.join("ann");
  const before = resident(server.pid);
  const flood = [];
  for (let number = 0; number < 2_000; number += 1) flood.push(await raw(server, `GET / HTTP/1.1\r\nX: ${"x".repeat(12_000)}`));
  await eventually("memory to be taken", () => resident(server.pid) > before + 24 * MIB);
  flood.forEach(({ socket }) => socket.destroy());
  await eventually("memory to be given back", () => resident(server.pid) < before + 12 * MIB);
});

check("while it stops it is not ready", async (t) => {
  const said = [];
  // The stop takes a second, in which a busy machine may not let this process ask.
  for (let attempt = 0; attempt < 5 && said.length === 0; attempt += 1) {
    const server = await startServer(t);
    const ann = await server.join("ann");
    ann.ws.pause(); // does not answer the closing frame, so that the stop takes a while
    let over = false;
    const ended = server.terminate().then(() => (over = true));
    while (!over) {
      const answer = await get(server.monitor, "/readyz").catch(() => null);
      if (answer?.status === 503) said.push(answer.text);
    }
    await ended;
  }
  assert.equal(said[0], "stopping");
});

check("a full server is not ready", async (t) => {
  const server = await startServer(t, { concurrent_limit: 2 });
  const ann = await server.join("ann");
  assert.ok(await isReady(server));
  await server.join("ben");
  assert.match((await get(server.monitor, "/readyz")).text, /full/);
  await ann.close();
  await eventually("ready again", () => isReady(server));
});

check("a stop of the process closes nobody who was there", async (t) => {
  const server = await startServer(t, { alive_timeout: 3_000 });
  const clients = [await server.join("ann"), await server.join("ben")];
  process.kill(server.pid, "SIGSTOP");
  const timer = setInterval(() => clients.forEach((client) => client.send({ type: "HEARTBEAT" })), 300);
  t.after(() => clearInterval(timer));
  await sleep(8_000);
  process.kill(server.pid, "SIGCONT");
  await nothingBefore(clients[0], clients[1]);
  await sleep(2_000);
  for (const client of clients) assert.ok(client.isOpen, client.id);
  await nothingBefore(clients[1], clients[0]);
});

check("key and certificate are read again, and bad ones are not taken", async (t) => {
  const path = folder(t);
  const [sslkey, sslcert] = [join(path, "key.pem"), join(path, "certificate.pem")];
  certify("first", sslkey, sslcert);
  const server = await startServer(t, { sslkey, sslcert, socket_timeout: 5_000 }, { secure: true });
  const name = async () => {
    const socket = tls.connect({ port: server.port, host: "127.0.0.1", rejectUnauthorized: false });
    await within(once(socket, "secureConnect"), "TLS");
    const { CN } = socket.getPeerCertificate().subject;
    socket.destroy();
    return CN;
  };
  const ann = await server.join("ann");
  assert.equal(await name(), "first");
  const [silent, plain] = [await raw(server, ""), await raw(server, "GET /peerjs/id HTTP/1.1\r\n\r\n")];
  await eventually("those that speak no TLS to be closed", () => silent.ended() && plain.ended());
  await eventually("both to be counted", async () => {
    const samples = await server.metrics();
    const refused = total(samples, "peerjs_refused_total", { reason: "tls_handshake" });
    return refused >= 2 && total(samples, "peerjs_sockets", { state: "handshake" }) === 0;
  });
  certify("second", sslkey, sslcert);
  await eventually("the second", async () => (await name()) === "second");
  writeFileSync(sslcert, "nonsense");
  await eventually("the complaint", () => /ERROR cannot reload key and certificate.*certificate\.pem/.test(server.errors()));
  assert.equal(await name(), "second");
  certify("third", sslkey, sslcert);
  process.kill(server.pid, "SIGHUP");
  await eventually("the third", async () => (await name()) === "third");
  // Connections from before the change stay open.
  ann.send({ type: "OFFER", dst: "ann", payload: 1 });
  assert.equal((await ann.next()).payload, 1);
  const encrypted = join(path, "encrypted.pem");
  certify("fourth", encrypted, join(path, "fourth.pem"), "-passout", "pass:secret");
  const { code, errors } = await refusedStart(t, { sslkey: encrypted, sslcert });
  assert.equal(code, 2);
  assert.match(errors, /sslkey.*encrypted.*openssl pkey/s);
  const other = await refusedStart(t, { sslkey, sslcert: join(path, "fourth.pem") });
  assert.match(other.errors, /sslcert.*does not match the key/);
});

check("SIGHUP ends nothing", async (t) => {
  const server = await startServer(t);
  const ann = await server.join("ann");
  process.kill(server.pid, "SIGHUP");
  await eventually("the line", () => /SIGHUP/.test(server.errors()));
  ann.send({ type: "OFFER", dst: "ann", payload: 1 });
  assert.equal((await ann.next()).payload, 1);
});

check("the monitor takes changes only under its own names", async (t) => {
  const server = await startServer(t, { monitor_host: "watch.example" });
  const change = (host, origin) =>
    post(server.monitor, "/api/set", "slow_message_threshold_ms=777", { host, ...(origin && { origin }) });
  for (const host of ["evil.example", `evil.example:${server.monitor}`]) {
    assert.equal((await change(host, `http://${host}`)).status, 403);
    assert.equal((await change(host)).status, 403);
  }
  assert.equal((await show(server, "/api/stats")).slow_messages.threshold_nanoseconds, 1e9);
  for (const host of [`127.0.0.1:${server.monitor}`, "localhost", `watch.example:${server.monitor}`, "[::1]"]) {
    assert.equal((await change(host, `http://${host}`)).status, 200, host);
  }
});

check("what cannot be is refused at the start, by its name", async (t) => {
  for (const [options, environment, says] of [
    [{ report_file: "/nonexistent/dir/r.html" }, {}, /report_file \/nonexistent\/dir\/r\.html.*written/],
    [{ cors: "notaurl" }, {}, /notaurl.*cors.*allowed: an origin such as https:/s],
    [{ cors: "https://a.example/page" }, {}, /cors.*allowed/s],
    [{ port: null }, { PORT: "abc" }, /environment variable PORT is "abc".*allowed: 0 to 65535/],
    [{ monitor: "localhost:x" }, {}, /monitor.*allowed/s],
    [{ socket_timeout: "1" }, {}, /socket_timeout.*allowed/s],
    [{ trusted_proxy: "proxy" }, {}, /trusted_proxy/],
  ]) {
    const { code, errors } = await refusedStart(t, options, {}, environment);
    assert.equal(code, 2, errors);
    assert.match(errors, says);
    if (environment.PORT) assert.doesNotMatch(errors, /--port/);
  }
});

check("what is printed at the start can be used, and a monitor for all is warned of", async (t) => {
  const [monitor] = await harness.freePorts(1);
  const named = await startServer(t, { monitor: `localhost:${monitor}` });
  assert.equal((await get(monitor, "/healthz")).status, 200);
  const addresses = new RegExp(`^monitor on http://127\\.0\\.0\\.1:${monitor}/ and http://127\\.0\\.0\\.1:${monitor}/metrics`, "m");
  await eventually("the addresses", () => addresses.test(named.output()));
  await eventually("the memory", () => /^memory of the monitor: at most [\d.]+ MiB/m.test(named.output()));
  assert.doesNotMatch(named.output(), /beyond the loopback/);
  const [wide] = await harness.freePorts(1);
  const how = { environment: { MONITOR_TOKEN: undefined } };
  const open = await startServer(t, { host: "0.0.0.0", monitor: `0.0.0.0:${wide}` }, how);
  const [, address] = await eventually("the address", () => /^PeerJS server on (http:\S+) \(all/m.exec(open.output()));
  assert.equal((await fetch(`${address}peerjs/id`)).status, 200);
  await eventually("the warning", () => /WARN the monitor listens beyond the loopback/.test(open.output()));
});
