// What the cache would have done on routes that are only watched, apart from what it did; shadow.rs says the same.

import { byId, count, percent, strong, table, time, write } from "./words.js";

export function shadow(figures) {
  const { shadow: watched } = figures.state, { shadow: told } = figures.totals, place = byId("shadow");
  place.hidden = !watched.routes && !told;
  if (place.hidden) return;
  write(byId("shadow-sentence"), sentence(watched, told));
  const heads = ["Route", "Mode now", "Requests", "Would be hits", "Calls saved", "Time saved", "Would be the same", "Would be stale", "In a million (95 %)"];
  const rows = figures.routes.filter((route) => route.shadow).map(({ route, mode, shadow: own }) => [
    { code: route, title: route }, mode ?? "gone", { number: count(own.requests.all) }, { share: own.hit_ratio, text: percent(own.hit_ratio) },
    { number: count(own.origin_calls_saved) }, { number: time(own.seconds_saved) }, { number: count(own.checks.same) }, { number: count(own.checks.stale) }, { number: stale(own) },
  ]);
  table(byId("shadow-routes"), "What the cache would have done, by route", heads, rows, "Nothing was asked in shadow mode yet.");
}

function sentence({ routes, of }, told) {
  const parts = routes
    ? [strong(count(routes)), ` of ${of} routes ${routes === 1 ? "is" : "are"} in shadow mode: there the origin answers everything. `]
    : ["No route is in shadow mode any more. "];
  if (told?.hit_ratio == null) return [...parts, "Nothing was read there yet that a cache could answer."];
  parts.push("The cache would have answered ", strong(percent(told.hit_ratio)), " of reads, spared the origin ", strong(count(told.origin_calls_saved)), " calls, and clients about ", strong(time(told.seconds_saved)), " of waiting. ");
  const compared = told.checks.same + told.checks.stale;
  if (!compared) return [...parts, "None of its answers could be compared yet."];
  return [...parts, "Of ", strong(count(compared)), " answers that could be compared, ", strong(count(told.checks.stale)), ` would have been stale: ${stale(told)} in a million (95 %).`];
}

// `402 (69 to 2,338)`
function stale({ stale_per_million: share, interval }) {
  return share == null ? "–" : `${count(share)} (${interval.map(count).join(" to ")})`;
}
