// The directories of a peer, or of this hdpd: a long list with filter, order and selection.

import { download, mayDownload } from "../actions.js";
import { avatar } from "../avatar.js";
import { button, empty, fill, h, icon, iconButton, setIcon, setText } from "../dom.js";
import { encodePath, fileUrl, iconOf, previewOf } from "../kinds.js";
import { VirtualList } from "../list.js";
import { openPreview } from "../preview.js";
import { eachPage, rpc } from "../rpc.js";
import { store } from "../store.js";
import { count, fold, fullTime, parentOf, plural, size, visible, when } from "../text.js";

const FIRST_PAGE = 500; // soon in sight
const PAGE = 10000;
const NARROW = matchMedia("(max-width: 760px)");
const rowHeight = () => (NARROW.matches ? 58 : 46);

export const directoryAddress = (peer, path) => `#/peers/${peer}${path && `/${encodePath(path)}`}`;

export function showBrowser({ page, view, parts, signal }) {
  const [peer, ...names] = parts;
  const path = names.join("/");
  const self = peer === "self";
  const mayGet = !self && mayDownload();
  view.classList.add("fixed");

  let entries = [];
  let shown = [];
  let sort = "name";
  let complete = false;
  let loading = false;
  let stale = false; // it changed while it was loaded
  let turn = 0;
  const selected = new Map();

  const filter = h("input", { type: "search", placeholder: "Filter this directory", "aria-label": "Filter this directory", autocomplete: "off", spellcheck: "false" });
  const summary = h("p", { class: "soft small", role: "status" });
  const actions = h("div", { class: "row" });
  const headers = ["name", "size", "mtime"].map((key) => sortHeader(key, { name: "Name", size: "Size", mtime: "Changed" }[key]));
  const all = h("input", { type: "checkbox", "aria-label": "Select everything", onchange: () => selectAll(all.checked) });
  const header = h(
    "div",
    { class: "list-head entry", role: "row" },
    mayGet ? h("span", { class: "pick", role: "columnheader", "aria-label": "Select" }, all) : null,
    headers,
    h("span", { role: "columnheader", class: "entry-tools" }, h("span", { class: "sr" }, "Actions")),
  );
  const list = new VirtualList({
    label: "Files and directories",
    class: "entries",
    rowHeight: rowHeight(),
    header,
    key: (entry) => entry.path,
    make: makeRow,
    onopen: open,
    onkey: rowKey,
  });
  const trouble = h("div", { hidden: true });
  const body = h("div", { class: "list-box card" }, trouble, list.element);
  list.element.classList.toggle("pickable", mayGet);
  fill(page, h("header", { class: "head" }, crumbs(), h("span", { class: "spacer" }), h("label", { class: "with-icon filter" }, icon("filter"), filter)), h("div", { class: "head tools" }, summary, h("span", { class: "spacer" }), actions), body);
  page.classList.add("browser");

  filter.addEventListener("input", () => refresh());
  filter.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      list.focus(0);
    }
  });
  NARROW.addEventListener("change", () => list.setRowHeight(rowHeight()), { signal });
  signal.addEventListener("abort", () => {
    turn += 1;
    list.resizing.disconnect();
  });
  let peerState = store.peers.get(peer)?.state;
  store.on(["peers", "connection"], () => {
    const state = store.peers.get(peer)?.state;
    const came = state === "connected" && peerState !== "connected";
    peerState = state;
    if (came || (!trouble.hidden && rpc.state === "online")) load();
  }, signal);
  store.on(["loaded"], renew, signal); // after events may have been missed
  rpc.addEventListener("event", ({ detail: { type, data } }) => {
    if (type === "listing.changed" && data.peer === peer && (data.path === null || data.path === path)) renew();
  }, { signal });
  load();

  // Loading

  // Lists again what is shown, because it changed.
  function renew() {
    if (loading) stale = true;
    else load({ quiet: true });
  }

  // When it is `quiet` all stays as it is until everything has come.
  async function load({ quiet = false } = {}) {
    const mine = ++turn;
    let fresh = [];
    loading = true;
    stale = false;
    if (!quiet) {
      complete = false;
      if (!entries.length) setText(summary, "Loading…");
    }
    try {
      const take = (page) => {
        fresh = fresh.length ? fresh.concat(page) : page;
        if (quiet) return;
        showTrouble(null);
        entries = fresh;
        refresh();
      };
      const current = () => mine === turn;
      const first = await rpc.call("files.list", { peer, path, sort, limit: FIRST_PAGE });
      if (!current()) return;
      take(first.entries);
      if (first.next_cursor !== null) {
        await eachPage("files.list", "entries", { peer, path, sort, limit: PAGE, cursor: first.next_cursor }, take, current);
      }
      if (!current()) return;
      complete = true;
      if (quiet) replace(fresh);
      else refresh();
    } catch (error) {
      // What was there before is better than nothing, when it is about to be asked for again.
      if (mine !== turn || error.word === "offline" || (quiet && ["busy", "timed_out"].includes(error.word))) return;
      showTrouble(error);
    } finally {
      if (mine === turn) {
        loading = false;
        if (stale) renew();
      }
    }
  }

  function replace(fresh) {
    entries = fresh;
    showTrouble(null);
    if (selected.size) {
      const there = new Map(fresh.map((entry) => [entry.path, entry]));
      for (const chosen of [...selected.keys()]) {
        if (there.has(chosen)) selected.set(chosen, there.get(chosen));
        else selected.delete(chosen);
      }
    }
    refresh({ quiet: true });
  }

  function showTrouble(error) {
    trouble.hidden = error === null;
    list.element.hidden = error !== null;
    if (!error) return;
    setText(summary, "");
    fill(trouble, h("div", { class: "empty", role: "alert" }, icon("alert"), h("h2", {}, error.word === "peer_not_connected" ? "The peer is not connected" : "This can’t be shown"), h("p", {}, error.word === "peer_not_connected" ? "It is shown as soon as the peer is back." : visible(error.message)), button("Try again", "refresh", load)));
  }

  function refresh({ quiet = false } = {}) {
    const wanted = fold(filter.value.trim());
    shown = wanted ? entries.filter((entry) => (entry.folded ??= fold(entry.name)).includes(wanted)) : entries;
    if (quiet) list.replaceItems(shown);
    else list.setItems(shown);
    const nothing = complete && shown.length === 0;
    if (nothing && !entries.length) {
      trouble.hidden = false;
      list.element.hidden = true;
      fill(trouble, path === "" ? nothingShared() : empty("folder", "This directory is empty"));
    } else if (trouble.hidden === false) showTrouble(null);
    drawSummary();
  }

  function nothingShared() {
    if (!self) return empty("folder", "Nothing is shared", h("p", {}, "This peer offers no directory at the moment."));
    return empty("folder", "You share nothing yet", h("a", { class: "button", href: "#/sharing" }, icon("plus"), "Share a directory"));
  }

  function drawSummary() {
    const chosen = [...selected.values()];
    if (chosen.length) {
      setText(summary, `${plural(chosen.length, "item")} selected · ${size(chosen.reduce((sum, entry) => sum + entry.size, 0))}`);
    } else {
      const total = shown.reduce((sum, entry) => sum + entry.size, 0);
      const of = shown.length !== entries.length ? ` of ${count(entries.length)}` : "";
      setText(summary, `${count(shown.length)}${of} ${shown.length === 1 && !of ? "item" : "items"} · ${size(total)}${complete ? "" : " · loading…"}`);
    }
    if (mayGet) {
      all.checked = chosen.length > 0 && chosen.length === shown.length;
      all.indeterminate = chosen.length > 0 && !all.checked;
      const items = () => chosen.map((entry) => ({ peer, path: entry.path }));
      if (chosen.length) {
        fill(actions, button("Clear selection", null, () => selectAll(false), { class: "plain" }), button("Download selected", "download", async () => {
          const wanted = items();
          selectAll(false);
          await download(wanted);
        }, { class: "primary" }));
      } else fill(actions, path !== "" && button("Download all of this", "download", () => download([{ peer, path }])));
    }
  }

  // Rows

  function makeRow(row) {
    let entry = null;
    row.classList.add("entry");
    const box = h("input", { type: "checkbox", tabindex: "-1", onchange: () => select(entry, box.checked) });
    const picture = icon("file");
    const name = h("a", { class: "entry-name", tabindex: "-1" });
    const bytes = h("span", { class: "entry-size number", role: "gridcell" });
    const time = h("span", { class: "entry-time soft", role: "gridcell" });
    const look = iconButton("Preview", "eye", () => open(entry), { tabindex: "-1" });
    const get = iconButton("Download", "download", () => download([{ peer, path: entry.path }]), { tabindex: "-1" });
    row.append(
      ...(mayGet ? [h("span", { class: "pick", role: "gridcell" }, box)] : []),
      h("span", { class: "entry-main", role: "gridcell" }, picture, h("span", { class: "entry-text" }, name, h("span", { class: "entry-more soft small" }))),
      bytes,
      time,
      h("span", { class: "entry-tools", role: "gridcell" }, look, mayGet ? get : null),
    );
    const more = row.querySelector(".entry-more");
    row.addEventListener("click", (event) => {
      if (event.target.closest("a, button, input, .pick") || getSelection()?.toString()) return;
      open(entry);
    });
    name.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      open(entry);
    });
    return (next) => {
      const chosen = selected.has(next.path);
      box.checked = chosen;
      if (mayGet) row.setAttribute("aria-selected", String(chosen));
      if (entry === next) return;
      entry = next;
      const label = visible(entry.name);
      const directory = entry.type === "directory";
      fill(name, h("bdi", {}, label));
      name.title = label;
      name.href = directory ? directoryAddress(peer, entry.path) : fileUrl(peer, entry.path);
      box.setAttribute("aria-label", `Select ${label}`);
      look.setAttribute("aria-label", `Preview ${label}`);
      get.setAttribute("aria-label", `Download ${label}`);
      look.hidden = !previewOf(entry);
      setIcon(picture, iconOf(entry));
      picture.classList.toggle("folder", directory);
      setText(bytes, size(entry.size));
      bytes.title = `${count(entry.size)} bytes`;
      setText(time, when(entry.mtime));
      time.title = fullTime(entry.mtime);
      const files = directory ? `${plural(entry.files, "file")} · ` : "";
      setText(more, NARROW.matches ? `${files}${size(entry.size)} · ${when(entry.mtime)}` : directory ? plural(entry.files, "file") : "");
    };
  }

  function open(entry) {
    if (entry.type === "directory") location.hash = directoryAddress(peer, entry.path);
    else if (previewOf(entry)) openPreview(peer, entry, shown, mayGet && ((each) => download([{ peer, path: each.path }])));
    else if (mayGet) download([{ peer, path: entry.path }]);
    else location.assign(fileUrl(peer, entry.path));
  }

  function rowKey(event, entry, index, onRow) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (onRow && event.key === " " && mayGet) {
      event.preventDefault();
      select(entry, !selected.has(entry.path));
      list.draw();
    } else if (onRow && event.key === "d" && mayGet) download([{ peer, path: entry.path }]);
    else if (onRow && event.key === "Backspace") location.hash = path ? directoryAddress(peer, parentOf(path)) : "#/peers";
    else if (onRow && event.key === "/") {
      event.preventDefault();
      filter.focus();
    }
  }

  function select(entry, chosen) {
    if (chosen) selected.set(entry.path, entry);
    else selected.delete(entry.path);
    drawSummary();
    list.draw();
  }

  function selectAll(chosen) {
    selected.clear();
    if (chosen) for (const entry of shown) selected.set(entry.path, entry);
    drawSummary();
    list.draw();
  }

  // The head

  function sortHeader(key, label) {
    const control = h("button", { type: "button", class: "sort" }, label, icon("up"));
    const cell = h("span", { role: "columnheader", class: `entry-${key === "mtime" ? "time" : key}` }, control);
    const mark = () => {
      const ours = sort.replace("-", "") === key;
      cell.setAttribute("aria-sort", ours ? (sort[0] === "-" ? "descending" : "ascending") : "none");
    };
    control.addEventListener("click", () => {
      // Sizes and times are asked for from the top mostly.
      const first = key === "name" ? key : `-${key}`;
      const second = key === "name" ? "-name" : key;
      sort = sort === first ? second : first;
      headers.forEach((each) => each.mark());
      list.scroller.scrollTop = 0;
      load();
    });
    cell.mark = mark;
    mark();
    return cell;
  }

  function crumbs() {
    const known = store.peers.get(peer);
    const title = self ? "Your shares" : visible(known?.name || `${peer.slice(0, 8)}…`);
    const steps = names.map((name, index) => [visible(name), directoryAddress(peer, names.slice(0, index + 1).join("/"))]);
    const last = steps.length - 1;
    return h(
      "nav",
      { class: "crumbs", "aria-label": "Where you are" },
      iconButton("Up", "arrowLeft", () => (location.hash = path ? directoryAddress(peer, parentOf(path)) : self ? "#/sharing" : "#/peers")),
      avatar(self ? store.info.peer_id : peer, 34),
      h(
        "ol",
        {},
        h("li", {}, steps.length ? h("a", { href: directoryAddress(peer, "") }, title) : h("h1", {}, title)),
        steps.map(([name, address], index) => h("li", {}, icon("right"), index === last ? h("h1", { title: name }, h("bdi", {}, name)) : h("a", { href: address }, h("bdi", {}, name)))),
      ),
    );
  }
}

