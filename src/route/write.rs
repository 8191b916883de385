//! What a write outdates, by the rules of the configuration (`writes:`): which rules a request falls under, and what
//! they name once its answer is there. Pure.
//!
//! ```text
//! Matches::of      method, path        → the rules, and what stood in the braces of each
//! Matches::asks    which body is to be read for that
//! Matches::outdated  + what is known of the write (`written.rs`) → tags and paths, hard and soft
//! ```
//! Invariant: every rule that matches counts, and a placeholder that cannot be resolved widens. It refuses to know what a
//! write outdates in any case: its target, and what its answer names.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::Value;
use serde_json_path::JsonPath;

use crate::policy::outdate;
use crate::route::derive::{Dependencies, Followed};
use crate::route::path::Path;
use crate::route::pattern::{Segment, Template};
use crate::route::reach::{Item, ItemTemplate, Reach};
use crate::route::tag::{MAX_RENDERED, Values};
use crate::route::written::{Content, Outcome, Resolved, Side, Written};

/// One rule of `writes:`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As written: `PUT|PATCH /api/projects/{id}`.
    pub name: String,
    /// Which methods it is about.
    pub methods: Methods,
    /// Which paths. A catch-all matches the bare parent too.
    pub template: Template,
    /// What it asks of the answer besides; `None`: nothing.
    pub when: Option<When>,
    /// What is outdated.
    pub invalidate: Vec<ItemTemplate>,
    /// `credential` among the words: every entry of whoever wrote.
    pub credential: bool,
    /// Whether what is derived from it (`dependencies`) is outdated too (default true).
    pub cascade: bool,
    /// Whether it makes stale instead of removing (default false); the target itself is always removed.
    pub soft: bool,
    /// Whether what was dropped and was hot is fetched again, before it is asked for.
    pub refresh: bool,
}

/// Which methods a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// `ANY`: every unsafe one.
    Any,
    /// `A|B`.
    Of(Vec<Method>),
}

/// What a rule asks of the answer, where its outcome is known: `when: { status: 201, path: $.state, in: [done] }`.
#[derive(Clone, Debug)]
pub struct When {
    /// One of these statuses; empty: any that has an effect.
    pub status: Vec<StatusCode>,
    /// A value in the JSON of the answer, or else of the request, that has to be one of `states`; case does not matter.
    pub path: Option<JsonPath>,
    /// What the value at `path` may be.
    pub states: Vec<String>,
}

/// The rules that a request falls under.
#[derive(Clone, Debug)]
pub struct Matches<'r>(Vec<Match<'r>>);

/// One of them.
#[derive(Clone, Debug)]
struct Match<'r> {
    rule: &'r Rule,
    /// What stood in the braces of its template, decoded; of an ambiguous path, in every reading.
    captures: Vec<(&'r str, String)>,
}

/// What the rules of a write name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outdated {
    /// What is removed.
    pub hard: Named,
    /// What is made stale.
    pub soft: Named,
    /// Of both, what is fetched again, the target besides; `None`: nothing is.
    pub refresh: Option<Named>,
    /// Whether every entry of whoever wrote is outdated.
    pub credential: bool,
    /// The names of the rules, in the order of the configuration.
    pub rules: Vec<String>,
    /// Whether all of them leave alone what is derived.
    pub is_alone: bool,
}

/// Tags and paths, by whether what is derived from them is meant too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// With what is derived from it.
    pub cascading: Reach,
    /// Without.
    pub alone: Reach,
}

impl<'r> Matches<'r> {
    /// Those of `rules` that are about `method` and `path`. An ambiguous path falls under those of both its readings.
    pub fn of(rules: &'r [Rule], method: &Method, path: &Path<'_>) -> Self {
        let resolved = path.ambiguity().map(|_| path.resolved());
        let readings = [Some(path.decoded()), resolved.as_deref()];
        let found = rules.iter().filter(|rule| rule.methods.contain(method)).filter_map(|rule| {
            let read = readings.iter().flatten().filter_map(|path| captures(&rule.template, path));
            let captures = read.reduce(|mut one, other| {
                one.extend(other.into_iter().filter(|pair| !one.contains(pair)).collect::<Vec<_>>());
                one
            });
            Some(Match { rule, captures: captures? })
        });
        Self(found.collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the JSON of the request is asked for.
    pub fn asks_request(&self) -> bool {
        self.0.iter().any(|found| found.rule.asks(Side::Request))
    }

    /// Whether that of an answer with this status is.
    pub fn asks_response(&self, status: StatusCode) -> bool {
        let applies = |rule: &Rule| rule.when.as_ref().is_none_or(|when| when.lists(status));
        self.0.iter().any(|found| applies(found.rule) && found.rule.asks(Side::Response))
    }

    /// What they name, now that the write is over.
    pub fn outdated(&self, written: &Written<'_>) -> Outdated {
        let mut outdated = Outdated::default();
        for Match { rule, captures } in self.0.iter().filter(|found| found.rule.counts(written)) {
            let values = Resolved { captures, written };
            if rule.refresh {
                outdated.refresh.get_or_insert_default();
            }
            for item in rule.invalidate.iter().flat_map(|template| bound(template, written.host, &values)) {
                if let Some(refresh) = outdated.refresh.as_mut().filter(|_| rule.refresh) {
                    refresh.add(item.clone(), rule.cascade);
                }
                let part = if rule.soft { &mut outdated.soft } else { &mut outdated.hard };
                part.add(item, rule.cascade);
            }
            outdated.credential |= rule.credential;
            outdated.is_alone = !rule.cascade && (outdated.is_alone || outdated.rules.is_empty());
            outdated.rules.push(rule.name.clone());
        }
        outdated
    }
}

impl Outdated {
    /// Adds what a write outdates in any case. What follows from it follows, unless every rule says that nothing does.
    pub fn add_target(&mut self, items: &[Item]) {
        let beside = if self.is_alone { &mut self.hard.alone } else { &mut self.hard.cascading };
        items.iter().for_each(|item| beside.add(item.clone()));
    }
}

impl Named {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.cascading.is_empty() && self.alone.is_empty()
    }

    /// Both parts together, with what is derived from the one that is to cascade.
    pub fn followed(self, dependencies: &Dependencies) -> (Reach, Followed) {
        let Self { cascading: mut reach, alone } = self;
        let followed = dependencies.extend(&mut reach);
        alone.items.into_iter().for_each(|item| reach.add(item));
        (reach, followed)
    }

    fn add(&mut self, item: Item, cascade: bool) {
        let part = if cascade { &mut self.cascading } else { &mut self.alone };
        part.add(item);
    }
}

impl Methods {
    /// Whether a rule of these is about `method`. None is about one that is safe.
    pub fn contain(&self, method: &Method) -> bool {
        !outdate::is_safe(method)
            && match self {
                Self::Any => true,
                Self::Of(methods) => methods.contains(method),
            }
    }
}

impl Rule {
    /// Whether it needs the JSON of this side.
    fn asks(&self, side: Side) -> bool {
        let mut names = self.invalidate.iter().flat_map(ItemTemplate::names);
        self.when.as_ref().is_some_and(|when| when.path.is_some()) || names.any(|name| side.is_named_by(name))
    }

    /// Whether what it asks of the answer is so, or nobody knows.
    fn counts(&self, written: &Written<'_>) -> bool {
        match (&self.when, written.outcome) {
            (None, _) | (_, Outcome::Unknown) => true,
            (Some(when), Outcome::Known(status)) => when.lists(status) && when.finds(written),
        }
    }
}

impl When {
    fn lists(&self, status: StatusCode) -> bool {
        self.status.is_empty() || self.status.contains(&status)
    }

    /// Whether the answer, or else the request, has one of the states; so too if neither could be read.
    fn finds(&self, written: &Written<'_>) -> bool {
        let Some(path) = &self.path else { return true };
        let mut was_read = false;
        for content in [written.response, written.request] {
            match content {
                Content::Unread => return true,
                Content::Other => {}
                Content::Json(value) => {
                    was_read = true;
                    let found = path.query(value).all();
                    if !found.is_empty() {
                        return found.into_iter().any(|state| self.is_state(state));
                    }
                }
            }
        }
        !was_read
    }

    fn is_state(&self, found: &Value) -> bool {
        let text = match found {
            Value::String(text) => text.trim().to_lowercase(),
            other => other.to_string(),
        };
        self.states.is_empty() || self.states.iter().any(|state| state.to_lowercase() == text)
    }
}

/// What stands in the braces of `template`, if it matches: with and without one slash at the end, and the bare parent of a
/// catch-all.
fn captures<'t>(template: &'t Template, path: &str) -> Option<Vec<(&'t str, String)>> {
    let mut left = Some(path.strip_prefix('/')?);
    let mut captures = Vec::new();
    for segment in &template.segments {
        let (given, behind) = match left?.split_once('/') {
            Some((given, behind)) => (given, Some(behind)),
            None => (left?, None),
        };
        match segment {
            Segment::Literal(text) => (text == given).then_some(())?,
            Segment::Parameter { before, name, after } => {
                let value = given.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
                (!value.is_empty()).then(|| captures.push((name.as_str(), value.to_owned())))?;
            }
        }
        left = behind;
    }
    match (&template.rest, left) {
        (Some(name), left) => captures.push((name, left.unwrap_or_default().to_owned())),
        (None, None | Some("")) => {}
        (None, Some(_)) => return None,
    }
    Some(captures)
}

/// What a template names with these values: a path of several values is one path for each of them.
fn bound(template: &ItemTemplate, host: &Arc<str>, values: &dyn Values) -> Vec<Item> {
    let ItemTemplate::Path(_) = template else { return template.bind(Some(host), values) };
    let mut combined: Vec<Vec<(&str, String)>> = vec![Vec::new()];
    for name in template.names() {
        let each = values.values(name);
        if combined.len() * each.len() > MAX_RENDERED {
            return template.bind(Some(host), values);
        }
        if !each.is_empty() {
            let with = |begun: &Vec<(_, _)>, value: &String| {
                begun.iter().cloned().chain([(name, value.clone())]).collect()
            };
            combined =
                combined.iter().flat_map(|begun| each.iter().map(move |value| with(begun, value))).collect();
        }
    }
    let one = |chosen: &Vec<(&str, String)>| {
        let value = |name: &str| {
            let known = chosen.iter().find(|(known, _)| *known == name);
            known.map(|(_, value)| value.clone()).into_iter().collect()
        };
        template.bind(Some(host), &value)
    };
    combined.iter().flat_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use proptest::prelude::*;

    fn rule(name: &str, invalidate: &str) -> Rule {
        let (methods, template) = name.split_once(' ').unwrap();
        let methods = match methods {
            "ANY" => Methods::Any,
            methods => Methods::Of(methods.split('|').map(|method| method.parse().unwrap()).collect()),
        };
        Rule {
            name: name.to_owned(),
            methods,
            template: Template::parse(template).unwrap(),
            when: None,
            invalidate: invalidate
                .split_whitespace()
                .map(|word| ItemTemplate::parse(word).unwrap())
                .collect(),
            credential: false,
            cascade: true,
            soft: false,
            refresh: false,
        }
    }

    fn when(status: &[u16], path: Option<&str>, states: &[&str]) -> Option<When> {
        Some(When {
            status: status.iter().map(|status| StatusCode::from_u16(*status).unwrap()).collect(),
            path: path.map(|path| path.parse().unwrap()),
            states: states.iter().map(|state| (*state).to_owned()).collect(),
        })
    }

    fn names(rules: &[Rule], method: &str, path: &str) -> Vec<String> {
        let matches = Matches::of(rules, &method.parse().unwrap(), &Path::of(path));
        matches.0.iter().map(|found| found.rule.name.clone()).collect()
    }

    fn outdated_by(
        rules: &[Rule],
        request: (&str, &str),
        outcome: Outcome,
        (sent, answered): (Content, Content),
    ) -> Outdated {
        let written = Written {
            host: &"h".into(),
            query: None,
            headers: &HeaderMap::new(),
            user: None,
            outcome,
            request: &sent,
            response: &answered,
        };
        Matches::of(rules, &request.0.parse().unwrap(), &Path::of(request.1)).outdated(&written)
    }

    fn texts(reach: &Reach) -> Vec<String> {
        reach.items.iter().map(ToString::to_string).collect()
    }

    const DONE: Outcome = Outcome::Known(StatusCode::OK);

    /// What one rule removes by a write without bodies.
    fn outdated(name: &str, invalidate: &str, method: &str, path: &str) -> Vec<String> {
        let none = (Content::Other, Content::Other);
        texts(&outdated_by(&[rule(name, invalidate)], (method, path), DONE, none).hard.cascading)
    }

    #[test]
    fn every_rule_of_the_method_and_the_path_counts() {
        let rules = [
            rule("PUT|PATCH /api/projects/{id}", "a"),
            rule("ANY /api/{rest:path}", "b"),
            rule("ANY /api/projects/{id}", "c"),
            rule("DELETE /api/projects/{id}", "d"),
        ];
        let all = ["PUT|PATCH /api/projects/{id}", "ANY /api/{rest:path}", "ANY /api/projects/{id}"];
        assert_eq!(names(&rules, "PUT", "/api/projects/42"), all);
        assert_eq!(names(&rules, "PUT", "/api/projects/42/"), all);
        assert_eq!(names(&rules, "PUT", "/api/projects/42/x"), all[1..2]);
        assert_eq!(names(&rules, "MERGE", "/api"), all[1..2], "the bare parent of a catch-all");
        for method in ["GET", "HEAD", "OPTIONS", "QUERY", "TRACE"] {
            assert!(names(&rules, method, "/api/projects/42").is_empty(), "{method}");
        }
        assert!(names(&rules, "PUT", "/apis").is_empty() && names(&rules, "PUT", "*").is_empty());
    }

    #[test]
    fn captures_are_decoded_and_an_ambiguous_path_has_both_readings() {
        assert_eq!(outdated("PUT /p/{id}", "p:{id}", "PUT", "/p/a%20b"), ["p:a b"]);
        assert_eq!(outdated("PUT /p/{id}.json", "p:{id}", "PUT", "/p/4%32.json"), ["p:42"]);
        assert_eq!(outdated("PUT /p/{id}", "p:{id}", "PUT", "/p//42"), ["p:42"]);
        assert_eq!(outdated("PUT /p/{id}", "p:{id}", "PUT", "/p%2F42"), ["p:42"]);
        assert_eq!(outdated("ANY /p/{r:path}", "p:{r}", "PUT", "/p/x/../42"), ["p:x/../42", "p:42"]);
        assert_eq!(outdated("ANY /u/{id}/{r:path}", "u:{id} r:{r}", "PUT", "/u/7"), ["u:7", "r:*"]);
    }

    #[test]
    fn paths_are_those_of_the_host_and_of_every_value() {
        let words = "/p/{id}/x /q/{nothing}";
        assert_eq!(outdated("PUT /p/{id}", words, "PUT", "/p/42"), ["//h/p/42/x", "//h/q/*"]);
        let body = Content::of(br#"{"ids":[1,2]}"#);
        let rules = [rule("PUT /p", "/p/{body.ids} p:{body.ids}")];
        let named = outdated_by(&rules, ("PUT", "/p"), DONE, (body, Content::Other)).hard.cascading;
        assert_eq!(texts(&named), ["//h/p/1", "//h/p/2", "p:1", "p:2"]);
    }

    #[test]
    fn what_cannot_be_resolved_widens() {
        let rules = [rule("POST /c", "project:{body.project_id} s:{status}")];
        let json = || Content::of(br#"{"project_id":1}"#);
        for (outcome, sent, answered, named) in [
            (DONE, json(), Content::Other, ["project:1", "s:200"]),
            (DONE, Content::Other, Content::Other, ["project:*", "s:200"]),
            (DONE, Content::Unread, json(), ["project:*", "s:200"]),
            (Outcome::Unknown, json(), Content::Unread, ["project:*", "s:*"]),
        ] {
            let outdated = outdated_by(&rules, ("POST", "/c"), outcome, (sent, answered));
            assert_eq!(texts(&outdated.hard.cascading), named, "{outcome:?}");
        }
    }

    #[test]
    fn hard_and_soft_cascading_and_not_stay_apart() {
        let rules = [
            Rule { soft: true, refresh: true, ..rule("PUT /a", "soft") },
            Rule { cascade: false, credential: true, ..rule("ANY /a", "alone") },
            rule("DELETE /a", "hard"),
        ];
        let none = || (Content::Other, Content::Other);
        let put = outdated_by(&rules, ("PUT", "/a"), DONE, none());
        assert_eq!(texts(&put.soft.cascading), ["soft"]);
        assert_eq!(texts(&put.hard.alone), ["alone"]);
        assert_eq!(texts(&put.refresh.unwrap().cascading), ["soft"]);
        assert!(put.hard.cascading.is_empty() && put.credential && !put.is_alone);
        assert_eq!(put.rules, ["PUT /a", "ANY /a"]);
        assert!(outdated_by(&rules, ("POST", "/a"), DONE, none()).is_alone);
        assert!(!outdated_by(&rules, ("DELETE", "/a"), DONE, none()).is_alone);
        assert!(!outdated_by(&rules, ("PUT", "/b"), DONE, none()).is_alone);
    }

    #[test]
    fn when_filters_what_is_known_and_nothing_else() {
        let counts = |when: Option<When>, outcome, sent: &str, answered: Content| {
            let rules = [Rule { when, ..rule("POST /a", "x") }];
            let sent = Content::of(sent.as_bytes());
            !outdated_by(&rules, ("POST", "/a"), outcome, (sent, answered)).rules.is_empty()
        };
        let created = || when(&[201], None, &[]);
        assert!(!counts(created(), DONE, "", Content::Other));
        assert!(counts(created(), Outcome::Known(StatusCode::CREATED), "", Content::Other));
        assert!(counts(created(), Outcome::Unknown, "", Content::Unread));
        let done = || when(&[], Some("$.state"), &["done", "3"]);
        let json = |text: &str| Content::of(text.as_bytes());
        for (sent, answered, count) in [
            ("", json(r#"{"state":"DONE"}"#), true),
            ("", json(r#"{"state":3}"#), true),
            ("", json(r#"{"state":"open"}"#), false),
            (r#"{"state":"done"}"#, json(r#"{"state":"open"}"#), false),
            (r#"{"state":"done"}"#, json("{}"), true),
            (r#"{"state":"done"}"#, Content::Other, true),
            ("", json("{}"), false),
            ("", Content::Other, true),
            ("{}", Content::Unread, true),
        ] {
            assert_eq!(counts(done(), DONE, sent, answered.clone()), count, "{sent} {answered:?}");
        }
    }

    #[test]
    fn a_body_is_read_only_for_a_rule_that_asks_for_it() {
        let asks = |rules: &[Rule]| {
            let matches = Matches::of(rules, &Method::POST, &Path::of("/a"));
            (matches.asks_request(), matches.asks_response(StatusCode::OK))
        };
        assert_eq!(asks(&[rule("POST /a", "x:{id} y:{query.body}")]), (false, false));
        assert_eq!(asks(&[rule("POST /a", "/x/{body.a.b}")]), (true, true));
        assert_eq!(asks(&[rule("POST /a", "x:{request.body.a}")]), (true, false));
        assert_eq!(asks(&[rule("POST /a", "x:{response.body.a}")]), (false, true));
        assert_eq!(asks(&[rule("POST /b", "x:{body.a}")]), (false, false));
        let judged = Rule { when: when(&[201], Some("$.a"), &["b"]), ..rule("POST /a", "x") };
        assert_eq!(asks(&[judged]), (true, false), "an answer of another status decides without its body");
    }

    proptest! {
        /// Against the one reading that a route has: what it captures, a rule of the same template captures.
        #[test]
        fn a_rule_matches_what_a_route_of_its_template_does(
            template in "(/(a|b|\\{x\\})){1}(/(a|\\{y\\}|v\\{y\\})){0,1}(|/\\{z:path\\})",
            path in "(/(a|b|c|vb)){1,4}/?",
        ) {
            let parsed = Template::parse(&template).unwrap();
            let mut root = crate::route::tree::Node::default();
            root.insert(&parsed, 0).unwrap();
            let mut values = crate::route::tree::Values::new();
            let found = root.find(&path, &mut values);
            let read = captures(&parsed, &path);
            if found.is_some() {
                let read: Vec<String> = read.unwrap().into_iter().map(|(_, value)| value).collect();
                prop_assert_eq!(read, values.iter().map(ToString::to_string).collect::<Vec<_>>());
            } else if let Some(read) = read {
                prop_assert_eq!(read.last().map(|(name, value)| (*name, value.as_str())), Some(("z", "")));
            }
        }
    }
}
