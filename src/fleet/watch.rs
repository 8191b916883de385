//! Who stands still: what a node has seen of the others' renewals, and for how long they have been where they are. Pure.
//!
//! Invariant: stillness counts from when a counter was told, on this node's own clock, so whoever has stood still for longer
//! than a lease and its margin has no lease: he counts his from before the renewal was sent that moved the counter.

use std::collections::HashMap;
use std::time::Duration;

use crate::fault::{self, Mistake};
use crate::fleet::journal::{Incarnation, Member};

/// What was seen of the others.
#[derive(Debug, Default)]
pub(in crate::fleet) struct Watch {
    seen: HashMap<Incarnation, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    renewals: u64,
    /// When (monotonic) that was first told.
    since: Duration,
}

impl Watch {
    /// Notes what was told by `now` (monotonic) of all who are waited for; gives those, by their counters, who have stood
    /// still for `patience`.
    pub(in crate::fleet) fn see(
        &mut self,
        members: &[Member],
        now: Duration,
        patience: Duration,
    ) -> Vec<(Incarnation, u64)> {
        self.seen.retain(|known, _| members.iter().any(|member| member.incarnation == *known));
        let mut still = Vec::new();
        for Member { incarnation, renewals, .. } in members {
            let renewals = *renewals;
            let seen = self.seen.entry(incarnation.clone()).or_insert(Seen { renewals, since: now });
            if seen.renewals != renewals {
                *seen = Seen { renewals, since: now };
            } else if now.saturating_sub(seen.since) >= patience {
                still.push((incarnation.clone(), renewals));
            }
        }
        still
    }
}

/// For how long a node has to stand still until it is shut out: a lease, and a tenth of it for clocks that differ in pace.
pub(in crate::fleet) fn patience(lease: Duration) -> Duration {
    if fault::made(Mistake::MarginLeftOut) { lease } else { lease + lease / 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(1_100);

    fn member(name: &str, renewals: u64) -> Member {
        let incarnation = Incarnation(name.into());
        Member { incarnation, about: String::new(), applied: 0, fence: 0, renewals }
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn who_stands_still_for_the_whole_time_is_shut_out_and_nobody_before() {
        let mut watch = Watch::default();
        let (a, b) = (member("a", 3), member("b", 1));
        assert!(watch.see(&[a.clone(), b.clone()], at(0), PATIENCE).is_empty());
        assert!(watch.see(&[a.clone(), b], at(1_099), PATIENCE).is_empty());
        let b = member("b", 2);
        assert_eq!(watch.see(&[a, b], at(1_100), PATIENCE), [(Incarnation("a".into()), 3)]);
    }

    #[test]
    fn who_moves_is_given_all_of_it_again() {
        let mut watch = Watch::default();
        watch.see(&[member("a", 1)], at(0), PATIENCE);
        watch.see(&[member("a", 2)], at(1_000), PATIENCE);
        assert!(watch.see(&[member("a", 2)], at(2_099), PATIENCE).is_empty());
        assert_eq!(watch.see(&[member("a", 2)], at(2_100), PATIENCE).len(), 1);
    }

    #[test]
    fn who_was_not_waited_for_in_between_is_looked_at_anew() {
        let mut watch = Watch::default();
        watch.see(&[member("a", 1)], at(0), PATIENCE);
        watch.see(&[], at(1), PATIENCE);
        assert!(watch.see(&[member("a", 1)], at(5_000), PATIENCE).is_empty(), "nobody looked meanwhile");
    }
}
