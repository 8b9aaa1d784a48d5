// Looks at images, plays audio and video, and reads text, straight from the peer.

import { openDialog } from "./dialogs.js";
import { button, fill, h, icon, iconButton, setText } from "./dom.js";
import { fileUrl, previewOf } from "./kinds.js";
import { size, visible } from "./text.js";

const MAX_TEXT_BYTES = 256 * 1024;

// Shows `entry`; the others of `entries` that can be shown are one step away. `download(entry)` is
// offered when given.
export function openPreview(peer, entry, entries, download) {
  const shown = entries.filter((each) => previewOf(each));
  let place = Math.max(0, shown.findIndex((each) => each.path === entry.path));
  const stage = h("div", { class: "stage" });
  const details = h("p", { class: "soft small" });
  const previous = iconButton("Previous (left arrow)", "left", () => step(-1));
  const next = iconButton("Next (right arrow)", "right", () => step(1));
  const get = download && button("Download", "download", () => download(shown[place]), { class: "primary" });
  const footer = h("footer", {}, details, h("span", { class: "spacer" }), previous, next, get);
  const options = { class: "preview", onclose: () => fill(stage) };
  const { dialog, heading } = openDialog("", [stage, footer], options);
  dialog.addEventListener("keydown", (event) => {
    if (event.target.closest("video, audio, pre")) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });

  function step(by) {
    if (!shown[place + by]) return;
    place += by;
    show();
  }

  function show() {
    const current = shown[place];
    fill(heading, h("bdi", {}, visible(current.name)));
    setText(details, `${size(current.size)}${shown.length > 1 ? ` · ${place + 1} of ${shown.length}` : ""}`);
    previous.disabled = place === 0;
    next.disabled = place === shown.length - 1;
    previous.hidden = next.hidden = shown.length < 2;
    MAKERS[previewOf(current)](stage, fileUrl(peer, current.path), current);
  }
  show();
}

const MAKERS = {
  image(stage, url, entry) {
    const image = h("img", { src: url, alt: visible(entry.name), onerror: () => explain(stage, url, image) });
    fill(stage, image);
  },
  video(stage, url) {
    const player = h("video", { src: url, controls: true, autoplay: true, playsinline: true, preload: "metadata" });
    player.addEventListener("error", () => explain(stage, url, player));
    fill(stage, player);
  },
  audio(stage, url, entry) {
    const player = h("audio", { src: url, controls: true, autoplay: true, preload: "metadata", "aria-label": visible(entry.name) });
    player.addEventListener("error", () => explain(stage, url, player));
    fill(stage, h("div", { class: "disc" }, icon("audio")), player);
  },
  async text(stage, url, entry) {
    const box = h("pre", { tabindex: "0", "aria-label": "Text" }, "…");
    fill(stage, box);
    try {
      const answer = await fetch(url, { headers: { Range: `bytes=0-${MAX_TEXT_BYTES - 1}` } });
      if (entry.size > 0 && !answer.ok) throw new Error((await answer.json()).message);
      const bytes = entry.size > 0 ? await answer.arrayBuffer() : new ArrayBuffer(0);
      const more = entry.size > MAX_TEXT_BYTES ? `\n\n… ${size(entry.size - MAX_TEXT_BYTES)} more` : "";
      setText(box, decode(bytes) + more);
    } catch (error) {
      fail(stage, box, error.message);
    }
  },
};

function decode(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    const head = new Uint8Array(bytes.slice(0, 2));
    if (head[0] === 0xff && head[1] === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
    const text = new TextDecoder().decode(bytes);
    // A cut through a character at the end is no reason to take it for another encoding.
    return text.indexOf("\ufffd") >= text.length - 4 ? text : new TextDecoder("windows-1252").decode(bytes);
  }
}

// Finds out why an element could not show a file: its error event does not tell.
async function explain(stage, url, element) {
  let reason = "This browser can’t show files of this kind. Download it to open it with another program.";
  try {
    const answer = await fetch(url, { headers: { Range: "bytes=0-0" } });
    if (!answer.ok) reason = (await answer.json()).message;
  } catch {
    reason = "hdpd is not connected.";
  }
  fail(stage, element, reason);
}

function fail(stage, element, reason) {
  if (!element.isConnected) return;
  fill(stage, h("div", { class: "empty", role: "alert" }, icon("alert"), h("p", {}, reason)));
}
