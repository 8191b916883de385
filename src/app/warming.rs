//! How the one who warms is joined to the walk, and to the fleet.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::fleet;
use crate::flow::Flow;
use crate::redis::place::Place;
use crate::warm::learn::pupil::Pupil;
use crate::warm::renewal;
use crate::warm::turn::Turns;
use crate::warm::{Settings, Warmer};

/// The one who warms through `flow`, and who renews what is about to expire, if somebody does; in a fleet, what is scheduled is
/// run by one node.
pub(super) fn warmer(
    settings: Settings,
    flow: &Flow,
    fleet: Option<(&fleet::Settings, &Place)>,
) -> (Warmer, Option<JoinHandle<()>>) {
    if let Some(users) = settings.users {
        flow.remember_identities(users);
    }
    if !settings.background {
        flow.refresh_nothing();
    }
    let parts = flow.parts();
    let turns = fleet.map(|(fleet, place)| Turns::new(place.clone(), &fleet.namespace));
    let pupil = settings.learn.map(|top| Pupil::of(top, flow));
    let (door, clock, metrics) = (Arc::new(flow.clone()), parts.clock.clone(), Arc::clone(&parts.metrics));
    let renewing = settings.ahead.map(|budget| tokio::spawn(renewal::renew(budget, flow.clone())));
    (Warmer::new(settings, door, clock, metrics, turns, pupil), renewing)
}
