//! `larder run`: the proxy, from its configuration to its last answer.

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;

use crate::access_log::may_colour;
use crate::admin::in_force::{Asked, Reloaded};
use crate::app::{self, Running};
use crate::cli::watched::Watched;
use crate::cli::{BAD_CONFIG, FAILED, block_on, complain};
use crate::clock::Clock;
use crate::config::{self, Config, Env, Flags};

/// `larder run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
}

/// Runs until SIGTERM or Ctrl-C, and ends in order; a second signal ends at once.
pub fn run(args: &Args) -> ExitCode {
    let config = match config::load(&args.flags, &Env::system()) {
        Ok(config) => config,
        Err(report) => {
            complain(&report.render(may_colour(&stderr())));
            return ExitCode::from(BAD_CONFIG);
        }
    };
    let level = log_to_stderr(config.log.level);
    warn(&config);
    block_on(serve(config, &args.flags, &level)).unwrap_or_else(|code| code)
}

/// Which diagnostics are printed.
pub(crate) struct Level(reload::Handle<LevelFilter, Registry>);

impl Level {
    fn set(&self, level: tracing::Level) {
        // It fails only where another subscriber stands, and then that one's wish holds.
        let _ = self.0.reload(LevelFilter::from_level(level));
    }
}

/// Diagnostics go to stderr, so that stdout holds the access log and nothing else.
pub(crate) fn log_to_stderr(level: tracing::Level) -> Level {
    let (filter, handle) = reload::Layer::new(LevelFilter::from_level(level));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        // It would be told by `eprintln!`, which panics where stderr cannot be written.
        .log_internal_errors(false)
        .with_ansi(may_colour(&stderr()))
        .with_target(false);
    // Only a second call in the same process fails, and then the first one's wish holds.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(filter).with(lines));
    Level(handle)
}

fn warn(config: &Config) {
    if !config.warnings.problems.is_empty() {
        complain(&config.warnings.render(may_colour(&stderr())));
    }
}

async fn serve(config: Config, flags: &Flags, level: &Level) -> ExitCode {
    let mut watched = Watched::from_now(config.file.as_deref());
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = signals else {
        complain("larder: signals cannot be received\n");
        return ExitCode::from(FAILED);
    };
    let mut running = match app::start(config, Clock::system()).await {
        Ok(running) => running,
        Err(why) => {
            complain(&format!("larder: {why}\n"));
            return ExitCode::from(if why.is_configuration() { BAD_CONFIG } else { FAILED });
        }
    };
    announce(&running);
    let mut reloads = running.reloads().expect("nobody else has taken them");
    let is_at_terminal = loop {
        tokio::select! {
            _ = terminate.recv() => break false,
            _ = interrupt.recv() => break true,
            Some(Asked { actor, answer }) = reloads.recv() => {
                watched.look();
                // He may have left.
                let _ = answer.send(reload(&running, flags, level, &actor).await);
            }
            _ = hangup.recv() => {
                watched.look();
                let _told = reload(&running, flags, level, "SIGHUP").await;
            }
            () = watched.changed() => {
                let _told = reload(&running, flags, level, "the file has changed").await;
            }
        }
    };
    tracing::info!("stopping");
    // Whoever presses Ctrl-C stands at the terminal: no load balancer has to notice first.
    let delay = if is_at_terminal { Duration::ZERO } else { running.shutdown_delay() };
    running.stop(delay, again(&mut terminate, &mut interrupt)).await;
    ExitCode::SUCCESS
}

/// Reads the configuration again, and brings it into force.
///
/// # Errors
/// What is wrong with it, for people; then all is as it was.
async fn reload(running: &Running, flags: &Flags, level: &Level, why: &str) -> Result<Reloaded, String> {
    tracing::info!(why, "reading the configuration again");
    let config = match config::load(flags, &Env::system()) {
        Ok(config) => config,
        Err(report) => {
            complain(&report.render(may_colour(&stderr())));
            tracing::error!("the configuration is wrong: all stays as it was");
            let report = report.render(false);
            running.cannot_reload(report.clone());
            return Err(report);
        }
    };
    warn(&config);
    let chatty = config.log.level;
    let done = running.reload(config).await.map_err(|why| why.to_string());
    match &done {
        Ok(Reloaded { digest, changed, needs_restart, dropped }) => {
            level.set(chatty);
            tracing::info!(digest, changed = changed.len(), dropped, "the configuration is in force");
            if !needs_restart.is_empty() {
                tracing::warn!("not before a restart: {}", needs_restart.join(" "));
            }
        }
        Err(why) => tracing::error!("{why}: all stays as it was"),
    }
    done
}

async fn again(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn announce(running: &Running) {
    let admin = running.admin().map(|admin| format!(", admin on http://{admin}")).unwrap_or_default();
    tracing::info!("listening on {}{admin}", running.address());
    if stderr().is_terminal() {
        tracing::info!("Ctrl-C stops it");
    }
}
