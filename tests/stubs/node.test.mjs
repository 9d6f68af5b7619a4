// The client for Node against real servers, and against sockets that answer what no server would.
//
//     node node.test.mjs FOLDER PROGRAM      FOLDER has the compiled client, PROGRAM is `boneyard`
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const [folder, program] = process.argv.slice(2);
const { BoneyardError, Client, Failed, Lost, Refused } = await import(pathToFileURL(join(folder, "node.js")).href);
/** Longer than any test waits. */
const FOR_EVER = 600_000;
const processes = [];
after(() => processes.forEach((process) => process.kill("SIGKILL")));

/** Starts a server with these lines in its settings, and waits until it listens. */
let files = 0;
async function serve(lines = [], port = 0) {
  const file = join(folder, `server-${++files}.ini`);
  writeFileSync(file, [`TCPIP_TCPIPAddress=0,127.0.0.1:${port}`, "Load_Service=1", ...lines, ""].join("\n"));
  const server = spawn(program, ["serve", file], { stdio: ["ignore", "ignore", "pipe"] });
  processes.push(server);
  for await (const line of createInterface(server.stderr)) {
    const address = / at (127\.0\.0\.1:\d+), /.exec(line)?.[1];
    if (address !== undefined) {
      server.stderr.resume();
      return { address, port: Number(address.split(":")[1]), stop: (signal) => stop(server, signal) };
    }
  }
  throw new Error("the server does not listen");
}

async function stop(server, signal = "SIGTERM") {
  server.kill(signal);
  await once(server, "exit");
}

async function until(condition) {
  const end = Date.now() + 60_000;
  while (!(await condition())) {
    assert.ok(Date.now() < end, `waited in vain until ${condition}`);
    await setImmediate();
  }
}

/** The error that a promise is rejected with. */
async function rejection(promise) {
  return promise.then(() => assert.fail("it was fulfilled"), (error) => error);
}

function header(kind, code, id, body, flags = 0) {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(body.length, 0);
  bytes.writeUInt8(kind, 4);
  bytes.writeUInt8(flags, 5);
  bytes.writeUInt16LE(code, 6);
  bytes.writeBigUInt64LE(BigInt(id), 8);
  return Buffer.concat([bytes, body]);
}

function text(words) {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(words.length));
  return Buffer.concat([length, Buffer.from(words)]);
}

function fault(status, message, retryMs, id = 0, kind = 8) {
  const numbers = Buffer.alloc(8);
  numbers.writeUInt32LE(retryMs, 4);
  return header(kind, status, id, Buffer.concat([Buffer.alloc(kind === 8 ? 0 : 12), numbers, text(message)]));
}

/** A Welcome with one method, number 1. */
function welcome(method, bodyMax = 1000) {
  const limit = Buffer.alloc(4);
  limit.writeUInt32LE(bodyMax);
  const one = Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]), Buffer.from([1, 0]), text(method), Buffer.alloc(8)]);
  return header(2, 1, 0, Buffer.concat([text("script"), limit, one]));
}

/** A socket that hands each frame of a client to `on(frame, socket, connection)`; connections count from 1. */
async function script(t, on) {
  const sockets = [];
  const server = createServer((socket) => {
    const connection = sockets.push(socket);
    let [bytes, skip] = [Buffer.alloc(0), 8];
    socket.on("error", () => {});
    socket.on("data", (data) => {
      bytes = Buffer.concat([bytes, data]);
      if (skip > 0 && bytes.length >= skip) [bytes, skip] = [bytes.subarray(skip), 0];
      while (skip === 0 && bytes.length >= 16 && bytes.length >= 16 + bytes.readUInt32LE(0)) {
        const end = 16 + bytes.readUInt32LE(0);
        const frame = { kind: bytes[4], id: Number(bytes.readBigUInt64LE(8)), body: bytes.subarray(16, end) };
        bytes = bytes.subarray(end);
        on(frame, socket, connection);
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  });
  return `127.0.0.1:${server.address().port}`;
}

/** A client that ends with its test. */
function connect(t, address, options) {
  const client = new Client(address, options);
  t.after(() => client.close());
  return client;
}

test("values come back as they went, with all digits", async (t) => {
  const client = connect(t, (await serve()).address);
  const big = { a: [2n ** 64n - 1n, -(2n ** 63n), 1], "n1": "n2", s: 's"\\\n', "9007199254740993": "12345678901234567890" };
  for (const value of [null, true, -0.5, "ä€😀\u2028\0", [], {}, [{ a: [1.5e300] }], 2 ** 53 - 1, big]) {
    assert.deepEqual(await client.call("server.echo", value), value);
  }
  assert.equal(await client.call("server.echo", undefined), null);
  assert.equal(await client.call("server.echo", 2n ** 53n + 1n), 2n ** 53n + 1n);
  assert.equal(await client.call("server.echo", 5n), 5);
  const long = "x".repeat(3_000_000);
  assert.deepEqual(await client.call("server.echo", [long, 2n ** 64n]), [long, 2n ** 64n]);
  for (const wrong of [NaN, [Infinity]]) assert.ok((await rejection(client.call("server.echo", wrong))) instanceof TypeError);
  await client.ping();
});

test("a hundred calls are out at once, and end in any order", async (t) => {
  const { address } = await serve(["Server_Pool_Tasks=100", "Server_Max_Concurrent_Trans=-1"]);
  const client = connect(t, address);
  const slow = Array.from({ length: 99 }, () => client.call("load.sleep", FOR_EVER, { timeoutMs: null }));
  // The last worker answers while all others run.
  await until(async () => Number((await client.call("server.info", null)).in_flight) === 100);
  const echoes = await Promise.all(Array.from({ length: 100 }, (_, n) => client.call("server.echo", n)));
  assert.deepEqual(echoes, Array.from({ length: 100 }, (_, n) => n));
  const lost = slow.map(rejection);
  client.close();
  for (const error of await Promise.all(lost)) assert.ok(error instanceof Lost && error.status === "Lost", `${error}`);
  assert.ok((await rejection(client.call("server.ping", null))) instanceof Refused);
});

test("a full queue refuses by name, and errors of callers too", async (t) => {
  const { address } = await serve(["Server_Pool_Tasks=1", "Server_Queue_Limit=1"]);
  const client = connect(t, address, { timeoutMs: null });
  const stopped = new AbortController();
  const calls = [0, 1, 2].map(() => rejection(client.call("load.sleep", FOR_EVER, { signal: stopped.signal })));
  // The worker may have taken none of them yet.
  const refused = await Promise.race(calls);
  assert.ok(refused instanceof Refused && refused.status === "QueueFull", `${refused}`);
  stopped.abort();
  await Promise.all(calls);
});

test("errors of callers are refusals by name", async (t) => {
  const client = connect(t, (await serve()).address);
  const unknown = await rejection(client.call("no.such", null));
  assert.ok(unknown instanceof Refused && unknown.status === "UnknownMethod" && unknown.name === "Refused");
  const wrong = await rejection(client.call("session.close", "x"));
  assert.ok(wrong instanceof Refused && wrong.status === "BadRequest" && /at line 1/.test(wrong.message), `${wrong}`);
  const large = await rejection(client.call("server.echo", "x".repeat(5_000_000)));
  assert.ok(large instanceof Refused && large.status === "TooLarge");
});

test("a deadline ends a call that runs as lost, and one that waits as refused by the server", async (t) => {
  const client = connect(t, (await serve(["Server_Pool_Tasks=1"])).address);
  const stopped = new AbortController();
  const slow = rejection(client.call("load.sleep", FOR_EVER, { timeoutMs: null, signal: stopped.signal }));
  await client.ping();
  const late = await rejection(client.call("server.ping", null, { timeoutMs: 50 }));
  assert.ok(late instanceof BoneyardError && ["TimedOut", "DeadlineExceeded", "WouldBeLate"].includes(late.status));
  stopped.abort();
  assert.equal((await slow).name, "AbortError");
  for (const timeoutMs of [0, -1, NaN, Infinity, 2 ** 31]) {
    assert.ok((await rejection(client.call("server.ping", null, { timeoutMs }))) instanceof RangeError);
  }
});

test("the deadline and a cancel are on the wire", async (t) => {
  const frames = [];
  const address = await script(t, (frame, socket) => {
    frames.push(frame);
    if (frame.kind === 1) socket.write(welcome("a.b"));
  });
  const client = connect(t, address);
  await client.methods();
  const late = await rejection(client.call("a.b", [1], { timeoutMs: 40 }));
  assert.ok(late instanceof Lost && late.status === "TimedOut");
  await until(() => frames.length === 3);
  assert.deepEqual(frames.map((frame) => frame.kind), [1, 3, 5]);
  assert.equal(frames[1].id, frames[2].id);
  const deadline = frames[1].body.readUInt32LE(4);
  assert.ok(deadline >= 1 && deadline <= 40, `${deadline}`);
  assert.equal(frames[1].body.subarray(8).toString(), "[1]");
  const stopped = new AbortController();
  const call = rejection(client.call("a.b", null, { signal: stopped.signal, timeoutMs: null }));
  await until(() => frames.length === 4);
  assert.equal(frames[3].body.readUInt32LE(4), 0);
  stopped.abort(new Error("not wanted"));
  assert.equal((await call).message, "not wanted");
  await until(() => frames.length === 5);
  assert.deepEqual([frames[4].kind, frames[4].id], [5, frames[3].id]);
  assert.equal((await rejection(client.call("a.b", null, { signal: stopped.signal }))).message, "not wanted");
  await client.methods();
  assert.equal(frames.length, 5);
});

test("a refusal carries its hint", async (t) => {
  const address = await script(t, (frame, socket) => {
    if (frame.kind === 1) socket.write(welcome("a.b"));
    // Byte for byte: a frame comes in any number of pieces.
    if (frame.kind === 3) for (const byte of fault(23, "busy", 1500, frame.id, 4)) socket.write(Buffer.from([byte]));
  });
  const error = await rejection(connect(t, address).call("a.b", null));
  assert.ok(error instanceof Refused);
  assert.deepEqual([error.status, error.message, error.retryAfterMs, error.code], ["Overloaded", "busy", 1500, 0]);
});

test("at most 512 calls are out, and one that waits is taken back without a word", async (t) => {
  const calls = [];
  const address = await script(t, (frame, socket) => {
    if (frame.kind === 1) socket.write(welcome("a.b"));
    if (frame.kind === 3) calls.push([frame, socket]);
  });
  const client = connect(t, address, { timeoutMs: null });
  const stopped = new AbortController();
  const results = Array.from({ length: 512 }, (_, n) => client.call("a.b", n));
  const waits = rejection(client.call("a.b", "waits", { signal: stopped.signal }));
  const next = client.call("a.b", "next");
  await until(() => calls.length === 512);
  stopped.abort();
  await waits;
  for (const [frame, socket] of calls.splice(0)) {
    socket.write(header(4, 0, frame.id, Buffer.concat([Buffer.alloc(12), frame.body.subarray(8)]), 1));
  }
  assert.deepEqual(await Promise.all(results), Array.from({ length: 512 }, (_, n) => n));
  await until(() => calls.length === 1);
  const [frame, socket] = calls[0];
  assert.equal(frame.body.subarray(8).toString(), '"next"');
  socket.write(header(4, 0, frame.id, Buffer.concat([Buffer.alloc(12), Buffer.from("7")]), 1));
  assert.equal(await next, 7);
});

test("a GoAway in place of the Welcome refuses, and a draining server is left once its calls are answered", async (t) => {
  const [ended, later] = [[], []];
  const address = await script(t, (frame, socket, connection) => {
    if (frame.kind === 1 && connection === 1) socket.end(fault(27, "restricted", 0));
    if (frame.kind === 1 && connection > 1) socket.write(welcome("a.b"));
    socket.on("close", () => ended.push(connection));
    if (frame.kind !== 3) return;
    // One that was on its way meanwhile is refused, as a server does.
    if (connection === 2 && later.length === 1) return socket.write(fault(21, "stopping", 0, frame.id, 4));
    if (connection === 2) socket.write(fault(21, "stopping", 0));
    const reply = header(4, 0, frame.id, Buffer.concat([Buffer.alloc(12), Buffer.from(`${connection}`)]), 1);
    // Not before the other connection has answered.
    if (connection === 3) socket.write(reply);
    else later.push(() => socket.write(reply));
  });
  const client = connect(t, address);
  const error = await rejection(client.call("a.b", null));
  assert.ok(error instanceof Refused && error.status === "Restricted", `${error}`);
  const first = client.call("a.b", null);
  await until(() => later.length === 1);
  await until(async () => (await client.call("a.b", null).catch(() => 0)) === 3);
  later[0]();
  assert.equal(await first, 2);
  await until(() => ended.includes(2));
});

test("a server that violates the protocol loses its calls and nothing else", async (t) => {
  const bad = [
    header(9, 0, 0, Buffer.alloc(0)),
    header(2, 1, 0, text("twice")),
    header(4, 0, 999, Buffer.alloc(12), 1),
    Buffer.from([255, 255, 255, 255, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    header(8, 21, 0, text("short")),
  ];
  const address = await script(t, (frame, socket, connection) => {
    if (frame.kind === 1) socket.write(welcome("a.b"));
    if (frame.kind === 3) socket.write(bad[connection - 1] ?? header(4, 0, frame.id, Buffer.from(`${" ".repeat(12)}{`), 1));
  });
  const client = connect(t, address);
  for (let n = 0; n <= bad.length; n++) {
    const error = await rejection(client.call("a.b", null));
    assert.ok(error instanceof Lost && /violates the protocol/.test(error.message), `${n}: ${error}`);
  }
});

test("the next call after a restart connects anew", async (t) => {
  const server = await serve();
  const client = connect(t, server.address);
  const out = rejection(client.call("load.sleep", FOR_EVER, { timeoutMs: null }));
  await client.ping();
  await server.stop("SIGKILL");
  assert.ok((await out) instanceof Lost);
  const gone = await rejection(client.call("server.ping", null));
  assert.ok(gone instanceof Refused && gone.status === "NotConnected" && /ECONNREFUSED/.test(gone.message), `${gone}`);
  const again = await serve([], server.port);
  assert.equal(await client.call("server.echo", "again"), "again");
  await again.stop();
  await serve([], server.port);
  await until(() => client.call("server.ping", null).then(() => true, () => false));
});

test("an error of the application has its code, and an address that is none is an error at once", async (t) => {
  const failed = await rejection(connect(t, (await serve()).address).call("load.sleep", FOR_EVER + 1));
  assert.ok(failed instanceof Failed && failed.status === "Application", `${failed}`);
  assert.deepEqual([failed.code, failed.message], [1, "600001 is over 600000"]);
  for (const wrong of ["", "a:b", "a:0", "a:65536", "::1", "[::1", "a b:"]) {
    assert.throws(() => new Client(wrong), TypeError, wrong);
  }
  assert.throws(() => new Client("a", { name: "x".repeat(1017) }), RangeError);
});

test("an idle client does not keep the program running", async () => {
  const { address } = await serve();
  const module = pathToFileURL(join(folder, "node.js")).href;
  const source = `const { Client } = await import(${JSON.stringify(module)});
    console.log(await new Client(${JSON.stringify(address)}).call("server.echo", "done"));`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", source], { stdio: ["ignore", "pipe", "inherit"] });
  const [said] = await once(child.stdout, "data");
  const [code] = await once(child, "exit");
  assert.deepEqual([`${said}`, code], ["done\n", 0]);
});
