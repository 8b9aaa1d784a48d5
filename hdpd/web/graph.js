// The rates of the last minutes as two areas: what comes in, and what goes out.

import { svg } from "./dom.js";
import { rate } from "./text.js";

const WIDTH = 600;

// An element and a function that draws `samples`, [down, up] for each second, the newest at the
// right; `seconds` is the width of the graph.
export function graph(seconds, height) {
  const areas = ["up", "down"].map((name) => svg("path", { class: `area ${name}` }));
  const lines = ["up", "down"].map((name) => svg("path", { class: `line ${name}` }));
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", class: "graph", role: "img" },
    ...areas,
    ...lines,
  );

  function draw(samples) {
    const shown = samples.slice(-seconds);
    const top = Math.max(1000, ...shown.flat()) * 1.12;
    const step = WIDTH / (seconds - 1);
    const start = WIDTH - (shown.length - 1) * step;
    [1, 0].forEach((which, place) => {
      const points = shown.map((sample, index) => {
        const x = (start + index * step).toFixed(1);
        return `${x} ${(height - (sample[which] / top) * height).toFixed(1)}`;
      });
      if (!points.length) return;
      const line = `M${points.join("L")}`;
      lines[place].setAttribute("d", line);
      areas[place].setAttribute("d", `${line}L${WIDTH} ${height}L${start.toFixed(1)} ${height}Z`);
    });
    const [down, up] = shown.at(-1) || [0, 0];
    const most = Math.max(0, ...shown.map((sample) => sample[0]));
    drawing.setAttribute("aria-label", `Receiving ${rate(down)}, sending ${rate(up)}; at most ${rate(most)} received lately`);
    return top / 1.12;
  }

  draw([]);
  return { element: drawing, draw };
}
