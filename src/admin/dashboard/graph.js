// What is derived from what, as a graph from left to right; what an invalidation reaches lights up.

import { byId, fill, say, table } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const NODES = 60;
const [WIDE, HIGH, GAP, COLUMN] = [136, 22, 8, 190];

const shape = (name, attributes) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

export class Graph {
  constructor(edges) {
    this.nodes = new Map();
    this.timers = new Set();
    const node = (name) => {
      if (!this.nodes.has(name)) this.nodes.set(name, { name, level: 0, pattern: pattern(name) });
      return this.nodes.get(name);
    };
    this.edges = edges.flatMap(({ source, derived }) => derived.map((to) => [node(source), node(to)]));
    // There are no cycles: so many rounds are enough.
    for (let round = 0; round < Math.min(this.nodes.size, NODES); round += 1) {
      for (const [from, to] of this.edges) to.level = Math.max(to.level, from.level + 1);
    }
    table(byId("dependencies"), "What is derived from what", ["Source", "Derived"], edges.slice(0, 200).map(({ source, derived }) => [{ code: source }, { code: derived.join(" ") }]), "The configuration has no dependencies.");
  }

  draw() {
    const place = byId("graph");
    if (this.nodes.size === 0) return say(place, "The configuration has no dependencies.");
    if (this.nodes.size > NODES) return say(place, `${this.nodes.size} names are too many to draw.`);
    const levels = [];
    for (const node of this.nodes.values()) {
      const column = (levels[node.level] ??= []);
      [node.x, node.y] = [node.level * COLUMN, column.length * (HIGH + GAP)];
      column.push(node);
    }
    const tallest = Math.max(...levels.map((column) => column.length)) * (HIGH + GAP) - GAP;
    for (const column of levels) {
      const shift = (tallest - (column.length * (HIGH + GAP) - GAP)) / 2;
      for (const node of column) node.y += shift;
    }
    const wide = (levels.length - 1) * COLUMN + WIDE;
    const picture = shape("svg", { viewBox: `-2 -2 ${wide + 4} ${tallest + 4}`, focusable: "false" });
    for (const [from, to] of this.edges) {
      const [x1, y1, x2, y2] = [from.x + WIDE, from.y + HIGH / 2, to.x, to.y + HIGH / 2], bend = (x2 - x1) / 2;
      picture.append(shape("path", { class: "edge", d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` }));
    }
    for (const node of this.nodes.values()) {
      const group = shape("g", { class: "node" });
      const text = shape("text", { x: node.x + WIDE / 2, y: node.y + HIGH / 2 + 4 });
      text.textContent = node.name.length > 20 ? `${node.name.slice(0, 19)}…` : node.name;
      const title = shape("title", {});
      title.textContent = node.name;
      group.append(title, shape("rect", { x: node.x, y: node.y, width: WIDE, height: HIGH, rx: 5 }), text);
      picture.append(group);
      node.group = group;
    }
    fill(place, picture);
  }

  // Lights up what is reached, for a while.
  light(items) {
    for (const node of this.nodes.values()) {
      if (!node.group || !items.some((item) => item === "*" || node.pattern.test(item) || item === node.name)) continue;
      node.group.classList.add("lit");
      clearTimeout(node.timer);
      node.timer = setTimeout(() => node.group.classList.remove("lit"), 3000);
    }
  }
}

// `project:{id}` reaches `project:42` and `project:*`.
function pattern(name) {
  const parts = name.split(/\{[^}]*\}/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^(//[^/]*)?${parts.join("[^:]*")}$`);
}
