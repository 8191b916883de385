//! What people and programs name to be outdated: words, and the purge object. Pure.
//!
//! ```text
//! {"tags": [], "paths": [], "prefixes": [], "globs": [], "files": [], "all": false, "soft": false, "id": "…"}
//! ```
//! Each list may be one string of words instead. Invariant: an unknown key, or a value of another type, is an error, never
//! ignored: a typo in a purge leaves old answers standing. Paths count with every query, so what is named with one is
//! taken without it.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use crate::invalidate::event::{BadEvent, Names, Outdates, identified};
use crate::route::host::Scheme;
use crate::route::path::Path;
use crate::route::reach::{Gaps, Item, Paths, Reach};
use crate::route::tag::{self, Tag};
use crate::store::position::Mode;

/// Most things that one event names.
pub const MAX_ITEMS: usize = 10_000;

/// Most of them that are no single tag or path: each is looked for, under the gate, among all that begins like it.
pub const MAX_PATTERNS: usize = 256;

/// How much of a word is shown to its sender, in characters.
const SHOWN: usize = 80;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    #[serde(default)]
    tags: Words,
    #[serde(default)]
    paths: Words,
    #[serde(default)]
    prefixes: Words,
    #[serde(default)]
    globs: Words,
    #[serde(default)]
    files: Words,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    soft: bool,
    #[serde(default)]
    id: Option<Value>,
}

/// A list of strings, or one string of words.
#[derive(Default)]
struct Words(Vec<String>);

/// Reads the purge object.
pub(in crate::invalidate) fn of_object(text: &str, names: &Names) -> Result<Outdates, BadEvent> {
    // `json` has read it before, so what is wrong now is its shape.
    let purge: Purge = serde_json::from_str(text).map_err(|why| BadEvent::Shape(why.to_string()))?;
    let mut items = Vec::new();
    for word in &purge.tags.0 {
        items.extend(tags(word, names)?);
    }
    let each = |words: &Words, read: &dyn Fn(&str) -> Result<Item, BadEvent>| {
        words.0.iter().map(|word| read(word.trim())).collect::<Result<Vec<_>, _>>()
    };
    items.extend(each(&purge.paths, &path)?);
    items.extend(each(&purge.prefixes, &|word| prefix(word, names))?);
    items.extend(each(&purge.globs, &glob)?);
    items.extend(each(&purge.files, &|word| file(word, names))?);
    items.extend(purge.all.then_some(Item::All));
    if items.is_empty() {
        return Err(BadEvent::Nothing);
    }
    let mode = if purge.soft { Mode::Soft } else { Mode::Hard };
    let id = purge.id.as_ref().map(identified).transpose()?;
    Ok(Outdates { reach: gathered(items)?, mode, id, ..Outdates::default() })
}

/// What plain words name.
pub(in crate::invalidate) fn of_words(words: &str, names: &Names) -> Result<Reach, BadEvent> {
    let items = each_word(words, names)?;
    if items.is_empty() { Err(BadEvent::Nothing) } else { gathered(items) }
}

/// What a list of strings names.
pub(in crate::invalidate) fn of_list(words: &[&str], names: &Names) -> Result<Reach, BadEvent> {
    let mut items = Vec::new();
    for word in words {
        items.extend(tags(word, names)?);
    }
    if items.is_empty() { Err(BadEvent::Nothing) } else { gathered(items) }
}

/// Each item once; everything is one item.
pub(in crate::invalidate) fn gathered(items: impl IntoIterator<Item = Item>) -> Result<Reach, BadEvent> {
    let (mut seen, mut reach, mut patterns) = (HashSet::new(), Reach::default(), 0);
    for item in items {
        if !seen.insert(item.clone()) {
            continue;
        }
        patterns += usize::from(!matches!(item, Item::Tag(_) | Item::Paths { paths: Paths::One(_), .. }));
        if reach.items.len() >= MAX_ITEMS || patterns > MAX_PATTERNS {
            return Err(BadEvent::TooMany);
        }
        reach.items.push(item);
    }
    if seen.contains(&Item::All) { Ok(Reach::all()) } else { Ok(reach) }
}

/// What a word names: a path if it begins with `/`, on one host if it begins with `//`, else a tag. `*` stands for any
/// text, a parameter of a path for any segment.
///
/// # Errors
/// What is wrong with it.
pub fn item(word: &str) -> Result<Item, BadEvent> {
    if let Some((host, path)) =
        word.strip_prefix("//").map(|rest| rest.split_at(rest.find('/').unwrap_or(rest.len())))
    {
        return match self::path(if path.is_empty() { "/" } else { path })? {
            Item::Paths { paths: Paths::One(path), .. } => Ok(Item::Tag(Tag::path(host, &path))),
            Item::Paths { paths, .. } => Ok(Item::Paths { host: Some(host.into()), paths }),
            other => Ok(other),
        };
    }
    if word.starts_with('/') { path(word) } else { tag(word) }
}

/// A tag, and what its words would be: some origins have tags with spaces, some senders put several into one string.
fn tags(text: &str, names: &Names) -> Result<Vec<Item>, BadEvent> {
    let mut items = each_word(text, names)?;
    if items.is_empty() {
        return Err(bad(text, "an empty string names nothing"));
    }
    if text.trim().contains(char::is_whitespace) && tag::is_name(text.trim()) {
        items.push(literal(text.trim()));
    }
    Ok(items)
}

/// What each word names. A URL is the path that it locates, and the tag that it may be as well.
fn each_word(words: &str, names: &Names) -> Result<Vec<Item>, BadEvent> {
    let mut items = Vec::new();
    for word in words.split_whitespace() {
        match located(word, names).filter(|_| !word.starts_with('/')) {
            None => items.push(item(word)?),
            Some((host, path)) => {
                let host = host.map(|host| format!("//{host}")).unwrap_or_default();
                items.push(item(&format!("{host}{path}"))?);
                items.extend(tag::is_name(word).then(|| literal(word)));
            }
        }
    }
    Ok(items)
}

fn tag(word: &str) -> Result<Item, BadEvent> {
    match Item::parse(word) {
        Ok(item) => Ok(item),
        // Braces that hold no placeholder are characters: an origin may call its tags so.
        Err(_) if tag::is_name(word) => Ok(literal(word)),
        Err(why) => Err(bad(word, why)),
    }
}

fn literal(text: &str) -> Item {
    if text.contains('*') { Item::Tags(Gaps::parse(text)) } else { Item::Tag(Tag::named(text)) }
}

fn path(word: &str) -> Result<Item, BadEvent> {
    if !word.starts_with('/') {
        return Err(bad(word, "a path begins with `/`"));
    }
    let path = without_query(word);
    if let Some(glob) = starred(path) {
        return Ok(on_every_host(Paths::Glob(pattern(&glob))));
    }
    if !path.contains('{') {
        return Ok(on_every_host(Paths::one(path)));
    }
    Item::parse(path).map_err(|why| bad(word, why))
}

fn prefix(word: &str, names: &Names) -> Result<Item, BadEvent> {
    let (host, path) =
        located(word, names).ok_or_else(|| bad(word, "a prefix is a path that begins with `/`, or a URL"))?;
    Ok(Item::Paths { host: host.map(Into::into), paths: Paths::below(path) })
}

fn glob(word: &str) -> Result<Item, BadEvent> {
    if !word.starts_with(['/', '*']) || word.contains('?') {
        return Err(bad(
            word,
            "a glob is matched against paths without their query: it begins with `/` or `*`, and only `*` stands for other text",
        ));
    }
    Ok(on_every_host(Paths::Glob(pattern(word))))
}

fn file(word: &str, names: &Names) -> Result<Item, BadEvent> {
    let (host, path) =
        located(word, names).ok_or_else(|| bad(word, "a file is a URL, or a path that begins with `/`"))?;
    Ok(match (host, Paths::one(path)) {
        (Some(host), Paths::One(path)) => Item::Tag(Tag::path(&host, &path)),
        (_, paths) => on_every_host(paths),
    })
}

/// Host, as far as it matters, and path of a URL or a path.
fn located<'a>(word: &'a str, names: &Names) -> Option<(Option<String>, &'a str)> {
    if word.starts_with('/') {
        return Some((None, without_query(word)));
    }
    let (scheme, rest) = word.split_once("://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = without_query(rest);
    Some((names.keyed(scheme, authority), if path.is_empty() { "/" } else { path }))
}

fn on_every_host(paths: Paths) -> Item {
    Item::Paths { host: None, paths }
}

/// As paths are matched: decoded, and without the slash at the end.
fn pattern(text: &str) -> Gaps {
    let path = Path::of(text);
    Gaps::parse(match path.decoded().trim_end_matches('/') {
        "" => "/",
        path => path,
    })
}

fn without_query(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

/// A path in which a `*` stands outside of braces, with another one for each parameter; `None`: there is none.
fn starred(path: &str) -> Option<String> {
    let (mut glob, mut rest, mut is_starred) = (String::new(), path, false);
    while let Some((literal, behind)) = rest.split_once('{') {
        is_starred |= literal.contains('*');
        glob.push_str(literal);
        glob.push('*');
        rest = behind.split_once('}').map_or("", |(_, after)| after);
    }
    glob.push_str(rest);
    (is_starred || rest.contains('*')).then_some(glob)
}

fn bad(word: &str, why: impl fmt::Display) -> BadEvent {
    BadEvent::Word { word: word.chars().take(SHOWN).collect(), why: why.to_string() }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings, or one string of words")
            }

            fn visit_str<E: de::Error>(self, words: &str) -> Result<Words, E> {
                Ok(Words(words.split_whitespace().map(str::to_owned).collect()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Ok(Words(words))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::host::Hosts;

    fn names() -> Names {
        let hosts = Hosts::new(&["api.example.com".into(), "admin.example.com".into()], Scheme::Https, 443);
        Names { rules: Vec::new(), hosts: Some(hosts.unwrap()) }
    }

    fn purge(text: &str) -> Result<Outdates, BadEvent> {
        of_object(text, &names())
    }

    fn covers(text: &str, tag: &Tag) -> bool {
        purge(text).unwrap().reach.covers(tag)
    }

    fn path(path: &str) -> Tag {
        Tag::path("api.example.com", path)
    }

    #[test]
    fn every_list_of_the_purge_object_reaches_what_it_names() {
        for (text, reached, kept) in [
            (r#"{"tags": ["project:42"]}"#, Tag::named("project:42"), Tag::named("project:43")),
            (r#"{"tags": "a project:42"}"#, Tag::named("project:42"), Tag::named("a project:42")),
            (r#"{"tags": ["project:*"]}"#, Tag::named("project:42"), Tag::named("projects")),
            (r#"{"tags": ["/api/stats"]}"#, path("/api/stats"), path("/api")),
            (r#"{"paths": ["/a/{id}/x"]}"#, path("/a/7/x"), path("/a/7")),
            (r#"{"paths": ["/a/?page=2"]}"#, path("/a"), path("/a/b")),
            (r#"{"paths": ["/a/*/{x}"]}"#, path("/a/b/c/d"), path("/a/b")),
            (r#"{"paths": ["/caf%C3%A9"]}"#, path("/café"), path("/cafe")),
            (r#"{"prefixes": ["/a/"]}"#, path("/a/b/c"), path("/ab")),
            (r#"{"globs": ["*/export"]}"#, path("/a/b/export"), path("/export/a")),
            (r#"{"globs": ["/a%20b/*"]}"#, path("/a b/c"), path("/a b")),
            (r#"{"files": ["/a?x=1"]}"#, path("/a"), path("/a/b")),
            (r#"{"all": true}"#, path("/"), Tag::named("")),
        ] {
            assert!(covers(text, &reached), "{text} does not reach {reached}");
            assert!(text.contains("all") || !covers(text, &kept), "{text} reaches {kept}");
        }
    }

    #[test]
    fn a_url_stands_for_its_path_on_the_host_under_which_that_is_kept() {
        let elsewhere = Tag::path("other.example", "/a");
        for url in
            ["https://api.example.com/a?x", "HTTPS://ADMIN.example.com:443/a/", "https://api.example.com/a#b"]
        {
            let text = format!(r#"{{"files": ["{url}"]}}"#);
            assert_eq!(purge(&text).unwrap().reach, Reach::of([path("/a")]), "{url}");
        }
        assert!(covers(r#"{"files": ["https://api.example.com"]}"#, &path("/")));
        assert!(covers(r#"{"prefixes": ["https://api.example.com/a"]}"#, &path("/a/b")));
        assert!(!covers(r#"{"prefixes": ["https://api.example.com/a"]}"#, &elsewhere));
        // A public name that something in front of Larder rewrites: nobody knows into what.
        assert!(covers(r#"{"files": ["https://www.example.org/a"]}"#, &path("/a")));
    }

    #[test]
    fn a_url_among_words_is_the_path_that_it_locates_and_a_tag_that_may_be_called_so() {
        let url = "https://api.example.com/a?x";
        let both = [Item::Tag(path("/a")), Item::Tag(Tag::named(url))];
        assert_eq!(of_words(url, &names()).unwrap().items, both);
        assert_eq!(of_list(&[url], &names()).unwrap().items, both);
        assert_eq!(purge(&format!(r#"{{"tags": ["{url}"]}}"#)).unwrap().reach.items, both);
        assert!(of_words("https://www.example.org/a/{x}", &names()).unwrap().covers(&path("/a/b")));
        let long = format!("https://api.example.com/{}", "a".repeat(tag::MAX_LENGTH));
        assert_eq!(of_words(&long, &names()).unwrap().items.len(), 1, "no tag is called so");
    }

    #[test]
    fn a_typo_in_a_purge_is_an_error_and_says_what_there_is() {
        for (text, says) in [
            (r#"{"tag": ["a"]}"#, "unknown field `tag`, expected one of `tags`"),
            (r#"{"tags": ["a"], "sotf": true}"#, "unknown field `sotf`"),
            (r#"{"tags": 3}"#, "expected a list of strings, or one string of words"),
            (r#"{"tags": [3]}"#, "expected a string"),
            (r#"{"tags": ["a"], "soft": "yes"}"#, "expected a boolean"),
            (r#"{"tags": ["a"], "tags": ["b"]}"#, "duplicate field `tags`"),
            (r#"{"tags": ["a"], "id": 1.5}"#, "`id` is text"),
            (r#"{"tags": [""]}"#, "names nothing"),
            (r#"{"paths": ["a"]}"#, "a path begins with `/`"),
            (r#"{"prefixes": ["a"]}"#, "a prefix is a path"),
            (r#"{"globs": ["a?"]}"#, "a glob is matched against paths"),
            (r#"{"files": ["ftp://a/b"]}"#, "a file is a URL"),
            (r#"{"all": false}"#, "names nothing to invalidate"),
            ("{}", "names nothing to invalidate"),
        ] {
            let why = purge(text).expect_err(text).to_string();
            assert!(why.contains(says), "{text}: {why}");
        }
    }

    #[test]
    fn words_name_tags_and_paths_and_braces_that_are_none_are_characters() {
        let named = |word: &str| item(word).unwrap();
        assert_eq!(named("project:42"), Item::Tag(Tag::named("project:42")));
        assert_eq!(named("a}b{"), Item::Tag(Tag::named("a}b{")));
        assert_eq!(named("//h:1/a/b/"), Item::Tag(Tag::path("h:1", "/a/b")));
        assert_eq!(named("//h"), Item::Tag(Tag::path("h", "/")));
        assert_eq!(named("//h/a/*").to_string(), "//h/a/*");
        assert!(item(&"x".repeat(257)).is_err() && item("a\u{1}b").is_err());
        let listed = of_list(&["my tag", "b"], &names()).unwrap();
        assert!(["my tag", "my", "tag", "b"].iter().all(|name| listed.covers(&Tag::named(name))));
    }

    #[test]
    fn what_is_named_has_an_end() {
        let many = |count: usize, end: &str| (0..count).map(|n| format!("t{n}{end} ")).collect::<String>();
        assert_eq!(of_words(&many(MAX_ITEMS, ""), &names()).unwrap().items.len(), MAX_ITEMS);
        assert_eq!(of_words(&many(MAX_ITEMS + 1, ""), &names()), Err(BadEvent::TooMany));
        assert_eq!(of_words(&many(MAX_PATTERNS, "*"), &names()).unwrap().items.len(), MAX_PATTERNS);
        assert_eq!(of_words(&many(MAX_PATTERNS + 1, "*"), &names()), Err(BadEvent::TooMany));
        assert_eq!(of_words("a a a", &names()).unwrap().items.len(), 1);
    }
}
