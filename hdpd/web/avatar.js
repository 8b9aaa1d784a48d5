// A peer's picture, drawn from its key: peers of the same name are told apart at a glance.

import { svg } from "./dom.js";

function bits(text) {
  // FNV-1a, stirred once for each word; a picture is no proof, only a help for the eye.
  let state = 0x811c9dc5;
  for (const character of text) state = Math.imul(state ^ character.charCodeAt(0), 0x01000193) >>> 0;
  return () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) >>> 0;
    state = Math.imul(state ^ (state >>> 12), 0x297a2d39) >>> 0;
    return (state ^ (state >>> 15)) >>> 0;
  };
}

export function avatar(id, pixels = 40) {
  const next = bits(id);
  const hue = next() % 360;
  const other = (hue + 40 + (next() % 90)) % 360;
  const picture = svg("svg", { viewBox: "0 0 7 7", width: pixels, height: pixels, class: "avatar", "aria-hidden": "true" });
  picture.append(svg("rect", { width: 7, height: 7, fill: `hsl(${hue} 42% 30%)` }));
  const cells = next();
  const colours = next();
  for (let place = 0; place < 15; place += 1) {
    if (!((cells >> place) & 1)) continue;
    const x = place % 3;
    const y = Math.floor(place / 3) + 1;
    const fill = (colours >> place) & 1 ? `hsl(${hue} 62% 74%)` : `hsl(${other} 68% 66%)`;
    for (const column of x === 2 ? [3] : [x + 1, 5 - x]) {
      picture.append(svg("rect", { x: column - 0.01, y: y - 0.01, width: 1.02, height: 1.02, fill }));
    }
  }
  return picture;
}
