//! Requests over days, made from a seed: who asks for what, and when something is written or everything is lost.
//!
//! ```text
//! steady    Zipf over 20,000 details, their lists and numbers, the same at any hour
//! shift     the office asks for other things than the night; reports are read in the first minutes of the working day
//! crowd     steady, and on the last day at two in the afternoon everybody wants what nobody has ever asked for
//! flat      everything equally likely: nothing to learn
//! all       shift and crowd, with writes that outdate, and an empty store on three mornings
//! ```

use crate::random::{Random, Zipf};

/// The first second of every trace: midnight, Monday 5 January 2026, UTC.
pub(crate) const BEGIN: u64 = 1_767_571_200;
pub(crate) const HOUR: f64 = 3600.0;
pub(crate) const DAY: f64 = 24.0 * HOUR;
/// Days that are played; the first ones are for learning.
pub(crate) const DAYS: usize = 5;
/// Projects that there are.
const PROJECTS: usize = 20_000;
/// Requests in a second, in office hours and outside.
const BUSY: f64 = 1.5;
const QUIET: f64 = 0.4;
/// Reports that are read in the first minutes of the working day, and for how long (s).
const REPORTS: usize = 60;
const MORNING: f64 = 1200.0;
/// What the crowd wants.
const CROWD: usize = 40;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Detail(u32),
    List(u32),
    Number(u32),
    Report(u32),
}

impl What {
    /// Seconds for which an answer is fresh.
    pub(crate) fn life(self) -> f64 {
        match self {
            Self::Detail(_) | Self::Report(_) => HOUR,
            Self::List(_) => 900.0,
            Self::Number(_) => 300.0,
        }
    }

    /// A name for it that no other has.
    pub(crate) fn key(self) -> u64 {
        let (kind, id) = match self {
            Self::Detail(id) => (1, id),
            Self::List(page) => (2, page),
            Self::Number(of) => (3, of),
            Self::Report(of) => (4, of),
        };
        kind << 32 | u64::from(id)
    }
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event {
    Read(What),
    /// Outdates a detail, every list and every number.
    Write(u32),
    /// Nothing is kept any more.
    Emptied,
}

/// What a trace is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    skew: f64,
    shifts: bool,
    crowd: bool,
    /// Writes in a second.
    writes: f64,
    restarts: bool,
}

pub(crate) const KINDS: [Kind; 5] = [
    Kind { name: "steady", skew: 0.9, shifts: false, crowd: false, writes: 0.0, restarts: false },
    Kind { name: "shift", skew: 0.9, shifts: true, crowd: false, writes: 0.0, restarts: false },
    Kind { name: "crowd", skew: 0.9, shifts: false, crowd: true, writes: 0.0, restarts: false },
    Kind { name: "flat", skew: 0.0, shifts: false, crowd: false, writes: 0.0, restarts: false },
    Kind { name: "all", skew: 0.9, shifts: true, crowd: true, writes: 0.005, restarts: true },
];

/// All of it, in order, with the seconds since [`BEGIN`].
pub(crate) fn trace(kind: Kind, seed: u64) -> Vec<(f64, Event)> {
    let mut random = Random::new(seed);
    let popular = [Zipf::new(PROJECTS, kind.skew), Zipf::new(50, kind.skew), Zipf::new(20, kind.skew)];
    let by_day = random.shuffled(PROJECTS);
    let by_night = if kind.shifts { random.shuffled(PROJECTS) } else { by_day.clone() };
    let mut events = Vec::new();
    let end = DAYS as f64 * DAY;
    let mut now = 0.0;
    while now < end {
        let office = in_office(now);
        now += random.pause(if office { BUSY } else { QUIET });
        let order = if office { &by_day } else { &by_night };
        let apart = if kind.shifts && !office { 1000 } else { 0 };
        let what = match random.below(100) {
            0..80 => What::Detail(order[popular[0].rank(&mut random)]),
            80..92 => What::List(popular[1].rank(&mut random) as u32 + apart),
            _ => What::Number(popular[2].rank(&mut random) as u32 + apart),
        };
        events.push((now, Event::Read(what)));
    }
    for day in (0..DAYS).map(|day| day as f64 * DAY) {
        if kind.shifts {
            more(&mut events, &mut random, (day + 8.0 * HOUR, MORNING), 0.5, |random| {
                Event::Read(What::Report(random.below(REPORTS) as u32))
            });
        }
        if kind.writes > 0.0 {
            more(&mut events, &mut random, (day, DAY), kind.writes, |random| {
                Event::Write(by_day[popular[0].rank(random)])
            });
        }
    }
    if kind.crowd {
        let crowd = ((DAYS - 1) as f64 * DAY + 14.0 * HOUR, 2.0 * HOUR);
        more(&mut events, &mut random, crowd, 3.0, |random| {
            Event::Read(What::Detail((PROJECTS + random.below(CROWD)) as u32))
        });
    }
    if kind.restarts {
        events.extend([2.0, 3.0, 4.0].map(|day| (day * DAY + 7.9 * HOUR, Event::Emptied)));
    }
    events.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    events
}

fn in_office(now: f64) -> bool {
    (8.0..18.0).contains(&(now % DAY / HOUR))
}

/// What comes `rate` times a second from a time on, for so long.
fn more(
    events: &mut Vec<(f64, Event)>,
    random: &mut Random,
    (from, length): (f64, f64),
    rate: f64,
    event: impl Fn(&mut Random) -> Event,
) {
    let mut now = from + random.pause(rate);
    while now < from + length {
        events.push((now, event(random)));
        now += random.pause(rate);
    }
}
