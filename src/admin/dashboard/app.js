// Keeps the page up to date: asks for the token if one is needed, follows the stream, and hands on what comes.

import { History, Latency, Requests, resize } from "./charts.js";
import { explain } from "./explain.js";
import { Graph } from "./graph.js";
import { Invalidations, Routes, rest } from "./panels.js";
import { shadow } from "./shadow.js";
import { chips, matters, notices, sentence } from "./standing.js";
import { Refused, ask, follow, token } from "./stream.js";
import { byId, count, say } from "./words.js";

const root = document.documentElement;
const history = new History(), requests = new Requests(history), latency = new Latency(), routes = new Routes(), invalidations = new Invalidations();
const told = new Map();
let graph = null, stop = null, newest = null, offset = 0, paused = false, pending = false;

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
    chips(newest, age);
    notices(newest);
    shadow(newest);
    tell(newest);
    requests.update();
    latency.update();
    routes.update(newest);
    invalidations.update(newest);
    rest(newest);
    say(byId("node"), newest.node);
    say(byId("version"), newest.version);
    document.title = `${newest.state.alerts.length || newest.config.failure ? "⚠ " : ""}Larder ${newest.node}`;
    root.dataset.drawn = newest.at;
  });
}

// What matters is told when it begins and when it is over, and not each second.
function tell(figures) {
  const all = [];
  for (const [about, [begun, over]] of Object.entries(matters(figures))) {
    const before = told.get(about), now = begun || "";
    told.set(about, now);
    if (before !== undefined && before !== now) all.push(now || over);
  }
  if (all.length) news(all.join(" "));
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

byId("explain").addEventListener("submit", (event) => {
  event.preventDefault();
  explain();
});

for (const details of ["requests-details", "graph-details"]) byId(details).open = false;
if (root.dataset.access === "locked" && token.get() === null) locked("");
else begin();
