//! A HEAD that the store does not answer, forwarded as it is (`head: forward`, RFC 9111 §4.3.5).
//!
//! Invariant: it fills nothing; a 200 to it gives the stored GET a new life under a ticket from before the origin was
//! asked, or ends it. Neither conditions nor ranges of the client go along, so no 304 and no 206 can come.

use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Response};

use crate::body::Body;
use crate::flow::arriving::Whence;
use crate::flow::demotion::asks_for_login;
use crate::flow::fetch::proof;
use crate::flow::lesson::Lesson;
use crate::flow::read::{Question, is_failure};
use crate::flow::serve::{self, Answer};
use crate::flow::verdict::request;
use crate::flow::{egress, pass};
use crate::metrics::Cache;
use crate::policy::freshen::{HeadUpdate, update_by_head};
use crate::policy::{HeadRule, RequestHead, ResponseTimes, validate};
use crate::route::carried;
use crate::store::Found;
use crate::store::entry::Entry;
use crate::store::ticket::FillTicket;
use crate::upstream::Upgrade;

impl Question<'_> {
    /// Whether the origin is to be asked by HEAD.
    pub(crate) fn is_by_head(&self) -> bool {
        self.head.method == Method::HEAD && self.visit.target.route.settings.rule.head == HeadRule::Forward
    }

    /// Asks the origin by HEAD. `None`: the route is no longer public; go round again.
    pub(crate) async fn look(self) -> Option<Answer> {
        let (visit, flow) = (self.visit, self.visit.flow);
        let for_the_public = visit.is_for_the_public();
        let headers = egress::fill(visit, &self.head.headers, self.share);
        let mut inbound = Request::new(Body::Empty);
        *inbound.method_mut() = Method::HEAD;
        *inbound.uri_mut() = visit.fill_target().into();
        *inbound.headers_mut() = headers.clone();
        let ticket = flow.store.ticket(flow.clock.mono());
        // What was outdated before the ticket must not be revived under it.
        let stored = self.ask.base.clone().filter(|stored| flow.store.may_build_on(stored));
        let requested = flow.clock.now();
        let answer = visit.ask(inbound, visit.how(Upgrade::No)).await;
        let received = flow.clock.now();
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                flow.metrics.upstream_error(error.as_str());
                tracing::debug!(%error, "the origin gave no answer");
                return Some(self.failed(&error));
            }
        };
        let took = received.mono.saturating_sub(requested.mono);
        flow.metrics.upstream_request(took);
        let status = response.status();
        flow.forget(self.share.tag().as_ref(), status).await;
        if for_the_public && asks_for_login(&response) {
            flow.demote(visit.target.route, status);
            return None;
        }
        if let Some(stored) = stored {
            let times = ResponseTimes { requested, received };
            if let Some(entry) = self.update(&stored, &headers, &response, times, &ticket) {
                let answer = self.landed(&entry, Whence::Confirmed(status));
                return Some(Answer { upstream: Some(took), ..answer });
            }
        }
        if is_failure(status)
            && let Some(answer) = self.stand_in()
        {
            return Some(answer);
        }
        pass::clean(response.headers_mut(), visit.target.route);
        if serve::answers_with_304(&request(self.head), &response) {
            response = serve::not_modified(response.headers());
        }
        let answer =
            Answer::new(response, visit.target.route, Cache::Miss, self.forwarded(None, false, None));
        Some(Answer { upstream: Some(took), ..answer })
    }

    /// What the answer makes of the stored GET: the entry with its new life, if it has one.
    fn update(
        &self,
        stored: &Arc<Entry>,
        asked: &HeaderMap,
        answer: &Response<Body>,
        times: ResponseTimes,
        ticket: &FillTicket,
    ) -> Option<Arc<Entry>> {
        let flow = self.visit.flow;
        let req = RequestHead { method: &Method::HEAD, headers: asked, body_keyed: false };
        let mut headers = stored.response.origin_headers();
        // It may have come in chunks; the length that the HEAD names is compared with what it was in the end.
        headers.entry(CONTENT_LENGTH).or_insert_with(|| stored.response.body.len().into());
        let settings = &self.visit.target.route.settings;
        let rule = &settings.rule;
        let known = (stored.response.status, &headers);
        match update_by_head(
            &req,
            self.share.sharing(),
            known,
            (answer.status(), answer.headers()),
            rule,
            times,
        ) {
            // What was called outdated, only a strong entity tag confirms.
            HeadUpdate::Freshened(_) if !validate::proves(&headers, answer.headers(), proof(stored)) => None,
            HeadUpdate::Freshened(storable) => {
                // Something else may stand there by now.
                let found = flow.lookup(self.selecting, stored.key(), flow.clock.mono());
                let tags = carried::by_fields(answer.headers()).and_then(|named| {
                    carried::together(named.into_iter().chain(stored.tags().iter().cloned()))
                });
                match found {
                    Found::Entry(entry) if entry.id() == stored.id() => {
                        let renewed = flow
                            .renew(stored, *storable, tags.ok()?, self.selecting, settings, ticket)
                            .ok()?;
                        flow.tell(&renewed, rule);
                        Some(renewed)
                    }
                    _ => None,
                }
            }
            HeadUpdate::Outdated => {
                if Lesson::of(self.visit, self.head, self.share) == Lesson::All {
                    flow.store.remove(stored);
                }
                None
            }
            HeadUpdate::Unrelated => None,
        }
    }
}
