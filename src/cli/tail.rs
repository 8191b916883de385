//! `larder tail`: the requests that a running Larder answers, as it answers them.

use std::io::stdout;
use std::process::ExitCode;

use serde_json::Value;

use crate::access_log::may_colour;
use crate::cli::admin_client::{Access, Failure};
use crate::cli::figures::time;
use crate::cli::stream::{Next, Stream};
use crate::cli::{complain, follow, print};
use crate::config::Env;

const EXAMPLES: &str = "\
Examples:
  larder tail                                    every request
  larder tail --status 5xx --status 404          what went wrong
  larder tail --route '/api/projects/{id}' --cache miss --count 20
  larder tail --json | jq -r '.[\"url.path\"]'

What is not read fast enough is left out, and counted on stderr. Values of queries and credentials are not shown.";

/// `larder tail`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only this route: its template, a path that falls under it, or `unmatched`
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Only what the cache did this: hit, miss, stale, revalidated, bypass; may be given more than once
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    cache: Vec<String>,
    /// Only these statuses: 404, 5xx; may be given more than once
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<String>,
    /// Only these methods; may be given more than once
    #[arg(long, value_name = "METHOD", value_delimiter = ',')]
    method: Vec<String>,
    /// End after so many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// For programs: a line of the access log each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

/// Runs the command by the machine's environment, stdout and stderr.
pub fn run(args: &Args) -> ExitCode {
    follow(watch(args, may_colour(&stdout())))
}

async fn watch(args: &Args, colour: bool) -> Result<(), Failure> {
    let admin = args.access.find(&Env::system())?;
    let list = |words: &[String]| (!words.is_empty()).then(|| words.join(","));
    let (cache, status, method) = (list(&args.cache), list(&args.status), list(&args.method));
    let query = [
        ("events", Some("requests")),
        ("route", args.route.as_deref()),
        ("cache", cache.as_deref()),
        ("status", status.as_deref()),
        ("method", method.as_deref()),
    ];
    let mut stream = Stream::open(admin, &query).await?;
    let mut shown = 0;
    while args.count.is_none_or(|count| shown < count) {
        match stream.next().await {
            Next::Event(event, data) if event == "request" => {
                print(&if args.json { format!("{data}\n") } else { line(&data, colour) })?;
                shown += 1;
            }
            Next::Event(event, data) if event == "lost" => {
                complain(&format!("larder: {} requests were too fast to be told\n", data["count"]));
            }
            Next::Event(..) => {}
            Next::Broken(why) => complain(&format!("larder: {why}; trying again\n")),
            Next::Back => complain("larder: it is there again\n"),
        }
    }
    Ok(())
}

/// One request for people.
fn line(of: &Value, colour: bool) -> String {
    let text = |key: &str| of[key].as_str().unwrap_or("-").escape_debug().to_string();
    let at = text("timestamp");
    let at = at.split_once('T').map_or(at.as_str(), |(_, time)| time.trim_end_matches('Z'));
    let status = of["http.response.status_code"].as_u64().unwrap_or_default();
    let cache = text("cache").to_ascii_uppercase();
    let took = of["duration_us"].as_f64().map_or_else(|| "-".to_owned(), |us| time(us / 1e6));
    let painted = |paint: &str, text: &str| {
        if colour { format!("\x1b[{paint}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let by_status = match status {
        500.. => "31",
        400.. => "33",
        _ => "32",
    };
    let by_cache = match cache.as_str() {
        "HIT" | "REVALIDATED" => "32",
        "STALE" => "33",
        _ => "0",
    };
    let detail =
        of["detail"].as_str().map(|detail| format!("  ({})", detail.escape_debug())).unwrap_or_default();
    let method = text("http.request.method");
    let path = text("url.path");
    format!(
        "{}  {}  {} {took:>6}  {method:7} {path}{detail}\n",
        painted("2", &at.chars().take(12).collect::<String>()),
        painted(by_status, &status.to_string()),
        painted(by_cache, &format!("{cache:11}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_one_line_whatever_is_in_it() {
        let told = json!({
            "timestamp": "2026-01-02T15:06:40.123456Z", "http.request.method": "GET", "url.path": "/a\n\u{1b}[2J",
            "http.response.status_code": 404, "cache": "bypass", "duration_us": 1200, "detail": "no-store",
        });
        let text = line(&told, false);
        assert_eq!(text, "15:06:40.123  404  BYPASS       1.2ms  GET     /a\\n\\u{1b}[2J  (no-store)\n");
        assert!(line(&told, true).contains("\x1b[33m404\x1b[0m"));
    }
}
