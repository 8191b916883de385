//! Both sides are asked, and their answers laid side by side.
//!
//! A question is asked only where both gave the same answer to those it rests on: two lives of different length say
//! nothing about `max-stale`. It refuses to know which differences are meant.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_cache_semantics::{AfterResponse, BeforeRequest, CacheOptions, CachePolicy};
use larder::clock::Now;
use larder::policy::freshen::{NotFreshened, freshen};
use larder::policy::validate::{Proof, make_conditional};
use larder::policy::{
    ClientNoCache, NoStore, RequestHead, ResponseTimes, Reuse, Rule, Scope, Selector, Sharing, StoreErrors,
    may_reuse, may_store,
};

use crate::case::{Case, Fields, RECEIVED};

/// What both are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// May the response be stored?
    Stored,
    /// For how many whole seconds may it be used unasked, counted from age zero?
    Lifetime,
    /// How old is it when the second request comes?
    Age,
    /// Is it fresh then?
    Fresh,
    /// Is it chosen for the second request, as far as method and `Vary` go?
    Selected,
    /// May it answer the second request without asking the origin?
    Reused,
    /// By which conditions is the origin asked?
    Conditions,
    /// Does the 304 confirm it?
    Confirmed,
    /// What of this field is shown to a client?
    Kept,
    /// What of this field is stored after the 304?
    Merged,
}

/// Field names with the lines of each.
pub(crate) type Lines = BTreeMap<String, Vec<String>>;

/// What one side says. `None`: it did not come to that.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) stored: bool,
    /// Why not; ours only.
    pub(crate) why: Option<NoStore>,
    pub(crate) lifetime: u64,
    pub(crate) age: u64,
    pub(crate) fresh: bool,
    pub(crate) selected: bool,
    pub(crate) reused: bool,
    /// How; ours only.
    pub(crate) reuse: Option<Reuse>,
    pub(crate) conditions: Option<Lines>,
    pub(crate) confirmed: bool,
    pub(crate) kept: Option<Lines>,
    pub(crate) merged: Option<Lines>,
}

/// One question that was answered in two ways.
pub(crate) struct Disagreement<'a> {
    pub(crate) about: About,
    /// Of which field, if the question is about one.
    pub(crate) field: String,
    pub(crate) case: &'a Case,
    pub(crate) ours: &'a Verdict,
    pub(crate) theirs: &'a Verdict,
}

/// RFC 9111 to the letter, as far as the configuration goes; cookies are refused as they are by default.
fn letter() -> Rule {
    Rule {
        heuristic: true,
        client_no_cache: ClientNoCache::Honor,
        store_errors: StoreErrors::IfFresh,
        scope: Scope::Origin,
        ..Rule::default()
    }
}

fn at(second: i64) -> Now {
    let mono = Duration::from_secs(1_000_000_u64.saturating_add_signed(second));
    Now { mono, wall: SystemTime::UNIX_EPOCH + Duration::from_secs(RECEIVED.saturating_add_signed(second)) }
}

/// What Larder's policy says.
pub(crate) fn ours(case: &Case) -> Verdict {
    let (rule, asked, answered) = (letter(), case.asked.map(), case.answered.map());
    let method = Method::from_bytes(case.method.as_bytes()).expect("a method");
    let status = StatusCode::from_u16(case.status).expect("a status");
    let request = RequestHead { method: &method, headers: &asked, body_keyed: false };
    let times = ResponseTimes { requested: at(-case.delay.cast_signed()), received: at(0) };
    let selector = Selector::of(&asked, &answered, &rule, &is_credential);
    let storable = may_store(&request, Sharing::Shared, status, &answered, &rule, times);
    let (storable, selector) = match storable.and_then(|storable| Ok((storable, selector?))) {
        Ok(stored) => stored,
        Err(why) => return Verdict { why: Some(why), ..Verdict::default() },
    };
    let (life, now) = (storable.life(), at(case.later.cast_signed()));
    let then = case.then.map();
    let then_method = Method::from_bytes(case.then_method.as_bytes()).expect("a method");
    let second = RequestHead { method: &then_method, headers: &then, body_keyed: false };
    let reuse = may_reuse(&second, life, &rule, now);
    let mut validation = then.clone();
    make_conditional(&mut validation, storable.headers(), Proof::Any);
    let times = ResponseTimes { requested: now, received: now };
    let stored = (storable.status(), storable.headers());
    let freshened = freshen(&request, Sharing::Shared, stored, &case.confirmed.map(), &rule, times);
    Verdict {
        stored: true,
        why: None,
        lifetime: if life.always_validate() { 0 } else { life.fresh_for().as_secs() },
        age: life.age(now).as_secs(),
        fresh: life.is_fresh(now) && !life.always_validate(),
        selected: selector.matches(&then, &is_credential),
        reused: !matches!(reuse, Reuse::Validate(_) | Reuse::OnlyIfCached(_)),
        reuse: Some(reuse),
        conditions: Some(conditions(&validation)),
        confirmed: !matches!(freshened, Err(NotFreshened::OtherRepresentation)),
        kept: Some(lines(storable.headers())),
        merged: freshened.ok().map(|storable| lines(storable.headers())),
    }
}

fn is_credential(cookie: &str) -> bool {
    cookie != "_ga"
}

/// What the crate says.
pub(crate) fn theirs(case: &Case) -> Verdict {
    let options = CacheOptions { immutable_min_time_to_live: Duration::ZERO, ..CacheOptions::default() };
    let request = request(case.method, &case.asked);
    let policy = |answered: &Fields| {
        CachePolicy::new_options(&request, &response(case.status, answered), at(0).wall, options)
    };
    let stored = policy(&case.answered);
    if !stored.is_storable() {
        return Verdict::default();
    }
    let now = at(case.later.cast_signed()).wall;
    let (selected, reused, asked_again) =
        match stored.before_request(&self::request(case.then_method, &case.then), now) {
            BeforeRequest::Fresh(_) => (true, true, None),
            BeforeRequest::Stale { request, matches } => {
                (matches, false, matches.then(|| conditions(&request.headers)))
            }
        };
    let plain = self::request(case.method, &case.asked.without(&["cache-control", "pragma"]));
    let kept = match stored.before_request(&plain, at(0).wall) {
        BeforeRequest::Fresh(parts) => Some(lines(&parts.headers)),
        BeforeRequest::Stale { .. } => None,
    };
    let merged = match stored.after_response(&request, &response(304, &case.confirmed), now) {
        AfterResponse::NotModified(_, parts) => Some(lines(&parts.headers)),
        AfterResponse::Modified(..) => None,
    };
    Verdict {
        stored: true,
        // without Age it is the lifetime, and not what is left of it
        lifetime: policy(&case.answered.without(&["age"])).time_to_live(at(0).wall).as_secs(),
        age: stored.age(now).as_secs(),
        fresh: !stored.is_stale(now),
        selected,
        reused,
        conditions: asked_again,
        confirmed: merged.is_some(),
        kept,
        merged,
        ..Verdict::default()
    }
}

fn request(method: &str, fields: &Fields) -> Request<()> {
    let mut request = Request::builder().method(method).uri("http://a/").body(()).expect("a request");
    *request.headers_mut() = fields.map();
    request
}

fn response(status: u16, fields: &Fields) -> Response<()> {
    let mut response = Response::builder().status(status).body(()).expect("a response");
    *response.headers_mut() = fields.map();
    response
}

/// `Date` and `Age` are counted anew by whoever serves it.
fn lines(headers: &HeaderMap) -> Lines {
    let mut lines = Lines::new();
    for (name, value) in headers.iter().filter(|(name, _)| !["date", "age"].contains(&name.as_str())) {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        lines.entry(name.as_str().to_owned()).or_default().push(value);
    }
    lines
}

fn conditions(headers: &HeaderMap) -> Lines {
    let mut lines = lines(headers);
    lines.retain(|name, _| ["if-none-match", "if-modified-since"].contains(&name.as_str()));
    lines
}

/// Everything on which the two differ, as far as the questions go.
pub(crate) fn disagreements<'a>(
    case: &'a Case,
    ours: &'a Verdict,
    theirs: &'a Verdict,
) -> Vec<Disagreement<'a>> {
    let mut found = Vec::new();
    let mut differ = |about, field: &str, differs: bool| {
        if differs {
            found.push(Disagreement { about, field: field.to_owned(), case, ours, theirs });
        }
    };
    differ(About::Stored, "", ours.stored != theirs.stored);
    if !(ours.stored && theirs.stored) {
        return found;
    }
    differ(About::Lifetime, "", ours.lifetime != theirs.lifetime);
    differ(About::Age, "", ours.age != theirs.age);
    differ(About::Selected, "", ours.selected != theirs.selected);
    let as_old = ours.lifetime == theirs.lifetime && ours.age == theirs.age;
    let chosen = ours.selected && theirs.selected;
    differ(About::Fresh, "", as_old && ours.fresh != theirs.fresh);
    differ(About::Reused, "", as_old && chosen && ours.fresh == theirs.fresh && ours.reused != theirs.reused);
    differ(About::Confirmed, "", ours.confirmed != theirs.confirmed);
    let mut each = |about, pair: (&Option<Lines>, &Option<Lines>)| {
        let (Some(ours), Some(theirs)) = pair else { return };
        let names: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        for name in names {
            differ(about, name, ours.get(name) != theirs.get(name));
        }
    };
    each(About::Conditions, (&ours.conditions, &theirs.conditions));
    each(About::Kept, (&ours.kept, &theirs.kept));
    each(About::Merged, (&ours.merged, &theirs.merged));
    found
}

impl Disagreement<'_> {
    /// Both answers to the question, for people.
    pub(crate) fn answers(&self) -> String {
        let say = |verdict: &Verdict| {
            let of = |lines: &Option<Lines>| {
                let lines = lines.as_ref().and_then(|lines| lines.get(&self.field));
                lines.map_or("nothing".to_owned(), |lines| lines.join(" | "))
            };
            match self.about {
                About::Stored => {
                    format!("{} {}", verdict.stored, verdict.why.map_or("", |why| why.as_str()))
                }
                About::Lifetime => verdict.lifetime.to_string(),
                About::Age => verdict.age.to_string(),
                About::Fresh => verdict.fresh.to_string(),
                About::Selected => verdict.selected.to_string(),
                About::Reused => format!("{} {:?}", verdict.reused, verdict.reuse),
                About::Confirmed => verdict.confirmed.to_string(),
                About::Conditions => of(&verdict.conditions),
                About::Kept => of(&verdict.kept),
                About::Merged => of(&verdict.merged),
            }
        };
        let (ours, theirs) = (say(self.ours), say(self.theirs));
        format!("{:?} {}: ours {ours}, theirs {theirs}", self.about, self.field)
    }
}
