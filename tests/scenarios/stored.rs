//! `config/STORED.md`, row by row: every claim of the page is played before the proxy, so the page cannot lie.

mod page;

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use larder::clock::Clock;

use crate::harness::client::Reply;
use crate::harness::origin::{Answer, Origin, Seen};
use crate::harness::play;
use crate::harness::proxy::Proxy;
use crate::stored::page::{Claim, Message, Row, Shared, Stale, Step, duration};

const PAGE: &str = include_str!("../../config/STORED.md");

/// A page with fewer rows has lost some.
const ROWS: usize = 115;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn every_row_of_the_page_comes_true() {
    let rows = page::rows(PAGE).unwrap_or_else(|wrong| panic!("config/STORED.md:\n{}", wrong.join("\n")));
    assert!(rows.len() >= ROWS, "{} rows", rows.len());
    let mut untrue = Vec::new();
    for row in &rows {
        play(async {
            if let Err(why) = played(row).await {
                let line = PAGE.lines().nth(row.line - 1).expect("a row is a line");
                untrue.push(format!("config/STORED.md:{}: {why}\n  {line}", row.line));
            }
        });
    }
    assert!(untrue.is_empty(), "{} rows are not true:\n{}", untrue.len(), untrue.join("\n"));
}

/// One row's stage.
struct Stage<'a> {
    row: &'a Row,
    proxy: Proxy,
    origin: Origin,
    /// What the origin answers instead of the row's response; 0: nothing else.
    instead: Arc<AtomicU16>,
}

async fn played(row: &Row) -> Result<(), String> {
    let instead = Arc::new(AtomicU16::new(0));
    let clock = Arc::new(OnceLock::new());
    let origin = Origin::start({
        let (row, instead, clock) = (row.clone(), Arc::clone(&instead), Arc::clone(&clock));
        move |seen| answer(seen, &row, instead.load(Ordering::SeqCst), clock.get().expect("it is set"))
    })
    .await;
    let proxy = Proxy::start(&origin, &row.yaml).await;
    clock.set(proxy.clock.clone()).expect("it is set once");
    let stage = Stage { row, proxy, origin, instead };
    match &row.claim {
        Claim::Stored { fresh, shared, stale } => stage.stored(*fresh, *shared, *stale).await,
        Claim::Refused(word) => stage.refused(word).await,
        Claim::Later { steps, cache, status } => stage.later(steps, cache, *status).await,
    }
}

/// What the origin says: the row's response, or another status without its fields (a 304 with its validators).
fn answer(seen: &Seen, row: &Row, instead: u16, clock: &Clock) -> Answer {
    let response = &row.response;
    let is_rows_own = ["GET", "HEAD", &row.request.start].contains(&seen.method.as_str());
    let status = if instead == 0 { response.start.parse().expect("a status") } else { instead };
    let validators = ["ETag", "Last-Modified"];
    let mut answer = Answer::new(if is_rows_own || instead != 0 { status } else { 200 });
    for (name, value) in &response.fields {
        if instead == 0 || (instead == 304 && validators.contains(&name.as_str())) {
            answer = answer.header(name, &dated(value, clock));
        }
    }
    if matches!(status, 204 | 304) {
        answer
    } else {
        answer.text(response.body.as_deref().unwrap_or("a body"))
    }
}

/// `now`, `in 60s` and `100s ago` are dates, and may be written as they should not be.
fn dated(value: &str, clock: &Clock) -> String {
    if let Some(value) = value.strip_suffix(", wrong weekday") {
        let date = dated(value, clock);
        let wrong = if date.starts_with("Sun") { "Mon" } else { "Sun" };
        return format!("{wrong}{}", &date[3..]);
    }
    if let Some(value) = value.strip_suffix(", asctime") {
        let date = dated(value, clock);
        let [weekday, day, month, year, time, _zone] = date.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{date} is no date");
        };
        let day = day.trim_start_matches('0');
        return format!("{} {month} {day:>2} {time} {year}", weekday.trim_end_matches(','));
    }
    let wall = clock.now().wall;
    let date = if value == "now" {
        Some(wall)
    } else if let Some(time) = value.strip_prefix("in ") {
        duration(time).ok().map(|time| wall + time)
    } else {
        value.strip_suffix(" ago").and_then(|time| duration(time).ok()).map(|time| wall - time)
    };
    date.map_or_else(|| value.to_owned(), httpdate::fmt_http_date)
}

fn expect(holds: bool, what: &str, reply: &Reply) -> Result<(), String> {
    let told = || format!("{what}: {} {} ({})", reply.status, reply.cache(), reply.cache_status());
    if holds { Ok(()) } else { Err(told()) }
}

impl Stage<'_> {
    async fn ask(&self, request: &Message) -> Reply {
        let asked = self.proxy.ask(&request.start, "/a");
        let asked = request
            .fields
            .iter()
            .fold(asked, |asked, (name, value)| asked.header(name, &dated(value, &self.proxy.clock)));
        asked.body(request.body.clone().unwrap_or_default()).reply().await
    }

    /// The row's request with other credentials, or none.
    fn caller(&self, credential: Option<&str>) -> Message {
        const CREDENTIALS: [&str; 3] = ["Authorization", "Cookie", "X-Api-Key"];
        let mut request = self.row.request.clone();
        request.fields.retain(|(name, _)| !CREDENTIALS.contains(&name.as_str()));
        request.fields.extend(credential.map(|value| ("Authorization".to_owned(), value.to_owned())));
        request
    }

    fn has_own_status(&self, reply: &Reply) -> bool {
        self.row.response.start == reply.status.as_str()
    }

    async fn refused(&self, word: &str) -> Result<(), String> {
        let why = if word.contains('=') {
            format!("larder; {word}")
        } else {
            format!("larder; fwd=bypass; detail={word}")
        };
        for asked in 1..=2 {
            let reply = self.ask(&self.row.request).await;
            expect(
                reply.cache() == "BYPASS" && reply.cache_status() == why,
                &format!("not `{why}`"),
                &reply,
            )?;
            expect(self.origin.count() == asked, "the origin was not asked", &reply)?;
        }
        Ok(())
    }

    async fn stored(&self, fresh: Duration, shared: Shared, stale: Stale) -> Result<(), String> {
        let first = self.ask(&self.row.request).await;
        let is_stored = first.cache() == "MISS" && first.cache_status().ends_with("; stored");
        expect(is_stored && self.has_own_status(&first), "not stored", &first)?;
        if !fresh.is_zero() {
            self.hit(fresh).await?;
            self.shared(shared).await?;
            self.proxy.pass(fresh - SECOND);
            self.hit(SECOND).await?;
            self.proxy.pass(SECOND);
        }
        self.stale(stale).await?;
        let asks = ["if-none-match", "if-modified-since"]
            .iter()
            .any(|name| self.origin.last().header(name).is_some());
        expect(asks || !fresh.is_zero(), "kept, and not asked about", &first)
    }

    async fn hit(&self, left: Duration) -> Result<(), String> {
        let (reply, count) = (self.ask(&self.row.request).await, self.origin.count());
        let told = format!("larder; hit; ttl={}", left.as_secs());
        let is_hit = reply.cache() == "HIT" && reply.cache_status() == told && self.has_own_status(&reply);
        expect(is_hit && self.origin.count() == count, &format!("not `{told}`"), &reply)?;
        let is_replayed = self.row.yaml.contains("set_cookie: store");
        let told = if is_replayed { "it sets no cookie" } else { "it sets a cookie" };
        expect(reply.header("set-cookie").is_some() == is_replayed, told, &reply)
    }

    async fn shared(&self, shared: Shared) -> Result<(), String> {
        for (credential, expected) in [
            (None, matches!(shared, Shared::Everybody | Shared::WithoutCredential)),
            (Some("Bearer another"), shared == Shared::Everybody),
        ] {
            let reply = self.ask(&self.caller(credential)).await;
            expect((reply.cache() == "HIT") == expected, &format!("shared with {credential:?}"), &reply)?;
        }
        Ok(())
    }

    /// From the end of its freshness on, with an origin that fails: what is stale is seen to be used, or not.
    async fn stale(&self, stale: Stale) -> Result<(), String> {
        self.instead.store(503, Ordering::SeqCst);
        let mut now = Duration::ZERO;
        for (window, detail) in [(stale.while_fetched, ""), (stale.on_error, "; detail=stale-if-error")] {
            if window > now {
                self.proxy.pass(window - now);
                now = window;
                let count = self.origin.count();
                let reply = self.ask(&self.row.request).await;
                let told = format!("larder; hit; ttl=-{}{detail}", window.as_secs());
                let is_stale = reply.cache() == "STALE" && reply.cache_status() == told;
                expect(is_stale && self.has_own_status(&reply), &format!("not `{told}`"), &reply)?;
                self.origin.arrived(count + 1).await;
            }
        }
        if !now.is_zero() {
            self.proxy.pass(SECOND);
        }
        let reply = self.ask(&self.row.request).await;
        expect(reply.status == 503 && reply.cache() != "STALE", "not passed on when stale", &reply)
    }

    async fn later(&self, steps: &[Step], cache: &str, status: Option<u16>) -> Result<(), String> {
        self.ask(&self.row.request).await;
        let mut reply = None;
        for step in steps {
            self.proxy.pass(step.after);
            self.instead.store(step.answered.unwrap_or_default(), Ordering::SeqCst);
            reply = Some(self.ask(&step.request).await);
        }
        let reply = reply.ok_or("nothing comes later")?;
        let is_status = status.map_or(self.has_own_status(&reply), |status| reply.status == status);
        expect(reply.cache() == cache && is_status, &format!("not {cache} {status:?}"), &reply)
    }
}
