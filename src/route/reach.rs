//! What an invalidation reaches: items over tags, with gaps where something is not known.
//!
//! Invariant: an item never reaches less than what was asked for; where in doubt it reaches more. Paths are matched
//! decoded and without the slash at their end, hosts as they are keyed.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::fault::{self, Fault};
use crate::route::path::Path;
use crate::route::pattern::{self, Segment, Template};
use crate::route::tag::{self, Rendered, Tag, Text, Values};

/// All that one invalidation reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// What carries a tag that one of them covers is reached.
    pub items: Vec<Item>,
}

/// One thing that is outdated.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Item {
    /// Exactly this tag: a named one, a path under its host, a route, a credential.
    Tag(Tag),
    /// Named tags in which these literals stand in order, anything between them (`["project:", ""]`).
    Tags(Gaps),
    /// Paths, with every query.
    Paths {
        /// The host as it is keyed; `None`: every host.
        host: Option<Arc<str>>,
        /// Which of its paths.
        paths: Paths,
    },
    /// Everything that is kept.
    All,
}

/// Which paths of a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Paths {
    /// This one, decoded, without a slash at its end.
    One(String),
    /// Those with these segments, `None` for any; `rest`: and all below.
    Like {
        /// The segments from the left; each is a literal, any, or any between two literals.
        segments: Vec<Option<Gaps>>,
        /// Whether more may follow (with the bare parent).
        rest: bool,
    },
    /// This one and all below it, segment by segment.
    Below(String),
    /// Those in which these literals stand in order, slashes and all between them.
    Glob(Gaps),
}

/// Literals in order; between any two of them anything may stand. One literal alone has to be all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Gaps(Vec<String>);

impl Gaps {
    /// From literals.
    pub fn new(literals: Vec<String>) -> Self {
        Self(literals)
    }

    /// From a text in which `*` stands for anything.
    pub fn parse(text: &str) -> Self {
        Self(text.split('*').map(str::to_owned).collect())
    }

    /// What every match begins with.
    pub fn prefix(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The literals.
    pub(crate) fn literals(&self) -> &[String] {
        &self.0
    }

    /// Whether `text` matches; in time linear in both.
    pub fn matches(&self, text: &str) -> bool {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return text.is_empty() };
        if self.0.len() == 1 {
            return text == first;
        }
        let Some(rest) = text.strip_prefix(first.as_str()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
        self.0[1..self.0.len() - 1].iter().all(|literal| match rest.find(literal.as_str()) {
            Some(at) => {
                rest = &rest[at + literal.len()..];
                true
            }
            None => false,
        })
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("*"))
    }
}

impl Reach {
    /// Of these tags.
    pub fn of(tags: impl IntoIterator<Item = Tag>) -> Self {
        Self { items: tags.into_iter().map(Item::Tag).collect() }
    }

    /// Everything.
    pub fn all() -> Self {
        Self { items: vec![Item::All] }
    }

    /// Whether it reaches nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether what carries `tag` is reached.
    pub fn covers(&self, tag: &Tag) -> bool {
        self.items.iter().any(|item| item.covers(tag))
    }

    /// Adds an item unless it is there.
    pub fn add(&mut self, item: Item) {
        if !self.items.contains(&item) {
            self.items.push(item);
        }
    }
}

impl Item {
    /// Whether what carries `tag` is reached by it.
    pub fn covers(&self, tag: &Tag) -> bool {
        match self {
            Self::All => true,
            Self::Tag(own) => own == tag,
            Self::Tags(gaps) => tag.is_named() && gaps.matches(tag.as_str()),
            Self::Paths { host, paths } => tag.host_and_path().is_some_and(|(on, path)| {
                host.as_deref().is_none_or(|host| host == on) && paths.contain(path)
            }),
        }
    }

    /// Whether it may cover a tag that is not known yet: those that an answer brings are named ones.
    pub fn may_cover_unknown(&self) -> bool {
        match self {
            Self::All | Self::Tags(_) => true,
            Self::Tag(tag) => tag.is_named(),
            Self::Paths { .. } => false,
        }
    }

    /// Reads one as people write it: `/api/projects/{id}` is a path template in which a parameter stands for any
    /// segment, anything else a tag in which `*` stands for any text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(word: &str) -> Result<Self, Flaw> {
        let mut items = ItemTemplate::parse(word)?.bind(None, &|_: &str| Vec::new());
        Ok(items.pop().unwrap_or(Self::All))
    }
}

impl Paths {
    /// One path as a request names it, without query: `/api/projects/42/`.
    pub fn one(path: &str) -> Self {
        Self::One(Path::of(path).decoded().trim_end_matches('/').to_owned())
    }

    /// A path and all below it.
    pub fn below(path: &str) -> Self {
        Self::Below(Path::of(path).decoded().trim_end_matches('/').to_owned())
    }

    /// Whether a decoded path without a slash at its end is one of them.
    pub fn contain(&self, path: &str) -> bool {
        match self {
            Self::One(one) => one == path,
            Self::Below(top) => {
                path.strip_prefix(top.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Glob(gaps) => gaps.matches(if path.is_empty() { "/" } else { path }),
            Self::Like { segments, rest } => {
                let mut given = path.split('/').skip(1);
                let alike = segments.iter().all(|segment| match (given.next(), segment) {
                    (None, _) => false,
                    (Some(given), Some(gaps)) => gaps.matches(given),
                    (Some(given), None) => !given.is_empty(),
                });
                alike && (*rest || given.next().is_none())
            }
        }
    }

    /// What each of them begins with.
    pub fn prefix(&self) -> String {
        match self {
            Self::One(path) | Self::Below(path) => path.clone(),
            Self::Glob(gaps) => gaps.prefix().to_owned(),
            Self::Like { segments, .. } => {
                let mut prefix = String::new();
                for segment in segments {
                    prefix.push('/');
                    match segment {
                        Some(gaps) if gaps.0.len() == 1 => prefix.push_str(gaps.prefix()),
                        Some(gaps) => {
                            prefix.push_str(gaps.prefix());
                            break;
                        }
                        None => break,
                    }
                }
                prefix
            }
        }
    }
}

impl fmt::Display for Item {
    /// As people write it; Larder's own tags in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("everything"),
            Self::Tag(tag) => f.write_str(tag.as_str().trim_start_matches('\u{1}')),
            Self::Tags(gaps) => gaps.fmt(f),
            Self::Paths { host, paths } => {
                if let Some(host) = host {
                    write!(f, "//{host}")?;
                }
                match paths {
                    Paths::One(path) => f.write_str(if path.is_empty() { "/" } else { path }),
                    Paths::Below(path) => write!(f, "{path}/**"),
                    Paths::Glob(gaps) => gaps.fmt(f),
                    Paths::Like { segments, rest } => {
                        for segment in segments {
                            match segment {
                                Some(gaps) => write!(f, "/{gaps}")?,
                                None => f.write_str("/*")?,
                            }
                        }
                        f.write_str(if *rest { "/**" } else { "" })
                    }
                }
            }
        }
    }
}

/// An item with placeholders, as rules name what they outdate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ItemTemplate {
    /// `project:{id}`.
    Tag(Text),
    /// `/api/projects/{id}/export`.
    Path(PathTemplate),
}

/// A path with placeholders.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathTemplate {
    /// As written.
    text: String,
    segments: Vec<(String, Option<String>, String)>,
    rest: Option<String>,
}

/// Why a word names nothing that can be outdated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Flaw {
    /// No tag.
    #[error(transparent)]
    Tag(#[from] tag::Flaw),
    /// No path.
    #[error(transparent)]
    Path(#[from] pattern::Flaw),
}

impl ItemTemplate {
    /// Reads a word: a path if it begins with `/`, else a tag.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(word: &str) -> Result<Self, Flaw> {
        if !word.starts_with('/') {
            return Ok(Self::Tag(Text::parse(word)?));
        }
        let template = Template::parse(word)?;
        let segments = template.segments.into_iter().map(|segment| match segment {
            Segment::Literal(text) => (text, None, String::new()),
            Segment::Parameter { before, name, after } => (before, Some(name), after),
        });
        let (text, rest) = (word.to_owned(), template.rest);
        Ok(Self::Path(PathTemplate { text, segments: segments.collect(), rest }))
    }

    /// The names of its placeholders.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Tag(text) => text.names().collect(),
            Self::Path(path) => {
                let names = path.segments.iter().filter_map(|(_, name, _)| name.as_deref());
                names.chain(path.rest.as_deref()).collect()
            }
        }
    }

    /// What it reaches with these values; paths on `host` only, if one is given.
    pub fn bind(&self, host: Option<&Arc<str>>, values: &dyn Values) -> Vec<Item> {
        match self {
            Self::Tag(text) => match text.render(values) {
                Rendered::Known(texts) => texts.iter().map(|text| Item::Tag(Tag::named(text))).collect(),
                Rendered::Wide(_) if fault::is(Fault::UnresolvedSkipped) => Vec::new(),
                Rendered::Wide(literals) => vec![Item::Tags(Gaps(literals))],
            },
            Self::Path(path) => path.bind(host, values),
        }
    }
}

impl PathTemplate {
    /// Of each segment what it begins with, the placeholder in it, and what it ends with.
    pub(crate) fn segments(&self) -> &[(String, Option<String>, String)] {
        &self.segments
    }

    /// The placeholder of the catch-all.
    pub(crate) fn rest(&self) -> Option<&str> {
        self.rest.as_deref()
    }

    fn bind(&self, host: Option<&Arc<str>>, values: &dyn Values) -> Vec<Item> {
        let one = |name: &String| match values.values(name).as_slice() {
            [one] if !one.is_empty() => Some(one.clone()),
            _ => None,
        };
        let mut exact = String::new();
        let mut segments = Vec::new();
        let mut is_exact = true;
        for (before, name, after) in &self.segments {
            let whole = match name {
                None => Some(before.clone()),
                Some(name) => one(name).map(|value| format!("{before}{value}{after}")),
            };
            match whole {
                // A value may hold slashes: it came out of a catch-all.
                Some(whole) => {
                    exact.push('/');
                    exact.push_str(&whole);
                    segments.extend(whole.split('/').map(|part| Some(Gaps(vec![part.to_owned()]))));
                }
                None => {
                    is_exact = false;
                    let any = before.is_empty() && after.is_empty();
                    segments.push((!any).then(|| Gaps(vec![before.clone(), after.clone()])));
                }
            }
        }
        let mut rest = false;
        if let Some(name) = &self.rest {
            match one(name) {
                Some(value) => {
                    exact.push('/');
                    exact.push_str(&value);
                    segments.extend(value.split('/').map(|part| Some(Gaps(vec![part.to_owned()]))));
                }
                None => rest = true,
            }
        }
        let exact = exact.trim_end_matches('/').to_owned();
        let paths = match (is_exact, rest) {
            (true, false) => Paths::One(exact),
            (true, true) => Paths::Below(exact),
            (false, rest) => Paths::Like { segments, rest },
        };
        vec![match (host, paths) {
            // What has one name has one floor.
            (Some(host), Paths::One(path)) => Item::Tag(Tag::path(host, &path)),
            (host, paths) => Item::Paths { host: host.cloned(), paths },
        }]
    }
}

impl fmt::Display for ItemTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(text) => text.fmt(f),
            Self::Path(path) => f.write_str(&path.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wildmatch::WildMatch;

    fn covers(word: &str, tag: &Tag) -> bool {
        Item::parse(word).unwrap().covers(tag)
    }

    #[test]
    fn a_tag_is_covered_by_itself_and_by_patterns_of_named_tags() {
        let tag = Tag::named("project:42");
        for word in ["project:42", "project:*", "*:42", "*", "pro*4*2", "project:{id}"] {
            assert!(covers(word, &tag), "{word}");
        }
        for word in ["project:4", "project", "*:43", "/project:42", "projects:*"] {
            assert!(!covers(word, &tag), "{word}");
        }
        assert!(!covers("*", &Tag::path("h", "/a")), "a pattern of tags reaches no path");
        assert!(!covers("*", &Tag::route("/a")));
    }

    #[test]
    fn a_path_is_covered_on_every_host_with_any_segment_for_a_parameter() {
        let tag = Tag::path("api:80", "/api/projects/42/export");
        for word in
            ["/api/projects/42/export", "/api/projects/{id}/export/", "/{a}/{b}/{c}/{d}", "/api/{rest:path}"]
        {
            assert!(covers(word, &tag), "{word}");
        }
        for word in
            ["/api/projects/42", "/api/projects/{id}", "/api/projects/42/export/x", "/apis/{rest:path}"]
        {
            assert!(!covers(word, &tag), "{word}");
        }
        assert!(covers("/api/{rest:path}", &Tag::path("h", "/api")), "the bare parent too");
        assert!(covers("/", &Tag::path("h", "/")));
    }

    #[test]
    fn placeholders_take_their_values_and_scope_paths_to_the_host() {
        let values = |name: &str| match name {
            "id" => vec!["42".to_owned()],
            "rest" => vec!["a/b".to_owned()],
            _ => Vec::new(),
        };
        let host: Arc<str> = "h".into();
        let bound = |word: &str| ItemTemplate::parse(word).unwrap().bind(Some(&host), &values);
        assert_eq!(bound("/p/{id}/x"), [Item::Tag(Tag::path("h", "/p/42/x"))]);
        assert_eq!(bound("/p/{rest:path}"), [Item::Tag(Tag::path("h", "/p/a/b"))]);
        assert_eq!(bound("t:{id}"), [Item::Tag(Tag::named("t:42"))]);
        let wide = &bound("/p/{id}/{other}")[0];
        assert!(wide.covers(&Tag::path("h", "/p/42/x")) && !wide.covers(&Tag::path("g", "/p/42/x")));
        assert!(!wide.covers(&Tag::path("h", "/p/43/x")));
        assert_eq!(wide.to_string(), "//h/p/42/*");
    }

    #[test]
    fn globs_and_prefixes_reach_what_they_say() {
        let path = |path: &str| Tag::path("h", path);
        let glob = Item::Paths { host: None, paths: Paths::Glob(Gaps::parse("/api/*/export")) };
        assert!(glob.covers(&path("/api/a/b/export")) && !glob.covers(&path("/api/export")));
        let below = Item::Paths { host: None, paths: Paths::below("/api/projects/") };
        assert!(below.covers(&path("/api/projects")) && below.covers(&path("/api/projects/1/x")));
        assert!(!below.covers(&path("/api/projects-old")));
        let top = Item::Paths { host: None, paths: Paths::below("/") };
        assert!(top.covers(&path("/")) && top.covers(&path("/x")));
    }

    #[test]
    fn what_an_answer_may_turn_out_to_carry_are_named_tags() {
        for (word, may) in [("a", true), ("a:*", true), ("/a", false), ("/a/{b}", false)] {
            assert_eq!(Item::parse(word).unwrap().may_cover_unknown(), may, "{word}");
        }
        assert!(!Item::Tag(Tag::route("/a")).may_cover_unknown());
        assert!(Item::All.may_cover_unknown());
    }

    proptest! {
        #[test]
        fn gaps_match_as_any_wildcard_does(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            prop_assert_eq!(Gaps::parse(&pattern).matches(&text), WildMatch::new(&pattern).matches(&text));
        }

        #[test]
        fn what_is_reached_with_values_is_reached_without_them(
            word in prop::sample::select(vec!["/a/{x}", "/a/{x}/b/", "/{x}-z/{y}", "/v{x}/{r:path}", "t:{x}:{y}", "{x}"]),
            (x, y, r) in ("[a-z ~.-]{1,4}", "[a-z0-9]{1,4}", "[a-z]{1,2}(/[a-z]{1,2}){0,2}"), on_host in any::<bool>(),
        ) {
            let host: Arc<str> = "h".into();
            let template = ItemTemplate::parse(word).unwrap();
            let given = |name: &str| vec![match name { "x" => x.clone(), "y" => y.clone(), _ => r.clone() }];
            let partly = |name: &str| if name == "x" { given(name) } else { Vec::new() };
            let wide = template.bind(on_host.then_some(&host), &|_: &str| Vec::new());
            let narrower = template.bind(on_host.then_some(&host), &partly);
            for item in template.bind(Some(&host), &given) {
                let Item::Tag(tag) = &item else { panic!("all of it is known: {item}") };
                prop_assert!(wide.iter().any(|wide| wide.covers(tag)), "{wide:?} {tag}");
                prop_assert!(narrower.iter().any(|wide| wide.covers(tag)), "{narrower:?} {tag}");
                prop_assert_eq!(item.may_cover_unknown(), tag.is_named());
            }
        }
    }
}
