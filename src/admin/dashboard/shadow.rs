//! What the cache would have done on routes that are only watched, apart from what it did; `shadow.js` says the same.

use serde_json::Value;

use crate::admin::dashboard::markup::{Cell, Markup, listed};
use crate::admin::dashboard::words::{count, each, percent, time};

/// Whether there is anything to tell.
pub(super) fn is_known(figures: &Value) -> bool {
    figures["state"]["shadow"]["routes"].as_u64() > Some(0) || !figures["totals"]["shadow"].is_null()
}

/// Which routes are watched, and what it comes to.
pub(super) fn sentence(figures: &Value) -> Markup {
    let (watched, told, mut markup) =
        (&figures["state"]["shadow"], &figures["totals"]["shadow"], Markup::default());
    match watched["routes"].as_u64().unwrap_or_default() {
        0 => markup.raw("No route is in shadow mode any more. "),
        1 => markup
            .raw("<strong>1</strong> of ")
            .text(&watched["of"].to_string())
            .raw(" routes is in shadow mode: "),
        routes => {
            markup.raw("<strong>").text(&count(routes)).raw("</strong> of ").text(&watched["of"].to_string());
            markup.raw(" routes are in shadow mode: ")
        }
    };
    if watched["routes"] != 0 {
        markup.raw("there the origin answers everything. ");
    }
    let Some(ratio) = told["hit_ratio"].as_f64() else {
        markup.raw("Nothing was read there yet that a cache could answer.");
        return markup;
    };
    let (checks, number) = (&told["checks"], |value: &Value| count(value.as_u64().unwrap_or_default()));
    markup.raw("The cache would have answered <strong>").text(&percent(Some(ratio)));
    markup.raw("</strong> of reads, spared the origin <strong>").text(&number(&told["origin_calls_saved"]));
    markup.raw("</strong> calls, and clients about <strong>").text(&time(told["seconds_saved"].as_f64()));
    let compared = checks["same"].as_u64().unwrap_or_default() + checks["stale"].as_u64().unwrap_or_default();
    if compared == 0 {
        markup.raw("</strong> of waiting. None of its answers could be compared yet.");
        return markup;
    }
    markup.raw("</strong> of waiting. Of <strong>").text(&count(compared));
    markup.raw("</strong> answers that could be compared, <strong>").text(&number(&checks["stale"]));
    markup.raw("</strong> would have been stale: ").text(&stale(told)).raw(" in a million (95 %).");
    markup
}

/// Route by route.
pub(super) fn routes(figures: &Value) -> Markup {
    let rows: Vec<Vec<Cell>> = each(&figures["routes"])
        .filter(|route| !route["shadow"].is_null())
        .map(|route| {
            let told = &route["shadow"];
            let number = |value: &Value| Cell::Number(count(value.as_u64().unwrap_or_default()));
            let ratio = told["hit_ratio"].as_f64();
            vec![
                Cell::Code(route["route"].as_str().unwrap_or_default().to_owned()),
                Cell::text(route["mode"].as_str().unwrap_or("gone")),
                number(&told["requests"]["all"]),
                Cell::Share(ratio, percent(ratio)),
                number(&told["origin_calls_saved"]),
                Cell::Number(time(told["seconds_saved"].as_f64())),
                number(&told["checks"]["same"]),
                number(&told["checks"]["stale"]),
                Cell::Number(stale(told)),
            ]
        })
        .collect();
    let heads = [
        "Route",
        "Mode now",
        "Requests",
        "Would be hits",
        "Calls saved",
        "Time saved",
        "Would be the same",
        "Would be stale",
        "In a million (95 %)",
    ];
    listed("What the cache would have done, by route", &heads, &rows, "Nothing was asked in shadow mode yet.")
}

/// `402 (69 to 2,338)`
fn stale(told: &Value) -> String {
    let whole = |value: &Value| value.as_f64().map(|number| count(number.round() as u64));
    let (share, interval) = (whole(&told["stale_per_million"]), &told["interval"]);
    match (share, whole(&interval[0]), whole(&interval[1])) {
        (Some(share), Some(low), Some(high)) => format!("{share} ({low} to {high})"),
        _ => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_would_have_been_is_told_with_how_sure_that_is() {
        let mut told = json!({
            "requests": { "all": 10 }, "hit_ratio": 0.5, "origin_calls_saved": 4, "seconds_saved": 1.5,
            "checks": { "same": 3, "stale": 1 }, "stale_per_million": 250_000.0, "interval": [45_587.3, 699_358.1],
        });
        let of = |told: &Value, routes: u64| {
            let route = json!({ "route": "/a", "mode": "shadow", "shadow": told });
            let state = json!({ "shadow": { "routes": routes, "of": 3 } });
            json!({ "state": state, "totals": { "shadow": told }, "routes": [route] })
        };
        let words =
            |figures: &Value| sentence(figures).as_str().replace("<strong>", "").replace("</strong>", "");
        assert_eq!(
            words(&of(&told, 1)),
            "1 of 3 routes is in shadow mode: there the origin answers everything. The cache would have answered 50.0 % of reads, \
             spared the origin 4 calls, and clients about 1.5 s of waiting. Of 4 answers that could be compared, 1 would have been \
             stale: 250,000 (45,587 to 699,358) in a million (95 %)."
        );
        assert!(routes(&of(&told, 1)).as_str().contains("250,000 (45,587 to 699,358)"));
        (told["checks"]["same"], told["checks"]["stale"]) = (json!(0), json!(0));
        assert!(words(&of(&told, 2)).ends_with("None of its answers could be compared yet."));
        let nothing = of(&Value::Null, 2);
        assert!(is_known(&nothing) && words(&nothing).ends_with("yet that a cache could answer."));
        assert!(!is_known(&of(&Value::Null, 0)));
        assert!(words(&of(&told, 0)).starts_with("No route is in shadow mode any more. The cache"));
    }
}
