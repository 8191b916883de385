//! An answer that somebody brings: kept as what everybody's GET of its target is answered with.
//!
//! | put | fetch, write | what keeps the promise |
//! |---|---|---|
//! | takes its ticket; its body comes | | |
//! | | a write of the same is answered: floor above the ticket | no new ticket: what was brought may be older |
//! | outdates its path, gets a new ticket | a fetch that began before lands | the floor refuses it |
//! | is stored under that | | a later floor kills it like any entry |
//!
//! Invariant: it is judged and tagged like the origin's answer to the same GET without credentials, and nothing is outdated for
//! what may not be kept. How new it is, its bringer has to know.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts as Head;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::body::Body;
use crate::flow::explain::asked::{Asked, Lines, NoRequest, fields};
use crate::flow::fetch::Fetch;
use crate::flow::ingress::Named;
use crate::flow::plan::Plan;
use crate::flow::tagging::Tagging;
use crate::flow::{Client, Flow, Shared, Visit};
use crate::invalidate::{Invalidation, Source};
use crate::policy::ResponseTimes;
use crate::route::reach::Reach;
use crate::store::entry::{Candidate, Entry};
use crate::store::ticket::FillTicket;

/// What is brought.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brought {
    /// Path and query, or a whole URL.
    pub target: String,
    /// The status, 200 to 599; 200 unless said.
    #[serde(default = "ok")]
    pub status: u16,
    /// The fields.
    #[serde(default)]
    pub headers: BTreeMap<String, Lines>,
    /// The body: text as it is, anything else as JSON.
    pub body: Value,
}

/// Why it was not kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotPut {
    /// It answers nothing that could be asked.
    #[error(transparent)]
    NoRequest(#[from] NoRequest),
    /// The request would be refused.
    #[error("a request for it would be refused: {0}")]
    Refused(&'static str),
    /// Not a final one.
    #[error("the status has to be 200 to 599")]
    Status,
    /// In the word of `Cache-Status`.
    #[error("an answer like this is not kept for everybody ({0})")]
    NotKept(String),
    /// It may be older than that.
    #[error("what it depends on was invalidated while it came; nothing is kept")]
    Overtaken,
}

fn ok() -> u16 {
    200
}

impl Flow {
    /// Keeps an answer as what everybody's GET of its target is answered with, in place of all that was kept of its path or is
    /// being fetched for it. `began` is from before it came, `actor` is who brought it.
    ///
    /// # Errors
    /// Why it is not kept; nothing is outdated then, unless it was [`NotPut::Overtaken`].
    pub async fn put(
        &self,
        brought: &Brought,
        began: &FillTicket,
        actor: String,
    ) -> Result<Arc<Entry>, NotPut> {
        let shared = self.in_force();
        let asked = Asked { method: "GET".to_owned(), target: brought.target.clone(), ..Asked::default() };
        let (head, _) = asked.request()?.into_parts();
        let status = StatusCode::from_u16(brought.status).ok().filter(|status| status.as_u16() >= 200);
        let mut response = Response::new(match &brought.body {
            Value::String(text) => Bytes::from(text.clone()),
            json => Bytes::from(json.to_string()),
        });
        *response.status_mut() = status.filter(|status| status.as_u16() < 600).ok_or(NotPut::Status)?;
        *response.headers_mut() = fields(&brought.headers)?;
        if !brought.body.is_string() {
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().entry(CONTENT_TYPE).or_insert(json);
        }
        shared.put(&head, response, began, actor).await
    }
}

impl Shared {
    async fn put(
        self: &Arc<Self>,
        head: &Head,
        response: Response<Bytes>,
        began: &FillTicket,
        actor: String,
    ) -> Result<Arc<Entry>, NotPut> {
        let refused = |detail: &'static str| NotPut::Refused(detail);
        let not_kept = |why: &'static str| NotPut::NotKept(why.to_owned());
        let client = Client::warmer(self.settings.tls);
        let named = Named::by(head).map_err(|refusal| refused(refusal.detail))?;
        let target = self.target(&named, &client).map_err(|refusal| refused(refusal.detail))?;
        let visit = Visit::aside(self, client, &target, head);
        let share = match visit.plan(head, &Body::Empty) {
            Plan::Read(share) => share,
            Plan::Pass(why) => return Err(not_kept(why)),
            _ => return Err(not_kept("route")),
        };
        let selecting = visit.selecting(head, share);
        let (response, body) = response.into_parts();
        let whole = Response::from_parts(response, Body::from(body.clone()));
        let times = ResponseTimes { requested: visit.now, received: visit.now };
        let judged = Fetch::new(&visit, head, &selecting, share, None).judge(&whole, times);
        let (storable, selector) = judged.map_err(not_kept)?;
        let settings = &target.route.settings;
        if body.len() as u64 > settings.entry {
            return Err(not_kept("entry-limit"));
        }
        let tagging = Tagging::of(&self.rules, &target, &head.headers, share);
        let named = tagging.of_answer(target.route, whole.headers(), body.clone());
        let mut tags = visit.tags(share);
        tags.extend(named.map_err(|why| NotPut::NotKept(why.to_string()))?);
        let invalidation = Invalidation {
            reach: Reach::of(target.tags()),
            source: Source::Admin,
            actor,
            without_derived: true,
            ..Invalidation::default()
        };
        let (_, ticket) = self.invalidator.apply_by(invalidation, (began, &tags), None).await;
        let ticket = ticket.ok_or(NotPut::Overtaken)?;
        let candidate = Candidate {
            key: target.key(share, &head.headers, &[]).to_key(),
            tags,
            storable: if settings.forward_tags { storable } else { storable.for_clients() },
            selector,
            body,
            settle: settings.settle,
        };
        let entry = self.store.fill(&ticket, candidate).map_err(|_| NotPut::Overtaken)?;
        self.tell(&entry, &settings.rule);
        Ok(entry)
    }
}
