// Uses the stubs of the test's server; what must not compile is said to fail.
import { NoteError, Services, type Call, type Color, type Note } from "./stubs.js";

declare const call: Call;

export async function use(): Promise<void> {
  const services = new Services(call);
  const color: Color = { Rgb: [1, 2, 3] };
  const note: Note = { title: "a", color, due: null, tags: [], "seen by": { "1": ["x", true] }, raw: [0, 255] };
  const id = await services.notes.create(note);
  const read = await services.notes.read(id);
  const title: string | undefined = read?.title;
  const titles: string[] = (await services.notes.list()).map(([, name]) => name);
  const colors: Color[] = await services.more_notes_async.import(["Red", { Named: { name: "b" } }]);
  const name = (code: NoteError): string => (code === NoteError.NoSuchNote ? "missing" : "other");
  void [title, titles, colors, name(NoteError.None_)];
  // @ts-expect-error: there is no such error
  name(3);
  // @ts-expect-error: a note has a title
  await services.notes.create({ color, due: null, tags: [], "seen by": {}, raw: [] });
  // @ts-expect-error: there is no such color
  await services.more_notes_async.import(["Red", "Green"]);
  // @ts-expect-error: null is no note
  ((await services.notes.read(1)) satisfies Note);
}
