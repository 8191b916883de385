//! A public route whose origin wants to know who asks: its answers were never for everybody.
//!
//! Invariant: once demoted, a route stays `auto` for as long as the process runs.

use std::sync::atomic::Ordering;

use http::header::LOCATION;
use http::{Response, StatusCode};

use crate::body::Body;
use crate::flow::{Shared, Visit};
use crate::policy::Scope;

impl Visit<'_> {
    /// Whether a fill carries no credential because the route is public, whatever the client sent.
    pub(crate) fn is_for_the_public(&self) -> bool {
        let route = self.target.route;
        route.settings.rule.scope == Scope::Public && !self.flow.is_demoted(route.index)
    }
}

impl Shared {
    /// A public route whose origin asked for a credential is `auto` from now on.
    pub(crate) fn demote(&self, index: usize, template: &str) {
        let Some(demoted) = self.demoted.get(index) else { return };
        if !demoted.swap(true, Ordering::AcqRel) {
            self.metrics.demoted(index);
            tracing::warn!(
                route = template,
                "the origin asks for a credential on a route that is `scope: public`; it is `auto` from now on"
            );
        }
    }

    pub(crate) fn is_demoted(&self, index: usize) -> bool {
        self.demoted.get(index).is_some_and(|demoted| demoted.load(Ordering::Acquire))
    }
}

/// Whether the origin wants to know who asks: 401, 403, or a redirect to something that looks like a login.
pub(crate) fn asks_for_login(response: &Response<Body>) -> bool {
    const WORDS: [&str; 4] = ["login", "signin", "sign-in", "sign_in"];
    match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => true,
        status if status.is_redirection() => {
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let path = location.unwrap_or_default().split(['?', '#']).next().unwrap_or_default();
            WORDS.iter().any(|word| path.to_ascii_lowercase().contains(word))
        }
        _ => false,
    }
}
