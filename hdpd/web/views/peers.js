// The peers: who is connected and how, who is known and why not connected.

import { connectForm, invite } from "../actions.js";
import { avatar } from "../avatar.js";
import { attempt, confirmed, copy, openDialog, openMenu } from "../dialogs.js";
import { button, empty, fill, h, icon, iconButton } from "../dom.js";
import { rpc } from "../rpc.js";
import { store } from "../store.js";
import { ago, duration, foundInWords, fullTime, pathInWords, plural, shortTopic, visible } from "../text.js";

export function showPeers({ page, signal }) {
  const subtitle = h("p", { class: "soft" });
  const connected = h("div", { class: "peer-grid" });
  const others = h("section", { class: "section" });
  const admin = store.may("admin");
  fill(
    page,
    h(
      "header",
      { class: "head" },
      h("div", { class: "titles" }, h("h1", {}, "Peers"), subtitle),
      h("span", { class: "spacer" }),
      admin && connectForm(),
      admin && button("Invite a friend", "plus", invite, { class: "primary" }),
    ),
    connected,
    others,
  );

  function draw() {
    const peers = [...store.peers.values()].sort((a, b) => a.name.localeCompare(b.name));
    const here = peers.filter((peer) => peer.state === "connected");
    const away = peers.filter((peer) => peer.state !== "connected");
    fill(subtitle, here.length ? `${plural(here.length, "peer")} connected` : "Nobody is connected at the moment");
    const focused = document.activeElement?.closest("[data-peer]")?.dataset.peer;
    if (here.length) fill(connected, here.map(card));
    else fill(connected, peers.length ? nobodyHere() : nobodyYet());
    connected.classList.toggle("none", here.length === 0);
    away.sort((a, b) => rank(a) - rank(b) || (b.last_connected || 0) - (a.last_connected || 0));
    others.hidden = away.length === 0;
    fill(others, h("div", { class: "head" }, h("h2", {}, "Known, not connected")), h("ul", { class: "card rows" }, away.map(row)));
    if (focused) document.querySelector(`[data-peer="${focused}"] a, [data-peer="${focused}"] button`)?.focus();
  }

  store.on(["peers"], draw, signal);
  draw();
}

const rank = (peer) => ["connecting", "known", "blocked"].indexOf(peer.state);

function nobodyYet() {
  return empty(
    "peers",
    "No peers yet: share an invite",
    h("p", {}, "Give a friend an invite code, or join the same topic as your friends. Peers on your network are found by themselves."),
    store.may("admin") && h("div", { class: "row" }, button("Make an invite", "plus", invite, { class: "primary" }), h("a", { class: "button", href: "#/sharing" }, "Join a topic")),
  );
}

function nobodyHere() {
  return empty("peers", "Nobody is connected", h("p", {}, "The peers below are known. hdpd connects as soon as one of them can be reached."));
}

function card(peer) {
  const open = `#/peers/${peer.id}`;
  const since = peer.connected_since && h("span", { title: fullTime(peer.connected_since) }, `for ${duration(Date.now() / 1000 - peer.connected_since)}`);
  return h(
    "article",
    { class: "card peer", "data-peer": peer.id },
    h(
      "div",
      { class: "peer-head" },
      avatar(peer.id, 52),
      h(
        "div",
        { class: "names" },
        h("h2", { class: "cut" }, h("a", { href: open }, h("bdi", {}, visible(peer.name)))),
        h("p", { class: "soft small cut mono", title: peer.id }, peer.id.slice(0, 16)),
      ),
      moreButton(peer),
    ),
    h(
      "p",
      { class: "how" },
      h("span", { class: "dot" }),
      h("span", {}, `Connected ${pathInWords(peer.path)}`),
    ),
    h(
      "p",
      { class: "soft small facts" },
      peer.rtt !== null && peer.rtt !== undefined && h("span", { title: "round trip time" }, `${Math.max(1, Math.round(peer.rtt * 1000))} ms`),
      peer.address && h("span", { class: "mono" }, peer.address),
      since,
    ),
    peer.topics?.length ? h("div", { class: "chips" }, peer.topics.slice(0, 4).map((name) => h("span", { class: "chip" }, icon("topic"), h("bdi", { class: "cut" }, shortTopic(name))))) : null,
    h("a", { class: "button browse", href: open }, icon("folder"), "Browse"),
  );
}

function row(peer) {
  const blocked = peer.state === "blocked";
  const state = { connecting: "Connecting…", blocked: "Blocked", known: "Not connected" }[peer.state];
  const seen = peer.last_connected ? `last here ${ago(peer.last_connected)}` : peer.found_by?.length ? `found by ${foundInWords(peer.found_by)}` : "never met";
  return h(
    "li",
    { class: "row-item", "data-peer": peer.id },
    avatar(peer.id, 38),
    h(
      "div",
      { class: "names" },
      h("strong", { class: "cut" }, h("bdi", {}, visible(peer.name))),
      h("span", { class: "soft small" }, peer.error ? peer.error.message : seen),
    ),
    h("span", { class: "spacer" }),
    h("span", { class: `chip ${blocked ? "bad" : peer.state === "connecting" ? "info" : ""}` }, state),
    moreButton(peer),
  );
}

function moreButton(peer) {
  const anchor = iconButton(`More about ${visible(peer.name)}`, "more", () => openMenu(anchor, [
    ["How it is reached", "status", () => explain(peer)],
    ["Copy the peer id", "copy", () => copy(peer.id, "Peer id")],
    store.may("admin") && peer.state === "connected" && ["Disconnect for now", "close", () => attempt(() => rpc.call("peers.disconnect", { peer: peer.id }))],
    store.may("admin") && peer.state !== "blocked" && ["Block", "block", () => block(peer), { class: "danger" }],
    store.may("admin") && peer.state === "blocked" && ["Unblock", "check", () => change(peer, "peers.unblock")],
  ]), { "aria-haspopup": "menu" });
  return anchor;
}

async function explain(peer) {
  const found = await attempt(() => rpc.call("peers.explain", { peer: peer.id }));
  if (!found) return;
  openDialog(visible(peer.name), [
    h("p", {}, visible(found.reason)),
    found.advice.length ? h("ul", { class: "stack notice" }, found.advice.map((text) => h("li", {}, visible(text)))) : null,
    found.tries.length ? h("ul", { class: "rows small" }, found.tries.slice(-12).map((one) => h(
      "li",
      { class: "row-item" },
      h("span", { class: `dot ${one.worked ? "" : "off"}` }),
      h("div", { class: "names" }, h("span", { class: "mono" }, one.address || ""), h("span", { class: "soft" }, visible(one.result))),
      h("span", { class: "spacer" }),
      h("span", { class: "soft" }, ago(one.time)),
    ))) : null,
  ].filter(Boolean));
}

async function block(peer) {
  const text = "hdpd will have nothing to do with this peer any more, whatever topics it knows. You can take that back later.";
  if (await confirmed(`Block ${visible(peer.name)}?`, text, "Block")) await change(peer, "peers.block");
}

async function change(peer, method) {
  await attempt(() => rpc.call(method, { peer: peer.id }));
  // Of a peer that was not connected comes no event.
  const { peers } = await rpc.call("peers.list", { all: true });
  store.peers = new Map(peers.map((each) => [each.id, each]));
  store.dispatchEvent(new Event("peers"));
}
