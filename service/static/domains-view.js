// The view of the domains: lists them, searches each, and changes them if the key allows it.

import * as api from "./api.js";
import { confirmed } from "./confirm.js";
import { announce, bar, byId, count, element, showProblem } from "./dom.js";
import { onKeyChange } from "./key.js";
import { Registration } from "./registration.js";
import { UnderWay } from "./under-way.js";

export class DomainsView {
  #domains = [];
  #shown = null;
  #onChange;
  #onTrouble;
  #problem = byId("domains-problem");
  #registration = new Registration({
    onDone: (name) => this.#registered(name),
    onProblem: (error) => this.#failed(error),
  });

  #underWay = new UnderWay({
    onDone: () => this.refresh(),
    onProblem: (error) => this.#failed(error),
  });

  /** `onChange(domains)` receives every new list, `onTrouble(error)` why there is none. */
  constructor({ onChange, onTrouble }) {
    this.#onChange = onChange;
    this.#onTrouble = onTrouble;
    byId("new-domain").addEventListener("click", () => this.#askFor(null));
    byId("replace").addEventListener("click", () => this.#askFor(this.#shown));
    byId("roll-back").addEventListener("click", () => this.#rollBack());
    byId("delete").addEventListener("click", () => this.#delete());
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#search(byId("query").value.trim());
    });
    onKeyChange(() => this.#allowChanges());
  }

  /** Ask the service for its domains; trouble is shown in this view. */
  async refresh() {
    try {
      this.#domains = await api.domains();
      showProblem(this.#problem, null);
    } catch (error) {
      this.#failed(error);
      this.#onTrouble(error);
      return;
    }
    this.#onChange(this.#domains);
    this.#underWay.find(this.#registration.domain);
    if (!this.#domains.some((one) => one.name === this.#shown)) this.#shown = this.#domains[0]?.name ?? null;
    this.#showList();
    if (!byId("register").hidden || this.#registration.busy) return;
    if (this.#shown) this.#showDomain(this.#shown);
    else this.#openForm(null);
  }

  /** Take a dropped file as a corpus. */
  take(file) {
    if (byId("register").hidden) this.#openForm(null);
    this.#registration.take(file);
  }

  #askFor(name) {
    this.#openForm(name);
    byId(name === null ? "new-name" : "corpus").focus();
  }

  #openForm(name) {
    byId("domain-panel").hidden = true;
    this.#registration.open(name);
    this.#mark(null);
  }

  #registered(name) {
    this.#registration.close();
    this.#shown = name ?? this.#shown;
    byId("domain-panel").hidden = false;
    this.refresh().then(() => byId("panel-title").focus());
  }

  #showList() {
    byId("domain-empty").hidden = this.#domains.length > 0;
    byId("domain-list").replaceChildren(
      ...this.#domains.map(({ name, captions }) => {
        const button = element(
          "button",
          { type: "button", className: "domain" },
          element("span", { className: "domain-name", textContent: name }),
          element("span", { className: "muted", textContent: count(captions, "caption") }),
        );
        button.dataset.name = name;
        button.addEventListener("click", () => this.#choose(name));
        return element("li", {}, button);
      }),
    );
  }

  #choose(name) {
    this.#registration.close();
    showProblem(this.#problem, null);
    this.#showDomain(name);
    byId("panel-title").focus();
  }

  #showDomain(name) {
    const domain = this.#domains.find((one) => one.name === name);
    if (name !== this.#shown || byId("panel-title").textContent !== name) {
      byId("search").reset();
      byId("search-state").textContent = "";
      byId("search-list").replaceChildren();
    }
    this.#shown = name;
    this.#mark(name);
    byId("panel-title").textContent = name;
    byId("domain-unusable").hidden = domain.usable !== false;
    byId("domain-facts").replaceChildren(
      ...facts(domain).map(([term, text]) =>
        element("div", {}, element("dt", { textContent: term }), element("dd", { textContent: text })),
      ),
    );
    byId("domain-panel").hidden = false;
  }

  #mark(name) {
    for (const button of byId("domain-list").querySelectorAll("button")) {
      button.setAttribute("aria-current", String(button.dataset.name === name));
    }
  }

  async #search(query) {
    const name = this.#shown;
    byId("search-state").textContent = "Searching…";
    try {
      const found = await api.search(name, query);
      if (name !== this.#shown) return;
      byId("search-state").textContent = `${count(found.length, "caption")} nearest to “${query}”`;
      byId("search-list").replaceChildren(...found.map(({ caption, score }) => bar(caption, score.toFixed(2), score)));
    } catch (error) {
      byId("search-state").textContent = "";
      this.#failed(error);
    }
  }

  async #rollBack() {
    const name = this.#shown;
    const text = "The previous version serves again, and the current one is removed.";
    if (!(await confirmed(`Roll back ${name}?`, text, "Roll back"))) return;
    await this.#change(async () => {
      const { captions } = await api.rollBack(name);
      return `${name} is back at ${count(captions, "caption")}`;
    });
  }

  async #delete() {
    const name = this.#shown;
    const { captions } = this.#domains.find((one) => one.name === name);
    const text = `Its ${count(captions, "caption")} and its earlier versions are removed. This cannot be undone.`;
    if (!(await confirmed(`Delete ${name}?`, text, "Delete"))) return;
    await this.#change(async () => {
      await api.remove(name);
      byId("domain-panel").hidden = true;
      return `${name} is deleted`;
    });
  }

  async #change(work) {
    try {
      const said = await work();
      await this.refresh();
      announce(said);
      byId(this.#shown ? "panel-title" : "domains-title").focus();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error) {
    showProblem(this.#problem, error);
    if (error?.status === 403) this.#refuseChanges(error.message);
  }

  // One refusal is enough to know: the buttons stay off until there is another key.
  #refuseChanges(why) {
    byId("read-only").textContent = `With this key you can see the domains but not change them: ${why}`;
    this.#allowChanges(false);
  }

  #allowChanges(allowed = true) {
    byId("read-only").hidden = allowed;
    for (const button of document.querySelectorAll("[data-changes]")) button.disabled = !allowed;
  }
}

function facts({ captions, version, created, fingerprint }) {
  const moment = created && new Date(created).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  return [
    ["Captions", captions.toLocaleString("en")],
    ["Registered", moment],
    ["Version", version],
    ["Embedded by", fingerprint],
  ].filter(([, text]) => text);
}
