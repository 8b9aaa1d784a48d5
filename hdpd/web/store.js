// What hdpd is doing, kept up to date by its events; views listen to the parts that they show.

import { eachPage, rpc } from "./rpc.js";

const HISTORY_S = 300;

class Store extends EventTarget {
  info = null;
  session = { role: "read", id: null };
  nat = null; // how this hdpd can be reached, as in nat.report
  peers = new Map();
  topics = [];
  shares = new Map();
  downloads = new Map(); // in the order of the queue
  uploads = { active: [], waiting: [] };
  limits = null; // as in limits.get
  rates = []; // [down, up] of each of the last seconds
  loaded = false;
  #changed = new Set();
  #loading = 0;

  constructor() {
    super();
    rpc.addEventListener("state", () => {
      if (rpc.state === "online") this.load();
      else this.#tell("connection");
    });
    rpc.addEventListener("event", (event) => this.#take(event.detail));
    setInterval(() => this.#sample(), 1000);
  }

  // Lists everything anew: at first, and after each loss of the connection.
  async load() {
    const turn = ++this.#loading;
    try {
      await rpc.call("events.subscribe");
      const [info, session, nat, peers, topics, shares, uploads, limits] = await Promise.all([
        rpc.call("daemon.info"),
        rpc.call("tokens.current"),
        rpc.call("nat.report").catch(() => null),
        rpc.call("peers.list", { all: true }),
        rpc.call("topics.list"),
        rpc.call("shares.list"),
        rpc.call("uploads.list"),
        rpc.call("limits.get"),
      ]);
      if (turn !== this.#loading) return;
      if (this.info && this.info.version !== info.version) return location.reload();
      this.info = info;
      this.session = session;
      this.nat = nat;
      this.peers = new Map(peers.peers.map((peer) => [peer.id, peer]));
      this.topics = topics.topics;
      this.shares = new Map(shares.shares.map((share) => [share.name, share]));
      this.uploads = uploads;
      this.limits = limits;
      await this.loadDownloads();
      if (turn !== this.#loading) return;
      this.loaded = true;
      this.#tell("connection", "info", "nat", "peers", "topics", "shares", "downloads", "uploads", "limits", "loaded");
    } catch (error) {
      if (rpc.state === "online") setTimeout(() => turn === this.#loading && this.load(), 2000);
      console.warn("loading failed:", error.message);
    }
  }

  async loadDownloads() {
    const rows = new Map();
    await eachPage("downloads.list", "downloads", { limit: 1000 }, (page) => {
      for (const row of page) rows.set(row.id, row);
    });
    this.downloads = rows;
    this.#tell("downloads");
  }

  async loadTopics() {
    this.topics = (await rpc.call("topics.list")).topics;
    this.#tell("topics");
  }

  may(role) {
    const roles = ["read", "control", "admin"];
    return roles.indexOf(this.session.role) >= roles.indexOf(role);
  }

  // Calls `work` when one of the parts changed, until `signal` is aborted.
  on(parts, work, signal) {
    for (const part of parts) this.addEventListener(part, work, { signal });
  }

  #take({ type, data }) {
    if (type === "events.lost") return this.load();
    if (type.startsWith("peer.")) {
      this.peers.set(data.id, { ...this.peers.get(data.id), ...data });
      this.#tell("peers");
      if (type !== "peer.found") this.#refreshTopics();
    } else if (type === "nat.changed") {
      this.nat = data;
      this.#tell("nat");
    } else if (type.startsWith("topic.")) {
      this.#refreshTopics();
    } else if (type === "share.changed") {
      if (data.state === "removed") this.shares.delete(data.name);
      else this.shares.set(data.name, data);
      this.#tell("shares");
    } else if (type === "download.removed") {
      this.downloads.delete(data.id);
      this.#tell("downloads");
    } else if (type.startsWith("download.")) {
      this.downloads.set(data.id, data);
      this.#tell("downloads");
    } else if (type === "upload.changed") {
      this.uploads = data;
      this.#tell("uploads");
    } else if (type === "limits.changed") {
      this.limits = data;
      this.#tell("limits");
    }
  }

  // Their numbers of peers come with no event.
  #refreshTopics() {
    clearTimeout(this.topicsTimer);
    this.topicsTimer = setTimeout(() => this.loadTopics().catch(() => {}), 150);
  }

  #sample() {
    const online = rpc.state === "online";
    let down = 0;
    if (online) for (const row of this.downloads.values()) down += row.rate;
    const up = online ? this.uploads.active.reduce((sum, row) => sum + row.rate, 0) : 0;
    this.rates.push([down, up]);
    if (this.rates.length > HISTORY_S) this.rates.shift();
    this.#tell("rates");
  }

  #tell(...parts) {
    if (this.#changed.size === 0) {
      setTimeout(() => {
        const changed = [...this.#changed];
        this.#changed.clear();
        for (const part of changed) this.dispatchEvent(new Event(part));
      }, 60); // one pass over the page for a burst of events
    }
    for (const part of parts) this.#changed.add(part);
  }
}

export const store = new Store();
