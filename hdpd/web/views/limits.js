// The limits of the transfer rates: which hold, why, and until when; people may set others.

import { attempt, say } from "../dialogs.js";
import { button, fill, h } from "../dom.js";
import { rpc } from "../rpc.js";
import { store } from "../store.js";
import { fullTime, rate } from "../text.js";

const RATES = [
  ["upload", "Upload to all"],
  ["download", "Download from all"],
  ["upload_per_peer", "Upload to each peer"],
  ["download_per_peer", "Download from each peer"],
];
const REASONS = { set: "set by hand", schedule: "by the schedule", base: "by the settings" };

// The section of the status view that shows them.
export function limitsSection(signal) {
  const body = h("div", { class: "card stack" });
  const draw = () => fill(body, store.limits ? [store.may("control") ? form(store.limits) : facts(store.limits), schedule(store.limits)] : h("p", { class: "soft" }, "Not known."));
  store.on(["limits"], draw, signal);
  draw();
  return h("section", { class: "section" }, h("div", { class: "head" }, h("h2", {}, "Limits")), body);
}

// Exactly, as it may be typed in.
function asTyped(value) {
  if (value === null) return "none";
  return value < 1e6 ? `${value / 1e3}kB/s` : `${value / 1e6}MB/s`;
}

const inWords = (value) => (value === null ? "none" : rate(value));

const reason = (limits, key) => h("span", { class: "hint soft small" }, REASONS[limits.reasons[key]] || limits.reasons[key]);

function facts(limits) {
  const { in_force: holding } = limits;
  const line = (name, text, key) => [h("dt", {}, name), h("dd", {}, text, " ", reason(limits, key))];
  return h("dl", { class: "facts-list" }, RATES.map(([key, name]) => line(name, inWords(holding[key]), key)), line("Local network", holding.lan ? "limited, too" : "not limited", "lan"));
}

function schedule({ schedule: spans, next_change: change }) {
  if (!spans.length) return null;
  const limits = (span) => Object.entries(span.limits).map(([key, value]) => (key === "lan" ? `local network ${value ? "limited, too" : "not limited"}` : `${key.replaceAll("_", " ")} ${inWords(value)}`));
  return h(
    "div",
    { class: "small" },
    h("ul", { class: "soft" }, spans.map((span) => h("li", {}, `${span.days} ${span.begins}–${span.ends}: ${limits(span).join(", ") || "no other limits"}`, span.holds && [" ", h("span", { class: "chip good" }, "now")]))),
    change && h("p", { class: "soft" }, `The schedule changes something next at ${fullTime(change)}.`),
  );
}

function form(limits) {
  const { in_force: holding, set } = limits;
  const fields = RATES.map(([key, name]) => [key, name, h("input", { type: "text", placeholder: "2MB/s", autocomplete: "off", spellcheck: "false", value: asTyped(holding[key]) })]);
  const lan = h("input", { type: "checkbox", checked: holding.lan });
  const send = async (wanted, done) => {
    // The event that follows draws everything anew.
    if (await attempt(() => rpc.call("limits.set", wanted))) say(done);
  };
  const made = h(
    "form",
    { class: "form-row" },
    fields.map(([key, name, field]) => h("label", { class: "field" }, name, field, reason(limits, key))),
    h("div", { class: "row" }, h("label", { class: "row" }, lan, "On the local network, too"), h("span", { class: "spacer" }), h("button", { type: "submit" }, "Set the limits"), Object.keys(set).length > 0 && button("Back to the settings", null, () => send({ reset: true }, "The limits are those of the settings again"), { class: "plain" })),
  );
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = lan.checked === holding.lan ? {} : { lan: lan.checked };
    for (const [key, , field] of fields) {
      const typed = field.value.trim() || "none";
      if (typed !== asTyped(holding[key])) wanted[key] = typed;
    }
    if (Object.keys(wanted).length) send(wanted, "The limits hold from now on");
  });
  return made;
}
