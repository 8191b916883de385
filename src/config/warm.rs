//! `warm:` as the file has it, and the tasks that it comes to.
//!
//! Invariant: what passes can be fetched: every placeholder has something that fills it, and no path leaves the configured upstream.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::tz::TimeZone;
use serde_json_path::JsonPath;

use crate::config::collection::{HeaderText, Headers, Items};
use crate::config::credential::WarmPath;
use crate::config::file::File;
use crate::config::learn::{self, AheadKeys, LearnKeys};
use crate::config::problem::{Problem, Source};
use crate::config::reader::Reader;
use crate::config::resolve::{declared, said};
use crate::config::scalar::Count;
use crate::config::shape::{At, Refusal, Shape, Words, section};
use crate::config::tree;
use crate::config::warm_text::{CronText, ForUsers, PagesText, Params, WarmOrigin, WarmTarget, Zone};
use crate::flow::identities::{self, Shown};
use crate::warm::Settings;
use crate::warm::paging::Pages;
use crate::warm::pattern::{MAX_PATHS, Pattern};
use crate::warm::schedule::Schedule;
use crate::warm::task::{Audience, Each, Grammar, LEARNT, Task};

/// Shortest period of a task.
const SHORTEST: Duration = Duration::from_secs(1);

section! {
    /// `warm:`
    Warm {
        /// What is fetched: at start, and by a schedule.
        requests: Items<WarmRequest>,
        /// /readyz waits at most this long for what is fetched at start.
        before_ready: Duration = "10s",
        /// How many at once.
        concurrency: Count = "4",
        /// How many requests a second at most; default: as the origin answers.
        rate: Count,
        /// Fields sent with every one of them; one that a placeholder leaves empty is not sent.
        headers: Headers,
        /// false: nothing is fetched beside what is fetched at start. Also ENABLE_BACKGROUND_WARMING.
        background: bool = "true",
        /// The time zone of every `schedule`, by its IANA name.
        timezone: Zone = "UTC",
        /// Who counts as active.
        users: WarmUsers,
        /// How a user is named to the origin where his own credential is not sent: `headers` carry that of a service.
        as_user as "as": WarmAs,
        /// Keeps warm what clients really ask for, by the hour of the day.
        learn: LearnKeys,
        /// Fetches hot entries anew shortly before they expire.
        refresh_ahead: AheadKeys,
    }
}

section! {
    /// `warm.users:`
    WarmUsers {
        /// For how long after he was last seen somebody counts as active; so long his credential is remembered.
        window: Duration = "30m",
        /// Most people that are remembered; who was not seen for longest goes first.
        limit: Count = "1000",
    }
}

section! {
    /// `warm.as:`
    WarmAs {
        /// The field that holds the user's id: X-User-Id.
        header: HeaderName,
    }
}

section! {
    /// One of `warm.requests`.
    WarmRequest {
        /// Its name in reports and metrics, and for `larder warm`; default: what it gets.
        id: String,
        /// Path and query on the configured upstream; {name} is filled by `params`, or by the items of `for_each`.
        get: WarmTarget,
        /// Higher goes first; within one priority what was written last.
        priority: i64 = "100",
        /// When it is fetched again, as a pattern of cron: "*/10 7-19 * * MON-FRI".
        schedule: CronText,
        /// How often it is fetched again, counted from the start.
        every: Duration,
        /// The path of a JSON list; `get` is fetched for each of its items.
        for_each: WarmPath,
        /// What of the list fills the placeholder, as JSONPath: $.items[*].id; of an object, its members by their names.
        select: JsonPath,
        /// Most values that are taken from the list.
        limit: Count = "1000",
        /// How the list goes on: link (Link: rel=next), or query:NAME for a counted parameter; default: it does not.
        pages: PagesText,
        /// Values of placeholders; every combination is fetched.
        params: Params,
        /// The Origin of each request, for answers that differ by it; none: a request without.
        origins: Words<WarmOrigin>,
        /// active: once for each of those who were here lately, with what they showed.
        for_users: ForUsers,
        /// Fields sent with its requests, in place of those of `warm.headers`.
        headers: Headers,
    }
}

/// `warm:` as the room has it.
pub(crate) fn settle(merged: &File, problems: &mut Vec<Problem>) -> Settings {
    let keys = said(merged.warm.clone());
    let zone = declared(&keys.timezone).0;
    let mut tasks: Vec<Arc<Task>> = Vec::new();
    for At { value, source } in said(keys.requests.clone()).0 {
        let is_named = value.id.is_some();
        let request = value.over(built_in());
        let Some(mut task) = task(request, source, &zone, problems) else { continue };
        let is_taken = |id: &str| tasks.iter().any(|known| known.id == id) || id == LEARNT;
        if is_named && is_taken(&task.id) {
            let message = format!("two warm tasks are called `{}`", task.id);
            let hint = format!("give each an `id` of its own; `{LEARNT}` is that of what is learnt");
            problems.push(Problem::of(source, message).hint(hint));
            continue;
        }
        let mut copies = 2_u32;
        while is_taken(&task.id) {
            task.id = format!("{}#{copies}", task.text());
            copies += 1;
        }
        tasks.push(Arc::new(task));
    }
    let background = declared(&keys.background);
    let learn = learn::settle(keys.learn.clone(), problems).filter(|_| background);
    if let Some((_, every)) = learn {
        tasks.push(Arc::new(Task::learnt(every)));
    }
    let ahead = said(keys.refresh_ahead.clone()).budget.map(|budget| budget.value.0);
    let is_for_users = tasks.iter().any(|task| task.audience == Audience::Active);
    let users = merged.warm.as_ref().and_then(|warm| warm.value.users.as_ref());
    let is_wanted = is_for_users || users.is_some_and(|users| users.source != Source::Default);
    let users = said(users.cloned());
    let named_in = said(keys.as_user).header.map(|at| at.value);
    let shown = if named_in.is_some() { Shown::Name } else { Shown::Credential };
    let users =
        identities::Settings { window: declared(&users.window), limit: declared(&users.limit).size(), shown };
    Settings {
        tasks,
        before_ready: declared(&keys.before_ready),
        concurrency: declared(&keys.concurrency).size(),
        rate: keys.rate.as_ref().map(|at| at.value.0),
        headers: fields(keys.headers.as_ref()),
        background,
        users: (background && is_wanted).then_some(users),
        named_in,
        learn: learn.map(|(top, _)| top),
        ahead: ahead.filter(|_| background),
        grammar: Grammar { zone, read },
    }
}

/// Reads one of `warm.requests` that is told in JSON while the process runs. What only the file may have is not filled: variables
/// and files.
///
/// # Errors
/// All that is wrong with it, in words.
fn read(text: &str, zone: &TimeZone) -> Result<Task, String> {
    let node = tree::parse(text).map_err(words)?;
    let mut reader = Reader::new(None);
    let request = WarmRequest::read(&node, &mut reader);
    let mut problems = reader.problems;
    if let Some(key) = reader.open.first() {
        let problem = Problem::general(format!("`{key}`: placeholders are not filled here"));
        problems.push(problem.hint("write what they stand for"));
    }
    let request = request.filter(|_| problems.is_empty()).map(|said| said.over(built_in()));
    let task = request.and_then(|request| task(request, Source::Default, zone, &mut problems));
    match task {
        Some(task) if task.id == LEARNT => Err(format!("`{LEARNT}` is the id of what is learnt")),
        Some(task) => Ok(task),
        None => Err(words(problems)),
    }
}

fn words(problems: Vec<Problem>) -> String {
    let told = problems.into_iter().map(|problem| match problem.hint {
        Some(hint) => format!("{}: {hint}", problem.message),
        None => problem.message,
    });
    told.collect::<Vec<_>>().join("; ")
}

fn built_in() -> WarmRequest {
    WarmRequest::built_in().unwrap_or_default()
}

/// `None`: it is no task, and that is told.
fn task(request: WarmRequest, source: Source, zone: &TimeZone, problems: &mut Vec<Problem>) -> Option<Task> {
    let Some(get) = request.get.clone() else {
        problems
            .push(Problem::of(source, "a request to warm has no `get`").hint("write { get: /api/stats }"));
        return None;
    };
    let mut refused = |(source, refusal): (Source, Refusal)| problems.push(refusal.problem(source));
    let schedule = schedule(&request, zone).map_err(&mut refused).ok()?;
    let each = each(&request, source).map_err(&mut refused).ok()?;
    let params = said(request.params.clone()).0.into_iter().map(|(name, values)| (name, values.value.0));
    let task = Task {
        id: request.id.as_ref().map_or_else(|| get.value.0.as_str().to_owned(), |id| id.value.clone()),
        get: Some(get.value.0.clone()),
        priority: declared(&request.priority),
        schedule,
        each,
        params: params.collect(),
        origins: said(request.origins.clone()).0.into_iter().map(|origin| origin.0).collect(),
        audience: request.for_users.as_ref().map_or(Audience::Anybody, |_| Audience::Active),
        headers: fields(request.headers.as_ref()),
    };
    placeholders(&task).map_err(|refusal| refused((get.source, refusal))).ok()?;
    Some(task)
}

fn schedule(request: &WarmRequest, zone: &TimeZone) -> Result<Schedule, (Source, Refusal)> {
    match (&request.schedule, &request.every) {
        (None, None) => Ok(Schedule::Start),
        (Some(cron), None) => Ok(Schedule::Cron(cron.value.0.clone(), zone.clone())),
        (None, Some(every)) if every.value >= SHORTEST => Ok(Schedule::Every(every.value)),
        (None, Some(every)) => {
            let refusal = Refusal::new("`every` is less than a second", "write e.g. every: 30m");
            Err((every.source, refusal))
        }
        (Some(_), Some(every)) => {
            let refusal = Refusal::new("`every` and `schedule` both say when", "keep one of them");
            Err((every.source, refusal))
        }
    }
}

fn each(request: &WarmRequest, source: Source) -> Result<Option<Each>, (Source, Refusal)> {
    let (Some(from), Some(select)) = (&request.for_each, &request.select) else {
        let alone = [
            (
                request.for_each.as_ref().map(|at| at.source),
                "`for_each` has no `select`",
                "write e.g. select: $.items[*].id",
            ),
            (
                request.select.as_ref().map(|at| at.source),
                "`select` has no `for_each`",
                "name the list: for_each: /api/projects",
            ),
            (
                request.pages.as_ref().map(|at| at.source),
                "`pages` has no `for_each`",
                "name the list: for_each: /api/projects",
            ),
        ];
        let alone =
            alone.into_iter().find_map(|(said, message, hint)| Some((said?, Refusal::new(message, hint))));
        return alone.map_or(Ok(None), Err);
    };
    let limit = declared(&request.limit).size();
    if limit > MAX_PATHS {
        let at = request.limit.as_ref().map_or(source, |at| at.source);
        let message = format!("`limit` {limit} is more than a run takes");
        return Err((at, Refusal::new(message, format!("write {MAX_PATHS} or less"))));
    }
    let pages = request.pages.as_ref().map_or(Pages::One, |at| at.value.0.clone());
    Ok(Some(Each { from: from.value.0.to_string(), select: select.value.clone(), limit, pages }))
}

/// Whether every placeholder is filled, and everything that fills one has it.
fn placeholders(task: &Task) -> Result<(), Refusal> {
    let (text, open) = (task.text(), task.open());
    let names: Vec<&str> = task.get.iter().flat_map(Pattern::names).collect();
    if let Some((name, _)) = task.params.iter().find(|(name, _)| !names.contains(&name.as_str())) {
        let message = format!("`params` say what `{{{name}}}` is, and `{text}` has no such placeholder");
        return Err(Refusal::new(message, "take it out, or put it into `get`"));
    }
    let number = task.params.iter().try_fold(1_usize, |number, (_, values)| number.checked_mul(values.len()));
    if number.is_none_or(|number| number > MAX_PATHS) {
        let message = format!("`params` of `{text}` come to more than {MAX_PATHS} paths");
        return Err(Refusal::new(message, "shorten the lists"));
    }
    match (&task.each, open.as_slice()) {
        (None, []) | (Some(_), [_, ..]) => Ok(()),
        (None, [name, ..]) => {
            let message = format!("`{text}` is a template, and nothing says what `{{{name}}}` is");
            let hint = format!(
                "write params: {{ {name}: [1, 2] }}, or name a list: for_each: /api/list, select: \"$[*].{name}\""
            );
            Err(Refusal::new(message, hint))
        }
        (Some(_), []) => {
            let message = format!("`{text}` has no placeholder that the items of `for_each` could fill");
            Err(Refusal::new(message, "write e.g. get: \"/api/projects/{id}\""))
        }
    }
}

/// Fields of requests; their values are secrets.
fn fields(headers: Option<&At<Headers>>) -> HeaderMap {
    let said = headers.map(|at| at.value.0.as_slice()).unwrap_or_default();
    let field = |(name, text): &(HeaderName, At<HeaderText>)| {
        let mut value = HeaderValue::from_str(&text.value.0).ok()?;
        value.set_sensitive(true);
        Some((name.clone(), value))
    };
    said.iter().filter_map(field).collect()
}
