//! What other nodes of the fleet have kept: asked for before the origin is, and told what is kept here.
//!
//! | flight | invalidation | reader | what keeps the promise |
//! |---|---|---|---|
//! | boarding ends: ticket `p`; then: is there a lease? | | | who is aboard came before that was asked: all that was acknowledged by then is applied here |
//! | asks the tier | | | |
//! | | floor = `p + 1`, applied | | |
//! | | | comes, and does not board | the join rule, as for any flight (`coalesce.rs`) |
//! | gets an entry of `q` | | | the gate judges `q`, now: refused if a floor above it may match (`store/promote.rs`) |
//! | refused: asks the origin | | | |
//!
//! Invariant: what is told is kept under its own position, passes the gate before anybody is given it, and is a hit like any from then
//! on. What has to be revalidated, and what is worth asking for alone, is not asked for here. It refuses to know what the tier is made of.

use std::sync::Arc;

use http::HeaderMap;

use crate::fault::{self, Fault};
use crate::flow::Shared;
use crate::flow::arriving::{Landing, Whence};
use crate::flow::coalesce::Departure;
use crate::flow::fetch::Fetch;
use crate::flow::read::Question;
use crate::flow::verdict::request;
use crate::metrics::Cache;
use crate::policy::cache_status::CacheStatus;
use crate::policy::{Reuse, Rule, Selector, may_reuse};
use crate::route::Mode;
use crate::store::entry::Entry;
use crate::store::ticket::FillTicket;
use crate::tier::Tier;

impl Question<'_> {
    /// Whether another node's answer would do: nothing here has to be confirmed, and waiting for one another is worth it.
    pub(crate) fn may_be_told(&self) -> bool {
        self.visit.target.route.settings.mode == Mode::Cache
            && self.visit.flow.shared().is_some()
            && self.ask.together
            && self.ask.base.is_none()
            && self.is_for_a_whole()
    }

    /// Whether it takes what was told to a flight that others may have opened: as a hit, by the rules of a hit.
    pub(crate) fn takes(&self, entry: &Entry, whence: Whence) -> bool {
        if whence != Whence::Told {
            return true;
        }
        let (visit, rule) = (self.visit, &self.visit.target.route.settings.rule);
        let life = visit.life(self.head, entry);
        may_reuse(&request(self.head), &life, rule, visit.flow.clock.now()) == Reuse::Fresh
    }

    /// The words for what another node has told, that is fresh for so many seconds.
    pub(crate) fn told(ttl: i64) -> (Cache, CacheStatus) {
        (Cache::Hit, CacheStatus::Hit { ttl, detail: Some("tier") })
    }
}

impl Shared {
    /// The tier and the epoch in which it may be asked now: there is a lease, and one that ends.
    fn shared(&self) -> Option<(&Tier, u64)> {
        let tier = self.tier.as_ref()?;
        let epoch = tier.standing().epoch()?;
        let left = self.store.lease().left(self.clock.mono())?;
        (!left.is_zero()).then_some((tier, epoch))
    }

    /// Tells the other nodes of an answer to a request for this route that is kept now, behind everybody's back.
    pub(crate) fn tell(&self, entry: &Arc<Entry>, rule: &Rule) {
        if let Some(tier) = &self.tier {
            let identity = &self.rules.identity;
            let select = |asked: &HeaderMap, answer: &HeaderMap| self.select(asked, answer, rule).ok();
            tier.put(entry, select, |asked| identity.has_credentials(asked));
        }
    }
}

impl Fetch {
    /// What another node has kept, if it may be kept here. To be asked under the ticket, when nobody can come aboard any more who is
    /// not held against it.
    pub(crate) async fn told(
        &self,
        departure: &Departure<Landing>,
        ticket: &FillTicket,
    ) -> Option<Arc<Entry>> {
        let (tier, epoch) = self.flow.shared().filter(|_| self.asks_others)?;
        if epoch != ticket.position().epoch {
            return None;
        }
        let select = |asked: &HeaderMap, answer: &HeaderMap| self.selector(asked, answer);
        let told = tier.get(epoch, departure.key(), &self.selecting, select).await;
        let kept = told.map_err(|missed| missed.as_str()).and_then(|entry| {
            let is_renewed = fault::is(Fault::PromotedUnderANewTicket);
            self.promote(if is_renewed { entry.fetched_at(ticket.position()) } else { entry })
        });
        self.flow.metrics.tier().read(kept.as_ref().err().copied().unwrap_or("hit"));
        let entry = kept.ok()?;
        departure.learn(entry.tags().iter().cloned(), true);
        Some(entry)
    }

    fn promote(&self, entry: Entry) -> Result<Arc<Entry>, &'static str> {
        if !self.flow.fits(&entry.selector, &self.selecting) {
            return Err("variant-miss");
        }
        if entry.response.body.len() as u64 > self.route.settings.entry {
            return Err("entry-limit");
        }
        self.flow.store.promote(entry).map_err(|_| "outdated")
    }

    /// Tells the other nodes of what is kept now, behind everybody's back.
    pub(crate) fn tell(&self, entry: &Arc<Entry>) {
        if self.route.settings.mode == Mode::Cache {
            self.flow.tell(entry, &self.route.settings.rule);
        }
    }

    fn selector(&self, asked: &HeaderMap, answer: &HeaderMap) -> Option<Selector> {
        self.flow.select(asked, answer, &self.route.settings.rule).ok()
    }
}
