//! How the one who warms is joined to the walk, and to the fleet.

use std::sync::Arc;

use crate::fleet;
use crate::flow::Flow;
use crate::redis::place::Place;
use crate::warm::turn::Turns;
use crate::warm::{Settings, Warmer};

/// The one who warms through `flow`; in a fleet, what is scheduled is run by one node.
pub(super) fn warmer(settings: Settings, flow: &Flow, fleet: Option<(&fleet::Settings, &Place)>) -> Warmer {
    if let Some(users) = settings.users {
        flow.remember_identities(users);
    }
    if !settings.background {
        flow.refresh_nothing();
    }
    let parts = flow.parts();
    let turns = fleet.map(|(fleet, place)| Turns::new(place.clone(), &fleet.namespace));
    Warmer::new(settings, Arc::new(flow.clone()), parts.clock.clone(), Arc::clone(&parts.metrics), turns)
}
