//! What a server has, and what each script does to it: `script/*.lua` once more, in Rust.
//!
//! Invariant: one call is one step, and answers what the script would answer; the contract suite holds the two against
//! each other. It refuses to know how a request came here.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::fault::{self, Mistake};
use crate::fleet::Coherence;
use crate::fleet::journal::{
    Away, Began, Extent, Incarnation, Intent, MAX_INTENTS, MAX_MEMBERS, MAX_READ, Member, Outcome, Read,
};
use crate::fleet::request::{Answer, Request};
use crate::store::position::Position;

/// Two numbers that a process has: one new with each start, one with each time that it becomes primary too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::fleet::sim) struct Reign {
    pub(in crate::fleet::sim) run: u64,
    pub(in crate::fleet::sim) reign: u64,
}

/// What can be lost by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The epoch, and of whom it is.
    Meta,
    /// The records.
    Journal,
    /// Who is registered.
    Members,
    /// What is open.
    Intents,
}

/// Registers and journal.
#[derive(Clone, Debug, Default)]
pub(in crate::fleet::sim) struct Data {
    of: Reign,
    /// 0: there is none.
    epoch: u64,
    /// How its nodes live; nobody has said so yet.
    coherence: Option<Coherence>,
    /// What is missing of it, though the rest is there.
    lost: Option<Key>,
    /// Of the oldest record, or the next one.
    first: u64,
    records: VecDeque<Bytes>,
    members: BTreeMap<String, Registered>,
    intents: BTreeMap<String, Intended>,
}

#[derive(Clone, Debug, Default)]
struct Registered {
    about: String,
    applied: u64,
    fence: u64,
    renewals: u64,
}

#[derive(Clone, Debug)]
struct Intended {
    /// Empty: nobody.
    who: String,
    /// 0: none in this epoch.
    place: u64,
    record: Bytes,
}

/// What a client says of how the journal is kept, and what the server has at hand.
#[derive(Clone, Copy, Debug)]
pub(in crate::fleet::sim) struct Here {
    pub(in crate::fleet::sim) is: Reign,
    /// The epoch that begins if one has to.
    pub(in crate::fleet::sim) fresh: u64,
    pub(in crate::fleet::sim) retained: u64,
    pub(in crate::fleet::sim) coherence: Coherence,
}

impl Data {
    /// Runs one script.
    ///
    /// # Errors
    /// [`Away::Refused`]
    pub(in crate::fleet::sim) fn run(
        &mut self,
        here: Here,
        epoch: u64,
        request: Request,
    ) -> Result<Answer, Away> {
        self.enter(here);
        if epoch != 0 && epoch != self.epoch {
            return Ok(Answer::Began(self.epoch));
        }
        Ok(match request {
            Request::Begin => Answer::Extent(self.extent()),
            Request::Append { record, ends } => self.append(record, ends, here.retained),
            Request::Register { who, about } => self.register(here, who.0, about)?,
            Request::Convert { still } => self.convert(here, &still),
            Request::Renew { who, applied, about } => self.renew(&who.0, applied, about),
            Request::Behind { place } => self.behind(place),
            Request::Fence { who, renewals } => self.fence(&who.0, renewals),
            Request::Leave { who } => {
                self.orphan(&who.0);
                self.members.remove(&who.0);
                Answer::Done
            }
            Request::Members => Answer::Members(self.extent(), self.shown(|_| true)),
            Request::Intend { who, write, record } => self.intend(who.0, write, record)?,
            Request::Intents => Answer::Intents(self.open()),
            Request::Close { write, outcome } => self.close(&write, outcome),
        })
    }

    /// What stands behind the cursor, without a look at whose reign it is; nothing: whoever asked has to look, or wait.
    pub(in crate::fleet::sim) fn behind_cursor(&self, after: Position) -> Option<Vec<(u64, Bytes)>> {
        let skipped = (after.n + 1).checked_sub(self.first).filter(|_| self.epoch == after.epoch)?;
        let skipped = usize::try_from(skipped).ok()?;
        let records = self.records.iter().skip(skipped).take(MAX_READ).cloned();
        let records: Vec<_> = (after.n + 1..).zip(records).collect();
        (!records.is_empty()).then_some(records)
    }

    /// Whether the journal goes on behind the cursor; if so, there is nothing to say.
    pub(in crate::fleet::sim) fn look(&mut self, here: Here, after: Position) -> Option<Read> {
        self.enter(here);
        if self.epoch != after.epoch {
            Some(Read::Began(Began { epoch: self.epoch }))
        } else if self.first > after.n + 1 {
            Some(Read::Gap(self.extent()))
        } else {
            None
        }
    }

    /// Lets go what is older than `first`.
    pub(in crate::fleet::sim) fn trim(&mut self, first: u64) {
        while self.first < first && self.records.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Loses a key.
    pub(in crate::fleet::sim) fn lose(&mut self, key: Key) {
        match key {
            // A journal that has no record yet is no key.
            Key::Journal if self.last() == 0 => return,
            Key::Journal => self.records.clear(),
            Key::Intents => self.intents.clear(),
            Key::Meta | Key::Members => {}
        }
        self.lost = Some(key);
    }

    fn last(&self) -> u64 {
        (self.first + self.records.len() as u64).saturating_sub(1)
    }

    fn extent(&self) -> Extent {
        Extent { epoch: self.epoch, first: self.first, last: self.last() }
    }

    fn enter(&mut self, here: Here) {
        let is_same = self.of == here.is
            || fault::made(Mistake::ServerNotCompared)
            || fault::made(Mistake::RunIdComparedAlone) && self.of.run == here.is.run;
        if self.epoch == 0 || self.lost.is_some() || !is_same {
            self.begin(here);
        }
    }

    fn begin(&mut self, here: Here) {
        let intents = std::mem::take(&mut self.intents);
        *self = Self { of: here.is, epoch: here.fresh, first: 1, intents, ..Self::default() };
        let writes: Vec<String> = self.intents.keys().cloned().collect();
        for write in writes {
            self.cover(&write);
            self.intents.entry(write).and_modify(|intent| intent.who.clear());
        }
    }

    fn push(&mut self, record: Bytes) -> u64 {
        self.records.push_back(record);
        self.last()
    }

    fn cover(&mut self, write: &str) {
        let Some(record) = self.intents.get(write).map(|intent| intent.record.clone()) else { return };
        let place = self.push(record);
        self.intents.entry(write.to_owned()).and_modify(|intent| intent.place = place);
    }

    fn cover_those(&mut self, which: impl Fn(&Intended) -> bool) {
        let writes = self.intents.iter().filter(|(_, intent)| which(intent));
        let writes: Vec<String> = writes.map(|(write, _)| write.clone()).collect();
        writes.iter().for_each(|write| self.cover(write));
    }

    fn orphan(&mut self, who: &str) {
        self.cover_those(|intent| intent.who == who && intent.place == 0);
    }

    fn append(&mut self, record: Bytes, ends: Option<(String, Outcome)>, retained: u64) -> Answer {
        let place = self.push(record.clone());
        match ends {
            Some((write, Outcome::Known)) => {
                self.intents.remove(&write);
            }
            Some((write, Outcome::Unknown)) => {
                self.intents
                    .entry(write)
                    .and_modify(|intent| (intent.place, intent.record) = (place, record));
            }
            None => {}
        }
        if place > retained && place.is_multiple_of(100) {
            let oldest = place - retained + 1;
            if !fault::made(Mistake::TrimmedBeforeTheHoldIsOver) {
                self.cover_those(|intent| (1..oldest).contains(&intent.place));
            }
            self.trim(oldest);
        }
        Answer::Place(place)
    }

    fn register(&mut self, here: Here, who: String, about: String) -> Result<Answer, Away> {
        if let Some(lives) = self.coherence.filter(|lives| *lives != here.coherence) {
            return Err(Away::OtherCoherence(lives));
        }
        let (is_full, fence) = (self.members.len() >= MAX_MEMBERS, self.last());
        let fence = if fault::made(Mistake::RegisteredWithoutAFence) { 0 } else { fence };
        if is_full && !self.members.contains_key(&who) {
            return Err(Away::Refused("the registry is full".to_owned()));
        }
        self.coherence = Some(here.coherence);
        if fault::made(Mistake::RegisteredTwice) {
            self.members.remove(&who);
        }
        let member = self.members.entry(who);
        member.and_modify(|member| member.about.clone_from(&about)).or_insert(Registered {
            about,
            applied: 0,
            fence,
            renewals: 0,
        });
        Ok(Answer::Extent(self.extent()))
    }

    fn convert(&mut self, here: Here, still: &[(Incarnation, u64)]) -> Answer {
        if self.coherence == Some(here.coherence) {
            return Answer::Done;
        }
        let stands_still = |who: &str, member: &Registered| {
            still.iter().any(|(seen, renewals)| seen.0 == *who && *renewals == member.renewals)
        };
        if self.members.iter().any(|(who, member)| !member.is_shut_out() && !stands_still(who, member)) {
            return Answer::Moved;
        }
        self.begin(here);
        self.coherence = Some(here.coherence);
        Answer::Done
    }

    fn renew(&mut self, who: &str, applied: u64, about: String) -> Answer {
        let last = self.last();
        if fault::made(Mistake::RenewedWithoutAnEntry) {
            self.members.entry(who.to_owned()).or_default();
        }
        match self.members.get_mut(who) {
            None => Answer::Unknown,
            Some(member) if applied < member.fence && !fault::made(Mistake::RenewedBehindTheFence) => {
                Answer::Fenced(member.fence)
            }
            Some(member) => {
                (member.applied, member.about) = (applied, about);
                member.renewals += 1;
                Answer::Held(last)
            }
        }
    }

    fn behind(&mut self, place: u64) -> Answer {
        let these = self.shown(|member| !member.is_shut_out() && member.applied < place);
        let least = these.iter().map(|member| member.applied).fold(place, u64::min);
        let is_left_behind = fault::made(Mistake::FenceLeftBehind);
        let out = self.members.values_mut().filter(|member| member.is_shut_out() && !is_left_behind);
        out.for_each(|member| member.fence = member.fence.max(least));
        Answer::Behind(these)
    }

    fn fence(&mut self, who: &str, renewals: u64) -> Answer {
        let Some(member) = self.members.get(who) else { return Answer::Out };
        if member.renewals != renewals && !fault::made(Mistake::FencedWithoutComparing) {
            return Answer::Moved;
        }
        let is_out = member.is_shut_out();
        if !fault::made(Mistake::OrphansIgnored) {
            self.orphan(who);
        }
        let last = self.last();
        if is_out || self.members.get(who).is_some_and(|member| member.applied >= last) {
            self.members.remove(who);
        } else if let Some(member) = self.members.get_mut(who) {
            member.fence = last;
        }
        Answer::Out
    }

    fn intend(&mut self, who: String, write: String, record: Bytes) -> Result<Answer, Away> {
        if !self.members.contains_key(&who) {
            return Ok(Answer::Unknown);
        }
        if self.intents.len() >= MAX_INTENTS && !self.intents.contains_key(&write) {
            return Err(Away::Refused("there are too many intents".to_owned()));
        }
        let who = if fault::made(Mistake::IntentHungOnNothing) { String::new() } else { who };
        self.intents.insert(write, Intended { who, place: 0, record });
        Ok(Answer::Done)
    }

    fn close(&mut self, write: &str, outcome: Outcome) -> Answer {
        let is_open = self.intents.get(write).is_some_and(|intent| intent.place == 0);
        if is_open && outcome == Outcome::Unknown {
            return Answer::Open;
        }
        self.intents.remove(write);
        Answer::Done
    }

    fn shown(&self, which: impl Fn(&Registered) -> bool) -> Vec<Member> {
        let members = self.members.iter().filter(|(_, member)| which(member));
        let shown = members.map(|(who, member)| Member {
            incarnation: Incarnation(who.clone()),
            about: member.about.clone(),
            applied: member.applied,
            fence: member.fence,
            renewals: member.renewals,
        });
        shown.collect()
    }

    fn open(&self) -> Vec<Intent> {
        let shown = self.intents.iter().map(|(write, intent)| Intent {
            write: write.clone(),
            who: (!intent.who.is_empty()).then(|| Incarnation(intent.who.clone())),
            place: (intent.place > 0).then_some(intent.place),
        });
        shown.collect()
    }
}

impl Registered {
    fn is_shut_out(&self) -> bool {
        self.applied < self.fence
    }
}
