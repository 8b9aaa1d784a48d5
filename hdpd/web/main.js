// Starts the page: logs in, draws the frame, and shows the view that the address names.

import { avatar } from "./avatar.js";
import { fill, h, icon, setText } from "./dom.js";
import { graph } from "./graph.js";
import { showLogin } from "./login.js";
import { rpc } from "./rpc.js";
import { store } from "./store.js";
import { plural, rate } from "./text.js";
import { showBrowser } from "./views/browser.js";
import { showPeers } from "./views/peers.js";
import { showSearch } from "./views/search.js";
import { showSharing } from "./views/sharing.js";
import { showStatus } from "./views/status.js";
import { isOpen, showTransfers } from "./views/transfers.js";

const VIEWS = [
  ["peers", "Peers", "peers"],
  ["search", "Search", "search"],
  ["transfers", "Transfers", "transfers"],
  ["sharing", "Shares", "share"],
  ["status", "Status", "status"],
];

const app = document.getElementById("app");
let current = null; // the AbortController of the view that is shown

// The address: #/name/part/part?key=value, parts percent-encoded.
function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { name: parts[0] || "peers", parts: parts.slice(1).filter(Boolean), query: new URLSearchParams(query) };
}

function show() {
  const { name, parts, query } = route();
  current?.abort();
  current = new AbortController();
  const view = document.getElementById("view");
  view.className = "view";
  const page = h("div", { class: "page" });
  fill(view, page);
  const known = VIEWS.some((each) => each[0] === name) ? name : "peers";
  for (const link of document.querySelectorAll(".nav a")) {
    if (link.dataset.view === known) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${VIEWS.find((each) => each[0] === known)[1]} · hdpd`;
  const given = { page, view, parts, query, signal: current.signal };
  if (known === "peers") (parts.length ? showBrowser : showPeers)(given);
  else ({ search: showSearch, transfers: showTransfers, sharing: showSharing, status: showStatus })[known](given);
  view.scrollTop = 0;
}

function drawFrame() {
  const me = h("a", { class: "me", href: "#/status" });
  const links = VIEWS.map(([name, label, iconName]) =>
    h("a", { href: `#/${name}`, "data-view": name }, icon(iconName), label, h("span", { class: "count", hidden: true })),
  );
  const down = h("dd");
  const up = h("dd");
  const small = graph(120, 90);
  const offline = h("div", { class: "offline", role: "status", hidden: true });
  const view = h("main", { id: "view", class: "view", tabindex: "-1" });
  fill(
    app,
    h(
      "div",
      { class: "frame" },
      h(
        "div",
        { class: "side" },
        me,
        h("nav", { class: "nav", "aria-label": "Views" }, links),
        h(
          "div",
          { class: "rates" },
          small.element,
          h("dl", {}, h("dt", {}, h("span", { class: "dot" }), "Receiving"), down, h("dt", {}, h("span", { class: "dot up" }), "Sending"), up),
        ),
      ),
      h("div", { class: "main" }, offline, view),
    ),
  );

  const setCount = (name, number, label) => {
    const element = links.find((link) => link.dataset.view === name).querySelector(".count");
    element.hidden = number === 0;
    setText(element, number > 999 ? "999+" : String(number));
    element.setAttribute("aria-label", label);
  };
  store.on(["info", "connection"], () => {
    if (!store.info) return;
    const online = rpc.state === "online";
    fill(
      me,
      avatar(store.info.peer_id, 42),
      h(
        "span",
        { class: "names" },
        h("strong", { class: "cut" }, store.info.name),
        h("span", { class: "soft small" }, online ? "this hdpd" : "not connected"),
      ),
    );
    offline.hidden = online;
    if (!online) fill(offline, h("span", { class: "spinner" }), "Not connected to hdpd. Trying again…");
  });
  store.on(["peers"], () => {
    const connected = [...store.peers.values()].filter((peer) => peer.state === "connected").length;
    setCount("peers", connected, plural(connected, "connected peer"));
  });
  store.on(["downloads"], () => {
    const open = [...store.downloads.values()].filter(isOpen).length;
    setCount("transfers", open, plural(open, "unfinished download"));
  });
  store.on(["rates"], () => {
    const [a, b] = store.rates.at(-1);
    setText(down, rate(a));
    setText(up, rate(b));
    small.draw(store.rates);
  });
}

function start() {
  drawFrame();
  let shown = false;
  addEventListener("hashchange", () => shown && rpc.state !== "unauthorized" && show());
  store.on(["loaded"], () => {
    if (shown) return;
    shown = true;
    show();
  });
  fill(document.getElementById("view"), h("div", { class: "empty" }, h("div", { class: "spinner" }), h("p", {}, "Connecting to hdpd…")));
}

rpc.addEventListener("state", () => {
  if (rpc.state !== "unauthorized") return;
  current?.abort();
  document.querySelectorAll("dialog").forEach((dialog) => dialog.close());
  showLogin(app, "");
});

// A login link that is opened where the page is open already changes nothing but the fragment.
addEventListener("hashchange", () => location.hash.startsWith("#code=") && location.reload());

async function boot() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) {
    // Neither the history nor a bookmark keeps the code.
    history.replaceState(null, "", location.pathname + location.search);
    const answer = await fetch("login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ code }),
    }).catch(() => null);
    if (!answer?.ok) {
      const problem = answer ? (await answer.json()).message : "hdpd does not answer";
      // An old link in a browser that is logged in already does no harm.
      rpc.addEventListener("state", () => rpc.state === "unauthorized" && showLogin(app, problem), { once: true });
    }
  }
  start();
  rpc.connect();
}

boot();
