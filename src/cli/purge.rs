//! `larder purge`: outdates tags and paths in a running Larder, and says what that reached.
//!
//! Invariant: when it ends with 0, the invalidation holds; what was named wrongly is refused and never passed over.

use serde_json::{Value, json};

use crate::cli::Said;
use crate::cli::admin_client::Failure;
use crate::cli::asking::Asking;
use crate::config::Env;

const EXAMPLES: &str = "\
Examples:
  larder purge project:42                        everything tagged project:42, and what is derived from it
  larder purge project:42 dashboard /api/stats   tags and a path, in one go
  larder purge 'project:*'                       tags by a pattern
  larder purge /api/projects/42                  a path with every query; {id} stands for any segment
  larder purge --prefix /api/projects            a path and all below it
  larder purge --glob '/api/*/export'            paths by a pattern, across slashes
  larder purge --dry-run --all                   what would go
  larder purge --soft dashboard                  make stale: served while it is fetched anew, where the rules allow it

Exit codes: 0 it holds, be it that nothing was reached; 1 it could not be done; 2 wrong usage; 78 bad configuration.";

/// `larder purge`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["words", "prefix", "glob", "all"])))]
pub struct Args {
    /// What to outdate: a path if it begins with `/`, else a tag
    #[arg(value_name = "TAG|PATH")]
    words: Vec<String>,
    /// A path and everything below it; may be given more than once
    #[arg(long, value_name = "PATH")]
    prefix: Vec<String>,
    /// Paths by a pattern in which `*` stands for anything; may be given more than once
    #[arg(long, value_name = "GLOB")]
    glob: Vec<String>,
    /// Everything; stands alone
    #[arg(long, conflicts_with_all = ["words", "prefix", "glob"])]
    all: bool,
    /// Make stale instead of removing
    #[arg(long)]
    soft: bool,
    /// Fetch again at once what was removed, or made stale, and was hot
    #[arg(long)]
    refresh: bool,
    /// Change nothing, and say what would go
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Runs the command.
pub(crate) async fn execute(args: &Args, env: &Env) -> Result<Said, Failure> {
    let done = args.asking.admin(env)?.post("/v1/purge", &body(args), "position").await?;
    Ok(args.asking.said(&done, |done| told(done, args.soft)))
}

fn body(args: &Args) -> Value {
    let (paths, tags): (Vec<&String>, Vec<&String>) =
        args.words.iter().partition(|word| word.starts_with('/'));
    let mut body = json!({});
    for (key, list) in [
        ("tags", json!(tags)),
        ("paths", json!(paths)),
        ("prefixes", json!(args.prefix)),
        ("globs", json!(args.glob)),
    ] {
        if list != json!([]) {
            body[key] = list;
        }
    }
    for (key, flag) in
        [("all", args.all), ("soft", args.soft), ("refresh", args.refresh), ("dry_run", args.dry_run)]
    {
        if flag {
            body[key] = true.into();
        }
    }
    body
}

/// What an answer of `/v1/purge` says, for people.
pub(crate) fn told(done: &Value, is_soft: bool) -> String {
    let count = done["invalidated"].as_u64().unwrap_or_default();
    let is_dry = done["dry_run"] == true;
    let verb = match (is_dry, is_soft) {
        (true, false) => "would remove",
        (true, true) => "would make stale",
        (false, false) => "removed",
        (false, true) => "made stale",
    };
    let entries = if count == 1 { "entry" } else { "entries" };
    let mut text = format!("{verb} {count} {entries}");
    match done["position"].as_str() {
        Some(position) if !is_dry => text.push_str(&format!(" (position {position})\n")),
        _ => text.push('\n'),
    }
    if count == 0 && !is_dry {
        text.push_str(
            "nothing that is stored was reached; what is being fetched just now is not stored either\n",
        );
    }
    let empty = serde_json::Map::new();
    let by_route = done["by_route"].as_object().unwrap_or(&empty);
    let width = by_route.keys().map(|route| route.chars().count()).max().unwrap_or_default();
    let digits = by_route.values().map(|count| count.to_string().len()).max().unwrap_or_default();
    for (route, count) in by_route {
        text.push_str(&format!("  {route:width$}  {:>digits$}\n", count.to_string()));
    }
    let derived: Vec<&str> =
        done["derived"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !derived.is_empty() {
        text.push_str(&format!("derived: {}\n", derived.join(" ")));
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

    fn args(line: &str) -> Result<Args, clap::Error> {
        Cli::try_parse_from(std::iter::once("purge").chain(line.split_whitespace())).map(|cli| cli.args)
    }

    #[test]
    fn words_are_paths_or_tags_by_how_they_begin() {
        let body = body(&args("project:42 /api/stats --prefix /api --glob /a/* --soft").unwrap());
        let meant = json!({
            "tags": ["project:42"], "paths": ["/api/stats"], "prefixes": ["/api"], "globs": ["/a/*"], "soft": true,
        });
        assert_eq!(body, meant);
    }

    #[test]
    fn everything_stands_alone_and_nothing_is_no_purge() {
        assert_eq!(body(&args("--all").unwrap()), json!({ "all": true }));
        for wrong in ["", "--soft", "--all project:42", "--all --prefix /api", "--dry-run"] {
            assert!(args(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_reached_is_told_by_route() {
        let done = json!({
            "position": "1-7", "invalidated": 12,
            "by_route": { "/api/projects/{id}": 10, "/api/stats": 2 }, "derived": ["projects", "dashboard"],
        });
        let text = told(&done, false);
        let lines = [
            "removed 12 entries (position 1-7)",
            "  /api/projects/{id}  10",
            "  /api/stats           2",
            "derived: projects dashboard",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
        let nothing = told(&json!({ "position": "1-8", "invalidated": 0, "by_route": {} }), false);
        assert!(nothing.starts_with("removed 0 entries (position 1-8)\nnothing that is stored"), "{nothing}");
        let dry = told(&json!({ "invalidated": 1, "position": "1-8", "dry_run": true }), true);
        assert_eq!(dry, "would make stale 1 entry\n");
    }
}
