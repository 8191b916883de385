//! Who stands still: what a node has seen of the others' renewals, and for how long they have been where they are. Pure.
//!
//! Invariant: stillness counts from when a counter was told, on this node's own clock, so whoever has stood still for longer
//! than a lease and its margin has no lease: he counts his from before the renewal was sent that moved the counter.

use std::collections::HashMap;
use std::time::Duration;

use crate::fault::{self, Mistake};
use crate::fleet::journal::{Incarnation, Member};

/// For how many times as long who is shut out has to stand still until he is let go: he may be reading a long journal.
const LET_GO: u32 = 64;

/// What was seen of the others.
#[derive(Debug, Default)]
pub(in crate::fleet) struct Watch {
    seen: HashMap<Incarnation, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    renewals: u64,
    /// Whether he was shut out, by whomever: from then on it is seen anew whether he comes back.
    is_out: bool,
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
        for Member { incarnation, renewals, applied, fence, .. } in members {
            let (renewals, is_out) = (*renewals, applied < fence);
            let seen = self.seen.entry(incarnation.clone()).or_insert(Seen { renewals, is_out, since: now });
            if (seen.renewals, seen.is_out) != (renewals, is_out) {
                *seen = Seen { renewals, is_out, since: now };
            } else if now.saturating_sub(seen.since) >= if is_out { LET_GO * patience } else { patience } {
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
    fn who_was_shut_out_is_let_go_long_after() {
        let mut watch = Watch::default();
        watch.see(&[member("a", 1)], at(0), PATIENCE);
        assert_eq!(watch.see(&[member("a", 1)], at(1_100), PATIENCE).len(), 1);
        let out = Member { fence: 1, ..member("a", 1) };
        assert!(watch.see(std::slice::from_ref(&out), at(1_200), PATIENCE).is_empty());
        let due = 1_200 + 64 * 1_100;
        assert!(watch.see(std::slice::from_ref(&out), at(due - 1), PATIENCE).is_empty());
        assert_eq!(watch.see(&[out], at(due), PATIENCE).len(), 1);
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
