//! The board as a frame of a terminal.
//!
//! Invariant: it only looks. Colour adds to what words say, and is left out where nobody wants it.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Row, Table, TableState};

use crate::cli::figures::{Figures, percent, time};
use crate::cli::top::board::Board;

/// Lines of invalidations, with their frame.
const TICKER: u16 = 7;
/// Most alerts that are shown.
const ALERTS: usize = 4;

const HELP: [&str; 6] = [
    "↑ ↓  another route",
    "s    sort by requests, hit ratio, time saved",
    "p    pause, and go on",
    "?    this, and away with it",
    "q    end (Esc and Ctrl-C as well)",
    "what is shown per second happened since the last look",
];

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, board: &Board, colour: bool) {
    let alerts = board.figures.as_ref().map_or(0, |figures| figures.state.alerts.len().min(ALERTS)) as u16;
    let ticker = if frame.area().height >= 20 { TICKER } else { 0 };
    let rows = [
        Constraint::Length(3),
        Constraint::Length(alerts),
        Constraint::Min(3),
        Constraint::Length(ticker),
        Constraint::Length(1),
    ];
    let [head, alarm, middle, below, foot] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Paragraph::new(header(board)), head);
    frame.render_widget(Paragraph::new(warnings(board)).style(painted(colour, Color::Red)), alarm);
    routes(frame, board, colour, middle);
    let told: Vec<Line<'_>> = board.invalidations.iter().map(|line| Line::raw(line.as_str())).collect();
    let block = Block::new().borders(Borders::TOP).title(" invalidations ");
    frame.render_widget(Paragraph::new(told).block(block), below);
    frame.render_widget(Paragraph::new(footer(board)).style(Style::new().add_modifier(Modifier::DIM)), foot);
    if board.shows_help {
        help(frame);
    }
}

fn painted(colour: bool, with: Color) -> Style {
    if colour { Style::new().fg(with) } else { Style::new() }
}

fn header(board: &Board) -> Vec<Line<'static>> {
    let Some(figures) = &board.figures else { return vec![Line::raw("waiting for figures …")] };
    let upstream = match figures.state.upstream.reachable {
        Some(true) => "upstream there".to_owned(),
        Some(false) => format!("upstream away ({})", figures.state.upstream.error.as_deref().unwrap_or("-")),
        None => "upstream unknown".to_owned(),
    };
    let enabled = if figures.state.enabled { "" } else { " · caching is off" };
    let who = format!(
        "larder {} · {} · {} · up {} · {upstream}{enabled}",
        figures.version,
        figures.node,
        figures.state.ready,
        time(figures.uptime_seconds)
    );
    vec![Line::raw(who), Line::raw(pace(board)), Line::raw(sums(figures))]
}

/// What happens a second.
fn pace(board: &Board) -> String {
    let Some(row) = &board.row else { return "…".to_owned() };
    let within = |at: Option<f64>| at.map_or_else(|| "-".to_owned(), time);
    format!(
        "{:.1} requests/s · {} % hits · {:.1}/s at the origin · p50 {} · p99 {}",
        row.requests_per_second,
        percent(row.hit_ratio),
        row.origin_per_second,
        within(row.p50),
        within(row.p99),
    )
}

/// What happened since it began.
fn sums(figures: &Figures) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "{} requests, {} % hits, {} saved · {} entries, {:.1} of {:.0} MiB · {} invalidations",
        figures.totals.requests.all,
        percent(figures.totals.hit_ratio),
        figures.totals.seconds_saved.map_or_else(|| "-".to_owned(), time),
        figures.memory.entries,
        mib(figures.memory.bytes),
        mib(figures.memory.most_bytes),
        figures.invalidations.total,
    )
}

fn warnings(board: &Board) -> Vec<Line<'static>> {
    let alerts = board.figures.iter().flat_map(|figures| &figures.state.alerts).take(ALERTS);
    let told = alerts.map(|alert| {
        let route = alert.route.as_ref().map(|route| format!(" on {route}")).unwrap_or_default();
        let value = alert.value.map(|value| format!(": {value:.3}")).unwrap_or_default();
        let target = alert.target.map(|target| format!(", {target:.3} is wanted")).unwrap_or_default();
        Line::raw(format!("! {}{route}{value}{target}", alert.alert))
    });
    told.collect()
}

fn routes(frame: &mut Frame<'_>, board: &Board, colour: bool, area: Rect) {
    let routes = board.routes();
    let rows = routes.iter().map(|(route, rate)| {
        let ratio = route.hit_ratio;
        let style = match ratio {
            Some(ratio) if ratio < 0.5 => painted(colour, Color::Yellow),
            _ => Style::new(),
        };
        let saved = route.seconds_saved.map_or_else(|| "-".to_owned(), time);
        let cells = [
            route.route.clone(),
            format!("{rate:>9.1}"),
            format!("{:>9}", route.requests.all),
            format!("{:>6}", percent(ratio)),
            format!("{:>8}", route.requests.miss + route.requests.revalidated),
            format!("{:>7}", route.requests.stale),
            format!("{:>7}", route.requests.bypass),
            format!("{saved:>7}"),
        ];
        Row::new(cells).style(style)
    });
    let widths = [
        Constraint::Min(20),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(6),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(7),
    ];
    let names = ["route", "    req/s", " requests", "  hit%", "  misses", "  stale", " bypass", "  saved"];
    let left_out = board.figures.as_ref().map_or(0, |figures| figures.routes_left_out);
    let more = if left_out > 0 { format!(", {left_out} more") } else { String::new() };
    let title = format!(" routes by {}{more} ", board.sort.as_str());
    let table = Table::new(rows, widths)
        .header(Row::new(names).style(Style::new().add_modifier(Modifier::BOLD)))
        .block(Block::new().borders(Borders::TOP).title(title))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let selected = (!routes.is_empty()).then(|| board.selected.min(routes.len() - 1));
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(selected));
}

fn footer(board: &Board) -> String {
    match (&board.broken, board.is_paused) {
        (Some(why), _) => format!("no connection: {why}; trying again"),
        (None, true) => "paused: p goes on, q ends".to_owned(),
        (None, false) => "q ends · ↑↓ · s sorts · p pauses · ? helps".to_owned(),
    }
}

fn help(frame: &mut Frame<'_>) {
    let (area, width, height) = (frame.area(), 60, HELP.len() as u16 + 2);
    let place = Rect {
        x: area.width.saturating_sub(width) / 2,
        y: area.height.saturating_sub(height) / 2,
        width: width.min(area.width),
        height: height.min(area.height),
    };
    frame.render_widget(Clear, place);
    let lines: Vec<Line<'_>> = HELP.iter().map(|line| Line::raw(*line)).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" keys ")), place);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::stream::Next;
    use crate::cli::top::board::Key;
    use crate::cli::top::text;
    use serde_json::json;

    fn board() -> Board {
        let mut board = Board::default();
        for uptime in [10.0, 11.0] {
            let figures = json!({
                "uptime_seconds": uptime, "node": "n:1", "version": "1.0", "bounds": [0.001],
                "state": { "ready": "ready", "enabled": true, "upstream": { "reachable": false, "error": "refused" },
                    "alerts": [{ "alert": "hit_ratio_low", "value": 0.5, "target": 0.9 }] },
                "totals": { "requests": { "all": 50.0 * uptime - 100.0, "hit": 5 } , "hit_ratio": 0.5 },
                "routes": [{ "route": "/api/projects/{id}", "requests": { "all": 7 }, "hit_ratio": 0.25 }],
                "routes_left_out": 3, "memory": { "entries": 4, "bytes": 1048576, "most_bytes": 536870912 },
                "invalidations": { "total": 2 },
            });
            let figures: serde_json::Value =
                serde_json::from_str(&figures.to_string().replace("400.0", "400").replace("450.0", "450"))
                    .unwrap();
            board.takes(Next::Event("figures".into(), figures));
        }
        board
    }

    #[test]
    fn everything_has_its_place() {
        let shown = text(&board(), 100, 24);
        for part in [
            "larder 1.0 · n:1 · ready · up 11s · upstream away (refused)",
            "50.0 requests/s",
            "450 requests, 50.0 % hits",
            "4 entries, 1.0 of 512 MiB · 2 invalidations",
            "! hit_ratio_low: 0.500, 0.900 is wanted",
            "routes by requests, 3 more",
            "/api/projects/{id}",
            "25.0",
            "invalidations",
            "q ends",
        ] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
    }

    #[test]
    fn it_fits_any_terminal() {
        let mut board = board();
        board.press(Key::Help);
        for (width, height) in [(1, 1), (10, 3), (40, 8), (80, 24), (300, 90)] {
            text(&board, width, height);
        }
        assert!(text(&board, 80, 24).contains("another route"));
        text(&Board::default(), 80, 24);
    }
}
