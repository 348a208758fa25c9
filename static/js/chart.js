// A line of recent prices, as SVG: one stepped line an outcome, drawn again when prices or the width change.

import { element } from "./dom.js";
import { SHARE_PIPS } from "./figures.js";

const HEIGHT = 220;
const PAD = { top: 10, right: 44, bottom: 22, left: 4 };
const MIN_SPAN_MS = 60_000;
const GRID = [0, 2_500, 5_000, 7_500, 10_000];
const MIN_RANGE = 1_000;

export class Chart {
  /** `root` is an empty element; series are { name, points: [[ms, pips]…] } in time order. */
  constructor(root) {
    this.root = root;
    this.series = [];
    this.svg = element("svg:svg", { role: "img", height: HEIGHT, width: "100%" });
    root.replaceChildren(this.svg);
    this.root.hidden = false;
    new ResizeObserver(() => this.draw()).observe(root);
  }

  show(series) {
    this.series = series;
    this.draw();
  }

  draw() {
    const width = this.root.clientWidth;
    const lines = this.series.filter(({ points }) => points.length > 0);
    if (width === 0) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.setAttribute("aria-label", this.#summary(lines));
    this.svg.replaceChildren();
    if (lines.length === 0) return;
    const scale = this.#scale(lines, width);
    this.#grid(scale, width);
    lines.forEach(({ points }, index) => this.#line(points, index, scale));
  }

  #scale(lines, width) {
    const now = Date.now();
    const start = Math.min(...lines.map(({ points }) => points[0][0]), now - MIN_SPAN_MS);
    const prices = lines.flatMap(({ points }) => points.map(([, pips]) => pips));
    let low = Math.min(...prices);
    let high = Math.max(...prices);
    const missing = Math.max(0, MIN_RANGE - (high - low)) / 2;
    const margin = (high - low) * 0.08 + missing;
    low = Math.max(0, low - margin);
    high = Math.min(SHARE_PIPS, high + margin);
    const inner = { width: width - PAD.left - PAD.right, height: HEIGHT - PAD.top - PAD.bottom };
    return {
      now,
      start,
      low,
      high,
      x: (ms) => PAD.left + (inner.width * (ms - start)) / (now - start),
      y: (pips) => PAD.top + inner.height * (1 - (pips - low) / (high - low)),
    };
  }

  #grid({ low, high, y, start, now, x }, width) {
    const range = high - low;
    const step = [100, 200, 500, 1_000, 2_500].find((each) => range / each <= 5) ?? 2_500;
    const marks = range > 8_000 ? GRID : [];
    if (marks.length === 0) for (let pips = Math.ceil(low / step) * step; pips <= high; pips += step) marks.push(pips);
    for (const pips of marks) {
      if (pips < low || pips > high) continue;
      this.svg.append(
        element("svg:line", { class: "grid", x1: PAD.left, x2: width - PAD.right, y1: y(pips), y2: y(pips) }),
        element("svg:text", { class: "axis", x: width - PAD.right + 8, y: y(pips) + 4 }, `${pips / 100}%`),
      );
    }
    const long = now - start > 20 * 3_600_000;
    const format = new Intl.DateTimeFormat(undefined, long ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit" });
    const marksInTime = [[start, "start"], [start + (now - start) / 2, "middle"], [now, "end"]];
    const written = new Set();
    for (const [ms, anchor] of marksInTime) {
      const text = format.format(ms);
      if (written.has(text)) continue;
      written.add(text);
      this.svg.append(element("svg:text", { class: "axis", x: x(ms), y: HEIGHT - 5, "text-anchor": anchor }, text));
    }
  }

  #line(points, index, { x, y, now }) {
    const [[firstMs, firstPips], ...rest] = points;
    let path = `M${x(firstMs).toFixed(1)} ${y(firstPips).toFixed(1)}`;
    for (const [ms, pips] of rest) path += `H${x(ms).toFixed(1)}V${y(pips).toFixed(1)}`;
    path += `H${x(now).toFixed(1)}`;
    const last = points.at(-1)[1];
    if (this.series.length === 1) {
      const floor = HEIGHT - PAD.bottom;
      this.svg.append(element("svg:path", { class: "area series-1", d: `${path}V${floor}H${x(firstMs).toFixed(1)}Z` }));
    }
    this.svg.append(
      element("svg:path", { class: `line series-${index + 1}`, d: path }),
      element("svg:circle", { class: `dot series-${index + 1}`, cx: x(now), cy: y(last), r: 4 }),
    );
  }

  #summary(lines) {
    if (lines.length === 0) return "No prices yet";
    return lines.map(({ name, points }) => `${name}: from ${points[0][1] / 100}% to ${points.at(-1)[1] / 100}%`).join("; ");
  }
}
