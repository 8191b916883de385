//! What QUERYs asked with, for whoever holds the answers against the origin: a key has no more of it than a digest.
//!
//! Invariant: nothing is remembered unless somebody wants it, nothing of a credential's, nothing longer than [`LONGEST`], and no
//! more than [`MOST`] and [`MOST_BYTES`] in all; the oldest goes first. Nothing of this is done for a hit. A POST is not repeated
//! by anybody but its client, so what it asked with is not remembered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::request::Parts as Head;
use http::{HeaderMap, Method};

use crate::flow::again::Target;
use crate::flow::content::{self, Content};
use crate::flow::ingress::Named;
use crate::flow::{Client, Flow, Shared, Visit};
use crate::metrics::Cache;
use crate::route::Reads;
use crate::route::content::METADATA;
use crate::route::key::Key;
use crate::route::share::Share;
use crate::store::entry::Entry;

/// Longest question that is remembered, in bytes: key, content and the fields that describe it.
const LONGEST: usize = 16 * 1024;

/// Most questions that are remembered.
const MOST: usize = 4096;

/// Most bytes of them.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// All that are remembered.
#[derive(Default)]
pub(crate) struct Questions(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_key: HashMap<Key, Arc<Question>, ahash::RandomState>,
    /// The oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

struct Question {
    fields: HeaderMap,
    content: Bytes,
    size: usize,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, key: Key, headers: &HeaderMap, content: &[u8]) {
        let described = headers.iter().filter(|(name, _)| METADATA.contains(name));
        let fields: HeaderMap = described.map(|(name, value)| (name.clone(), value.clone())).collect();
        let described: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let size = key.len() + described + content.len();
        let mut known = self.lock();
        if size > LONGEST || known.by_key.contains_key(&*key) {
            return;
        }
        while known.order.len() >= MOST || known.bytes + size > MOST_BYTES {
            let Some(oldest) = known.order.pop_front() else { break };
            known.bytes -= known.by_key.remove(&*oldest).map_or(0, |question| question.size);
        }
        known.bytes += size;
        known.order.push_back(key.clone());
        // A copy: the bytes that came take a place among those of requests under way.
        known
            .by_key
            .insert(key, Arc::new(Question { fields, content: Bytes::copy_from_slice(content), size }));
    }

    fn of(&self, key: &Key) -> Option<Arc<Question>> {
        self.lock().by_key.get(&**key).cloned()
    }
}

impl Visit<'_> {
    /// Notes what a QUERY asked with whose answer was fetched for everybody.
    pub(in crate::flow) fn note_question(&self, head: &Head, share: Share, content: &Content, cache: Cache) {
        let Some(questions) = self.flow.lasting.questions.get() else { return };
        let is_everybodys = share == Share::Shared && cache == Cache::Miss;
        if is_everybodys && head.method.as_str() == "QUERY" {
            let key = self.target.key(share, &head.headers, content.key()).to_key();
            questions.note(key, &head.headers, &content.bytes());
        }
    }
}

impl Flow {
    /// From now on it is remembered what QUERYs ask with. The first call counts.
    pub fn remember_questions(&self) {
        let shared = self.in_force();
        shared.lasting.questions.get_or_init(Questions::default);
    }

    /// Whether it is remembered what was asked with under `key`.
    pub fn remembers(&self, key: &Key) -> bool {
        let shared = self.in_force();
        shared.lasting.questions.get().is_some_and(|questions| questions.lock().by_key.contains_key(&**key))
    }
}

impl Shared {
    /// How what a QUERY fetched is asked for again; `None`: that is not remembered, or it would be another entry.
    pub(in crate::flow) fn question(
        self: &Arc<Self>,
        entry: &Entry,
        client: Client,
    ) -> Option<(Head, Bytes)> {
        let asked = self.lasting.questions.get()?.of(entry.key())?;
        let target = Target::with_content(entry.key(), &entry.selector).filter(|_| entry.part().is_none())?;
        let mut head = target.head();
        head.method = Method::from_bytes(b"QUERY").ok()?;
        head.headers.extend(asked.fields.clone());
        let named = Named::by(&head).ok()?;
        let target = self.target(&named, &client).ok()?;
        let visit = Visit::aside(self, client, &target, &head);
        let settings = &target.route.settings;
        let reads = target.bypass().is_none() && settings.reads(&head.method) == Reads::ByContent;
        let content = content::of(&visit, &head, asked.content.clone()).ok()?;
        let same = *target.key(Share::Shared, &head.headers, content.key()) == **entry.key()
            && self.fits(&entry.selector, &head.headers);
        let is_nobodys = !self.rules.identity.has_credentials(&head.headers);
        (reads && same && is_nobodys).then(|| (head.clone(), content.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::from_bytes(name.as_bytes())
    }

    #[test]
    fn no_more_is_remembered_than_the_limits_and_the_oldest_goes() {
        let questions = Questions::default();
        let (mut headers, content) = (HeaderMap::new(), vec![b'a'; LONGEST / 2]);
        headers.insert("content-type", "application/sql".parse().unwrap());
        headers.insert("x-other", "not of the content".parse().unwrap());
        for number in 0..1000 {
            questions.note(key(&number.to_string()), &headers, &content);
            assert!(questions.lock().bytes <= MOST_BYTES);
        }
        assert!(questions.of(&key("0")).is_none());
        assert_eq!(questions.of(&key("999")).unwrap().fields.len(), 1);
        questions.note(key("long"), &headers, &vec![b'a'; LONGEST]);
        assert!(questions.of(&key("long")).is_none());
        for number in 0..2 * MOST {
            questions.note(key(&format!("small {number}")), &headers, b"");
        }
        let known = questions.lock();
        let sum: usize = known.by_key.values().map(|question| question.size).sum();
        assert_eq!((known.order.len(), known.by_key.len(), known.bytes), (MOST, MOST, sum));
    }
}
