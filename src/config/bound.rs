//! Placeholders that nothing ever stands for: in what writes outdate, in what is derived, in the tags of routes.
//!
//! Invariant: a tag of a route whose placeholders cannot all be told is refused, for its answers would never be stored. In
//! what is outdated such a placeholder widens: it is refused where it can only be a slip, and else complained of.

use crate::config::event::Edges;
use crate::config::file::Route;
use crate::config::problem::Problem;
use crate::config::reach::{Named, Word};
use crate::config::reader::nearest;
use crate::config::shape::{At, Words};
use crate::config::template::Template;
use crate::config::write::RawWrite;
use crate::route::identity;
use crate::route::pattern;
use crate::route::query::QuerySpec;
use crate::route::reach::ItemTemplate;
use crate::route::tag::Text;

/// What begins a placeholder of a write rule, beside the names of its path.
const OF_A_WRITE: [&str; 5] = ["query.", "header.", "body.", "request.body.", "response.body."];

/// What is one, beside those.
const ALONE: [&str; 2] = ["user", "status"];

/// Words of a write rule that hold what no write has.
pub(crate) fn of_write(rule: &RawWrite, problems: &mut Vec<Problem>) {
    let Some(At { value: Words(words), .. }) = &rule.keys.invalidate else { return };
    let captures: Vec<&str> = rule.template.shape().names().collect();
    let is_there = |name: &str| {
        let begins = |prefix: &&str| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
        captures.contains(&name) || ALONE.contains(&name) || OF_A_WRITE.iter().any(begins)
    };
    for Named { item, place } in words.iter().filter_map(Word::named) {
        for name in item.names().into_iter().filter(|name| !is_there(name)) {
            let near = slip(name, &captures);
            // In a path, a name that nothing stands for is any segment.
            let is_free = matches!(item, ItemTemplate::Path(_)) && !name.contains('.');
            if is_free && near.is_none() {
                continue;
            }
            let hint = near.map_or_else(|| has(&captures), |near| format!("did you mean {{{near}}}?"));
            let what = if is_free { "stands for any segment" } else { "is nothing that a write has" };
            let message = format!("`{{{name}}}` in `{item}` of `{}` {what}", rule.name);
            let problem = Problem::at(*place, message).hint(hint);
            problems.push(if is_free { problem.warning() } else { problem });
        }
    }
}

/// What was probably meant.
fn slip(name: &str, captures: &[&str]) -> Option<String> {
    if let Some((prefix, rest)) = name.split_once('.') {
        let meant = match prefix {
            "request" | "response" => format!("{prefix}.body.{}", rest.trim_start_matches("body.")),
            _ => format!("{}.{rest}", nearest(prefix, &["query", "header", "body"])?),
        };
        return (meant != name && !meant.ends_with('.')).then_some(meant);
    }
    nearest(name, captures.iter().chain(&ALONE)).map(str::to_owned)
}

fn has(captures: &[&str]) -> String {
    let own: String = captures.iter().map(|name| format!("{{{name}}}, ")).collect();
    format!("a write has {own}{{query.x}}, {{header.x}}, {{body.x}}, {{user}} and {{status}}")
}

/// What is derived by placeholders that its source does not have.
pub(crate) fn of_dependencies(edges: &Edges, problems: &mut Vec<Problem>) {
    for edge in &edges.0 {
        let known = edge.cause.names();
        for Named { item, place } in &edge.words.value.0 {
            let ItemTemplate::Tag(text) = item else { continue };
            let Some(name) = text.names().find(|name| !known.contains(name)) else { continue };
            let message = format!("`{item}` always widens: its source `{}` has no `{{{name}}}`", edge.cause);
            let hint = match nearest(name, &known) {
                Some(near) => format!("did you mean {{{near}}}?"),
                None => "write a `*` for it if all of them are meant".to_owned(),
            };
            problems.push(Problem::at(*place, message).hint(hint).warning());
        }
    }
}

/// Tags of a route that hold what its requests do not have, or what does not tell its answers apart.
pub(crate) fn of_route(
    keys: &Route,
    template: &Template,
    identity: &identity::Settings,
    problems: &mut Vec<Problem>,
) {
    let body_tags = keys.body_tags.iter().flat_map(|at| {
        at.value.0.iter().filter_map(|tag| tag.prefix.as_ref()).map(|prefix| (prefix, at.source, "body_tags"))
    });
    let tags = keys.tags.iter().flat_map(|at| at.value.0.iter().map(|text| (text, at.source, "tags")));
    let holder = Holder::new(keys, template.shape());
    for (text, source, key) in tags.chain(body_tags) {
        for (name, lack) in text.names().filter_map(|name| Some((name, holder.lacks(name)?))) {
            let begin = format!("`{{{name}}}` in `{key}` of ");
            // What all routes inherit is told of the first.
            if problems.iter().any(|told| told.source == source && told.message.starts_with(&begin)) {
                continue;
            }
            let message = format!("{begin}`{}` {}", template.text, lack.message);
            problems.push(Problem::of(source, message).hint(lack.hint));
        }
        let is_of_nobody = identity.user.is_empty() && text.names().any(|name| name == "user");
        let message = format!("no answer ever carries `{text}`: nothing says who the user is");
        if is_of_nobody && !problems.iter().any(|problem| problem.message == message) {
            let problem = Problem::of(source, message).hint("write identity: { user: jwt:sub }");
            problems.push(problem.warning());
        }
    }
}

/// Whether what no route matches can be given this tag.
pub(crate) fn is_for_all(text: &Text) -> bool {
    text.names().all(|name| name == "user")
}

/// What a route's requests have for placeholders.
struct Holder<'k> {
    captures: Vec<&'k str>,
    query: QuerySpec,
    headers: Vec<&'k str>,
}

struct Lack {
    message: &'static str,
    hint: String,
}

impl<'k> Holder<'k> {
    fn new(keys: &'k Route, template: &'k pattern::Template) -> Self {
        let key = keys.key.as_ref().map(|at| &at.value);
        let words = |at: Option<&At<Words<String>>>| at.map(|at| at.value.0.clone());
        let only = words(key.and_then(|key| key.query.as_ref()));
        let ignored = words(keys.ignore_query.as_ref()).unwrap_or_default();
        let headers = key.and_then(|key| key.headers.as_ref()).into_iter().flat_map(|at| &at.value.0);
        Self {
            captures: template.names().collect(),
            query: QuerySpec::new(only.as_deref(), &ignored),
            headers: headers.map(http::HeaderName::as_str).collect(),
        }
    }

    fn lacks(&self, name: &str) -> Option<Lack> {
        if name == "user" || self.captures.contains(&name) {
            return None;
        }
        let lack = |message, hint| Some(Lack { message, hint });
        match name.split_once('.') {
            Some(("query", name)) if self.query.counts(name) => None,
            Some(("query", name)) => {
                lack("does not count", format!("`{name}` is not in the key; list it in key: {{ query: … }}"))
            }
            Some(("header", name)) if self.headers.iter().any(|keyed| keyed.eq_ignore_ascii_case(name)) => {
                None
            }
            Some(("header", name)) => lack(
                "does not count",
                format!("write key: {{ headers: {name} }}, so that it tells answers apart"),
            ),
            Some(("body" | "response", _)) => {
                lack("is not known before the answer", "write body_tags: project:$.id".to_owned())
            }
            _ => {
                let names = self.captures.iter().copied().chain(["user"]).collect::<Vec<_>>();
                let hint = match nearest(name, &names) {
                    Some(near) => format!("did you mean {{{near}}}?"),
                    None => format!("the route has {}", listed(&self.captures)),
                };
                lack("is nothing that the route has", hint)
            }
        }
    }
}

fn listed(captures: &[&str]) -> String {
    let own: String = captures.iter().map(|name| format!("{{{name}}}, ")).collect();
    format!("{own}{{user}}, {{query.x}} and, if key.headers has it, {{header.x}}")
}
