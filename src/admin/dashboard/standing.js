// How it stands, in words: what it all comes to, a chip for each thing that may be well or not, and what somebody should do.

import { byId, clock, count, element, fill, percent, say, strong, time, write } from "./words.js";

const KEYS = 20;
let noticed = "";

// What it all comes to.
export function sentence(figures) {
  const { hit_ratio: ratio, requests, seconds_saved: saved } = figures.totals;
  const parts = ratio == null
    ? ["Nothing was read through the cache yet: ", strong(count(requests.all)), " requests were answered"]
    : [strong(percent(ratio)), " of reads came from the cache since the start: ", strong(count(requests.hit + requests.stale)), " calls to the origin avoided"];
  if (saved != null) parts.push(", about ", strong(time(saved)), " of waiting saved");
  parts.push(".");
  write(byId("sentence"), parts);
}

// A chip for each thing that may be well or not: [kind, name, word, more].
export function chips(figures, age) {
  const { state, config } = figures, all = [];
  all.push([state.ready === "ready" ? "well" : "warn", "process", state.ready === "ready" ? `up ${time(figures.uptime_seconds)}` : state.ready]);
  const up = state.upstream.reachable;
  all.push([up === true ? "well" : up === false ? "ill" : "plain", "upstream", up === true ? "reachable" : up === false ? "unreachable" : "not known", state.upstream.error]);
  if (!state.redis) all.push(["plain", "Redis", "none"]);
  else all.push(state.redis.connected ? ["well", "Redis", "connected"] : ["ill", "Redis", `away: ${state.redis.why}`, state.channels?.last_error]);
  const lease = state.lease;
  if (!lease) all.push(["plain", "lease", "alone"]);
  else if (lease.left == null) all.push(["plain", "lease", `not needed (${lease.coherence})`]);
  else all.push(lease.left > 0 ? ["well", "lease", "held"] : ["ill", "lease", "none", lease.error]);
  all.push(["plain", "configuration", `${config.digest.slice(0, 8)}, ${time(Math.max(0, age(config.loaded_at)))} old`]);
  const { failure, needs_restart: keys } = config, { routes, of } = state.shadow;
  if (failure) all.push(["ill", "reload", "refused"]);
  if (keys.length) all.push(["warn", "restart", keys.length === 1 ? "1 key waits for it" : `${keys.length} keys wait for it`, keys.join(" ")]);
  if (routes) all.push(["shadow", "shadow mode", `${routes} of ${of} routes`]);
  const off = state.switches.length;
  all.push(!state.enabled ? ["ill", "cache", "off"] : off ? ["warn", "cache", `${off} switched off`, state.switches.map((one) => `${one.route ?? "everything"} for ${one.left}`).join(", ")] : ["well", "cache", "on"]);
  const alerts = state.alerts.map((alert) => alert.alert);
  const detail = state.alerts.map(({ alert, value, target, route, since }) => `${alert} since ${since}: ${value}, wanted ${target}${route ? `, most of all ${route}` : ""}`).join("; ");
  all.push(alerts.length ? ["ill", "alerts", alerts.join(", "), detail] : ["well", "alerts", "none"]);
  const place = byId("chips");
  while (place.children.length > all.length) place.lastElementChild.remove();
  all.forEach(([kind, name, word, title], at) => {
    const chip = place.children[at] ?? place.appendChild(element("li", {}, element("span"), " ", element("b")));
    if (chip.className !== `chip ${kind}`) chip.className = `chip ${kind}`;
    if ((title ?? "") !== chip.title) chip.title = title ?? "";
    say(chip.firstElementChild, name);
    say(chip.lastElementChild, word);
  });
}

// What waits for somebody: a configuration that is wrong, and what holds only from the next start on.
export function notices({ config }) {
  const { digest, loaded_at: loaded, failure, needs_restart: keys } = config, now = JSON.stringify([digest, loaded, failure, keys]);
  // Who reads the report keeps his place in it.
  if (now === noticed) return;
  noticed = now;
  const code = (text) => element("code", {}, text), all = [];
  if (failure) {
    const words = element("p", {}, `The configuration that was read at ${at(failure.at)} is wrong, and did not come into force. The one before holds on: `, code(digest.slice(0, 8)), ` since ${at(loaded)}.`);
    all.push(element("li", { class: "ill" }, words, element("pre", { tabindex: "0", role: "region", "aria-label": "What is wrong with it" }, failure.report.trimEnd())));
  }
  if (keys.length) {
    const more = keys.length > KEYS ? ` and ${keys.length - KEYS} more` : "";
    const named = keys.slice(0, KEYS).flatMap((key) => [" ", code(key)]);
    all.push(element("li", { class: "warn" }, element("p", {}, "The file says something else than what the process began with, and that holds from its next start on:", ...named, `${more}.`)));
  }
  fill(byId("notices"), ...all);
}

// What is to be told aloud when it begins and when it is over, by what it is about.
export function matters({ config, state }) {
  const { failure, needs_restart: keys } = config, alerts = state.alerts.map((alert) => alert.alert).join(", "), { routes, of } = state.shadow;
  return {
    alerts: [alerts && `Alert: ${alerts}`, "All alerts are over."],
    failure: [failure && `The configuration that was read at ${at(failure.at)} is wrong. The one before holds on.`, "The configuration is right again."],
    restart: [keys.length && `These keys wait for a restart: ${keys.slice(0, KEYS).join(", ")}.`, "Nothing waits for a restart any more."],
    shadow: [routes && `${routes} of ${of} routes are in shadow mode.`, "No route is in shadow mode any more."],
  };
}

// A time of day, with the date if it was another day.
function at(text) {
  const then = new Date(text), time = clock(then / 1e3);
  return then.toDateString() === new Date().toDateString() ? time : `${time} on ${then.toDateString()}`;
}
