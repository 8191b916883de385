//! Sequences of requests and mishaps by lot, each played on a real Redis and on its twin: every answer has to be the same,
//! and at the end everything that can be asked.
//!
//! Epochs are drawn by lot on Redis; the first one that either side names stands for the first one of the other, and so on.

use std::time::Duration;

use bytes::Bytes;
use larder::fleet::journal::{Away, Incarnation, Journal, Outcome, Settings};
use larder::fleet::sim::{Key, SimServer};
use larder::store::position::Position;

use crate::ground::{Ground, REDIS, name, over_redis, settings};
use crate::redis_server::Redis;

const SEQUENCES: u64 = 10_000;
const STEPS: u64 = 14;
/// Small, so that a sequence can reach beyond it.
const RETAINED: u64 = 5;
const WHO: [&str; 3] = ["ann", "bob", "cid"];
const WRITES: [&str; 3] = ["w1", "w2", "w3"];
const KEYS: [Key; 4] = [Key::Meta, Key::Journal, Key::Members, Key::Intents];

#[derive(Clone, Debug)]
enum Step {
    Begin,
    Append(Bytes),
    Conclude(&'static str, Outcome, Bytes),
    Read(u64),
    Register(&'static str),
    Renew(&'static str, u64),
    Behind(u64),
    /// Its counter as it is, and so much more.
    Fence(&'static str, u64),
    Leave(&'static str),
    Members,
    Intend(&'static str, &'static str, Bytes),
    Intents,
    Close(&'static str, Outcome),
    Trim(u64),
    Lose(Key),
    Flush,
    Reign,
}

/// Numbers by lot: xorshift*.
struct Lot(u64);

impl Lot {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn record(&mut self) -> Bytes {
        let length = self.below(4);
        (0..length).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }

    fn step(&mut self) -> Step {
        let outcome = [Outcome::Known, Outcome::Unknown];
        match self.below(64) {
            0..2 => Step::Begin,
            2..12 => Step::Append(self.record()),
            12..18 => Step::Conclude(self.one(&WRITES), self.one(&outcome), self.record()),
            18..21 => Step::Read(self.below(8)),
            21..28 => Step::Register(self.one(&WHO)),
            28..36 => Step::Renew(self.one(&WHO), self.below(8)),
            36..40 => Step::Behind(self.below(8)),
            40..46 => Step::Fence(self.one(&WHO), self.below(8) / 7),
            46..48 => Step::Leave(self.one(&WHO)),
            48..50 => Step::Members,
            50..56 => Step::Intend(self.one(&WHO), self.one(&WRITES), self.record()),
            56 => Step::Intents,
            57..60 => Step::Close(self.one(&WRITES), self.one(&outcome)),
            60 => Step::Trim(self.below(8)),
            61 => Step::Lose(self.one(&KEYS)),
            62 => Step::Reign,
            _ if self.below(4) == 0 => Step::Flush,
            _ => Step::Members,
        }
    }
}

/// One of the two.
struct Side {
    ground: Ground,
    journal: Journal,
    /// As they were named.
    epochs: Vec<u64>,
    plain: Option<redis::Connection>,
}

impl Side {
    /// Plays a step in the newest epoch, or in the one before; gives what is said, with epochs by their order.
    async fn play(&mut self, step: &Step, is_late: bool) -> String {
        let back = 1 + usize::from(is_late && self.epochs.len() > 1);
        let epoch = self.epochs[self.epochs.len() - back];
        let (journal, who) = (&self.journal, |name: &str| Incarnation(name.to_owned()));
        let said = match step.clone() {
            Step::Begin => format!("{:?}", journal.begin().await),
            Step::Append(record) => format!("{:?}", journal.append(epoch, record).await),
            Step::Conclude(write, outcome, record) => {
                format!("{:?}", journal.conclude(epoch, write, outcome, record).await)
            }
            Step::Read(n) => format!("{:?}", journal.read(Position { epoch, n }, Duration::ZERO).await),
            Step::Register(name) => format!("{:?}", journal.register(epoch, &who(name), name).await),
            Step::Renew(name, applied) => {
                format!("{:?}", journal.renew(epoch, &who(name), applied, "I am").await)
            }
            Step::Behind(n) => format!("{:?}", journal.behind(epoch, n).await),
            Step::Fence(name, more) => {
                let (_, members) = journal.members().await.unwrap();
                let seen = members.iter().find(|member| member.incarnation.0 == name);
                let renewals = seen.map_or(0, |member| member.renewals) + more;
                format!("{:?}", journal.fence(epoch, &who(name), renewals).await)
            }
            Step::Leave(name) => format!("{:?}", journal.leave(epoch, &who(name)).await),
            Step::Members => format!("{:?}", journal.members().await),
            Step::Intend(name, write, record) => {
                format!("{:?}", journal.intend(epoch, &who(name), write, record).await)
            }
            Step::Intents => format!("{:?}", journal.intents(epoch).await),
            Step::Close(write, outcome) => format!("{:?}", journal.close(epoch, write, outcome).await),
            mishap => self.befalls(&mishap),
        };
        self.by_order(&said)
    }

    fn befalls(&mut self, mishap: &Step) -> String {
        let Some(plain) = &mut self.plain else {
            match *mishap {
                Step::Trim(first) => self.ground.trim(first),
                Step::Lose(key) => self.ground.lose(key),
                Step::Reign => self.ground.reign_anew(),
                _ => self.ground.flush(),
            }
            return String::new();
        };
        let words = match *mishap {
            Step::Trim(first) => format!("XTRIM {} MINID = {first}-0", name(Key::Journal)),
            Step::Lose(key) => format!("DEL {}", name(key)),
            Step::Reign => "DEBUG CHANGE-REPL-ID".to_owned(),
            _ => "FLUSHALL".to_owned(),
        };
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        let _: redis::Value = command.query(plain).unwrap();
        String::new()
    }

    /// `epoch: 77` becomes `epoch: #0` if 77 was the first that was named.
    fn by_order(&mut self, said: &str) -> String {
        let mut parts = said.split("epoch: ");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            let epoch = part[..end].parse().unwrap();
            let known = self.epochs.iter().position(|known| *known == epoch);
            let order = known.unwrap_or_else(|| {
                self.epochs.push(epoch);
                self.epochs.len() - 1
            });
            text += &format!("epoch: #{order}{}", &part[end..]);
        }
        text
    }

    /// Everything that can be asked.
    async fn all(&mut self) -> String {
        let mut all = self.play(&Step::Members, false).await;
        for step in [Step::Intents, Step::Read(0)] {
            all += &self.play(&step, false).await;
        }
        let extent = self.journal.begin().await.unwrap();
        all + &self.play(&Step::Read(extent.first - 1), false).await
    }
}

#[test]
fn five_thousand_sequences_are_answered_alike() {
    play(0);
}

#[test]
fn and_five_thousand_others() {
    play(1);
}

/// Every second sequence, from `first` on.
fn play(first: u64) {
    let seed: u64 = std::env::var("LARDER_SEED").map_or(0x1a4d_e12e, |seed| seed.parse().unwrap());
    let is_long = std::env::var("LARDER_LONG").is_ok_and(|long| long == "1");
    let sequences = if is_long { 10 * SEQUENCES } else { SEQUENCES };
    println!("LARDER_SEED={seed}");
    let redis = Redis::start(REDIS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let settings = || Settings { retained: RETAINED, deadline: Duration::from_secs(20), ..settings() };
        let plain = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
        let journal = over_redis(&redis.url(), settings());
        let mut real =
            Side { ground: Ground::Redis(vec![redis]), journal, epochs: Vec::new(), plain: Some(plain) };
        for sequence in (first..sequences).step_by(2) {
            let mut lot = Lot(seed.wrapping_add(sequence).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let sim = SimServer::default();
            let journal = Journal::Sim(sim.client(settings()));
            let mut twin = Side { ground: Ground::Sim(sim), journal, epochs: Vec::new(), plain: None };
            real.befalls(&Step::Flush);
            real.epochs.clear();
            let mut story = vec![Step::Begin];
            for _ in 0..STEPS {
                let step = story.last().unwrap().clone();
                let is_late = lot.below(16) == 0;
                if story.len() == 1 {
                    // The first epoch has to have a name.
                    begin(&mut real).await;
                    begin(&mut twin).await;
                }
                let (there, here) = (real.play(&step, is_late).await, twin.play(&step, is_late).await);
                assert_eq!(there, here, "sequence {sequence}: {story:#?}");
                story.push(lot.step());
            }
            assert_eq!(real.all().await, twin.all().await, "sequence {sequence}: {story:#?}");
        }
    });
}

async fn begin(side: &mut Side) {
    let extent: Result<_, Away> = side.journal.begin().await;
    let epoch = extent.unwrap().epoch;
    side.epochs.push(epoch);
    // A new connection looks whose epoch it is; from now on both have an old one.
    side.journal.read(Position { epoch, n: 0 }, Duration::ZERO).await.unwrap();
}
