//! The fleet.
mod fleet;
mod mutant;
mod node;
mod promise;
mod redis;
mod scenario;
mod state;
mod write;

use stateright::{Checker, Model, HasDiscoveries};
use crate::fleet::Fleet;
use crate::scenario::Scenario;
use crate::mutant::Mutant::{self, *};

const CALM: Scenario = Scenario::CALM;
const DRIFT: Scenario = Scenario { name: "drift", drifts: true, ..CALM };
const LEAVE: Scenario = Scenario { name: "leave", leaves: 1, ..CALM };
const SHARED: Scenario = Scenario { name: "shared", shares: true, ..CALM };
const LATE: Scenario = Scenario { name: "late", nodes: 1, late: 1, shares: true, trims: 1, ..CALM };
const CRASH: Scenario = Scenario { name: "crash", crashes: 1, shares: true, ..CALM };
const WIPE: Scenario = Scenario { name: "wipe", wipes: 1, epochs: 2, shares: true, ..CALM };
const WIPE2: Scenario = Scenario { name: "wipe2", wipes: 1, epochs: 2, writes: &[0, 1], ..CALM };
const PROMOTE: Scenario = Scenario { name: "promote", has_replica: true, promotions: 1, epochs: 2, ..CALM };
const BACK: Scenario = Scenario { name: "back", has_replica: true, promotions: 2, epochs: 3, ..CALM };
const SPLIT: Scenario = Scenario { name: "split", has_replica: true, promotions: 1, splits: true, waits: true, epochs: 2, moves: 3, records: 2, ..CALM };
const V1: Scenario = Scenario { name: "v1", writes: &[0,1], watches: &[0,1], reads: &[1], drifts: true, ..CALM };
const V2: Scenario = Scenario { name: "v2", writes: &[0,1], watches: &[0,1], reads: &[1], crashes: 1, leaves: 1, restarts: false, ..CALM };
const V3: Scenario = Scenario { name: "v3", nodes: 3, writes: &[0], watches: &[0,1], reads: &[2], ..CALM };
const V4: Scenario = Scenario { name: "v4", shares: true, reads: &[0,1], others: 1, ..CALM };
const V5: Scenario = Scenario { name: "v5", shares: true, reads: &[0,1], nodes: 1, late: 1, trims: 1, others: 1, ..CALM };
const V6: Scenario = Scenario { name: "v6", shares: true, reads: &[1], flights: 2, others: 1, ..CALM };
const V7: Scenario = Scenario { name: "v7", shares: true, reads: &[1], crashes: 1, trims: 1, ..CALM };
const V8: Scenario = Scenario { name: "v8", lease: 2, drifts: true, reads: &[0, 1], ..CALM };
const V9: Scenario = Scenario { name: "v9", keeps_leases: true, ..WIPE };
const V10: Scenario = Scenario { name: "v10", keeps_leases: true, ..SPLITA };
const V11: Scenario = Scenario { name: "v11", writes: &[0,1], watches: &[0,1], reads: &[0,1], ..CALM };
const V12: Scenario = Scenario { name: "v12", flights: 0, records: 2, ..UNKNOWN };
const V13: Scenario = Scenario { name: "v13", nodes: 3, writes: &[0], watches: &[0,1], reads: &[2], crashes: 1, restarts: false, ..CALM };
const SPLITA: Scenario = Scenario{name:"splita", flights:0, records:1, moves: 2, ..SPLIT}; const SPLITB: Scenario = Scenario{name:"splitb", flights:1, records:1, moves: 2, ..SPLIT};const SPLITC: Scenario = Scenario{name:"splitc", flights:0, records:1, moves: 3, ..SPLIT};
const WITNESS: Scenario = Scenario { name: "witness", has_witness: true, ..SPLITA };
const SPLIT0: Scenario = Scenario{name:"split0", flights:0, ..SPLIT}; const INTENT0: Scenario = Scenario{name:"intent0", flights:0, ..INTENT}; const UNKNOWN0: Scenario = Scenario{name:"unknown0", flights:0, ..UNKNOWN}; const WIPE20: Scenario = Scenario{name:"wipe20", flights:0, ..WIPE2};const INTENTW0: Scenario = Scenario{name:"intentw0", flights:0, ..INTENT_WIPE};
const INTENT: Scenario = Scenario { name: "intent", intends: true, records: 3, crashes: 1, restarts: false, watches: &[1], ..CALM };
const UNKNOWN: Scenario = Scenario { name: "unknown", gives_up: true, crashes: 0, ..INTENT };
const UNKNOWN_PROMOTE: Scenario = Scenario { name: "unknownp", gives_up: true, crashes: 0, ..INTENT_PROMOTE };
const NR_INTENT: Scenario = Scenario { name: "nrintent", reads: &[], ..INTENT };
const NR_UNKNOWN: Scenario = Scenario { name: "nrunknown", reads: &[], ..UNKNOWN };
const NR_INTENTP: Scenario = Scenario { name: "nrintentp", reads: &[], ..INTENT_PROMOTE };
const NR_INTENTW: Scenario = Scenario { name: "nrintentw", reads: &[], ..INTENT_WIPE };
const INTENT_PROMOTE: Scenario = Scenario { name: "intentp", has_replica: true, promotions: 1, splits: true, waits: true, epochs: 2, ..INTENT };
const INTENT_WIPE: Scenario = Scenario { name: "intentw", wipes: 1, epochs: 2, ..INTENT };

const MUTANTS: &[(Mutant, Scenario)] = &[
(TicketTakenLate, CALM), (OldFlightJoined, CALM), (JoinedWithoutALease, CALM), (BoardingOpenBehindTheLease, SHARED), (TicketsOfTwoEpochsCompared, WIPE),
(RenewedBehindTheFence, CALM), (LeaseCountedFromTheAnswer, CALM), (LeaseHeldAgainstACachedClock, CALM), (ServedWithoutALease, CALM), (ServedAfterLeaving, LEAVE), (AppliedBeforeItIsDead, CALM),
(AcknowledgedUnseen, CALM), (AcknowledgedWithoutAFence, CALM), (FencedWithoutComparing, CALM), (MarginLeftOut, DRIFT), (StillnessCountedFromTheQuestion, CALM), (RegistryReadBeforeTheAppend, LATE),
(RegisteredWithoutAFence, LATE), (IncarnationUsedAgain, CRASH), (StartedWithoutReplay, LATE), (OlderThanTheJournalTrusted, LATE),
(GapReadOver, Scenario { trims: 1, ..CALM }), (UnknownRecordSkipped, CALM), (OwnExpansionOnly, CALM), (FloorLetGoEarly, SHARED),
(SharedUnchecked, SHARED), (PromotedUnderANewTicket, SHARED),
(LeaseLookedAtLast, CALM), (FenceLeftBehind, Scenario{others:1, ..CALM}), (RegisteredTwice, Scenario{others:1, ..CALM}), (TrimmedBeforeTheHoldIsOver, Scenario{trims:1, ..UNKNOWN}), 
(EpochCountedUnconfirmed, WITNESS), (TicketOfAnUnconfirmedEpoch, WITNESS), (EpochKeepsMemory, WIPE), (EpochKeepsSharedKeys, WIPE), (EpochKeepsTheCursor, Scenario{others:1, shares:false, ..WIPE}), (EpochAcknowledgesAtOnce, WIPE), (PositionsOfTwoEpochsCompared, WIPE2), (ServerNotCompared, PROMOTE), (RunIdComparedAlone, BACK),
(RenewedWithoutWait, SPLIT), (AppendedWithoutWait, SPLIT), (IntendedWithoutWait, INTENT_PROMOTE),
(IntentLeftOut, INTENT), (IntentHungOnNothing, INTENT), (OrphansIgnored, INTENT), (ForwardedWithoutALease, INTENT), (UnknownOutcomeNotHeld, UNKNOWN), (HoldWithoutTheLease, Scenario{lease:2, flights:0, records: 2, moves:1, crashes: 0, watches: &[], splits: false, waits: false, ..INTENT_PROMOTE}), (IntentClosedBySilence, UNKNOWN_PROMOTE), (IntentsLeftInTheOldEpoch, INTENT_WIPE),
];

fn explore(scenario: Scenario, mutant: Option<Mutant>) {
    let t = std::time::Instant::now();
    let secs: u64 = std::env::var("SECS").map_or(60, |s| s.parse().unwrap());
    let checker = Fleet { scenario, mutant }.checker().threads(1).finish_when(HasDiscoveries::Any).timeout(std::time::Duration::from_secs(secs)).spawn_bfs().join();
    let d = checker.discoveries();
    println!("{:?} {}: {} states, {} generated, depth {}, {:?} {}", mutant, scenario.name, checker.unique_state_count(), checker.state_count(), checker.max_depth(), t.elapsed(),
      if !d.is_empty() {format!("CAUGHT {:?} in {} steps", d.keys().collect::<Vec<_>>(), d.values().next().unwrap().clone().into_actions().len())} else if t.elapsed().as_secs() < secs {"SAFE".into()} else {"TIMEOUT".into()});
    if std::env::var("TRACE").is_ok() {
    for (name, path) in checker.discoveries() {
        println!("BROKEN {name}");
        for (i, step) in path.clone().into_actions().iter().enumerate() { println!("  {i} {step:?}"); }
        println!("{:#?}", path.last_state());
    }}
}

#[test]
fn run() {
    let only = std::env::var("ONLY").unwrap_or_default();
    for (m, s) in MUTANTS { if only.is_empty() || format!("{m:?}").contains(&only) { explore(*s, Some(*m)); } }
}
#[test]
fn safe() {
    let only = std::env::var("ONLY").unwrap_or_default();
    for s in [WITNESS,V1,V2,V3,V4,V5,V6,V7,V8,V9,V10,V11,V12,V13,SPLITA,SPLITB,SPLITC, SPLIT0, INTENT0, UNKNOWN0, WIPE20, INTENTW0,CALM, DRIFT, LEAVE, SHARED, LATE, CRASH, WIPE, WIPE2, PROMOTE, BACK, SPLIT, INTENT, UNKNOWN, UNKNOWN_PROMOTE, INTENT_PROMOTE, INTENT_WIPE, NR_INTENT, NR_UNKNOWN, NR_INTENTP, NR_INTENTW] { if only.is_empty() || s.name == only {explore(s, None);} }
}
#[test]
fn project() {
    use std::collections::{HashSet, VecDeque};
    let name = std::env::var("ONLY").unwrap_or_default();
    let all = [SPLIT0, INTENT0, UNKNOWN0, WIPE20, INTENTW0, SPLIT, INTENT];
    let scenario = *all.iter().find(|s| s.name == name).unwrap();
    let fleet = Fleet { scenario, mutant: None };
    let mut seen = HashSet::new(); let mut queue = VecDeque::new();
    for s in fleet.init_states() { seen.insert(s.clone()); queue.push_back(s); }
    let mut acts = vec![];
    while let Some(s) = queue.pop_front() { if seen.len() > 1_000_000 {break}
        fleet.actions(&s, &mut acts);
        for a in acts.drain(..) { if let Some(n) = fleet.next_state(&s, a) { if seen.insert(n.clone()) { queue.push_back(n); } } }
    }
    println!("{} states", seen.len());
    macro_rules! p { ($($n:expr, $f:expr);* $(;)?) => { $( let v: HashSet<String> = seen.iter().map(|s: &crate::state::State| format!("{:?}", ($f)(s))).collect(); println!("{:24} {} {:?}", $n, v.len(), v.iter().take(6).collect::<Vec<_>>()); )* } }
    type S = crate::state::State;
    p!{"node0", |s: &S| s.nodes[0]; "node1", |s: &S| s.nodes[1]; "srv0", |s:&S| s.servers[0]; "srv1", |s:&S| s.servers[1]; "writes", |s:&S| s.writes; "w0", |s:&S| s.writes[0];
     "n0.watch", |s:&S| s.nodes[0].watch; "n1.watch", |s:&S| s.nodes[1].watch; "n1.renewal", |s:&S| s.nodes[1].renewal; "n1 ap", |s:&S| s.nodes[1].applied; "n1.inep", |s:&S| s.nodes[1].in_epoch; "n1.slot", |s:&S| s.nodes[1].slot;  "n1.mem", |s:&S| s.nodes[1].memory; "n1.fl", |s:&S| s.nodes[1].flights; "hold", |s:&S| s.nodes[1].hold; "n1 lease", |s:&S| (s.nodes[1].lease); "at", |s:&S| (s.nodes[1].at, s.nodes[1].epoch);
     "reg0", |s:&S| s.servers[0].data.registry; "recs", |s:&S| (s.servers[0].data.records, s.servers[0].data.head); "intents", |s:&S| s.servers[0].data.intents; "limbo", |s:&S| s.writes[0].limbo; "told", |s:&S| s.writes[0].told; "cover", |s:&S| s.writes[0].cover; "stage", |s:&S| s.writes[0].stage; "misc", |s:&S| (s.origin, s.acked, s.settled, s.spent, s.reigns, s.epochs); "n0.at.ep.slot", |s:&S| (s.nodes[0].at, s.nodes[0].epoch, s.nodes[0].slot); "n0 lease ren", |s:&S| (s.nodes[0].lease, s.nodes[0].renewal); "n0 ap inep", |s:&S| (s.nodes[0].applied,s.nodes[0].in_epoch); "n0 phase", |s:&S| s.nodes[0].phase; "n0 inepoch", |s:&S| s.nodes[0].hold;}
}
