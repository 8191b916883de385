//! What a node of a fleet does with an invalidation: it tells the journal, applies what it reads there in the order of the
//! places, and answers whoever brought it when it holds on every node.
//!
//! ```text
//! brought ─ written down ─ appended ─┬ read here, raised, swept ─┬─ answered: it holds everywhere
//!                                    └ applied by every node, ───┘
//!                                      or the node is shut out
//! ```
//! Under `coherence: broadcast` the others are told and not waited for: it is answered when it is appended, and swept here.
//!
//! Invariant: whatever was brought is appended as long as the process lives, though nobody waits for it any more. What
//! cannot be appended now is applied aside, outside the order: here at least it holds at once.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::fault::{self, Mistake};
use crate::fleet::journal::MAX_RECORD;
use crate::fleet::{Coherence, Fleet, Follower};
use crate::invalidate::applied::{Ack, Applied};
use crate::invalidate::intent::Ends;
use crate::invalidate::operation::{Operation, Progress};
use crate::invalidate::own::{Brought, Then};
use crate::invalidate::raw::Raw;
use crate::invalidate::record::Record;
use crate::invalidate::wire::{self, Name, Ours};
use crate::invalidate::{Invalidation, Invalidator, Ruled, Source, Writer, batch};
use crate::redis::backoff;
use crate::store;
use crate::store::position::{Hold, Position};
use crate::store::promote::Aside;
use crate::store::ticket::FillTicket;

/// Attempts at the end of which whoever brought a record is told that nothing is certain.
const ATTEMPTS: u32 = 2;

/// What keeps away all that other nodes tell, from when a record is set aside here until it is applied at its place: both who brings
/// it and who applies it have one of these.
type Held = Arc<OnceLock<Aside>>;

/// Nobody knows whether it holds everywhere.
#[derive(Debug)]
struct Unsure;

impl Follower for Invalidator {
    fn begin_anew(&self, at: Position) {
        if let Some(act) = self.0.before_all.get() {
            act();
        }
        self.0.store.begin_anew(at);
        self.0.own.begin_anew();
    }

    fn apply(&self, at: Position, bytes: Bytes) {
        let (name, record) = match wire::read(&bytes, self.ours(&self.0.ruled.load())) {
            Ok((name, record)) => (Some(name), record),
            Err((record, why)) => {
                tracing::warn!(place = %at, why, "a record of the fleet cannot be read: everything is outdated here");
                (None, if fault::made(Mistake::UnknownRecordSkipped) { Record::default() } else { record })
            }
        };
        let brought = name.and_then(|name| self.0.own.take(&name));
        let (record, by, then) = match brought {
            Some(Brought { record, by, then, .. }) => (record, by, then),
            None => (Arc::new(record), None, self.heard()),
        };
        let mut raised = self.raise(record, by.as_ref());
        debug_assert_eq!(raised.sweep.position(), at, "records are applied in the order of their places");
        if raised.sweep.position() != at {
            tracing::error!(place = %at, here = %raised.sweep.position(), "this node had lost count: all that is kept goes");
            self.0.store.begin_anew(at);
        }
        let renewed = raised.renewed.take();
        let _under_way = self.sweep(raised, move |invalidator, record, swept| {
            then(invalidator, record, swept, renewed);
            if let Some(fleet) = invalidator.0.fleet.get() {
                fleet.advanced();
            }
        });
    }
}

impl Invalidator {
    /// What is done about a record that somebody else brought.
    fn heard(&self) -> Then {
        let since = self.0.clock.mono();
        Box::new(move |invalidator, record, swept, _| {
            let shares = batch::shares(&record.causes, &swept.reached);
            let noted = record.causes.iter().zip(shares).map(|(cause, reached)| {
                invalidator.note(cause, since, &Applied::of(swept.position, Arc::new(reached)))
            });
            invalidator.0.audit.add(noted.collect::<Vec<_>>());
        })
    }

    /// Has a record appended, however long that takes: under which name, and when it holds everywhere, or that nobody knows.
    fn tell(
        &self,
        fleet: &Fleet,
        record: Arc<Record>,
        by: Option<Writer>,
        then: Then,
    ) -> (Option<Operation>, impl Future<Output = Result<(), Unsure>> + use<>) {
        let (said, heard) = oneshot::channel();
        let (by, ends) = by.map(|by| (by.adopts, by.ends)).unwrap_or_default();
        let brought = Brought { record: Arc::clone(&record), by, then, is_everywhere: false };
        let name = self.0.own.bring(brought);
        let operation = name.as_ref().map(|name| Operation { by: name.by, count: name.count });
        match name {
            Some(name) => {
                let bytes = self.written(&record, name.clone());
                tokio::spawn(carry(self.clone(), fleet.clone(), (name, bytes), ends, said));
            }
            // What the write was intended to outdate is appended as of unknown outcome.
            None => self.owe_everything(fleet),
        }
        (operation, async { heard.await.unwrap_or(Err(Unsure)) })
    }

    /// What other nodes read. What is too large for them is everything; here it is what it is.
    pub(in crate::invalidate) fn written(&self, record: &Record, name: Name) -> Bytes {
        let written = wire::write_within(record, &name, self.ours(&self.0.ruled.load()), MAX_RECORD);
        let written = written.unwrap_or_else(|too_large| {
            let (items, bytes) = (record.outdate.reach.items.len(), too_large.bytes);
            tracing::warn!(
                items,
                bytes,
                "more than a record of the fleet may hold: on the other nodes everything goes"
            );
            too_large.everything
        });
        written.into()
    }

    fn ours<'r>(&self, ruled: &'r Ruled) -> Ours<'r> {
        Ours { settings: &ruled.settings, rules: ruled.rules, secret: self.0.own.secret() }
    }

    /// One that outdates everything stands for whatever else is owed.
    fn owe_everything(&self, fleet: &Fleet) {
        // Before anybody relies on whoever is about to append it.
        let aside = self.0.store.set_aside();
        if self.0.own.owes_everything.swap(true, Ordering::AcqRel) {
            return;
        }
        let name = self.0.own.name();
        let record = Arc::new(wire::everything(Hold::Settle));
        let bytes =
            Bytes::from(wire::write_everything(name.clone(), self.ours(&self.0.ruled.load()), Hold::Settle));
        let heard = self.heard();
        let then: Then = Box::new(move |invalidator, record, swept, renewed| {
            heard(invalidator, record, swept, renewed);
            drop(aside);
        });
        let brought = Brought { record, by: None, then, is_everywhere: false };
        self.0.own.waits(&name, brought);
        let (invalidator, fleet) = (self.clone(), fleet.clone());
        tokio::spawn(async move {
            let own = &invalidator.0.own;
            tracing::warn!("more invalidations than can wait until Redis is back: everything goes then");
            let mut failures = 0;
            loop {
                // What comes from now on needs another one.
                own.owes_everything.store(false, Ordering::Release);
                match fleet.append(bytes.clone(), None).await {
                    Ok(place) if fleet.everywhere(place).await.is_ok() => {
                        own.done(&name);
                        return own.is_everywhere(&name, place, &invalidator.0.store);
                    }
                    // Its epoch has ended.
                    Ok(_) => sleep(backoff(1, own.by)).await,
                    Err(_) if own.owes_everything.swap(true, Ordering::AcqRel) => {
                        own.done(&name);
                        return drop(own.take(&name));
                    }
                    Err(_) => {
                        failures += 1;
                        sleep(backoff(failures, own.by)).await;
                    }
                }
            }
        });
    }

    /// Makes this process a node of `fleet`: from now on the journal keeps the order. `secret` is the fingerprint of that under
    /// which credentials are digested here. To be called before anything is applied; only the first call counts.
    pub fn join(&self, fleet: Fleet, secret: u64) {
        let _already_joined = (self.0.own.secret.set(secret), self.0.fleet.set(fleet));
    }

    /// Tells the other nodes of what outdates nothing by the rules of this one; nothing is done where there are none.
    pub async fn pass_on(&self, raw: Raw, source: Source, actor: &str) -> Ack {
        if self.fleet().is_none() {
            return Ack::Applied;
        }
        let (raw, actor) = (Some(raw), actor.to_owned());
        self.apply(Invalidation { raw, source, actor, ..Invalidation::default() }).await.ack
    }

    /// Waits until whatever was brought here holds everywhere.
    pub async fn all_told(&self) {
        self.0.own.all_told().await;
    }

    /// How much was brought here of which that is not known.
    pub fn untold(&self) -> usize {
        self.0.own.untold()
    }

    /// How far one is that could not be confirmed when it was brought.
    pub fn progress(&self, operation: Operation) -> Progress {
        self.0.own.progress(operation)
    }

    /// The fleet that this node has joined; `None`: it is alone.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.0.fleet.get()
    }

    /// Applies a record through the journal: when this returns it holds here, and on every node unless it says otherwise.
    pub(in crate::invalidate) async fn through(
        &self,
        fleet: &Fleet,
        record: Arc<Record>,
        by: Option<Writer>,
        noted: impl FnOnce(&Self, &Record, store::Applied) -> Applied + Send + 'static,
    ) -> (Applied, Option<FillTicket>) {
        let (done, here) = oneshot::channel();
        let held = Held::default();
        let until_applied = Arc::clone(&held);
        let then: Then = Box::new(move |invalidator, record, swept, renewed| {
            let applied = noted(invalidator, record, swept);
            // Whoever brought it may have left.
            let _ = done.send((applied, renewed));
            drop(until_applied);
        });
        let (ack, here) = self.acknowledged(fleet, &record, by, then, here).await;
        match here {
            Some((applied, renewed)) => (Applied { ack, ..applied }, renewed),
            // Nobody knows when, or this node is shut out until it has applied it.
            None => (Applied { ack, ..self.aside(&record, &held).remove(0) }, None),
        }
    }

    /// Applies a record outside the order: what each of its causes comes to. It is audited when it is applied at its place.
    fn aside(&self, record: &Record, held: &Held) -> Vec<Applied> {
        let store = &self.0.store;
        held.get_or_init(|| store.set_aside());
        let swept = store.outdate_aside(&record.outdate, self.0.clock.mono());
        let shares = batch::shares(&record.causes, &swept.reached).into_iter();
        shares.map(|reached| Applied::of(store.applied(), Arc::new(reached))).collect()
    }

    /// The same for a batch, behind the back of whoever brings it.
    pub(in crate::invalidate) fn through_behind(
        &self,
        fleet: &Fleet,
        record: Arc<Record>,
        noted: impl FnOnce(&Self, &Record, store::Applied) -> Vec<Applied> + Send + 'static,
        answer: impl FnOnce(Vec<Applied>) + Send + 'static,
    ) {
        let (invalidator, fleet) = (self.clone(), fleet.clone());
        tokio::spawn(async move {
            let (done, here) = oneshot::channel();
            let held = Held::default();
            let until_applied = Arc::clone(&held);
            let then: Then = Box::new(move |invalidator, record, swept, _| {
                // Whoever brought it may have been answered.
                let _ = done.send(noted(invalidator, record, swept));
                drop(until_applied);
            });
            let (ack, here) = invalidator.acknowledged(&fleet, &record, None, then, here).await;
            let shares = here.unwrap_or_else(|| invalidator.aside(&record, &held));
            answer(shares.into_iter().map(|applied| Applied { ack, ..applied }).collect());
        });
    }

    /// Tells it, and waits until it holds everywhere, or for as long as anybody waits; with what it came to here, by `here`, if
    /// that is known by then.
    async fn acknowledged<T>(
        &self,
        fleet: &Fleet,
        record: &Arc<Record>,
        by: Option<Writer>,
        then: Then,
        mut here: oneshot::Receiver<T>,
    ) -> (Ack, Option<T>) {
        let since = self.0.clock.mono();
        let (operation, told) = self.tell(fleet, Arc::clone(record), by, then);
        let told = async {
            told.await?;
            match fleet.coherence() {
                // This node may be shut out until it has applied it.
                Coherence::Acked => Ok((Ack::Applied, here.try_recv().ok())),
                // It comes, or nobody is left to say so: then it is of an epoch, or of before a gap, that was never read here.
                Coherence::Broadcast => Ok((Ack::Broadcast, (&mut here).await.ok())),
            }
        };
        match timeout(fleet.ack_timeout(), told).await {
            Ok(Ok(certain)) => {
                self.0.metrics.acknowledged(self.0.clock.mono().saturating_sub(since));
                certain
            }
            // A task of its own goes on with it.
            Ok(Err(Unsure)) | Err(_) => {
                self.0.metrics.unconfirmed();
                (Ack::Unconfirmed(operation), here.try_recv().ok())
            }
        }
    }
}

/// Has a record appended, and says when it holds everywhere. Whoever waits is told at the end of [`ATTEMPTS`] that nobody
/// knows; it goes on all the same.
async fn carry(
    invalidator: Invalidator,
    fleet: Fleet,
    (name, record): (Name, Bytes),
    ends: Option<Ends>,
    said: oneshot::Sender<Result<(), Unsure>>,
) {
    let (mut said, mut failures) = (Some(said), 0);
    loop {
        match fleet
            .append(record.clone(), ends.as_ref().map(|ends| (ends.intent.write(), ends.outcome)))
            .await
        {
            Ok(place) => {
                failures = 0;
                if fleet.everywhere(place).await.is_ok() {
                    invalidator.0.own.done(&name);
                    // He may have left.
                    let _ = said.map(|said| said.send(Ok(())));
                    return invalidator.0.own.is_everywhere(&name, place, &invalidator.0.store);
                }
                // Its epoch has ended.
                sleep(backoff(1, name.count)).await;
            }
            Err(_) => {
                failures += 1;
                if failures >= ATTEMPTS || fleet.is_away() {
                    let _ = said.take().map(|said| said.send(Err(Unsure)));
                }
                sleep(backoff(failures, record.len() as u64)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidate::Settings;
    use crate::invalidate::audit::Query;
    use crate::invalidate::testing::{World, of};
    use crate::route::derive::Dependencies;
    use crate::route::reach::{ItemTemplate, Reach};
    use crate::route::tag::Tag;
    use crate::store::position::Outdate;

    fn dependencies(from: &str, to: &str) -> Dependencies {
        let template = |word: &str| ItemTemplate::parse(word).unwrap();
        Dependencies::new(vec![(template(from), vec![template(to)])])
    }

    fn world(dependencies: Dependencies) -> World {
        World::new(Settings { dependencies, ..Settings::default() })
    }

    /// What a node with these rules writes down about `tag`.
    fn written(rules: Dependencies, tag: &str) -> Bytes {
        let cause = of(Source::Webhook, tag).followed(&rules);
        let outdate = Outdate { reach: cause.invalidation.reach.clone(), ..Outdate::default() };
        let invalidator = world(rules).invalidator;
        invalidator.written(&Record { causes: vec![cause], outdate }, Name { by: 1, count: 1 })
    }

    fn at(world: &World, n: u64) -> Position {
        Position { n, ..world.store.applied() }
    }

    #[test]
    fn what_another_node_appended_is_applied_with_what_its_rules_derive_and_with_what_ours_do() {
        let world = world(dependencies("a:{x}", "ours:{x}"));
        let dead = ["a:1", "theirs:1", "ours:1"].map(|tag| world.keep(tag, &[Tag::named(tag)]));
        let lives = world.keep("b", &[Tag::named("a:2")]);
        world.invalidator.apply_record(&world, 1, written(dependencies("a:{x}", "theirs:{x}"), "a:1"));
        assert!(dead.iter().all(|entry| entry.is_dead()) && !lives.is_dead());
        assert_eq!(world.store.applied().n, 1);
        let audited = &world.invalidator.audit(&Query::default())[0];
        assert_eq!((audited.items(), audited.source), (vec!["a:1".to_owned()], Source::Webhook));
        assert_eq!(audited.entries.total, 3);
    }

    #[test]
    fn a_record_that_nobody_here_understands_outdates_everything() {
        let known = written(Dependencies::default(), "a:1");
        let newer = String::from_utf8(known.to_vec()).unwrap().replace("\"v\":2", "\"v\":3");
        let more =
            String::from_utf8(known.to_vec()).unwrap().replace("\"v\":2", "\"v\":2,\"how\":\"softly\"");
        for record in [b"".to_vec(), b"{}".to_vec(), b"\xff".to_vec(), newer.into(), more.into()] {
            let world = world(Dependencies::default());
            let kept = world.keep("k", &[Tag::named("another")]);
            world.invalidator.apply_record(&world, 1, record.into());
            assert!(kept.is_dead());
        }
    }

    #[test]
    fn a_new_epoch_forgets_all_that_is_kept_and_counts_on_from_its_beginning() {
        let world = world(Dependencies::default());
        let kept = world.keep("k", &[Tag::named("a:1")]);
        let begun = Position { epoch: world.store.applied().epoch + 1, n: 40 };
        Follower::begin_anew(&world.invalidator, begun);
        assert!(kept.is_dead());
        let kept = world.keep("k", &[Tag::named("a:1")]);
        Follower::apply(
            &world.invalidator,
            Position { n: 41, ..begun },
            written(Dependencies::default(), "a:1"),
        );
        assert!(kept.is_dead());
        assert_eq!(world.store.applied().n, 41);
    }

    #[test]
    fn what_no_record_holds_is_everything_elsewhere() {
        let (here, there) = (world(Dependencies::default()), world(Dependencies::default()));
        let kept = there.keep("k", &[Tag::named("another")]);
        let reach = Reach::of((0..20_000).map(|n| Tag::named(&format!("project:{n}"))));
        let outdate = Outdate { reach, ..Outdate::default() };
        let cause = Invalidation { reach: outdate.reach.clone(), ..Invalidation::default() };
        let causes = vec![cause.followed(&Dependencies::default())];
        let written = here.invalidator.written(&Record { causes, outdate }, Name { by: 1, count: 1 });
        assert!(written.len() <= MAX_RECORD);
        there.invalidator.apply_record(&there, 1, written);
        assert!(kept.is_dead());
    }

    impl Invalidator {
        fn apply_record(&self, world: &World, n: u64, record: Bytes) {
            Follower::apply(self, at(world, n), record);
        }
    }
}
