//! What the answer of a fetch carries, gathered as it comes: by the request, by its head, by its body.
//!
//! ```text
//! a flight opens     path, route, whose         Visit::tags
//! it departs         the route's templates      Tagging::of
//! the head is there  the answer's fields        Fetch::learn, Fetch::confirmed
//! the body is whole  what it embeds             Fetch::search
//! ```
//! Invariant: what cannot be told is not stored. Nothing of this happens for a hit.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use crate::fault::{self, Fault};
use crate::flow::Visit;
use crate::flow::arriving::Landing;
use crate::flow::coalesce::Departure;
use crate::flow::fetch::Fetch;
use crate::policy::decode::{Coding, codings, decoded};
use crate::policy::{NoStore, Storable};
use crate::route::carried::{self, Given, Unfit};
use crate::route::share::Share;
use crate::route::table::Route;
use crate::route::tag::Tag;
use crate::route::target::{Rules, Target};
use crate::store::entry::Entry;

/// Most bodies that are searched at once: each may take many times its own length.
pub(crate) const SEARCHES: usize = 4;

/// Longest body that is searched where it is, in bytes: it takes less than handing it over.
const AT_ONCE: usize = 32 << 10;

impl Visit<'_> {
    /// What an answer from these entries depends on, whatever the origin says: its path, its route, and whose it is.
    pub(crate) fn tags(&self, share: Share) -> Vec<Tag> {
        let mut tags = self.target.tags().into_vec();
        tags.push(self.target.route.tag.clone());
        tags.extend(share.tag());
        tags
    }
}

/// What the request of a fetch says of the tags of its answer.
#[derive(Debug)]
pub(crate) struct Tagging {
    /// By the route's templates, and by whose the answer is.
    tags: Result<Vec<Tag>, Unfit>,
    /// What stands before the values of each of the route's `body_tags`.
    prefixes: Vec<Vec<String>>,
}

impl Tagging {
    /// For a request with these fields that goes to the origin for these entries.
    pub(crate) fn of(rules: &Rules, target: &Target<'_>, headers: &HeaderMap, share: Share) -> Self {
        // What all share is nobody's, whoever fetches it.
        let user = matches!(share, Share::Credential(_)).then(|| rules.identity.user(headers)).flatten();
        let captures = target.captures(rules);
        let given = Given {
            captures: &captures,
            query: &target.query,
            headers,
            key_headers: &target.route.key.headers,
            user: user.as_deref(),
        };
        let settings = &target.route.settings;
        let named = carried::by_route(&settings.tags, &given);
        match carried::prefixes(&settings.body_tags, &given) {
            Ok(prefixes) => Self { tags: named, prefixes },
            Err(why) => Self { tags: named.and(Err(why)), prefixes: Vec::new() },
        }
    }

    /// The tags that are known before the answer is there; none if they cannot be told.
    pub(crate) fn known(&self) -> &[Tag] {
        self.tags.as_deref().unwrap_or_default()
    }

    /// What route and origin tag a whole answer with.
    ///
    /// # Errors
    /// Why it is not to be stored.
    pub(crate) fn of_answer(
        self,
        route: &Arc<Route>,
        answer: &HeaderMap,
        body: Bytes,
    ) -> Result<Vec<Tag>, Stop> {
        let mut named = self.known().to_vec();
        named.extend(self.by_fields(answer)?);
        let codings = codings(answer).map_err(Unfit::from);
        named.extend(Search { route: Arc::clone(route), tagging: Arc::new(self), codings, body }.run()?);
        Ok(carried::together(named)?)
    }

    /// Whether anything is looked for in bodies.
    fn is_by_body(&self) -> bool {
        self.prefixes.iter().any(|prefixes| !prefixes.is_empty()) && !fault::is(Fault::BodyTagsForgotten)
    }

    /// The tags that the fields of the answer add.
    fn by_fields(&self, answer: &HeaderMap) -> Result<Vec<Tag>, Unfit> {
        self.tags.as_ref().map_err(|why| *why)?;
        if fault::is(Fault::FieldTagsForgotten) { Ok(Vec::new()) } else { carried::by_fields(answer) }
    }
}

impl Fetch {
    /// Notes what the answer depends on, now that its head is there.
    ///
    /// # Errors
    /// [`NoStore::Tags`].
    pub(crate) fn learn(
        &self,
        departure: &Departure<Landing>,
        answer: &HeaderMap,
        storable: &Storable,
    ) -> Result<(), NoStore> {
        let searched = self.tagging.is_by_body();
        let named = self.tagging.by_fields(answer).and_then(|named| match searched {
            true if storable.part().is_some() => Err(Unfit::Part),
            true => codings(answer).map(|_| named).map_err(Unfit::from),
            false => Ok(named),
        });
        let named = named.and_then(|named| beside(departure, named));
        departure.learn(named.map_err(|why| self.untold(why))?, !searched);
        Ok(())
    }

    /// What an entry carries that stands for `base` again: what that carried, and what the answer adds.
    ///
    /// # Errors
    /// [`NoStore::Tags`].
    pub(crate) fn confirmed(
        &self,
        departure: &Departure<Landing>,
        base: &Entry,
        answer: &HeaderMap,
    ) -> Result<Vec<Tag>, NoStore> {
        let known = departure.depends().tags;
        let before = if fault::is(Fault::ConfirmedWithoutTags) { &[] } else { base.tags() };
        let both = || before.iter().chain(known.iter()).cloned();
        let all = self.tagging.by_fields(answer).and_then(|named| carried::together(both().chain(named)));
        let all = all.map_err(|why| self.untold(why))?;
        departure.learn(all.iter().cloned(), true);
        Ok(all)
    }

    /// Reads a whole body for what the route wants to know of it: whether its state is one that is stored, and what it
    /// embeds, which is noted.
    ///
    /// # Errors
    /// Why it is not to be stored.
    pub(crate) async fn search(
        &self,
        departure: &Departure<Landing>,
        storable: &Storable,
        body: &Bytes,
    ) -> Result<(), NoStore> {
        if !self.tagging.is_by_body() && self.route.settings.rule.store_if.is_none() {
            return Ok(());
        }
        let search = Search {
            route: Arc::clone(&self.route),
            tagging: Arc::clone(&self.tagging),
            codings: codings(storable.headers()).map_err(Unfit::from),
            body: body.clone(),
        };
        let found = if search.is_short() {
            search.run()
        } else {
            let _turn = self.flow.lasting.searches.acquire().await;
            // A decoder that panics on what it reads takes nobody else along.
            let apart = tokio::task::spawn_blocking(move || search.run()).await;
            apart.unwrap_or(Err(Stop::Untold(Unfit::Unsearched)))
        };
        match found.and_then(|found| Ok(beside(departure, found)?)) {
            Ok(found) => {
                departure.learn(found, true);
                Ok(())
            }
            Err(Stop::State(why)) => Err(why),
            Err(Stop::Untold(why)) => Err(self.untold(why)),
        }
    }

    /// Says why, once: `Cache-Status` has one word for all reasons.
    fn untold(&self, why: Unfit) -> NoStore {
        tracing::debug!(route = self.route.settings.template, %why, "an answer is not stored for its tags");
        NoStore::Tags
    }
}

/// `more`, if they are not too many beside what the answer is known to depend on.
fn beside(departure: &Departure<Landing>, more: Vec<Tag>) -> Result<Vec<Tag>, Unfit> {
    let known = departure.depends().tags;
    carried::together(known.iter().chain(&more).cloned()).map(|_| more)
}

/// A whole body, to be read for one fetch.
struct Search {
    route: Arc<Route>,
    tagging: Arc<Tagging>,
    codings: Result<Vec<Coding>, Unfit>,
    body: Bytes,
}

/// Why a body is not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// `store_if`
    #[error("{}", .0.as_str())]
    State(NoStore),
    /// What would outdate it cannot be told.
    #[error("tags: {0}")]
    Untold(#[from] Unfit),
}

impl Search {
    fn is_short(&self) -> bool {
        self.body.len() <= AT_ONCE && self.codings.as_ref().is_ok_and(Vec::is_empty)
    }

    fn run(self) -> Result<Vec<Tag>, Stop> {
        let settings = &self.route.settings;
        let json = self.json();
        if let Some(store_if) = &settings.rule.store_if {
            store_if.judge(json.as_ref().ok().and_then(Option::as_ref)).map_err(Stop::State)?;
        }
        if !self.tagging.is_by_body() {
            return Ok(Vec::new());
        }
        let named = json.and_then(|json| match json {
            Some(json) => carried::by_body(&json, &settings.body_tags, &self.tagging.prefixes),
            None => Ok(Vec::new()),
        });
        Ok(named?)
    }

    fn json(&self) -> Result<Option<Value>, Unfit> {
        let codings = self.codings.as_ref().map_err(|why| *why)?;
        carried::json(&decoded(codings, &self.body)?)
    }
}
