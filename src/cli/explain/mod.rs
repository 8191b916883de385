//! `larder explain`: why a request is answered as it is, by the running Larder or by a configuration alone.
//!
//! It decides nothing: what is said is what [`crate::flow::Flow::explain`] says, there or here over an empty cache.

pub(crate) mod text;

use std::collections::BTreeMap;
use std::io::stdout;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::access_log::may_colour;
use crate::app;
use crate::cli::admin_client::Failure;
use crate::cli::asking::Asking;
use crate::cli::{Said, conclude};
use crate::clock::Clock;
use crate::config::{self, Env, Flags};
use crate::flow::explain::asked::{Asked, Lines};
use crate::flow::explain::wire::Explanation;

const EXAMPLES: &str = "\
Examples:
  larder explain /api/projects/42                                    what the next GET is told, and why
  larder explain 'GET /api/projects/42?b=2' -H 'Accept-Language: de'
  larder explain /api/dashboard -H 'Authorization: Bearer …'         as this person
  larder explain 'PUT /api/projects/42'                              what a write would drop; nothing is dropped
  larder explain 'POST /api/search' -H 'Content-Type: application/json' -d '{\"q\": 1}'
  larder explain https://api.example.com/api/stats --offline --config larder.yaml

Nothing is fetched, counted or changed. Exit codes: 0 explained; 1 nobody could be asked; 2 that is no request; 78 bad
configuration.";

/// `larder explain`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// `METHOD TARGET`; GET where only a target is given. A target is a path with its query, or a URL
    #[arg(value_name = "REQUEST", required = true, num_args = 1..=2)]
    request: Vec<String>,
    /// A field of the request, `Name: value`; may be given more than once
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// Content of the request, for a QUERY or a declared POST
    #[arg(short = 'd', long = "data", value_name = "TEXT")]
    data: Option<String>,
    /// By the configuration alone, without a running Larder: as if nothing were stored
    #[arg(long, conflicts_with_all = ["admin", "token_file"])]
    offline: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Runs the command by the machine's environment, stdout and stderr.
pub fn run(args: &Args) -> ExitCode {
    conclude(execute(args, &Env::system(), may_colour(&stdout())))
}

async fn execute(args: &Args, env: &Env, colour: bool) -> Result<Said, Failure> {
    let asked = asked(args)?;
    asked
        .request()
        .map_err(|why| Failure::usage(format!("`{}` cannot be explained: {why}", args.request.join(" "))))?;
    let answer = if args.offline { offline(args, env, &asked)? } else { online(args, env, &asked).await? };
    args.asking.said_of::<Explanation>(answer, |explanation| text::of(explanation, args.offline, colour))
}

async fn online(args: &Args, env: &Env, asked: &Asked) -> Result<Value, Failure> {
    args.asking.admin(env)?.post("/v1/explain", &json!(asked), "becomes").await
}

fn offline(args: &Args, env: &Env, asked: &Asked) -> Result<Value, Failure> {
    let bad = |words: String| Failure::configuration(words);
    let flags = Flags { config: args.asking.access.config.clone(), ..Flags::default() };
    let config =
        config::load(&flags, env).map_err(|report| bad(report.render(false).trim_end().to_owned()))?;
    let flow = app::at_rest(&config, Clock::system()).map_err(|why| bad(why.to_string()))?;
    let explanation = flow.explain(asked).map_err(|why| Failure::usage(why.to_string()))?;
    Ok(json!(explanation))
}

/// The request that the command line names.
fn asked(args: &Args) -> Result<Asked, Failure> {
    let words: Vec<&str> = args.request.iter().flat_map(|text| text.split_whitespace()).collect();
    let (method, target) = match words.as_slice() {
        [target] if target.contains('/') => ("GET", *target),
        [method, target] => (*method, *target),
        _ => return Err(Failure::usage("write a request as 'GET /api/projects/42?b=2', or a path alone")),
    };
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in &args.headers {
        let (name, value) =
            field.split_once(':').ok_or_else(|| Failure::usage("write a field as 'Name: value'"))?;
        headers.entry(name.trim().to_ascii_lowercase()).or_default().push(value.trim().to_owned());
    }
    let headers = headers.into_iter().map(|(name, lines)| (name, Lines::Many(lines))).collect();
    // Methods have a case: `get` is another one than GET, to the walk as well.
    Ok(Asked {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body: args.data.clone().unwrap_or_default(),
    })
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

    const RULES: &str = "\
upstream: http://localhost:1
defaults: { ignore_query: 'utm_*' }
routes:
  /api/projects/{id}: { ttl: 30m, tags: 'project:{id}' }
  /api/stats: { ttl: 15m, tags: stats }
  /api/auth/{rest:path}: bypass
writes:
  PUT|PATCH /api/projects/{id}: { invalidate: 'project:{id}' }
  POST /api/projects: { invalidate: 'project:{body.id}', when: { status: 201 } }
dependencies:
  project:{id}: stats
";

    async fn explained(line: &[&str]) -> Result<String, Failure> {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        std::fs::write(file.path(), RULES).unwrap();
        let config = file.path().to_str().unwrap();
        let line = [&["explain", "--offline", "--config", config], line].concat();
        let args = Cli::try_parse_from(line).unwrap().args;
        execute(&args, &Env::default(), false).await.map(|said| said.out)
    }

    #[tokio::test]
    async fn offline_a_request_is_explained_by_the_file_alone() {
        let text =
            explained(&["GET /api/projects/42?utm_source=x&b=2&a=1", "-H", "Authorization: Bearer hunter2"])
                .await
                .unwrap();
        for part in [
            "MISS",
            "larder; fwd=uri-miss; stored",
            "/api/projects/{id}",
            "id=42",
            "ttl 30m",
            "?a=1&b=2",
            "utm_source",
            "authorization",
            "PUT|PATCH /api/projects/{id}",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[tokio::test]
    async fn offline_a_write_is_told_with_all_that_follows() {
        let text = explained(&["PUT", "/api/projects/42"]).await.unwrap();
        for part in ["BYPASS", "larder; fwd=method", "project:42", "stats"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("if the answer says so"), "{text}");
        let text = explained(&["POST /api/projects"]).await.unwrap();
        assert!(text.contains("project:*") && text.contains("if the answer says so"), "{text}");
    }

    #[tokio::test]
    async fn for_programs_it_is_json() {
        let json: Value =
            serde_json::from_str(&explained(&["/api/auth/login", "--json"]).await.unwrap()).unwrap();
        assert_eq!(json["becomes"], "pass");
        assert_eq!(json["outcome"]["cache_status"], "larder; fwd=bypass; detail=route");
        assert_eq!(json["outcome"]["decided_by"], "cache");
    }

    #[tokio::test]
    async fn what_is_no_request_is_wrong_usage() {
        for wrong in
            [&["GET"][..], &["a b c"], &["/x", "-H", "nonsense"], &["G@T /x"], &["/x", "-H", "a b: c"]]
        {
            assert_eq!(explained(wrong).await.unwrap_err().code, 2, "{wrong:?}");
        }
    }
}
