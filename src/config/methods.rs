//! Which methods read on a route, and how their bodies count: the words, and what does not hold together.

use crate::config::file::Route;
use crate::config::problem::Problem;
use crate::config::shape::{At, Words, choice};
use crate::config::template::Template;
use crate::route::{BodyKey, ReadMethod};

choice!(ReadMethod, "a method that reads", {
    "GET" => ReadMethod::Get, "QUERY" => ReadMethod::Query, "POST" => ReadMethod::Post,
});
choice!(BodyKey, "`raw` or `json`", { "raw" => BodyKey::Raw, "json" => BodyKey::Json });

/// Finds a POST without its body in the key, and words about bodies that count for nothing.
pub(crate) fn complain(keys: &Route, template: &Template, problems: &mut Vec<Problem>) {
    let template = &template.text;
    let key = keys.key.as_ref().map(|key| &key.value);
    let body = key.and_then(|key| key.body.as_ref());
    let names = |method| keys.methods.as_ref().is_some_and(|named| named.value.0.contains(&method));
    if let (Some(methods), true, None) = (&keys.methods, names(ReadMethod::Post), body) {
        let message = format!("`methods` of `{template}` names POST, and `key` has no `body`");
        let hint = "write key: { body: json }, or body: raw where each byte counts";
        problems.push(Problem::of(methods.source, message).hint(hint));
    }
    if let (Some(body), false) = (body, names(ReadMethod::Post)) {
        let problem = match &keys.methods {
            None => {
                Some(("counts for QUERY only: `methods` does not name POST", "write methods: [GET, POST]"))
            }
            Some(_) if names(ReadMethod::Query) => None,
            Some(_) => Some(("has no effect: `methods` names neither QUERY nor POST", "take it out")),
        };
        problems.extend(problem.map(|(what, hint)| {
            Problem::of(body.source, format!("`key.body` of `{template}` {what}")).hint(hint).warning()
        }));
    }
    let Some(At { value: Words(ignored), source }) = key.and_then(|key| key.ignore.as_ref()) else { return };
    if body.is_none_or(|body| body.value != BodyKey::Json) {
        let message = format!("`key.ignore` of `{template}` has no effect: `key.body` is not `json`");
        problems.push(Problem::of(*source, message).hint("write body: json beside it"));
    }
    if ignored.iter().any(|path| path.to_string() == "$") {
        let message = format!("`key.ignore` of `{template}` ignores the whole body");
        let hint = "name what does not count, e.g. $.request_id: all bodies would be one";
        problems.push(Problem::of(*source, message).hint(hint));
    }
}
