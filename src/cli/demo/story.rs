//! The story that the demo tells: the same requests twice, two people, a job, a crowd, a write, a purge. It measures, and
//! checks what it claims.
//!
//! Invariant: a claim is judged by what came over the wire and by the requests the origin counted, never by how fast
//! it was: a busy machine does not fail the story. It refuses to know what answers at the address it is given.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::try_join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cli::client::{Answer, Ask, Client, Error};
use crate::cli::demo::projects::POLLS_UNTIL_DONE;
use crate::cli::explain::text;
use crate::cli::purge;
use crate::clock::Clock;
use crate::flow::explain::wire::Explanation;

const PROJECT: &str = "/api/projects/42";
const DASHBOARD: &str = "/api/dashboard";
const OTHER: &str = "/api/projects/7";
const LIST: &str = "/api/projects?page=1&size=20";
const STATS: &str = "/api/stats";
const READS: [&str; 6] = [LIST, PROJECT, OTHER, "/api/projects/42/export", STATS, "/api/search?q=audit"];
/// What shows [`PROJECT`], or counts it.
const CHANGED: [&str; 3] = [LIST, PROJECT, STATS];
const ADA: (&str, &str) = ("authorization", "Bearer ada");
const GRACE: (&str, &str) = ("authorization", "Bearer grace");
/// How many ask at once for what nobody has asked for.
const CROWD: usize = 50;
const CROWDED: &str = "/api/search?q=rollout";
/// How often a project that was written is asked for until it comes from memory again.
const RETURNS: usize = 5;

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Story {
    rows: Vec<Row>,
    scenes: Vec<Scene>,
    claims: Vec<Claim>,
}

/// What was done, and what came of it.
#[derive(Debug)]
struct Scene {
    title: String,
    lines: String,
}

/// A request that was made twice.
#[derive(Debug)]
struct Row {
    request: String,
    /// What the origin says it took (`X-Process-Time`), in seconds.
    origin: Option<f64>,
    took: [Duration; 2],
    cache: [String; 2],
}

/// A sentence, and where it did not hold.
#[derive(Debug)]
struct Claim {
    says: &'static str,
    failures: Vec<String>,
}

/// Plays the story to the proxy at `proxy`, and to its admin listener at `admin`, if there is one; `origin_requests` tells how
/// many requests have reached the origin so far.
///
/// # Errors
/// If a request gets no answer at all.
pub(crate) async fn play(
    (proxy, admin): (SocketAddr, Option<SocketAddr>),
    clock: Clock,
    origin_requests: impl Fn() -> u64,
) -> Result<Story, Error> {
    let client = Client::connect(proxy, clock.clone()).await?;
    let mut stage = Stage { proxy, clock, client, origin_requests, story: Story::default() };
    stage.reads().await?;
    stage.people().await?;
    stage.job().await?;
    // Before the write, behind which the origin is asked again for what was hot: that would be counted too.
    stage.crowd().await?;
    stage.write().await?;
    if let Some(admin) = admin {
        stage.operator(admin).await?;
    }
    Ok(stage.story)
}

impl Story {
    /// The claims that did not hold, each with its reason; empty if all did.
    pub(crate) fn failures(&self) -> Vec<String> {
        let of = |claim: &Claim| -> Vec<String> {
            claim.failures.iter().map(|failure| format!("{}: {failure}", claim.says)).collect()
        };
        self.claims.iter().flat_map(of).collect()
    }

    /// Prints a table of what was measured, and the claims.
    pub(crate) fn print(&self, out: &mut impl Write, colour: bool) -> io::Result<()> {
        let [bold, green, red, reset] =
            if colour { ["\x1b[1m", "\x1b[32m", "\x1b[31m", "\x1b[0m"] } else { [""; 4] };
        writeln!(
            out,
            "{bold}{:<34} {:>9} {:>9} {:>9}   X-Cache{reset}",
            "request", "origin", "first", "second"
        )?;
        for Row { request, origin, took: [first, second], cache: [was, is] } in &self.rows {
            let origin = origin.map_or(String::from("-"), |seconds| millis(seconds * 1e3));
            let [first, second] = [first, second].map(|took| millis(took.as_secs_f64() * 1e3));
            writeln!(
                out,
                "{request:<34} {origin:>9} {first:>9} {green}{second:>9}{reset}   {was}, {green}{is}{reset}"
            )?;
        }
        for Scene { title, lines } in &self.scenes {
            writeln!(out, "\n{bold}{title}{reset}\n{}", lines.trim_end())?;
        }
        writeln!(out)?;
        for Claim { says, failures } in &self.claims {
            match failures.is_empty() {
                true => writeln!(out, "{green}ok{reset}    {says}")?,
                false => writeln!(out, "{red}FAIL{reset}  {says}")?,
            }
            for failure in failures {
                writeln!(out, "      {failure}")?;
            }
        }
        Ok(())
    }
}

/// Three figures at most: `244 ms`, `0.21 ms`.
fn millis(millis: f64) -> String {
    if millis >= 10.0 { format!("{millis:.0} ms") } else { format!("{millis:.2} ms") }
}

impl Claim {
    fn new(says: &'static str) -> Self {
        Self { says, failures: Vec::new() }
    }

    fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.failures.push(otherwise());
        }
    }

    fn expect_cache(&mut self, what: &str, answer: &Answer, expected: &str) {
        let found = answer.field("x-cache");
        self.expect(found == expected, || format!("{what}: X-Cache is {found:?}, not {expected}"));
    }

    fn expect_no_hit(&mut self, what: &str, answer: &Answer) {
        self.expect(answer.field("x-cache") != "HIT", || format!("{what}: was answered from memory"));
    }
}

struct Stage<F> {
    proxy: SocketAddr,
    clock: Clock,
    client: Client,
    origin_requests: F,
    story: Story,
}

impl<F: Fn() -> u64> Stage<F> {
    /// Asks twice and enters a row; the second answer must be the first one, out of memory.
    async fn twice(&mut self, ask: Ask<'_>, claim: &mut Claim) -> Result<[Answer; 2], Error> {
        let first = self.client.send(ask).await?;
        let before = (self.origin_requests)();
        let second = self.client.send(ask).await?;
        let asked = (self.origin_requests)() - before;
        let request = match ask.field {
            Some((_, value)) => format!("{} {} ({value})", ask.method, ask.path),
            None => format!("{} {}", ask.method, ask.path),
        };
        claim.expect(first.status == StatusCode::OK, || format!("{request}: answered with {}", first.status));
        claim.expect_cache(&request, &second, "HIT");
        claim.expect(first.body == second.body, || format!("{request}: the second body is another"));
        claim.expect(asked == 0, || format!("{request}: the second one went to the origin"));
        self.story.rows.push(Row {
            request,
            origin: first.field("x-process-time").parse().ok(),
            took: [first.took, second.took],
            cache: [&first, &second].map(|answer| answer.field("x-cache").to_owned()),
        });
        Ok([first, second])
    }

    async fn reads(&mut self) -> Result<(), Error> {
        let mut claim =
            Claim::new("A second read comes from memory, byte for byte, and the origin is not asked");
        let mut unchanged =
            Claim::new("Who has the answer already is told so: If-None-Match gets 304 and no body");
        for path in READS {
            let [_, second] = self.twice(Ask::get(path), &mut claim).await?;
            let field = Some(("if-none-match", second.field("etag")));
            let answer = self.client.send(Ask { field, ..Ask::get(path) }).await?;
            unchanged.expect(answer.status == StatusCode::NOT_MODIFIED && answer.body.is_empty(), || {
                format!("GET {path} with {field:?}: answered with {}", answer.status)
            });
        }
        self.story.claims.extend([claim, unchanged]);
        Ok(())
    }

    async fn people(&mut self) -> Result<(), Error> {
        let mut claim = Claim::new("Two people never share a dashboard, and each has their own from memory");
        for (person, name) in [(ADA, "ada"), (GRACE, "grace")] {
            let ask = Ask { field: Some(person), ..Ask::get(DASHBOARD) };
            for answer in self.twice(ask, &mut claim).await? {
                let user = answer.member("user");
                claim.expect(user == name, || format!("{name} was shown the dashboard of {user}"));
            }
        }
        let stranger = self.client.send(Ask::get(DASHBOARD)).await?;
        claim.expect(stranger.status == StatusCode::UNAUTHORIZED, || {
            format!("a stranger was answered with {}", stranger.status)
        });
        self.story.claims.push(claim);
        Ok(())
    }

    async fn job(&mut self) -> Result<(), Error> {
        let mut claim = Claim::new("A job is asked about until it is done, and only then kept");
        let started = self
            .client
            .send(Ask { method: &Method::POST, json: Some("{}"), ..Ask::get("/api/jobs") })
            .await?;
        let path = format!("/api/jobs/{}", started.member("id"));
        for poll in 1..=POLLS_UNTIL_DONE {
            let answer = self.client.send(Ask::get(&path)).await?;
            let status = answer.member("status");
            claim.expect(status == "running", || format!("poll {poll}: the job is {status}"));
            claim.expect_no_hit(&format!("poll {poll}"), &answer);
        }
        for answer in self.twice(Ask::get(&path), &mut claim).await? {
            let status = answer.member("status");
            claim.expect(status == "done", || format!("the job is {status}, not done"));
        }
        self.story.claims.push(claim);
        Ok(())
    }

    async fn write(&mut self) -> Result<(), Error> {
        let mut claim = Claim::new("A write through Larder outdates what it changed before it is answered");
        let mut spared = Claim::new("And nothing else: another project comes from memory, its age going on");
        let before = self.client.send(Ask::get(PROJECT)).await?;
        claim.expect_cache("before the write", &before, "HIT");
        let other = self.client.send(Ask::get(OTHER)).await?;
        spared.expect_cache("before the write", &other, "HIT");
        // What is hot is fetched again soon: so they are asked for at once.
        let mut clients = try_join_all((0..=CHANGED.len()).map(|_| self.connect())).await?;
        let name = format!("Relaunch {}", before.member("revision"));
        let draft = json!({ "name": name, "status": "active", "owner": "ada", "budget": 9000 }).to_string();
        let put = Ask { method: &Method::PUT, json: Some(&draft), ..Ask::get(PROJECT) };
        let written = self.client.send(put).await?;
        claim.expect(written.status == StatusCode::OK, || {
            format!("the write was answered with {}", written.status)
        });
        let paths = CHANGED.into_iter().chain([OTHER]);
        let asked = clients.iter_mut().zip(paths).map(|(client, path)| client.send(Ask::get(path)));
        let mut answers = try_join_all(asked).await?;
        self.story.scenes.push(after_write(&answers, age(&other)));
        if let Some(still) = answers.pop() {
            spared.expect_cache("after the write", &still, "HIT");
            spared.expect(still.body == other.body, || "after the write it is another body".into());
            spared.expect(age(&still) >= age(&other), || "after the write it is younger".into());
        }
        for (path, answer) in CHANGED.into_iter().zip(&answers) {
            claim.expect_no_hit(&format!("{path} after the write"), answer);
        }
        let mut last = answers.swap_remove(1);
        for _ in 0..RETURNS {
            let found = last.member("name");
            claim.expect(found == name.as_str(), || format!("after the write the name is still {found}"));
            if last.field("x-cache") == "HIT" {
                break;
            }
            last = self.client.send(Ask::get(PROJECT)).await?;
        }
        claim.expect_cache("some reads later", &last, "HIT");
        self.story.claims.extend([claim, spared]);
        Ok(())
    }

    async fn operator(&mut self, admin: SocketAddr) -> Result<(), Error> {
        let mut client = Client::connect(admin, self.clock.clone()).await?;
        let mut claim = Claim::new("Larder says beforehand what a request will be told, and why");
        let asked = json!({ "target": OTHER }).to_string();
        let post = |path, json| Ask { method: &Method::POST, json: Some(json), ..Ask::get(path) };
        let answer = client.send(post("/v1/explain", &asked)).await?;
        let told = serde_json::from_slice::<Explanation>(&answer.body);
        claim.expect(told.is_ok(), || format!("it was answered with {}", answer.status));
        if let Ok(told) = told {
            let next = self.client.send(Ask::get(OTHER)).await?;
            claim.expect_cache(
                "what follows",
                &next,
                told.outcome.told.x_cache.as_deref().unwrap_or_default(),
            );
            // Its first line says again what was asked.
            let lines =
                text::of(&told, false, false).lines().skip(2).map(|line| format!("{line}\n")).collect();
            self.story.scenes.push(Scene { title: format!("larder explain {OTHER}"), lines });
        }
        let mut purged = Claim::new("A purge holds when it is answered");
        let answer = client.send(post("/v1/purge", r#"{"tags": ["project:7"]}"#)).await?;
        purged.expect(answer.status == StatusCode::OK, || format!("it was answered with {}", answer.status));
        let next = self.client.send(Ask::get(OTHER)).await?;
        purged.expect_no_hit("after the purge", &next);
        let done: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let lines = purge::told(&done, false).lines().map(|line| format!("  {line}\n")).collect();
        self.story.scenes.push(Scene { title: "larder purge project:7".to_owned(), lines });
        self.story.claims.extend([claim, purged]);
        Ok(())
    }

    async fn connect(&self) -> Result<Client, Error> {
        Client::connect(self.proxy, self.clock.clone()).await
    }

    async fn crowd(&mut self) -> Result<(), Error> {
        let mut claim =
            Claim::new("Fifty clients that ask at once for what nobody has asked for are one request");
        let before = (self.origin_requests)();
        let ask_alone = || async { self.connect().await?.send(Ask::get(CROWDED)).await };
        let answers = try_join_all((0..CROWD).map(|_| ask_alone())).await?;
        let asked = (self.origin_requests)() - before;
        claim.expect(asked == 1, || format!("the origin was asked {asked} times"));
        let differs =
            answers.iter().any(|answer| answer.status != StatusCode::OK || answer.body != answers[0].body);
        claim.expect(!differs, || "not all got the same answer".into());
        self.story.claims.push(claim);
        Ok(())
    }
}

/// What was answered after a write to [`PROJECT`]: of [`CHANGED`], then [`OTHER`], which was `age` old before.
fn after_write(answers: &[Answer], before: Option<u64>) -> Scene {
    let mut lines = String::new();
    for (path, answer) in CHANGED.into_iter().chain([OTHER]).zip(answers) {
        let ages = match (path, before, age(answer)) {
            (OTHER, Some(before), Some(now)) => {
                format!("  another project: {before} s old before, {now} s now")
            }
            _ => String::new(),
        };
        lines += &format!("  GET {path:<30} {:<4}{ages}\n", answer.field("x-cache"));
    }
    Scene { title: format!("PUT {PROJECT}"), lines }
}

fn age(answer: &Answer) -> Option<u64> {
    answer.field("age").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::sample::{self, Latency, Sample};
    use axum::body::to_bytes;
    use axum::extract::{Request, State};
    use axum::response::{IntoResponse, Response};
    use std::collections::HashMap;
    use std::sync::Arc;
    use tokio::net::TcpListener;
    use tokio::sync::Mutex;

    async fn sample() -> Sample {
        sample::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), Latency::Off).unwrap()
    }

    /// What a proxy would do, or one thing of it wrong.
    #[derive(Clone, Copy, PartialEq)]
    enum Behaviour {
        Right,
        SharesBetweenPeople,
        KeepsRunningJobs,
        IgnoresWrites,
        DropsEverything,
        AsksTwice,
    }

    struct StandIn {
        origin: SocketAddr,
        behaviour: Behaviour,
        kept: Mutex<HashMap<String, (http::HeaderMap, bytes::Bytes)>>,
    }

    impl StandIn {
        async fn start(origin: SocketAddr, behaviour: Behaviour) -> SocketAddr {
            let stand_in = Arc::new(Self { origin, behaviour, kept: Mutex::default() });
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = axum::Router::new().fallback(Self::answer).with_state(stand_in);
            tokio::spawn(async move { axum::serve(listener, router).await });
            address
        }

        async fn answer(State(this): State<Arc<Self>>, request: Request) -> Response {
            let (head, body) = request.into_parts();
            let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
            let path = head.uri.path_and_query().unwrap().as_str();
            let credential = head.headers.get("authorization").map(|value| value.to_str().unwrap());
            let shares = this.behaviour == Behaviour::SharesBetweenPeople;
            let key = format!("{path} {:?}", credential.filter(|_| !shares));
            // The lock held across the fetch is what makes a crowd one request.
            let mut kept = this.kept.lock().await;
            if let Some((headers, body)) = kept.get(&key).filter(|_| head.method == Method::GET) {
                if head.headers.contains_key("if-none-match") {
                    return StatusCode::NOT_MODIFIED.into_response();
                }
                return ([("x-cache", "HIT")], headers.clone(), body.clone()).into_response();
            }
            let ask = Ask {
                method: &head.method,
                path,
                field: credential.map(|value| ("authorization", value)),
                json: Some(&body).filter(|body| !body.is_empty()).map(String::as_str),
            };
            let mut client = Client::connect(this.origin, Clock::system()).await.unwrap();
            if this.behaviour == Behaviour::AsksTwice {
                client.send(ask).await.unwrap();
            }
            let answer = client.send(ask).await.unwrap();
            let running =
                answer.member("status") == "running" && this.behaviour != Behaviour::KeepsRunningJobs;
            if head.method == Method::GET && answer.status == StatusCode::OK && !running {
                kept.insert(key, (answer.headers.clone(), answer.body.clone()));
            } else if head.method == Method::PUT && this.behaviour != Behaviour::IgnoresWrites {
                let changed = |key: &str| CHANGED.iter().any(|path| key.starts_with(&format!("{path} ")));
                kept.retain(|key, _| !changed(key) && this.behaviour != Behaviour::DropsEverything);
            }
            (answer.status, [("x-cache", "MISS")], answer.headers, answer.body).into_response()
        }
    }

    async fn played(behaviour: Behaviour) -> Story {
        let sample = sample().await;
        let proxy = StandIn::start(sample.address(), behaviour).await;
        play((proxy, None), Clock::system(), || sample.requests()).await.unwrap()
    }

    #[track_caller]
    fn assert_fails_at(story: &Story, claim: &str) {
        let failures = story.failures();
        assert!(failures.iter().any(|failure| failure.starts_with(claim)), "{failures:#?}");
    }

    #[tokio::test]
    async fn a_proxy_that_does_right_passes() {
        let story = played(Behaviour::Right).await;
        assert_eq!(story.failures(), Vec::<String>::new());
        assert_eq!(story.rows.len(), READS.len() + 3);
    }

    #[tokio::test]
    async fn an_origin_without_a_cache_fails() {
        let sample = sample().await;
        let story = play((sample.address(), None), Clock::system(), || sample.requests()).await.unwrap();
        assert_fails_at(&story, "A second read comes from memory");
        assert_fails_at(&story, "Who has the answer already");
    }

    #[tokio::test]
    async fn each_wrong_is_seen() {
        assert_fails_at(&played(Behaviour::SharesBetweenPeople).await, "Two people never share");
        assert_fails_at(&played(Behaviour::KeepsRunningJobs).await, "A job is asked about");
        assert_fails_at(&played(Behaviour::IgnoresWrites).await, "A write through Larder");
        assert_fails_at(&played(Behaviour::DropsEverything).await, "And nothing else");
        assert_fails_at(&played(Behaviour::AsksTwice).await, "Fifty clients");
    }

    #[tokio::test]
    async fn the_story_is_printed_without_colours_unless_asked() {
        let story = played(Behaviour::IgnoresWrites).await;
        let mut text = Vec::new();
        story.print(&mut text, false).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("GET /api/stats") && text.contains("MISS, HIT"), "{text}");
        assert!(text.contains("ok    A second read comes from memory"), "{text}");
        assert!(text.contains("FAIL  A write through Larder"), "{text}");
        assert!(!text.contains('\x1b'));
        let mut coloured = Vec::new();
        story.print(&mut coloured, true).unwrap();
        assert!(coloured.contains(&0x1b));
    }
}
