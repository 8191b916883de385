//! `larder config check|test|show|schema|diff`.
//!
//! Data goes to stdout, problems to stderr; a bad configuration ends with 78. It decides nothing about configuration.

mod diff;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::play::play;
use crate::cli::{Said, conclude, say};
use crate::config::{self, Config, EX_CONFIG, Env, Flags, Problem, Report};
use crate::server::tls::Certificate;

/// `larder config …`
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Command {
    /// Check a configuration: exit 0 if it would start, 78 with what is wrong if not
    Check(Check),
    /// Play the tests of a configuration against its rules, offline: exit 0 if all hold, 1 if not
    Test(Check),
    /// Print the resolved configuration and where each value comes from; secrets are cut out
    Show(Show),
    /// Print the JSON schema of the configuration file, or every key in tables
    Schema(Schema),
    /// Tell what a new file would change for what is stored and asked now
    Diff(diff::Diff),
}

#[derive(clap::Args, Clone, Debug)]
struct Check {
    /// Configuration file (the same as --config)
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// Without the environment: placeholders that cannot be resolved are accepted as they are
    #[arg(long)]
    no_env: bool,
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

#[derive(clap::Args, Clone, Debug)]
struct Schema {
    /// Every key with its default and its meaning, in Markdown
    #[arg(long)]
    markdown: bool,
}

#[derive(clap::Args, Clone, Debug)]
struct Show {
    /// Configuration file (the same as --config)
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

/// Runs the command by the machine's environment, stdout and stderr.
pub fn run(args: Args) -> ExitCode {
    let colour =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match args.command {
        Command::Diff(diff) => conclude(async move { diff::execute(&diff, &Env::system(), colour).await }),
        offline => say(execute(offline, &Env::system(), colour)),
    }
}

fn execute(command: Command, env: &Env, colour: bool) -> Said {
    match command {
        Command::Check(check) => {
            let json = check.json;
            report(loaded(check, env).and_then(with_usable_tls), json, colour, |config, json| {
                if json { checked_json(config) } else { checked(config) }
            })
        }
        Command::Test(test) => {
            let json = test.json;
            match loaded(test, env).and_then(|config| play(&config, json)) {
                Ok(played) => Said { code: played.code, out: played.out, err: String::new() },
                Err(report) => refused(&report, json, colour),
            }
        }
        Command::Show(show) => {
            let loaded = config::load(&with_file(show.flags, show.file), env);
            report(
                loaded,
                show.json,
                colour,
                |config, json| if json { pretty(&config.json()) } else { config.yaml() },
            )
        }
        Command::Diff(_) => unreachable!("it may ask a running Larder, and is run by `run`"),
        Command::Schema(Schema { markdown: true }) => Said::data(config::reference(&config::schema())),
        Command::Schema(_) => Said::data(pretty(&config::schema())),
    }
}

fn loaded(check: Check, env: &Env) -> Result<Config, Report> {
    let flags = with_file(check.flags, check.file);
    if check.no_env { config::check_without_env(&flags) } else { config::load(&flags, env) }
}

/// A certificate that cannot be used would stop the start.
fn with_usable_tls(config: Config) -> Result<Config, Report> {
    let unusable = config.server.tls.as_ref().and_then(|tls| Certificate::read(tls).err());
    match unusable {
        None => Ok(config),
        Some(why) => Err(Report::of(config.file, Problem::general(why.to_string()))),
    }
}

fn with_file(flags: Flags, file: Option<PathBuf>) -> Flags {
    Flags { config: file.or(flags.config), ..flags }
}

/// What `words` makes of a good configuration, and the problems of either.
fn report(
    loaded: Result<Config, Report>,
    json: bool,
    colour: bool,
    words: impl Fn(&Config, bool) -> String,
) -> Said {
    match loaded {
        Ok(config) => {
            let err = if json { String::new() } else { config.warnings.render(colour) };
            Said { code: 0, out: words(&config, json), err }
        }
        Err(report) => refused(&report, json, colour),
    }
}

fn refused(report: &Report, json: bool, colour: bool) -> Said {
    match json {
        true => Said { code: EX_CONFIG, out: pretty(&report.json()), err: String::new() },
        false => Said { code: EX_CONFIG, out: String::new(), err: report.render(colour) },
    }
}

fn checked(config: &Config) -> String {
    let file = config.file.as_ref().map_or("no file".to_owned(), |file| file.display().to_string());
    let bypassed = config.routes.iter().filter(|route| route.bypass).count();
    let rest = if config.unmatched.is_some() { "by the origin's word" } else { "bypassed" };
    let admin = config.admin.listen.map_or("off".to_owned(), |listen| listen.to_string());
    format!(
        "{file}: ok\n  routes  {} ({bypassed} bypassed), everything else {rest}\n  writes  {} rules\n  \
         tests   {} (larder config test)\n  warm    {} requests\n  listen  {}, admin {admin}\n  digest  {:016x}\n",
        config.routes.len(),
        config.writes.len(),
        config.tests.len(),
        config.warm.tasks.len(),
        config.server.listen,
        config.digest,
    )
}

fn checked_json(config: &Config) -> String {
    let mut value = config.warnings.json();
    value["file"] = json!(config.file);
    value["routes"] = config.routes.len().into();
    value["writes"] = config.writes.len().into();
    value["tests"] = config.tests.len().into();
    value["warm_requests"] = config.warm.tasks.len().into();
    value["listen"] = config.server.listen.to_string().into();
    value["digest"] = format!("{:016x}", config.digest).into();
    pretty(&value)
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
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

    /// Exit code, stdout, stderr of a command line.
    fn run(line: &[&str], env: &Env) -> (u8, String, String) {
        let args = Cli::try_parse_from([&["config"], line].concat()).unwrap().args;
        let Said { code, out, err } = execute(args.command, env, false);
        (code, out, err)
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_good_file_is_told_with_its_facts() {
        let file = file("upstream: http://localhost:8000\nroutes:\n  /a: 1m\n  /b: bypass\n");
        let (code, out, err) = run(&["check", file.path().to_str().unwrap()], &Env::default());
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains(": ok\n  routes  2 (1 bypassed)"), "{out}");
    }

    #[test]
    fn a_bad_file_ends_with_78_and_names_file_line_and_column_on_stderr() {
        let file = file("upstream: http://localhost:8000\nroute:\n  /a: 1m\n");
        let path = file.path().to_str().unwrap();
        let (code, out, err) = run(&["check", path], &Env::default());
        assert_eq!((code, out.as_str()), (78, ""));
        for part in [&format!("{path}:2:1"), "unknown key `route`", "did you mean `routes`?", "2 | route:"] {
            assert!(err.contains(part), "{part} is missing in\n{err}");
        }
        let (code, out, err) = run(&["check", "--json", "--config", path], &Env::default());
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, err.as_str(), &json["ok"]), (78, "", &json!(false)));
        assert_eq!(json["problems"][0]["line"], 2);
    }

    #[test]
    fn no_env_checks_what_needs_variables_and_files() {
        let text = "upstream: ${UPSTREAM}\nidentity: {secret: \"${file:/run/secrets/x}\"}\ndefaults: {ttl: \"${T:?}\"}\n";
        let file = file(text);
        let path = file.path().to_str().unwrap();
        assert_eq!(run(&["check", path], &Env::default()).0, 78);
        assert_eq!(run(&["check", path, "--no-env"], &Env::default()).0, 0);
    }

    #[test]
    fn show_names_the_source_of_each_value_and_no_secret() {
        let file = file(
            "upstream: http://localhost:8000\nroutes:\n  /a: {preset: stats}\nadmin: {token: hunter2}\n",
        );
        let path = file.path().to_str().unwrap();
        let env = Env::of([("CACHE_MAX_ENTRIES", "500")]);
        let (code, out, _) = run(&["show", path, "--listen", ":9000"], &env);
        assert_eq!(code, 0);
        let line = |key: &str| {
            out.lines().find(|line| line.contains(key)).unwrap_or_else(|| panic!("{key} in\n{out}"))
        };
        assert!(line("upstream:").ends_with(&format!("# {path}:1")), "{out}");
        assert!(line("listen: 0.0.0.0:9000").ends_with("# flag --listen"));
        assert!(line("  entries: 500").ends_with("# env CACHE_MAX_ENTRIES"));
        assert!(line("    ttl: 15m").ends_with("# preset stats"));
        assert!(line("  level: info").ends_with("# default"));
        assert!(line("  token:").contains("<redacted>") && !out.contains("hunter2"));
        let (_, out, _) = run(&["show", path, "--json"], &env);
        assert!(out.contains("\"env CACHE_MAX_ENTRIES\"") && !out.contains("hunter2"));
    }

    #[test]
    fn tests_of_a_file_are_played_and_end_with_0_1_or_78() {
        let text = |id: u8| {
            format!(
                "upstream: ${{U}}\nroutes: {{/a: {{tags: a}}}}\nwrites: {{PUT /b: a}}\ntests: [{{request: PUT /b, invalidates: a:{id}}}]\n"
            )
            .replace("a:1", "a")
        };
        for (id, code) in [(1, 0), (2, 1)] {
            let file = file(&text(id));
            let path = file.path().to_str().unwrap();
            let (found, out, err) = run(&["test", path, "--no-env"], &Env::default());
            assert_eq!((found, err.as_str()), (code, ""), "{out}");
            assert!(out.contains(&format!("{path}:4: PUT /b: ")), "{out}");
            let (found, out, _) = run(
                &["test", "--json", "--config", path, "--upstream", "http://a:1"],
                &Env::of([("U", "http://b:1")]),
            );
            assert_eq!((found, out.contains("\"ok\": true")), (code, code == 0), "{out}");
            let (found, out, err) = run(&["test", path], &Env::default());
            assert_eq!((found, out.as_str()), (78, ""));
            assert!(err.contains("U is not set"), "{err}");
        }
    }

    #[test]
    fn schema_prints_a_schema() {
        let (code, out, _) = run(&["schema"], &Env::default());
        let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(code, 0);
        assert_eq!(schema["properties"]["listen"]["default"], "0.0.0.0:8080");
    }
}
