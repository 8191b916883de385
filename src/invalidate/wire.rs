//! A record as the fleet's journal holds it: JSON with a version, so that nodes of different builds read each other. Pure.
//!
//! Invariant: whoever cannot read all of a record reads that everything is outdated. What is derived from an invalidation
//! travels with it, and every node adds what its own rules derive: the rules of two nodes may differ for a while.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault::{self, Fault};
use crate::invalidate::Settings;
use crate::invalidate::invalidation::Invalidation;
use crate::invalidate::raw::Raw;
use crate::invalidate::record::{Cause, Record};
use crate::invalidate::{Source, batch};
use crate::route::derive::Dependencies;
use crate::route::reach::{Item, Reach};
use crate::store::author::Author;
use crate::store::position::{Hold, Mode, Outdate};

/// What this build writes, and the only one that it reads.
const VERSION: u32 = 2;

/// Which of a node's records it is, for whoever waits for it there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::invalidate) struct Name {
    /// The process.
    pub(in crate::invalidate) by: u64,
    /// Its own count.
    pub(in crate::invalidate) count: u64,
}

/// A record on the wire.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    v: u32,
    name: Name,
    /// Under which secret credentials were digested.
    secret: u64,
    /// Of the sender's rules for what happened.
    rules: u64,
    mode: Mode,
    hold: Hold,
    author: Option<Author>,
    causes: Vec<Told>,
}

/// One invalidation of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    source: Source,
    actor: String,
    id: Option<String>,
    /// What was asked for.
    asked: Reach,
    /// What the sender's rules derived from that.
    derived: Reach,
    /// Whether nothing is to be derived.
    without_derived: bool,
    /// What happened.
    raw: Option<Raw>,
}

impl Envelope {
    fn is_about_credentials(&self) -> bool {
        let mut items =
            self.causes.iter().flat_map(|told| told.asked.items.iter().chain(&told.derived.items));
        matches!(self.author, Some(Author::Credential(_))) && self.mode == Mode::Soft
            || items.any(|item| matches!(item, Item::Tag(tag) if tag.is_of_credential()))
    }
}

/// What a node writes and reads records by.
#[derive(Clone, Copy)]
pub(in crate::invalidate) struct Ours<'a> {
    pub(in crate::invalidate) settings: &'a Settings,
    /// Of its rules for what happened.
    pub(in crate::invalidate) rules: u64,
    /// Of that under which it digests credentials.
    pub(in crate::invalidate) secret: u64,
}

/// Writes a record down; what is larger than any journal takes, first without the data of events, and then as one that
/// outdates everything.
pub(in crate::invalidate) fn write_within(
    record: &Record,
    name: &Name,
    ours: Ours<'_>,
    most: usize,
) -> Result<Vec<u8>, TooLarge> {
    let whole = write(record, name.clone(), ours, Raw::clone);
    if whole.len() <= most {
        return Ok(whole);
    }
    let short = write(record, name.clone(), ours, Raw::in_short);
    if short.len() <= most {
        return Ok(short);
    }
    Err(TooLarge {
        bytes: short.len(),
        everything: write_everything(name.clone(), ours, record.outdate.hold),
    })
}

/// A record that no journal takes.
pub(in crate::invalidate) struct TooLarge {
    /// How large it is.
    pub(in crate::invalidate) bytes: usize,
    /// What stands in its stead.
    pub(in crate::invalidate) everything: Vec<u8>,
}

fn write(record: &Record, name: Name, ours: Ours<'_>, told_of: impl Fn(&Raw) -> Raw) -> Vec<u8> {
    let Outdate { mode, hold, author, .. } = record.outdate;
    let told = |Cause { invalidation, asked, .. }: &Cause| {
        let (asked, derived) =
            invalidation.reach.items.split_at((*asked).min(invalidation.reach.items.len()));
        Told {
            source: invalidation.source,
            actor: invalidation.actor.clone(),
            id: invalidation.id.clone(),
            asked: Reach { items: asked.to_vec() },
            derived: Reach { items: derived.to_vec() },
            without_derived: invalidation.without_derived,
            raw: invalidation.raw.as_ref().map(&told_of),
        }
    };
    let causes = record.causes.iter().map(told).collect();
    let Ours { rules, secret, .. } = ours;
    let envelope = Envelope { v: VERSION, name, secret, rules, mode, hold, author, causes };
    serde_json::to_vec(&envelope).unwrap_or_default()
}

/// What stands for one that is larger than any journal takes: that everything is outdated.
pub(in crate::invalidate) fn everything(hold: Hold) -> Record {
    let invalidation = Invalidation {
        reach: Reach::all(),
        hold,
        source: Source::Gap,
        actor: String::from("more than a record of the fleet may hold"),
        without_derived: true,
        ..Invalidation::default()
    };
    let outdate = Outdate { reach: Reach::all(), hold, ..Outdate::default() };
    Record { causes: vec![invalidation.followed(&Dependencies::default())], outdate }
}

/// The same, written down.
pub(in crate::invalidate) fn write_everything(name: Name, ours: Ours<'_>, hold: Hold) -> Vec<u8> {
    write(&everything(hold), name, ours, Raw::clone)
}

/// For how long nothing is stored after a record that does not even tell that: as long as a write may be on its way, as most
/// are set up.
const UNREAD: Duration = Duration::from_secs(60);

/// What is read of a record that is not understood.
#[derive(Deserialize)]
struct Held {
    hold: Hold,
}

/// Reads a record and its name, and adds what the rules of this node derive: from what is outdated, and, where they are others than
/// the sender's, from what happened.
///
/// # Errors
/// The record that outdates everything, and why this one could not be read.
pub(in crate::invalidate) fn read(bytes: &[u8], ours: Ours<'_>) -> Result<(Name, Record), (Record, String)> {
    let Ours { settings, rules, secret } = ours;
    let dependencies = &settings.dependencies;
    let unread = |why: String| {
        // Whatever else it says: what it may be about is not stored for as long as its sender wants.
        let hold = serde_json::from_slice::<Held>(bytes).map_or(Hold::For(UNREAD), |known| known.hold);
        let invalidation = Invalidation {
            reach: Reach::all(),
            hold,
            source: Source::Gap,
            actor: String::from("a record of the fleet that this build does not understand"),
            ..Invalidation::default()
        };
        let outdate = Outdate { reach: Reach::all(), hold, ..Outdate::default() };
        (Record { causes: vec![invalidation.followed(dependencies)], outdate }, why)
    };
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(|why| unread(why.to_string()))?;
    if envelope.v != VERSION {
        return Err(unread(format!("it is of version {}, this build reads {VERSION}", envelope.v)));
    }
    if envelope.secret != secret && envelope.is_about_credentials() {
        let why = "it names credentials under another secret: give all nodes one `identity.secret`, and the same credentials";
        return Err(unread(why.to_owned()));
    }
    let differs = envelope.rules != rules;
    let Envelope { name, mode, hold, author, causes, .. } = envelope;
    let heard = |told: Told| {
        let Told { source, actor, id, asked, derived, without_derived, raw } = told;
        let (count, mut reach, mut alone) = (asked.items.len(), asked, derived);
        let expand = |raw: &Raw| raw.expanded(settings, author);
        if let (true, Some(raw)) = (fault::is(Fault::OwnExpansionOnly), &raw) {
            (reach, alone) = (expand(raw), Reach::default());
        }
        let own = raw.as_ref().filter(|_| differs).map(expand).unwrap_or_default();
        own.items.into_iter().for_each(|item| alone.add(item));
        let known =
            Invalidation { reach, alone, mode, hold, without_derived, source, actor, id, author, raw };
        Cause { asked: count, ..known.followed(dependencies) }
    };
    let causes: Vec<Cause> = causes.into_iter().map(heard).collect();
    let reach = batch::merged(&causes);
    Ok((name, Record { causes, outdate: Outdate { reach, mode, hold, author } }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::reach::{Gaps, Item, Paths};
    use crate::route::tag::Tag;
    use proptest::prelude::*;

    fn item() -> impl Strategy<Value = Item> {
        let gaps = || prop::collection::vec(".{0,6}", 1..3).prop_map(Gaps::new);
        let segment = prop::option::of(gaps());
        let paths = prop_oneof![
            ".{0,12}".prop_map(Paths::One),
            ".{0,12}".prop_map(Paths::Below),
            gaps().prop_map(Paths::Glob),
            (prop::collection::vec(segment, 0..3), any::<bool>())
                .prop_map(|(segments, rest)| Paths::Like { segments, rest }),
        ];
        let host = prop::option::of(".{1,8}".prop_map(|host| host.as_str().into()));
        prop_oneof![
            Just(Item::All),
            ".{1,12}".prop_map(|name| Item::Tag(Tag::named(&name))),
            ("[a-z]{1,8}", "(/.{0,4}){0,3}").prop_map(|(host, path)| Item::Tag(Tag::path(&host, &path))),
            gaps().prop_map(Item::Tags),
            (host, paths).prop_map(|(host, paths)| Item::Paths { host, paths }),
        ]
    }

    fn hold() -> impl Strategy<Value = Hold> {
        let period = any::<Duration>().prop_map(Hold::For);
        prop_oneof![Just(Hold::None), Just(Hold::Settle), period]
    }

    fn author() -> impl Strategy<Value = Option<Author>> {
        let who = prop_oneof![
            any::<[u8; 16]>().prop_map(|digest| Author::Credential(digest.into())),
            any::<std::net::IpAddr>().prop_map(Author::Address),
        ];
        prop::option::of(who)
    }

    #[test]
    fn credentials_under_another_secret_are_nobody_known_so_everything_goes() {
        let tag = |tag| Reach::of([tag]);
        let digest = crate::route::identity::Digest::from([1; 16]);
        let plain = tag(Tag::named("a:1"));
        for (reach, mode, is_read) in [
            (plain.clone(), Mode::Hard, true),
            (plain, Mode::Soft, false),
            (tag(Tag::credential(&digest)), Mode::Hard, false),
        ] {
            let author = Some(Author::Credential(digest));
            let invalidation = Invalidation { reach: reach.clone(), mode, author, ..Invalidation::default() };
            let cause = Cause { invalidation, asked: 1, ..Cause::default() };
            let outdate = Outdate { reach, mode, author, ..Outdate::default() };
            let settings = Settings::default();
            let of = |secret| Ours { settings: &settings, rules: 0, secret };
            let record = Record { causes: vec![cause], outdate };
            let bytes = write(&record, Name { by: 1, count: 1 }, of(7), Raw::clone);
            assert!(read(&bytes, of(7)).is_ok());
            let elsewhere = read(&bytes, of(8));
            assert_eq!(elsewhere.is_ok(), is_read);
            let everything = |(record, _): &(Record, String)| record.outdate.reach == Reach::all();
            assert!(elsewhere.as_ref().err().is_none_or(everything));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_by_another_node_as_it_was(
            (asked, derived) in (prop::collection::vec(item(), 0..5), prop::collection::vec(item(), 0..5)),
            (hold, author, soft) in (hold(), author(), any::<bool>()),
            (actor, id) in (".{0,20}", prop::option::of(".{0,20}")),
            (by, count) in any::<(u64, u64)>(),
        ) {
            let mode = if soft { Mode::Soft } else { Mode::Hard };
            let items = asked.iter().chain(&derived).cloned().collect();
            let reach = Reach { items };
            let invalidation = Invalidation {
                reach: reach.clone(), mode, hold, author, actor, id, source: Source::Redis, ..Invalidation::default()
            };
            let cause = Cause { invalidation, asked: asked.len(), ..Cause::default() };
            let record = Record { causes: vec![cause], outdate: Outdate { reach, mode, hold, author } };
            let settings = Settings::default();
            let ours = Ours { settings: &settings, rules: 0, secret: 7 };
            let bytes = write(&record, Name { by, count }, ours, Raw::clone);
            let (name, read) = read(&bytes, ours).unwrap();
            prop_assert_eq!(name, Name { by, count });
            prop_assert_eq!((read.outdate.mode, read.outdate.hold, read.outdate.author), (mode, hold, author));
            let is_whole = record.outdate.reach.items.contains(&Item::All);
            for item in &record.outdate.reach.items {
                prop_assert!(is_whole || read.outdate.reach.items.contains(item));
            }
            prop_assert!(!is_whole || read.outdate.reach == Reach::all());
            let (told, said) = (&read.causes[0].invalidation, &record.causes[0].invalidation);
            prop_assert_eq!((&told.actor, &told.id, told.source), (&said.actor, &said.id, said.source));
            prop_assert_eq!(&told.reach.items[..read.causes[0].asked], &asked[..]);
        }
    }
}
