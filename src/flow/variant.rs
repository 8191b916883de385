//! Which variants of an answer a request may have: what they are told apart by, as far as a fill carries it.
//!
//! Invariant: a variant is chosen by the same fields and cookies under which it was stored. It refuses to know the key.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderMap;
use http::request::Parts as Head;

use crate::flow::{Shared, Visit};
use crate::policy::{NoStore, Rule, Scope, Selector};
use crate::route::share::Share;
use crate::store::Found;

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
}
