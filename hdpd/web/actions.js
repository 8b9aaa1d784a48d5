// What several views let people do.

import { attempt, copy, openDialog, say } from "./dialogs.js";
import { button, fill, h, svg } from "./dom.js";
import { rpc } from "./rpc.js";
import { store } from "./store.js";
import { baseName, plural, visible } from "./text.js";

const PAGE_CALLS = 12; // side by side; hdpd takes 16 of one page

// Queues files and directories, [{peer, path}], and says so.
export async function download(items) {
  let failed = 0;
  let problem = "";
  for (let start = 0; start < items.length; start += PAGE_CALLS) {
    const calls = items.slice(start, start + PAGE_CALLS).map(({ peer, path }) => rpc.call("downloads.add", { peer, path }));
    for (const result of await Promise.allSettled(calls)) {
      if (result.status === "fulfilled") continue;
      failed += 1;
      problem = result.reason.message;
    }
  }
  const queued = items.length - failed;
  const what = items.length === 1 ? visible(baseName(items[0].path)) : plural(queued, "item");
  if (queued) say(`${what} queued for download`, h("a", { href: "#/transfers" }, "Show"));
  if (failed) say(failed === 1 ? problem : `${plural(failed, "item")} could not be queued: ${problem}`, null, true);
}

export const mayDownload = () => store.may("control");

// Makes an invite and shows it as a code and as a picture for a phone's camera.
export async function invite() {
  const made = await attempt(() => rpc.call("peers.invite"));
  if (!made) return;
  const picture = h("div", { class: "qr" });
  const code = h("textarea", { class: "mono code", readonly: true, rows: "4", "aria-label": "Invite code" }, made.code);
  code.addEventListener("focus", () => code.select());
  openDialog("Invite a friend", [
    h("p", { class: "soft" }, "Whoever uses this code meets you at a private topic and sees what you share. Give it to one who may."),
    picture,
    code,
    h("p", { class: "soft small" }, "Your friend enters it on the Peers page, or runs ", h("code", {}, "hdpctl connect CODE"), "."),
    h("footer", {}, button("Copy the code", "copy", () => copy(made.code, "Invite code"), { class: "primary" })),
  ], { class: "invite" });
  const drawn = await attempt(() => rpc.call("peers.invite_qr", { code: made.code }));
  if (drawn) fill(picture, qrPicture(drawn.rows));
}

function qrPicture(rows) {
  const side = rows.length;
  let path = "";
  rows.forEach((row, y) => {
    for (const run of row.matchAll(/1+/g)) path += `M${run.index} ${y}h${run[0].length}v1h-${run[0].length}z`;
  });
  return svg("svg", { viewBox: `-4 -4 ${side + 8} ${side + 8}`, role: "img", "aria-label": "The invite code as a QR code" },
    svg("rect", { x: -4, y: -4, width: side + 8, height: side + 8, fill: "#fff" }),
    svg("path", { d: path, fill: "#000", "shape-rendering": "crispEdges" }));
}

// The form that takes a friend's invite code.
export function connectForm() {
  const field = h("input", { type: "text", placeholder: "A friend’s invite code", "aria-label": "Invite code of a friend", autocomplete: "off", spellcheck: "false", required: true });
  const submit = h("button", { type: "submit" }, "Connect");
  const form = h("form", { class: "row connect" }, field, submit);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    const result = await attempt(() => rpc.call("peers.connect", { code: field.value.trim() }));
    submit.disabled = false;
    if (!result) return;
    field.value = "";
    say("Connecting. This can take a few seconds.");
  });
  return form;
}
