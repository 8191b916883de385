//! The templates as a tree of segments, and the walk from a path to the one that fits best.
//!
//! In one place a literal is tried before a parameter with text around it (the longest text first), that before a
//! bare parameter, that before a catch-all; a dead end is walked back from. So every set of templates has one
//! order, and a walk visits each node at most once. What a template stands for is a number here.
//!
//! matchit is not used: it holds a parameter *or* a catch-all in one place, and does not walk back out of
//! `{x}.json` (`/a.json/b` falls through `/{x}.json` and `/{*rest}`); the property test below covers both.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::route::pattern::{Segment, Template};

/// What stood in the braces, from left to right.
pub(crate) type Values<'p> = SmallVec<[&'p str; 4]>;

/// One place in the tree: what may follow the slash that leads to it.
#[derive(Debug, Default)]
pub(crate) struct Node {
    literals: BTreeMap<String, Node>,
    /// Longest text first.
    affixed: Vec<Affixed>,
    parameter: Option<Box<Node>>,
    rest: Option<usize>,
    /// The template that ends here, with or without a slash.
    end: Option<usize>,
}

#[derive(Debug)]
struct Affixed {
    before: String,
    after: String,
    node: Node,
}

impl Node {
    /// Hangs `template` into the tree as number `index`.
    ///
    /// # Errors
    /// The number of the template that matches the same paths.
    pub(crate) fn insert(&mut self, template: &Template, index: usize) -> Result<(), usize> {
        let last = template.segments.iter().fold(self, Self::child);
        let place = if template.rest.is_some() { &mut last.rest } else { &mut last.end };
        match place {
            Some(owner) => Err(*owner),
            None => {
                *place = Some(index);
                Ok(())
            }
        }
    }

    /// The number of the best template for a decoded path; what stood in its braces is put into `values`.
    pub(crate) fn find<'p>(&self, path: &'p str, values: &mut Values<'p>) -> Option<usize> {
        self.walk(Some(path.strip_prefix('/')?), values)
    }

    fn child(&mut self, segment: &Segment) -> &mut Self {
        match segment {
            Segment::Literal(text) => self.literals.entry(text.clone()).or_default(),
            Segment::Parameter { before, after, .. } if before.is_empty() && after.is_empty() => {
                self.parameter.get_or_insert_default()
            }
            Segment::Parameter { before, after, .. } => self.affixed(before, after),
        }
    }

    fn affixed(&mut self, before: &str, after: &str) -> &mut Self {
        let order = |before: &str, after: &str| (before.len() + after.len(), before.len(), before.to_owned());
        let wanted = order(before, after);
        // Descending, so that the longest comes first.
        let probe = |known: &Affixed| {
            wanted.cmp(&order(&known.before, &known.after)).then_with(|| after.cmp(&known.after))
        };
        let at = self.affixed.binary_search_by(probe).unwrap_or_else(|at| {
            let node = Self::default();
            self.affixed.insert(at, Affixed { before: before.to_owned(), after: after.to_owned(), node });
            at
        });
        &mut self.affixed[at].node
    }

    /// `path` is what follows the slash before this place; `None`: there was no slash.
    fn walk<'p>(&self, path: Option<&'p str>, values: &mut Values<'p>) -> Option<usize> {
        let Some(path) = path else { return self.end };
        if path.is_empty() && self.end.is_some() {
            return self.end;
        }
        let (segment, after) = match memchr::memchr(b'/', path.as_bytes()) {
            Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
            None => (path, None),
        };
        let literal = self.literals.get(segment).and_then(|node| node.walk(after, values));
        let found = literal.or_else(|| {
            let affixed = self.affixed.iter().filter_map(|place| Some((place.value(segment)?, &place.node)));
            let bare = self.parameter.as_deref().map(|node| (segment, node));
            affixed.chain(bare).filter(|(value, _)| !value.is_empty()).find_map(|(value, node)| {
                let depth = values.len();
                values.push(value);
                let found = node.walk(after, values);
                if found.is_none() {
                    values.truncate(depth);
                }
                found
            })
        });
        found.or_else(|| self.rest.inspect(|_| values.push(path)))
    }
}

impl Affixed {
    fn value<'p>(&self, segment: &'p str) -> Option<&'p str> {
        segment.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(templates: &[String]) -> Option<(Node, Vec<Template>)> {
        let mut root = Node::default();
        let parsed: Vec<Template> = templates.iter().map(|text| Template::parse(text).unwrap()).collect();
        for (index, template) in parsed.iter().enumerate() {
            root.insert(template, index).ok()?;
        }
        Some((root, parsed))
    }

    /// How a path meets a template, segment by segment; smaller is better.
    type Rank = Vec<(u8, std::cmp::Reverse<(usize, usize)>)>;

    fn rank(template: &Template, path: &str) -> Option<Rank> {
        let plain = |kind| (kind, std::cmp::Reverse((0, 0)));
        let mut parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let mut rank = Vec::new();
        for segment in &template.segments {
            let part = (!parts.is_empty()).then(|| parts.remove(0))?;
            rank.push(match segment {
                Segment::Literal(text) => (text == part).then_some(plain(0))?,
                Segment::Parameter { before, after, .. } => {
                    let inner = part.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
                    let kind = if before.is_empty() && after.is_empty() { 2 } else { 1 };
                    let text = (before.len() + after.len(), before.len());
                    (!inner.is_empty()).then_some((kind, std::cmp::Reverse(text)))?
                }
            });
        }
        match &template.rest {
            Some(_) => {
                rank.push(plain(3));
                (!parts.is_empty()).then_some(rank)
            }
            None => (parts.is_empty() || parts == [""]).then_some(rank),
        }
    }

    proptest! {
        #[test]
        fn the_best_match_from_the_left_wins(
            shapes in prop::collection::btree_set("(/(a|b|\\{x\\}|\\{x\\}\\.j|b\\{x\\}|b\\{x\\}\\.j)){0,3}(/|/\\{\\*r\\})", 1..8),
            paths in prop::collection::vec("(/(a|b|c|a\\.j|bc|bc\\.j|\\.j)){0,4}/?", 1..12),
        ) {
            let unique = |text: &String| (0..9).fold(text.clone(), |text, n| text.replacen("{x}", &format!("{{x{n}}}"), 1));
            let templates: Vec<String> = shapes.iter().map(unique).collect();
            let (root, parsed) = tree(&templates).expect("a set of shapes holds none twice");
            for path in &paths {
                let ranked = parsed.iter().enumerate().filter_map(|(index, template)| Some((rank(template, path)?, index)));
                let best = ranked.min().map(|(_, index)| index);
                let mut values = Values::new();
                prop_assert_eq!(root.find(path, &mut values), best, "{} among {:?}", path, &templates);
                if let Some(index) = best {
                    prop_assert_eq!(values.len(), parsed[index].names().count());
                }
            }
        }
    }
}
