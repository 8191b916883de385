//! What `larder top` shows: figures as they come, what happened between the last two, and what the keys chose.
//!
//! Pure. Invariant: paused, nothing shown moves but by keys, and what came meanwhile is shown after it; nothing grows without end.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use crate::cli::figures::{Answered, Figures, Row};
use crate::cli::stream::Next;

/// Invalidations that are remembered.
const REMEMBERED: usize = 50;

/// By what routes are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// Most requests first.
    #[default]
    Requests,
    /// The worst first.
    HitRatio,
    /// What saves most first.
    Saved,
}

impl Sort {
    /// The next one.
    fn next(self) -> Self {
        match self {
            Self::Requests => Self::HitRatio,
            Self::HitRatio => Self::Saved,
            Self::Saved => Self::Requests,
        }
    }

    /// In words.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::HitRatio => "hit ratio",
            Self::Saved => "time saved",
        }
    }
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Sort,
    Pause,
    Help,
}

/// All that is shown.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) figures: Option<Figures>,
    /// What happened between the last two.
    pub(super) row: Option<Row>,
    /// Requests a second of each route.
    rates: HashMap<String, f64>,
    /// The newest first, a line each.
    pub(super) invalidations: VecDeque<String>,
    pub(super) sort: Sort,
    pub(super) selected: usize,
    pub(super) is_paused: bool,
    /// What came while it was paused: the last figures, and invalidations as above.
    held: (Option<Figures>, VecDeque<String>),
    pub(super) shows_help: bool,
    /// Why nothing comes just now.
    pub(super) broken: Option<String>,
}

impl Board {
    /// Takes in what comes.
    pub(super) fn takes(&mut self, next: Next) {
        match next {
            Next::Broken(why) => self.broken = Some(why),
            Next::Back => self.broken = None,
            Next::Event(event, data) if event == "figures" => match serde_json::from_value(data) {
                Ok(figures) if self.is_paused => self.held.0 = Some(figures),
                Ok(figures) => self.looks(figures),
                Err(_) => {}
            },
            Next::Event(event, data) if event == "invalidation" => {
                let seen = if self.is_paused { &mut self.held.1 } else { &mut self.invalidations };
                seen.push_front(told(&data));
                seen.truncate(REMEMBERED);
            }
            Next::Event(..) => {}
        }
    }

    fn looks(&mut self, new: Figures) {
        if let Some(old) = &self.figures {
            self.row = Row::between(old, &new);
            let seconds = new.uptime_seconds - old.uptime_seconds;
            let before: HashMap<&str, u64> =
                old.routes.iter().map(|route| (route.route.as_str(), route.requests.all)).collect();
            let rate = |route: &Answered| {
                let was = before.get(route.route.as_str()).copied().unwrap_or_default();
                let grown = route.requests.all.saturating_sub(was);
                (route.route.clone(), if seconds > 0.0 { grown as f64 / seconds } else { 0.0 })
            };
            self.rates = new.routes.iter().map(rate).collect();
        }
        self.figures = Some(new);
        self.broken = None;
    }

    /// Does what a key asks for.
    pub(super) fn press(&mut self, key: Key) {
        let last = self.figures.as_ref().map_or(0, |figures| figures.routes.len().saturating_sub(1));
        match key {
            Key::Up => self.selected = self.selected.saturating_sub(1),
            Key::Down => self.selected = (self.selected + 1).min(last),
            Key::Sort => (self.sort, self.selected) = (self.sort.next(), 0),
            Key::Pause if self.is_paused => self.goes_on(),
            Key::Pause => self.is_paused = true,
            Key::Help => self.shows_help = !self.shows_help,
        }
    }

    /// Shows what came while it was paused.
    fn goes_on(&mut self) {
        self.is_paused = false;
        let (figures, mut invalidations) = std::mem::take(&mut self.held);
        if let Some(figures) = figures {
            self.looks(figures);
        }
        invalidations.append(&mut self.invalidations);
        invalidations.truncate(REMEMBERED);
        self.invalidations = invalidations;
    }

    /// Routes in their order, each with its requests a second.
    pub(super) fn routes(&self) -> Vec<(&Answered, f64)> {
        let Some(figures) = &self.figures else { return Vec::new() };
        let rate = |route: &Answered| self.rates.get(&route.route).copied().unwrap_or_default();
        let mut routes: Vec<_> = figures.routes.iter().map(|route| (route, rate(route))).collect();
        let thousandths = |share: Option<f64>| share.map_or(u64::MAX, |share| (share * 1e6) as u64);
        let micros = |saved: Option<f64>| saved.map_or(0, |saved| (saved * 1e6) as u64);
        routes.sort_by_key(|(route, rate)| match self.sort {
            Sort::Requests => (Reverse((rate * 1e3) as u64), Reverse(route.requests.all)),
            Sort::HitRatio => (Reverse(u64::MAX - thousandths(route.hit_ratio)), Reverse(route.requests.all)),
            Sort::Saved => (Reverse(micros(route.seconds_saved)), Reverse(route.requests.all)),
        });
        routes
    }
}

/// An invalidation in one line.
fn told(of: &Value) -> String {
    let text = |key: &str| of[key].as_str().unwrap_or("-").escape_debug().to_string();
    let words = |key: &str| -> Vec<String> {
        let list = of[key].as_array().into_iter().flatten();
        list.filter_map(|word| Some(word.as_str()?.escape_debug().to_string())).collect()
    };
    let at = text("at");
    let at: String = at.split_once('T').map_or(at.as_str(), |(_, time)| time).chars().take(8).collect();
    let derived = words("derived");
    let derived = if derived.is_empty() { String::new() } else { format!(" → {}", derived.join(" ")) };
    let soft = if of["mode"] == "soft" { " softly" } else { "" };
    let dropped = of["invalidated"].as_u64().unwrap_or_default();
    format!("{at}  {}{soft}  {}{derived}  {dropped} dropped", text("source"), words("reach").join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn figures(uptime: f64, routes: &[(&str, u64, f64, f64)]) -> Next {
        let routes = routes.iter().map(|(route, all, ratio, saved)| {
            json!({ "route": route, "requests": { "all": all }, "hit_ratio": ratio, "seconds_saved": saved })
        });
        let routes: Vec<Value> = routes.collect();
        Next::Event("figures".into(), json!({ "uptime_seconds": uptime, "routes": routes }))
    }

    fn names(board: &Board) -> Vec<&str> {
        board.routes().iter().map(|(route, _)| route.route.as_str()).collect()
    }

    #[test]
    fn routes_are_sorted_by_what_was_chosen() {
        let mut board = Board::default();
        board.takes(figures(1.0, &[("/a", 10, 0.9, 1.0), ("/b", 20, 0.5, 9.0), ("/c", 5, 0.1, 3.0)]));
        board.takes(figures(2.0, &[("/a", 110, 0.9, 1.0), ("/b", 25, 0.5, 9.0), ("/c", 5, 0.1, 3.0)]));
        assert_eq!(names(&board), ["/a", "/b", "/c"], "the busiest first");
        assert_eq!(board.routes()[0].1, 100.0);
        board.press(Key::Sort);
        assert_eq!(names(&board), ["/c", "/b", "/a"], "the worst first");
        board.press(Key::Sort);
        assert_eq!(names(&board), ["/b", "/c", "/a"], "what saves most first");
    }

    #[test]
    fn paused_nothing_moves_but_the_cursor() {
        let mut board = Board::default();
        board.takes(figures(1.0, &[("/a", 10, 0.9, 1.0), ("/b", 20, 0.5, 9.0)]));
        board.press(Key::Pause);
        board.takes(figures(2.0, &[("/z", 1, 0.9, 1.0)]));
        assert_eq!(names(&board), ["/b", "/a"]);
        (0..5).for_each(|_| board.press(Key::Down));
        assert_eq!(board.selected, 1);
    }

    #[test]
    fn what_came_while_it_was_paused_is_shown_when_it_goes_on() {
        let drop = |n: usize| {
            Next::Event("invalidation".into(), json!({ "source": "write", "reach": [format!("/{n}")] }))
        };
        let mut board = Board::default();
        board.takes(figures(1.0, &[("/a", 10, 0.9, 1.0)]));
        board.takes(drop(0));
        board.press(Key::Pause);
        board.takes(drop(1));
        board.takes(figures(2.0, &[("/a", 20, 0.9, 1.0)]));
        board.takes(figures(3.0, &[("/a", 50, 0.9, 1.0)]));
        board.takes(drop(2));
        assert_eq!((board.invalidations.len(), board.routes()[0].1), (1, 0.0), "nothing moves");
        board.press(Key::Pause);
        assert_eq!(board.routes()[0].1, 20.0, "40 requests in 2 s");
        let seen: Vec<bool> = (0..3).map(|n| board.invalidations[2 - n].contains(&format!("/{n}"))).collect();
        assert_eq!(seen, [true; 3], "in their order, none twice: {:?}", board.invalidations);
        board.press(Key::Pause);
        (0..REMEMBERED + 5).for_each(|n| board.takes(drop(n)));
        board.press(Key::Pause);
        assert_eq!(board.invalidations.len(), REMEMBERED);
    }

    #[test]
    fn an_invalidation_is_one_line_and_few_are_remembered() {
        let mut board = Board::default();
        let told = json!({
            "at": "2026-01-02T03:04:05.678Z", "source": "webhook", "mode": "soft", "reach": ["a\n"], "derived": ["b"],
            "invalidated": 3,
        });
        (0..100).for_each(|_| board.takes(Next::Event("invalidation".into(), told.clone())));
        assert_eq!(board.invalidations.len(), REMEMBERED);
        assert_eq!(board.invalidations[0], "03:04:05  webhook softly  a\\n → b  3 dropped");
    }
}
