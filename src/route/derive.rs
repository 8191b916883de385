//! What is derived from what (`dependencies:`): the transitive consequences of an invalidation. Pure.
//!
//! Invariant: the result reaches all that the cause reaches, and everything derived from it, however far. A source is
//! matched against what is outdated; what of it is not known there is not known of the derived either, and widens.

use std::collections::HashSet;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::route::meet;
use crate::route::reach::{Gaps, Item, ItemTemplate, PathTemplate, Paths, Reach};
use crate::route::tag::{Piece, Tag, Text, Values};

/// Most items that are added to one invalidation; beyond it everything is outdated.
pub const MAX_DERIVED: usize = 10_000;

/// Most bytes of text of what is added, in all: what is derived may be longer than its cause.
const MAX_TEXT: usize = 1 << 20;

/// Most ways in which one source is matched with one tag; beyond it nothing is known of its placeholders.
pub const MAX_BINDINGS: usize = 64;

/// Most steps that are taken to find them.
const MAX_STEPS: usize = 10_000;

/// `dependencies:`, from each source to what is derived from it.
#[derive(Clone, Debug, Default)]
pub struct Dependencies {
    edges: Vec<(ItemTemplate, Vec<ItemTemplate>)>,
}

/// How far the consequences of an invalidation were followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Followed {
    /// To their end.
    #[default]
    All,
    /// There were more than [`MAX_DERIVED`], or than anybody could name: everything is outdated.
    TooMany,
}

impl Dependencies {
    /// From edges without cycles.
    pub fn new(edges: Vec<(ItemTemplate, Vec<ItemTemplate>)>) -> Self {
        Self { edges }
    }

    /// Every source with what is derived from it, in words.
    pub fn edges(&self) -> impl Iterator<Item = (String, Vec<String>)> {
        let words = |items: &[ItemTemplate]| items.iter().map(ItemTemplate::to_string).collect();
        self.edges.iter().map(move |(source, derived)| (source.to_string(), words(derived)))
    }

    /// Adds everything that is derived from what `reach` reaches. Paths derived from a path are on its host, those derived
    /// from a tag on every host.
    pub fn extend(&self, reach: &mut Reach) -> Followed {
        if self.edges.is_empty() || reach.items.contains(&Item::All) {
            return Followed::All;
        }
        let mut seen: HashSet<Item, ahash::RandomState> = reach.items.iter().cloned().collect();
        let asked = reach.items.len();
        let (mut next, most, mut text) = (0, asked + MAX_DERIVED, 0);
        while let Some(item) = reach.items.get(next).cloned() {
            next += 1;
            for found in self.derived(&item) {
                if seen.insert(found.clone()) {
                    text += found.to_string().len();
                    reach.items.push(found);
                }
                if reach.items.len() > most || text > MAX_TEXT {
                    reach.items.truncate(asked);
                    reach.items.push(Item::All);
                    return Followed::TooMany;
                }
            }
        }
        Followed::All
    }

    /// The sources of a cycle in their order; `None` if there is none. Two templates count as one if any text is of both.
    pub fn cycle(&self) -> Option<Vec<String>> {
        let unbound = |_: &str| Vec::new();
        let leads_to = |derived: &Vec<ItemTemplate>| -> Vec<usize> {
            let items: Vec<Item> =
                derived.iter().flat_map(|template| template.bind(None, &unbound)).collect();
            let meets = |source: &ItemTemplate| items.iter().any(|item| !bindings(source, item).is_empty());
            (0..self.edges.len()).filter(|source| meets(&self.edges[*source].0)).collect()
        };
        let next: Vec<Vec<usize>> = self.edges.iter().map(|(_, derived)| leads_to(derived)).collect();
        let mut done = vec![false; next.len()];
        let cycle = (0..next.len()).find_map(|start| visit(start, &next, &mut Vec::new(), &mut done))?;
        Some(cycle.into_iter().map(|source| self.edges[source].0.to_string()).collect())
    }

    /// What follows from one item at once.
    fn derived<'d>(&'d self, item: &'d Item) -> impl Iterator<Item = Item> + 'd {
        self.edges.iter().flat_map(move |(source, derived)| {
            bindings(source, item).into_iter().flat_map(move |binding| {
                let bound = derived.iter().map(|template| template.bind(binding.host.as_ref(), &binding));
                bound.flatten().collect::<SmallVec<[Item; 4]>>()
            })
        })
    }
}

/// Whether any text, or any path, is of both templates.
pub fn meet(one: &ItemTemplate, other: &ItemTemplate) -> bool {
    other.bind(None, &|_: &str| Vec::new()).iter().any(|item| !bindings(one, item).is_empty())
}

/// Walks on from `at`; the way back to a place on the way is a cycle.
fn visit(at: usize, next: &[Vec<usize>], way: &mut Vec<usize>, done: &mut [bool]) -> Option<Vec<usize>> {
    if let Some(begin) = way.iter().position(|place| *place == at) {
        return Some(way[begin..].to_vec());
    }
    if done[at] {
        return None;
    }
    way.push(at);
    let cycle = next[at].iter().find_map(|then| visit(*then, next, way, done));
    way.pop();
    done[at] = true;
    cycle
}

/// One way in which a source matches an item: its placeholders, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Binding {
    host: Option<Arc<str>>,
    values: SmallVec<[(String, String); 2]>,
}

impl Values for Binding {
    fn values(&self, name: &str) -> Vec<String> {
        let known = self.values.iter().find(|(known, _)| known == name);
        known.map(|(_, value)| value.clone()).into_iter().collect()
    }
}

/// Every way in which `source` may match `item`; none: it cannot.
fn bindings(source: &ItemTemplate, item: &Item) -> Vec<Binding> {
    match (source, item) {
        (ItemTemplate::Tag(text), Item::Tag(tag)) if tag.is_named() => in_tag(text, tag),
        (ItemTemplate::Tag(text), Item::Tags(gaps)) => {
            Vec::from_iter(meet::gaps(&as_gaps(text), gaps).then(Binding::default))
        }
        (ItemTemplate::Path(path), Item::Tag(tag)) => {
            let Some((host, given)) = tag.host_and_path() else { return Vec::new() };
            Vec::from_iter(in_segments(path, &literals(given), false, Some(&host.into())))
        }
        (ItemTemplate::Path(path), Item::Paths { host, paths }) => {
            let host = host.as_ref();
            Vec::from_iter(match paths {
                Paths::One(given) => in_segments(path, &literals(given), false, host),
                Paths::Below(given) => in_segments(path, &literals(given), true, host),
                Paths::Like { segments, rest } => in_segments(path, segments, *rest, host),
                Paths::Glob(gaps) => {
                    let binding = || Binding { host: host.cloned(), ..Binding::default() };
                    meet::gaps(&path_as_gaps(path), gaps).then(binding)
                }
            })
        }
        // A tag is no path; what reaches a route's entries, or a credential's, says nothing of what they stand for; and
        // there is nothing beyond everything.
        _ => Vec::new(),
    }
}

/// A piece of a source, cut at its stars.
enum Step<'s> {
    Literal(&'s str),
    /// Any text, an empty one too.
    Any,
    Named(&'s str),
}

fn steps(text: &Text) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    for piece in text.pieces() {
        match piece {
            Piece::Placeholder(name) => steps.push(Step::Named(name)),
            Piece::Literal(literal) => {
                for (nth, part) in literal.split('*').enumerate() {
                    steps.extend((nth > 0).then_some(Step::Any));
                    steps.push(Step::Literal(part));
                }
            }
        }
    }
    steps
}

fn as_gaps(text: &Text) -> Gaps {
    let mut literals = vec![String::new()];
    for step in steps(text) {
        match step {
            Step::Literal(part) => literals.last_mut().expect("it begins with one").push_str(part),
            Step::Any | Step::Named(_) => literals.push(String::new()),
        }
    }
    Gaps::new(literals)
}

/// The search for every way to read a tag as a template.
struct Search<'t> {
    bound: SmallVec<[(&'t str, &'t str); 4]>,
    found: Vec<Binding>,
    steps: usize,
}

/// Gave up: there are too many ways.
struct TooMany;

fn in_tag(text: &Text, tag: &Tag) -> Vec<Binding> {
    let mut search = Search { bound: SmallVec::new(), found: Vec::new(), steps: 0 };
    match search.read(&steps(text), tag.as_str()) {
        Ok(()) => search.found,
        Err(TooMany) => vec![Binding::default()],
    }
}

impl<'t> Search<'t> {
    /// Leftmost-shortest first.
    fn read(&mut self, steps: &[Step<'t>], rest: &'t str) -> Result<(), TooMany> {
        self.steps += 1;
        if self.steps > MAX_STEPS || self.found.len() > MAX_BINDINGS {
            return Err(TooMany);
        }
        let Some((step, behind)) = steps.split_first() else {
            if rest.is_empty() {
                self.keep();
            }
            return Ok(());
        };
        match step {
            Step::Literal(literal) => {
                rest.strip_prefix(literal).map_or(Ok(()), |rest| self.read(behind, rest))
            }
            Step::Any => cuts(rest).try_for_each(|at| self.read(behind, &rest[at..])),
            Step::Named(name) => {
                let known = self.bound.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
                if let Some(value) = known {
                    return rest.strip_prefix(value).map_or(Ok(()), |rest| self.read(behind, rest));
                }
                cuts(rest).filter(|at| *at > 0).try_for_each(|at| {
                    self.bound.push((name, &rest[..at]));
                    let read = self.read(behind, &rest[at..]);
                    self.bound.pop();
                    read
                })
            }
        }
    }

    fn keep(&mut self) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let binding = Binding { host: None, values: self.bound.iter().map(owned).collect() };
        if !self.found.contains(&binding) {
            self.found.push(binding);
        }
    }
}

/// Where a text can be cut, both ends included.
fn cuts(text: &str) -> impl Iterator<Item = usize> + use<'_> {
    text.char_indices().map(|(at, _)| at).chain([text.len()])
}

/// The segments of a decoded path.
fn literals(path: &str) -> Vec<Option<Gaps>> {
    let segments = path.trim_end_matches('/').split('/').skip(1);
    segments.map(|segment| Some(Gaps::new(vec![segment.to_owned()]))).collect()
}

/// How `source` matches paths of these segments (`None`: any), if it may; `more`: others may follow.
fn in_segments(
    source: &PathTemplate,
    segments: &[Option<Gaps>],
    more: bool,
    host: Option<&Arc<str>>,
) -> Option<Binding> {
    let own = source.segments();
    if (own.len() > segments.len() && !more) || (own.len() < segments.len() && source.rest().is_none()) {
        return None;
    }
    let mut binding = Binding { host: host.cloned(), ..Binding::default() };
    for ((before, name, after), given) in own.iter().zip(segments) {
        match (name, given) {
            (_, None) => {}
            (None, Some(given)) => given.matches(before).then_some(())?,
            (Some(name), Some(given)) => match given.literals() {
                [one] => {
                    let value = one.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
                    (!value.is_empty()).then(|| binding.values.push((name.clone(), value.to_owned())))?;
                }
                _ => meet::gaps(given, &Gaps::new(vec![before.clone(), after.clone()])).then_some(())?,
            },
        }
    }
    if let (Some(name), false) = (source.rest(), more) {
        let rest = segments.get(own.len()..).unwrap_or_default();
        let exact = rest.iter().map(|segment| match segment.as_ref()?.literals() {
            [one] => Some(one.as_str()),
            _ => None,
        });
        let exact: Option<Vec<&str>> = exact.collect();
        binding
            .values
            .extend(exact.filter(|rest| !rest.is_empty()).map(|rest| (name.to_owned(), rest.join("/"))));
    }
    Some(binding)
}

/// The whole of a path with a gap for each placeholder; a bare parent is one of a catch-all's.
fn path_as_gaps(path: &PathTemplate) -> Gaps {
    let mut literals = vec![String::new()];
    for (before, name, after) in path.segments() {
        let last = literals.last_mut().expect("it begins with one");
        last.push('/');
        last.push_str(before);
        if name.is_some() {
            literals.push(after.clone());
        }
    }
    match path.rest() {
        Some(_) => literals.push(String::new()),
        None if path.segments().is_empty() => literals[0].push('/'),
        None => {}
    }
    Gaps::new(literals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dependencies(edges: &[(&str, &str)]) -> Dependencies {
        let parse = |word: &str| ItemTemplate::parse(word).unwrap();
        let edge = |(source, derived): &(&str, &str)| {
            (parse(source), derived.split_whitespace().map(parse).collect())
        };
        Dependencies::new(edges.iter().map(edge).collect())
    }

    fn extended(edges: &[(&str, &str)], items: impl IntoIterator<Item = Item>) -> Vec<String> {
        let mut reach = Reach { items: items.into_iter().collect() };
        assert_eq!(dependencies(edges).extend(&mut reach), Followed::All);
        reach.items.iter().map(ToString::to_string).collect()
    }

    fn tag(name: &str) -> Item {
        Item::Tag(Tag::named(name))
    }

    fn path(path: &str) -> Item {
        Item::Tag(Tag::path("h", path))
    }

    const PROJECTS: &[(&str, &str)] = &[
        ("project:{id}", "projects dashboard export:{id} /api/stats"),
        ("dashboard", "report"),
        ("/api/projects/{id}", "project:{id} /api/search"),
    ];

    #[test]
    fn what_is_derived_follows_however_far() {
        assert_eq!(
            extended(PROJECTS, [tag("project:42")]),
            ["project:42", "projects", "dashboard", "export:42", "/api/stats", "report"]
        );
        assert_eq!(extended(PROJECTS, [tag("other")]), ["other"]);
        assert_eq!(extended(&[("a", "b"), ("b", "c"), ("c", "d")], [tag("a")]), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_path_is_a_source_and_keeps_its_host() {
        assert_eq!(
            extended(PROJECTS, [path("/api/projects/42")])[..3],
            ["//h/api/projects/42", "project:42", "//h/api/search"]
        );
        let everywhere = Item::parse("/api/projects/42").unwrap();
        assert_eq!(extended(PROJECTS, [everywhere])[..3], ["/api/projects/42", "project:42", "/api/search"]);
        assert_eq!(extended(PROJECTS, [path("/api/projects")]), ["//h/api/projects"]);
        let rest = &[("/a/{rest:path}", "/b/{rest:path}")];
        assert_eq!(extended(rest, [path("/a/x/y")]), ["//h/a/x/y", "//h/b/x/y"]);
        assert_eq!(extended(rest, [path("/a")]), ["//h/a", "//h/b/**"]);
    }

    #[test]
    fn what_is_not_known_of_the_source_widens_in_the_derived() {
        assert_eq!(extended(PROJECTS, [Item::parse("project:*").unwrap()])[3], "export:*");
        assert_eq!(extended(PROJECTS, [Item::parse("pro*").unwrap()])[3], "export:*");
        assert_eq!(extended(PROJECTS, [Item::parse("*:42").unwrap()])[3], "export:*");
        assert_eq!(extended(PROJECTS, [Item::parse("projects:*").unwrap()]), ["projects:*"]);
        let paths = |paths| Item::Paths { host: None, paths };
        for wide in [
            paths(Paths::below("/api")),
            paths(Paths::Glob(Gaps::parse("/api/*"))),
            paths(Paths::Glob(Gaps::parse("*/42"))),
            Item::parse("/api/{a}/{b}").unwrap(),
        ] {
            assert!(extended(PROJECTS, [wide.clone()]).contains(&"export:*".to_owned()), "{wide}");
        }
        let known = Item::parse("/{a}/projects/42").unwrap();
        assert!(extended(PROJECTS, [known]).contains(&"export:42".to_owned()), "what is known of it stays");
        for other in [paths(Paths::below("/apis")), paths(Paths::Glob(Gaps::parse("/x/*"))), path("/api")] {
            assert_eq!(extended(PROJECTS, [other]).len(), 1);
        }
    }

    #[test]
    fn every_consistent_reading_of_a_tag_counts() {
        assert_eq!(extended(&[("a:{x}:{y}", "{y}")], [tag("a:1:2:3")])[1..], ["2:3", "3"]);
        assert_eq!(extended(&[("{x}-{x}", "same:{x}")], [tag("a-a")])[1..], ["same:a"]);
        assert_eq!(extended(&[("{x}-{x}", "same:{x}")], [tag("a-b")]).len(), 1);
        assert_eq!(extended(&[("a:{x}", "b:{x}")], [tag("a:")]).len(), 1, "a placeholder is never empty");
        assert_eq!(extended(&[("user.*", "users")], [tag("user.created")])[1..], ["users"]);
        let many = "y".repeat(250);
        assert_eq!(extended(&[("{a}{b}{c}{d}{e}y", "f:{a}")], [tag(&many)])[1..], ["f:*"]);
    }

    #[test]
    fn nothing_is_derived_from_a_route_a_credential_or_everything() {
        let all = [("{x}", "x"), ("/{rest:path}", "y")];
        assert_eq!(extended(&all, [Item::Tag(Tag::route("/a"))]).len(), 1);
        assert_eq!(extended(&all, [Item::All]), ["everything"]);
        assert_eq!(extended(&all, [path("/")])[1..], ["y", "x"]);
    }

    #[test]
    fn consequences_without_end_outdate_everything() {
        let mut reach = Reach::of([Tag::named("a:1")]);
        let growing = dependencies(&[("a:{x}", "a:{x}0 a:{x}1")]);
        assert_eq!(growing.extend(&mut reach), Followed::TooMany);
        assert_eq!(reach.items, [tag("a:1"), Item::All]);
    }

    #[test]
    fn a_cycle_is_told_in_its_order() {
        let cycle = |edges: &[(&str, &str)]| dependencies(edges).cycle();
        assert_eq!(cycle(PROJECTS), None);
        assert_eq!(cycle(&[("a:{x}", "b:{x}"), ("b:{x}", "c")]), None);
        assert_eq!(cycle(&[("x", "a"), ("a", "b c"), ("c", "d"), ("b", "d")]), None, "two ways are no cycle");
        let told = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(cycle(&[("a", "a")]), told(&["a"]));
        assert_eq!(
            cycle(&[("x", "b:1"), ("c", "b:{y}"), ("b:{x}", "c:{x} c"), ("d", "x")]),
            told(&["b:{x}", "c"])
        );
        assert_eq!(
            cycle(&[("a:{x}", "/p/{x}"), ("/p/{id}", "a:{id}")]),
            told(&["a:{x}", "/p/{id}"]),
            "tags and paths alike"
        );
        assert_eq!(cycle(&[("a:{x}", "a:{x}:sum")]), told(&["a:{x}"]), "a placeholder may hold anything");
    }

    /// Words over an alphabet so small that they meet.
    fn word() -> impl Strategy<Value = String> {
        let tag = "(a|b|\\{x\\}|\\{y\\}|\\*){1,3}";
        let path = "(/(a|b|\\{x\\})){1}(/(a|b|\\{y\\})){0,1}(/\\{z:path\\}){0,1}";
        prop_oneof![tag, path]
    }

    fn edges() -> impl Strategy<Value = Vec<(String, Vec<String>)>> {
        prop::collection::vec((word(), prop::collection::vec(word(), 1..3)), 1..4)
    }

    fn built(edges: &[(String, Vec<String>)]) -> Dependencies {
        let parse = |word: &String| ItemTemplate::parse(word).unwrap();
        Dependencies::new(
            edges
                .iter()
                .map(|(source, derived)| (parse(source), derived.iter().map(parse).collect()))
                .collect(),
        )
    }

    fn exact() -> impl Strategy<Value = Tag> {
        prop_oneof![
            "[ab]{1,3}".prop_map(|name| Tag::named(&name)),
            "(/[ab]){0,3}".prop_map(|path| Tag::path("h", &path)),
        ]
    }

    /// One of the ways to say more than `tag`.
    fn wider(tag: &Tag, which: usize) -> Item {
        let Some((host, path)) = tag.host_and_path() else {
            let (first, last) = (&tag.as_str()[..1], &tag.as_str()[tag.as_str().len() - 1..]);
            let text = ["*".to_owned(), format!("{first}*"), format!("*{last}"), tag.to_string()];
            return Item::Tags(Gaps::parse(&text[which]));
        };
        let segments = vec![None; path.matches('/').count()];
        let paths = match which {
            0 => Paths::one(path),
            1 => Paths::below("/"),
            2 => Paths::Glob(Gaps::parse("/*")),
            _ => Paths::Like { segments, rest: true },
        };
        Item::Paths { host: Some(host.into()), paths }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn what_is_reached_is_closed_and_holds_the_cause(edges in edges(), tag in exact()) {
            let built = built(&edges);
            let mut reach = Reach::of([tag.clone()]);
            let followed = built.extend(&mut reach);
            prop_assert!(reach.covers(&tag));
            prop_assert!(followed == Followed::All || reach.items.contains(&Item::All));
            if followed == Followed::All {
                let all: HashSet<&Item> = reach.items.iter().collect();
                for item in &reach.items {
                    for derived in built.derived(item) {
                        prop_assert!(all.contains(&derived), "{} of {}", derived, item);
                    }
                }
            }
        }

        /// Whoever outdates more outdates what follows from it, whichever way it is said.
        #[test]
        fn a_wider_cause_reaches_all_that_a_narrower_one_does(edges in edges(), tag in exact(), which in 0..4usize) {
            let built = built(&edges);
            // The configuration refuses a cycle; one only takes the time that `MAX_DERIVED` allows it.
            if built.cycle().is_none() {
                let wide = wider(&tag, which);
                prop_assert!(wide.covers(&tag), "{} of {}", wide, tag);
                let (mut narrow, mut reach) = (Reach::of([tag]), Reach { items: vec![wide] });
                prop_assert_eq!(built.extend(&mut narrow), Followed::All);
                built.extend(&mut reach);
                for item in &narrow.items {
                    if let Item::Tag(tag) = item {
                        prop_assert!(reach.covers(tag), "{} not in {:?}", tag, reach.items);
                    }
                }
            }
        }

        /// A source read as text: put together with its bindings it is the tag again.
        #[test]
        fn a_binding_makes_the_tag_out_of_its_source(source in "(a|b|\\{x\\}|\\{y\\}){1,4}", name in "[ab]{1,5}") {
            let text = Text::parse(&source).unwrap();
            let gaps = as_gaps(&text);
            let found = in_tag(&text, &Tag::named(&name));
            for binding in &found {
                prop_assert_eq!(text.render(binding), crate::route::tag::Rendered::Known(vec![name.clone()]));
            }
            prop_assert!(found.is_empty() || gaps.matches(&name));
        }
    }
}
