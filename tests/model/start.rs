//! Where every story begins.

use crate::fleet::Fleet;
use crate::mutant::Mutant;
use crate::state::{Data, Member, Node, Phase, Role, SERVERS, Server, Shared, Spent, State, WRITES, Write};

impl Fleet {
    /// A fleet that has been running for a while: everybody registered, under a lease, with what the origin says in memory.
    pub(crate) fn start(&self) -> State {
        let scenario = &self.scenario;
        let there = usize::from(scenario.nodes);
        let patience = self.patience();
        let nodes = std::array::from_fn(|index| match index < there {
            false => Node::DOWN,
            true => Node {
                phase: Phase::Up,
                epoch: 1,
                slot: Some(index as u8),
                lease: scenario.lease,
                cached_lease: self.has(Mutant::LeaseHeldAgainstACachedClock),
                in_epoch: patience,
                steady: if scenario.drifts { patience } else { 0 },
                memory: self.reads(index).then_some(0),
                ..Node::DOWN
            },
        });
        let member = |slot| (slot < there).then_some(Member { applied: 0, fence: 0 });
        let registry = std::array::from_fn(member);
        let data = Data { run: 1, reign: 1, epoch: 1, first: 1, registry, ..Data::default() };
        let second = if scenario.has_replica { Role::Replica } else { Role::Away };
        let servers: [Server; SERVERS] = [
            Server { role: Role::Primary, run: 1, reign: 1, data },
            Server {
                role: second,
                run: 2,
                reign: 1,
                data: if scenario.has_replica { data } else { Data::default() },
            },
        ];
        let mut shared = Shared::default();
        if scenario.shares {
            shared.put(1, 0, 0);
        }
        State {
            origin: 0,
            acked: 0,
            settled: 0,
            nodes,
            servers,
            witness: 0,
            shared,
            writes: [Write::IDLE; WRITES],
            reigns: 2,
            epochs: 1,
            spent: Spent::default(),
            seen: 0,
            is_stale: false,
        }
    }
}
