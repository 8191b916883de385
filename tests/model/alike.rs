//! Which states go the same ways, whatever may befall the fleet: one of them stands for all. Without this the model would be
//! too large to explore. With a mistake planted nothing is taken for alike, since the mistake may well be about it.

use crate::fleet::Fleet;
use crate::state::{Data, Flight, MOVED, NOT_YET, Role, SLOTS, Server, State};

impl Fleet {
    /// Forgets what makes no difference from here on.
    pub(crate) fn forget_what_makes_no_difference(&self, s: &mut State) {
        // Whoever becomes primary begins anew.
        for server in &mut s.servers {
            if !self.scenario.intends {
                server.data.since = 0;
            }
            for member in server.data.registry.iter_mut().flatten().filter(|member| !member.is_shut_out()) {
                member.fence = 0;
            }
            match server.role {
                Role::Primary => {}
                Role::Replica => server.data.registry = [None; SLOTS],
                Role::Away => server.data = Data::default(),
            }
        }
        for index in 0..s.nodes.len() {
            let forwards = self.scenario.intends && self.scenario.writes.contains(&(index as u8));
            let acknowledges = self.scenario.intends || self.scenario.writes.contains(&(index as u8));
            let (servers, node) = (&s.servers, &mut s.nodes[index]);
            for (slot, watch) in node.watch.iter_mut().enumerate() {
                let is_there =
                    |server: &Server| server.data.epoch == node.epoch && server.data.registry[slot].is_some();
                if node.slot == Some(slot as u8) || !servers.iter().any(is_there) {
                    *watch = MOVED;
                }
            }
            if !forwards && !self.reads(index) {
                (node.lease, node.renewal, node.hold, node.steady) = (0, None, 0, 0);
            }
            if !acknowledges && node.is_up() && node.in_epoch != NOT_YET {
                node.in_epoch = self.patience();
            }
        }
        if self.scenario.shares {
            return;
        }
        // A flight that was outdated is stored by nobody and joined by nobody; one that was not is so by the next floor.
        for node in &mut s.nodes {
            for flight in &mut node.flights {
                let (epoch, floor) = (node.epoch, node.floor);
                *flight = flight.filter(|flight| flight.epoch == epoch && floor <= flight.ticket);
                *flight = flight.map(|flight| Flight { ticket: 0, ..flight });
            }
            node.flights.sort_unstable_by(|a, b| b.cmp(a));
            node.floor = 0;
        }
    }
}
