//! A public route whose origin wants to know who asks: its answers were never for everybody.
//!
//! Invariant: once demoted, a route stays `auto` for as long as the process runs.

use std::sync::OnceLock;
use std::time::Duration;

use http::header::LOCATION;
use http::{Response, StatusCode};

use crate::body::Body;
use crate::flow::{Flow, Shared, Visit};
use crate::policy::Scope;
use crate::route::table::Route;

/// That, and since when, a route is public no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demotion {
    /// When the origin asked for a credential (monotonic).
    pub at: Duration,
    /// With which status: 401, 403, or that of a redirect to a login.
    pub status: StatusCode,
}

/// By route, the demotions so far.
pub(crate) type Demotions = boxcar::Vec<OnceLock<Demotion>>;

impl Flow {
    /// Whether the route of this index was public, and is no longer.
    pub fn demotion(&self, route: usize) -> Option<Demotion> {
        let shared = self.in_force();
        shared.demotion(route)
    }
}

impl Visit<'_> {
    /// Whether a fill carries no credential because the route is public, whatever the client sent.
    pub(crate) fn is_for_the_public(&self) -> bool {
        let route = self.target.route;
        route.settings.rule.scope == Scope::Public && !self.flow.is_demoted(route.index)
    }
}

impl Shared {
    /// A public route whose origin asked for a credential, with this status, is `auto` from now on.
    pub(crate) fn demote(&self, route: &Route, status: StatusCode) {
        let Some(demoted) = self.lasting.demoted.get(route.index) else { return };
        if demoted.set(Demotion { at: self.clock.mono(), status }).is_ok() {
            self.metrics.demoted(route.index);
            tracing::warn!(
                route = route.settings.template,
                status = status.as_u16(),
                "the origin asks for a credential on a route that is `scope: public`; it is `auto` from now on"
            );
        }
    }

    pub(crate) fn demotion(&self, index: usize) -> Option<Demotion> {
        self.lasting.demoted.get(index)?.get().copied()
    }

    pub(crate) fn is_demoted(&self, index: usize) -> bool {
        self.lasting.demoted.get(index).is_some_and(|demoted| demoted.get().is_some())
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
