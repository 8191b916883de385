// Keeps the page up to date: asks for the token if one is needed, follows the stream, and hands on what comes.

import { History, Latency, Requests, resize } from "./charts.js";
import { Graph } from "./graph.js";
import { Invalidations, Routes, chips, rest, sentence } from "./panels.js";
import { Refused, ask, follow, token } from "./stream.js";
import { byId, count, element, facts, fill, say } from "./words.js";

const root = document.documentElement;
const history = new History(), requests = new Requests(history), latency = new Latency(), routes = new Routes(), invalidations = new Invalidations();
let graph = null, stop = null, newest = null, offset = 0, paused = false, firing = null, pending = false, was = "";

// ---- how it stands with the stream

function live(kind, text) {
  const place = byId("live");
  place.className = `live ${kind}`;
  say(place, text);
  root.dataset.live = kind;
}

function news(text) {
  say(byId("news"), text);
}

// ---- token

function locked(why) {
  stop?.();
  stop = null;
  byId("main").hidden = true;
  byId("login").hidden = false;
  byId("leave").hidden = true;
  byId("pause").hidden = true;
  say(byId("refused"), why);
  live("ill", "not live: no token");
  byId("token").focus();
}

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const shown = byId("token").value;
  if (/[^\x21-\x7e]/.test(shown)) return locked("A token is printable ASCII.");
  token.set(shown);
  try {
    const answer = await ask("/v1/figures");
    if (!answer.ok) throw new Error(`It was answered ${answer.status}.`);
    byId("token").value = "";
    begin();
    byId("pause").focus();
  } catch (error) {
    token.forget();
    locked(error instanceof Refused ? "This token opens nothing here." : "Nobody answers.");
  }
});

byId("leave").addEventListener("click", () => {
  token.forget();
  // What was seen is not left behind.
  location.reload();
});

// ---- the stream

function begin() {
  stop?.();
  byId("login").hidden = true;
  byId("main").hidden = false;
  byId("explain").hidden = false;
  byId("pause").hidden = false;
  byId("leave").hidden = token.get() === null;
  say(byId("refused"), "");
  live("warn", "connecting");
  stop = follow("/v1/stream?events=figures,invalidations,reloads&every=1s", {
    live: () => { live("well", paused ? "paused" : "live"); past(); },
    event: heard,
    lost: (why) => live("ill", `not live: ${why}; asking again`),
    refused: () => { token.forget(); locked("The token opens nothing here any more."); },
  });
}

// What happened before this page looked on, and what stands in the configuration.
async function past() {
  try {
    const [list, edges] = await Promise.all(["/v1/invalidations?limit=50", "/v1/dependencies"].map(async (path) => (await ask(path)).json()));
    for (const one of list.invalidations) invalidations.add(one);
    graph = new Graph(edges.dependencies);
    graph.draw();
    show();
  } catch (error) {
    if (!(error instanceof Refused)) news("What was invalidated before could not be had.");
  }
}

function heard(name, data) {
  if (name === "figures") {
    newest = data;
    offset = Date.parse(data.at) - Date.now();
    history.take(data);
    latency.take(data);
    routes.take(data);
  } else if (name === "invalidation") {
    if (invalidations.add(data)) history.mark(Date.parse(data.at) / 1e3, "invalidation");
    if (!paused) graph?.light([...data.reach, ...data.derived]);
  } else if (name === "reload") {
    history.mark(Date.parse(data.at) / 1e3, "reload");
    news("Another configuration is in force.");
    past();
  } else if (name === "lost") {
    news(`${count(data.count)} ${data.of} were too fast for this page.`);
    if (data.of === "invalidations") past();
  }
  show();
}

// Draws once a frame at most, and not where nobody sees it.
function show() {
  if (pending || paused) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    if (!newest) return;
    const age = (at) => (Date.now() + offset - Date.parse(at)) / 1e3;
    sentence(newest);
    const alerts = chips(newest, age);
    tell(alerts);
    requests.update();
    latency.update();
    routes.update(newest);
    invalidations.update(newest);
    rest(newest);
    say(byId("node"), newest.node);
    say(byId("version"), newest.version);
    document.title = `${alerts.length ? "⚠ " : ""}Larder ${newest.node}`;
    root.dataset.drawn = newest.at;
  });
}

// Alerts are told when they begin and end, and not each second.
function tell(alerts) {
  const now = alerts.join(", ");
  if (firing !== null && now !== was) news(now ? `Alert: ${now}` : "All alerts are over.");
  [firing, was] = [alerts, now];
}

// ---- what a person does

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  if (root.dataset.live === "well") live("well", paused ? "paused" : "live");
  show();
});

const themes = ["system", "dark", "light"];
function themed(theme) {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  say(byId("theme"), `Theme: ${theme}`);
  if (requests.plot) requests.draw();
  if (latency.plot) latency.draw();
}
byId("theme").addEventListener("click", () => {
  const next = themes[(themes.indexOf(localStorage.getItem("larder-theme") ?? "system") + 1) % themes.length];
  localStorage.setItem("larder-theme", next);
  themed(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => themed(localStorage.getItem("larder-theme") ?? "system"));
byId("theme").hidden = false;
const remembered = localStorage.getItem("larder-theme");
themed(themes.includes(remembered) ? remembered : "system");

byId("requests-details").addEventListener("toggle", () => newest && requests.tell());
byId("latency-details").addEventListener("toggle", () => newest && latency.tell());
new ResizeObserver(() => requestAnimationFrame(() => resize(requests, latency))).observe(byId("main"));

byId("explain").addEventListener("submit", async (event) => {
  event.preventDefault();
  const place = byId("explained"), headers = {};
  for (const line of byId("explain-fields").value.split("\n")) {
    const at = line.indexOf(":");
    if (at > 0) headers[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  const asked = { method: byId("explain-method").value, target: byId("explain-target").value };
  if (Object.keys(headers).length) asked.headers = headers;
  try {
    const answer = await ask("/v1/explain", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked) });
    const told = await answer.json();
    if (answer.ok) fill(place, ...explained(told));
    else fill(place, element("p", { class: "refused" }, told.detail ?? `It was answered ${answer.status}.`));
  } catch (error) {
    fill(place, element("p", { class: "refused" }, error instanceof Refused ? "The token may not ask this." : "Nobody answers."));
  }
});

function explained(told) {
  const { outcome, route, entries, key, tags, stored, last_refused: refused, dropped_by: dropped } = told, pairs = [];
  const list = element("div");
  pairs.push(["Becomes", told.because ? `${told.becomes} (${told.because})` : told.becomes]);
  const next = (of) => [of.x_cache, of.cache_status, of.status].filter((word) => word != null).join(" · ") || "–";
  pairs.push(["Next time", next(outcome)]);
  for (const other of outcome.or ?? []) pairs.push([`or, ${other.when.replaceAll("-", " ")}`, next(other)]);
  if (route) pairs.push(["Route", route.ttl == null ? route.template : `${route.template}, ${route.ttl} s`]);
  if (entries) pairs.push(["Entries", `${entries.of}: ${entries.why}`]);
  if (key) pairs.push(["Key", `${key.host}${key.path}${key.query ? `?${key.query}` : ""}`]);
  if (tags) pairs.push([tags.known === "all" ? "Tags" : "Tags so far", tags.tags.join(" ")]);
  pairs.push(["Stored", stored ? flat(stored) : "nothing"]);
  if (refused) pairs.push(["Last answer not kept", flat(refused)]);
  if (told.write) pairs.push(["Outdates now", `${count(told.write.entries)} entries: ${told.write.rules.map((rule) => rule.rule).join(", ") || "its own path"}`]);
  if (dropped?.length) pairs.push(["Dropped by", dropped.slice(0, 20).map(({ tag, by }) => `${tag} by ${by.join(", ")}`).join("; ")]);
  facts(list, pairs);
  const all = element("details", {}, element("summary", {}, "All of it"), element("pre", { tabindex: "0" }, JSON.stringify(told, null, 2)));
  return [list, all];
}

// What an object says, in a line.
function flat(value) {
  if (value === null || typeof value !== "object") return String(value);
  if (Array.isArray(value)) return value.slice(0, 20).map(flat).join(" ");
  return Object.entries(value).filter(([, one]) => one !== null && one !== false && !(Array.isArray(one) && one.length === 0)).map(([name, one]) => (one === true ? name : `${name.replaceAll("_", " ")} ${flat(one)}`)).join(", ");
}

for (const details of ["requests-details", "graph-details"]) byId(details).open = false;
if (root.dataset.access === "locked" && token.get() === null) locked("");
else begin();
