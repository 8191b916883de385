//! What the next request like this one is told: by the very judgement of the walk where Larder decides, and for each thing that the
//! origin may do where the origin does.
//!
//! Invariant: nothing is decided here. Which outcomes there are follows from [`verdict::judge`] and [`Ask::way`], their words from
//! [`Question`].

use std::sync::Arc;

use http::request::Parts as Head;
use http::{HeaderMap, StatusCode};

use crate::flow::explain::wire::{By, Or, Outcome, Told, When};
use crate::flow::lesson::Lesson;
use crate::flow::read::Question;
use crate::flow::verdict::{self, Ask, UNCACHEABLE, Verdict, Whole};
use crate::flow::{Visit, pass};
use crate::metrics::Cache;
use crate::policy::cache_status::{CacheStatus, Forward};
use crate::policy::{self, NoStore, Scope};
use crate::route::share::Share;
use crate::store::entry::Entry;
use crate::store::memory::{Refusal, Stage};

/// What becomes of a read.
pub(super) struct Foreseen {
    pub(super) outcome: Outcome,
    /// What is stored for it, be it too old.
    pub(super) entry: Option<Arc<Entry>>,
    /// Why the newest answer was not kept, if it was not.
    pub(super) refusal: Option<Refusal>,
    /// Whether somebody is fetching it just now.
    pub(super) is_in_flight: bool,
}

/// Foresees a read; its content, if it has any, has been digested.
pub(super) fn read(visit: &Visit<'_>, head: &Head, share: Share) -> Foreseen {
    let selecting = visit.selecting(head, share);
    let key = visit.target.key(share, &head.headers, visit.content().key()).to_key();
    let refusal = Lesson::of(visit, head, share).noted(&visit.flow.store, &key);
    let (outcome, entry) = match verdict::judge(visit, head, share, &selecting) {
        Verdict::Whole(Whole { entry, cache, status, .. }) => (certain(cache, status), Some(entry)),
        Verdict::Part(answer) => {
            let entry = visit.flow.part(&key, &selecting, visit.now.mono);
            let ttl = entry.as_ref().map_or(0, |part| part.life.ttl(visit.now));
            (certain(answer.cache, CacheStatus::Hit { ttl, detail: None }), entry)
        }
        Verdict::NotCached => {
            let (cache, status) = verdict::only_if_cached();
            let mut outcome = certain(cache, status);
            outcome.told.status = Some(StatusCode::GATEWAY_TIMEOUT.as_u16());
            (outcome, None)
        }
        Verdict::Ask(ask) => {
            let base = ask.base.clone();
            (asked(visit, head, &selecting, share, ask, refusal), base)
        }
    };
    let is_in_flight = visit.flow.lasting.flights.is_flying(&key);
    Foreseen { outcome, entry, refusal, is_in_flight }
}

/// What Larder alone decides.
pub(super) fn certain(cache: Cache, status: CacheStatus) -> Outcome {
    Outcome { told: told((cache, status)), decided_by: By::Cache, when: None, or: Vec::new() }
}

/// What is likely, and what may come instead.
pub(super) fn open((when, told): (When, Told), or: Vec<(When, Told)>) -> Outcome {
    let or = or.into_iter().map(|(when, told)| Or { when, told }).collect();
    Outcome { told, decided_by: By::Origin, when: Some(when), or }
}

pub(super) fn told((cache, status): (Cache, CacheStatus)) -> Told {
    let status = status.to_value();
    let cache_status = status.to_str().ok().map(str::to_owned);
    Told { x_cache: Some(cache.as_str().to_owned()), cache_status, status: None }
}

/// With a detail that only the origin's answer tells.
fn told_more(words: (Cache, CacheStatus)) -> Told {
    let mut told = told(words);
    if let Some(status) = &mut told.cache_status {
        status.push_str("; detail=…");
    }
    told
}

/// With the origin's status, where it is told, left open.
fn told_of_any(words: (Cache, CacheStatus)) -> Told {
    let mut told = told(words);
    told.cache_status = told.cache_status.map(|status| status.replace("fwd-status=200", "fwd-status=…"));
    told
}

/// With the time for which it is fresh left open.
fn told_for_any_time(words: (Cache, CacheStatus)) -> Told {
    let mut told = told(words);
    told.cache_status = told.cache_status.map(|status| status.replace("ttl=0", "ttl=…"));
    told
}

/// A read for which the origin has to be asked.
fn asked(
    visit: &Visit<'_>,
    head: &Head,
    selecting: &HeaderMap,
    share: Share,
    mut ask: Ask,
    refusal: Option<Refusal>,
) -> Outcome {
    let part = match ask.way(visit, head, share, 0) {
        Ok(part) => part,
        Err(why) => return certain(Cache::Bypass, pass::status(why)),
    };
    let arrival = visit.flow.store.arrival(visit.now.mono);
    let mut question = Question::of(visit, head, selecting, share, ask, part, arrival);
    question.look_for_company();
    let failing = failing(&question);
    let base = question.ask.base.as_ref();
    if question.is_by_head() {
        let plain = told((Cache::Miss, question.forwarded(None, false, None)));
        let mut ways = vec![(When::Answered, plain)];
        if base.is_some() {
            ways.insert(0, (When::Confirmed, told(question.confirmed(StatusCode::OK))));
        }
        return decided_by_origin(ways, &question, failing);
    }
    let rule = &visit.target.route.settings.rule;
    let never = policy::asks_no_store(&head.headers, rule).then(|| NoStore::RequestNoStore.as_str());
    let mut ways = Vec::new();
    if never.is_none() {
        if base.is_some() && is_conditional(&question) {
            ways.push((When::Confirmed, told(question.confirmed(StatusCode::NOT_MODIFIED))));
        }
        ways.push((When::Kept, told_of_any(question.kept(StatusCode::OK))));
    }
    if question.may_be_told() {
        ways.push((When::Told, told_for_any_time(Question::told(0))));
    }
    // What was not kept when it was asked for last will not be this time.
    let lately = refusal.filter(|refusal| refusal.stage == Stage::AtItsHead).map(|refusal| refusal.why);
    // A range whose whole is not kept goes on as it came.
    let not_kept =
        |why| (When::NotKept, told(question.not_kept(if question.wants_part() { UNCACHEABLE } else { why })));
    match never.or(lately) {
        Some(why) => ways.insert(0, not_kept(why)),
        None if question.wants_part() => ways.push(not_kept(UNCACHEABLE)),
        None => {}
    }
    ways.push((When::NotKept, unkept()));
    decided_by_origin(ways, &question, failing)
}

/// What the origin may do, the likeliest first, and what else it may do to any such request.
fn decided_by_origin(mut ways: Vec<(When, Told)>, question: &Question<'_>, failing: (When, Told)) -> Outcome {
    if question.visit.is_for_the_public() {
        ways.extend(demoted(question).into_iter().map(|told| (When::Demoted, told)));
    }
    ways.push(failing);
    let likely = ways.remove(0);
    open(likely, ways)
}

/// What the origin's asking for a credential leads to: another round, on a route that is public no longer.
fn demoted(question: &Question<'_>) -> Vec<Told> {
    let Question { visit, head, .. } = *question;
    let own = visit.flow.rules.identity.share(Scope::Public, true, &head.headers);
    if own == question.share {
        // It asks without a credential again, and is refused again.
        let plain = || told((Cache::Miss, question.forwarded(None, false, None)));
        return vec![if question.is_by_head() { plain() } else { unkept() }];
    }
    let mut ask = Ask { why: Forward::UriMiss, base: None, together: true };
    let part = match ask.way(visit, head, own, 1) {
        Ok(part) => part,
        Err(why) => return vec![told((Cache::Bypass, pass::status(why)))],
    };
    let selecting = visit.selecting(head, own);
    let again =
        Question::of(visit, head, &selecting, own, ask, part, visit.flow.store.arrival(visit.now.mono));
    if again.is_by_head() {
        return vec![told((Cache::Miss, again.forwarded(None, false, None)))];
    }
    let may_keep = !policy::asks_no_store(&head.headers, &visit.target.route.settings.rule);
    let kept = may_keep.then(|| told(again.kept(StatusCode::OK)));
    kept.into_iter().chain([unkept()]).collect()
}

/// The words for what may not be kept, for a reason that only the answer tells.
fn unkept() -> Told {
    told_more((Cache::Bypass, CacheStatus::forward(Forward::Bypass)))
}

/// What an origin that fails leads to.
fn failing(question: &Question<'_>) -> (When, Told) {
    let now = question.visit.now;
    match question.substitute(now) {
        Some((_, words)) => (When::Failed, told(words)),
        None => (When::NoAnswer, told_more((Cache::Miss, question.forwarded(None, false, None)))),
    }
}

/// Whether the origin is asked only for what has changed.
fn is_conditional(question: &Question<'_>) -> bool {
    question.fetch().would_be_conditional()
}
