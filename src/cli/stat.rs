//! `larder stat`: a row of figures every second, of what happened since the row before.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::cli::admin_client::{Access, Failure};
use crate::cli::figures::{Figures, Row, percent, time};
use crate::cli::stream::{Next, Stream};
use crate::cli::{complain, follow, print};
use crate::config::{self, Env};

const EXAMPLES: &str = "\
Examples:
  larder stat                       a row a second
  larder stat --every 10s --count 6
  larder stat --json | jq .hit_ratio

Columns: requests a second; hit ratio in percent; hits, misses, stale answers, confirmed ones, bypasses; requests a second at the
origin; half of the reads, and 99 in 100, were answered within p50 and p99; invalidations; entries and MiB stored.";

/// Rows under one header.
const UNDER_HEADER: u64 = 20;

/// `larder stat`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// From one row to the next: 250ms to 60s
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = every)]
    every: Duration,
    /// End after so many rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// For programs: an object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

fn every(text: &str) -> Result<Duration, String> {
    let period = config::duration(text)?;
    let is_fit = (Duration::from_millis(250)..=Duration::from_secs(60)).contains(&period);
    if is_fit { Ok(period) } else { Err("write a time from 250ms to 60s".to_owned()) }
}

/// Runs the command by the machine's environment, stdout and stderr.
pub fn run(args: &Args) -> ExitCode {
    follow(watch(args))
}

async fn watch(args: &Args) -> Result<(), Failure> {
    let admin = args.access.find(&Env::system())?;
    let every = config::show_duration(args.every);
    let query = [("events", Some("figures")), ("every", Some(every.as_str()))];
    let mut stream = Stream::open(admin, &query).await?;
    let (mut last, mut rows): (Option<Figures>, u64) = (None, 0);
    while args.count.is_none_or(|count| rows < count) {
        let figures = match stream.next().await {
            Next::Event(event, data) if event == "figures" => read(data)?,
            Next::Event(..) => continue,
            Next::Broken(why) => {
                complain(&format!("larder: {why}; trying again\n"));
                last = None;
                continue;
            }
            Next::Back => {
                complain("larder: it is there again\n");
                continue;
            }
        };
        if let Some(row) = last.as_ref().and_then(|last| Row::between(last, &figures)) {
            let line = if args.json { json(&row) } else { line(&row, rows % UNDER_HEADER == 0) };
            print(&line)?;
            rows += 1;
        }
        last = Some(figures);
    }
    Ok(())
}

/// Figures out of an event or an answer.
///
/// # Errors
/// They are none.
pub(crate) fn read(data: Value) -> Result<Figures, Failure> {
    serde_json::from_value(data)
        .map_err(|why| Failure::new(format!("the figures are not ones that this version understands: {why}")))
}

fn json(row: &Row) -> String {
    serde_json::to_string(row).map(|text| text + "\n").unwrap_or_default()
}

/// A row, under the names of its columns or not.
fn line(row: &Row, headed: bool) -> String {
    let cells = [
        ("req/s", 8, format!("{:.1}", row.requests_per_second)),
        ("hit%", 6, percent(row.hit_ratio)),
        ("hit", 8, row.hits.to_string()),
        ("miss", 7, row.misses.to_string()),
        ("stale", 6, row.stale.to_string()),
        ("reval", 6, row.revalidated.to_string()),
        ("bypass", 7, row.bypass.to_string()),
        ("origin/s", 9, format!("{:.1}", row.origin_per_second)),
        ("p50", 7, row.p50.map_or_else(|| "-".to_owned(), time)),
        ("p99", 7, row.p99.map_or_else(|| "-".to_owned(), time)),
        ("inval", 6, row.invalidations.to_string()),
        ("entries", 8, row.entries.to_string()),
        ("MiB", 8, format!("{:.1}", row.bytes as f64 / f64::from(1 << 20))),
    ];
    let mut text = String::new();
    if headed {
        cells.iter().for_each(|(name, width, _)| text.push_str(&format!("{name:>width$}")));
        text.push('\n');
    }
    cells.iter().for_each(|(_, width, cell)| text.push_str(&format!("{cell:>width$}")));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stands_under_its_header() {
        let row = Row {
            at: "t".into(),
            seconds: 1.0,
            requests: 1234,
            requests_per_second: 1234.0,
            hit_ratio: Some(0.987),
            hits: 1200,
            misses: 16,
            stale: 0,
            revalidated: 2,
            bypass: 16,
            origin_per_second: 18.0,
            p50: Some(0.000_05),
            p99: Some(0.25),
            invalidations: 3,
            entries: 420,
            bytes: 3 << 20,
        };
        let text = line(&row, true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), lines[1].len());
        assert!(
            lines[1].contains("1234.0") && lines[1].contains("98.7") && lines[1].contains("250ms"),
            "{text}"
        );
        assert_eq!(line(&row, false).lines().count(), 1);
    }

    #[test]
    fn a_time_between_rows_has_bounds() {
        assert_eq!(every("1s"), Ok(Duration::from_secs(1)));
        for wrong in ["0", "100ms", "2m", "soon"] {
            assert!(every(wrong).is_err(), "{wrong}");
        }
    }
}
