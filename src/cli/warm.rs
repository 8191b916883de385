//! `larder warm`: has a running Larder fetch what it would be asked for, and says what came of it.
//!
//! Invariant: with `--wait` it ends with 0 only if nothing failed; whoever stops waiting stops nothing.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::admin_client::{Admin, Failure};
use crate::cli::asking::Asking;
use crate::cli::{FAILED, Said};
use crate::config::Env;

/// The pause between two looks at a run.
const PAUSE: Duration = Duration::from_millis(200);

const EXAMPLES: &str = "\
Examples:
  larder warm                          every task of `warm.requests`
  larder warm dashboards               a task by its id
  larder warm /api/stats /api/projects paths, as they are
  larder warm --wait dashboards        with a progress bar, and a report at the end
  larder warm --identity 42 dashboards in the name of a user who was here lately

Exit codes: 0 begun, or with --wait done without a failure; 1 it could not be done, or something failed; 2 wrong usage;
78 bad configuration.";

/// `larder warm`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to fetch: a path if it begins with `/` and has no placeholders, else the id of a task [default: every task]
    #[arg(value_name = "TASK|PATH")]
    words: Vec<String>,
    /// In whose name: a user's id, or the digest of a credential
    #[arg(long, value_name = "ID")]
    identity: Option<String>,
    /// Wait for the end
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Runs the command.
pub(crate) async fn execute(args: &Args, env: &Env) -> Result<Said, Failure> {
    let admin = args.asking.admin(env)?;
    let mut report = admin.post("/v1/warm", &body(args), "run").await?;
    if args.wait {
        report = followed(&admin, report).await?;
    }
    let has_failed = args.wait && report["state"] != "ok";
    Ok(Said { code: if has_failed { FAILED } else { 0 }, ..args.asking.said(&report, told) })
}

fn body(args: &Args) -> Value {
    let is_path = |word: &&String| word.starts_with('/') && !word.contains(['{', '#']);
    let (paths, tasks): (Vec<&String>, Vec<&String>) = args.words.iter().partition(is_path);
    let mut body = json!({});
    for (key, list) in [("tasks", tasks), ("paths", paths)] {
        if !list.is_empty() {
            body[key] = json!(list);
        }
    }
    if let Some(identity) = &args.identity {
        body["identity"] = identity.as_str().into();
    }
    body
}

/// Looks at a run again and again until it has ended, with a bar on stderr; indicatif shows it on a terminal only.
async fn followed(admin: &Admin, mut report: Value) -> Result<Value, Failure> {
    let style = ProgressStyle::with_template("warming {bar:30} {pos}/{len} {elapsed}");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let path = format!("/v1/warm/{}", report["run"].as_str().unwrap_or_default());
    while report["state"] == "running" {
        bar.set_length(report["total"].as_u64().unwrap_or_default());
        bar.set_position(report["done"].as_u64().unwrap_or_default());
        tokio::time::sleep(PAUSE).await;
        report = admin.get(&path, "run").await?;
    }
    bar.finish_and_clear();
    Ok(report)
}

/// What a report says, for people.
fn told(report: &Value) -> String {
    let (run, count) =
        (report["run"].as_str().unwrap_or_default(), |key: &str| report[key].as_u64().unwrap_or_default());
    if report["state"] == "running" {
        return format!(
            "run {run} has begun: {} requests so far; larder warm --wait waits for the end\n",
            count("total")
        );
    }
    let mut text = format!(
        "run {run}: {} stored, {} fresh already, {} not kept, {} failed; {} bytes in {:.1} s\n",
        count("stored"),
        count("fresh"),
        count("bypassed"),
        count("failed"),
        count("bytes"),
        report["seconds"].as_f64().unwrap_or_default()
    );
    for error in report["errors"].as_array().into_iter().flatten() {
        let word = |key: &str| error[key].as_str().unwrap_or_default();
        text.push_str(&format!("  {}: {}\n", word("path"), word("why")));
    }
    let untold = count("failed").saturating_sub(report["errors"].as_array().map_or(0, Vec::len) as u64);
    if untold > 0 {
        text.push_str(&format!("  and {untold} more\n"));
    }
    if count("total") == 0 && report["state"] == "ok" {
        text.push_str("there was nothing to ask for: the lists named nothing, or nobody was here lately\n");
    }
    if report["state"] == "cancelled" {
        text.push_str("it was stopped\n");
    }
    text
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

    fn sent(line: &str) -> Value {
        body(&Cli::parse_from(std::iter::once("warm").chain(line.split_whitespace())).args)
    }

    #[test]
    fn what_begins_with_a_slash_is_a_path_unless_it_has_placeholders() {
        assert_eq!(sent(""), json!({}));
        assert_eq!(
            sent("/api/stats dashboards /api/{id} --identity 42"),
            json!({ "tasks": ["dashboards", "/api/{id}"], "paths": ["/api/stats"], "identity": "42" })
        );
    }

    #[test]
    fn a_report_tells_what_failed_and_why() {
        let report = json!({
            "run": "r1", "state": "partial", "total": 6, "stored": 3, "fresh": 1, "bypassed": 0, "failed": 2, "bytes": 512,
            "seconds": 1.25, "errors": [{ "path": "/a", "why": "404 Not Found" }],
        });
        assert_eq!(
            told(&report),
            "run r1: 3 stored, 1 fresh already, 0 not kept, 2 failed; 512 bytes in 1.2 s\n  /a: 404 Not Found\n  and 1 more\n"
        );
        let nothing = told(&json!({ "run": "r1", "state": "ok", "total": 0 }));
        assert!(
            nothing.ends_with(
                "there was nothing to ask for: the lists named nothing, or nobody was here lately\n"
            )
        );
        let begun = told(&json!({ "run": "r1", "state": "running", "total": 7 }));
        assert!(begun.starts_with("run r1 has begun: 7 requests"), "{begun}");
    }
}
