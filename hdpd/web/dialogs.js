// Dialogs, menus and short messages.

import { button, h, icon, iconButton } from "./dom.js";

// Opens a modal dialog with `content`; `close` ends it. The browser keeps the focus inside, closes
// it on Escape, and gives the focus back.
export function openDialog(title, content, options = {}) {
  const heading = h("h2", { id: `dialog-${++opened}` }, title);
  const close = () => dialog.close();
  const dialog = h(
    "dialog",
    { class: options.class, "aria-labelledby": heading.id },
    h(
      "div",
      { class: "inner" },
      h("header", {}, heading, h("span", { class: "spacer" }), options.tools, iconButton("Close", "close", close)),
      content,
    ),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && close());
  dialog.addEventListener("close", () => {
    options.onclose?.();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, close, heading };
}

let opened = 0;

// Asks before something that can't be undone; resolves to whether it is wanted.
export function confirmed(title, text, action) {
  return new Promise((resolve) => {
    let wanted = false;
    const yes = button(action, null, () => {
      wanted = true;
      handle.close();
    }, { class: "primary" });
    const no = button("Keep it as it is", null, () => handle.close());
    const content = [h("p", {}, text), h("footer", {}, no, yes)];
    const handle = openDialog(title, content, { onclose: () => resolve(wanted) });
    yes.focus();
  });
}

// A menu below `anchor`: [label, icon, action, attributes] for each entry.
export function openMenu(anchor, entries) {
  const close = () => {
    menu.remove();
    anchor.removeAttribute("aria-expanded");
    removeEventListener("pointerdown", outside, true);
    removeEventListener("resize", close);
    removeEventListener("scroll", close, true);
  };
  const outside = (event) => !menu.contains(event.target) && close();
  const items = entries.filter(Boolean).map(([label, iconName, action, attributes]) =>
    button(label, iconName, () => {
      close();
      anchor.focus({ preventScroll: true });
      action();
    }, { role: "menuitem", ...attributes }),
  );
  const menu = h("div", { class: "menu", role: "menu" }, items);
  menu.addEventListener("keydown", (event) => {
    const place = items.indexOf(document.activeElement);
    const steps = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: items.length - 1 };
    if (event.key in steps) items.at(steps[event.key] % items.length).focus();
    else if (event.key === "Escape" || event.key === "Tab") {
      close();
      anchor.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  (anchor.closest("dialog") || document.body).append(menu);
  anchor.setAttribute("aria-expanded", "true");
  const place = anchor.getBoundingClientRect();
  const left = Math.min(place.right - menu.offsetWidth, innerWidth - menu.offsetWidth - 8);
  const below = place.bottom + 4;
  const top = below + menu.offsetHeight > innerHeight - 8 ? place.top - menu.offsetHeight - 4 : below;
  menu.style.left = `${Math.max(8, left)}px`;
  menu.style.top = `${Math.max(8, top)}px`;
  addEventListener("pointerdown", outside, true);
  addEventListener("resize", close);
  addEventListener("scroll", close, true);
  items[0].focus();
}

const toasts = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
document.body.append(toasts);

// Says something for a few seconds; `more` may be a link.
export function say(text, more = null, bad = false) {
  const remove = () => toast.remove();
  const dismiss = h("button", { type: "button", "aria-label": "Dismiss", onclick: remove }, icon("close"));
  const toast = h("div", { class: bad ? "toast bad" : "toast" }, h("span", {}, text), more, dismiss);
  toasts.append(toast);
  if (toasts.children.length > 4) toasts.firstChild.remove();
  setTimeout(remove, bad ? 9000 : 5000);
}

// Runs `work` and tells what went wrong in words; gives its result, or undefined.
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message || String(error), null, true);
    return undefined;
  }
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages that came without TLS have no clipboard interface.
    const field = h("textarea", { class: "sr", readonly: true }, text);
    (document.querySelector("dialog[open]:last-of-type") || document.body).append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  say(`${what} copied`);
}

