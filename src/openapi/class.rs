//! What kind of read an operation is, by its path and what it gives.
//!
//! Invariant: what could be somebody's session, an endless stream or another answer each time is never kept. Which keys a class
//! has, presets of the configuration say.

use std::fmt;

use crate::openapi::document::Document;
use crate::openapi::entity::Entities;
use crate::openapi::noun;
use crate::openapi::operation::{Credential, Operation, Resource};
use crate::openapi::schema::{Shown, words_of};
use crate::openapi::words;

/// What a read is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One thing by its key.
    Detail,
    /// A list of things.
    List,
    /// A file made of them.
    Export,
    /// Search results.
    Search,
    /// Figures.
    Stats,
    /// Everything at a glance.
    Dashboard,
    /// The state of work that goes on.
    Job,
    /// What nothing in the document writes, and seldom changes.
    Reference,
    /// Not kept; the reason in words.
    Bypass(&'static str),
}

impl Class {
    /// The preset of the configuration; `None`: none is kept.
    pub fn preset(self) -> Option<&'static str> {
        Some(match self {
            Self::Detail => "crud-detail",
            Self::List => "crud-list",
            Self::Export => "export",
            Self::Search => "search",
            Self::Stats => "stats",
            Self::Dashboard => "dashboard",
            Self::Job => "job-status",
            Self::Reference => "reference-data",
            Self::Bypass(_) => return None,
        })
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.preset().unwrap_or("bypass"))
    }
}

/// Whether a word of a path says what is done, and not what is kept.
pub(crate) fn is_special(word: &str) -> bool {
    let lists: [&[&str]; 9] = [
        &words::AUTH,
        &words::SELF,
        &words::HEALTH,
        &words::STREAM,
        &words::VOLATILE,
        &words::SEARCH,
        &words::DASHBOARD,
        &words::STATS,
        &["static", "assets", "api"],
    ];
    lists.iter().any(|list| list.contains(&word))
}

/// Whether the path is about who somebody is.
pub(crate) fn is_auth(resource: &Resource<'_>) -> bool {
    resource.shape.literals.iter().any(|word| is_auth_word(word))
}

/// Whether a word is. A collection of that name, as of push tokens, is none the less nothing to keep for half an hour.
pub(crate) fn is_auth_word(word: &str) -> bool {
    words::AUTH.contains(&word) || ["tokens", "api-keys", "credentials", "secrets"].contains(&word)
}

/// The class of a read.
pub(crate) fn of(
    resource: &Resource<'_>,
    read: &Operation<'_>,
    entities: &Entities,
    document: &Document,
    shown: &Shown<'_>,
) -> Class {
    let shape = &resource.shape;
    let last = shape.last().unwrap_or_default();
    let is = |words: &[&str]| words.contains(&last);
    if let Some(why) = unkept(resource, read, last) {
        return Class::Bypass(why);
    }
    if shape.template.segments.is_empty() {
        return Class::Bypass("the front page says little worth keeping");
    }
    let about = shape.nodes.last().map(|node| node.word.as_str()).filter(|_| shape.tail.is_empty());
    let says = |list: &[&str]| {
        is(list)
            || about
                .is_some_and(|word| list.contains(&word) && entities.named(&noun::singular(word)).is_none())
    };
    if is_file(read)
        || is_file_name(last)
        || says(&words::EXPORT) && !is_job(resource, entities, document, shown) && shown.list().is_none()
    {
        return Class::Export;
    }
    if says(&words::SEARCH) {
        return Class::Search;
    }
    if is(&words::DASHBOARD) {
        return Class::Dashboard;
    }
    if says(&words::STATS)
        || last
            .split('-')
            .any(|word| ["stats", "statistics", "summary", "count", "analytics"].contains(&word))
    {
        return Class::Stats;
    }
    if is_job(resource, entities, document, shown) {
        return match shape.tail.is_empty() || last == "status" {
            true => Class::Job,
            false => Class::Bypass("the states in it change by themselves"),
        };
    }
    if is_reference(resource, entities) {
        return Class::Reference;
    }
    let lists = match shape.tail.is_empty() {
        true => shown.is_array || shown.list().is_some() && !has_key(resource, entities, shown),
        false => shown.is_list(noun::is_plural(last)) || !shown.is_known() && noun::is_plural(last),
    };
    if lists { Class::List } else { Class::Detail }
}

/// Whether what is given is the one that the path chooses, and not a list that it chooses.
fn has_key(resource: &Resource<'_>, entities: &Entities, shown: &Shown<'_>) -> bool {
    let chosen = resource.shape.nodes.last().and_then(|node| entities.of_node(node));
    chosen.zip(shown.objects.first()).is_some_and(|(id, root)| entities.key_in(id, root).is_some())
}

/// Why a read is not kept.
fn unkept(resource: &Resource<'_>, read: &Operation<'_>, last: &str) -> Option<&'static str> {
    let is = |words: &[&str]| words.contains(&last);
    let ends_here =
        |words: &[&str]| is(words) && (resource.shape.nodes.is_empty() || !words::STATS.contains(&last));
    if is_auth(resource) {
        return Some("it is about who somebody is");
    }
    if is(&words::SELF) && !matches!(last, "current") {
        return Some("it is whose session this is");
    }
    if ends_here(&words::HEALTH) {
        return Some("it is how the process is just now");
    }
    if read.credentials.contains(&Credential::Query) {
        return Some("a credential stands in the query");
    }
    if read.kinds.iter().any(|kind| is_stream(kind))
        || resource.shape.literals.iter().any(|word| words::STREAM.contains(&word.as_str()))
    {
        return Some("it is a stream or a file of any size");
    }
    let acts = |word: &String| word.split('-').next().is_some_and(|word| words::ACTING.contains(&word));
    if resource.shape.literals.iter().any(acts) {
        return Some("it sounds like a GET that does something");
    }
    if is(&words::VOLATILE) {
        return Some("it is another answer each time");
    }
    if read.kinds.contains(&"text/html") {
        return Some("it is a page, and pages often are somebody's own");
    }
    let has_answer = read.statuses.is_empty()
        || read.statuses.iter().any(|status| (200..204).contains(status) || *status == 299);
    if !has_answer {
        return Some("it gives no body");
    }
    resource.shape.template.rest.is_some().then_some("it is a stream or a file of any size")
}

fn is_stream(kind: &str) -> bool {
    [
        "text/event-stream",
        "application/octet-stream",
        "application/x-ndjson",
        "application/stream+json",
        "multipart/x-mixed-replace",
    ]
    .contains(&kind)
        || ["video/", "audio/", "image/"].iter().any(|begin| kind.starts_with(begin))
}

fn is_file(read: &Operation<'_>) -> bool {
    let is_one = |kind: &&str| {
        ["csv", "pdf", "zip", "excel", "spreadsheet", "gzip", "calendar", "parquet", "rss", "atom"]
            .iter()
            .any(|word| kind.contains(word))
    };
    !read.kinds.is_empty() && read.kinds.iter().any(is_one)
}

/// `transcript-pdf` of `transcript.pdf`.
fn is_file_name(last: &str) -> bool {
    last.rsplit_once('-').is_some_and(|(_, end)| words::FILES.contains(&end))
}

/// Whether it shows how work goes on.
fn is_job(resource: &Resource<'_>, entities: &Entities, document: &Document, shown: &Shown<'_>) -> bool {
    let shape = &resource.shape;
    let object = shown.list().or_else(|| shown.root());
    let state =
        object.and_then(|object| object.fields.iter().find(|(name, _)| ["status", "state"].contains(name)));
    let has = |list: &[&str], said: &[String]| said.iter().any(|word| list.contains(&word.as_str()));
    let owner = shape.nodes.last().map(|node| node.noun.clone());
    let noun = match shape.tail.last().map(String::as_str) {
        None => owner,
        Some("status") => return !shape.nodes.is_empty() && (state.is_some() || !shown.is_known()),
        Some(_) => entities.collection(shape).map(|id| entities.get(id).noun.clone()),
    };
    let by_name = noun.as_deref().is_some_and(|noun| {
        words::JOB.contains(&noun) || words::JOB.iter().any(|job| noun.ends_with(&format!("-{job}")))
    });
    let Some((_, schema)) = state else { return by_name && !shown.is_known() };
    let said = words_of(schema, document);
    if said.is_empty() { by_name } else { has(&words::RUNNING, &said) && has(&words::FAILED, &said) }
}

/// Whether nothing writes it, and its name is that of what seldom changes.
fn is_reference(resource: &Resource<'_>, entities: &Entities) -> bool {
    let shape = &resource.shape;
    let noun = match shape.tail.last() {
        Some(word) => noun::singular(word),
        None => shape.nodes.last().map(|node| node.noun.clone()).unwrap_or_default(),
    };
    let is_written = entities.named(&noun).is_some_and(|id| entities.get(id).is_written);
    let is_own = shape.tail.is_empty() || shape.nodes.is_empty() || entities.named(&noun).is_some();
    let is_one = words::REFERENCE.contains(&noun.as_str())
        || words::REFERENCE.iter().any(|word| {
            noun.ends_with(&format!("-{word}"))
                && !matches!(*word, "status" | "state" | "type" | "config" | "model")
        });
    is_one && is_own && !is_written && resource.writes.is_empty()
}
