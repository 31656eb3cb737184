// The exporters of corelane's server in Rust: their options, credentials, documents, points, losses and end. Runs with SUITE=all
// only. The server that they send to is in this file; scripts/elasticsearch.sh and scripts/otlp.sh use real ones.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as harness from "./harness.mjs";
import { eventually, own, refusedStart, show, startServer, total } from "./harness.mjs";

const check = (name, run) => harness.check(name, run, { only: own });

/** A server that stores every document and every point. `requests` are what it has got, `documents` the documents. */
async function storage(t) {
  const requests = [];
  const documents = [];
  const server = http.createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    requests.push({ method: request.method, url: request.url, headers: request.headers, body });
    if (!request.url.startsWith("/_bulk")) return response.end(request.method === "PUT" ? "{}" : "");
    const lines = body.toString().trim().split("\n").map((line) => JSON.parse(line));
    for (let at = 0; at < lines.length; at += 2) documents.push({ index: lines[at].create._index, ...lines[at + 1] });
    response.end(JSON.stringify({ items: lines.filter((_, at) => at % 2 === 0).map(() => ({ create: { status: 201 } })) }));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => server.close());
  t.after(() => server.closeAllConnections());
  return { url: `http://127.0.0.1:${server.address().port}`, requests, documents };
}

function folder(t) {
  const path = mkdtempSync(join(tmpdir(), "corelane-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

check("figures and events are sent, with credentials that the command line does not have", async (t) => {
  const to = await storage(t);
  const headers = join(folder(t), "headers");
  writeFileSync(headers, "authorization: Bearer secret-of-the-suite\nx-tenant: signaling\n");
  const options = {
    elasticsearch: to.url,
    elasticsearch_namespace: "suite",
    otlp: to.url,
    otlp_headers: headers,
    export_interval: 1,
  };
  const server = await startServer(t, options, { environment: { ELASTICSEARCH_CREDENTIALS: "ann:secret-of-the-suite" } });
  assert.doesNotMatch(readFileSync(`/proc/${server.pid}/cmdline`, "utf8"), /secret/);
  const ann = await server.join("ann");
  ann.send({ type: "OFFER", dst: "ann", payload: 1 });
  await ann.next();
  await eventually("documents", () => to.documents.some((one) => one.index === "metrics-corelane.summary-suite"));
  await eventually("points", () => to.requests.some((one) => one.url === "/v1/metrics"));
  const samples = await eventually("both in /metrics", async () => {
    const samples = await server.metrics();
    const sent = (exporter) => total(samples, "corelane_exporter_sent_total", { exporter });
    return sent("elasticsearch") > 0 && sent("otlp") > 0 && samples;
  });
  for (const exporter of ["elasticsearch", "otlp"]) {
    assert.equal(total(samples, "corelane_exporters_running", { exporter }), 1);
    for (const figure of ["dropped", "rejected", "failed_requests"]) {
      assert.equal(total(samples, `corelane_exporter_${figure}_total`, { exporter }), 0, `${exporter} ${figure}`);
    }
  }
  const shown = (await show(server, "/api/stats")).exporters;
  assert.deepEqual(shown.map((one) => [one.name, one.running, one.last_error]), [["elasticsearch", 1, null], ["otlp", 1, null]]);
  assert.deepEqual(await server.terminate(), { code: 0, signal: null });
  // The last documents have the end of the connection, whose sockets the stop has closed.
  const events = to.documents.filter((one) => one.index === "logs-corelane.connections-suite");
  assert.deepEqual(events.map((one) => [one.event, one.client]), [["connect", "ann"], ["disconnect", "ann"]]);
  const basic = `Basic ${Buffer.from("ann:secret-of-the-suite").toString("base64")}`;
  for (const { url, headers } of to.requests) {
    if (url === "/v1/metrics") {
      assert.deepEqual([headers.authorization, headers["x-tenant"]], ["Bearer secret-of-the-suite", "signaling"]);
    } else {
      assert.equal(headers.authorization, basic);
    }
  }
  assert.doesNotMatch(server.output(), /secret/);
});

check("servers that are not there cost no message and no stop", async (t) => {
  const [gone] = await harness.freePorts(1);
  const url = `http://127.0.0.1:${gone}`;
  const server = await startServer(t, { elasticsearch: url, otlp: url, export_interval: 1 });
  const ann = await server.join("ann");
  await eventually("failures", async () => {
    const samples = await server.metrics();
    return ["elasticsearch", "otlp"].every((exporter) => total(samples, "corelane_exporter_failed_requests_total", { exporter }) > 0);
  });
  ann.send({ type: "OFFER", dst: "ann", payload: 1 });
  assert.equal((await ann.next()).payload, 1);
  await eventually("what waits and what is lost", async () => {
    const [documents, points] = (await show(server, "/api/stats")).exporters;
    assert.equal(points.sent, 0);
    return documents.waiting > 0 && documents.waiting_bytes > 0 && documents.last_error && points.dropped > 0 && points.last_error;
  });
  const begin = Date.now();
  assert.deepEqual(await server.terminate(), { code: 0, signal: null });
  assert.ok(Date.now() - begin < 30_000);
  assert.match(server.output(), /the export to Elasticsearch has ended.*dropped/);
});

check("what an export cannot be is refused at the start, without the secret", async (t) => {
  const bad = join(folder(t), "bad");
  writeFileSync(bad, "secret without colon\n");
  for (const [options, environment, says] of [
    [{ elasticsearch: "search.example" }, {}, /--elasticsearch must be http:/],
    [{ otlp: "http://ann:secret@collector.example" }, {}, /--otlp must be http:.*without user/],
    [{ elasticsearch: "http://127.0.0.1:1", elasticsearch_credentials: "/nonexistent" }, {}, /elasticsearch_credentials \/nonexistent: cannot be read/],
    [{ elasticsearch: "http://127.0.0.1:1", elasticsearch_credentials: bad }, {}, /elasticsearch_credentials.*API key/],
    [{ elasticsearch: "http://127.0.0.1:1" }, { ELASTICSEARCH_CREDENTIALS: "two secrets" }, /ELASTICSEARCH_CREDENTIALS.*API key/],
    [{ elasticsearch: "http://127.0.0.1:1", elasticsearch_namespace: "Upper" }, {}, /--elasticsearch_namespace must have/],
    [{ otlp: "http://127.0.0.1:1", otlp_headers: bad }, {}, /line 1 of --otlp_headers/],
    [{ otlp: "http://127.0.0.1:1", export_ca: bad }, {}, /--export_ca must name a file with at least one PEM/],
    [{ otlp: "http://127.0.0.1:1", export_interval: 0 }, {}, /export_interval.*allowed: 1 to 3600 seconds/s],
    [{ otlp_headers: bad }, {}, /--otlp/],
  ]) {
    const { code, errors } = await refusedStart(t, options, {}, environment);
    assert.equal(code, 2, errors);
    assert.match(errors, says);
    assert.doesNotMatch(errors, /secret/);
  }
});
