// Written by `boneyard stubs --lang node`. Use it so, in a file beside it:
//
//     const client = new Client("127.0.0.1:1352");
//     const note = await new Services(client.call).notes.read(1, { timeoutMs: 500 });
//
// Whole numbers that a number would round are bigints.

// The client: the protocol of docs/PROTOCOL.md over TCP, with JSON bodies. It needs Node 18 or newer and no package.
// @ts-ignore: what is used of the module is declared below, so that its types need not be installed.
import { connect as connectSocket } from "node:net";

interface Socket {
  on(event: "connect" | "close", listener: () => void): unknown;
  on(event: "data", listener: (data: Uint8Array) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  write(data: Uint8Array): unknown;
  destroy(): unknown;
  setNoDelay(on: boolean): unknown;
  setKeepAlive(on: boolean, silenceMs: number): unknown;
  ref(): unknown;
  unref(): unknown;
}

const openSocket = connectSocket as unknown as (to: { host: string; port: number }) => Socket;

const STATUSES = {
  // <statuses> of docs/PROTOCOL.md
  0: "Ok", 1: "Application", 2: "NestedRefused", 10: "UnknownMethod", 11: "BadRequest", 12: "TooLarge",
  13: "UnsupportedVersion", 14: "ProtocolError", 15: "TooSlow", 16: "UnknownSession", 20: "QueueFull",
  21: "Draining", 22: "WouldBeLate", 23: "Overloaded", 24: "SessionLimit", 25: "NestedDeadlock", 26: "MaxUsers",
  27: "Restricted", 28: "NoDescriptors", 29: "BuffersFull", 30: "DeadlineExceeded", 31: "Cancelled",
  32: "ConnectLimit", 33: "SessionClosed", 34: "MethodLimit", 35: "ClientLimit", 36: "ServiceBusy",
  40: "Panicked", 41: "BadResponse", 42: "Internal",
  // </statuses>
} as const;

/** The server's status by name, or what the client found: no connection, no reply in time, a lost connection. */
export type Status =
  | (typeof STATUSES)[keyof typeof STATUSES]
  | `Status ${number}`
  | "NotConnected"
  | "TimedOut"
  | "Lost";

interface Fault {
  readonly code: number;
  readonly retry_after_ms: number;
  readonly message: string;
}

/** A call without a result: one of `Refused`, `Failed` and `Lost`. */
export class BoneyardError extends Error {
  readonly status: Status;
  /** The application's own number if the status is Application, the refused call's status if it is NestedRefused; or 0. */
  readonly code: number;
  /** Milliseconds after which the server asks for another attempt, if it does. */
  readonly retryAfterMs: number | undefined;

  constructor(status: Status, fault: Fault) {
    super(fault.message);
    this.name = new.target.name;
    this.status = status;
    this.code = fault.code;
    this.retryAfterMs = fault.retry_after_ms || undefined;
  }
}

/** The call was certainly not started, so it may be repeated. */
export class Refused extends BoneyardError {}
/** The handler ran and gave no result. */
export class Failed extends BoneyardError {}
/** There was no reply: whether the handler ran is not known. */
export class Lost extends BoneyardError {}

/** Options of a client; each has a default. */
export interface ClientOptions {
  /** Name in the server's log; "node". */
  readonly name?: string;
  /** Time for each call that names none, connecting included; 10,000. Null waits without end. */
  readonly timeoutMs?: number | null;
  /** Time for a connection; 5,000. */
  readonly connectTimeoutMs?: number;
}

/** A method as the server has it. */
export interface ServerMethod {
  readonly number: number;
  /** Fingerprint of its types; 0n where they are not known. */
  readonly fingerprint: bigint;
}

const KIND = { hello: 1, welcome: 2, call: 3, reply: 4, cancel: 5, ping: 6, pong: 7, goAway: 8 } as const;
const VERSION = 1;
const JSON_FLAG = 1;
const [HEADER_BYTES, CALL_PRELUDE_BYTES, REPLY_PRELUDE_BYTES] = [16, 8, 12];
const [REPLY_BYTES_MAX, CONTROL_BYTES_MAX, HELLO_NAME_BYTES_MAX] = [64 * 2 ** 20, 16 * 2 ** 20, 1016];
/** Calls out of one connection; the server reads no more of them. */
const WINDOW_CALLS_MAX = 512;
/** Longest timeout: the timers of Node go no further. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;
const KEEPALIVE_MS = 60_000;
const DEFAULT_PORT = 1352;

/** A call that waits for its connection or a place in the window, is out, or is settled. */
interface PendingCall {
  readonly method: string;
  readonly args: Uint8Array;
  readonly until: number | null;
  /** Its number on the connection; 0 before it is sent. */
  id: number;
  settled: boolean;
  settle(error: unknown, result?: unknown): void;
}

/**
 * A server to call, at `host`, `host:port` or `[IPv6]:port`; the default port is 1352. All calls share one connection.
 * The first call makes it, and the first call after it was lost makes another. A call is one attempt. A client without
 * calls does not keep the program running.
 */
export class Client {
  private readonly host: string;
  private readonly port: number;
  private readonly options: Required<ClientOptions>;
  private readonly connections = new Set<Connection>();
  private current: Connection | undefined;
  private closed = false;

  constructor(address: string, options: ClientOptions = {}) {
    const parts = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(address);
    const host = parts?.[1] ?? parts?.[2];
    this.port = Number(parts?.[3] ?? DEFAULT_PORT);
    if (host === undefined || this.port < 1 || this.port > 65535) {
      throw new TypeError(`${JSON.stringify(address)} is no host, host:port or [IPv6]:port`);
    }
    this.host = host;
    const { name = "node", timeoutMs = 10_000, connectTimeoutMs = 5_000 } = options;
    this.options = { name, timeoutMs: checkedTimeout(timeoutMs), connectTimeoutMs };
    checkedTimeout(connectTimeoutMs);
    if (utf8(name).length > HELLO_NAME_BYTES_MAX) {
      throw new RangeError(`a name has at most ${HELLO_NAME_BYTES_MAX} bytes`);
    }
  }

  /**
   * Calls a method. A function of its own, to be handed to `Services`. Rejects with `Refused`, `Failed` or `Lost`;
   * with the reason of `options.signal` once that is aborted, which cancels the call; with TypeError for arguments that
   * JSON has no form for.
   */
  readonly call: Call = (method, args, options = {}) =>
    new Promise((resolve, reject) => {
      const { signal, timeoutMs = this.options.timeoutMs } = options;
      signal?.throwIfAborted();
      checkedTimeout(timeoutMs);
      const until = timeoutMs === null ? null : performance.now() + timeoutMs;
      const body = utf8(encode(args));
      const connection = this.connection();
      const pending: PendingCall = {
        method,
        args: body,
        until,
        id: 0,
        settled: false,
        settle(error, result) {
          if (pending.settled) return;
          pending.settled = true;
          clearTimeout(timer);
          signal?.removeEventListener("abort", aborted);
          connection.release();
          error === undefined ? resolve(result) : reject(error);
        },
      };
      const late = (): void => {
        const unsent = pending.id === 0;
        const error = unsent
          ? refused("DeadlineExceeded", "the call was not sent in time")
          : new Lost("TimedOut", fault(`no reply within ${timeoutMs} ms`));
        connection.abandon(pending, error);
      };
      const aborted = (): void => connection.abandon(pending, signal?.reason);
      const timer = timeoutMs === null ? undefined : setTimeout(late, timeoutMs);
      signal?.addEventListener("abort", aborted, { once: true });
      connection.submit(pending);
    });

  /** The methods of the server, by name. Connects if there is no connection. */
  async methods(): Promise<ReadonlyMap<string, ServerMethod>> {
    return (await this.connection().ready).methods;
  }

  /** Names of the methods whose types are not those of `fingerprints`, or that the server does not have. */
  async changed(fingerprints: Readonly<Record<string, bigint>>): Promise<string[]> {
    const methods = await this.methods();
    const differs = ([name, own]: [string, bigint]): boolean => {
      const fingerprint = methods.get(name)?.fingerprint;
      return fingerprint === undefined || (own !== 0n && fingerprint !== 0n && own !== fingerprint);
    };
    return Object.entries(fingerprints).filter(differs).map(([name]) => name);
  }

  /** Waits until the server's listener has answered, without a worker. Connects if there is no connection. */
  async ping(): Promise<void> {
    const connection = this.connection();
    await connection.ready;
    await connection.ping();
  }

  /** Ends the client: calls that are out are `Lost`, further ones `Refused`. May be called twice. */
  close(): void {
    this.closed = true;
    for (const connection of this.connections) connection.end("the client was closed");
  }

  private connection(): Connection {
    if (this.closed) throw refused("NotConnected", "the client was closed");
    if (!this.current?.takesCalls()) {
      const connection = new Connection(this.host, this.port, this.options, () => this.connections.delete(connection));
      this.connections.add(connection);
      this.current = connection;
    }
    return this.current as Connection;
  }
}

interface Welcome {
  readonly bodyBytesMax: number;
  readonly methods: ReadonlyMap<string, ServerMethod>;
}

/** One connection, from the attempt to make it to its end. After a GoAway it only waits for the calls that are out. */
class Connection {
  readonly ready: Promise<Welcome>;
  private readonly socket: Socket;
  private readonly where: string;
  private readonly ended: () => void;
  private readonly connectTimer: ReturnType<typeof setTimeout>;
  private welcomed: (welcome: Welcome) => void = () => {};
  private unwelcomed: (error: Error) => void = () => {};
  private welcome: Welcome | undefined;
  private goAway: BoneyardError | undefined;
  private isEnded = false;
  private lastId = 0;
  private holds = 1;
  private readonly waiting = new Set<PendingCall>();
  private readonly out = new Map<number, PendingCall>();
  private readonly pings = new Map<number, { resolve: () => void; reject: (error: Error) => void }>();
  private chunks: Uint8Array[] = [];
  private received = 0;
  private header: Reader | undefined;

  constructor(host: string, port: number, options: Required<ClientOptions>, ended: () => void) {
    this.where = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    this.ended = ended;
    this.ready = new Promise((resolve, reject) => {
      this.welcomed = resolve;
      this.unwelcomed = reject;
    });
    // Calls are told by themselves.
    this.ready.catch(() => {});
    this.socket = openSocket({ host, port });
    this.socket.setNoDelay(true);
    this.socket.setKeepAlive(true, KEEPALIVE_MS);
    this.socket.on("data", (data) => this.receive(data));
    // The error of several addresses has no message.
    this.socket.on("error", (error) => this.end(error.message || "no connection"));
    this.socket.on("close", () => this.end(this.goAway?.message ?? "the server closed the connection"));
    const late = (): void => this.end("no connection in time");
    this.connectTimer = setTimeout(late, options.connectTimeoutMs);
    const name = utf8(options.name);
    const hello = frame(KIND.hello, 0, 0, 0, 8 + name.length);
    new DataView(hello.buffer).setUint32(HEADER_BYTES, name.length, true);
    hello.set(name, HEADER_BYTES + 8);
    this.socket.write(Uint8Array.from([0x42, 0x4e, 0x59, 0x44, VERSION, 0, VERSION, 0]));
    this.socket.write(hello);
  }

  takesCalls(): boolean {
    return !this.isEnded && this.goAway === undefined;
  }

  submit(call: PendingCall): void {
    this.hold();
    this.waiting.add(call);
    this.send();
  }

  /** Settles a call before its reply. The reply, if there is one, is dropped. */
  abandon(call: PendingCall, error: unknown): void {
    this.waiting.delete(call);
    if (call.id !== 0 && !call.settled && !this.isEnded) this.socket.write(frame(KIND.cancel, 0, 0, call.id, 0));
    call.settle(error);
  }

  ping(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.isEnded) throw new Lost("Lost", fault("the connection was closed"));
      const id = ++this.lastId;
      this.hold();
      this.pings.set(id, { resolve, reject });
      this.socket.write(frame(KIND.ping, 0, 0, id, 0));
    });
  }

  /** Ends the connection, and all that waits for it. */
  end(reason: string): void {
    if (this.isEnded) return;
    this.isEnded = true;
    clearTimeout(this.connectTimer);
    this.socket.destroy();
    const unsent = this.goAway ?? refused("NotConnected", `${this.where}: ${reason}`);
    const lost = new Lost("Lost", fault(`${this.where}: ${reason}`));
    this.unwelcomed(unsent);
    for (const call of [...this.waiting]) call.settle(unsent);
    for (const call of this.out.values()) call.settle(lost);
    for (const ping of this.pings.values()) ping.reject(lost);
    this.ended();
  }

  /** Keeps the program running until `release`. */
  private hold(): void {
    if (++this.holds === 1) this.socket.ref();
  }

  release(): void {
    if (--this.holds === 0) this.socket.unref();
  }

  /** Sends calls that wait, as far as the window has room. */
  private send(): void {
    if (this.welcome === undefined) return;
    for (const call of this.waiting) {
      if (this.out.size >= WINDOW_CALLS_MAX) return;
      this.waiting.delete(call);
      const { methods, bodyBytesMax } = this.welcome;
      const method = methods.get(call.method);
      const bytes = CALL_PRELUDE_BYTES + call.args.length;
      if (method === undefined) {
        call.settle(refused("UnknownMethod", `the server has no method ${JSON.stringify(call.method)}`));
      } else if (bytes > bodyBytesMax) {
        call.settle(refused("TooLarge", `a call of ${bytes} bytes is over the server's limit of ${bodyBytesMax}`));
      } else {
        call.id = ++this.lastId;
        const data = frame(KIND.call, JSON_FLAG, method.number, call.id, bytes);
        const left = call.until === null ? 0 : Math.max(1, Math.ceil(call.until - performance.now()));
        new DataView(data.buffer).setUint32(HEADER_BYTES + 4, left, true);
        data.set(call.args, HEADER_BYTES + CALL_PRELUDE_BYTES);
        this.out.set(call.id, call);
        this.socket.write(data);
      }
    }
  }

  private receive(data: Uint8Array): void {
    this.chunks.push(data);
    this.received += data.length;
    try {
      while (!this.isEnded && this.readFrame()) {}
    } catch (error) {
      this.end(`the server violates the protocol: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** Reads a header or a body; false if it is not there yet. */
  private readFrame(): boolean {
    if (this.header === undefined) {
      if (this.received < HEADER_BYTES) return false;
      this.header = new Reader(this.take(HEADER_BYTES));
    }
    const { length, kind, flags, code, id } = this.header.header();
    if (length > (kind === KIND.reply ? REPLY_BYTES_MAX : CONTROL_BYTES_MAX)) {
      throw new RangeError(`a frame of ${length} bytes`);
    }
    if (this.received < length) return false;
    const body = new Reader(this.take(length));
    this.header = undefined;
    if (kind === KIND.welcome && this.welcome === undefined) this.onWelcome(code, body);
    else if (kind === KIND.reply) this.onReply(id, code, (flags & JSON_FLAG) !== 0, body);
    else if (kind === KIND.pong) this.onPong(id);
    else if (kind === KIND.goAway) this.onGoAway(code, body);
    else throw new RangeError(`a frame of kind ${kind}`);
    return true;
  }

  /** The next bytes, which have been received. */
  private take(count: number): Uint8Array {
    let first = this.chunks[0] ?? new Uint8Array();
    if (first.length < count) {
      const joined = new Uint8Array(this.received);
      let at = 0;
      for (const chunk of this.chunks) {
        joined.set(chunk, at);
        at += chunk.length;
      }
      first = joined;
      this.chunks = [joined];
    }
    this.received -= count;
    if (first.length === count) this.chunks.shift();
    else this.chunks[0] = first.subarray(count);
    return first.subarray(0, count);
  }

  private onWelcome(version: number, body: Reader): void {
    if (version !== VERSION) throw new RangeError(`version ${version}`);
    body.text();
    const bodyBytesMax = body.u32();
    const methods = new Map<string, ServerMethod>();
    for (let left = body.u64(); left > 0n; left--) {
      const number = body.u16();
      methods.set(body.text(), { number, fingerprint: body.u64() });
    }
    body.finish();
    this.welcome = { bodyBytesMax, methods };
    clearTimeout(this.connectTimer);
    this.welcomed(this.welcome);
    this.release();
    this.send();
  }

  private onReply(id: number, code: number, json: boolean, body: Reader): void {
    const call = this.out.get(id);
    if (call === undefined) throw new RangeError("a reply to no call");
    body.skip(REPLY_PRELUDE_BYTES);
    if (call.settled) {
      this.out.delete(id);
    } else if (code !== 0) {
      const error = statusError(code, json ? (JSON.parse(body.rest()) as Fault) : body.fault());
      this.out.delete(id);
      call.settle(error);
    } else {
      if (!json) throw new RangeError("a result that is not JSON");
      const result = decode(body.rest());
      this.out.delete(id);
      call.settle(undefined, result);
    }
    this.send();
    this.endIfDone();
  }

  private onPong(id: number): void {
    const ping = this.pings.get(id);
    if (!this.pings.delete(id)) return;
    this.release();
    ping?.resolve();
  }

  private onGoAway(code: number, body: Reader): void {
    this.goAway = statusError(code, body.fault());
    this.unwelcomed(this.goAway);
    for (const call of this.waiting) call.settle(this.goAway);
    this.waiting.clear();
    this.endIfDone();
  }

  private endIfDone(): void {
    if (this.goAway !== undefined && this.out.size === 0) this.end(this.goAway.message);
  }
}

/** Values in the layout of the frames that are never JSON. Reading past the end throws RangeError. */
class Reader {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  header(): { length: number; kind: number; flags: number; code: number; id: number } {
    const [length, kind, flags] = [this.view.getUint32(0, true), this.view.getUint8(4), this.view.getUint8(5)];
    return { length, kind, flags, code: this.view.getUint16(6, true), id: Number(this.view.getBigUint64(8, true)) };
  }

  skip(count: number): number {
    const at = this.at;
    if (count > this.bytes.length - at) throw new RangeError("a body that is too short");
    this.at += count;
    return at;
  }

  u16(): number {
    return this.view.getUint16(this.skip(2), true);
  }

  u32(): number {
    return this.view.getUint32(this.skip(4), true);
  }

  u64(): bigint {
    return this.view.getBigUint64(this.skip(8), true);
  }

  text(): string {
    const bytes = Number(this.u64());
    const begin = this.skip(bytes);
    return fromUtf8(this.bytes.subarray(begin, begin + bytes));
  }

  rest(): string {
    return fromUtf8(this.bytes.subarray(this.at));
  }

  fault(): Fault {
    const fault = { code: this.u32(), retry_after_ms: this.u32(), message: this.text() };
    this.finish();
    return fault;
  }

  finish(): void {
    if (this.at !== this.bytes.length) throw new RangeError("a body that is too long");
  }
}

/** A frame with its header, and room for the body. */
function frame(kind: number, flags: number, code: number, id: number, bodyBytes: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + bodyBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bodyBytes, true);
  view.setUint8(4, kind);
  view.setUint8(5, flags);
  view.setUint16(6, code, true);
  view.setBigUint64(8, BigInt(id), true);
  return bytes;
}

function statusError(code: number, fault: Fault): BoneyardError {
  const known: Readonly<Record<number, Status>> = STATUSES;
  const status = known[code] ?? (`Status ${code}` as const);
  return code >= 10 && code < 40 ? new Refused(status, fault) : new Failed(status, fault);
}

function refused(status: Status, message: string): Refused {
  return new Refused(status, fault(message));
}

function fault(message: string): Fault {
  return { code: 0, retry_after_ms: 0, message };
}

function checkedTimeout(timeoutMs: number | null): number | null {
  if (timeoutMs !== null && !(timeoutMs > 0 && timeoutMs <= TIMEOUT_MS_MAX)) {
    throw new RangeError(`a timeout is more than 0 and at most ${TIMEOUT_MS_MAX} milliseconds, or null`);
  }
  return timeoutMs;
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function fromUtf8(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}

/** Each text, with the colon if it is a key, and each number of JSON. */
const TOKENS = /("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g;

/** JSON with all digits of a bigint. NaN and infinities have no form in it. */
function encode(value: unknown): string {
  let big = false;
  const text = JSON.stringify(value, (_, part: unknown) => {
    if (typeof part === "number" && !Number.isFinite(part)) throw new TypeError(`JSON has no ${part}`);
    big ||= typeof part === "bigint";
    return typeof part === "bigint" ? null : part;
  });
  if (!big) return text ?? "null";
  // Texts and bigints are told apart by their first letter, until it is taken away again.
  const mark = (_: string, part: unknown): unknown =>
    typeof part === "bigint" ? `n${part}` : typeof part === "string" ? `s${part}` : part;
  return JSON.stringify(value, mark).replace(TOKENS, (token, text?: string, colon?: string) => {
    if (text === undefined || colon !== undefined) return token;
    return text[1] === "n" ? text.slice(2, -1) : `"${text.slice(2)}`;
  });
}

/** JSON in which whole numbers that a number would round are bigints. */
function decode(text: string): unknown {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  const marked = text.replace(TOKENS, (token, text?: string, colon?: string) => {
    if (text !== undefined) return colon === undefined ? `"s${text.slice(1)}` : token;
    return /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"n${token}"` : token;
  });
  return JSON.parse(marked, (_, part: unknown) => {
    if (typeof part !== "string") return part;
    return part[0] === "n" ? BigInt(part.slice(1)) : part.slice(1);
  });
}

/** Types of the methods as the server had them, for `Client.changed`. */
export const FINGERPRINTS: Readonly<Record<string, bigint>> = {
  "more-notes.async.import": 0x3350a2fabc175724n,
  "notes.any": 0x0000000000000000n,
  "notes.class": 0x0000000000000000n,
  "notes.create": 0xf0514f7dbcbf991fn,
  "notes.delete": 0x240069ef5d48a782n,
  "notes.list": 0x37d2cce416403050n,
  "notes.read": 0x60bd150471c35c4an,
  "server.echo": 0x0000000000000000n,
  "server.errors": 0x739d94232c5ecec4n,
  "server.info": 0x81b6d611c8f66ff4n,
  "server.methods": 0x80189f18e9e3b4d2n,
  "server.ping": 0x9bbb891ac6325750n,
  "server.schema": 0x723cbf3194d4f891n,
};

export type CallOptions = {
  /** Time for the call in milliseconds; null waits without end. */
  readonly timeoutMs?: number | null;
  /** Cancels the call. */
  readonly signal?: AbortSignal;
};

export type Call = (method: string, args: unknown, options?: CallOptions) => Promise<unknown>;

export type BigInteger = number | bigint;

/** The `code` of a Fault whose status is Application. */
export type NoteError = (typeof NoteError)[keyof typeof NoteError];

export const NoteError = {
  /** there is no such note */
  NoSuchNote: 1,
  /** * / nothing */
  None_: 2,
  /** the number is "large" */
  Last: 4294967295,
} as const;

export type Color = "Red" | { "Gray": number } | { "Rgb": [number, number, number] } | { "Named": { "name": string } };

export type Note = { "title": string; "color": Color; "due": BigInteger | null; "tags": Array<string>; "seen by": Record<string, [string, boolean]>; "raw": Array<number> };

export type ErrorCode = { "code": number; "name": string; "text": string };

export type MethodErrors = { "name": string; "codes": Array<ErrorCode> };

export type PortInfo = { "name": string; "address": string; "workers": number };

export type Info = { "server": string; "protocol": number; "uptime_ms": BigInteger; "max_concurrent_trans": BigInteger; "in_flight": BigInteger; "permits_out": number; "permits_peak": number; "answered": BigInteger; "ports": Array<PortInfo>; "sessions": BigInteger; "sessions_timed_out": BigInteger; "sessions_displaced": BigInteger };

export type ShapeTexts = { "request": string; "response": string };

export type MethodSchema = { "fingerprint": BigInteger; "bincode": ShapeTexts | null; "json": ShapeTexts | null; "unknown": string };

export class MoreNotesAsyncService {
  private readonly caller: Call;

  constructor(caller: Call) {
    this.caller = caller;
  }

  async import(args: [Color, Color], options?: CallOptions): Promise<Array<Color>> {
    return (await this.caller("more-notes.async.import", args, options)) as Array<Color>;
  }
}

export class NotesService {
  private readonly caller: Call;

  constructor(caller: Call) {
    this.caller = caller;
  }

  async any(args: unknown, options?: CallOptions): Promise<unknown> {
    return (await this.caller("notes.any", args, options)) as unknown;
  }

  /* types not known: it was declared without a description */
  async class(args: unknown, options?: CallOptions): Promise<unknown> {
    return (await this.caller("notes.class", args, options)) as unknown;
  }

  async create(args: Note, options?: CallOptions): Promise<BigInteger> {
    return (await this.caller("notes.create", args, options)) as BigInteger;
  }

  /* Application errors: NoteError */
  async delete(args: BigInteger, options?: CallOptions): Promise<null> {
    return (await this.caller("notes.delete", args, options)) as null;
  }

  async list(options?: CallOptions): Promise<Array<[BigInteger, string]>> {
    return (await this.caller("notes.list", null, options)) as Array<[BigInteger, string]>;
  }

  async read(args: BigInteger, options?: CallOptions): Promise<Note | null> {
    return (await this.caller("notes.read", args, options)) as Note | null;
  }
}

export class ServerService {
  private readonly caller: Call;

  constructor(caller: Call) {
    this.caller = caller;
  }

  /* types not known: it reads and writes its bytes itself */
  async echo(args: unknown, options?: CallOptions): Promise<unknown> {
    return (await this.caller("server.echo", args, options)) as unknown;
  }

  async errors(args: string, options?: CallOptions): Promise<MethodErrors> {
    return (await this.caller("server.errors", args, options)) as MethodErrors;
  }

  async info(options?: CallOptions): Promise<Info> {
    return (await this.caller("server.info", null, options)) as Info;
  }

  async methods(options?: CallOptions): Promise<Array<string>> {
    return (await this.caller("server.methods", null, options)) as Array<string>;
  }

  async ping(options?: CallOptions): Promise<null> {
    return (await this.caller("server.ping", null, options)) as null;
  }

  async schema(args: string, options?: CallOptions): Promise<MethodSchema> {
    return (await this.caller("server.schema", args, options)) as MethodSchema;
  }
}

export class Services {
  readonly more_notes_async: MoreNotesAsyncService;
  readonly notes: NotesService;
  readonly server: ServerService;

  constructor(caller: Call) {
    this.more_notes_async = new MoreNotesAsyncService(caller);
    this.notes = new NotesService(caller);
    this.server = new ServerService(caller);
  }
}
