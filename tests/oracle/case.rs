//! What both sides are asked about: one exchange that may be stored, a later request, and a 304 that may confirm it.
//!
//! Most of it is what people send, and some of it odd. Fields come from small pools, so that two that matter to one
//! another often meet. It refuses to know who is right.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// The second of the Unix epoch in which the response came.
pub(crate) const RECEIVED: u64 = 1_700_000_000;

/// Fields in the order in which they are sent, repeated names kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(pub(crate) Vec<(&'static str, String)>);

impl Fields {
    pub(crate) fn map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in &self.0 {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("the pools hold field values");
            map.append(HeaderName::from_static(name), value);
        }
        map
    }

    pub(crate) fn without(&self, names: &[&str]) -> Self {
        Self(self.0.iter().filter(|(name, _)| !names.contains(name)).cloned().collect())
    }

    pub(crate) fn lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.lines(name).next().is_some()
    }

    /// Whether the field is there more than once.
    pub(crate) fn repeats(&self, name: &str) -> bool {
        self.lines(name).nth(1).is_some()
    }
}

/// One question to both.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) method: &'static str,
    pub(crate) asked: Fields,
    pub(crate) status: u16,
    pub(crate) answered: Fields,
    /// Seconds from the request to the response.
    pub(crate) delay: u64,
    /// Seconds from the response to the second request.
    pub(crate) later: u64,
    pub(crate) then_method: &'static str,
    pub(crate) then: Fields,
    /// What a 304 says in answer to the second request.
    pub(crate) confirmed: Fields,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let block = |f: &mut fmt::Formatter<'_>, line: &str, fields: &Fields| {
            writeln!(f, "  {line}")?;
            fields.0.iter().try_for_each(|(name, value)| writeln!(f, "    {name}: {value}"))
        };
        writeln!(f)?;
        block(f, self.method, &self.asked)?;
        block(f, &format!("{} after {} s", self.status, self.delay), &self.answered)?;
        block(f, &format!("{} {} s later", self.then_method, self.later), &self.then)?;
        block(f, "304", &self.confirmed)
    }
}

/// Every case that there is: half of them anything, the others about one matter, where chance would seldom lead.
pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let narrow =
        prop_oneof![2 => reading(), 2 => guess(), 6 => reuse(), 2 => variants(), 4 => confirmation()];
    prop_oneof![anything(), narrow]
}

fn anything() -> impl Strategy<Value = Case> {
    const OTHERS: [u16; 13] = [203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501];
    const RARE: [u16; 11] = [201, 206, 299, 400, 401, 403, 418, 429, 500, 503, 599];
    let statuses = [vec![200; 40], OTHERS.to_vec(), RARE.to_vec()].concat();
    let methods = [vec!["GET"; 60], vec!["HEAD", "POST", "PUT", "QUERY"]].concat();
    let asking = || {
        pool(&[
            (6, asked()),
            (1, fields("authorization", &["Bearer x"])),
            (2, conditions()),
            (6, selecting()),
        ])
    };
    let answering = pool(&[
        (12, answered()),
        (4, dates("expires", &[-60, 0, 5, 60, 600, 100_000_000])),
        (4, dates("date", &[0, 0, 0, 0, 0, -1, -30, -3600, 30])),
        (5, validators()),
        (2, fields("age", &["0", "1", "5", "59", "70", "5, 7", "+5", "x", "9999999999", "\"5\""])),
        (2, vary()),
        (2, coded()),
        (7, described()),
        (1, fields("pragma", &["no-cache"])),
        (1, fields("cdn-cache-control", &["max-age=60", "no-store", "max-age=60, no-cache", "max-age"])),
    ]);
    let first = (select(methods), some(asking(), 0..3), select(statuses), some(answering, 0..9));
    let second = (some(asking(), 0..4), some(confirming(), 0..6));
    (first, select(vec![0, 0, 0, 0, 0, 0, 1, 7]), later(), second).prop_map(
        |((method, asked, status, answered), delay, later, (then, confirmed))| {
            let then_method = "GET";
            Case { method, asked, status, answered, delay, later, then_method, then, confirmed }
        },
    )
}

/// A GET that was answered with 200, and is asked again.
fn again(asked: Fields, answered: Fields, later: u64, then: Fields) -> Case {
    Case {
        method: "GET",
        asked,
        status: 200,
        answered,
        delay: 0,
        later,
        then_method: "GET",
        then,
        confirmed: Fields::default(),
    }
}

/// What is odd, and what it may open.
fn reading() -> impl Strategy<Value = Case> {
    let line = pool(&[(1, fields("cache-control", ANSWERED)), (2, fields("cache-control", ANSWERED_ODDLY))]);
    let authorization = pool(&[(1, fields("authorization", &["Bearer x"]))]);
    (some(authorization, 0..2), some(line, 1..5), later())
        .prop_map(|(asked, answered, later)| again(asked, answered, later, Fields::default()))
}

/// What nobody gives a life in words.
fn guess() -> impl Strategy<Value = Case> {
    let modified = pool(&[(1, dates("last-modified", MODIFIED))]);
    let beside = pool(&[
        (2, dates("date", &[0, 0, -1, 30])),
        (1, fields("cache-control", &["public", "unknown"])),
        (1, fields("pragma", &["no-cache"])),
    ]);
    let close = select(vec![0_u64, 1, 5, 10, 60, 600, 90_000]);
    (select(vec![200, 200, 302, 404]), modified, some(beside, 0..3), close).prop_map(
        |(status, modified, mut answered, later)| {
            answered.0.push(modified);
            Case { status, ..again(Fields::default(), answered, later, Fields::default()) }
        },
    )
}

fn reuse() -> impl Strategy<Value = Case> {
    const LIFETIMES: &[&str] = &["max-age=5", "max-age=60", "s-maxage=60"];
    const LIMITS: &[&str] = &[
        "no-cache",
        "must-revalidate",
        "proxy-revalidate",
        "public",
        "immutable",
        "immutable",
        "stale-while-revalidate=10",
        "max-age=60",
    ];
    let lifetime = pool(&[(1, fields("cache-control", LIFETIMES))]);
    let limit = pool(&[(1, fields("cache-control", LIMITS))]);
    let close = select(vec![0_u64, 0, 1, 5, 6, 10, 59, 60, 61, 65, 65, 100]);
    (lifetime, some(limit, 0..3), close, some(pool(&[(1, asked())]), 1..3)).prop_map(
        |(lifetime, mut answered, later, then)| {
            answered.0.extend([lifetime, ("etag", "\"a\"".to_owned())]);
            again(Fields::default(), answered, later, then)
        },
    )
}

fn variants() -> impl Strategy<Value = Case> {
    let chosen = pool(&[(4, vary()), (1, coded())]);
    let selecting = || some(pool(&[(1, selecting())]), 0..5);
    (selecting(), some(chosen, 1..3), selecting(), any::<bool>(), select(vec!["GET", "GET", "GET", "HEAD"]))
        .prop_map(|(asked, mut answered, mut then, alike, then_method)| {
            if alike {
                then.0.extend(asked.0.clone());
            }
            answered.0.push(("cache-control", "max-age=60".to_owned()));
            Case { then_method, ..again(asked, answered, 0, then) }
        })
}

fn confirmation() -> impl Strategy<Value = Case> {
    const SAID: &[&str] = &["max-age=60", "max-age=60", "max-age=60, no-cache=\"x-a\""];
    let modified = || dates("last-modified", &[-10, -600]);
    let answering = pool(&[(2, validators()), (2, modified()), (2, described())]);
    let confirmed = prop_oneof![confirming(), pool(&[(1, fields("etag", &["W/\"a\""])), (2, modified())])];
    let said = pool(&[(1, fields("cache-control", SAID))]);
    (said, some(answering, 0..5), some(pool(&[(1, conditions())]), 0..2), some(confirmed, 0..6)).prop_map(
        |(said, mut answered, then, confirmed)| {
            answered.0.push(said);
            Case { confirmed, ..again(Fields::default(), answered, 100, then) }
        },
    )
}

fn later() -> impl Strategy<Value = u64> {
    select(vec![0_u64, 1, 4, 5, 6, 10, 15, 30, 59, 60, 61, 65, 70, 100, 300, 599, 600, 601, 999])
}

type Field = (&'static str, String);

/// Each list is drawn from in proportion to its weight. One flat list: proptest chooses from it faster than from many.
fn pool(lists: &[(usize, Vec<Field>)]) -> impl Strategy<Value = Field> + use<> {
    const FINENESS: usize = 60;
    let flat = lists.iter().flat_map(|(weight, list)| {
        let times = (weight * FINENESS / list.len()).max(1);
        std::iter::repeat_n(list, times).flatten().cloned()
    });
    select(flat.collect::<Vec<_>>())
}

/// So many of a pool, as lines of their own or, for directives, in one line.
fn some(field: impl Strategy<Value = Field>, count: std::ops::Range<usize>) -> impl Strategy<Value = Fields> {
    (vec(field, count), any::<bool>()).prop_map(|(fields, in_one_line)| {
        let (said, mut others): (Vec<_>, Vec<_>) =
            fields.into_iter().partition(|(name, _)| in_one_line && *name == "cache-control");
        if !said.is_empty() {
            let said: Vec<String> = said.into_iter().map(|(_, directive)| directive).collect();
            others.push(("cache-control", said.join(", ")));
        }
        Fields(others)
    })
}

fn fields(name: &'static str, values: &[&str]) -> Vec<Field> {
    values.iter().map(|value| (name, (*value).to_owned())).collect()
}

/// Dates so many seconds before (or after) the response came; some in another form of RFC 9110 §5.6.7, or in none.
fn dates(name: &'static str, offsets: &[i64]) -> Vec<Field> {
    let plain = offsets.iter().map(|offset| (name, written(*offset, 0)));
    let plain: Vec<Field> = std::iter::repeat_n(plain, 8).flatten().collect();
    let odd = (1..6).map(|form| (name, written(offsets[form % offsets.len()], form)));
    plain.into_iter().chain(odd).collect()
}

fn written(offset: i64, form: usize) -> String {
    let second = RECEIVED.saturating_add_signed(offset);
    let fixdate = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
    // "Tue, 14 Nov 2023 22:13:20 GMT"
    let parts: Vec<&str> = fixdate.split([' ', ',']).filter(|part| !part.is_empty()).collect();
    let [weekday, day, month, year, time, _] = parts[..] else { unreachable!("six parts make a date") };
    match form {
        0 => fixdate.clone(),
        1 => {
            let long = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
            let long = long.iter().find(|long| long.starts_with(weekday)).expect("one of seven");
            format!("{long}, {day}-{month}-{} {time} GMT", &year[2..])
        }
        2 => format!("{weekday} {month} {:>2} {time} {year}", day.trim_start_matches('0')),
        3 => format!("{weekday}, {day} {month} {year} {time} +0000"),
        4 => "0".to_owned(),
        _ => "soon".to_owned(),
    }
}

/// What responses say.
const ANSWERED: &[&str] = &[
    "max-age=0",
    "max-age=5",
    "max-age=60",
    "max-age=600",
    "s-maxage=0",
    "s-maxage=60",
    "no-cache",
    "no-store",
    "private",
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "immutable",
    "stale-while-revalidate=10",
    "stale-if-error=20",
    "unknown",
    "unknown=1",
];

/// What some say all the same.
const ANSWERED_ODDLY: &[&str] = &[
    "Max-Age=60",
    "NO-STORE",
    "Public",
    "max-age=\"60\"",
    "max-age =60",
    "max-age= 60",
    "max-age",
    "max-age=x",
    "max-age=+60",
    "s-maxage",
    "max-age=99999999999",
    "max-age=60é",
    "no-cache=\"x-a\"",
    "no-cache=\"x-a, x-b\"",
    "private=\"x-b\"",
    "public=1",
    "max-age=60, public=1",
    "must-understand",
    "no-store, must-understand",
    "no-store=1",
    "no-store x",
    "unknown=\"a, no-store, b\"",
    "é",
];

/// One in twelve of these is odd.
fn answered() -> Vec<Field> {
    mostly(ANSWERED, ANSWERED_ODDLY)
}

fn mostly(plain: &[&str], odd: &[&str]) -> Vec<Field> {
    let times = 11 * odd.len() / plain.len();
    let plain = std::iter::repeat_n(fields("cache-control", plain), times.max(1)).flatten();
    plain.chain(fields("cache-control", odd)).collect()
}

const MODIFIED: &[i64] = &[-10, -55, -600, -6000, -100_000_000, 50];

fn validators() -> Vec<Field> {
    let tags = std::iter::repeat_n(fields("etag", &["\"a\"", "\"b\"", "W/\"a\"", "W/1851"]), 15).flatten();
    tags.chain(dates("last-modified", MODIFIED)).collect()
}

fn vary() -> Vec<Field> {
    let known =
        fields("vary", &["x-a", "X-A, x-b", "accept-encoding", "accept-language", "cookie", "origin"]);
    let known = std::iter::repeat_n(known, 5).flatten();
    known.chain(fields("vary", &["*", "x-a, *", "x a", ""])).collect()
}

fn coded() -> Vec<Field> {
    let mut coded = fields("content-encoding", &["gzip", "br"]);
    coded.extend(fields("content-language", &["de", "en"]));
    coded.extend(fields("access-control-allow-origin", &["*", "https://a"]));
    coded
}

/// Fields that say what the answer is, and some that nobody keeps.
fn described() -> Vec<Field> {
    let mut described = fields("x-a", &["1", "2"]);
    described.extend(fields("x-b", &["1", "2"]));
    described.extend(fields("content-type", &["text/plain", "text/html"]));
    described.extend(fields("content-length", &["5"]));
    described.extend(fields("content-digest", &["sha-256=:AA==:", "sha-256=:CC==:"]));
    described.extend(fields("connection", &["x-a", "close", "x-b, cache-control"]));
    described.extend(fields("keep-alive", &["timeout=5"]));
    described.extend(fields("proxy-connection", &["keep-alive"]));
    described.extend(fields("proxy-authenticate", &["Basic"]));
    described.extend(fields("set-cookie", &["a=b"]));
    described.extend(fields("warning", &["199 - \"x\"", "299 - \"y\""]));
    described
}

fn asked() -> Vec<Field> {
    const PLAIN: &[&str] = &[
        "max-age=0",
        "max-age=5",
        "max-age=60",
        "max-stale",
        "max-stale=5",
        "max-stale=600",
        "min-fresh=5",
        "min-fresh=600",
        "no-cache",
        "no-store",
        "only-if-cached",
        "unknown",
    ];
    const ODD: &[&str] = &[
        "Max-Age=0",
        "NO-CACHE",
        "No-Store",
        "max-age",
        "max-age=x",
        "max-age =0",
        "max-stale=x",
        "max-stale=\"5\"",
        "min-fresh=x",
        "min-fresh=+5",
        "max-age=99999999999",
        "unknown=\"a, no-cache, b\"",
        "é",
    ];
    let said = mostly(PLAIN, ODD);
    let pragma = fields("pragma", &["no-cache", "No-Cache", "unknown"]);
    let times = said.len() / 15;
    said.into_iter().chain(std::iter::repeat_n(pragma, times).flatten()).collect()
}

fn conditions() -> Vec<Field> {
    let mut conditions = fields("if-none-match", &["\"a\"", "\"c\", W/\"d\"", "*"]);
    conditions.extend(dates("if-modified-since", &[-10, 0]).into_iter().take(3));
    conditions.extend(fields("if-match", &["\"a\""]));
    conditions.extend(fields("range", &["bytes=0-1"]));
    conditions
}

/// What a variant may be chosen by.
fn selecting() -> Vec<Field> {
    let mut selecting = fields("accept-encoding", &["gzip", "gzip, br", "br,gzip", "identity"]);
    selecting.extend(fields("accept-language", &["de", "de, en", "en;q=0.5,de"]));
    selecting.extend(fields("cookie", &["a=b", "a=b; _ga=1", "_ga=2"]));
    selecting.extend(fields("origin", &["https://a", "https://b"]));
    selecting.extend(fields("x-a", &["1", "2", "1, 2", "1,2"]));
    selecting.extend(fields("x-b", &["1", "2", ""]));
    selecting
}

/// What a 304 says.
fn confirming() -> impl Strategy<Value = Field> {
    pool(&[
        (3, fields("etag", &["\"a\"", "\"b\"", "W/\"a\"", "W/1851"])),
        (1, dates("last-modified", &[-10, -600])),
        (
            2,
            fields(
                "cache-control",
                &["max-age=0", "max-age=60", "max-age=600", "public", "private", "no-store"],
            ),
        ),
        (1, dates("date", &[0, 30])),
        (1, dates("expires", &[60, 600])),
        (1, fields("age", &["0", "3"])),
        (1, fields("content-length", &["0", "7"])),
        (1, fields("content-encoding", &["gzip", "br"])),
        (1, fields("content-type", &["text/plain", "text/html"])),
        (2, fields("content-digest", &["sha-256=:BB==:"])),
        (1, fields("content-range", &["bytes 0-1/2"])),
        (3, fields("x-a", &["1", "3"])),
        (1, fields("x-b", &["4"])),
        (1, fields("vary", &["x-a", "x-b"])),
        (4, fields("connection", &["x-a"])),
        (1, fields("set-cookie", &["c=d"])),
        (1, fields("keep-alive", &["timeout=9"])),
        (1, fields("warning", &["199 - \"z\""])),
    ])
}
