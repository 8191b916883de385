//! `larder config test`: plays the `tests:` of a configuration against its rules, without any network.
//!
//! Invariant: every test is told by its line, with what was expected and what is so, in words.

use serde_json::{Value, json};

use crate::cli::FAILED;
use crate::cli::stage::{Outdated, Part, Stage};
use crate::config::{Case, Config, Expected, Fact, Report, Request, Sharing};
use crate::route::path::Path;
use crate::route::pattern::Template;
use crate::route::reach::Item;
use crate::route::share::Share;
use crate::route::tag::Tag;

/// What came of one test.
struct Played<'c> {
    case: &'c Case,
    failures: Vec<Failure>,
}

/// What should have been so, and was not.
struct Failure {
    expected: String,
    actual: String,
}

/// What the tests said, and the code to exit with.
pub(crate) struct Said {
    /// 0, or [`FAILED`].
    pub(crate) code: u8,
    /// For stdout.
    pub(crate) out: String,
}

/// Plays every test of a configuration.
///
/// # Errors
/// The routes or hosts do not hold together: the configuration would not start.
pub(crate) fn play(config: &Config, as_json: bool) -> Result<Said, Report> {
    let stage = Stage::of(config)?;
    let played: Vec<Played<'_>> = config.tests.iter().map(|case| stage.play(case)).collect();
    let failed = played.iter().filter(|played| !played.failures.is_empty()).count();
    let out = if as_json {
        format!(
            "{:#}\n",
            json!({ "ok": failed == 0, "tests": played.iter().map(Played::json).collect::<Value>() })
        )
    } else {
        words(config, &played, failed)
    };
    Ok(Said { code: if failed == 0 { 0 } else { FAILED }, out })
}

fn words(config: &Config, played: &[Played<'_>], failed: usize) -> String {
    let file = config.file.as_ref().map_or("no file".to_owned(), |file| file.display().to_string());
    if played.is_empty() {
        return format!(
            "{file}: no tests\n  write some under `tests:`, e.g.\n  - {{ request: PUT /api/projects/42, invalidates: project:42 }}\n"
        );
    }
    let mut out = String::new();
    for Played { case, failures } in played {
        let verdict = if failures.is_empty() { "ok" } else { "FAILED" };
        out += &format!("{file}:{}: {}: {verdict}\n", case.place.line, case.request);
        for Failure { expected, actual } in failures {
            out += &format!("  expected  {expected}\n  actual    {actual}\n");
        }
    }
    let tests = if played.len() == 1 { "test" } else { "tests" };
    out + &format!("{} {tests}, {failed} failed\n", played.len())
}

impl Played<'_> {
    fn json(&self) -> Value {
        let failures = self.failures.iter();
        let failures =
            failures.map(|Failure { expected, actual }| json!({ "expected": expected, "actual": actual }));
        json!({
            "line": self.case.place.line,
            "request": self.case.request.to_string(),
            "ok": self.failures.is_empty(),
            "failures": failures.collect::<Value>(),
        })
    }
}

impl<'c> Stage<'c> {
    fn play(&self, case: &'c Case) -> Played<'c> {
        let failures = case.expected.iter().filter_map(|expected| self.failure(case, expected));
        Played { case, failures: failures.collect() }
    }

    fn failure(&self, case: &Case, expected: &Expected) -> Option<Failure> {
        let (request, answer) = (&case.request, case.answer.as_ref());
        match expected {
            Expected::Invalidates(facts) => self.invalidates(case, facts, true),
            Expected::Keeps(facts) => self.invalidates(case, facts, false),
            Expected::Route(wanted) => {
                let found = &self.target(request).route.settings.template;
                let shape = |text: &str| Template::parse(text).ok();
                let is_same = wanted == found
                    || shape(wanted).zip(shape(found)).is_some_and(|(one, other)| one.is_same_shape(&other));
                (!is_same).then(|| Failure {
                    expected: format!("it falls under `{wanted}`"),
                    actual: format!("it falls under `{found}`"),
                })
            }
            Expected::Scope(wanted) => self.scope(self.part(request, answer), *wanted),
            Expected::Tags(facts) => self.tags(case, facts),
            Expected::SameAs(other) => self.compares(case, other, true),
            Expected::DiffersFrom(other) => self.compares(case, other, false),
        }
    }

    fn scope(&self, part: Part, wanted: Sharing) -> Option<Failure> {
        let (found, actual) = match part {
            Part::Read { share: Share::Credential(_), .. } => {
                (Some(Sharing::Credential), shared(Sharing::Credential))
            }
            Part::Read { .. } => (Some(Sharing::Shared), shared(Sharing::Shared)),
            Part::Pass(why) => (Some(Sharing::Bypass), format!("{} ({why})", shared(Sharing::Bypass))),
            Part::Write => (None, "it is a write".to_owned()),
        };
        (found != Some(wanted)).then(|| Failure { expected: shared(wanted), actual })
    }

    fn tags(&self, case: &Case, facts: &[Fact]) -> Option<Failure> {
        let (request, answer) = (&case.request, case.answer.as_ref());
        let Part::Read { share, tags: carried, .. } = self.part(request, answer) else {
            let actual = format!("nothing is kept: {}", self.told(request, answer));
            return Some(Failure { expected: "its answer carries tags".to_owned(), actual });
        };
        let lacks = |fact: &&Fact| match fact {
            Fact::Credential => share.tag().is_none(),
            Fact::Tag(tag) => !carried.contains(&Tag::named(tag)),
            Fact::Path(path) => !carried.contains(&Tag::path(&self.host, Path::of(path).decoded())),
        };
        let lacking: Vec<&Fact> = facts.iter().filter(lacks).collect();
        (!lacking.is_empty()).then(|| Failure {
            expected: format!("its answer carries {}", named(&lacking)),
            actual: format!("it carries {}", self.listed(carried.into_iter().map(Item::Tag))),
        })
    }

    /// What the origin answers the one it answers the other.
    fn compares(&self, case: &Case, other: &Request, same: bool) -> Option<Failure> {
        let expected = if same { "the same entry as" } else { "another entry than" };
        let (request, answer) = (&case.request, case.answer.as_ref());
        let (one, two) = (self.part(request, answer), self.part(other, answer));
        let told = |request| self.told(request, answer);
        let is_same = match (&one, &two) {
            (Part::Read { key: one, .. }, Part::Read { key: two, .. }) => Some(one == two),
            _ => None,
        };
        (is_same != Some(same)).then(|| Failure {
            expected: format!("{expected} {other}"),
            actual: match is_same {
                Some(true) => format!("both are {}", told(request)),
                _ => format!("one is {}, the other {}", told(request), told(other)),
            },
        })
    }

    fn invalidates(&self, case: &Case, facts: &[Fact], wanted: bool) -> Option<Failure> {
        let what = if wanted { "it outdates" } else { "it keeps" };
        let failure =
            |facts: &[&Fact], actual| Failure { expected: format!("{what} {}", named(facts)), actual };
        let (request, answer) = (&case.request, case.answer.as_ref());
        let Part::Write = self.part(request, answer) else {
            let actual = format!("it outdates nothing: it is {}", self.told(request, answer));
            return Some(failure(&facts.iter().collect::<Vec<_>>(), actual));
        };
        let outdated = self.outdated(request, answer);
        let wrong: Vec<&Fact> =
            facts.iter().filter(|fact| self.is_outdated(fact, &outdated) != wanted).collect();
        (!wrong.is_empty()).then(|| failure(&wrong, self.effect(&outdated)))
    }

    fn effect(&self, outdated: &Outdated) -> String {
        let Outdated { reach, credential, rules } = outdated;
        if reach.is_empty() && !credential {
            return "it outdates nothing: the answer says that it had no effect".to_owned();
        }
        let whose = if *credential { ", and all of whoever wrote" } else { "" };
        let by = match rules.as_slice() {
            [] => "no rule".to_owned(),
            rules => rules.iter().map(|rule| format!("`{rule}`")).collect::<Vec<_>>().join(", "),
        };
        format!("it outdates {}{whose} (by {by})", self.listed(reach.items.iter().cloned()))
    }
}

fn shared(sharing: Sharing) -> String {
    let who = match sharing {
        Sharing::Shared => "its answer is for all (shared)",
        Sharing::Credential => "its answer is for whoever shows the same credentials (credential)",
        Sharing::Bypass => "its answer is kept for nobody (bypass)",
    };
    who.to_owned()
}

fn named(facts: &[&Fact]) -> String {
    facts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Env, Flags, load_str};

    const FILE: &str = "upstream: http://localhost:8000\nidentity: { user: header:X-User }\nroutes:\n  \
        /api/projects: { tags: \"projects t:{header.X-T} p:{query.page} u:{user}\", key: { query: [page], headers: [X-T] } }\n  \
        /api/projects/{id}: { tags: \"project:{id}\" }\n  \
        /answers: { methods: [GET, POST], key: { body: json, ignore: $.rid } }\n  \
        /feed: { body_tags: \"project:$.items[*].id\" }\n  /jobs/{id}: { preset: job-status, tags: \"job:{id}\" }\n  \
        /off/{r:path}: bypass\n  /me: { scope: user }\nwrites:\n  \
        PUT|PATCH /api/projects/{id}: project:{id} /stats t:{body.t}\n  \
        POST /soft: { invalidate: s, soft: true, cascade: false, when: { path: $.state, in: [done] } }\n  \
        POST /logout: credential\ndependencies:\n  project:{id}: projects /me\n  s: derived\ntests:\n";

    fn said(tests: &str, as_json: bool) -> Said {
        let config = load_str("t.yaml", &format!("{FILE}{tests}"), &Flags::default(), &Env::default());
        play(&config.unwrap_or_else(|report| panic!("{report}")), as_json).unwrap()
    }

    fn holds(test: &str) {
        let Said { code, out } = said(&format!("  - {test}\n"), false);
        assert_eq!(code, 0, "{test}\n{out}");
    }

    fn fails(test: &str, actual: &str) {
        let Said { code, out } = said(&format!("  - {test}\n"), false);
        assert!(
            code == FAILED && out.contains("t.yaml:19: ") && out.contains("  expected  "),
            "{test}\n{out}"
        );
        assert!(out.contains(actual), "{test}\nshould say `{actual}`\n{out}");
    }

    #[test]
    fn a_write_outdates_what_its_rules_name_and_what_follows() {
        holds(
            "{ request: PUT /api/projects/42, body: { t: 9 }, invalidates: \"project:42 t:9 projects /stats /me\" }",
        );
        holds(
            "{ request: PUT /api/projects/42, body: { t: 9 }, keeps: \"project:4 t:8 /answers credential\" }",
        );
        holds("{ request: PUT /api/projects/42, body: 'no json', invalidates: \"t:1 t:2\" }");
        holds("{ request: PUT /api/projects/42?x=1, invalidates: /api/projects/42 }");
        fails(
            "{ request: PUT /api/projects/42, body: { t: 9 }, invalidates: \"project:43 projects\" }",
            "it outdates project:42 /stats t:9 /api/projects/42 projects /me (by `PUT|PATCH /api/projects/{id}`)",
        );
        fails("{ request: DELETE /x, keeps: \"a /x\" }", "it outdates /x (by no rule)");
    }

    #[test]
    fn what_stands_under_a_path_goes_with_its_tags() {
        holds("{ request: PATCH /api/projects/42/, invalidates: /api/projects/42 }");
        fails(
            "{ request: PUT /api/projects/42, keeps: \"/api/projects/43 /api/projects/42\" }",
            "expected  it keeps /api/projects/42\n",
        );
    }

    #[test]
    fn the_answer_decides_whether_a_write_had_an_effect() {
        holds("{ request: POST /soft, answer: { body: { state: DONE } }, invalidates: s, keeps: derived }");
        holds("{ request: POST /soft, answer: { body: { state: open } }, keeps: s }");
        holds("{ request: PUT /api/projects/42, answer: 503, invalidates: project:42 }");
        holds("{ request: PUT /api/projects/42, answer: 404, keeps: project:42 }");
        holds(
            "{ request: PUT /api/projects/42, answer: { status: 401 }, invalidates: credential, keeps: project:42 }",
        );
        holds("{ request: POST /logout, invalidates: credential }");
        fails("{ request: PUT /api/projects/42, answer: 404, invalidates: project:42 }", "it had no effect");
    }

    #[test]
    fn the_answer_to_a_write_names_more_that_is_outdated() {
        let answered = |answer: &str, rest: &str| {
            holds(&format!("{{ request: POST /api/projects?x=1, answer: {answer}, {rest} }}"));
        };
        let created = "{ status: 201, headers: { Location: 42, Content-Location: /api/all/../stats? } }";
        answered(created, "invalidates: \"/api/42 /api/stats /api/projects\", keeps: /api/projects/42");
        answered("{ headers: { Location: \"http://127.0.0.1:8080/a\" } }", "invalidates: /a");
        answered("{ headers: { Location: \"http://else.example/a\" } }", "keeps: /a");
        answered("{ status: 503, headers: { Location: /a } }", "invalidates: /a");
        answered("{ status: 404, headers: { Location: /a } }", "keeps: \"/a /api/projects\"");
        let groups = "headers: { Cache-Group-Invalidation: '\"s\", \"t 1\"' }";
        answered(&format!("{{ {groups} }}"), "invalidates: [s, derived], keeps: t");
        answered(&format!("{{ status: 404, {groups} }}"), "invalidates: [s, derived], keeps: /api/projects");
        fails(
            "{ request: POST /x, answer: { headers: { Location: /y } }, keeps: /y }",
            "it outdates /x /y (by no rule)",
        );
    }

    #[test]
    fn values_come_from_both_bodies() {
        let put = "request: PUT /api/projects/42, body: { t: 1 }";
        holds(&format!("{{ {put}, answer: {{ body: {{ t: 2 }} }}, invalidates: \"t:1 t:2\", keeps: t:3 }}"));
        holds(&format!("{{ {put}, answer: {{ body: \"{{no json\" }}, invalidates: t:3 }}"));
        let coded = "headers: { Content-Encoding: gzip }, body: { t: 1 }";
        holds(&format!("{{ {put}, answer: {{ {coded} }}, invalidates: t:3 }}"));
    }

    #[test]
    fn the_answer_to_a_read_tells_more_of_its_tags() {
        let feed = |answer: &str, rest: &str| {
            holds(&format!("{{ request: GET /feed, answer: {answer}, {rest} }}"));
        };
        feed("{ body: { items: [{ id: 1 }, { id: 2 }] } }", "tags: \"project:1 project:2 /feed\"");
        feed(
            "{ headers: { Surrogate-Key: a b, Cache-Tag: \"c,d\", Cache-Groups: '\"e\"' } }",
            "tags: \"a b c d e\"",
        );
        feed("{ body: no json }", "scope: shared");
        fails(
            "{ request: GET /feed, answer: { body: { items: [{ id: 1 }] } }, tags: project:2 }",
            "it carries /feed project:1\n",
        );
    }

    #[test]
    fn an_answer_that_may_not_be_stored_is_kept_for_nobody() {
        for (answer, why) in [
            ("404", "no-freshness"),
            ("{ headers: { Cache-Control: private } }", "private"),
            ("{ headers: { Set-Cookie: a=b } }", "set-cookie"),
            ("{ headers: { Content-Type: text/event-stream } }", "event-stream"),
            ("{ headers: { Surrogate-Key: /a } }", "tags: one of its tags is too long, begins with a slash"),
            ("{ body: '{\"items\": NaN}' }", "tags: its body begins like JSON and is none"),
        ] {
            holds(&format!("{{ request: GET /feed, answer: {answer}, scope: bypass }}"));
            fails(&format!("{{ request: GET /feed, answer: {answer}, scope: shared }}"), &format!("({why}"));
            fails(
                &format!("{{ request: GET /feed, answer: {answer}, tags: x }}"),
                "nothing is kept: not cached (",
            );
        }
        holds("{ request: GET /jobs/1, answer: { body: { status: running } }, scope: bypass }");
        holds("{ request: GET /jobs/1, answer: { body: { status: done } }, scope: shared, tags: job:1 }");
        holds("{ request: HEAD /feed, answer: 200, same_as: GET /feed }");
        fails(
            "{ request: GET /feed, answer: 500, same_as: GET /feed }",
            "one is not cached (status), the other",
        );
    }

    #[test]
    fn a_read_outdates_nothing() {
        for test in ["invalidates: a", "keeps: a"] {
            fails(
                &format!("{{ request: GET /me, {test} }}"),
                "it outdates nothing: it is not cached (no-credential)",
            );
            fails(
                &format!("{{ request: POST /answers, body: {{ q: 1 }}, {test} }}"),
                "it is `/answers` for all, with its body",
            );
        }
    }

    #[test]
    fn a_read_falls_under_a_route_and_is_shared() {
        holds("{ request: GET /api/projects/42, route: \"/api/projects/{x}\", scope: shared }");
        holds("{ request: GET /api/projects/42, headers: { Authorization: a }, scope: credential }");
        holds("{ request: GET /off/x/y, route: \"/off/{r:path}\", scope: bypass }");
        holds("{ request: GET /else, route: unmatched }");
        fails(
            "{ request: GET /api/projects, route: \"/api/projects/{id}\" }",
            "it falls under `/api/projects`",
        );
        fails("{ request: GET /me, scope: credential }", "is kept for nobody (bypass) (no-credential)");
        fails("{ request: PUT /me, scope: bypass }", "it is a write");
        fails("{ request: GET /a%2Fb, scope: shared }", "path-");
    }

    #[test]
    fn a_read_carries_the_tags_that_its_request_tells() {
        let keyed = "headers: { X-T: \"3\", X-User: \"9\" }";
        holds(&format!(
            "{{ request: GET /api/projects?page=1, {keyed}, tags: \"projects t:3 p:1 u:9 user:9 credential /api/projects\" }}"
        ));
        fails(
            &format!("{{ request: GET /api/projects?page=1, {keyed}, tags: \"projects t:4\" }}"),
            "it carries /api/projects credential p:1 projects t:3 u:9 user:9",
        );
        fails("{ request: GET /off/x, tags: x }", "nothing is kept: not cached (route)");
    }

    #[test]
    fn reads_have_the_same_entry_or_another() {
        holds(
            "{ request: GET /api/projects?x=2&page=1, same_as: GET /api/projects?page=1, differs_from: GET /api/projects?page=2 }",
        );
        holds(
            "{ request: GET /api/projects, headers: { X-T: a }, differs_from: { request: GET /api/projects, headers: { X-T: b } } }",
        );
        holds(
            "{ request: HEAD /me, headers: { Cookie: s=1 }, same_as: GET /me, differs_from: { request: GET /me, headers: { Cookie: s=2 } } }",
        );
        holds(
            "{ request: POST /answers, body: { q: 1, rid: 2 }, same_as: { request: POST /answers, body: { rid: 3, q: 1 } }, differs_from: { request: POST /answers, body: { q: \"1a\" } } }",
        );
        fails(
            "{ request: GET /api/projects?page=1, same_as: GET /api/projects?page=2 }",
            "one is `/api/projects?page=1` for all, x-t: none, the other `/api/projects?page=2` for all, x-t: none",
        );
        fails(
            "{ request: GET /api/projects?y=1, differs_from: GET /api/projects }",
            "both are `/api/projects` for all, x-t: none",
        );
        for test in ["same_as", "differs_from"] {
            fails(&format!("{{ request: GET /off/a, {test}: GET /off/a }}"), "one is not cached (route)");
        }
    }

    #[test]
    fn each_test_is_told_by_its_line_and_all_are_counted() {
        let tests =
            "  - { request: GET /else, route: unmatched }\n  - { request: GET /else, route: /else }\n";
        let Said { code, out } = said(tests, false);
        assert_eq!(code, FAILED);
        let told = "t.yaml:19: GET /else: ok\nt.yaml:20: GET /else: FAILED\n  expected  it falls under `/else`\n  \
                    actual    it falls under `unmatched`\n2 tests, 1 failed\n";
        assert_eq!(out, told);
        let json: Value = serde_json::from_str(&said(tests, true).out).unwrap();
        assert_eq!(
            (&json["ok"], &json["tests"][0]["ok"], &json["tests"][1]["line"]),
            (&json!(false), &json!(true), &json!(20))
        );
        assert_eq!(json["tests"][1]["failures"][0]["actual"], "it falls under `unmatched`");
        let Said { code, out } = said("", false);
        assert!(code == 0 && out.starts_with("t.yaml: no tests\n"), "{out}");
    }
}
