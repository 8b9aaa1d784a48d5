// Makes elements. All text goes in as text nodes, so that no name of a peer can become markup.

import { PATHS } from "./icons.js";

const SVG = "http://www.w3.org/2000/svg";

// h("button", { class: "primary", onclick: f, "aria-label": "…" }, "Text", node, null, [more])
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in PROPERTIES) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...flat(children));
  return element;
}

const PROPERTIES = { value: 1, checked: 1, indeterminate: 1, disabled: 1, hidden: 1, tabIndex: 1 };

function flat(children) {
  return children.flat(4).filter((child) => child !== null && child !== undefined && child !== false);
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function icon(name) {
  const drawing = svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" });
  drawing.append(svg("path", { d: PATHS[name] }));
  drawing.dataset.icon = name;
  return drawing;
}

// Puts another icon in the place of one, only when it is another.
export function setIcon(old, name) {
  if (old.dataset.icon === name) return;
  old.dataset.icon = name;
  old.firstChild.setAttribute("d", PATHS[name]);
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function fill(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

export function button(label, iconName, onclick, attributes = {}) {
  return h("button", { type: "button", onclick, ...attributes }, iconName && icon(iconName), label);
}

// A button of which only the icon is seen.
export function iconButton(label, iconName, onclick, attributes = {}) {
  const given = { type: "button", class: "icon-button", "aria-label": label, title: label, onclick };
  return h("button", { ...given, ...attributes }, icon(iconName));
}

export function empty(iconName, title, ...more) {
  return h("div", { class: "empty" }, icon(iconName), h("h2", {}, title), ...more);
}

// Calls `work` at most once for each frame that is drawn.
export function onceAFrame(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    const run = () => {
      if (!waiting) return;
      waiting = false;
      work();
    };
    requestAnimationFrame(run);
    setTimeout(run, 250); // a hidden page draws no frames
  };
}
