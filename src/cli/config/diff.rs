//! `larder config diff`: what a new file would change for what is stored and asked now.
//!
//! A running Larder is asked, which knows what it stores; without one the two files are compared. It decides nothing: what is
//! said is what [`crate::config::diff`] found, there or here.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::Said;
use crate::cli::admin_client::Failure;
use crate::cli::asking::Asking;
use crate::config::diff::{Difference, Live, RouteChange, What};
use crate::config::reload::Change;
use crate::config::{self, Config, EX_CONFIG, Env, Flags};

const EXAMPLES: &str = "\
Examples:
  larder config diff new.yaml                        what the running Larder would drop, and match otherwise
  larder config diff new.yaml --offline              against ./larder.yaml, or the file in LARDER_CONFIG
  larder config diff new.yaml --offline --config old.yaml

Nothing is changed. Exit codes: 0 compared, whether anything changes or not; 1 it could not be compared; 2 wrong usage; 78 one of
the files is wrong.";

/// `larder config diff`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Diff {
    /// The new configuration file
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// By the files alone, without a running Larder
    #[arg(long, conflicts_with_all = ["admin", "token_file"])]
    offline: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Compares, and says what it found.
pub(super) async fn execute(args: &Diff, env: &Env, colour: bool) -> Result<Said, Failure> {
    let flags = Flags { config: Some(args.new.clone()), ..Flags::default() };
    let text = config::text(&args.new).map_err(|report| bad(&report.render(colour)))?;
    let (answer, err) = if args.offline {
        (offline(args, &flags, env), String::new())
    } else {
        match online(args, env, &text).await {
            Ok(answer) => (Ok(answer), String::new()),
            // Where somebody was named, he was meant.
            Err(failure) if is_named(args, env) || failure.code != crate::cli::FAILED => return Err(failure),
            Err(failure) => (offline(args, &flags, env), noted(&failure)),
        }
    };
    let answer = answer?;
    if answer["ok"] == false {
        let report = answer["report"].as_str().unwrap_or_default();
        let err = if args.asking.is_for_programs() { err } else { err + report };
        return Ok(Said { code: EX_CONFIG, err, ..args.asking.said(&answer, |_| String::new()) });
    }
    let name = args.new.display().to_string();
    Ok(Said { err, ..args.asking.said_of(answer, |difference| words(&name, difference))? })
}

/// Whether the command line or the environment says which Larder is meant.
fn is_named(args: &Diff, env: &Env) -> bool {
    let access = &args.asking.access;
    access.admin.is_some() || access.token_file.is_some() || env.var("LARDER_ADMIN").is_some()
}

fn noted(failure: &Failure) -> String {
    let why = failure.words.lines().next().unwrap_or_default();
    format!("larder: {why}\nlarder: compared with the file instead; what is stored is not known\n")
}

fn bad(words: &str) -> Failure {
    Failure::configuration(words.trim_end())
}

async fn online(args: &Diff, env: &Env, text: &str) -> Result<Value, Failure> {
    let body = json!({ "yaml": text, "name": args.new.display().to_string() });
    args.asking.admin(env)?.post("/v1/config/diff", &body, "ok").await
}

fn offline(args: &Diff, new: &Flags, env: &Env) -> Result<Value, Failure> {
    let old = Flags { config: args.asking.access.config.clone(), ..Flags::default() };
    let old = config::load(&old, env).map_err(|report| bad(&report.render(false)))?;
    if old.file.is_none() {
        return Err(Failure::new("there is nothing to compare it with: name the old file with --config"));
    }
    let new: Config = match config::load(new, env) {
        Ok(new) => new,
        Err(report) => {
            let mut refused = report.json();
            refused["report"] = report.render(false).into();
            return Ok(refused);
        }
    };
    let mut answer = json!(Difference::between(&old, &new, None));
    answer["ok"] = true.into();
    Ok(answer)
}

/// For people.
fn words(name: &str, difference: &Difference) -> String {
    if difference.is_empty() {
        return format!("{name} changes nothing\n");
    }
    let mut out = format!(
        "{name}: {}, {}\n",
        counted(difference.routes.len() as u64, "route changes", "routes change"),
        counted(difference.changes.len() as u64, "other key changes", "other keys change"),
    );
    if !difference.needs_restart.is_empty() {
        let keys = difference.needs_restart.join(", ");
        let _ = write!(out, "\nneeds a restart\n  {keys}\n");
    }
    routes(difference, &mut out);
    keys(&difference.changes, &mut out);
    if let Some(live) = &difference.live {
        self::live(live, &mut out);
    }
    out
}

fn routes(difference: &Difference, out: &mut String) {
    if !difference.routes.is_empty() {
        out.push_str("\nroutes\n");
    }
    for change in &difference.routes {
        let stored = difference.live.as_ref().and_then(|live| live.by_route.get(&change.route));
        let sign = sign(change.what);
        let _ = writeln!(
            out,
            "  {sign} {}{}",
            change.route,
            entries(change, stored.map(|kept| (kept.entries, kept.kept)))
        );
        if change.what != What::Removed {
            change.keys.iter().for_each(|key| line(key, 6, out));
        }
    }
    if !difference.routes.is_empty() && difference.unchanged_routes > 0 {
        let _ = writeln!(
            out,
            "  = {}",
            counted(difference.unchanged_routes as u64, "route stays", "routes stay")
        );
    }
}

fn sign(what: What) -> char {
    match what {
        What::Added => '+',
        What::Removed => '-',
        What::Changed => '~',
    }
}

/// What becomes of what is kept under a route.
fn entries(change: &RouteChange, stored: Option<(u64, u64)>) -> String {
    match (change.keeps_entries, stored) {
        (None, _) => String::new(),
        (Some(true), _) => ": what is kept stays of use".to_owned(),
        (Some(false), None) => ": what is kept is of no use any more".to_owned(),
        (Some(false), Some((entries, kept))) => {
            format!(": {} of no use any more", counted(entries - kept, "entry is", "entries are"))
        }
    }
}

/// All other keys, by the section that they stand in.
fn keys(changes: &[Change], out: &mut String) {
    let mut open = "";
    for change in changes {
        let (section, rest) = change.path.split_once('.').unwrap_or((&change.path, ""));
        if section != open {
            let _ = writeln!(out, "\n{section}");
            open = section;
        }
        line(&Change { path: rest.to_owned(), ..change.clone() }, 2, out);
    }
}

fn line(change: &Change, indent: usize, out: &mut String) {
    let Change { path, old, new, .. } = change;
    let gap = if path.is_empty() { "" } else { "  " };
    let change = match (old, new) {
        (Some(old), Some(new)) if old == new => format!("{new}, another one"),
        (Some(old), Some(new)) => format!("{old} → {new}"),
        (None, Some(new)) => format!("(new) {new}"),
        (Some(old), None) => format!("(gone) {old}"),
        (None, None) => String::new(),
    };
    let _ = writeln!(out, "{:indent$}{path}{gap}{change}", "");
}

fn live(live: &Live, out: &mut String) {
    let _ = write!(
        out,
        "\nstored now\n  {} of {} would still be found\n",
        live.kept,
        counted(live.entries, "entry", "entries")
    );
    out.push_str("\nasked for most\n");
    if live.moved.is_empty() {
        let _ = writeln!(
            out,
            "  {} looked at: each falls under the same route",
            counted(live.looked_at as u64, "target", "targets")
        );
    }
    for moved in &live.moved {
        let _ = writeln!(out, "  {}  {} → {} ({} hits)", moved.target, moved.from, moved.to, moved.hits);
    }
    let percent = |ratio: f64| format!("{:.1} %", 100.0 * ratio);
    if let Some(now) = live.hit_ratio {
        let expected = match live.expected_hit_ratio {
            Some(expected) => format!("{} expected, if the traffic stays as it is", percent(expected)),
            None => "what it would be nobody can say before it was tried".to_owned(),
        };
        let _ = write!(out, "\nhit ratio\n  {} now; {expected}\n", percent(now));
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
