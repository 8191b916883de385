//! Interim (1xx) answers of the origin: passed on to the client whose own request is at the origin, and to nobody else.
//!
//! Invariant: they are never stored, and nothing of them becomes part of a final answer. It refuses to know how they are written.

use std::sync::Arc;

use crate::flow::pass;
use crate::guard::Interim;
use crate::route::table::Route;
use crate::upstream::OnInterim;

/// What becomes of each one for the client behind `interim` (RFC 9110 §15.2, RFC 8297).
pub(crate) fn passed_on(interim: Interim, route: &Arc<Route>) -> OnInterim {
    let route = Arc::clone(route);
    OnInterim::new(move |status, headers| {
        let mut headers = headers.clone();
        pass::clean(&mut headers, &route);
        interim.send(status, &headers);
    })
}
