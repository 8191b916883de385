// Numbers as people read them (words.rs says the same), and elements that hold nothing but text.

export function count(number) {
  return Math.round(number ?? 0).toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

export function percent(share) {
  return share == null ? "–" : `${(100 * share).toFixed(1)} %`;
}

export function time(seconds) {
  if (seconds == null) return "–";
  const ms = seconds * 1e3, whole = Math.round(seconds);
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${ms.toFixed(0)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor(whole / 3600) % 24} h`;
}

export function bytes(size) {
  if (size == null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (size >= 1024 && unit + 1 < units.length) { size /= 1024; unit += 1; }
  return `${unit === 0 || size >= 100 ? size.toFixed(0) : size.toFixed(1)} ${units[unit]}`;
}

export function rate(perSecond) {
  if (perSecond == null) return "–";
  return `${perSecond < 10 ? perSecond.toFixed(1) : count(perSecond)}/s`;
}

export function clock(seconds) {
  return new Date(seconds * 1e3).toTimeString().slice(0, 8);
}

export const byId = (id) => document.getElementById(id);

// An element of `name` with attributes and children; a child that is no element is text.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value != null) made.setAttribute(key, value);
  made.append(...children.map((child) => (child instanceof Node ? child : String(child ?? ""))));
  return made;
}

export function fill(place, ...children) {
  place.replaceChildren(...children.map((child) => (child instanceof Node ? child : String(child ?? ""))));
}

// Writes only what is different: whoever has selected a word, or reads it aloud, keeps it.
export function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

export const strong = (text) => element("strong", {}, text);

// The same for a sentence of several pieces.
export function write(place, pieces) {
  if (place.textContent !== pieces.map((piece) => piece.textContent ?? piece).join("")) fill(place, ...pieces);
}

// A table that keeps its rows: `cells` are texts, or {code}, {number}, {share, text}, {node}.
export function table(place, caption, heads, rows, empty) {
  if (rows.length === 0) {
    if (place.firstElementChild?.tagName !== "P") fill(place, element("p", { class: "empty" }, empty ?? "Nothing yet."));
    return null;
  }
  const shape = `${caption}|${heads.map((head) => head.text ?? head).join("|")}`;
  let own = place.querySelector(":scope > table");
  if (own?.dataset.shape !== shape) {
    const row = element("tr", {}, ...heads.map((head, at) => {
      const numbers = typeof rows[0][at] === "object" && "number" in rows[0][at];
      const inner = head.press ? element("button", { type: "button", "data-sort": head.press }, head.text) : head;
      return element("th", { scope: "col", class: numbers ? "number" : null }, inner);
    }));
    own = element("table", { "data-shape": shape }, element("caption", {}, caption), element("thead", {}, row), element("tbody"));
    fill(place, own);
  }
  const body = own.tBodies[0];
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  rows.forEach((cells, at) => {
    const row = body.rows[at] ?? body.appendChild(element("tr", {}, ...cells.map(() => element("td"))));
    cells.forEach((cell, column) => put(row.cells[column], cell));
  });
  return own;
}

function put(place, cell) {
  if (cell === null || typeof cell !== "object") return say(place, String(cell ?? ""));
  if ("number" in cell) { place.className = "number"; return say(place, String(cell.number)); }
  if ("code" in cell) {
    if (place.firstElementChild?.tagName !== "CODE") fill(place, element("code"));
    if (cell.title != null) place.title = cell.title;
    return say(place.firstElementChild, cell.code);
  }
  if ("share" in cell) {
    if (!place.querySelector("meter")) {
      place.className = "share";
      fill(place, element("meter", { "aria-hidden": "true" }), element("span"));
    }
    place.firstElementChild.value = cell.share ?? 0;
    place.firstElementChild.classList.toggle("none", cell.share == null);
    return say(place.lastElementChild, cell.text);
  }
  if (place.firstChild !== cell.node) fill(place, cell.node);
}

export function facts(place, pairs) {
  let list = place.querySelector(":scope > dl");
  if (!list || list.children.length !== pairs.length) {
    list = element("dl", {}, ...pairs.map(() => element("div", {}, element("dt"), element("dd"))));
    fill(place, list);
  }
  pairs.forEach(([name, value], at) => {
    say(list.children[at].firstElementChild, name);
    if (value instanceof Node) { if (list.children[at].lastElementChild.firstChild !== value) fill(list.children[at].lastElementChild, value); }
    else say(list.children[at].lastElementChild, String(value));
  });
}
