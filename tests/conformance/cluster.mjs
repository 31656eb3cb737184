// Three servers as one, over real nats-servers: ids, take-over, holds and order across machines, restarts, and what happens
// while a server or NATS is gone. Specific to corelane; runs with SUITE=all only. README.md describes how to run it.
//
// After each test every id had at most one owner at any instant, and the figures of every machine and of its links add up. Times are
// only compared with the ones that docs/cluster.md states, and with those of the same run before anything happened.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually, get, isSkipped, nothingBefore, own, refusedStart, within } from "./harness.mjs";
import { assertLinkAddsUp, assertSingleOwners, isReady, Machines, startChatter, startRivals } from "./machines.mjs";
import { startNats } from "./nats.mjs";

const TAKEN = { type: "ID-TAKEN", payload: { msg: "ID is taken" } };
const NAMES = ["a", "b", "c"];
/** The ids of a machine that is gone are free after this time. */
const FREE_AFTER = 31_000;
/** Longer than a lease. */
const LONG = 35_000;
const SHORT = 10_000;
/** An id with what is hard to encode, as far as the servers take it. */
const HARD = `cleo & "žluťoučký" 🦄${isSkipped("an id may have a line feed") ? "" : "\n"}`;
/** A message is held for 5 s; a call without an answer after this time is made again. */
const ANSWERED = 6_000;

/** A test on three machines with `count` nats-servers. At its end it asserts what always holds. */
function check(name, { count = 1, machines: started = NAMES, options = {} }, run) {
  test(`${name} (${count} NATS)`, { timeout: 240_000, skip: !own }, async (t) => {
    const nats = await startNats(t, { count });
    const machines = new Machines(t, nats, options);
    await Promise.all(started.map((machine) => machines.start(machine)));
    await machines.linked();
    try {
      await run(t, machines, nats, ...started.map((machine) => machines.all.get(machine)));
    } catch (error) {
      t.diagnostic(await machines.describe());
      throw error;
    }
    await machines.assertFiguresAddUp();
    t.diagnostic(`${machines.assertSingleOwners()} claims`);
  });
}

/** Asserts that each of these clients reaches each other. */
async function allReach(...clients) {
  for (const from of clients) for (const to of clients) if (from !== to) await reaches(from, to);
}

/** Sends messages until one arrives: one that is under way when a link is lost does not. */
async function reaches(from, to) {
  const [mark, stop] = [randomUUID(), new AbortController()];
  const arrived = (async () => {
    while ((await to.nextOf("OFFER")).payload !== mark);
  })();
  const sending = (async () => {
    for (; !stop.signal.aborted; await sleep(3_000, undefined, { signal: stop.signal }).catch(() => {})) {
      from.send({ type: "OFFER", dst: to.id, payload: mark });
    }
  })();
  try {
    await within(arrived, `${from.id} to reach ${to.id}`);
  } finally {
    stop.abort();
    await sending;
  }
}

/** Joins as soon as the server takes the client. A refusal must be ID-TAKEN or a status of HTTP. */
function joinWhenFree(server, id, credentials, limit) {
  return eventually(
    `${id} to be free`,
    async () => {
      const socket = await server.attempt(id, credentials).catch(() => null);
      const greeting = await socket?.next().catch(() => null);
      if (greeting?.type === "OPEN") return socket;
      if (greeting) assert.deepEqual(greeting, TAKEN);
      socket?.ws.terminate();
      await sleep(200);
      return null;
    },
    limit,
  );
}

/** Sends `count` messages, at most `ahead` of those that have arrived, and asserts that all arrive in order. */
async function stream(from, to, count, ahead) {
  let received = 0;
  const receiving = (async () => {
    for (; received < count; received += 1) {
      const message = await to.nextOf("CANDIDATE");
      if (message.payload !== received) assert.fail(`${message.payload} arrived instead of ${received}`);
    }
  })();
  receiving.catch(() => {});
  for (let sent = 0; sent < count; sent += 1) {
    while (sent - received >= ahead) await Promise.race([sleep(1), receiving]);
    from.send({ type: "CANDIDATE", dst: to.id, payload: sent });
  }
  await receiving;
}

for (const count of [1, 3]) {
  describe(`three machines, ${count} NATS`, { concurrency: 2 }, () => {
    check("ids, messages and the list of clients are those of all", { count, options: { allow_discovery: true } }, async (t, machines, nats, a, b, c) => {
      const [ann, ben, cleo] = [await a.join("ann"), await b.join("ben"), await c.join(HARD)];
      await allReach(ann, ben, cleo);
      for (const server of [b, c]) {
        const other = await server.attempt("ann");
        assert.deepEqual(await other.next(), TAKEN);
        await other.closed();
      }
      await eventually("all to be listed everywhere", async () => {
        const lists = await Promise.all([a, b, c].map(async (server) => JSON.parse((await server.get("/peerjs/peers")).text)));
        return lists.every((list) => String(list.sort()) === String(["ann", "ben", cleo.id].sort()));
      });
      await ann.close();
      const second = await joinWhenFree(b, "ann");
      await allReach(second, ben, cleo);
    });

    check("a client that comes back with its token on another machine takes over", { count }, async (t, machines, nats, a, b, c) => {
      const token = randomUUID();
      const ben = await b.join("ben");
      let ann = await a.join("ann", { token });
      for (const server of [b, c, a, b, a, c]) {
        const next = await server.join("ann", { token });
        await ann.closed();
        assert.ok(!ann.unread.some(({ type }) => type === "ID-TAKEN"));
        ann = next;
        await allReach(ann, ben);
      }
      const other = await a.attempt("ann");
      assert.deepEqual(await other.next(), TAKEN);
    });

    check("a client that reloads on its machine while it connects to another one has one socket in the end", { count }, async (t, machines, nats, a, b) => {
      const reload = async (number) => {
        const [id, token] = [`ann ${number}`, randomUUID()];
        const sockets = [await a.join(id, { token })];
        const connect = async (server, delay) => {
          await sleep(delay);
          sockets.push(await server.attempt(id, { token }).catch(() => null));
        };
        // The old socket hands its id over within some milliseconds; the other machine gets it before, meanwhile and after.
        await Promise.all([connect(a, 0), connect(b, number % 10)]);
        await eventually(`one socket of ${id}`, () => sockets.filter((socket) => socket?.isOpen).length === 1);
      };
      // Slow enough for the log, which has a limit for each second.
      for (let from = 0; from < 60; from += 3, await sleep(150)) await Promise.all([0, 1, 2].map((more) => reload(from + more)));
    });

    check("what is sent while a client moves arrives once and in order", { count }, async (t, machines, nats, a, b, c) => {
      const token = randomUUID();
      const ben = await b.join("ben");
      const sockets = [await a.join("ann", { token })];
      let sent = 0;
      const numbers = () => sockets.flatMap(({ unread }) => unread.filter(({ type }) => type === "CANDIDATE").map(({ payload }) => payload));
      // Fewer than may be held for one sender: a machine may learn late of a move.
      const sending = setInterval(() => {
        if (sent - Math.max(-1, ...numbers()) > 50) return;
        ben.send({ type: "CANDIDATE", dst: "ann", payload: sent });
        sent += 1;
      }, 2);
      t.after(() => clearInterval(sending));
      for (const server of [c, a, b, c]) {
        await sleep(200);
        sockets.push(await server.join("ann", { token }));
      }
      await sleep(200);
      clearInterval(sending);
      await reaches(ben, sockets.at(-1)); // after all before it
      const arrived = numbers();
      assert.deepEqual(arrived, [...new Set(arrived)].sort((x, y) => x - y), "in order over all sockets, none twice");
      t.diagnostic(`${sent} sent, ${arrived.length} arrived over ${sockets.length} sockets`);
      // And what one move lost on a machine that got no processor.
      assert.ok(arrived.length >= sent * 0.95 - 50, `${arrived.length} of ${sent}`);
    });

    check("a message for an absent client is held, then delivered anywhere or answered with EXPIRE", { count, options: { expire_timeout: 8000 } }, async (t, machines, nats, a, b, c) => {
      const ann = await a.join("ann");
      for (const [index, server] of [b, c, a].entries()) {
        const id = `late ${index}`;
        for (const payload of [1, 2, 3]) ann.send({ type: "OFFER", dst: id, payload });
        await sleep(100);
        const late = await server.join(id);
        assert.deepEqual((await late.nextMany(3)).map(({ payload }) => payload), [1, 2, 3]);
        await reaches(late, ann);
      }
      ann.send({ type: "OFFER", dst: "nobody", payload: 1 });
      assert.deepEqual(await ann.nextOf("EXPIRE"), { type: "EXPIRE", src: "nobody", dst: "ann" });
    });

    check("100,000 messages keep their order across machines", { count }, async (t, machines, nats, a, b, c) => {
      const [ann, ben, cleo] = [await a.join("ann"), await b.join("ben"), await c.join("cleo")];
      await allReach(ann, ben, cleo);
      // One sender has a sixteenth of a link's 4,096 messages, until the other machine has acknowledged them.
      await Promise.all([stream(ann, ben, 40_000, 32), stream(ben, cleo, 30_000, 32), stream(cleo, ann, 30_000, 32)]);
    });

    check("a rolling restart lets calls be set up", { count }, async (t, machines) => {
      const calls = new Calls(machines);
      await calls.start(6);
      for (const name of NAMES) {
        await sleep(1_500);
        const { code, signal } = await machines.all.get(name).terminate();
        assert.deepEqual({ code, signal }, { code: 0, signal: null });
        await machines.start(name);
        await machines.linked();
      }
      await sleep(1_000);
      const { made, repeated } = await calls.stop();
      t.diagnostic(`${made} calls, ${repeated} tried again`);
      assert.ok(made > 100, `${made} calls`);
      // Each of the 12 clients was moved once; a call that it was in may need a second try.
      assert.ok(repeated <= 24, `${repeated} of ${made} calls were tried again`);
    });

    check("a server is killed: its ids come free, the others go on", { count }, async (t, machines, nats, a, b, c) => {
      const token = randomUUID();
      const [ben, cleo] = [await b.join("ben"), await c.join("cleo")];
      await a.join("ann", { token });
      await a.join("dan");
      const chatter = await startChatter(b, c);
      await machines.kill("a");
      const at = Date.now();
      // The same client need not wait.
      const ann = await joinWhenFree(b, "ann", { token }, 10_000);
      await allReach(ann, ben, cleo);
      const dan = await joinWhenFree(c, "dan", {}, FREE_AFTER + 5_000);
      const took = Date.now() - at;
      t.diagnostic(`free after ${took} ms`);
      assert.ok(took <= FREE_AFTER, `the id was free after ${took} ms`);
      await allReach(ann, ben, cleo, dan);
      t.diagnostic(await chatter.stop());
      await machines.start("a");
      await machines.linked();
      await allReach(await machines.all.get("a").join("emil"), ann, dan);
    });

    for (const [what, time] of [["10 s", SHORT], ["longer than the lease", LONG]]) {
      check(`a server is paused for ${what}`, { count }, async (t, machines, nats, a, b, c) => {
        const [ann, ben, cleo] = [await a.join("ann"), await b.join("ben"), await c.join("cleo")];
        await allReach(ann, ben, cleo);
        const chatter = await startChatter(b, c);
        machines.pause("a");
        const start = Date.now();
        let other = null;
        if (time > FREE_AFTER) other = await joinWhenFree(b, "ann", {}, time);
        await sleep(Math.max(0, start + time - Date.now()));
        machines.resume("a");
        if (other) {
          // The one that waited for a dead machine's id has it; the one that slept is told so.
          assert.deepEqual(await ann.nextOf("ID-TAKEN"), TAKEN);
          await ann.closed();
          machines.isBack("a");
          await machines.linked();
          await allReach(other, ben, cleo);
          await allReach(await a.join("anew"), other, ben);
        } else {
          machines.isBack("a");
          await machines.linked();
          await allReach(ann, ben, cleo);
        }
        t.diagnostic(await chatter.stop());
      });

      // Who connects while NATS is away is refused: a rival would otherwise be connected for its machine alone.
      check(`NATS is paused for ${what}`, { count, options: { cluster_without: "refuse" } }, async (t, machines, nats, a, b, c) => {
        const [ann, ben, cleo] = [await a.join("ann"), await b.join("ben"), await c.join("cleo")];
        await allReach(ann, ben, cleo);
        const chatter = await startChatter(a, b, c);
        const rivals = startRivals(t, machines, [[ann, a], [ben, b], [cleo, c]]);
        const together = machines.cutOff();
        nats.nodes.forEach((node) => node.pause());
        await sleep(time);
        nats.nodes.forEach((node) => node.resume());
        await machines.linked();
        together();
        // Nobody has lost an id: nobody could claim one, then or since.
        t.diagnostic(await rivals.stop());
        assert.ok([ann, ben, cleo].every(({ isOpen }) => isOpen));
        await allReach(ann, ben, cleo);
        t.diagnostic(await chatter.stop());
      });
    }

    check("all NATS are killed: local clients notice nothing, and it goes on by itself", { count, options: { expire_timeout: 60_000, cluster_without: "refuse" } }, async (t, machines, nats, a, b, c) => {
      const [ann, ben, cleo] = [await a.join("ann"), await b.join("ben"), await c.join("cleo")];
      await allReach(ann, ben, cleo);
      const chatter = await startChatter(a, b, c);
      const rivals = startRivals(t, machines, [[ann, a], [ben, b], [cleo, c]]);
      const together = machines.cutOff();
      await Promise.all(nats.nodes.map((node) => node.kill()));
      await sleep(4_000);
      // Held for the other machine until NATS is back.
      ann.send({ type: "OFFER", dst: "ben", payload: "meanwhile" });
      nats.nodes.forEach((node) => node.start());
      await nats.ready();
      await machines.linked();
      together();
      assert.equal((await ben.nextOf("OFFER")).payload, "meanwhile");
      await allReach(ann, ben, cleo);
      t.diagnostic(await rivals.stop());
      assert.ok([ann, ben, cleo].every(({ isOpen }) => isOpen));
      await allReach(await a.join("dan"), await b.join("emil"));
      t.diagnostic(await chatter.stop());
    });
  });
}

describe("NATS as a cluster", { concurrency: 2 }, () => {
  check("its leader is killed, and comes back", { count: 3 }, async (t, machines, nats, a, b, c) => {
    const [ann, ben, cleo] = [await a.join("ann"), await b.join("ben"), await c.join("cleo")];
    await allReach(ann, ben, cleo);
    const chatter = await startChatter(a, b, c);
    const streams = await nats.streams();
    for (const stream of streams) {
      const leader = await eventually("a leader", async () => (await nats.leaderOf(stream)) ?? (await nats.leader()));
      await leader.kill();
      const at = Date.now();
      const dan = await joinWhenFree(a, `dan ${stream}`, {}, 30_000);
      t.diagnostic(`${stream}: a new id after ${Date.now() - at} ms`);
      await machines.linked();
      await allReach(ann, ben, cleo, dan);
      leader.start();
      await nats.ready();
    }
    assert.ok([ann, ben, cleo].every(({ isOpen }) => isOpen));
    t.diagnostic(await chatter.stop());
  });

  check("one of its servers is paused", { count: 3 }, async (t, machines, nats, a, b, c) => {
    const [ann, ben, cleo] = [await a.join("ann"), await b.join("ben"), await c.join("cleo")];
    const chatter = await startChatter(a, b, c);
    const leader = await eventually("a leader", () => nats.leader());
    leader.pause();
    await sleep(SHORT);
    await joinWhenFree(a, "dan", {}, 30_000);
    leader.resume();
    await nats.ready();
    await machines.linked();
    await allReach(ann, ben, cleo);
    t.diagnostic(await chatter.stop());
  });
});

describe("without NATS", { concurrency: 2 }, () => {
  test("a server starts without NATS, serves its own clients, and joins later", { timeout: 120_000, skip: !own }, async (t) => {
    const nats = await startNats(t);
    await nats.nodes[0].stop();
    const machines = new Machines(t, nats, { cluster_without: "local" });
    const [a, b] = [await machines.start("a"), await machines.start("b")];
    const [ann, ben] = [await a.join("ann"), await a.join("ben")];
    await nothingBefore(ann, ben);
    assert.ok(await isReady(a));
    // Both have the id for their own clients, until NATS decides.
    const [first, second] = [await a.join("emil"), await b.join("emil")];
    nats.nodes[0].start();
    await nats.ready();
    await machines.linked();
    const loser = await Promise.race([first, second].map(async (one) => (assert.deepEqual(await one.nextOf("ID-TAKEN"), TAKEN), one)));
    await loser.closed();
    const winner = loser === first ? second : first;
    const cleo = await b.join("cleo");
    await allReach(ann, ben, cleo, winner);
    await machines.assertFiguresAddUp();
    machines.assertSingleOwners();
  });

  test("with --cluster_without refuse a server without NATS answers 503", { timeout: 120_000, skip: !own }, async (t) => {
    const nats = await startNats(t);
    await nats.nodes[0].stop();
    const machines = new Machines(t, nats, { cluster_without: "refuse" });
    const a = await machines.start("a");
    assert.match((await get(a.monitor, "/readyz")).text, /cluster/);
    await assert.rejects(a.attempt("ann"), /503/);
    const upgrade = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": 13, "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" };
    const refused = await get(a.port, "/peerjs?key=peerjs&id=ann&token=t", upgrade);
    assert.ok(Number(refused.headers["retry-after"]) > 0, JSON.stringify(refused));
    nats.nodes[0].start();
    await nats.ready();
    await eventually("ready", () => isReady(a));
    const ann = await a.join("ann");
    await nothingBefore(ann, ann);
  });

  check("the buckets are lost", {}, async (t, machines, nats, a, b, c) => {
    const [ann, ben, cleo] = [await a.join("ann"), await b.join("ben"), await c.join("cleo")];
    await allReach(ann, ben, cleo);
    const chatter = await startChatter(a, b, c);
    const together = machines.cutOff();
    await nats.forget();
    await machines.linked();
    together();
    await eventually("each to have its id again", async () => {
      const other = await c.attempt("ann").catch(() => null);
      const greeting = await other?.next().catch(() => null);
      other?.ws.terminate();
      return greeting?.type === "ID-TAKEN";
    });
    assert.ok([ann, ben, cleo].every(({ isOpen }) => isOpen));
    await allReach(ann, ben, cleo);
    t.diagnostic(await chatter.stop());
  });

  test("a wrong option is refused at the start", { timeout: 60_000, skip: !own }, async (t) => {
    for (const [options, says] of [
      [{ cluster: "nats://user:secret@127.0.0.1:4222" }, /cluster.*allowed.*without a user/s],
      [{ cluster: "http://127.0.0.1" }, /cluster.*allowed/s],
      [{ machine: "a" }, /--cluster/],
      [{ cluster: "nats://127.0.0.1:4222", cluster_without: "never" }, /cluster_without.*allowed: local, refuse/s],
      [{ cluster: "nats://127.0.0.1:4222", cluster_credentials: "/nonexistent" }, /credentials|nonexistent/],
    ]) {
      const { code, errors } = await refusedStart(t, options);
      assert.equal(code, 2, errors);
      assert.match(errors, says);
      assert.doesNotMatch(errors, /secret/);
    }
  });
});

describe("the checker of owners", { skip: !own }, () => {
  /** Logs of machines, as `[machine, second, what, claim, token]`, with when they were away. */
  const check = (events, away = {}) => {
    const names = [...new Set(events.map(([name]) => name))];
    return assertSingleOwners(
      names.map((name) => {
        const lines = events
          .filter(([one]) => one === name)
          .map(([, second, what, claim, token]) => {
            const timestamp = new Date(second * 1000).toISOString().replace("Z", "000Z");
            return JSON.stringify({ timestamp, level: "DEBUG", message: `id ${what}`, id: "ann", claim, token });
          });
        const times = (away[name] ?? []).map(([from, to, isStopped]) => ({ from: from * 1000, to: to * 1000, isStopped }));
        return { name, lines, away: times };
      }),
    );
  };
  const HERS = "3614";
  const OTHER = "cd20";
  const hers = ["a", 1, "claimed", 1, HERS];

  test("accepts one owner after the other, and a take-over by the same token", () => {
    assert.equal(check([hers, ["a", 2, "released", 1], ["b", 3, "claimed", 1, OTHER]]), 2);
    assert.equal(check([hers, ["b", 1.9, "claimed", "1", HERS], ["a", 2, "lost", 1]]), 2);
    assert.equal(check([hers, ["a", 1.5, "claimed", 2, HERS], ["a", 1.6, "lost", 1], ["a", 1.7, "released", 2]]), 2);
    // A machine that was cut off tells late that the same client has gone elsewhere.
    assert.equal(check([hers, ["b", 5, "claimed", 1, HERS], ["a", 30, "lost", 1]], { a: [[4, 29, false]] }), 2);
  });

  test("accepts that another client gets the id of a machine that is killed or paused for long", () => {
    const other = ["b", 30, "claimed", 1, OTHER];
    assert.equal(check([hers, other], { a: [[2, Infinity, true]] }), 2);
    assert.equal(check([hers, other, ["a", 40, "lost", 1]], { a: [[2, 40.1, true]] }), 2);
  });

  for (const [what, events, away] of [
    ["nobody gives up", [hers, ["b", 2, "claimed", 1, HERS]]],
    ["a take-over takes too long", [hers, ["b", 2, "claimed", 1, HERS], ["a", 9, "lost", 1]]],
    ["another client has it for a millisecond too early", [hers, ["b", 2, "claimed", 1, OTHER], ["a", 2.001, "released", 1]]],
    ["another client has it before the first one is told", [hers, ["b", 2, "claimed", 1, OTHER], ["a", 2.1, "lost", 1]]],
    ["a third one comes, and the second one has left", [hers, ["b", 2, "claimed", 1, HERS], ["b", 3, "released", 1], ["c", 4, "claimed", 1, HERS]]],
    ["another client of the same machine has it", [hers, ["a", 2, "claimed", 2, OTHER], ["a", 2.1, "lost", 1]]],
    ["a paused machine's lease still lasts", [hers, ["b", 9, "claimed", 1, OTHER], ["a", 40, "lost", 1]], { a: [[2, 41, true]] }],
    ["a killed machine's lease still lasts", [hers, ["b", 9, "claimed", 1, OTHER]], { a: [[2, Infinity, true]] }],
    ["a paused machine is back and has not closed its client", [hers, ["b", 30, "claimed", 1, OTHER], ["a", 41, "lost", 1]], { a: [[2, 40, true]] }],
    ["another client gets the id of a machine that is cut off", [hers, ["b", 30, "claimed", 1, OTHER], ["a", 30.1, "lost", 1]], { a: [[2, 40, false]] }],
    ["another client gets it soon after the return", [hers, ["b", 40.2, "claimed", 1, OTHER], ["a", 40.3, "lost", 1]], { a: [[2, 40, false]] }],
  ]) {
    test(`finds two owners: ${what}`, () => assert.throws(() => check(events, away), /two owners/));
  }

  test("wants every end to have its claim, and every claim its token", () => {
    assert.throws(() => check([["a", 2, "lost", 1]]), /no such claim/);
    assert.throws(() => check([hers, ["a", 2, "lost", 1], ["a", 3, "released", 1]]), /no such claim/);
    assert.throws(() => check([["a", 2, "claimed", 1]]), /claimed/);
  });
});

test("a link whose messages have no end is found", { skip: !own }, () => {
  const link = { machine: "b", sent: 10, delivered: 6, gone: 1, lost: 1, rejected: 1, in_flight: 1 };
  assertLinkAddsUp(link, "a");
  for (const name of ["sent", "delivered", "gone", "lost", "rejected", "in_flight"]) {
    assert.throws(() => assertLinkAddsUp({ ...link, [name]: link[name] + 1 }, "a"), /link to b/);
  }
  assert.throws(() => assertLinkAddsUp({ ...link, lost: undefined }, "a"));
});

/** Pairs of clients that set up calls all the time, and connect to another machine when they are closed. */
class Calls {
  #machines;
  #pairs = [];
  #over = false;
  made = 0;
  repeated = 0;

  constructor(machines) {
    this.#machines = machines;
  }

  async start(count) {
    for (let number = 0; number < count; number += 1) {
      const [caller, callee] = [new Roamer(this.#machines, `caller ${number}`, number), new Roamer(this.#machines, `callee ${number}`, number + 1)];
      await Promise.all([caller.connect(), callee.connect()]);
      this.#pairs.push(this.#call(caller, callee));
      this.#pairs.at(-1).catch(() => {});
    }
  }

  async #call(caller, callee) {
    for (let number = 0; !this.#over; number += 1) {
      for (let attempt = 1; ; attempt += 1) {
        if (await caller.call(callee.id, `call ${number}, attempt ${attempt}`)) break;
        this.repeated += 1;
        assert.ok(attempt < 6, `${caller.id} does not reach ${callee.id}`);
      }
      this.made += 1;
      await sleep(50);
    }
    caller.leave();
    callee.leave();
  }

  async stop() {
    this.#over = true;
    await Promise.all(this.#pairs);
    return { made: this.made, repeated: this.repeated };
  }
}

/** A client that connects again, with its token, to the next machine that takes it. */
class Roamer {
  #machines;
  #token = randomUUID();
  #turn;
  #isLeaving = false;
  #expected = new Map();

  constructor(machines, id, turn) {
    this.#machines = machines;
    this.#turn = turn;
    this.id = id;
  }

  async connect() {
    this.socket = await eventually(`a machine to take ${this.id}`, async () => {
      const all = [...this.#machines.all.values()];
      this.#turn += 1;
      const socket = await all[this.#turn % all.length].attempt(this.id, { token: this.#token }).catch(() => null);
      if (socket === null) return null;
      return (await socket.next().catch(() => null))?.type === "OPEN" ? socket : null;
    });
    this.#read(this.socket);
  }

  /** Answers calls and takes answers until the socket is closed, then connects again. */
  #read({ ws }) {
    const take = (data) => {
      const { type, src, payload } = JSON.parse(data);
      if (type === "OFFER") this.socket.send({ type: "ANSWER", dst: src, payload });
      if (type === "ANSWER") this.#expected.get(payload)?.(true);
    };
    this.socket.unread.forEach((message) => take(JSON.stringify(message)));
    ws.on("message", take);
    ws.on("close", () => this.#isLeaving || this.connect().catch(() => {}));
  }

  /** Calls a client. Returns whether it has answered in time, on this socket or on the ones after it. */
  async call(dst, payload) {
    const answered = new Promise((resolve) => this.#expected.set(payload, resolve));
    this.socket.send({ type: "OFFER", dst, payload });
    const stop = new AbortController();
    const late = sleep(ANSWERED, false, { signal: stop.signal }).catch(() => false);
    const result = await Promise.race([answered, late]);
    stop.abort();
    this.#expected.delete(payload);
    return result;
  }

  leave() {
    this.#isLeaving = true;
    this.socket.ws.terminate();
  }
}
