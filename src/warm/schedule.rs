//! When a task is due: pure, by the time that it is given.
//!
//! ```text
//! start ── every ──► due (+ jitter) ── late, or n times missed ──► once ──► the next one after now
//! ```
//! Invariant: a task is due at most once each time it is asked, however long ago that was; where the wall clock goes back, what
//! lay ahead is found anew. Periods go by the monotonic clock, cron by the wall. A due time has a *slot* that is the same
//! on all nodes of a fleet.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::clock::Now;

/// Latest that a task is begun after it is due, so that many do not begin together.
pub const MAX_JITTER: Duration = Duration::from_secs(10);

/// The share of its period that a task may be late: one in so many.
const JITTER_SHARE: u32 = 10;

/// How often a task is run, beside at the start.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// At the start only.
    Start,
    /// So long after the start, and again.
    Every(Duration),
    /// By a cron pattern, in this zone.
    Cron(Box<Cron>, TimeZone),
}

/// A task that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its place in the list of schedules.
    pub task: usize,
    /// Names the time for which it is due: the same for all nodes that are given the same schedule.
    pub slot: u64,
}

/// What is due when.
#[derive(Clone, Debug)]
pub struct Diary(Vec<Page>);

#[derive(Clone, Debug)]
struct Page {
    schedule: Schedule,
    next: Option<Next>,
}

#[derive(Clone, Copy, Debug)]
struct Next {
    /// When it is due, by both clocks as they stood when this was written.
    mono: Duration,
    wall: SystemTime,
    /// When this was written.
    noted: SystemTime,
    jitter: Duration,
}

impl Diary {
    /// For a process that starts now. `random` gives numbers for the jitter.
    pub fn new(
        schedules: impl IntoIterator<Item = Schedule>,
        now: Now,
        random: &mut dyn FnMut() -> u64,
    ) -> Self {
        let mut diary = Self(Vec::new());
        schedules.into_iter().for_each(|schedule| diary.add(schedule, now, random));
        diary
    }

    /// Adds a schedule behind the others; periods are counted from now.
    pub fn add(&mut self, schedule: Schedule, now: Now, random: &mut dyn FnMut() -> u64) {
        let next = match &schedule {
            Schedule::Start => None,
            Schedule::Every(period) => Some(Next::of(now.mono + *period, now, *period, random)),
            Schedule::Cron(..) => schedule.by_cron(now, random),
        };
        self.0.push(Page { schedule, next });
    }

    /// Adds the n-th schedule of another diary, due when it is there.
    pub fn add_from(&mut self, other: &Self, nth: usize) {
        self.0.extend(other.0.get(nth).cloned());
    }

    /// Takes the n-th schedule away; those behind it move up.
    pub fn remove(&mut self, nth: usize) {
        self.0.remove(nth);
    }

    /// What is due now, in the order of the list, each once; its next time is noted.
    pub fn due(&mut self, now: Now, random: &mut dyn FnMut() -> u64) -> Vec<Due> {
        let mut due = Vec::new();
        for (task, page) in self.0.iter_mut().enumerate() {
            let Some(next) = page.next else { continue };
            match &page.schedule {
                Schedule::Start => {}
                Schedule::Every(period) => {
                    if now.mono < next.mono + next.jitter {
                        continue;
                    }
                    let late = now.mono - next.mono;
                    let at = now.wall.checked_sub(late).unwrap_or(now.wall);
                    due.push(Due { task, slot: (millis(at) / period.as_millis().max(1)) as u64 });
                    let missed = late.as_millis() / period.as_millis().max(1);
                    let on = period.saturating_mul(u32::try_from(missed + 1).unwrap_or(u32::MAX));
                    page.next = Some(Next::of(next.mono + on, now, *period, random));
                }
                Schedule::Cron(..) => {
                    if now.wall >= next.wall + next.jitter {
                        due.push(Due { task, slot: millis(next.wall) as u64 });
                    } else if now.wall >= next.noted {
                        continue;
                    }
                    page.next = page.schedule.by_cron(now, random);
                }
            }
        }
        due
    }

    /// When a task is due next, by the wall; `None`: never again.
    pub fn next(&self, task: usize, now: Now) -> Option<SystemTime> {
        let page = self.0.get(task)?;
        let next = page.next?;
        match page.schedule {
            Schedule::Start => None,
            Schedule::Every(_) => Some(now.wall + (next.mono + next.jitter).saturating_sub(now.mono)),
            Schedule::Cron(..) => Some(next.wall + next.jitter),
        }
    }
}

impl Schedule {
    /// How late a run may be that is followed by the next one after `period`.
    fn jitter(period: Duration, random: u64) -> Duration {
        let most = MAX_JITTER.min(period / JITTER_SHARE);
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random.checked_rem(nanos).unwrap_or(0))
    }

    fn by_cron(&self, now: Now, random: &mut dyn FnMut() -> u64) -> Option<Next> {
        let Self::Cron(cron, zone) = self else { return None };
        let wall = occurrence(cron, zone, now.wall)?;
        let after = occurrence(cron, zone, wall).and_then(|after| after.duration_since(wall).ok());
        let jitter = Self::jitter(after.unwrap_or(Duration::MAX), random());
        Some(Next { mono: now.mono, wall, noted: now.wall, jitter })
    }
}

impl Next {
    fn of(mono: Duration, now: Now, period: Duration, random: &mut dyn FnMut() -> u64) -> Self {
        Self { mono, wall: now.wall, noted: now.wall, jitter: Schedule::jitter(period, random()) }
    }
}

/// The first time after `after` that the pattern names; `None`: there is none.
pub fn occurrence(cron: &Cron, zone: &TimeZone, after: SystemTime) -> Option<SystemTime> {
    let after: Zoned = Timestamp::try_from(after).ok()?.to_zoned(zone.clone());
    let next = cron.find_next_occurrence(&after, false).ok()?;
    Some(SystemTime::from(next.timestamp()))
}

fn millis(at: SystemTime) -> u128 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(mono: Duration, wall: &str) -> Now {
        Now { mono, wall: humantime::parse_rfc3339(wall).unwrap() }
    }

    fn start() -> Now {
        at(Duration::from_secs(3600), "2026-01-31T23:58:00Z")
    }

    fn later(now: Now, by: Duration) -> Now {
        Now { mono: now.mono + by, wall: now.wall + by }
    }

    fn cron(pattern: &str, zone: &str) -> Schedule {
        Schedule::Cron(Box::new(pattern.parse().unwrap()), TimeZone::get(zone).unwrap())
    }

    fn diary(schedule: Schedule) -> Diary {
        Diary::new([schedule], start(), &mut || 0)
    }

    fn runs(diary: &mut Diary, now: Now) -> usize {
        diary.due(now, &mut || 0).len()
    }

    #[test]
    fn a_period_begins_at_the_start() {
        let mut diary = diary(Schedule::Every(30 * MINUTE));
        assert_eq!(runs(&mut diary, later(start(), 30 * MINUTE - Duration::from_millis(1))), 0);
        assert_eq!(runs(&mut diary, later(start(), 30 * MINUTE)), 1);
        assert_eq!(runs(&mut diary, later(start(), 30 * MINUTE)), 0, "once");
        assert_eq!(runs(&mut diary, later(start(), 60 * MINUTE)), 1);
    }

    #[test]
    fn what_was_missed_is_run_once_and_keeps_its_beat() {
        let mut diary = diary(Schedule::Every(10 * MINUTE));
        assert_eq!(runs(&mut diary, later(start(), 95 * MINUTE)), 1);
        assert_eq!(runs(&mut diary, later(start(), 99 * MINUTE)), 0);
        assert_eq!(runs(&mut diary, later(start(), 100 * MINUTE)), 1);
    }

    #[test]
    fn cron_goes_by_the_wall_in_its_zone() {
        let mut midnight = diary(cron("0 0 * * *", "UTC"));
        assert_eq!(runs(&mut midnight, later(start(), MINUTE)), 0);
        assert_eq!(runs(&mut midnight, later(start(), 2 * MINUTE)), 1);
        let berlin = diary(cron("0 0 * * *", "Europe/Berlin"));
        let next = berlin.next(0, start()).unwrap();
        assert_eq!(humantime::format_rfc3339(next).to_string(), "2026-02-01T23:00:00Z");
    }

    #[test]
    fn a_machine_that_slept_through_many_of_them_runs_once() {
        let mut diary = diary(cron("*/10 * * * *", "UTC"));
        // The monotonic clock stands still while a machine sleeps.
        let woken = at(start().mono, "2026-02-03T07:01:00Z");
        assert_eq!(runs(&mut diary, woken), 1);
        assert_eq!(runs(&mut diary, woken), 0);
        let next = diary.next(0, woken).unwrap();
        assert_eq!(humantime::format_rfc3339(next).to_string(), "2026-02-03T07:10:00Z");
    }

    #[test]
    fn a_wall_clock_that_goes_back_keeps_no_task_waiting_for_its_return() {
        let mut diary = diary(cron("*/10 * * * *", "UTC"));
        let back = at(start().mono + MINUTE, "2020-01-01T00:05:00Z");
        assert_eq!(runs(&mut diary, back), 0);
        assert_eq!(runs(&mut diary, later(back, 5 * MINUTE)), 1);
    }

    #[test]
    fn jitter_is_late_and_never_early_and_bounded() {
        let most = |schedule: Schedule| {
            let mut random = || u64::MAX;
            let diary = Diary::new([schedule], start(), &mut random);
            diary.next(0, start()).unwrap().duration_since(start().wall).unwrap()
        };
        assert!(most(Schedule::Every(MINUTE)) < MINUTE + MINUTE / JITTER_SHARE);
        assert!(most(Schedule::Every(60 * MINUTE)) < 60 * MINUTE + MAX_JITTER);
        assert!(most(cron("0 0 * * *", "UTC")) < 2 * MINUTE + MAX_JITTER);
        let seconds = Duration::from_secs(2);
        assert!(most(cron("*/2 * * * * *", "UTC")) < seconds + seconds / JITTER_SHARE);
    }

    #[test]
    fn nodes_that_started_apart_have_the_same_slots() {
        let slot = |begun: Duration, schedule: &Schedule| {
            let begun = later(start(), begun);
            let mut diary = Diary::new([schedule.clone()], begun, &mut || 0);
            let due = diary.due(later(begun, 10 * MINUTE), &mut || 0);
            due[0].slot
        };
        let schedules = [Schedule::Every(10 * MINUTE), cron("*/10 * * * *", "UTC")];
        for schedule in &schedules {
            assert_eq!(slot(Duration::ZERO, schedule), slot(Duration::from_secs(60), schedule));
            assert_ne!(slot(Duration::ZERO, schedule), slot(10 * MINUTE, schedule));
        }
    }

    #[test]
    fn the_start_is_not_in_the_diary() {
        let mut diary = diary(Schedule::Start);
        assert_eq!(runs(&mut diary, later(start(), 1000 * MINUTE)), 0);
        assert_eq!(diary.next(0, start()), None);
    }
}
