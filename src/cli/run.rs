//! `larder run`: the proxy, from its configuration to its last answer.

use std::io::{self, IsTerminal, stderr};
use std::process::ExitCode;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;

use crate::access_log::may_colour;
use crate::admin::in_force::{Asked, Reloaded};
use crate::app::Running;
use crate::app::prepared::Prepared;
use crate::cli::succession::{Predecessor, Successor};
use crate::cli::watched::Watched;
use crate::cli::{BAD_CONFIG, FAILED, block_on, complain};
use crate::clock::Clock;
use crate::config::{self, Config, Env, Flags};
use crate::sockets::Sockets;

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
    // Before there is a second thread.
    let sockets = match Sockets::inherited() {
        Ok(sockets) => sockets,
        Err(why) => {
            complain(&format!("larder: a socket that was handed over (LISTEN_FDS) cannot be used: {why}\n"));
            return ExitCode::from(FAILED);
        }
    };
    block_on(serve(config, sockets, &args.flags, &level)).unwrap_or_else(|code| code)
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

async fn serve(config: Config, sockets: Sockets, flags: &Flags, level: &Level) -> ExitCode {
    let mut watched = Watched::from_now(config.file.as_deref());
    let kinds =
        [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::user_defined2()];
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup), Ok(mut handover)] = kinds.map(signal) else {
        complain("larder: signals cannot be received\n");
        return ExitCode::from(FAILED);
    };
    let mut running = match started(config, sockets).await {
        Ok(running) => running,
        Err(code) => return code,
    };
    announce(&running);
    tell(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
    let mut reloads = running.reloads().expect("nobody else has taken them");
    let mut successor = None;
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
            _ = handover.recv() => if let Some(next) = succeeded(&running).await {
                successor = Some(next);
                break false;
            },
            () = watched.changed() => {
                let _told = reload(&running, flags, level, "the file has changed").await;
            }
        }
    };
    tracing::info!("stopping");
    // Whoever presses Ctrl-C stands at the terminal: no load balancer has to notice first. Nor has it where somebody accepts already.
    let at_once = is_at_terminal || successor.is_some();
    let delay = if at_once { Duration::ZERO } else { running.shutdown_delay() };
    if successor.is_none() {
        tell(&[NotifyState::Stopping]);
    }
    running.stop(delay, again(&mut terminate, &mut interrupt)).await;
    // Not before nobody is here any more.
    drop(successor);
    ExitCode::SUCCESS
}

/// A proxy that runs: at once, or when the process before this one lets it accept.
async fn started(config: Config, sockets: Sockets) -> Result<Running, ExitCode> {
    let failed = |why: &dyn std::fmt::Display, code| {
        complain(&format!("larder: {why}\n"));
        ExitCode::from(code)
    };
    let unclear = |why: io::Error| failed(&format!("the process before this one: {why}"), FAILED);
    let predecessor = Predecessor::find().map_err(unclear)?;
    let prepared = Prepared::new(config, Clock::system(), sockets).await;
    let prepared =
        prepared.map_err(|why| failed(&why, if why.is_configuration() { BAD_CONFIG } else { FAILED }))?;
    let Some(mut predecessor) = predecessor else { return Ok(prepared.serve().await) };
    let (flow, is_in_fleet) = (prepared.flow().clone(), prepared.is_in_fleet());
    if !is_in_fleet {
        flow.await_succession();
    }
    predecessor.take_turn().await.map_err(unclear)?;
    let running = prepared.serve().await;
    tokio::spawn(async move {
        predecessor.gone().await;
        flow.succeed();
        tracing::info!("the process before this one has ended");
    });
    Ok(running)
}

/// Starts the process that comes after this one, and lets it accept. `None`: it fails, and nothing has happened.
async fn succeeded(running: &Running) -> Option<UnixStream> {
    tracing::info!("starting the process that comes after this one");
    let next = async {
        let next = Successor::start(running.listeners()?).await?;
        let id = next.id();
        running.flow().drain();
        next.go().await.map(|link| (id, link))
    };
    match next.await {
        Ok((id, link)) => {
            tracing::info!(id, "the next process accepts");
            Some(link)
        }
        Err(why) => {
            running.flow().go_on();
            tracing::error!("no process comes after this one: {why}");
            None
        }
    }
}

/// Tells the service manager, if there is one (sd_notify(3)).
fn tell(state: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(state) {
        tracing::debug!(%why, "the service manager cannot be told");
    }
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
