// The page: its two views, dropped files, and the state of the service.

import { CaptionView } from "./caption-view.js";
import { DomainsView } from "./domains-view.js";
import { byId } from "./dom.js";
import { setUpDrop } from "./intake.js";
import { onKeyChange, setUpKey } from "./key.js";
import { watchStatus } from "./status.js";

const VIEWS = { caption: "question", domains: "domains-title" };

let view = "caption";

function show(name) {
  view = name;
  for (const one of Object.keys(VIEWS)) byId(`${one}-view`).hidden = one !== name;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${name === "caption" ? "Caption" : "Domains"} · drcap`;
}

const captionView = new CaptionView();
const domainsView = new DomainsView({
  onChange: (domains) => captionView.setDomains(domains),
  onTrouble: (error) => captionView.fail(error),
});

setUpKey();
setUpDrop((file) => (view === "domains" ? domainsView.take(file) : captionView.take(file)));
onKeyChange(() => domainsView.refresh());
addEventListener("hashchange", () => {
  const name = location.hash.slice(1);
  // A link to a place within the page, as that to its content, is no view.
  if (!(name in VIEWS)) return;
  show(name);
  byId(VIEWS[name]).focus();
});
show(location.hash.slice(1) in VIEWS ? location.hash.slice(1) : "caption");
watchStatus(() => domainsView.refresh());
