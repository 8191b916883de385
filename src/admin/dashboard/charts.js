// Requests over time and latency, drawn by uPlot, each with a table of the same numbers. What is remembered is bounded.

import { byId, clock, count, element, fill, percent, rate, say, table, time } from "./words.js";

export const CACHES = ["hit", "stale", "revalidated", "miss", "bypass"];
const POINTS = 900;
const MARKS = 900;
const SNAPSHOTS = 31;
const SNAPSHOT_EVERY = 10;
const HEIGHT = 210;
const DECADES = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// One number a second for each word of the cache, the oldest first.
export class History {
  constructor() {
    this.at = [];
    this.spans = [];
    this.rates = Object.fromEntries(CACHES.map((cache) => [cache, []]));
    this.marks = [];
    this.last = null;
  }

  // Takes figures; what was counted between two of them is a rate. A process that began anew begins a new history.
  take(figures) {
    const at = Date.parse(figures.at) / 1e3, requests = figures.totals.requests;
    const before = this.last;
    this.last = { at, requests, uptime: figures.uptime_seconds };
    if (!before || figures.uptime_seconds < before.uptime || at <= before.at) return;
    const span = at - before.at;
    // Where nobody looked there is a gap.
    if (span > 10) this.push(before.at + 0.001, 0, () => null);
    this.push(at, span, (cache) => Math.max(0, requests[cache] - before.requests[cache]) / span);
  }

  push(at, span, value) {
    this.at.push(at);
    this.spans.push(span);
    for (const cache of CACHES) this.rates[cache].push(value(cache));
    if (this.at.length > POINTS) {
      this.at.shift();
      this.spans.shift();
      for (const cache of CACHES) this.rates[cache].shift();
    }
  }

  mark(at, kind) {
    const last = this.marks.at(-1);
    if (last && last.kind === kind && at - last.at < 1) { last.count += 1; return; }
    this.marks.push({ at, kind, count: 1 });
    if (this.marks.length > MARKS) this.marks.shift();
  }

  // Areas stand on one another: the first is the sum of all.
  stacked() {
    const sums = CACHES.map(() => new Array(this.at.length));
    for (let point = 0; point < this.at.length; point += 1) {
      let sum = 0;
      CACHES.forEach((cache, at) => {
        const value = this.rates[cache][point];
        sum = value === null || sum === null ? null : sum + value;
        sums[at][point] = sum;
      });
    }
    return [this.at, ...sums.reverse()];
  }

  // From when to when: two minutes at least, though nothing was counted yet.
  span() {
    const end = this.last?.at ?? Date.now() / 1e3;
    return [Math.min(this.at[0] ?? end, end - 120), end];
  }

  // What was counted, by minute, the newest first.
  minutes() {
    const rows = new Map();
    for (let point = 0; point < this.at.length; point += 1) {
      const minute = Math.floor(this.at[point] / 60), span = this.spans[point];
      const row = rows.get(minute) ?? { minute, ...Object.fromEntries(CACHES.map((cache) => [cache, 0])) };
      for (const cache of CACHES) row[cache] += (this.rates[cache][point] ?? 0) * span;
      rows.set(minute, row);
    }
    return [...rows.values()].reverse();
  }
}

export class Requests {
  constructor(history) {
    this.history = history;
    this.place = byId("requests-chart");
    fill(byId("legend"), ...CACHES.map((cache) => element("li", { class: cache }, cache)), element("li", { class: "invalidation" }, "invalidation"), element("li", { class: "reload" }, "reload"));
  }

  draw() {
    this.plot?.destroy();
    const axis = { stroke: colour("dim"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui", size: 28 };
    const series = [...CACHES].reverse().map((cache) => ({ label: cache, stroke: colour(cache), fill: colour(cache), width: 0, points: { show: false } }));
    this.plot = new uPlot({
      width: width(this.place), height: HEIGHT,
      legend: { show: false }, cursor: { show: false }, padding: [8, 22, 0, 0],
      scales: { x: { time: true, range: () => this.history.span() }, y: { range: (_, low, high) => [0, Math.max(1, high ?? 1) * 1.08] } },
      axes: [{ ...axis, values: (_, ticks) => ticks.map(clock), space: 90 }, { ...axis, size: 46, values: (_, ticks) => ticks.map((tick) => (tick >= 1000 ? `${tick / 1000}k` : `${tick}`)) }],
      series: [{}, ...series],
      hooks: { draw: [(plot) => this.lines(plot)] },
    }, this.history.stacked(), this.place);
  }

  lines(plot) {
    const { left, top, height, width: wide } = plot.bbox, context = plot.ctx;
    context.save();
    for (const mark of this.history.marks) {
      const x = plot.valToPos(mark.at, "x", true);
      if (x < left || x > left + wide) continue;
      context.fillStyle = colour(mark.kind);
      const thick = Math.max(1, Math.round(devicePixelRatio));
      if (mark.kind === "reload") context.fillRect(x, top, thick * 2, height);
      else {
        context.globalAlpha = 0.55;
        context.fillRect(x, top, thick, height);
        context.globalAlpha = 1;
        context.beginPath();
        context.moveTo(x - 4 * thick, top); context.lineTo(x + 4 * thick, top); context.lineTo(x, top + 6 * thick);
        context.fill();
      }
    }
    context.restore();
  }

  update() {
    if (!this.plot) this.draw();
    this.plot.setData(this.history.stacked());
    const sum = (caches, last) => caches.reduce((all, cache) => all + this.history.rates[cache].slice(-last).reduce((one, value) => one + (value ?? 0), 0), 0);
    const served = sum(["hit", "stale"], 60), asked = served + sum(["miss", "revalidated"], 60);
    say(byId("rate"), `${rate(sum(CACHES, 1))} now, ${percent(asked ? served / asked : null)} from the cache in the last minute`);
    if (byId("requests-details").open) this.tell();
  }

  tell() {
    const rows = this.history.minutes().map((row) => {
      const marks = (kind) => this.history.marks.filter((mark) => mark.kind === kind && Math.floor(mark.at / 60) === row.minute).reduce((sum, mark) => sum + mark.count, 0);
      return [clock(row.minute * 60).slice(0, 5), ...CACHES.map((cache) => ({ number: count(row[cache]) })), { number: count(marks("invalidation")) }, { number: count(marks("reload")) }];
    });
    table(byId("requests-table"), "Requests in each minute since this page looks on", ["Minute", ...CACHES, "invalidations", "reloads"], rows, "This page has just begun to look on.");
  }
}

export class Latency {
  constructor() {
    this.place = byId("latency-chart");
    this.kept = [];
  }

  // Looks back over the last five minutes at most.
  take(figures) {
    const at = Date.parse(figures.at) / 1e3, { hits, misses, origin } = figures.totals;
    const newest = { at, uptime: figures.uptime_seconds, hits, misses, origin };
    const last = this.kept.at(-1);
    if (last && newest.uptime < last.uptime) this.kept = [];
    if (!last || at - last.at >= SNAPSHOT_EVERY) {
      this.kept.push(newest);
      if (this.kept.length > SNAPSHOTS) this.kept.shift();
    }
    const first = this.kept[0];
    // Until there is a past to look back to, everything since the start is shown.
    const base = at - first.at >= 5 ? first : null;
    this.bounds = figures.bounds;
    this.span = base ? at - base.at : figures.uptime_seconds;
    this.shown = {};
    for (const name of ["hits", "misses", "origin"]) this.shown[name] = since(newest[name], base?.[name], this.bounds.length + 1);
  }

  // Shares by bucket: [upper bounds, hits, misses], from the first that has any to the last.
  data() {
    const { hits, misses } = this.shown, any = (at) => hits[at] + misses[at] > 0;
    const first = this.bounds.findIndex((_, at) => any(at));
    if (first < 0) return [[], [], []];
    let last = this.bounds.length - 1;
    while (!any(last)) last -= 1;
    const from = Math.max(0, first - 2), to = Math.min(this.bounds.length, last + 3);
    const total = (counts) => counts.reduce((sum, value) => sum + value, 0) || 1;
    const share = (counts) => counts.slice(from, to).map((value) => (100 * value) / total(counts));
    return [this.bounds.slice(from, to), share(hits), share(misses)];
  }

  draw() {
    this.plot?.destroy();
    const axis = { stroke: colour("dim"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui", size: 28 };
    const bars = uPlot.paths.stepped({ align: -1 });
    const one = (label, name) => ({ label, stroke: colour(name), fill: `${colour(name)}55`, width: 1.5, paths: bars, points: { show: false } });
    this.plot = new uPlot({
      width: width(this.place), height: HEIGHT - 62,
      legend: { show: false }, cursor: { show: false }, padding: [8, 22, 0, 0],
      scales: { x: { time: false, distr: 3, log: 10 }, y: { range: (_, low, high) => [0, Math.max(10, high ?? 10) * 1.1] } },
      axes: [{ ...axis, splits: (_, __, low, high) => DECADES.filter((bound) => bound >= low * 0.99 && bound <= high * 1.01), values: (_, ticks) => ticks.map(decade) }, { ...axis, size: 40, values: (_, ticks) => ticks.map((tick) => `${tick} %`) }],
      series: [{}, one("hits", "hit"), one("misses", "miss")],
    }, this.data(), this.place);
  }

  update() {
    const data = this.data();
    if (data[0].length === 0) {
      if (!this.plot) say(this.place, "No answer yet.");
    } else {
      if (!this.plot) { fill(this.place); this.draw(); }
      this.plot.setData(data);
    }
    say(byId("latency-span"), `last ${time(this.span)}`);
    const row = (name, counts) => {
      const total = counts.reduce((sum, value) => sum + value, 0);
      const at = (share) => ({ number: time(quantile(counts, this.bounds, share)) });
      return [name, { number: count(total) }, at(0.5), at(0.95), at(0.99)];
    };
    const { hits, misses, origin } = this.shown;
    table(byId("latency"), "How long answers took", ["", "Count", "p50", "p95", "p99"], [row("Hits", hits), row("Misses", misses), row("Origin", origin)]);
    if (byId("latency-details").open) this.tell();
  }

  tell() {
    const { hits, misses } = this.shown, rows = [];
    for (let at = 0; at <= this.bounds.length; at += 1) {
      if (hits[at] + misses[at] > 0) rows.push([at < this.bounds.length ? `to ${time(this.bounds[at])}` : "longer", { number: count(hits[at]) }, { number: count(misses[at]) }]);
    }
    table(byId("latency-table"), "Answers by how long they took", ["Time", "Hits", "Misses"], rows, "No answer yet.");
  }
}

function since(now, before, length) {
  const counts = new Array(length).fill(0);
  for (const [slot, value] of now.buckets) counts[slot] += value;
  for (const [slot, value] of before?.buckets ?? []) counts[slot] = Math.max(0, counts[slot] - value);
  return counts;
}

export function quantile(counts, bounds, share) {
  const total = counts.reduce((sum, value) => sum + value, 0);
  if (total === 0) return null;
  const rank = Math.max(1, share * total);
  let below = 0;
  for (let at = 0; at < counts.length; at += 1) {
    if (counts[at] > 0 && below + counts[at] >= rank) {
      if (at >= bounds.length) break;
      const lower = at > 0 ? bounds[at - 1] : 0;
      return lower + ((bounds[at] - lower) * (rank - below)) / counts[at];
    }
    below += counts[at];
  }
  return bounds.at(-1);
}

function decade(seconds) {
  const exponent = Math.log10(seconds);
  if (seconds == null || Math.abs(exponent - Math.round(exponent)) > 1e-6) return "";
  return seconds < 1e-3 ? `${Math.round(seconds * 1e6)} µs` : seconds < 1 ? `${Math.round(seconds * 1e3)} ms` : `${Math.round(seconds)} s`;
}

function width(place) {
  return Math.max(200, place.clientWidth);
}

export function resize(...charts) {
  for (const chart of charts) if (chart.plot) chart.plot.setSize({ width: width(chart.place), height: chart.plot.height });
}

