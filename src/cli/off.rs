//! `larder off`: switches caching off in a running Larder, for a route or for everything, for a while.
//!
//! Invariant: what is switched off comes back by itself; there is no switch without an end.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::Said;
use crate::cli::admin_client::Failure;
use crate::cli::asking::Asking;
use crate::config::{self, Env};

const EXAMPLES: &str = "\
Examples:
  larder off /api/stats --for 2h           that route passes everything through, and what is kept of it is dropped
  larder off '/api/projects/{id}' --for 30m
  larder off --all --for 10m               every route
  larder off /api/stats --end              on again, before its time

Writes, webhooks and messages invalidate all the while. `larder_disabled` shows that something is off.";

/// `larder off`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["route", "all"])))]
#[command(group(clap::ArgGroup::new("when").required(true).args(["period", "end"])))]
pub struct Args {
    /// A route by its template, or by a path that falls under it
    #[arg(value_name = "PATH")]
    route: Option<String>,
    /// Every route, and what no route matches
    #[arg(long)]
    all: bool,
    /// For how long: 90s, 30m, 2h, 1h30m, 1d
    #[arg(long = "for", value_name = "DURATION", value_parser = period)]
    period: Option<Duration>,
    /// On again, now
    #[arg(long)]
    end: bool,
    #[command(flatten)]
    asking: Asking,
}

fn period(text: &str) -> Result<Duration, String> {
    match config::duration(text)? {
        Duration::ZERO => Err("for no time at all; --end switches on again".to_owned()),
        period => Ok(period),
    }
}

/// Runs the command.
pub(crate) async fn execute(args: &Args, env: &Env) -> Result<Said, Failure> {
    let (path, body) = body(args);
    let done = args.asking.admin(env)?.post(path, &body, "switches").await?;
    Ok(args.asking.said(&done, |done| told(args, done)))
}

/// Where it is sent, and what.
fn body(args: &Args) -> (&'static str, Value) {
    let mut body = json!({});
    if let Some(route) = &args.route {
        body["route"] = route.as_str().into();
    }
    match args.period {
        None => ("/v1/cache/enable", body),
        Some(period) => {
            body["for"] = config::show_duration(period).into();
            ("/v1/cache/disable", body)
        }
    }
}

fn told(args: &Args, done: &Value) -> String {
    let what = args.route.as_deref().unwrap_or("everything");
    match args.period {
        None => format!("{what} is cached again\n"),
        Some(period) => {
            let dropped = match done["invalidated"].as_u64() {
                Some(1) => "; 1 entry was dropped".to_owned(),
                Some(count) => format!("; {count} entries were dropped"),
                None => String::new(),
            };
            format!("{what} is not cached for {}{dropped}\n", config::show_duration(period))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &str) -> Result<Args, clap::Error> {
        Cli::try_parse_from(std::iter::once("off").chain(line.split_whitespace())).map(|cli| cli.args)
    }

    #[test]
    fn a_switch_has_something_to_cover_and_an_end() {
        let sent = |line| body(&args(line).unwrap());
        assert_eq!(
            sent("/api/stats --for 2h"),
            ("/v1/cache/disable", json!({ "route": "/api/stats", "for": "2h" }))
        );
        assert_eq!(sent("--all --for 90"), ("/v1/cache/disable", json!({ "for": "1m30s" })));
        assert_eq!(sent("/api/stats --end"), ("/v1/cache/enable", json!({ "route": "/api/stats" })));
        for wrong in [
            "",
            "/api/stats",
            "--for 2h",
            "/a --all --for 1h",
            "/a --for 0s",
            "/a --for soon",
            "/a --for 1h --end",
        ] {
            assert!(args(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_off_is_told_with_its_end() {
        let text = told(&args("/api/stats --for 90m").unwrap(), &json!({ "invalidated": 3 }));
        assert_eq!(text, "/api/stats is not cached for 1h30m; 3 entries were dropped\n");
        assert_eq!(told(&args("--all --end").unwrap(), &json!({})), "everything is cached again\n");
    }
}
