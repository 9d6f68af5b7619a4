// Written by `boneyard stubs --lang typescript`. `Call` sends a method's name and its arguments as JSON to the server,
// and gives the result. Whole numbers of 64 bits and more are `bigint` where that reads JSON so; JSON.parse rounds them.

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
