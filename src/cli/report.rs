//! `larder report`: what the cache was worth, route by route, and what would make it worth more.

use crate::cli::Said;
use crate::cli::admin_client::Failure;
use crate::cli::asking::Asking;
use crate::cli::stream::form_urlencoded;
use crate::config::Env;
use crate::monitor::usage::report::{All, Audit, OfRoute, Report};
use crate::monitor::usage::words::{bytes, percent, time};

const EXAMPLES: &str = "\
Examples:
  larder report                            all routes, since the start
  larder report --since 2h                 of late: in whole hours, 24 at most
  larder report /api/projects/42 --top 20  one route, and what is read most of it
  larder report --json                     for programs

The audit is off unless the configuration says `monitor: { audit: { share: 0.1% } }`.";

/// What stands where nothing is known.
const UNKNOWN: &str = "-";

/// `larder report`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// One route alone: by its template, or by a path that falls under it
    #[arg(value_name = "PATH")]
    route: Option<String>,
    /// How far back: 1h to 24h; what is read most, refetches and audits are told since the start
    #[arg(long, value_name = "DURATION")]
    since: Option<String>,
    /// How many keys to a route
    #[arg(long, value_name = "COUNT")]
    top: Option<u8>,
    #[command(flatten)]
    asking: Asking,
}

/// Runs the command.
pub(crate) async fn execute(args: &Args, env: &Env) -> Result<Said, Failure> {
    let done = args.asking.admin(env)?.get(&path(args), "recommendations").await?;
    args.asking.said_of(done, |report| told(report, args.top.is_some() || args.route.is_some()))
}

fn path(args: &Args) -> String {
    let top = args.top.map(|top| top.to_string());
    let mut query = form_urlencoded(&[
        ("route", args.route.as_deref()),
        ("since", args.since.as_deref()),
        ("top", top.as_deref()),
    ]);
    if !query.is_empty() {
        query.insert(0, '?');
    }
    format!("/v1/usage{query}")
}

/// The report for people.
fn told(report: &Report, with_top: bool) -> String {
    let mut text = headline(&report.all, report.seconds);
    if report.routes.is_empty() {
        text.push_str("\nNothing has been asked for yet.\n");
        return text;
    }
    text.push('\n');
    text.push_str(&table(
        &[
            "route",
            "requests",
            "hits",
            "saved",
            "fetch",
            "fills",
            "never read",
            "ttl",
            "ttl used",
            "ended by",
        ],
        &report.routes,
        worth,
    ));
    if report.routes.iter().any(|route| route.changes.refetched > 0) {
        text.push('\n');
        let columns = [
            "looked at again",
            "times",
            "changed",
            "changes/h",
            "ttl",
            "for that",
            "stale then",
            "hits then",
        ];
        text.push_str(&table(&columns, &report.routes, changes));
    }
    if report.all.audit.checks > 0 {
        text.push('\n');
        let columns = [
            "held against the origin",
            "hits",
            "same",
            "stale",
            "volatile",
            "other",
            "stale per million hits",
        ];
        text.push_str(&table(&columns, &report.routes, audited));
    }
    if report.all.shadow.is_some() {
        text.push('\n');
        let columns = [
            "in shadow mode",
            "requests",
            "hits",
            "calls saved",
            "time saved",
            "miss",
            "not kept",
            "stale per million hits",
        ];
        text.push_str(&table(&columns, &report.routes, shadowed));
    }
    if with_top {
        report.routes.iter().for_each(|route| text.push_str(&top(route)));
    }
    text.push_str(&recommended(report));
    text
}

fn headline(all: &All, seconds: f64) -> String {
    let mut text = format!("In {}: {} requests", time(seconds), all.requests);
    if let Some(ratio) = all.hit_ratio {
        text.push_str(&format!(", {} of what was cacheable came out of the cache", percent(ratio)));
    }
    text.push_str(&format!(" ({}).\n", bytes(all.bytes_hit)));
    if let Some(saved) = all.seconds_saved {
        text.push_str(&format!("The origin was spared {} of work.\n", time(saved)));
    }
    if let Some(distance) = all.reuse_distance {
        text.push_str(&format!(
            "Between two reads of a key lie reads of about {} others in half of the cases, of {} in nine of ten, of {} in 99 of 100: so many \
             entries are worth having.\n",
            distance.p50, distance.p90, distance.p99
        ));
    }
    text
}

/// The cells behind a route's name; `None`: it has no line.
type Cells = fn(&OfRoute) -> Option<Vec<String>>;

fn worth(route: &OfRoute) -> Option<Vec<String>> {
    let lives = &route.lives;
    let ends = [
        ("ttl", lives.expired),
        ("invalidation", lives.invalidated),
        ("newer", lives.replaced),
        ("room", lives.evicted),
        ("origin", lives.withdrawn),
    ];
    let ends = ends.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}"));
    let ends = ends.collect::<Vec<_>>().join(", ");
    Some(vec![
        route.requests.all.to_string(),
        or_unknown(route.hit_ratio, percent),
        or_unknown(route.seconds_saved, time),
        or_unknown(route.fetch_seconds, time),
        route.fills.to_string(),
        or_unknown(lives.never_read, percent),
        or_unknown(route.ttl, time),
        or_unknown(lives.ttl_used, percent),
        if ends.is_empty() { UNKNOWN.to_owned() } else { ends },
    ])
}

fn changes(route: &OfRoute) -> Option<Vec<String>> {
    let changes = &route.changes;
    let hits = |ratio: f64| match changes.hit_ratio_now {
        Some(now) => format!("{} (now {})", percent(ratio), percent(now)),
        None => percent(ratio),
    };
    (changes.refetched > 0).then(|| {
        vec![
            changes.refetched.to_string(),
            changes.changed.to_string(),
            or_unknown(changes.per_hour, |rate| format!("{rate:.2}")),
            or_unknown(route.ttl, time),
            or_unknown(changes.advised_ttl, time),
            or_unknown(changes.stale_share, percent),
            or_unknown(changes.hit_ratio, hits),
        ]
    })
}

fn audited(route: &OfRoute) -> Option<Vec<String>> {
    let Audit { checks, same, stale, volatile, overtaken, failed, stale_per_million, interval } = route.audit;
    let share = stale_per_million.zip(interval);
    (checks > 0).then(|| {
        vec![
            checks.to_string(),
            same.to_string(),
            stale.to_string(),
            volatile.to_string(),
            (overtaken + failed).to_string(),
            or_unknown(share, |(share, [low, high])| format!("{share:.0} ({low:.0} to {high:.0})")),
        ]
    })
}

/// What the cache would have been worth.
fn shadowed(route: &OfRoute) -> Option<Vec<String>> {
    let shadow = route.shadow.as_ref()?;
    let share = shadow.stale_per_million.zip(shadow.interval);
    let requests = &shadow.requests;
    Some(vec![
        requests.all.to_string(),
        or_unknown(shadow.hit_ratio, percent),
        shadow.origin_calls_saved.to_string(),
        time(shadow.seconds_saved),
        (requests.miss + requests.collapsed + requests.revalidated).to_string(),
        requests.bypass.to_string(),
        or_unknown(share, |(share, [low, high])| format!("{share:.0} ({low:.0} to {high:.0})")),
    ])
}

fn or_unknown<T>(known: Option<T>, show: impl FnOnce(T) -> String) -> String {
    known.map_or_else(|| UNKNOWN.to_owned(), show)
}

/// Names on the left, numbers on the right of their columns; the last column as it comes.
fn table(columns: &[&str], routes: &[OfRoute], cells: Cells) -> String {
    let head: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    let lines = routes.iter().filter_map(|route| Some([vec![route.route.clone()], cells(route)?].concat()));
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(lines).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let written = lines.iter().map(|line| {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            last if last + 1 == columns.len() => cell.clone(),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    });
    written.collect()
}

fn top(route: &OfRoute) -> String {
    let mut text = format!("\nread most of {}, since the start\n", route.route);
    if route.top.is_empty() {
        text.push_str("  nothing yet\n");
    }
    let digits = route.top.first().map_or(0, |key| key.hits.to_string().len());
    for key in &route.top {
        let error = if key.error > 0 { format!("  (up to {} too many)", key.error) } else { String::new() };
        text.push_str(&format!("  {:>digits$}  {}{error}\n", key.hits, key.target));
    }
    text
}

fn recommended(report: &Report) -> String {
    if report.recommendations.is_empty() {
        return format!(
            "\nNothing to recommend, by what was seen (stale share put up with: {}).\n",
            percent(report.stale_share)
        );
    }
    let each = report.recommendations.iter().map(|said| format!("  {}: {}\n", said.route, said.text));
    format!("\nRecommended\n{}", each.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::usage;
    use crate::monitor::usage::report::{Changes, Distance, Lives, Recommendation, Requests, TopKey};
    use crate::monitor::usage::shadow::{Checks, Shadow};

    fn report() -> Report {
        let audit = Audit {
            checks: 12,
            same: 11,
            stale: 1,
            stale_per_million: Some(83_333.0),
            interval: Some([14_865.0, 353_886.0]),
            ..Audit::default()
        };
        let route = OfRoute {
            route: "/api/a".into(),
            ttl: Some(600.0),
            requests: Requests { all: 100, hit: 90, miss: 10, ..Requests::default() },
            hit_ratio: Some(0.9),
            no_freshness: 0,
            fills: 10,
            bytes_filled: 1000,
            bytes_hit: 9000,
            fetch_seconds: Some(0.1),
            seconds_saved: Some(9.0),
            lives: Lives {
                ended: 5,
                expired: 3,
                invalidated: 2,
                never_read: Some(0.2),
                ttl_used: Some(0.5),
                ttl_wasted: Some(0.5),
                ..Lives::default()
            },
            reuse_distance: None,
            top: vec![TopKey { target: "/api/a?x=1".into(), hits: 80, error: 3 }],
            changes: Changes {
                refetched: 30,
                changed: 3,
                per_hour: Some(0.6),
                advised_ttl: Some(61.0),
                stale_share: Some(0.004),
                ..Changes::default()
            },
            audit,
            shadow: None,
        };
        let shadow = Shadow {
            requests: usage::shadow::Requests {
                all: 25,
                hit: 18,
                collapsed: 1,
                miss: 3,
                bypass: 3,
                ..Default::default()
            },
            hit_ratio: Some(18.0 / 22.0),
            origin_calls_saved: 19,
            seconds_saved: 4.5,
            checks: Checks { same: 17, stale: 1, ..Checks::default() },
            stale_per_million: Some(55_556.0),
            interval: Some([9_876.0, 257_588.0]),
        };
        let in_shadow = OfRoute {
            route: "/api/b".into(),
            requests: Requests { all: 25, bypass: 25, ..Requests::default() },
            hit_ratio: None,
            bytes_hit: 0,
            seconds_saved: None,
            top: Vec::new(),
            changes: Changes::default(),
            audit: Audit::default(),
            shadow: Some(shadow.clone()),
            ..route.clone()
        };
        Report {
            seconds: 5400.0,
            stale_share: 0.01,
            all: All {
                requests: 100,
                hit_ratio: Some(0.9),
                seconds_saved: Some(9.0),
                bytes_hit: 9000,
                reuse_distance: Some(Distance { p50: 3, p90: 20, p99: 40 }),
                audit,
                shadow: Some(shadow),
            },
            routes: vec![route, in_shadow],
            recommendations: vec![Recommendation {
                route: "/api/a".into(),
                kind: "stale".into(),
                text: "hits are stale.".into(),
            }],
        }
    }

    #[test]
    fn a_report_is_a_table_and_sentences() {
        let text = told(&report(), true);
        let meant = "\
In 1h30m: 100 requests, 90 % of what was cacheable came out of the cache (8.8 KiB).
The origin was spared 9s of work.
Between two reads of a key lie reads of about 3 others in half of the cases, of 20 in nine of ten, of 40 in 99 of 100: so many entries are worth having.

route   requests  hits  saved  fetch  fills  never read  ttl  ttl used  ended by
/api/a       100  90 %     9s  100ms     10        20 %  10m      50 %  ttl 3, invalidation 2
/api/b        25     -      -  100ms     10        20 %  10m      50 %  ttl 3, invalidation 2

looked at again  times  changed  changes/h  ttl  for that  stale then  hits then
/api/a              30        3       0.60  10m      1m1s      0.40 %  -

held against the origin  hits  same  stale  volatile  other  stale per million hits
/api/a                     12    11      1         0      0  83333 (14865 to 353886)

in shadow mode  requests  hits  calls saved  time saved  miss  not kept  stale per million hits
/api/b                25  82 %           19          5s     4         3  55556 (9876 to 257588)

read most of /api/a, since the start
  80  /api/a?x=1  (up to 3 too many)

read most of /api/b, since the start
  nothing yet

Recommended
  /api/a: hits are stale.
";
        assert_eq!(text, meant);
    }

    #[test]
    fn where_nothing_was_asked_for_nothing_is_claimed() {
        let all = All {
            requests: 0,
            hit_ratio: None,
            seconds_saved: None,
            bytes_hit: 0,
            reuse_distance: None,
            audit: Audit::default(),
            shadow: None,
        };
        let empty = Report { all, routes: Vec::new(), recommendations: Vec::new(), ..report() };
        assert_eq!(told(&empty, false), "In 1h30m: 0 requests (0 B).\n\nNothing has been asked for yet.\n");
    }

    #[test]
    fn what_is_asked_for_survives_its_signs() {
        let args = Args {
            route: Some("/a/{id}".into()),
            since: Some("2h".into()),
            top: None,
            asking: Asking::default(),
        };
        assert_eq!(path(&args), "/v1/usage?route=%2Fa%2F%7Bid%7D&since=2h");
    }

    #[test]
    fn what_is_told_can_be_read_again() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report());
    }
}
