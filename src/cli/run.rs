//! `larder run`: the proxy, from its configuration to its last answer.

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::access_log::may_colour;
use crate::app::{self, Running};
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
    log_to_stderr(config.log.level);
    if !config.warnings.problems.is_empty() {
        complain(&config.warnings.render(may_colour(&stderr())));
    }
    block_on(serve(config)).unwrap_or_else(|code| code)
}

/// Diagnostics go to stderr, so that stdout holds the access log and nothing else.
pub(crate) fn log_to_stderr(level: tracing::Level) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(stderr)
        // It would be told by `eprintln!`, which panics where stderr cannot be written.
        .log_internal_errors(false)
        .with_ansi(may_colour(&stderr()))
        .with_target(false)
        .finish();
    // Only a second call in the same process fails, and then the first one's wish holds.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

async fn serve(config: Config) -> ExitCode {
    let delay = config.server.shutdown_delay;
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        complain("larder: signals cannot be received\n");
        return ExitCode::from(FAILED);
    };
    let running = match app::start(config, Clock::system()).await {
        Ok(running) => running,
        Err(why) => {
            complain(&format!("larder: {why}\n"));
            return ExitCode::from(if why.is_configuration() { BAD_CONFIG } else { FAILED });
        }
    };
    announce(&running);
    let delay = tokio::select! {
        () = refuse_reloads() => delay,
        _ = terminate.recv() => delay,
        // Whoever presses Ctrl-C stands at the terminal: no load balancer has to notice first.
        _ = interrupt.recv() => std::time::Duration::ZERO,
    };
    tracing::info!("stopping");
    running.stop(delay, again(&mut terminate, &mut interrupt)).await;
    ExitCode::SUCCESS
}

/// SIGHUP asks for a reload, which is not available yet; unheard it would end the process.
async fn refuse_reloads() {
    if let Ok(mut hangup) = signal(SignalKind::hangup()) {
        while hangup.recv().await.is_some() {
            tracing::warn!("SIGHUP: reloading is not available yet; restart to apply another configuration");
        }
    }
    std::future::pending().await
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
