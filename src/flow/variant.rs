//! Which variants of an answer a request may have: what they are told apart by, as far as a fill carries it.
//!
//! Invariant: a variant is chosen by the same fields and cookies under which it was stored. It refuses to know the key.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, VARY};
use http::request::Parts as Head;

use crate::flow::{Shared, Visit};
use crate::policy::{NoStore, Rule, Scope, Selector, Storable};
use crate::route::Settings;
use crate::route::share::Share;
use crate::route::tag::Tag;
use crate::store::entry::{Candidate, Entry};
use crate::store::ticket::FillTicket;
use crate::store::{Found, Refused};

impl Visit<'_> {
    /// What variants of an answer are chosen by: the client's fields, without those that its fill never carries.
    pub(crate) fn selecting<'h>(&self, head: &'h Head, share: Share) -> Cow<'h, HeaderMap> {
        let (route, identity) = (self.target.route, &self.flow.rules.identity);
        let public = share == Share::Shared && route.settings.rule.scope == Scope::Public;
        let public = public && identity.has_credentials(&head.headers);
        if !public && !route.settings.strict {
            return Cow::Borrowed(&head.headers);
        }
        let mut headers = head.headers.clone();
        if public {
            identity.strip_for_shared_fill(&mut headers, &route.key.headers);
        }
        if route.settings.strict {
            identity.strict_fields(&mut headers, &route.key.headers);
        }
        Cow::Owned(headers)
    }
}

impl Shared {
    /// The newest live entry under `key` that answers a request with these fields.
    pub(crate) fn lookup(&self, headers: &HeaderMap, key: &[u8], now: Duration) -> Found {
        self.store.lookup(key, |selector| self.fits(selector, headers), now)
    }

    pub(crate) fn fits(&self, selector: &Selector, headers: &HeaderMap) -> bool {
        selector.matches(headers, &|cookie| self.rules.identity.is_credential_cookie(cookie))
    }

    pub(crate) fn select(
        &self,
        request: &HeaderMap,
        response: &HeaderMap,
        rule: &Rule,
    ) -> Result<Selector, NoStore> {
        let is_credential_cookie = |cookie: &str| self.rules.identity.is_credential_cookie(cookie);
        Selector::of(request, response, rule, &is_credential_cookie)
    }

    /// Puts a new entry over the body of `base` in its place, with the fields and the life of `freshened`, which the origin
    /// gave it when it was asked by `request`, and with these tags.
    ///
    /// # Errors
    /// [`Refused`]: it is not kept, and that is counted.
    pub(crate) fn renew(
        &self,
        base: &Entry,
        freshened: Storable,
        tags: Vec<Tag>,
        request: &HeaderMap,
        settings: &Settings,
        ticket: &FillTicket,
    ) -> Result<Arc<Entry>, Refused> {
        let (rule, settle) = (&settings.rule, settings.settle);
        let old = || base.selector.clone();
        let selector = if selects_as_before(&base.response.headers(), freshened.headers()) {
            old()
        } else {
            // What is storable has a `Vary` that can be read.
            self.select(request, freshened.headers(), rule).unwrap_or_else(|_| old())
        };
        let candidate = Candidate {
            key: base.key().clone(),
            tags,
            storable: if settings.forward_tags { freshened } else { freshened.for_clients() },
            selector,
            body: base.response.body.clone(),
            settle,
        };
        let renewed = self.store.fill(ticket, candidate).inspect_err(|refused| {
            self.metrics.fill_discarded(refused.why.as_str());
        })?;
        if renewed.selector != base.selector {
            self.store.remove(base);
        }
        Ok(renewed)
    }
}

/// Whether nothing changed of what a response says of those whom it answers (RFC 9111 §3.2, §4.1).
fn selects_as_before(stored: &HeaderMap, freshened: &HeaderMap) -> bool {
    let same = |name| stored.get_all(name).iter().eq(freshened.get_all(name));
    [VARY, ACCESS_CONTROL_ALLOW_ORIGIN].iter().all(same)
}
