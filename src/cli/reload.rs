//! `larder reload`: has a running Larder read its configuration again.
//!
//! Invariant: the file is read by the process that runs, with its flags and its environment; here nothing is read.

use http::StatusCode;
use serde_json::{Value, json};

use crate::cli::admin_client::Failure;
use crate::cli::asking::Asking;
use crate::cli::{BAD_CONFIG, Said};
use crate::config::Env;

const EXAMPLES: &str = "\
Examples:
  larder config check && larder reload     what is wrong is told before anybody is asked
  larder reload --json

A file that is wrong changes nothing. What is kept stays kept where the rules of its route do. Listeners, memory and Redis take
a restart, and the answer says so. SIGHUP does the same, and so does the file itself within a second or two when it changes.";

const PATH: &str = "/v1/config/reload";

/// `larder reload`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    asking: Asking,
}

/// Runs the command.
pub(crate) async fn execute(args: &Args, env: &Env) -> Result<Said, Failure> {
    let asked = args.asking.admin(env)?.post(PATH, &json!({}), "digest").await;
    let done = asked.map_err(|failure| match failure.status {
        Some(StatusCode::UNPROCESSABLE_ENTITY) => Failure { code: BAD_CONFIG, ..failure },
        _ => failure,
    })?;
    Ok(args.asking.said(&done, told))
}

fn told(done: &Value) -> String {
    let words = |key: &str| {
        let words = done[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        words.collect::<Vec<_>>()
    };
    let (changed, needs_restart) = (words("changed"), words("needs_restart"));
    let digest = done["digest"].as_str().unwrap_or_default();
    let mut text = match changed.len() {
        0 => format!("{digest} is in force: nothing has changed\n"),
        1 => format!("{digest} is in force: 1 key has changed\n"),
        count => format!("{digest} is in force: {count} keys have changed\n"),
    };
    changed.iter().for_each(|key| text.push_str(&format!("  {key}\n")));
    match done["dropped"].as_u64() {
        None | Some(0) => {}
        Some(1) => text.push_str("1 entry was dropped: the rules of its route are others now\n"),
        Some(count) => text
            .push_str(&format!("{count} entries were dropped: the rules of their routes are others now\n")),
    }
    if !needs_restart.is_empty() {
        text.push_str(&format!("not before a restart: {}\n", needs_restart.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_and_what_has_to_wait_is_told() {
        let done =
            json!({ "digest": "d", "changed": ["routes./a.ttl"], "needs_restart": ["listen"], "dropped": 2 });
        let expected = "d is in force: 1 key has changed\n  routes./a.ttl\n2 entries were dropped: the rules of \
                        their routes are others now\nnot before a restart: listen\n";
        assert_eq!(told(&done), expected);
        let same = json!({ "digest": "d", "changed": [], "needs_restart": [], "dropped": 0 });
        assert_eq!(told(&same), "d is in force: nothing has changed\n");
    }
}
