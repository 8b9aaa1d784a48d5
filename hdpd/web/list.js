// A list that draws only the rows in sight, so that 100,000 of them scroll smoothly.

import { h } from "./dom.js";

const AHEAD = 8; // rows drawn beyond each edge
const MAX_HEIGHT = 8_000_000; // browsers draw nothing beyond some 16 million pixels

// `options`: label, rowHeight, columns (names for the header, optional header element),
// key(item), make(row) -> update(item, index), onopen(item, event), onkey(event, item, index).
// Keyboard: arrows, page keys, Home and End move; Enter opens; all else goes to onkey.
export class VirtualList {
  #options;
  #items = [];
  #rows = new Map(); // key -> { element, update, item, index }
  #active = 0;
  #queued = false;

  constructor(options) {
    this.#options = options;
    this.body = h("div", { class: "list-body", role: "rowgroup" });
    this.scroller = h("div", { class: "list-scroller" }, this.body);
    this.element = h(
      "div",
      { class: `list ${options.class || ""}`, role: "grid", "aria-label": options.label },
      options.header,
      this.scroller,
    );
    this.scroller.addEventListener("scroll", () => this.#drawSoon(), { passive: true });
    this.body.addEventListener("keydown", (event) => this.#key(event));
    this.body.addEventListener("focusin", (event) => this.#focused(event));
    this.resizing = new ResizeObserver(() => this.#drawSoon());
    this.resizing.observe(this.scroller);
  }

  get items() {
    return this.#items;
  }

  setItems(items) {
    this.#items = items;
    this.#active = Math.max(0, Math.min(this.#active, items.length - 1));
    this.element.setAttribute("aria-rowcount", String(items.length + (this.#options.header ? 1 : 0)));
    this.draw();
  }

  // Takes a later state of the same items: what is in sight and what has the focus stay in place.
  replaceItems(items) {
    const { key } = this.#options;
    const places = new Map(items.map((item, index) => [key(item), index]));
    const place = (index) => (index in this.#items ? places.get(key(this.#items[index])) : undefined);
    let offset = this.#offset();
    let anchor = Math.floor(offset / this.#height);
    while (anchor < this.#items.length && place(anchor) === undefined) anchor += 1;
    // At the top, what is new there is what people want to see.
    if (offset > 0 && place(anchor) !== undefined) offset += (place(anchor) - anchor) * this.#height;
    this.#active = place(this.#active) ?? this.#active;
    this.setItems(items);
    this.#scrollToOffset(offset);
    this.draw();
  }

  // Draws again what is in sight, as something about the items has changed.
  draw() {
    const { key } = this.#options;
    const total = this.#items.length * this.#height;
    this.body.style.height = `${Math.min(total, MAX_HEIGHT)}px`;
    const view = this.scroller.clientHeight;
    const offset = this.#offset();
    const first = Math.max(0, Math.floor(offset / this.#height) - AHEAD);
    const last = Math.min(this.#items.length, Math.ceil((offset + view) / this.#height) + AHEAD);
    const wanted = new Map();
    for (let index = first; index < last; index += 1) wanted.set(key(this.#items[index]), index);
    // The row with the focus stays, or the keyboard would lose its place.
    if (this.#items.length) wanted.set(key(this.#items[this.#active]), this.#active);
    // Rows that went out of sight are used again, which is quicker than making new ones.
    const free = [];
    for (const [id, row] of this.#rows) if (!wanted.has(id)) free.push(row);
    const shown = new Map();
    for (const [id, index] of wanted) this.#place(id, index, shown, free);
    for (const row of free) row.element.remove();
    this.#rows = shown;
    this.#arrange([...shown.values()].sort((a, b) => a.index - b.index));
    const shift = this.scroller.scrollTop - offset;
    for (const row of shown.values()) {
      row.element.style.transform = `translateY(${row.index * this.#height + shift}px)`;
      row.element.tabIndex = row.index === this.#active ? 0 : -1;
    }
  }

  #place(id, index, shown, free) {
    const item = this.#items[index];
    let row = this.#rows.get(id) || free.pop();
    if (!row) {
      const element = h("div", { class: "list-row", role: "row", tabindex: "-1" });
      element.style.height = `${this.#height}px`;
      row = { element, update: this.#options.make(element) };
    }
    row.index = index;
    row.item = item;
    row.element.row = row;
    row.element.setAttribute("aria-rowindex", String(index + (this.#options.header ? 2 : 1)));
    row.update(item, index);
    shown.set(id, row);
  }

  // Screen readers go by the order of the elements, not by where they are drawn.
  #arrange(rows) {
    const focused = document.activeElement;
    let next = this.body.firstChild;
    for (const { element } of rows) {
      if (element === next) next = next.nextSibling;
      else this.body.insertBefore(element, next);
    }
    if (focused !== document.activeElement && this.body.contains(focused)) focused.focus({ preventScroll: true });
  }

  get #height() {
    return this.#options.rowHeight;
  }

  // Where in the whole list the sight begins: beyond MAX_HEIGHT the scroll bar is coarser than it.
  #offset() {
    const total = this.#items.length * this.#height;
    const { scrollTop, clientHeight } = this.scroller;
    if (total <= MAX_HEIGHT) return scrollTop;
    return (scrollTop / (MAX_HEIGHT - clientHeight)) * (total - clientHeight);
  }

  setRowHeight(height) {
    if (height === this.#height) return;
    this.#options.rowHeight = height;
    for (const row of this.#rows.values()) row.element.style.height = `${height}px`;
    this.draw();
  }

  scrollTo(index) {
    const view = this.scroller.clientHeight;
    const top = index * this.#height;
    const offset = this.#offset();
    let wanted = offset;
    if (top < offset) wanted = top;
    else if (top + this.#height > offset + view) wanted = top + this.#height - view;
    if (wanted !== offset) this.#scrollToOffset(wanted);
  }

  #scrollToOffset(offset) {
    const total = this.#items.length * this.#height;
    const view = this.scroller.clientHeight;
    const scale = total <= MAX_HEIGHT ? 1 : (MAX_HEIGHT - view) / (total - view);
    this.scroller.scrollTop = offset * scale;
  }

  focus(index = this.#active) {
    if (!this.#items.length) return;
    this.#active = Math.max(0, Math.min(index, this.#items.length - 1));
    this.scrollTo(this.#active);
    this.draw();
    const element = this.#rows.get(this.#options.key(this.#items[this.#active])).element;
    element.focus({ preventScroll: true });
    element.scrollIntoView({ block: "nearest" }); // what the list itself is in may scroll, too
  }

  #focused(event) {
    const element = event.target.closest(".list-row");
    if (!element || element.row.index === this.#active) return;
    this.#active = element.row.index;
    for (const row of this.#rows.values()) row.element.tabIndex = row.index === this.#active ? 0 : -1;
  }

  #key(event) {
    const index = this.#active;
    const item = this.#items[index];
    const onRow = event.target.classList.contains("list-row");
    const plain = !event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.#height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (plain && event.key in steps) {
      event.preventDefault();
      this.focus(Math.max(0, Math.min(index + steps[event.key], this.#items.length - 1)));
    } else if (plain && onRow && event.key === "Enter") {
      event.preventDefault();
      this.#options.onopen?.(item, event);
    } else {
      this.#options.onkey?.(event, item, index, onRow);
    }
  }

  #drawSoon() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      this.draw();
    });
  }
}
