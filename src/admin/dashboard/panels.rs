//! What stands in the panels before a script fills them: tables and words.

use serde_json::Value;

use crate::admin::Sources;
use crate::admin::dashboard::markup::{Cell, Markup, listed};
use crate::admin::dashboard::words::{bytes, count, each, percent, time};
use crate::invalidate::audit::Query;
use crate::metrics::Cache;

/// Rows of lists that go on and on.
const ROWS: usize = 30;

/// Everything, and the monitor's windows.
pub(super) fn windows(sources: &Sources, figures: &Value) -> Markup {
    let requests = &figures["totals"]["requests"];
    let row = |name: String, counts: [u64; Cache::COUNT]| -> Vec<Cell> {
        let counts = counts.into_iter().map(|number| Cell::Number(count(number)));
        [Cell::Text(name)].into_iter().chain(counts).collect()
    };
    let all = Cache::ALL.map(|cache| requests[cache.label()].as_u64().unwrap_or_default());
    let mut rows = vec![row("Since the start".into(), all)];
    let ring = sources.monitor.report().ring;
    for window in ring.iter().rev().take(ROWS) {
        let until = humantime::format_rfc3339_seconds(window.at).to_string();
        let name = format!("{} until {until}", time(Some(window.span.as_secs_f64())));
        rows.push(row(name, Cache::ALL.map(|cache| window.all.requests[cache as usize])));
    }
    let heads = ["When", "Hit", "Miss", "Stale", "Revalidated", "Bypass"];
    let mut markup = Markup::default();
    markup.table("Requests by what the cache did", &heads, &rows);
    markup
}

/// How long answers took.
pub(super) fn latency(figures: &Value) -> Markup {
    let row = |name: &str, of: &Value| {
        let quantile = |name: &str| Cell::Number(time(of[name].as_f64()));
        let number = Cell::Number(count(of["count"].as_u64().unwrap_or_default()));
        vec![Cell::text(name), number, quantile("p50"), quantile("p95"), quantile("p99")]
    };
    let totals = &figures["totals"];
    let rows =
        [row("Hits", &totals["hits"]), row("Misses", &totals["misses"]), row("Origin", &totals["origin"])];
    let mut markup = Markup::default();
    markup.table("How long answers took, since the start", &["", "Count", "p50", "p95", "p99"], &rows);
    markup
}

/// What each route is worth.
pub(super) fn routes(figures: &Value) -> Markup {
    let rows: Vec<Vec<Cell>> = each(&figures["routes"])
        .map(|route| {
            let ratio = route["hit_ratio"].as_f64();
            let is_watched = ratio.is_none() && route["mode"] == "shadow";
            // That a write is none of the cache's business is no news.
            let reason = each(&route["reasons"]).find(|reason| reason["reason"] != "method");
            let reason = reason.map(|reason| {
                format!("{} {}", word(&reason["reason"]), count(reason["count"].as_u64().unwrap_or_default()))
            });
            vec![
                Cell::Code(word(&route["route"])),
                Cell::Number(count(route["requests"]["all"].as_u64().unwrap_or_default())),
                Cell::text("–"),
                Cell::Share(ratio, if is_watched { "shadow".into() } else { percent(ratio) }),
                Cell::Number(time(route["hits"]["p95"].as_f64())),
                Cell::Number(time(route["misses"]["p95"].as_f64())),
                Cell::Number(time(route["seconds_saved"].as_f64())),
                Cell::text(reason.unwrap_or_else(|| "–".into())),
            ]
        })
        .collect();
    let heads =
        ["Route", "Requests", "Trend", "From cache", "p95 hit", "p95 miss", "Saved", "Top miss reason"];
    listed("Routes, those with most requests first", &heads, &rows, "No request was answered yet.")
}

/// What was invalidated lately, the newest first.
pub(super) fn invalidations(sources: &Sources) -> Markup {
    let audited = sources.flow.parts().invalidator.audit(&Query::default());
    let newest = audited.iter().rev().take(ROWS);
    let rows: Vec<Vec<Cell>> = newest
        .map(|audited| {
            let (at, derived) =
                (humantime::format_rfc3339_seconds(audited.at).to_string(), audited.derived());
            let mut what =
                format!("{}: {} {}", audited.source.as_str(), audited.actor, audited.items().join(" "));
            if !derived.is_empty() {
                what.push_str(&format!(" → {}", derived.join(" ")));
            }
            vec![Cell::text(at), Cell::Text(what), Cell::Number(count(audited.entries.total))]
        })
        .collect();
    let heads = ["At", "By whom, what → what follows", "Dropped"];
    listed("Invalidations, the newest first", &heads, &rows, "Nothing was invalidated yet.")
}

/// What is derived from what.
pub(super) fn dependencies(sources: &Sources) -> Markup {
    let settings = sources.flow.parts().invalidator.settings();
    let edges = settings.dependencies.edges();
    let rows: Vec<Vec<Cell>> =
        edges.map(|(source, derived)| vec![Cell::Code(source), Cell::Code(derived.join(" "))]).collect();
    listed(
        "What is derived from what",
        &["Source", "Derived"],
        &rows,
        "The configuration has no dependencies.",
    )
}

/// What memory holds.
pub(super) fn memory(figures: &Value) -> Markup {
    let (memory, evictions) = (&figures["memory"], &figures["evictions"]);
    let number = |name: &str| memory[name].as_u64();
    let of = |name: &str, most: &str, told: fn(u64) -> String| {
        let now = number(name).map_or_else(|| "–".to_owned(), told);
        number(most).map_or(now.clone(), |most| format!("{now} of {}", told(most)))
    };
    let rows = [
        ("Used", percent(memory["used"].as_f64())),
        ("Entries", of("entries", "most_entries", count)),
        ("Weight", of("bytes", "most_bytes", bytes)),
        ("Process", of("resident", "most_resident", bytes)),
        ("Evicted for room", count(evictions["size"].as_u64().unwrap_or_default())),
        ("Expired", count(evictions["expired"].as_u64().unwrap_or_default())),
    ];
    facts(&rows)
}

/// What is read most; of what is only watched, what would be.
pub(super) fn hottest(figures: &Value) -> Markup {
    let is_watched = |name: &Value| {
        each(&figures["routes"]).any(|route| route["route"] == *name && route["mode"] == "shadow")
    };
    let rows: Vec<Vec<Cell>> = each(&figures["hottest"])
        .map(|key| {
            let hits = count(key["hits"].as_u64().unwrap_or_default());
            let would_be = if is_watched(&key["route"]) { " would be" } else { "" };
            vec![Cell::Code(word(&key["target"])), Cell::Number(format!("{hits}{would_be}"))]
        })
        .collect();
    listed("Hottest keys", &["Key", "Hits"], &rows, "Nothing was read twice yet.")
}

/// What is fetched before anybody asks.
pub(super) fn warm(figures: &Value) -> Markup {
    let rows: Vec<Vec<Cell>> = each(&figures["warm"]["runs"])
        .map(|run| {
            let number = |name: &str| run[name].as_u64().unwrap_or_default();
            vec![
                Cell::text(word(&run["trigger"])),
                Cell::text(word(&run["state"])),
                Cell::Number(format!("{} of {}", count(number("done")), count(number("total")))),
                Cell::Number(count(number("failed"))),
                Cell::Number(count(number("hits_earned"))),
            ]
        })
        .collect();
    let heads = ["Run", "State", "Done", "Failed", "Hits earned"];
    listed("Warm runs, the newest first", &heads, &rows, "Nothing was warmed yet.")
}

/// What was compared with the origin.
pub(super) fn audit(figures: &Value) -> Markup {
    let audit = &figures["audit"];
    let number = |name: &str| count(audit[name].as_u64().unwrap_or_default());
    let per_million = audit["stale_per_million"].as_f64();
    facts(&[
        ("Checks", number("checks")),
        ("Same", number("same")),
        ("Stale", number("stale")),
        ("Stale in a million", per_million.map_or_else(|| "–".into(), |stale| format!("{stale:.0}"))),
    ])
}

/// The nodes.
pub(super) fn fleet(figures: &Value) -> Markup {
    let rows: Vec<Vec<Cell>> = each(&figures["fleet"]["nodes"])
        .map(|node| {
            let is_self = if node["self"] == true { "this one" } else { "" };
            let state = if node["shut_out"] == true { "shut out" } else { "in" };
            let about = node["about"].as_str().map_or_else(|| word(&node["id"]), str::to_owned);
            vec![
                Cell::Code(about),
                Cell::text(state),
                Cell::Number(node["applied"].to_string()),
                Cell::text(is_self),
            ]
        })
        .collect();
    listed("Nodes of the fleet", &["Node", "State", "Applied", ""], &rows, "This node is alone.")
}

fn facts(rows: &[(&'static str, String)]) -> Markup {
    let mut markup = Markup::default();
    markup.raw("<dl>");
    for (name, value) in rows {
        markup.raw("<div><dt>").raw(name).raw("</dt><dd>").text(value).raw("</dd></div>");
    }
    markup.raw("</dl>");
    markup
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
