// What stands in the panels: the same tables that the page came with, kept up to date.

import { byId, bytes, clock, count, element, facts, percent, say, table, time } from "./words.js";

const INVALIDATIONS = 100;
const TREND = 60;
const SVG = "http://www.w3.org/2000/svg";

const REASONS = {
  "uri-miss": "nothing was kept", stale: "what was kept had expired", "vary-miss": "another variant was kept", method: "a write",
  bypass: "the route is not cached", route: "the route is not cached", "no-freshness": "nobody gave the answer a life", "set-cookie": "the answer sets a cookie",
  request: "the request asked for more", miss: "this node had no lease", partial: "only a part was kept", "no-store": "the origin forbids it", private: "the answer is one person's",
  shadow: "the route is only watched",
};

// The routes, with what they did lately.
export class Routes {
  constructor() {
    this.known = new Map();
    this.order = "requests";
    byId("routes").addEventListener("click", (event) => {
      const order = event.target.closest?.("button")?.dataset.sort;
      if (order) { this.order = order; this.update(this.figures); }
    });
  }

  take(figures) {
    const at = Date.parse(figures.at) / 1e3, seen = new Set();
    for (const route of figures.routes) {
      seen.add(route.route);
      let known = this.known.get(route.route);
      if (!known || known.uptime > figures.uptime_seconds) {
        known = { rates: [], all: route.requests.all, at, line: spark() };
        this.known.set(route.route, known);
      } else if (at > known.at) {
        known.rates.push(Math.max(0, route.requests.all - known.all) / (at - known.at));
        if (known.rates.length > TREND) known.rates.shift();
      }
      Object.assign(known, { all: route.requests.all, at, uptime: figures.uptime_seconds });
    }
    for (const name of this.known.keys()) if (!seen.has(name)) this.known.delete(name);
  }

  update(figures) {
    if (!figures) return;
    this.figures = figures;
    const by = { requests: (route) => route.requests.all, ratio: (route) => -(route.hit_ratio ?? 2), hit: (route) => route.hits.p95 ?? -1, miss: (route) => route.misses.p95 ?? -1, saved: (route) => route.seconds_saved ?? -1 }[this.order];
    const routes = [...figures.routes].sort((a, b) => by(b) - by(a) || (a.route < b.route ? -1 : 1));
    const rows = routes.map((route) => {
      const known = this.known.get(route.route), reason = route.reasons.find((one) => one.reason !== "method");
      draw(known.line, known.rates);
      return [
        { code: route.route, title: route.route }, { number: count(route.requests.all) }, { node: known.line }, { share: route.hit_ratio, text: route.hit_ratio == null && route.mode === "shadow" ? "shadow" : percent(route.hit_ratio) },
        { number: time(route.hits.p95) }, { number: time(route.misses.p95) }, { number: time(route.seconds_saved) },
        reason ? { code: `${reason.reason} ${count(reason.count)}`, title: REASONS[reason.reason] ?? "" } : "–",
      ];
    });
    const head = (text, press) => ({ text, press });
    const own = table(byId("routes"), "Routes", ["Route", head("Requests", "requests"), "Trend", head("From cache", "ratio"), head("p95 hit", "hit"), head("p95 miss", "miss"), head("Saved", "saved"), "Top miss reason"], rows, "No request was answered yet.");
    for (const button of own?.querySelectorAll("[data-sort]") ?? []) {
      const is = button.dataset.sort === this.order;
      button.parentElement.setAttribute("aria-sort", is ? (this.order === "ratio" ? "ascending" : "descending") : "none");
    }
    say(byId("routes-left"), figures.routes_left_out ? `and ${count(figures.routes_left_out)} more` : "");
  }
}

function spark() {
  const picture = document.createElementNS(SVG, "svg");
  for (const [key, value] of [["viewBox", "0 0 60 16"], ["class", "spark"], ["role", "img"], ["preserveAspectRatio", "none"]]) picture.setAttribute(key, value);
  picture.append(document.createElementNS(SVG, "polyline"));
  return picture;
}

function draw(picture, rates) {
  const most = Math.max(1e-9, ...rates), from = TREND - rates.length;
  picture.firstElementChild.setAttribute("points", rates.map((rate, at) => `${from + at},${(15 - (14 * rate) / most).toFixed(1)}`).join(" "));
  const last = rates.at(-1) ?? 0;
  picture.setAttribute("aria-label", `${last.toFixed(1)} a second now, ${rates.length ? most.toFixed(1) : "0"} at most in the last minute`);
}

// The newest invalidations, the newest first.
export class Invalidations {
  constructor() { this.list = []; this.positions = new Set(); }

  // Gives whether it is new.
  add(one) {
    const key = `${one.position}|${one.at}|${one.reach.join(" ")}`;
    if (this.positions.has(key)) return false;
    this.positions.add(key);
    this.list.unshift({ key, one, node: Invalidations.event(one) });
    this.list.sort((a, b) => (a.one.at < b.one.at ? 1 : a.one.at > b.one.at ? -1 : 0));
    for (const gone of this.list.splice(INVALIDATIONS)) this.positions.delete(gone.key);
    return true;
  }

  // Who, what, and what follows from it.
  static event(one) {
    const words = [element("span", {}, `${one.source}${one.mode === "soft" ? " (soft)" : ""}: ${one.actor}`), element("code", {}, shortened(one.reach))];
    if (one.derived.length) words.push(" → ", element("code", {}, shortened(one.derived)));
    return element("div", { class: "event", title: [...one.reach, ...one.derived].slice(0, 50).join(" ") }, ...words);
  }

  update(figures) {
    const rows = this.list.map(({ one, node }) => {
      const dropped = Object.entries(one.by_route).map(([route, number]) => `${number} of ${route}`).join(", ");
      return [clock(Date.parse(one.at) / 1e3), { node }, { code: count(one.invalidated), title: dropped }];
    });
    table(byId("invalidations"), "Invalidations, the newest first", ["At", "By whom, what → what follows", "Dropped"], rows, "Nothing was invalidated yet.");
    if (figures) say(byId("invalidations-total"), `${count(figures.invalidations.total)}, ${count(figures.invalidations.entries)} entries`);
  }
}

// The first of them; a path without its host, which is nearly always the same.
function shortened(items) {
  const words = items.slice(0, 6).map((item) => (item.startsWith("//") ? item.replace(/^\/\/[^/]*/, "") : item));
  return items.length > 6 ? `${words.join(" ")} +${items.length - 6}` : words.join(" ");
}

const bar = element("meter", { "aria-hidden": "true", low: "0.9", high: "0.95", optimum: "0" });
const used = element("span"), both = element("span", { class: "bar" }, bar, used);

export function rest(figures) {
  const { memory, evictions, audit, fleet, hottest, routes, warm } = figures;
  bar.value = memory.used ?? 0;
  say(used, percent(memory.used));
  facts(byId("memory"), [
    ["Used", both], ["Entries", memory.most_entries ? `${count(memory.entries)} of ${count(memory.most_entries)}` : count(memory.entries)],
    ["Weight", `${bytes(memory.bytes)} of ${bytes(memory.most_bytes)}`], ["Process", memory.most_resident ? `${bytes(memory.resident)} of ${bytes(memory.most_resident)}` : bytes(memory.resident)],
    ["Evicted for room", count(evictions.size)], ["Expired", count(evictions.expired)],
  ]);
  const stale = audit?.stale_per_million;
  facts(byId("audit"), [["Checks", count(audit?.checks)], ["Same", count(audit?.same)], ["Stale", count(audit?.stale)], ["Stale in a million", stale == null ? "–" : stale.toFixed(0)]]);
  // What is only watched would be hit.
  const watched = new Set(routes.filter((route) => route.mode === "shadow").map((route) => route.route));
  table(byId("hottest"), "Hottest keys", ["Key", "Hits"], hottest.map((key) => [{ code: key.target, title: key.target }, { number: `${count(key.hits)}${watched.has(key.route) ? " would be" : ""}` }]), "Nothing was read twice yet.");
  const runs = (warm?.runs ?? []).map((run) => [run.trigger, run.state, { number: `${count(run.done)} of ${count(run.total)}` }, { number: count(run.failed) }, { number: count(run.hits_earned) }]);
  table(byId("warm"), "Warm runs, the newest first", ["Run", "State", "Done", "Failed", "Hits earned"], runs, warm?.count ? `${count(warm.count)} tasks, none was due yet.` : "Nothing is warmed.");
  const nodes = (fleet?.nodes ?? []).map((node) => [{ code: node.about ?? node.id, title: node.id }, node.shut_out ? "shut out" : "in", { number: count(node.applied) }, node.self ? "this one" : ""]);
  table(byId("fleet"), "Nodes of the fleet", ["Node", "State", "Applied", ""], nodes, "This node is alone.");
}
