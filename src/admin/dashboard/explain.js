// The box that says what would become of a request, and why.

import { Refused, ask } from "./stream.js";
import { byId, count, element, facts, fill } from "./words.js";

export async function explain() {
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
}

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
