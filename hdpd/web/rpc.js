// The one WebSocket to hdpd: calls, notifications, and coming back after it was lost.

const FIRST_RETRY_MS = 400;
const LONGEST_RETRY_MS = 8000;
const CALL_MS = 60000;
const BEAT_MS = 20000; // a connection that died silently shows within this and BEAT_ANSWER_MS
const BEAT_ANSWER_MS = 8000;
const CLOSE_POLICY = 1008; // the token was revoked

export class RpcError extends Error {
  constructor(message, word) {
    super(message);
    this.word = word;
  }
}

// Events: "state" when `state` changed, "event" and "search.hits" with the notification's `detail`.
export class Rpc extends EventTarget {
  state = "connecting"; // "online", "offline", "unauthorized"
  #socket = null;
  #calls = new Map();
  #lastId = 0;
  #retryMs = FIRST_RETRY_MS;
  #timer = null;

  constructor() {
    super();
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState !== "visible") return;
      if (this.state === "online") this.#beat();
      else this.#retryNow();
    });
    setInterval(() => this.state === "online" && this.#beat(), BEAT_MS);
  }

  // Asks by POST first: of a refused WebSocket a page can't learn whether a token is missing.
  async connect() {
    clearTimeout(this.#timer);
    try {
      const answer = await fetch("rpc", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: '{"jsonrpc": "2.0", "id": 1, "method": "daemon.info"}',
      });
      if (answer.status === 401) return this.#become("unauthorized");
      if (!answer.ok) return this.#retryLater();
    } catch {
      return this.#retryLater();
    }
    this.#open();
  }

  #open() {
    // Relative, like all addresses here: a proxy may have put the page below a path.
    const address = new URL("rpc", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.hash = "";
    const socket = new WebSocket(address);
    this.#socket = socket;
    socket.onopen = () => {
      this.#retryMs = FIRST_RETRY_MS;
      this.#become("online");
    };
    socket.onmessage = (message) => this.#receive(JSON.parse(message.data));
    socket.onclose = (close) => this.#closed(socket, close.code);
  }

  #closed(socket, code) {
    if (this.#socket !== socket) return;
    this.#socket = null;
    for (const call of this.#calls.values()) call.reject(new RpcError("hdpd is not connected", "offline"));
    this.#calls.clear();
    if (code === CLOSE_POLICY) this.#become("unauthorized");
    else this.#retryLater();
  }

  #retryLater() {
    this.#become("offline");
    this.#timer = setTimeout(() => this.connect(), this.#retryMs * (0.75 + Math.random() / 2));
    this.#retryMs = Math.min(this.#retryMs * 1.7, LONGEST_RETRY_MS);
  }

  #retryNow() {
    if (this.state !== "offline") return;
    this.#retryMs = FIRST_RETRY_MS;
    this.connect();
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  #receive(message) {
    if (message.method) {
      this.dispatchEvent(new CustomEvent(message.method, { detail: message.params }));
      return;
    }
    const call = this.#calls.get(message.id);
    if (!call) return;
    this.#calls.delete(message.id);
    clearTimeout(call.timer);
    if (message.error) call.reject(new RpcError(message.error.message, message.error.data?.error));
    else call.resolve(message.result);
  }

  // The result of a method; throws RpcError.
  call(method, params = {}, timeoutMs = CALL_MS) {
    const socket = this.#socket;
    if (this.state !== "online" || !socket) return Promise.reject(new RpcError("hdpd is not connected", "offline"));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#calls.delete(id);
        reject(new RpcError("hdpd did not answer in time", "timed_out"));
      }, timeoutMs);
      this.#calls.set(id, { resolve, reject, timer });
      socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  async #beat() {
    const socket = this.#socket;
    try {
      await this.call("daemon.info", {}, BEAT_ANSWER_MS);
    } catch (error) {
      if (error.word !== "timed_out" || this.#socket !== socket) return;
      socket.close();
      this.#closed(socket, 0); // its own close event may take long
    }
  }
}

export const rpc = new Rpc();

// All pages of a list, handed on one by one; `wanted` says whether anybody still waits for them.
export async function eachPage(method, key, params, take, wanted = () => true) {
  let cursor = null;
  do {
    const page = await rpc.call(method, cursor === null ? params : { ...params, cursor });
    if (!wanted()) return;
    take(page[key]);
    cursor = page.next_cursor;
  } while (cursor !== null);
}
