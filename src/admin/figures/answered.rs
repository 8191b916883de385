//! What was answered, by route and all together.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::admin::Sources;
use crate::admin::figures::seldom::Seen;
use crate::metrics::{Cache, Shadowed, Tally};
use crate::monitor::usage::shadow::Shadow;

/// Routes that are told of by themselves: those with most requests.
const ROUTES: usize = 100;
/// Reasons that are told of a route.
const REASONS: usize = 3;

/// Answered without waiting for the origin.
const HITS: [Cache; 2] = [Cache::Hit, Cache::Stale];
/// Fetched or confirmed for the cache.
const MISSES: [Cache; 2] = [Cache::Miss, Cache::Revalidated];

/// What clients were answered.
#[derive(Clone, Debug, Default)]
struct Answered {
    requests: [u64; Cache::COUNT],
    hits: Tally,
    misses: Tally,
    /// What only fetching takes: of what is estimated that hits save.
    fetched: Tally,
}

impl Answered {
    fn of(durations: &[Tally; Cache::COUNT]) -> Self {
        let together = |caches: [Cache; 2]| {
            caches.iter().fold(Tally::default(), |mut sum, cache| {
                sum.add(&durations[*cache as usize]);
                sum
            })
        };
        Self {
            requests: durations.each_ref().map(Tally::count),
            hits: together(HITS),
            misses: together(MISSES),
            fetched: durations[Cache::Miss as usize].clone(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests.iter_mut().zip(other.requests).for_each(|(sum, count)| *sum += count);
        self.hits.add(&other.hits);
        self.misses.add(&other.misses);
    }

    fn count(&self) -> u64 {
        self.requests.iter().sum()
    }

    /// As many fetches as there were hits, each as long as one is in the mean, less what the hits took.
    fn saved(&self) -> Option<Duration> {
        let fetches = self.fetched.count();
        let mean = (fetches > 0).then(|| self.fetched.sum().div_f64(fetches as f64))?;
        Some(mean.mul_f64(self.hits.count() as f64).saturating_sub(self.hits.sum()))
    }

    fn told(&self, saved: Option<Duration>) -> Map<String, Value> {
        let asked = self.hits.count() + self.misses.count();
        let each = Cache::ALL.iter().zip(self.requests);
        let mut requests: Map<_, _> =
            each.map(|(cache, count)| (cache.label().to_owned(), count.into())).collect();
        requests.insert("all".into(), self.count().into());
        let told = json!({
            "requests": requests,
            "hit_ratio": (asked > 0).then(|| self.hits.count() as f64 / asked as f64),
            "origin_requests": self.count() - self.hits.count(),
            "seconds_saved": saved.map(|saved| saved.as_secs_f64()),
            "hits": histogram(&self.hits),
            "misses": histogram(&self.misses),
        });
        told.as_object().cloned().unwrap_or_default()
    }
}

/// Upper bounds of the buckets, in seconds.
pub(super) fn bounds() -> Vec<f64> {
    Tally::bounds().map(|bound| bound.as_secs_f64()).collect()
}

/// All together, each of those routes that have most requests, and how many more have any.
pub(super) fn told(sources: &Sources, seldom: &Seen) -> (Value, Vec<Value>, usize) {
    let (mut all, mut saved, mut routes) = (Answered::default(), None::<Duration>, Vec::new());
    let mut shadow = Shadowed::default();
    for (route, template) in sources.metrics.templates() {
        let answered = Answered::of(&sources.metrics.read_route(route).durations);
        if answered.count() == 0 {
            continue;
        }
        all.add(&answered);
        shadow = shadow.and(&sources.metrics.shadow(route));
        if let Some(more) = answered.saved() {
            saved = Some(saved.unwrap_or_default() + more);
        }
        routes.push((route, template, answered));
    }
    routes.sort_by_key(|(.., answered)| Reverse(answered.count()));
    let left_out = routes.len().saturating_sub(ROUTES);
    routes.truncate(ROUTES);
    let parts = sources.flow.parts();
    let modes: HashMap<usize, _> =
        parts.rules.table.routes().iter().map(|route| (route.index, route.settings.mode.as_str())).collect();
    let routes = routes.into_iter().map(|(route, template, answered)| {
        let mut told = answered.told(answered.saved());
        let shadow = Shadow::of(&sources.metrics.shadow(route));
        let bytes = seldom.bytes.get(template);
        let reasons = sources.metrics.misses(route).into_iter().take(REASONS);
        let reasons: Vec<Value> =
            reasons.map(|(reason, count)| json!({ "reason": reason, "count": count })).collect();
        told.insert("route".into(), template.into());
        told.insert("reasons".into(), reasons.into());
        told.insert("mode".into(), json!(modes.get(&route)));
        told.insert("shadow".into(), json!(shadow));
        told.insert("bytes_hit".into(), json!(bytes.map(|(hit, _)| hit)));
        told.insert("bytes_filled".into(), json!(bytes.map(|(_, filled)| filled)));
        Value::Object(told)
    });
    let routes = routes.collect();
    let mut totals = all.told(saved);
    let origin = sources.metrics.read_sums().upstream;
    totals.insert("origin".into(), histogram(&origin));
    totals.insert("bytes_hit".into(), seldom.bytes_hit.into());
    totals.insert("shadow".into(), json!(Shadow::of(&shadow)));
    (Value::Object(totals), routes, left_out)
}

fn histogram(of: &Tally) -> Value {
    let quantile = |share| of.quantile(share).map(|time| time.as_secs_f64());
    let filled = of.slots().iter().enumerate().filter(|(_, count)| **count > 0);
    json!({
        "count": of.count(),
        "seconds": of.sum().as_secs_f64(),
        "p50": quantile(0.5),
        "p95": quantile(0.95),
        "p99": quantile(0.99),
        "buckets": filled.map(|(slot, count)| json!([slot, count])).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use http::{Method, StatusCode};

    #[test]
    fn what_hits_save_is_what_fetches_take_less_what_hits_take() {
        let metrics = Metrics::new(&["/a"]);
        let answer = |cache, ms| {
            metrics.request(0, &Method::GET, StatusCode::OK, cache, Duration::from_millis(ms));
        };
        answer(Cache::Hit, 1);
        let of_route = || Answered::of(&metrics.read_route(0).durations);
        assert_eq!(of_route().saved(), None, "nobody knows what a fetch takes");
        answer(Cache::Miss, 90);
        answer(Cache::Miss, 110);
        answer(Cache::Revalidated, 5);
        answer(Cache::Stale, 1);
        assert_eq!(of_route().saved(), Some(Duration::from_millis(198)));
    }
}
