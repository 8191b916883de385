//! What YAML makes of unquoted text that was meant otherwise, and the sentence that helps.
//!
//! The YAML library says what it could not read; here the place is looked at again for what was probably meant:
//! a placeholder in a flow map, a glob that reads as an alias, a tab, a colon without its space. Everything here
//! only words an error: it never turns a refused document into an accepted one.

use crate::config::problem::{Place, Problem};
use crate::config::tree::Key;

/// `*/10` or `*.x`: YAML takes a leading `*` for an alias.
pub(crate) fn alias(source: &str, place: Option<Place>) -> Problem {
    let Some(place) = place else { return Problem::general("an alias refers to no anchor") };
    let (line, at) = line_at(source, place);
    let name: String =
        line[at..].chars().skip(1).take_while(|c| !c.is_whitespace() && !",]}:".contains(*c)).collect();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if is_name {
        return Problem::at(place, format!("no anchor `&{name}` stands above this alias"))
            .hint(format!("if `*{name}` is text, quote this: \"*{name}\""));
    }
    Problem::at(place, "YAML reads a leading `*` as an alias").hint(quote(value_at(line, at)))
}

/// `{id}` unquoted, which YAML reads as a mapping with the key `id` and no value.
pub(crate) fn bare_key(source: &str, map: Place, key: &Key) -> Problem {
    let (line, at) = line_at(source, map);
    let text = word(line, at);
    if let Some(spaced) = with_space(&key.text) {
        return Problem::at(key.place, format!("`{}` has no space after its colon", key.text))
            .hint(format!("put a space after the colon: `{spaced}`"));
    }
    if key.text.chars().all(|c| c.is_alphanumeric() || c == '_') && text == format!("{{{}}}", key.text) {
        return Problem::at(map, format!("YAML reads an unquoted `{text}` as a mapping")).hint(quote(text));
    }
    Problem::at(key.place, format!("`{}` has no value", key.text))
        .hint("write `key: value`, or quote the text")
}

/// `ttl:30m`, which YAML reads as one word: the same with its space, or nothing if it is no such thing.
pub(crate) fn with_space(text: &str) -> Option<String> {
    let (key, value) = text.split_once(':')?;
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let is_url = value.starts_with("//");
    (is_key && !is_url && !value.is_empty() && !value.starts_with(' ')).then(|| format!("{key}: {value}"))
}

/// Any other complaint of the YAML parser: `message` in its words.
pub(crate) fn syntax(source: &str, place: Option<Place>, message: &str) -> Problem {
    let Some(place) = place else { return Problem::general(message.to_owned()) };
    let (line, at) = line_at(source, place);
    let rest = &line[at..];
    if let Some(found) = tab(source, place) {
        return found;
    }
    if message.contains("expected string scalar") && rest.starts_with(['{', '[']) {
        return Problem::at(place, "a key that begins with a bracket needs quotes")
            .hint(quote(key_at(line, at)));
    }
    if rest.starts_with(['@', '`', '%']) {
        let first = &rest[..1];
        return Problem::at(place, format!("YAML reserves a leading `{first}`"))
            .hint(quote(value_at(line, at)));
    }
    if rest.starts_with(['$', '{']) || (rest.starts_with(':') && message.contains("flow")) || braces(line, at)
    {
        let entry = entry(line, at);
        let has_methods = entry.split_once(" /").is_some_and(|(methods, _)| is_methods(methods));
        return Problem::at(place, "braces in an unquoted value inside `{ }` or `[ ]`")
            .hint(quote(if has_methods { entry } else { word(line, at) }));
    }
    if entry(line, at).find('[').is_some_and(|at| at > 0) {
        return Problem::at(place, "brackets in an unquoted value inside `{ }` or `[ ]`")
            .hint(quote(entry(line, at)));
    }
    if rest.starts_with('*') && message.contains("alias") {
        return Problem::at(place, "YAML reads a leading `*` as an alias").hint(quote(value_at(line, at)));
    }
    if let Some(found) = missing_space(source, place) {
        return found;
    }
    if let Some(value) = bracketed_value(line) {
        return Problem::at(place, "YAML reads a leading bracket as a list or a mapping").hint(quote(value));
    }
    explained(place, line, message)
}

/// The complaints that only need other words.
fn explained(place: Place, line: &str, message: &str) -> Problem {
    if message.contains("mapping values are not allowed") {
        let hint = match line.split_once(": ") {
            Some((_, value)) if value.contains(": ") => quote(value.trim()),
            _ => "check the indentation; quote a value that holds `: `".to_owned(),
        };
        return Problem::at(place, "a `: ` where no key can stand").hint(hint);
    }
    if message.contains("unknown escape") {
        return Problem::at(place, "an unknown escape in double quotes")
            .hint("in single quotes a backslash is a backslash: '\\d'");
    }
    if message.contains("single-quoted scalar") {
        return Problem::at(place, "text follows the closing quote")
            .hint("a quote inside quotes is doubled: 'it''s'");
    }
    if message.contains("document start") && line_before_starts_with_percent(line) {
        return Problem::at(place, "YAML reserves a leading `%`").hint("quote the key");
    }
    if message.contains("block sequence entries") {
        return Problem::at(place, "a list cannot begin on the line of its key")
            .hint("put `- ` on the next line");
    }
    Problem::at(place, message.to_owned())
}

fn line_before_starts_with_percent(line: &str) -> bool {
    line.trim_start().starts_with('%')
}

/// A tab in the indentation of the line in question or of the next, where the scanner may have stopped short of it.
fn tab(source: &str, place: Place) -> Option<Problem> {
    let mut begin = line_start(source, place);
    for (line, number) in source[begin..].split_inclusive('\n').take(2).zip(place.line..) {
        let indent = line.len() - line.trim_start().len();
        if let Some(at) = line[..indent].find('\t') {
            let column = u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1);
            let place = Place { line: number, column, start: begin + at, end: begin + at + 1 };
            return Some(
                Problem::at(place, "a tab in the indentation").hint("YAML indents with spaces only"),
            );
        }
        begin += line.len();
    }
    None
}

/// `ttl:30m` on the line in question or on the one before it.
fn missing_space(source: &str, place: Place) -> Option<Problem> {
    let here = line_start(source, place);
    let before = source[..here.saturating_sub(1)].rfind('\n').map_or(0, |at| at + 1);
    let mut lines = vec![(here, place.line)];
    if here > 0 {
        lines.push((before, place.line - 1));
    }
    lines.into_iter().find_map(|(begin, number)| {
        let line = source[begin..].lines().next()?;
        let text = line.trim_start().trim_start_matches("- ").trim_end();
        let spaced = with_space(text.split(' ').next()?).filter(|_| !text.contains(": "))?;
        let indent = line.find(text)?;
        let column = u32::try_from(indent).ok()? + 1;
        let place = Place { line: number, column, start: begin + indent, end: begin + indent + text.len() };
        Some(
            Problem::at(place, "no space after the colon")
                .hint(format!("put a space after the colon: `{spaced}`")),
        )
    })
}

/// Whether the word at `at` holds a brace that is not its first character.
fn braces(line: &str, at: usize) -> bool {
    word(line, at).char_indices().any(|(i, c)| i > 0 && c == '{')
}

/// The value of a line that begins with a bracket and goes on after it closes: `[::1]:80`, `{id}-x`.
fn bracketed_value(line: &str) -> Option<&str> {
    let value = line.split_once(": ")?.1.trim();
    let close = match value.chars().next()? {
        '[' => ']',
        '{' => '}',
        _ => return None,
    };
    let end = value.find(close)?;
    (end + 1 < value.len() && !value[end + 1..].starts_with([' ', ','])).then_some(value)
}

fn quote(text: &str) -> String {
    if text.contains('"') { format!("quote this: '{text}'") } else { format!("quote this: \"{text}\"") }
}

/// First byte of the line that holds the place.
fn line_start(source: &str, place: Place) -> usize {
    let from = place.start.min(source.len());
    let from = (0..=from).rev().find(|at| source.is_char_boundary(*at)).unwrap_or(0);
    source[..from].rfind('\n').map_or(0, |at| at + 1)
}

/// The line that holds the place, and the place's byte in it.
fn line_at(source: &str, place: Place) -> (&str, usize) {
    let begin = line_start(source, place);
    let line = source[begin..].lines().next().unwrap_or_default();
    let at = place.start.saturating_sub(begin).min(line.len());
    (line, (0..=at).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0))
}

/// The word around `at`, braces balanced: `b:{id}`, `${X:-a b}`, `/api/{id}`.
fn word(line: &str, at: usize) -> &str {
    let opens = |c: char| c.is_whitespace() || ",[".contains(c);
    let mut begin = line[..at].rfind(opens).map_or(0, |found| found + 1);
    if line[begin..at].starts_with('{') {
        begin += 1;
    }
    let mut depth = 0_usize;
    let end = line[begin..].char_indices().find_map(|(i, c)| {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(begin + i),
            '}' => depth -= 1,
            ',' | ']' if depth == 0 => return Some(begin + i),
            c if c.is_whitespace() && depth == 0 => return Some(begin + i),
            _ => {}
        }
        None
    });
    line[begin..end.unwrap_or(line.len())].trim_end_matches(':')
}

/// `PUT|PATCH`, as write rules and tests begin.
fn is_methods(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'|')
}

/// The key or value of a flow mapping or list that holds `at`, with all its words.
fn entry(line: &str, at: usize) -> &str {
    let begins = [": ", ", ", "{ ", "[ ", "- "].iter().filter_map(|sign| Some(line[..at].rfind(sign)? + 2));
    let begin = begins.max().unwrap_or(0);
    let (mut open, mut end) = (Vec::new(), line.len());
    for (i, c) in line[begin..].char_indices() {
        let behind = &line[begin + i + c.len_utf8()..];
        let ends = match c {
            '[' | '{' => {
                open.push(i);
                false
            }
            ']' | '}' => open.pop().is_none(),
            ',' => behind.starts_with(' ') && begin + i > at,
            ':' => open.is_empty() && (behind.is_empty() || behind.starts_with(' ')),
            _ => false,
        };
        if ends {
            end = begin + i;
            break;
        }
    }
    let text = line[begin..end].trim_end();
    // The bracket of the list itself is none of its text.
    match text.strip_prefix('[') {
        Some(inner) if open.first() == Some(&0) => inner,
        Some(inner) if inner.find(']').is_some_and(|at| inner[..at].contains('[')) => {
            inner.strip_suffix(']').unwrap_or(inner)
        }
        _ => text,
    }
}

/// A value from `at` on: to the end of the line, of the flow entry, or to a comment; as a key, to its colon.
fn value_at(line: &str, at: usize) -> &str {
    let rest = &line[at..];
    let flow = line[..at].contains(['{', '[']);
    let ends = [rest.find(" #"), rest.find(": "), rest.strip_suffix(':').map(str::len)];
    let flow_end = if flow { rest.find([',', '}', ']']) } else { None };
    let end = ends.into_iter().chain([flow_end]).flatten().min().unwrap_or(rest.len());
    rest[..end].trim_end()
}

/// A key from `at` on: to the colon that ends it.
fn key_at(line: &str, at: usize) -> &str {
    let rest = &line[at..];
    rest.find(": ").or_else(|| rest.strip_suffix(':').map(str::len)).map_or(rest, |end| &rest[..end])
}

#[cfg(test)]
mod tests {
    use crate::config::problem::Problem;
    use crate::config::tree;

    fn refusal(source: &str) -> Problem {
        tree::parse(source).expect_err(source).remove(0)
    }

    fn hint(source: &str) -> String {
        refusal(source).hint.unwrap_or_else(|| panic!("{source}: {} has no hint", refusal(source).message))
    }

    #[test]
    fn placeholders_in_an_unquoted_flow_value_are_told_to_be_quoted() {
        for (source, quoted) in [
            ("{ a: b:{id} }", "b:{id}"),
            ("w: { a: project:{id}, b: x }", "project:{id}"),
            ("w: { token: ${X:-} }", "${X:-}"),
            ("w: { a: 1, token: ${X:-d}, b: 2 }", "${X:-d}"),
            ("w: { token: ${X:?is not set} }", "${X:?is not set}"),
            ("w:\n  - { get: /api/{id}, priority: 1 }", "/api/{id}"),
            ("t: [project:{id}, x]", "project:{id}"),
            ("t: [x, /a/{p:path}]", "/a/{p:path}"),
            ("r: { /a/{id}: 30m }", "/a/{id}"),
            ("t: [a:{b}]", "a:{b}"),
            ("t: {x}-y", "{x}-y"),
            ("t: [{a}, b]", "{a}"),
            ("t: {id}", "{id}"),
            ("t: [ ${A}, b]", "${A}"),
            ("r:\n  {id}: 30m", "{id}"),
            ("a: [::1]:80", "[::1]:80"),
            ("writes: { PUT|PATCH /a/{id}: x }", "PUT|PATCH /a/{id}"),
            ("writes: { POST /a: x, PUT /a/{id}/b: { cascade: false } }", "PUT /a/{id}/b"),
            ("t: [a:$.items[*].id]", "a:$.items[*].id"),
            ("t: [b, a:$.items[*].id, c]", "a:$.items[*].id"),
            ("t: { a: $.items[0].x, in: [done] }", "$.items[0].x"),
            ("t:\n  - { request: GET /a?x=1&y=[2], route: /b }", "GET /a?x=1&y=[2]"),
        ] {
            assert_eq!(hint(source), format!("quote this: \"{quoted}\""), "{source}");
        }
    }

    #[test]
    fn a_leading_star_is_told_to_be_quoted() {
        for (source, quoted) in [
            ("s: */10 7-19 * * MON-FRI", "*/10 7-19 * * MON-FRI"),
            ("w: { schedule: */10 * * * *, b: 1 }", "*/10 * * * *"),
            ("e:\n  *.x: foo\n", "*.x"),
            ("e:\n  *.x: foo\n  b: c\n", "*.x"),
            ("a: *.js # all", "*.js"),
            ("a: [*.js, b]", "*.js"),
            ("e:\n  a: *", "*"),
            ("w:\n  PUT /a: *:42 b", "*:42 b"),
        ] {
            assert_eq!(hint(source), format!("quote this: \"{quoted}\""), "{source}");
        }
        assert!(hint("a: *base").contains("quote this"));
        assert!(refusal("a: *base").message.contains("`&base`"));
    }

    #[test]
    fn a_reserved_first_character_is_told_to_be_quoted() {
        for first in ['@', '`', '%'] {
            assert_eq!(hint(&format!("a: {first}x y # z")), format!("quote this: \"{first}x y\""));
        }
    }

    #[test]
    fn a_tab_in_the_indentation_is_named() {
        for source in ["a:\n\tb: 1\n", "a:\n  b: 1\n\tc: 2\n"] {
            assert!(hint(source).contains("spaces"), "{source}");
            assert!(refusal(source).message.contains("tab"), "{source}");
        }
    }

    #[test]
    fn a_colon_without_its_space_is_named() {
        for source in
            ["a:\n  ttl:30m\n  b: 2\n", "a:\n  b: 2\n  ttl:30m\n", "a: {ttl:30m}\n", "a: {ttl:30m, b: 1}\n"]
        {
            assert_eq!(hint(source), "put a space after the colon: `ttl: 30m`", "{source}");
        }
        assert_eq!(hint("w: [{get:/api/x}]"), "put a space after the colon: `get: /api/x`");
    }

    #[test]
    fn other_complaints_are_in_plain_words() {
        for (source, word) in [
            ("h: Bearer: x", "quote this: \"Bearer: x\""),
            ("a: \"\\d\"", "single quotes"),
            ("a: 'it's'", "doubled"),
            ("a: - b", "next line"),
        ] {
            assert!(hint(source).contains(word), "{source}: {}", hint(source));
        }
    }

    #[test]
    fn no_broken_document_makes_the_hints_panic() {
        let whole = "r:\n  - { get: \"/é/{id}\", x: ${A:-ü} }\n  *.x: [a, {b}]\n\tc: @x\n";
        for from in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
            for to in (from..=whole.len()).filter(|at| whole.is_char_boundary(*at)) {
                let _ = tree::parse(&whole[from..to]);
            }
        }
    }
}
