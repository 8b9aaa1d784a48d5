// The download queue, what is being sent, and the rates of the last minutes.

import { avatar } from "../avatar.js";
import { attempt, confirmed, copy, openMenu } from "../dialogs.js";
import { button, empty, fill, h, icon, iconButton, onceAFrame, setIcon, setText } from "../dom.js";
import { graph } from "../graph.js";
import { encodePath, iconOf } from "../kinds.js";
import { VirtualList } from "../list.js";
import { rpc } from "../rpc.js";
import { store } from "../store.js";
import { baseName, duration, plural, rate, size, stateInWords, visible } from "../text.js";
import { openDownload, savedPath } from "./download.js";

const GRAPH_S = 240;
const NARROW = matchMedia("(max-width: 760px)");
const rowHeight = () => (NARROW.matches ? 104 : 78);

const FILTERS = [
  ["all", "All", () => true],
  ["open", "Unfinished", (row) => row.state !== "done" && row.state !== "failed"],
  ["done", "Done", (row) => row.state === "done"],
  ["failed", "Failed", (row) => row.state === "failed"],
];
const MOVES = [["top", "To the top", "toTop"], ["up", "Up", "up"], ["down", "Down", "down"], ["bottom", "To the bottom", "toBottom"]];

export const isOpen = (row) => row.state !== "done" && row.state !== "failed";

export function showTransfers({ page, view, parts, signal }) {
  const may = store.may("control");
  let filter = "all";
  const picture = graph(GRAPH_S, 110);
  const scale = h("span", { class: "soft small number" });
  const down = h("strong", { class: "number" });
  const up = h("strong", { class: "number" });
  const filters = h("div", { class: "choices", role: "group", "aria-label": "Which downloads" }, FILTERS.map(([value]) =>
    h("button", { type: "button", "data-value": value, "aria-pressed": String(value === filter), onclick: () => {
      filter = value;
      for (const each of filters.children) each.setAttribute("aria-pressed", String(each.dataset.value === value));
      draw();
    } })));
  const bulk = h("div", { class: "row bulk" });
  const list = new VirtualList({
    label: "Downloads, in the order of the queue",
    class: "downloads",
    rowHeight: rowHeight(),
    key: (row) => row.id,
    make: makeRow,
    onopen: (row) => openDownload(row.id),
    onkey: rowKey,
  });
  const blank = h("div");
  const uploads = h("div");
  const spoken = h("div", { class: "sr", "aria-live": "polite" });
  fill(
    page,
    h("header", { class: "head" }, h("h1", {}, "Transfers"), h("span", { class: "spacer" }), h("span", { class: "row small" }, h("span", { class: "dot" }), "Receiving", down, h("span", { class: "dot up" }), "Sending", up)),
    h("div", { class: "card graph-card" }, scale, picture.element, h("div", { class: "axis soft small" }, h("span", {}, `${GRAPH_S / 60} minutes ago`), h("span", {}, "now"))),
    h("section", { class: "section" }, h("div", { class: "head tools" }, filters, h("span", { class: "spacer" }), bulk), h("div", { class: "card list-card" }, blank, list.element), spoken),
    h("section", { class: "section" }, h("div", { class: "head" }, h("h2", {}, "Uploads")), uploads),
  );
  store.on(["downloads", "peers"], onceAFrame(() => signal.aborted || draw()), signal);
  store.on(["uploads"], drawUploads, signal);
  store.on(["rates"], drawRates, signal);
  NARROW.addEventListener("change", () => {
    list.setRowHeight(rowHeight());
    draw();
  }, { signal });
  signal.addEventListener("abort", () => list.resizing.disconnect());
  draw();
  drawUploads();
  drawRates();
  if (parts[0] && store.downloads.has(parts[0])) openDownload(parts[0]);

  function drawRates() {
    const [a, b] = store.rates.at(-1) || [0, 0];
    setText(down, rate(a));
    setText(up, rate(b));
    const top = picture.draw(store.rates);
    setText(scale, rate(top));
  }

  function draw() {
    const rows = [...store.downloads.values()];
    FILTERS.forEach(([, label, fits], place) => setText(filters.children[place], `${label} ${rows.filter(fits).length}`));
    const shown = rows.filter(FILTERS.find(([value]) => value === filter)[2]);
    // It grows with its rows up to most of the window, and scrolls inside beyond that.
    const most = Math.max(3, Math.floor((innerHeight * 0.62) / rowHeight()));
    list.scroller.style.height = `${Math.min(shown.length, most) * rowHeight()}px`;
    list.setItems(shown);
    list.element.hidden = shown.length === 0;
    blank.hidden = shown.length > 0;
    if (!shown.length) {
      fill(blank, rows.length ? empty("filter", "None of these") : empty("download", "Nothing to download", h("p", {}, "Find something at a peer, or search all of them at once."), h("div", { class: "row" }, h("a", { class: "button", href: "#/peers" }, icon("peers"), "Peers"), h("a", { class: "button", href: "#/search" }, icon("search"), "Search"))));
    }
    if (may) drawBulk(rows);
  }

  function drawBulk(rows) {
    const ids = (fits) => rows.filter(fits).map((row) => row.id);
    const choices = [
      ["Pause all", "pause", "pause", ids((row) => isOpen(row) && row.state !== "paused")],
      ["Resume all", "play", "resume", ids((row) => row.state === "paused")],
      ["Retry failed", "refresh", "retry", ids((row) => row.state === "failed")],
      ["Clear done", "check", "clear", ids((row) => row.state === "done")],
    ].filter((choice) => choice[3].length);
    const drawn = choices.map((choice) => choice[0]).join();
    bulk.choices = choices;
    if (bulk.dataset.drawn === drawn) return;
    bulk.dataset.drawn = drawn;
    fill(bulk, choices.map(([label, iconName], place) => button(label, iconName, () => {
      const [, , verb, wanted] = bulk.choices[place];
      change(verb, wanted);
    })));
  }

  // Rows

  function makeRow(element) {
    let row = null;
    const handle = h("span", { class: "handle", title: "Drag to another place", "aria-hidden": "true" }, icon("drag"));
    const picture = icon("file");
    const name = h("a", { class: "entry-name", tabindex: "-1" });
    const from = h("span", { class: "soft small cut" });
    const done = h("i");
    const bar = h("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }, done);
    const numbers = h("span", { class: "small number" });
    const state = h("span", { class: "small state" });
    const toggle = iconButton("Pause", "pause", () => change(toggle.verb, [row.id]), { tabindex: "-1" });
    const more = iconButton("More", "more", () => rowMenu(more, row), { tabindex: "-1", "aria-haspopup": "menu" });
    element.classList.add("download");
    element.append(
      may ? handle : "",
      h("span", { class: "what", role: "gridcell" }, picture, h("span", { class: "entry-text" }, name, from)),
      h("span", { class: "progress", role: "gridcell" }, h("span", { class: "line" }, state, numbers), bar),
      h("span", { class: "entry-tools", role: "gridcell" }, may ? toggle : null, more),
    );
    name.addEventListener("click", (event) => {
      event.preventDefault();
      openDownload(row.id);
    });
    if (may) makeDraggable(handle, element, () => row);
    return (next) => {
      row = next;
      const label = visible(baseName(row.path));
      if (name.title !== label) {
        fill(name, h("bdi", {}, label));
        name.title = label;
        name.href = `#/transfers/${row.id}`;
      }
      setIcon(picture, iconOf({ type: row.type, name: baseName(row.path) }));
      picture.classList.toggle("folder", row.type === "directory");
      setText(from, `${visible(row.peer_name)}${row.type === "directory" && row.files ? ` · ${row.done_files} of ${plural(row.files, "file")}` : ""}`);
      const share = row.size ? row.done_bytes / row.size : row.state === "done" ? 1 : 0;
      done.style.setProperty("--done", String(Math.min(1, share)));
      bar.className = `bar ${row.state === "failed" ? "bad" : row.state === "downloading" || row.state === "done" ? "" : "calm"}`;
      bar.setAttribute("aria-valuenow", String(Math.floor(share * 100)));
      bar.setAttribute("aria-label", label);
      setText(numbers, progressText(row));
      setText(state, stateText(row));
      state.className = `small state ${row.state}`;
      handle.hidden = !isOpen(row);
      const verb = verbOf(row);
      toggle.verb = verb?.[0];
      toggle.hidden = !verb;
      if (verb) {
        setIcon(toggle.firstChild, verb[1]);
        toggle.title = verb[2];
        toggle.setAttribute("aria-label", `${verb[2]} ${label}`);
      }
      more.setAttribute("aria-label", `More about ${label}`);
    };
  }

  function rowMenu(anchor, row) {
    openMenu(anchor, [
      ["Details", "list", () => openDownload(row.id)],
      row.state === "done" && row.type === "file" && ["Open", "open", () => openSaved(row)],
      ...(may && isOpen(row) ? MOVES.map(([to, label, iconName]) => [label, iconName, () => move(row, to)]) : []),
      ["Copy its path", "copy", () => copy(`${row.peer_name}/${row.path}`, "Path")],
      may && !isOpen(row) && ["Clear from the list", "check", () => change("clear", [row.id])],
      may && row.state !== "done" && ["Cancel", "trash", () => cancel(row), { class: "danger" }],
    ]);
  }

  function rowKey(event, row, index, onRow) {
    const to = { ArrowUp: "up", ArrowDown: "down", Home: "top", End: "bottom" }[event.key];
    if (may && event.altKey && to && isOpen(row)) {
      event.preventDefault();
      move(row, to);
    } else if (onRow && may && event.key === " ") {
      event.preventDefault();
      const verb = verbOf(row);
      if (verb) change(verb[0], [row.id]);
    } else if (onRow && may && event.key === "Delete") {
      if (isOpen(row)) cancel(row);
      else change("clear", [row.id]);
    }
  }

  // Order

  async function move(row, to, steps = 1) {
    await attempt(async () => {
      for (let step = 0; step < steps; step += 1) await rpc.call("downloads.move", { id: row.id, to });
      await store.loadDownloads();
      draw();
      const place = list.items.findIndex((each) => each.id === row.id);
      if (list.element.contains(document.activeElement) || document.activeElement === document.body) list.focus(place);
      const order = [...store.downloads.values()].filter(isOpen);
      setText(spoken, `${visible(baseName(row.path))}: place ${order.findIndex((each) => each.id === row.id) + 1} of ${order.length}`);
    });
  }

  function makeDraggable(handle, element, current) {
    handle.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      const height = rowHeight();
      const from = event.clientY;
      const shift = list.scroller.scrollTop;
      const base = element.style.transform;
      const row = current();
      let places = 0;
      handle.setPointerCapture(event.pointerId);
      element.classList.add("dragged");
      const drag = (moved) => {
        const edge = list.scroller.getBoundingClientRect();
        if (moved.clientY < edge.top + 30) list.scroller.scrollTop -= 12;
        if (moved.clientY > edge.bottom - 30) list.scroller.scrollTop += 12;
        const distance = moved.clientY - from + list.scroller.scrollTop - shift;
        places = Math.round(distance / height);
        element.style.transform = `${base} translateY(${distance}px)`;
      };
      const end = (ended) => {
        handle.removeEventListener("pointermove", drag);
        element.classList.remove("dragged");
        list.draw();
        if (ended.type === "pointerup" && places) drop(row, places);
      };
      handle.addEventListener("pointermove", drag);
      handle.addEventListener("pointerup", end, { once: true });
      handle.addEventListener("pointercancel", end, { once: true });
    });
  }

  // Places are those in sight; the queue also holds what the filter hides, and what is not seen.
  function drop(row, places) {
    const inSight = list.items.filter(isOpen).map((each) => each.id);
    const order = [...store.downloads.values()].filter(isOpen).map((each) => each.id);
    const at = inSight.indexOf(row.id);
    const target = inSight[Math.max(0, Math.min(inSight.length - 1, at + places))];
    const steps = order.indexOf(target) - order.indexOf(row.id);
    if (steps === 0) return;
    if (target === order[0]) move(row, "top");
    else if (target === order.at(-1)) move(row, "bottom");
    else move(row, steps < 0 ? "up" : "down", Math.abs(steps));
  }

  function drawUploads() {
    const { active, waiting } = store.uploads;
    if (!active.length && !waiting.length) {
      fill(uploads, h("div", { class: "card" }, h("p", { class: "soft" }, "Nobody is downloading from you at the moment.")));
      return;
    }
    const line = (row, ...details) => h("li", { class: "row-item" }, avatar(row.peer, 34), h("div", { class: "names" }, h("strong", { class: "cut" }, h("bdi", {}, visible(row.peer_name))), h("span", { class: "soft small cut" }, h("bdi", {}, visible(row.path)))), h("span", { class: "spacer" }), ...details, may && iconButton(`Stop sending to ${visible(row.peer_name)}`, "close", () => attempt(() => rpc.call("uploads.cancel", { peer: row.peer }))));
    fill(uploads, h("ul", { class: "card rows" }, active.map((row) => line(row, h("span", { class: "number small" }, `${size(row.offset)} of ${size(row.size)}`), h("strong", { class: "number small" }, rate(row.rate)))), waiting.map((row) => line(row, h("span", { class: "chip" }, `waiting, place ${row.position}`)))));
  }
}

function verbOf(row) {
  if (row.state === "paused") return ["resume", "play", "Resume"];
  if (row.state === "failed") return ["retry", "refresh", "Try again"];
  return row.state === "done" ? null : ["pause", "pause", "Pause"];
}

function progressText(row) {
  if (row.state === "done") return size(row.size);
  if (!row.size) return "";
  return `${size(row.done_bytes)} of ${size(row.size)}`;
}

export function stateText(row) {
  if (row.state === "downloading") {
    const left = row.eta === null ? "" : ` · ${duration(row.eta)} left`;
    return `${rate(row.rate)}${left}`;
  }
  if (row.state === "remote_queued" && row.queue_position) {
    const wait = row.queue_eta ? ` · about ${duration(row.queue_eta)}` : "";
    return `Place ${row.queue_position} in the peer’s queue${wait}`;
  }
  if (row.state === "done" && row.failed_files) return `Done, ${plural(row.failed_files, "file")} failed`;
  return row.error ? `${stateInWords(row.state)}: ${visible(row.error.message)}` : stateInWords(row.state);
}

async function openSaved(row) {
  const path = await attempt(() => savedPath(row));
  if (path) open(`downloads/${encodePath(path)}`, "_blank", "noopener");
}

const change = (verb, ids) => attempt(() => rpc.call(`downloads.${verb}`, { ids }));

async function cancel(row) {
  const text = row.done_files ? `${plural(row.done_files, "finished file")} will stay; the rest is given up.` : "What has been received of it is removed.";
  if (await confirmed(`Cancel ${visible(baseName(row.path))}?`, text, "Cancel the download")) await change("cancel", [row.id]);
}

