// One download: what it is, how far it is, and its files.

import { openDialog } from "../dialogs.js";
import { empty, fill, h, icon, onceAFrame, setIcon, setText } from "../dom.js";
import { encodePath, iconOf } from "../kinds.js";
import { VirtualList } from "../list.js";
import { eachPage, rpc } from "../rpc.js";
import { store } from "../store.js";
import { baseName, day, plural, size, visible } from "../text.js";
import { stateText } from "./transfers.js";

const RELOAD_MS = 2000;
const STATES = { waiting: "waiting", downloading: "downloading", done: "done", failed: "failed", paused: "paused" };

// Where a finished file is, below the download directory.
export async function savedPath(row) {
  const { files } = await rpc.call("downloads.files", { id: row.id, limit: 1 });
  return placeOf(row, files[0]);
}

function placeOf(row, file) {
  const parts = [row.to, baseName(row.path), file.path].filter(Boolean);
  if (file.saved_as) parts[parts.length - 1] = parts.at(-1).replace(/[^/]*$/, () => file.saved_as);
  return parts.join("/");
}

export function openDownload(id) {
  const ended = new AbortController();
  const facts = h("p", { class: "soft" });
  const state = h("p", {});
  const bar = h("i");
  const list = new VirtualList({ label: "Files of this download", class: "files", rowHeight: 44, key: (file) => file.number, make: makeRow, onopen: (file) => file.link && open(file.link, "_blank", "noopener") });
  const blank = h("div");
  const { close } = openDialog(visible(baseName(store.downloads.get(id).path)), [facts, state, h("div", { class: "bar" }, bar), blank, list.element], {
    class: "wide",
    onclose: () => {
      ended.abort();
      list.resizing.disconnect();
    },
  });
  let files = [];
  let timer = null;
  const drawSoon = onceAFrame(draw);
  store.on(["downloads"], () => {
    drawSoon();
    // Files have no events of their own.
    timer ??= setTimeout(load, RELOAD_MS);
  }, ended.signal);
  ended.signal.addEventListener("abort", () => clearTimeout(timer));
  draw();
  load();

  async function load() {
    timer = null;
    const fresh = [];
    try {
      await eachPage("downloads.files", "files", { id, limit: 1000 }, (page) => fresh.push(...page), () => !ended.signal.aborted);
    } catch (error) {
      if (error.word === "download_not_found") close();
      return;
    }
    files = fresh;
    draw();
  }

  function draw() {
    const row = store.downloads.get(id);
    if (!row) return close();
    setText(facts, [`from ${visible(row.peer_name)}`, visible(row.path), row.size === null ? "" : size(row.size), `added ${day(row.added)}`].filter(Boolean).join(" · "));
    setText(state, stateText(row));
    bar.style.setProperty("--done", String(row.size ? Math.min(1, row.done_bytes / row.size) : row.state === "done" ? 1 : 0));
    const shown = files.filter((file) => file.type === "file");
    for (const file of shown) file.link = file.state === "done" ? `downloads/${encodePath(placeOf(row, file))}` : null;
    list.scroller.style.height = `${Math.min(shown.length, Math.max(3, Math.floor((innerHeight - 330) / 44))) * 44}px`;
    list.setItems(shown);
    list.element.hidden = shown.length === 0;
    fill(blank, shown.length === 0 && empty("folder", "No files yet", h("p", {}, "The peer has not been asked what is in it.")));
    return undefined;
  }

  function makeRow(element) {
    const picture = icon("file");
    const name = h("a", { class: "entry-name", target: "_blank", rel: "noopener", tabindex: "-1" });
    const state = h("span", { class: "small soft cut", role: "gridcell" });
    const bytes = h("span", { class: "small number", role: "gridcell" });
    element.classList.add("file-row");
    element.append(h("span", { class: "what", role: "gridcell" }, picture, name), state, bytes);
    return (file) => {
      const path = visible(file.path || baseName(store.downloads.get(id)?.path || ""));
      setIcon(picture, iconOf({ type: "file", name: path }));
      if (name.title !== path) fill(name, h("bdi", {}, path));
      name.title = path;
      if (file.link) name.href = file.link;
      else name.removeAttribute("href");
      const restarts = file.restarts ? `, changed ${plural(file.restarts, "time")} at the peer` : "";
      setText(state, (file.error ? visible(file.error.message) : STATES[file.state] || file.state) + restarts);
      setText(bytes, file.state === "done" || !file.done_bytes ? size(file.size) : `${size(file.done_bytes)} of ${size(file.size)}`);
    };
  }
}
