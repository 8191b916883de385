//! The YAML document as a tree of nodes that know their place.
//!
//! The one file of the configuration that knows the YAML library. Scalars are kept as they are written (`007`, `1.10`, `yes`): what a
//! value means is decided by the key that asks for it. Invariant: no tags, no duplicate keys, a bounded number of
//! nodes after aliases are expanded. It refuses to know any key of the grammar.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location, Spanned, Tagged};

use crate::config::problem::{Place, Problem};
use crate::config::trap;

/// Most nodes a document may hold, aliases expanded.
const MAX_NODES: usize = 100_000;
/// Deepest nesting.
const MAX_DEPTH: usize = 32;
/// Largest document, in bytes.
pub(in crate::config) const MAX_BYTES: usize = 4 << 20;

/// One value of the document.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it stands; an alias stands where its anchor is.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Nothing, `~` or `null`, unquoted.
    Null,
    /// A scalar as it is written, without its quotes.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file, merge keys applied.
    Map(Vec<(Key, Node)>),
}

/// One key of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// As it is written, without its quotes.
    pub(crate) text: String,
    /// Where it stands.
    pub(crate) place: Place,
}

impl Node {
    /// What the node is, in words, for "… is wanted, this is …".
    pub(crate) fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }
}

/// Reads one document.
///
/// # Errors
/// What YAML itself refuses (one problem), else every tag and every placeholder that YAML took for a mapping.
pub(crate) fn parse(source: &str) -> Result<Node, Vec<Problem>> {
    if source.len() > MAX_BYTES {
        return Err(vec![Problem::general(format!("the file is larger than {} MiB", MAX_BYTES >> 20))]);
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 3 * MAX_NODES,
            max_total_scalar_bytes: 2 * MAX_BYTES,
        },
    };
    let raw = serde_saphyr::from_str_with_options::<RawNode>(source, options)
        .map_err(|error| vec![yaml_problem(source, &error)])?;
    let mut composer = Composer { source, problems: Vec::new() };
    let node = composer.node(raw, true);
    if composer.problems.is_empty() { Ok(node) } else { Err(composer.problems) }
}

/// A node as the library hands it out: place, tag, then the shape.
type RawNode = Spanned<Tagged<Raw>>;

enum Raw {
    /// A plain scalar that the library typed; its text is in the source.
    Plain,
    Text(String),
    List(Vec<RawNode>),
    Map(Vec<(Spanned<String>, RawNode)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

/// Turns raw nodes into ours and collects what is refused on the way.
struct Composer<'a> {
    source: &'a str,
    problems: Vec<Problem>,
}

impl Composer<'_> {
    fn node(&mut self, raw: RawNode, root: bool) -> Node {
        let place = place_of(raw.defined);
        let Tagged(shape, tag) = raw.value;
        if let Some(tag) = tag {
            let written = tag.replace("tag:yaml.org,2002:", "!!");
            let tagged = self.begin_at_tag(place);
            self.problems.push(
                Problem::at(tagged, format!("the YAML tag `{written}` is not read"))
                    .hint("leave the tag out; quote the value if it is text that begins with `!`"),
            );
        }
        let kind = match shape {
            Raw::Plain => self.plain(place),
            Raw::Text(text) => Kind::Text(text),
            Raw::List(items) => Kind::List(items.into_iter().map(|item| self.node(item, false)).collect()),
            Raw::Map(entries) => self.map(place, entries, root),
        };
        Node { place, kind }
    }

    /// The place of a tagged value from its tag on, where both stand on one line.
    fn begin_at_tag(&self, place: Place) -> Place {
        let line = self.source[..place.start].rfind('\n').map_or(0, |at| at + 1);
        let before = &self.source[line..place.start];
        let Some(at) = before.rfind(" !").map(|at| at + 1).or(before.starts_with('!').then_some(0)) else {
            return place;
        };
        let column = u32::try_from(before[..at].chars().count() + 1).unwrap_or(place.column);
        Place { column, start: line + at, ..place }
    }

    fn plain(&self, place: Place) -> Kind {
        match self.source.get(place.start..place.end).unwrap_or_default() {
            "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
            text => Kind::Text(text.to_owned()),
        }
    }

    fn map(&mut self, place: Place, entries: Vec<(Spanned<String>, RawNode)>, root: bool) -> Kind {
        let in_flow = self.source.get(place.start..place.end) == Some("{");
        let mut map = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = Key { place: place_of(key.defined), text: key.value };
            if root && key.text.starts_with("x-") {
                continue;
            }
            let node = self.node(value, false);
            if in_flow && matches!(node.kind, Kind::Null) && node.place.start == node.place.end {
                self.problems.push(trap::bare_key(self.source, place, &key));
            }
            map.push((key, node));
        }
        Kind::Map(map)
    }
}

fn place_of(location: Location) -> Place {
    let span = location.span();
    let start = span.byte_offset().and_then(|at| usize::try_from(at).ok()).unwrap_or_default();
    let len = span.byte_len().and_then(|len| usize::try_from(len).ok()).unwrap_or_default();
    let narrow = |at: u64| u32::try_from(at).unwrap_or(u32::MAX);
    Place { line: narrow(location.line()), column: narrow(location.column()), start, end: start + len }
}

/// The same place with its first byte counted from line and column: the scanner's own errors carry no bytes.
fn sought(source: &str, place: Place) -> Place {
    let lines = source.split_inclusive('\n').take((place.line as usize).saturating_sub(1));
    let begin = lines.map(str::len).sum::<usize>();
    let line = source[begin..].lines().next().unwrap_or_default().trim_start_matches('\u{feff}');
    let begin = begin + source[begin..].find(line).unwrap_or_default();
    let skipped = line.chars().take((place.column as usize).saturating_sub(1)).map(char::len_utf8);
    let start = begin + skipped.sum::<usize>();
    Place { start, end: start + (place.end - place.start), ..place }
}

/// Says in plain words what YAML refused, with the trap's hint where it is one.
fn yaml_problem(source: &str, error: &Error) -> Problem {
    let place = error.location().map(|location| sought(source, place_of(location)));
    let (message, hint) = match error.without_snippet() {
        Error::UnknownAnchor { .. } => return trap::alias(source, place),
        Error::DuplicateMappingKey { key, .. } => {
            let name = key.as_deref().unwrap_or("…");
            (format!("the key `{name}` is here twice"), Some("keep one of them".to_owned()))
        }
        Error::MultipleDocuments { .. } => {
            ("a second YAML document begins here".to_owned(), Some("keep one, without `---`".to_owned()))
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasError { .. } => {
            let limit = format!("the file is too large: at most {MAX_NODES} values, {MAX_DEPTH} levels deep");
            (limit, Some("aliases count each time they are used".to_owned()))
        }
        _ => return trap::syntax(source, place, &plain_words(&error.to_string())),
    };
    let problem =
        place.map_or_else(|| Problem::general(message.clone()), |at| Problem::at(at, message.clone()));
    Problem { hint, ..problem }
}

/// The library's message without the location it appends.
fn plain_words(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(source: &str) -> Kind {
        let Kind::Map(mut map) = parse(source).unwrap().kind else { panic!("no mapping") };
        map.remove(0).1.kind
    }

    fn refusal(source: &str) -> Problem {
        parse(source).unwrap_err().remove(0)
    }

    #[test]
    fn scalars_are_kept_as_they_are_written() {
        for text in ["007", "1.10", "yes", "0x1F", "1e999", "1_000", "true", "8080:80", "12e03", ".5", "-0"] {
            assert!(matches!(value(&format!("a: {text}\n")), Kind::Text(kept) if kept == text), "{text}");
            assert!(matches!(value(&format!("a: '{text}'\r\n")), Kind::Text(kept) if kept == text), "{text}");
        }
    }

    #[test]
    fn quoted_null_and_empty_are_text_and_unquoted_are_nothing() {
        for text in ["", "~", "null"] {
            assert!(matches!(value(&format!("a: {text}\n")), Kind::Null), "{text}");
            assert!(matches!(value(&format!("a: \"{text}\"\n")), Kind::Text(kept) if kept == text), "{text}");
        }
    }

    #[test]
    fn anchors_and_merge_keys_work_and_x_keys_are_ignored() {
        let tree = parse("x-base: &base\n  ttl: 1h\nr:\n  <<: *base\n  scope: user\n").unwrap();
        let Kind::Map(map) = tree.kind else { panic!("no mapping") };
        assert_eq!(map.len(), 1, "x-base is ignored");
        let Kind::Map(route) = &map[0].1.kind else { panic!("no mapping") };
        let names: Vec<_> = route.iter().map(|(key, _)| key.text.as_str()).collect();
        assert_eq!(names, ["scope", "ttl"]);
        assert_eq!(route[1].0.place.line, 2, "what was merged stands where it was written");
    }

    #[test]
    fn places_count_characters_and_spans_count_bytes() {
        let tree = parse("é: {ü: 7}\n").unwrap();
        let Kind::Map(map) = tree.kind else { panic!("no mapping") };
        let Kind::Map(inner) = &map[0].1.kind else { panic!("no mapping") };
        let place = inner[0].1.place;
        assert_eq!((place.line, place.column, place.start, place.end), (1, 8, 9, 10));
    }

    #[test]
    fn tags_are_refused_wherever_they_stand() {
        for source in [
            "a: !x 1\n",
            "a: !!str 1\n",
            "a: [!x b]\n",
            "a: !include f\n",
            "a: !!binary aGk=\n",
            "!x {a: 1}\n",
        ] {
            assert!(refusal(source).message.contains("tag"), "{source}: {}", refusal(source).message);
        }
    }

    #[test]
    fn a_key_that_is_here_twice_is_refused_at_its_second_place() {
        let problem = refusal("r:\n  /x: 1\n  /x: 2\n");
        assert_eq!(problem.message, "the key `/x` is here twice");
        assert_eq!(problem.place().map(|at| at.line), Some(3));
    }

    #[test]
    fn a_yaml_bomb_is_refused_before_it_grows() {
        let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for pair in "abcdefghi".as_bytes().windows(2) {
            let (of, name) = (pair[0] as char, pair[1] as char);
            bomb += &format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(", "));
        }
        assert!(refusal(&bomb).message.contains("too large"), "{}", refusal(&bomb).message);
        let deep = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
        assert!(refusal(&deep).message.contains("too large"), "{}", refusal(&deep).message);
    }

    #[test]
    fn a_second_document_is_refused() {
        assert!(refusal("a: 1\n---\nb: 2\n").message.contains("second YAML document"));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_key() {
        let Kind::Map(map) = parse("\u{feff}a: 1\n").unwrap().kind else { panic!("no mapping") };
        assert_eq!(map[0].0.text, "a");
    }
}
