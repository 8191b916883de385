//! How it stands, in words: what it all comes to, a chip for each thing that may be well or not, and what somebody should do.

use serde_json::Value;

use crate::admin::dashboard::markup::Markup;
use crate::admin::dashboard::words::{count, each, percent, time};

/// Keys that are named.
const KEYS: usize = 20;

/// What it all comes to.
pub(super) fn sentence(figures: &Value) -> Markup {
    let totals = &figures["totals"];
    let requests = &totals["requests"];
    let served = ["hit", "stale"].iter().filter_map(|cache| requests[cache].as_u64()).sum();
    let mut markup = Markup::default();
    let Some(ratio) = totals["hit_ratio"].as_f64() else {
        let answered = requests["all"].as_u64().unwrap_or_default();
        markup.raw("Nothing was read through the cache yet: <strong>").text(&count(answered));
        markup.raw("</strong> requests were answered.");
        return markup;
    };
    markup.raw("<strong>").text(&percent(Some(ratio)));
    markup.raw("</strong> of reads came from the cache since the start: <strong>").text(&count(served));
    markup.raw("</strong> calls to the origin avoided");
    if let Some(saved) = totals["seconds_saved"].as_f64() {
        markup.raw(", about <strong>").text(&time(Some(saved))).raw("</strong> of waiting saved");
    }
    markup.raw(".");
    markup
}

/// How it stands: a word each, and whether that is well.
pub(super) fn chips(figures: &Value) -> Markup {
    let (state, config, mut markup) = (&figures["state"], &figures["config"], Markup::default());
    let mut chip = |kind: &'static str, name: &'static str, word: &str| {
        markup
            .raw("<li class=\"chip ")
            .raw(kind)
            .raw("\"><span>")
            .raw(name)
            .raw("</span> <b>")
            .text(word)
            .raw("</b></li>");
    };
    let ready = state["ready"].as_str().unwrap_or("unknown");
    chip(if ready == "ready" { "well" } else { "warn" }, "process", ready);
    match state["upstream"]["reachable"].as_bool() {
        Some(true) => chip("well", "upstream", "reachable"),
        Some(false) => chip("ill", "upstream", "unreachable"),
        None => chip("plain", "upstream", "not known"),
    }
    match (&state["redis"]["connected"], &state["redis"]["why"]) {
        (Value::Bool(true), _) => chip("well", "Redis", "connected"),
        (Value::Bool(false), why) => {
            chip("ill", "Redis", &format!("away: {}", why.as_str().unwrap_or("unknown")))
        }
        _ => chip("plain", "Redis", "none"),
    }
    match (state["lease"].is_null(), state["lease"]["left"].as_f64()) {
        (true, _) => chip("plain", "lease", "alone"),
        (false, None) => chip("plain", "lease", "not needed"),
        (false, Some(left)) if left > 0.0 => chip("well", "lease", "held"),
        (false, Some(_)) => chip("ill", "lease", "none"),
    }
    let loaded = config["loaded_at"].as_str().unwrap_or_default();
    chip("plain", "configuration", &format!("{} since {loaded}", brief(&config["digest"])));
    if !config["failure"].is_null() {
        chip("ill", "reload", "refused");
    }
    match config["needs_restart"].as_array().map_or(0, Vec::len) {
        0 => {}
        1 => chip("warn", "restart", "1 key waits for it"),
        keys => chip("warn", "restart", &format!("{keys} keys wait for it")),
    }
    match (state["shadow"]["routes"].as_u64().unwrap_or_default(), &state["shadow"]["of"]) {
        (0, _) => {}
        (routes, of) => chip("shadow", "shadow mode", &format!("{routes} of {of} routes")),
    }
    match state["switches"].as_array().map_or(0, Vec::len) {
        _ if state["enabled"] == false => chip("ill", "cache", "off"),
        0 => chip("well", "cache", "on"),
        off => chip("warn", "cache", &format!("{off} switched off")),
    }
    let alerts: Vec<&str> = each(&state["alerts"]).filter_map(|alert| alert["alert"].as_str()).collect();
    match alerts.is_empty() {
        true => chip("well", "alerts", "none"),
        false => chip("ill", "alerts", &alerts.join(", ")),
    }
    markup
}

/// What waits for somebody: a configuration that is wrong, and what holds only from the next start on.
pub(super) fn notices(figures: &Value) -> Markup {
    let (config, mut markup) = (&figures["config"], Markup::default());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let failure = &config["failure"];
    if !failure.is_null() {
        markup.raw("<li class=ill><p>The configuration that was read at ").text(&text(&failure["at"]));
        markup.raw(" is wrong, and did not come into force. The one before holds on: <code>");
        markup.text(brief(&config["digest"])).raw("</code> since ").text(&text(&config["loaded_at"]));
        markup.raw(".</p><pre tabindex=0 role=region aria-label=\"What is wrong with it\">");
        markup.text(text(&failure["report"]).trim_end()).raw("</pre></li>");
    }
    let keys: Vec<&str> = each(&config["needs_restart"]).filter_map(Value::as_str).collect();
    if !keys.is_empty() {
        markup.raw("<li class=warn><p>The file says something else than what the process began with, and that holds from its next start on:");
        for key in keys.iter().take(KEYS) {
            markup.raw(" <code>").text(key).raw("</code>");
        }
        if keys.len() > KEYS {
            markup.text(&format!(" and {} more", keys.len() - KEYS));
        }
        markup.raw(".</p></li>");
    }
    markup
}

/// As much of a digest as people compare.
fn brief(digest: &Value) -> &str {
    let digest = digest.as_str().unwrap_or_default();
    digest.get(..8).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_waits_for_somebody_is_said_as_text() {
        let at = "2026-01-01T00:00:00.000Z";
        let mut config =
            json!({ "digest": "0123456789", "loaded_at": at, "needs_restart": [], "failure": null });
        assert_eq!(notices(&json!({ "config": config })).as_str(), "");
        config["failure"] = json!({ "at": at, "report": "unknown key `<b>`\n" });
        config["needs_restart"] = (0..25).map(|key| format!("limits.{key}")).collect();
        let told = notices(&json!({ "config": config }));
        for wanted in
            ["unknown key `&lt;b&gt;`</pre>", "<code>01234567</code>", "<code>limits.19</code> and 5 more."]
        {
            assert!(told.as_str().contains(wanted), "{wanted}: {}", told.as_str());
        }
        assert!(!told.as_str().contains("limits.20"));
    }
}
