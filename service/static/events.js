// Server-sent events out of an answer that is still arriving.

/** Pass the growing text of an answer to `read`; `onEvent({name, data})` receives each event once it is complete. */
export class EventReader {
  #onEvent;
  #read = 0;

  constructor(onEvent) {
    this.#onEvent = onEvent;
  }

  /** `text` is everything that has arrived so far. */
  read(text) {
    for (let end; (end = text.indexOf("\n\n", this.#read)) >= 0; this.#read = end + 2) {
      const lines = text.slice(this.#read, end).split("\n");
      const values = (field) => lines.filter((line) => line.startsWith(`${field}: `)).map((line) => line.slice(field.length + 2));
      const data = values("data");
      // A comment, which keeps the connection alive, has no data.
      if (data.length) this.#onEvent({ name: values("event").at(-1) ?? "message", data: data.join("\n") });
    }
  }
}
