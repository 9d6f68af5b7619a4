// Uses the client for Node and the stubs of the test's server; what must not compile is said to fail.
import { BoneyardError, Client, Failed, FINGERPRINTS, NoteError, Refused, Services } from "./node.js";
import type { Color, Note, Status } from "./node.js";

export async function use(address: string): Promise<void> {
  const client = new Client(address, { name: "types", timeoutMs: null });
  const services = new Services(client.call);
  const color: Color = { Rgb: [1, 2, 3] };
  const note: Note = {
    title: "a",
    color,
    due: 2n ** 64n - 1n,
    tags: ["x"],
    "seen by": { "1": ["x", true] },
    raw: [0, 255],
  };
  const id = await services.notes.create(note, { timeoutMs: 5_000, signal: new AbortController().signal });
  const read: Note | null = await services.notes.read(id);
  if (JSON.stringify(read?.tags) !== '["x"]' || read?.due !== 2n ** 64n - 1n) throw new Error("another note");
  await services.server.ping({ timeoutMs: 5_000 });
  const changed: string[] = await client.changed({ ...FINGERPRINTS, "notes.list": 1n, "notes.gone": 1n });
  if (changed.join() !== "notes.list,notes.gone") throw new Error(changed.join());
  try {
    await client.call("notes.gone", null);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const [status, hint]: [Status, number | undefined] = [error.status, error.retryAfterMs];
    if (status !== "UnknownMethod" || hint !== undefined || !(error instanceof BoneyardError)) throw error;
  }
  // @ts-expect-error: there is no such status
  ("QueueFul" satisfies Status);
  // @ts-expect-error: seconds are no option
  client.call("server.ping", null, { timeout: 5 });
  // @ts-expect-error: a result is not known to be text
  ((await client.call("server.ping", null)) satisfies string);
  const missing: unknown = await services.notes.delete(1).catch((error: unknown) => error);
  if (!(missing instanceof Failed) || missing.code !== NoteError.NoSuchNote) throw missing;
  client.close();
}

void use(process.argv[2] ?? "");
// The types of Node are not installed.
declare const process: { argv: string[] };
