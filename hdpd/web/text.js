// Sizes, rates, times and names as people read them.

// C0, DEL, C1, soft hyphen, and all that reorders, breaks or hides text. Joiners (U+200C, U+200D)
// stay: emoji and several scripts need them. U+EF80 to U+EFFF are bytes that are not UTF-8.
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\uef80-\uefff]/g;

export function visible(text) {
  return text.replace(HIDDEN, (character) => {
    const code = character.charCodeAt(0);
    if (code >= 0xef80 && code <= 0xefff) return "\\x" + (code - 0xef00).toString(16);
    return code < 0x80 ? "\\x" + code.toString(16).padStart(2, "0") : "\\u" + code.toString(16).padStart(4, "0");
  });
}

const UNITS = ["kB", "MB", "GB", "TB", "PB"];

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  if (bytes < 1000) return `${bytes} B`;
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

export const rate = (bytes) => `${size(Math.round(bytes))}/s`;

export const count = (number) => number.toLocaleString("en");

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function duration(seconds) {
  if (seconds < 1) return "a moment";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 36) return minutes % 60 && hours < 10 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return plural(Math.round(hours / 24), "day");
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const clockSeconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayOfYear = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const dayAndYear = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export function ago(seconds, now = Date.now() / 1000) {
  const passed = now - seconds;
  if (passed < 45) return "just now";
  return passed < 36 * 3600 ? `${duration(passed)} ago` : day(seconds);
}

export function day(seconds) {
  const date = new Date(seconds * 1000);
  return (date.getFullYear() === new Date().getFullYear() ? dayOfYear : dayAndYear).format(date);
}

// The time of a file: of today the clock, else the day.
export function when(seconds) {
  const date = new Date(seconds * 1000);
  return date.toDateString() === new Date().toDateString() ? clock.format(date) : day(seconds);
}

export const fullTime = (seconds) => full.format(new Date(seconds * 1000));
export const timeOfDay = (seconds) => clockSeconds.format(new Date(seconds * 1000));

// For finding: without case and marks.
export function fold(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

// Names that were made, not thought up, say nothing, and are secrets not to show without need.
const MADE = /^[a-z2-7]{5}(-[a-z2-7]{4,7}){3,}$/;
export const isMadeTopic = (name) => MADE.test(name);
export const shortTopic = (name) => (isMadeTopic(name) ? `private, ${name.slice(0, 5)}…` : visible(name));

export const baseName = (path) => path.slice(path.lastIndexOf("/") + 1);
export const parentOf = (path) => path.slice(0, Math.max(0, path.lastIndexOf("/")));

const PATH_KINDS = {
  lan: "on your network",
  direct: "directly",
  punched: "through both routers (hole punching)",
  mapped: "through a port mapped in the router",
  ipv6: "directly over IPv6",
};
export const pathInWords = (kind) => PATH_KINDS[kind] || "connected";

const FOUND_BY = {
  mqtt: "the meeting broker",
  mdns: "the local network",
  known: "earlier acquaintance",
  gossip: "another peer",
  invite: "an invite",
};
export const foundInWords = (ways) => ways.map((way) => FOUND_BY[way] || way).join(", ");

const STATES = {
  queued: "Queued",
  waiting_for_peer: "Waiting for the peer",
  remote_queued: "In the peer’s queue",
  downloading: "Downloading",
  paused: "Paused",
  done: "Done",
  failed: "Failed",
};
export const stateInWords = (state) => STATES[state] || state;
