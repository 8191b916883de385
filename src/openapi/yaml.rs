//! The configuration as a text for people: what is proposed, and above each what wants a look.
//!
//! Invariant: whatever the document called things, each of its words stands where it was put: as a plain or quoted scalar, or
//! within one line of a comment.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::openapi::Analysis;
use crate::openapi::class::Class;
use crate::openapi::read::Route;
use crate::openapi::words::plain;
use crate::openapi::write::Rule;

/// Most lines of the list at the head.
const MAX_REVIEWS: usize = 60;
/// Most of `tests`.
const MAX_TESTS: usize = 16;
/// Longest line before words go on the next ones.
const WIDTH: usize = 100;

/// The whole file.
pub(crate) fn write(analysis: &Analysis) -> String {
    let mut out = String::new();
    head(analysis, &mut out);
    let upstream = format!("${{UPSTREAM_URL:-{}}}", analysis.upstream);
    line(&mut out, 0, &format!("upstream: {}", quoted(&upstream, true)));
    // Where the application has the usual port, Larder cannot.
    let port = if analysis.upstream.trim_end_matches('/').ends_with(":8080") { 8000 } else { 8080 };
    line(&mut out, 0, &format!("listen: 0.0.0.0:${{PORT:-{port}}}\n"));
    line(&mut out, 0, "defaults:");
    line(
        &mut out,
        1,
        "ignore_query: utm_* fbclid gclid         # they count for no answer, and are not sent on a fill\n",
    );
    if !analysis.credentials.is_empty() {
        line(&mut out, 0, "identity:");
        line(
            &mut out,
            1,
            "# review: the document has a credential that the built-in list does not know; this replaces that list",
        );
        words(&mut out, 1, "credentials", &analysis.credentials);
        out.push('\n');
    }
    if !analysis.routes.is_empty() {
        line(&mut out, 0, "routes:");
        for route in &analysis.routes {
            route_of(route, &mut out);
        }
        out.push('\n');
    }
    posts(analysis, &mut out);
    if !analysis.rules.is_empty() {
        line(
            &mut out,
            0,
            "writes:                                      # beside the target path, which every write outdates",
        );
        for rule in &analysis.rules {
            rule_of(rule, &mut out);
        }
        out.push('\n');
    }
    tests(analysis, &mut out);
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

fn head(analysis: &Analysis, out: &mut String) {
    let kept = analysis.routes.iter().filter(|route| route.is_kept()).count();
    let personal = analysis.routes.iter().filter(|route| route.scope() == Some("user")).count();
    comment(out, 0, &format!("Larder for {}, out of {}.", analysis.title, analysis.source));
    comment(
        out,
        0,
        &format!(
            "Reads: {kept} of {} are kept, {personal} of them for each credential apart. Writes: {} rules. Try it: larder config test",
            analysis.routes.len(),
            analysis.rules.len()
        ),
    );
    comment(
        out,
        0,
        "The document says what the application takes and gives, not what it means. So look at the rest with its eyes:",
    );
    comment(out, 0, "writes that go around Larder are not seen, and no answer is newer than its ttl says.");
    let reviews = analysis.reviews();
    if !reviews.is_empty() {
        comment(out, 0, "");
        comment(out, 0, "To review before you rely on it (each stands as `# review:` where it counts):");
        for review in reviews.iter().take(MAX_REVIEWS) {
            comment(out, 0, &format!("  {review}"));
        }
        if let Some(more) = reviews.len().checked_sub(MAX_REVIEWS).filter(|more| *more > 0) {
            comment(out, 0, &format!("  and {more} more"));
        }
    }
}

fn route_of(route: &Route, out: &mut String) {
    let key = quoted(&route.template, false);
    if let Class::Bypass(why) = route.class {
        let notes: String = route.notes.iter().map(|note| format!("; {note}")).collect();
        line(out, 1, &format!("{key}: bypass{}# {why}{}", pad(key.len() + 10), plain(&notes, 100)));
        return;
    }
    if !route.summary.is_empty() || !route.notes.is_empty() {
        let mut said = vec![route.summary.clone()];
        said.extend(route.notes.clone());
        said.retain(|part| !part.is_empty());
        comment(out, 1, &said.join("; "));
    }
    for review in &route.review {
        comment(out, 1, &format!("review: {review}"));
    }
    line(out, 1, &format!("{key}:"));
    if let Some(preset) = route.class.preset() {
        line(out, 2, &format!("preset: {preset}{}# {}", pad(preset.len() + 12), meaning(route.class)));
    }
    if let Some(scope) = route.scope() {
        line(out, 2, &format!("scope: {scope}"));
    }
    words(out, 2, "tags", &route.tags);
    words(out, 2, "body_tags", &route.body_tags);
    if !route.headers.is_empty() {
        line(out, 2, "key:");
        words(out, 3, "headers", &route.headers);
    }
    if !route.query.is_empty() && matches!(route.class, Class::List | Class::Search | Class::Stats) {
        let names: Vec<&str> = route.query.iter().map(String::as_str).collect();
        let key = if route.headers.is_empty() { "key: { query" } else { "beside `headers`: { query" };
        comment(
            out,
            2,
            &format!(
                "{key}: [{}] }}   would let these count alone; the document names no others",
                names.join(", ")
            ),
        );
    }
}

fn meaning(class: Class) -> &'static str {
    match class {
        Class::Detail => "30m",
        Class::List => "10m",
        Class::Export => "1h, up to 64MiB, 10m to make it",
        Class::Search => "20m",
        Class::Stats => "15m",
        Class::Dashboard => "5m",
        Class::Job => "1h, once the job has ended",
        Class::Reference => "24h",
        Class::Bypass(_) => "",
    }
}

fn posts(analysis: &Analysis, out: &mut String) {
    if analysis.posts.is_empty() {
        return;
    }
    comment(
        out,
        1,
        "POSTs that look as if they only read. One that does, and gives the same answer to the same body, can be kept:",
    );
    for (path, summary) in &analysis.posts {
        comment(
            out,
            1,
            &format!("{path}: {{ methods: [GET, POST], key: {{ body: json }}, ttl: 20m }}   {summary}"),
        );
    }
    out.push('\n');
}

fn rule_of(rule: &Rule, out: &mut String) {
    if !rule.summary.is_empty() {
        comment(out, 1, &rule.summary);
    }
    for review in &rule.review {
        comment(out, 1, &format!("review: {review}"));
    }
    let key = quoted(&format!("{} {}", rule.methods.join("|"), rule.template), false);
    words(out, 1, &key, &rule.invalidate);
}

/// One test of each kind of rule, as far as the path alone tells what it outdates.
fn tests(analysis: &Analysis, out: &mut String) {
    let mut told = BTreeSet::new();
    let mut lines = Vec::new();
    for rule in &analysis.rules {
        let parameters = rule.shape.nodes.iter().flat_map(|node| &node.params);
        let fill = |text: &str, value: &str| {
            parameters.clone().fold(text.to_owned(), |text, name| text.replace(&format!("{{{name}}}"), value))
        };
        let path = fill(&rule.template, "42");
        let is_known = |word: &String| !word.contains(['{', '*', '$']);
        let gone: Vec<String> =
            rule.invalidate.iter().map(|word| fill(word, "42")).filter(is_known).take(8).collect();
        if gone.is_empty()
            || path.contains('{')
            || !told.insert((gone.clone(), rule.methods.len()))
            || lines.len() >= MAX_TESTS
        {
            continue;
        }
        let others = || {
            rule.invalidate
                .iter()
                .filter(|word| word.contains(":{") && !word.contains("{body.") && !word.contains("response."))
        };
        let kept = others().map(|word| fill(word, "43")).find(|word| {
            let begin = word.split(':').next().unwrap_or_default();
            is_known(word)
                && !rule.invalidate.iter().any(|other| {
                    other.starts_with(&format!("{begin}:*"))
                        || other.starts_with(&format!("{begin}:{{response"))
                })
        });
        let method = rule.methods.first().map(String::as_str).unwrap_or("POST");
        let mut test = format!("- {{ request: {}, ", flow(&format!("{method} {path}")));
        if gone.iter().any(|word| word == "credential") {
            test.push_str("headers: { Authorization: Bearer a }, ");
        }
        let _ = write!(test, "invalidates: {}", flow(&gone.join(" ")));
        if let Some(kept) = kept {
            let _ = write!(test, ", keeps: {}", flow(&kept));
        }
        lines.push(test + " }");
    }
    let personal = analysis.routes.iter().find(|route| {
        route.scope() == Some("user") && analysis.credentials.is_empty() && route.headers.is_empty()
    });
    if let Some(route) = personal {
        let parameters = route.shape.nodes.iter().flat_map(|node| &node.params);
        let path =
            parameters.fold(route.template.clone(), |text, name| text.replace(&format!("{{{name}}}"), "42"));
        let request = flow(&format!("GET {path}"));
        lines.push(format!("- {{ request: {request}, scope: bypass }}"));
        lines.push(format!(
            "- {{ request: {request}, headers: {{ Authorization: Bearer a }}, scope: credential,\n      differs_from: {{ request: {request}, headers: {{ Authorization: Bearer b }} }} }}"
        ));
    }
    if !lines.is_empty() {
        line(out, 0, "tests:                                       # larder config test");
        for test in lines {
            line(out, 1, &test);
        }
    }
}

fn line(out: &mut String, depth: usize, text: &str) {
    let _ = writeln!(out, "{:width$}{text}", "", width = 2 * depth);
}

fn comment(out: &mut String, depth: usize, text: &str) {
    let text = plain_but_indented(text);
    line(out, depth, format!("# {text}").trim_end());
}

/// Plain text that keeps the spaces that it begins with.
fn plain_but_indented(text: &str) -> String {
    let indent = text.len() - text.trim_start_matches(' ').len();
    " ".repeat(indent) + &plain(text, 300)
}

fn pad(used: usize) -> String {
    " ".repeat(46_usize.saturating_sub(used).max(2))
}

/// `key: words`, on one line or as a list.
fn words(out: &mut String, depth: usize, key: &str, words: &[String]) {
    if words.is_empty() {
        return;
    }
    let joined = words.join(" ");
    let is_one_line =
        2 * depth + key.len() + joined.len() <= WIDTH && !words.iter().any(|word| word.contains('"'));
    if is_one_line {
        return line(out, depth, &format!("{key}: {}", quoted(&joined, false)));
    }
    line(out, depth, &format!("{key}:"));
    for word in words {
        line(out, depth + 1, &format!("- {}", quoted(word, false)));
    }
}

/// A scalar of block style; `placeholders`: braces behind a dollar sign are Larder's.
fn quoted(text: &str, placeholders: bool) -> String {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "_-./{}:$[]*| +~".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_plain = begins
        && text.chars().all(is_inner)
        && !text.ends_with(':')
        && !text.contains(": ")
        && !text.ends_with(' ');
    let is_word =
        !["null", "true", "false", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    if is_plain && is_word || placeholders && text.chars().all(|c| is_inner(c) || c == '?') {
        text.to_owned()
    } else {
        in_quotes(text)
    }
}

/// A scalar of flow style.
fn flow(text: &str) -> String {
    in_quotes(text)
}

fn in_quotes(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() => out.push(c),
            c => drop(write!(out, "\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}
