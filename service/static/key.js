// The API key: in this tab's session only, sent as a bearer token, asked for when the service wants one.

import { byId } from "./dom.js";

const STORED = "drcap.key";
const changed = new EventTarget();

export const currentKey = () => sessionStorage.getItem(STORED) ?? "";

export const onKeyChange = (listener) => changed.addEventListener("change", listener);

let asking = null;

/** Ask for a key; true when one was given. Requests that are refused at the same time share one dialog. */
export function askForKey(why) {
  asking ??= open(why).finally(() => (asking = null));
  return asking;
}

export function setUpKey() {
  const button = byId("key-button");
  button.hidden = !currentKey();
  button.addEventListener("click", () => askForKey("Kept in this tab only, until you close it. An empty key removes it."));
}

function open(why) {
  const dialog = byId("key-dialog");
  const field = byId("key");
  byId("key-why").textContent = why;
  byId("key-button").hidden = false;
  field.value = currentKey();
  dialog.returnValue = "";
  dialog.showModal();
  field.select();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const used = dialog.returnValue === "use";
        const value = field.value.trim();
        field.value = "";
        if (used && value) sessionStorage.setItem(STORED, value);
        else if (used) sessionStorage.removeItem(STORED);
        if (used) changed.dispatchEvent(new Event("change"));
        resolve(used && value !== "");
      },
      { once: true },
    );
  });
}
