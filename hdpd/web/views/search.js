// Searches all connected peers at once; hits appear as they come, grouped by directory.

import { download, mayDownload } from "../actions.js";
import { avatar } from "../avatar.js";
import { empty, fill, h, icon, iconButton, setIcon, setText } from "../dom.js";
import { CHOICES, fileUrl, iconOf, kindOf, previewOf } from "../kinds.js";
import { VirtualList } from "../list.js";
import { openPreview } from "../preview.js";
import { rpc } from "../rpc.js";
import { store } from "../store.js";
import { baseName, count, fullTime, parentOf, plural, size, visible, when } from "../text.js";
import { directoryAddress } from "./browser.js";

const LIMIT = 5000;
const PAUSE_MS = 500; // of typing, before a search begins by itself
const SIZES = [
  ["0", "Any size"],
  ["1e6", "1 MB or more"],
  ["1e7", "10 MB or more"],
  ["1e8", "100 MB or more"],
  ["1e9", "1 GB or more"],
  ["-1e6", "Below 1 MB"],
];

// What was found last stays when one comes back to this view.
const last = { query: "", hits: [], outcome: null };

export function showSearch({ page, view, query, signal }) {
  view.classList.add("fixed");
  page.classList.add("browser");
  let kind = "all";
  let least = 0;
  let search = null; // the id of the running search
  let timer = null;
  let early = []; // notifications that overtook the answer with the id

  const field = h("input", { type: "search", placeholder: "Words of a name, in any order", "aria-label": "Search all connected peers", autocomplete: "off", spellcheck: "false", value: query.get("q") ?? last.query });
  const summary = h("p", { class: "soft small", role: "status" });
  const kinds = h("div", { class: "choices", role: "group", "aria-label": "Type" }, CHOICES.map(([value, label]) =>
    h("button", { type: "button", "data-value": value, "aria-pressed": String(value === kind), onclick: () => choose(value) }, label)));
  const sizes = h("select", { "aria-label": "Size", onchange: () => {
    least = Number(sizes.value);
    draw();
  } }, SIZES.map(([value, label]) => h("option", { value }, label)));
  const list = new VirtualList({
    label: "What was found",
    class: "entries hits",
    rowHeight: 50,
    key: (row) => row.key,
    make: makeRow,
    onopen: (row) => open(row),
    onkey: (event, row, index, onRow) => {
      if (onRow && event.key === "d" && mayDownload() && row.peer !== "self") get(row);
    },
  });
  const blank = h("div");
  fill(
    page,
    h("header", { class: "head" }, h("h1", {}, "Search"), h("form", { class: "with-icon search-field", role: "search", onsubmit: (event) => {
      event.preventDefault();
      begin();
    } }, icon("search"), field)),
    h("div", { class: "head tools" }, kinds, sizes, h("span", { class: "spacer" }), summary),
    h("div", { class: "list-box card" }, blank, list.element),
  );
  field.addEventListener("input", () => {
    clearTimeout(timer);
    if (field.value.trim().length > 2) timer = setTimeout(begin, PAUSE_MS);
  });
  rpc.addEventListener("search.hits", (event) => take(event.detail), { signal });
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    list.resizing.disconnect();
  });
  store.on(["connection"], () => rpc.state === "online" && search !== null && begin(), signal);
  if (!matchMedia("(pointer: coarse)").matches) field.focus();
  if (query.get("q") && query.get("q") !== last.query) begin();
  draw();

  async function begin() {
    clearTimeout(timer);
    const wanted = field.value.trim();
    if (!wanted) return;
    history.replaceState(null, "", `#/search?q=${encodeURIComponent(wanted)}`);
    Object.assign(last, { query: wanted, hits: [], outcome: null });
    search = "";
    early = [];
    draw();
    try {
      const started = await rpc.call("files.search", { query: wanted, limit: LIMIT, stream: true });
      if (last.query !== wanted || signal.aborted) return;
      search = started.search;
      early.forEach(take);
    } catch (error) {
      search = null;
      last.outcome = { problem: error.message };
      draw();
    }
  }

  function take(found) {
    if (search === "") early.push(found);
    if (!search || found.search !== search) return;
    last.hits.push(...found.hits);
    if (found.done) {
      last.outcome = found;
      search = null;
    }
    draw();
  }

  function choose(value) {
    kind = value;
    for (const each of kinds.children) each.setAttribute("aria-pressed", String(each.dataset.value === value));
    draw();
  }

  // Rows: a header for each directory, the hits in it below.
  function rows() {
    const fits = CHOICES.find(([value]) => value === kind)[2];
    const groups = new Map();
    for (const hit of last.hits) {
      hit.name ??= baseName(hit.path);
      if (!fits(kindOf(hit)) || (least > 0 && hit.size < least) || (least < 0 && hit.size >= -least)) continue;
      const directory = parentOf(hit.path);
      const key = `${hit.peer}/${directory}`;
      if (!groups.has(key)) groups.set(key, { key: `g${key}`, group: true, peer: hit.peer, peer_name: hit.peer_name, path: directory, hits: [] });
      hit.key ??= `h${hit.peer}/${hit.path}`;
      groups.get(key).hits.push(hit);
    }
    return [...groups.values()].flatMap((group) => [group, ...group.hits]);
  }

  function draw() {
    const shown = rows();
    list.setItems(shown);
    const hits = shown.reduce((sum, row) => sum + (row.group ? 0 : 1), 0);
    const running = search !== null;
    const { outcome } = last;
    const silent = (outcome?.unanswered || []).map((id) => visible(store.peers.get(id)?.name || id.slice(0, 8)));
    setText(summary, [
      last.query && (hits || !running) ? plural(hits, "hit") : "",
      running ? "searching…" : "",
      outcome?.truncated ? "there are more: add a word" : "",
      silent.length ? `no answer from ${silent.join(", ")}` : "",
    ].filter(Boolean).join(" · "));
    list.element.hidden = shown.length === 0;
    blank.hidden = shown.length > 0;
    if (shown.length) return;
    const connected = [...store.peers.values()].filter((peer) => peer.state === "connected").length;
    if (outcome?.problem) fill(blank, h("div", { role: "alert" }, empty("alert", "The search did not work", h("p", {}, outcome.problem))));
    else if (running) fill(blank, h("div", { class: "empty" }, h("div", { class: "spinner" }), h("p", {}, `Asking ${plural(connected, "peer")}…`)));
    else if (last.query && last.hits.length) fill(blank, empty("filter", "Nothing fits these filters", h("p", {}, `${count(last.hits.length)} hits are hidden by them.`)));
    else if (last.query) fill(blank, empty("search", "Nothing was found", h("p", {}, connected ? "Try fewer words, or parts of them." : "Nobody is connected at the moment.")));
    else fill(blank, empty("search", "Find something", h("p", {}, `Parts of words are enough, capitals and accents don’t matter: “bjork live” finds “Björk/Live 1997”. ${connected ? `${plural(connected, "peer")} will be asked.` : "Nobody is connected at the moment."}`)));
  }

  function makeRow(element) {
    let row = null;
    const picture = icon("file");
    const face = h("span", { class: "face" });
    const name = h("a", { class: "entry-name", tabindex: "-1" });
    const more = h("span", { class: "entry-more soft small" });
    const bytes = h("span", { class: "entry-size number", role: "gridcell" });
    const time = h("span", { class: "entry-time soft", role: "gridcell" });
    const look = iconButton("Preview", "eye", () => open(row), { tabindex: "-1" });
    const fetchIt = iconButton("Download", "download", () => get(row), { tabindex: "-1" });
    element.append(h("span", { class: "entry-main", role: "gridcell" }, face, picture, h("span", { class: "entry-text" }, name, more)), bytes, time, h("span", { class: "entry-tools", role: "gridcell" }, look, mayDownload() ? fetchIt : null));
    element.addEventListener("click", (event) => {
      if (event.target.closest("button") || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      open(row);
    });
    return (next) => {
      if (row === next) return;
      row = next;
      const group = Boolean(row.group);
      const label = visible(group ? row.path || "/" : row.name);
      element.className = `list-row entry${group ? " group" : ""}`;
      fill(face, group && avatar(row.peer, 28));
      picture.toggleAttribute("hidden", group);
      picture.style.display = group ? "none" : "";
      fill(name, h("bdi", {}, label));
      name.title = label;
      name.href = group || row.type === "directory" ? directoryAddress(row.peer, row.path) : fileUrl(row.peer, row.path);
      setText(more, group ? visible(row.peer_name) : row.type === "directory" ? plural(row.files, "file") : "");
      setText(bytes, group ? "" : size(row.size));
      setText(time, group ? plural(row.hits.length, "hit") : when(row.mtime));
      time.title = group ? "" : fullTime(row.mtime);
      look.hidden = group || !previewOf(row);
      look.setAttribute("aria-label", `Preview ${label}`);
      fetchIt.hidden = row.peer === "self" || (group && !row.path);
      fetchIt.setAttribute("aria-label", `Download ${label}`);
      if (!group) {
        setIcon(picture, iconOf(row));
        picture.classList.toggle("folder", row.type === "directory");
      }
    };
  }

  const get = (row) => download([{ peer: row.peer, path: row.path }]);

  function open(row) {
    if (row.group || row.type === "directory") location.hash = directoryAddress(row.peer, row.path);
    else if (previewOf(row)) openPreview(row.peer, row, last.hits.filter((hit) => hit.peer === row.peer && parentOf(hit.path) === parentOf(row.path)), mayDownload() && get);
    else location.hash = directoryAddress(row.peer, parentOf(row.path));
  }
}
