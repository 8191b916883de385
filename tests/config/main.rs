//! The configuration from outside: what a file, the environment and flags come to, and what is refused in which words.

mod environment;
mod files;
mod invalidation;
mod languages;
mod refused;
mod resolved;
mod warned;

use larder::config::{Config, Env, Flags, Report, load_str};

/// A file that names an upstream, and then `text`.
fn with(text: &str) -> Result<Config, Report> {
    resolve(&format!("upstream: http://localhost:8000\n{text}"), &Env::default())
}

fn resolve(text: &str, env: &Env) -> Result<Config, Report> {
    load_str("larder.yaml", text, &Flags::default(), env)
}

fn good(text: &str) -> Config {
    with(text).unwrap_or_else(|report| panic!("{text}\n{report}"))
}

/// The whole report on a bad file, as people see it.
fn bad(text: &str) -> String {
    match with(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(report) => report.render(false),
    }
}

/// Every warning of a good file.
fn warnings(text: &str) -> Vec<String> {
    good(text).warnings.problems.iter().map(|problem| problem.message.clone()).collect()
}
