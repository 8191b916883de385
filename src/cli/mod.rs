//! The command line: one file per command, and the exit codes that they share.

pub mod admin_client;
pub mod asking;
mod client;
pub mod completions;
pub mod config;
pub mod demo;
pub mod explain;
mod figures;
pub mod healthcheck;
pub mod init;
pub mod man;
pub mod off;
mod play;
pub mod purge;
pub mod reload;
pub mod report;
pub mod run;
mod stage;
pub mod stat;
mod stream;
mod succession;
pub mod tail;
pub mod top;
pub mod warm;
mod watched;

use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::cli::admin_client::Failure;
use crate::config::Env;

/// Something failed while running.
pub const FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
pub use crate::config::EX_CONFIG as BAD_CONFIG;

/// A caching reverse proxy for HTTP APIs, with invalidation that can be trusted.
#[derive(Debug, Parser)]
#[command(name = "larder", version, about, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the proxy.
    Run(run::Args),
    /// Shows it at work: a sample API behind the proxy, and a story told with real requests.
    Demo(demo::Args),
    /// Checks, shows and documents the configuration.
    Config(config::Args),
    /// Says why a request is answered as it is: its rule, whose entries, its key, what drops it, and what comes next.
    Explain(explain::Args),
    /// Writes a first configuration out of an application's OpenAPI document.
    Init(init::Args),
    /// Outdates tags and paths in a running Larder.
    Purge(purge::Args),
    /// Tells what the cache was worth, route by route, and what would make it worth more.
    Report(report::Args),
    /// Has a running Larder fetch what it would be asked for.
    Warm(warm::Args),
    /// Has a running Larder read its configuration again.
    Reload(reload::Args),
    /// Switches caching off for a while, for a route or for everything.
    Off(off::Args),
    /// Shows a running Larder's routes and figures, live.
    Top(top::Args),
    /// Prints a row of a running Larder's figures every second.
    Stat(stat::Args),
    /// Prints the requests that a running Larder answers.
    Tail(tail::Args),
    /// Asks a running Larder whether it wants traffic, or lives: for containers.
    Healthcheck(healthcheck::Args),
    /// Prints what a shell needs to complete this command line.
    Completions(completions::Args),
    /// Prints the manual page.
    Man(man::Args),
}

/// Runs the command that the process was started with; exit codes: 0 ok, 1 failed, 2 usage, 78 bad configuration.
pub fn main() -> ExitCode {
    match Args::try_parse().map(|args| args.command) {
        Ok(Command::Run(args)) => run::run(&args),
        Ok(Command::Demo(args)) => demo::run(&args),
        Ok(Command::Config(args)) => config::run(args),
        Ok(Command::Explain(args)) => explain::run(&args),
        Ok(Command::Init(args)) => init::run(&args),
        Ok(Command::Purge(args)) => conclude(purge::execute(&args, &Env::system())),
        Ok(Command::Report(args)) => conclude(report::execute(&args, &Env::system())),
        Ok(Command::Warm(args)) => conclude(warm::execute(&args, &Env::system())),
        Ok(Command::Reload(args)) => conclude(reload::execute(&args, &Env::system())),
        Ok(Command::Off(args)) => conclude(off::execute(&args, &Env::system())),
        Ok(Command::Top(args)) => top::run(&args),
        Ok(Command::Stat(args)) => stat::run(&args),
        Ok(Command::Tail(args)) => tail::run(&args),
        Ok(Command::Healthcheck(args)) => healthcheck::run(&args),
        Ok(Command::Completions(args)) => completions::run(&args, Args::command()),
        Ok(Command::Man(args)) => man::run(&args, Args::command()),
        // `--help` and `--version` as well.
        Err(words) => exit(u8::try_from(words.exit_code()).unwrap_or(FAILED), words.print()),
    }
}

/// What a command says, and how it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: u8,
    /// Data, for stdout.
    pub(crate) out: String,
    /// Everything else, for stderr.
    pub(crate) err: String,
}

impl Said {
    /// Data, and all is well.
    pub(crate) fn data(out: String) -> Self {
        Self { out, ..Self::default() }
    }
}

impl From<Failure> for Said {
    fn from(Failure { code, words, .. }: Failure) -> Self {
        Self { code, out: String::new(), err: format!("larder: {words}\n") }
    }
}

/// Says it on stdout and stderr.
pub(crate) fn say(Said { code, out, err }: Said) -> ExitCode {
    complain(&err);
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    exit(code, written)
}

/// Tells people, on stderr. Where that cannot be, the exit code still tells: a full disk, or a log that nobody reads any more,
/// ends nothing, as `eprint!` would.
pub(crate) fn complain(words: &str) {
    let _ = io::stderr().write_all(words.as_bytes());
}

/// Does the work of a command, and says what came of it.
pub(crate) fn conclude(work: impl Future<Output = Result<Said, Failure>>) -> ExitCode {
    match block_on(work) {
        Ok(done) => say(done.unwrap_or_else(Said::from)),
        Err(code) => code,
    }
}

/// Does the work of a command that goes on, and prints as it goes; whoever closes the pipe has read enough.
pub(crate) fn follow(work: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    match block_on(work) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) if failure.words.is_empty() => ExitCode::from(failure.code),
        Ok(Err(failure)) => say(failure.into()),
        Err(code) => code,
    }
}

/// Prints a piece of what goes on, at once.
///
/// # Errors
/// It cannot be written; without words, and with code 0, where nobody reads any more.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|why| match why.kind() {
        io::ErrorKind::BrokenPipe => Failure { code: 0, ..Failure::new("") },
        _ => Failure::new(format!("cannot write: {why}")),
    })
}

/// Ends with `code`, or with [`FAILED`] if all was well but for what was to be `written`.
pub(crate) fn exit(code: u8, written: io::Result<()>) -> ExitCode {
    match written {
        // Whoever closes the pipe (`| head`) has read enough.
        Err(why) if code == 0 && why.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("larder: cannot write: {why}\n"));
            ExitCode::from(FAILED)
        }
        _ => ExitCode::from(code),
    }
}

/// Runs `work` on a runtime with a thread for every core.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, ExitCode> {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let done = runtime.block_on(work);
            runtime.shutdown_background();
            Ok(done)
        }
        Err(why) => {
            complain(&format!("larder: the runtime did not start: {why}\n"));
            Err(ExitCode::from(FAILED))
        }
    }
}
