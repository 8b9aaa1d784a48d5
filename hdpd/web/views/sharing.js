// What is shared here, and with whom: shares, topics, invites.

import { connectForm, invite } from "../actions.js";
import { attempt, confirmed, copy, openMenu, say } from "../dialogs.js";
import { button, empty, fill, h, icon, iconButton } from "../dom.js";
import { rpc } from "../rpc.js";
import { store } from "../store.js";
import { ago, count, fullTime, isMadeTopic, plural, shortTopic, size, visible } from "../text.js";
import { directoryAddress } from "./browser.js";

export function showSharing({ page, signal }) {
  const admin = store.may("admin");
  const shares = h("div", { class: "share-grid" });
  const topics = h("div");
  fill(
    page,
    h(
      "header",
      { class: "head" },
      h("div", { class: "titles" }, h("h1", {}, "Shares and topics"), h("p", { class: "soft" }, "What others can see here, and who can meet you")),
      h("span", { class: "spacer" }),
      admin && button("Rescan all", "refresh", () => rescan(null)),
      h("a", { class: "button", href: directoryAddress("self", "") }, icon("folder"), "Browse"),
    ),
    h("section", { class: "section" }, h("div", { class: "head" }, h("h2", {}, "Shares")), shares, admin && addShare()),
    h("section", { class: "section" }, h("div", { class: "head" }, h("h2", {}, "Topics")), topics, admin && joinTopic()),
    admin && h("section", { class: "section" }, h("div", { class: "head" }, h("h2", {}, "Invites")), h(
      "div",
      { class: "card stack" },
      h("p", { class: "soft" }, "An invite is a code that brings one friend to you, without any topic name to tell."),
      h("div", { class: "row" }, button("Invite a friend", "plus", invite, { class: "primary" }), connectForm()),
    )),
  );
  const draw = () => {
    const rows = [...store.shares.values()];
    fill(shares, rows.length ? rows.map(shareCard) : h("div", { class: "card" }, empty("folder", "You share nothing yet", h("p", {}, "Add a directory of the machine where hdpd runs. It can be browsed within seconds."))));
  };
  const drawTopics = () => fill(topics, store.topics.length
    ? h("ul", { class: "card rows" }, store.topics.map(topicRow))
    : h("div", { class: "card" }, empty("topic", "No topic joined", h("p", {}, "Agree on a name with your friends: whoever knows it can meet there."))));
  store.on(["shares"], draw, signal);
  store.on(["topics"], drawTopics, signal);
  draw();
  drawTopics();
}

const STATES = {
  scanning: ["Scanning", "info"],
  ready: ["Ready", "good"],
  away: ["Not there", "warn"],
  error: ["Problem", "bad"],
};

function shareCard(share) {
  const [word, look] = STATES[share.state] || [share.state, ""];
  const name = visible(share.name);
  return h(
    "article",
    { class: "card share" },
    h(
      "div",
      { class: "head" },
      icon("folder"),
      h("h3", { class: "cut" }, h("a", { href: directoryAddress("self", share.name) }, h("bdi", {}, name))),
      h("span", { class: "spacer" }),
      h("span", { class: `chip ${look}` }, word),
      store.may("admin") && menu(share),
    ),
    h("p", { class: "soft small mono cut", title: visible(share.path) }, visible(share.path)),
    share.state === "scanning" && h("div", { class: "bar", role: "progressbar", "aria-label": `Scanning ${name}` }, h("i")),
    h("p", { class: "facts small" }, h("strong", {}, plural(share.files, "file")), h("span", {}, size(share.bytes)), share.directories ? h("span", { class: "soft" }, plural(share.directories, "directory", "directories")) : null),
    h("p", { class: "soft small" }, share.state === "scanning"
      ? `${count(share.files)} files found so far`
      : share.scanned_at ? h("span", { title: fullTime(share.scanned_at) }, `scanned ${ago(share.scanned_at)}`) : "not scanned yet", share.state === "ready" && !share.searchable ? " · the search index is being made" : ""),
    share.error && h("p", { class: "notice bad small" }, visible(share.error)),
    share.skipped > 0 && h("details", { class: "small" }, h("summary", {}, `${plural(share.skipped, "entry", "entries")} can’t be read`), h("ul", { class: "soft" }, share.skipped_first.map((line) => h("li", {}, visible(line))))),
  );
}

function menu(share) {
  const anchor = iconButton(`More about ${visible(share.name)}`, "more", () => openMenu(anchor, [
    ["Rescan", "refresh", () => rescan(share.name)],
    ["Stop sharing", "trash", () => remove(share), { class: "danger" }],
  ]), { "aria-haspopup": "menu" });
  return anchor;
}

async function rescan(name) {
  await attempt(() => rpc.call("shares.rescan", name === null ? {} : { name }));
}

async function remove(share) {
  const name = visible(share.name);
  if (await confirmed(`Stop sharing ${name}?`, "Peers can’t see it any more. The files stay where they are.", "Stop sharing")) {
    await attempt(() => rpc.call("shares.remove", { name: share.name }));
  }
}

function addShare() {
  const path = h("input", { type: "text", required: true, placeholder: "/srv/media/music", autocomplete: "off", spellcheck: "false" });
  const name = h("input", { type: "text", placeholder: "its own name", autocomplete: "off" });
  const form = h(
    "form",
    { class: "card form-row" },
    h("label", { class: "field grow" }, "Directory on the machine of hdpd", path),
    h("label", { class: "field" }, "Shared as", name),
    h("button", { type: "submit" }, icon("plus"), "Share"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wanted = { path: path.value, ...(name.value.trim() ? { name: name.value.trim() } : {}) };
    const added = await attempt(() => rpc.call("shares.add", wanted));
    if (!added) return;
    path.value = name.value = "";
    say(`${visible(added.name)} is shared`);
  });
  return form;
}

function topicRow(topic) {
  const name = visible(topic.name);
  const leave = store.may("admin") && iconButton(`Leave ${name}`, "close", async () => {
    const text = `Peers that you meet only there are disconnected.${topic.configured ? " It is in the configuration, so it is joined again at the next start." : ""}`;
    if (await confirmed("Leave this topic?", text, "Leave")) {
      await attempt(() => rpc.call("topics.leave", { name: topic.name }));
    }
  });
  return h(
    "li",
    { class: "row-item" },
    icon("topic"),
    h("bdi", { class: "cut topic-name" }, shortTopic(topic.name)),
    isMadeTopic(topic.name) && h("span", { class: "chip good" }, "nobody can guess it"),
    topic.guessable && h("span", { class: "chip warn", title: "Strangers may find it by trying names" }, "easy to guess"),
    h("span", { class: "spacer" }),
    h("span", { class: "soft small" }, `${plural(topic.peers, "peer")} here`),
    iconButton(`Copy ${name}`, "copy", () => copy(topic.name, "Topic name")),
    leave,
  );
}

function joinTopic() {
  const name = h("input", { type: "text", required: true, autocomplete: "off", placeholder: "place to meet" });
  const join = async (wanted) => {
    const joined = await attempt(() => rpc.call("topics.join", wanted));
    if (joined) say("Topic joined");
    return joined;
  };
  const form = h(
    "form",
    { class: "card form-row" },
    h("label", { class: "field grow" }, "Topic name", name),
    h("button", { type: "submit" }, "Join"),
    button("Make one nobody can guess", null, () => join({}), { class: "plain" }),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await join({ name: name.value })) name.value = "";
  });
  return form;
}
