// How this hdpd is doing: addresses, discovery, NAT, access tokens, and the last lines of the log.

import { avatar } from "../avatar.js";
import { attempt, confirmed, copy, openDialog, say } from "../dialogs.js";
import { button, fill, h, icon, iconButton } from "../dom.js";
import { rpc } from "../rpc.js";
import { store } from "../store.js";
import { ago, duration, fullTime, plural, timeOfDay, visible } from "../text.js";
import { limitsSection } from "./limits.js";

const LOG_MS = 2000;

export function showStatus({ page, signal }) {
  const { info } = store;
  const facts = h("dl", { class: "facts-list" });
  const network = h("div", { class: "stack" });
  const log = h("div", { class: "log mono", role: "log", tabindex: "0", "aria-label": "The last lines of the log" });
  const level = h("select", { "aria-label": "Least level shown", onchange: () => drawLog() }, ["debug", "info", "warning", "error"].map((word) => h("option", { value: word }, word)));
  level.value = "info";
  const tokens = h("div");
  const admin = store.may("admin");
  fill(
    page,
    h(
      "header",
      { class: "head" },
      avatar(info.peer_id, 56),
      h("div", { class: "titles" }, h("h1", {}, info.name), h("p", { class: "soft" }, `hdpd ${info.version}`)),
      h("span", { class: "spacer" }),
      store.session.id && button("Log out", "logout", logOut),
      admin && button("Stop hdpd", "power", stop, { class: "danger" }),
    ),
    h(
      "div",
      { class: "two" },
      h("section", { class: "section" }, h("div", { class: "head" }, h("h2", {}, "This hdpd")), h("div", { class: "card" }, facts)),
      h("section", { class: "section" }, h("div", { class: "head" }, h("h2", {}, "Network")), h("div", { class: "card" }, network)),
    ),
    limitsSection(signal),
    admin && h("section", { class: "section" }, h("div", { class: "head" }, h("h2", {}, "Access"), h("span", { class: "spacer" }), button("New token", "plus", newToken), button("Login link", "link", loginLink)), tokens),
    h("section", { class: "section" }, h("div", { class: "head" }, h("h2", {}, "Log"), h("span", { class: "spacer" }), level), h("div", { class: "card log-card" }, log)),
  );

  const drawFacts = () => {
    const now = store.info;
    fill(facts, [
      ["Peer id", h("span", { class: "row" }, h("code", { class: "wrap" }, now.peer_id), iconButton("Copy the peer id", "copy", () => copy(now.peer_id, "Peer id")))],
      ["Running", h("span", { title: fullTime(now.started) }, `for ${duration(Date.now() / 1000 - now.started)}`)],
      ["Downloads go to", h("code", { class: "wrap" }, visible(now.download_dir))],
      ["Control", h("span", { class: "wrap" }, now.controls.join(", "))],
      now.tls_fingerprint && ["TLS fingerprint", h("code", { class: "wrap" }, now.tls_fingerprint)],
      ["QUIC engine", now.quic_engine],
      ["You may", { read: "look at everything", control: "change the queues and the limits", admin: "do everything" }[store.session.role]],
    ].filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
    fill(network, networkFacts(now));
  };
  let lines = [];
  let lastLine = 0;
  let asking = false;

  async function loadLog() {
    if (asking || rpc.state !== "online") return;
    asking = true;
    try {
      const answer = await rpc.call("daemon.log", { since: lastLine });
      if (signal.aborted) return;
      if (answer.seq < lastLine) lines = []; // another run of hdpd
      lines = lines.concat(answer.lines).slice(-1000);
      lastLine = answer.seq;
      if (answer.lines.length) drawLog();
    } catch (error) {
      if (error.word !== "offline" && !lines.length) fill(log, h("p", { class: "soft" }, error.message));
    } finally {
      asking = false;
    }
  }

  function drawLog() {
    const levels = ["debug", "info", "warning", "error"];
    const shown = lines.filter((line) => levels.indexOf(line.level) >= levels.indexOf(level.value));
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    fill(log, shown.length ? shown.map((line) => h("div", { class: `log-line ${line.level}` }, h("time", { title: fullTime(line.time) }, timeOfDay(line.time)), h("b", {}, line.level), h("span", {}, visible(line.text)))) : h("p", { class: "soft" }, "Nothing of this level yet."));
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  async function loadTokens() {
    const answer = await attempt(() => rpc.call("tokens.list"));
    if (!answer) return;
    fill(tokens, h("ul", { class: "card rows" }, answer.tokens.map((token) => h(
      "li",
      { class: "row-item" },
      icon(token.id.startsWith("session-") ? "eye" : "link"),
      h("div", { class: "names" }, h("strong", { class: "mono cut" }, token.id), h("span", { class: "soft small" }, `made ${ago(token.created)}${token.last_used ? `, used ${ago(token.last_used)}` : ", never used"}`)),
      h("span", { class: "spacer" }),
      token.id === store.session.id && h("span", { class: "chip good" }, "this browser"),
      h("span", { class: "chip" }, token.role),
      iconButton(`Revoke ${token.id}`, "trash", async () => {
        if (!(await confirmed(`Revoke ${token.id}?`, "Whoever uses it has to log in anew.", "Revoke"))) return;
        await attempt(() => rpc.call("tokens.revoke", { id: token.id }));
        if (rpc.state === "online") loadTokens();
      }),
    ))));
  }

  async function newToken() {
    const role = h("select", { id: "role" }, [["admin", "do everything"], ["control", "change the queues"], ["read", "look at everything"]].map(([value, label]) => h("option", { value }, `${value}: ${label}`)));
    const make = h("button", { type: "submit", class: "primary" }, "Make it");
    const form = h("form", { class: "stack" }, h("label", { class: "field", for: "role" }, "It may", role), h("footer", {}, make));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const made = await attempt(() => rpc.call("tokens.new", { role: role.value }));
      if (!made) return;
      fill(form, h("p", {}, "This is shown once only:"), h("code", { class: "wrap secret" }, made.token), h("footer", {}, button("Copy", "copy", () => copy(made.token, "Token"), { class: "primary" })));
      loadTokens();
    });
    openDialog("New access token", form);
  }

  async function loginLink() {
    const made = await attempt(() => rpc.call("tokens.login_link"));
    if (!made) return;
    // The way that this browser reached hdpd is one that works.
    const url = location.origin + location.pathname + new URL(made.url).hash;
    openDialog("Login link", [
      h("p", { class: "soft" }, "It logs one browser in, once, within ten minutes."),
      h("code", { class: "wrap secret" }, url),
      h("footer", {}, button("Copy", "copy", () => copy(url, "Login link"), { class: "primary" })),
    ]);
  }

  const timer = setInterval(loadLog, LOG_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  store.on(["info", "nat"], drawFacts, signal);
  store.on(["connection"], () => {
    if (rpc.state !== "online") return;
    loadLog();
    if (admin) loadTokens();
  }, signal);
  drawFacts();
  loadLog();
  if (admin) loadTokens();
}

function networkFacts(info) {
  const rows = [];
  const add = (good, title, text) => rows.push(h("div", { class: "net-row" }, h("span", { class: `dot ${good === null ? "off" : good ? "" : "wait"}` }), h("div", {}, h("h3", {}, title), h("p", { class: "soft small wrap" }, text))));
  const { discovery } = info;
  const { nat } = store;
  if (nat) add(nat.udp_works && nat.mapping !== "hard" ? true : nat.udp_works === null ? null : false, "Internet", visible(nat.sentence));
  add(info.addresses.length > 0, "Addresses", info.addresses.length ? visible(info.addresses.join(", ")) : "none: this machine has no network at the moment");
  add(true, "UDP port", info.udp_ports.join(", "));
  for (const server of discovery.mqtt || []) add(server.connected === true, `Broker ${visible(server.server || server.url || "")}`, server.connected ? "connected" : visible(server.error || "not connected"));
  add(discovery.mdns ? !discovery.mdns.error : null, "Local network (mDNS)", mdnsText(discovery.mdns));
  const own = [...store.peers.values()].filter((peer) => peer.state === "connected").length;
  add(own > 0 ? true : null, "Peers", `${plural(own, "peer")} connected, ${plural(store.peers.size, "peer")} known`);
  return rows;
}

function mdnsText(mdns) {
  if (!mdns) return "switched off";
  return mdns.error ? visible(mdns.error) : "looking for peers on this network";
}

async function logOut() {
  await fetch("logout", { method: "POST" }).catch(() => null);
  location.reload();
}

async function stop() {
  if (!(await confirmed("Stop hdpd?", "Peers are disconnected, and this page stops working until hdpd is started again on its machine.", "Stop it"))) return;
  if (await attempt(() => rpc.call("daemon.shutdown"))) say("hdpd is stopping");
}

