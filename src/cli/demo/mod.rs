//! `larder demo`: the sample API, a proxy before it, and a story about the two.
//!
//! Invariant: everything listens on loopback. It refuses to know how a proxy is built: it is given one.

mod projects;
mod sample;
mod story;

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;

pub use crate::cli::client::Error as ClientError;
pub use crate::cli::demo::sample::{Latency, Sample, serve};

use crate::access_log::{Access, may_colour};
use crate::app;
use crate::cli::run::log_to_stderr;
use crate::cli::{FAILED, block_on, complain};
use crate::clock::Clock;
use crate::config::{self, Env, Flags};

/// `larder demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Play the story, check it, and exit: 0 if it came true, else 1
    #[arg(long)]
    pub once: bool,
    /// Whether the sample API takes its time; tests have none to lose.
    #[arg(skip)]
    pub latency: Latency,
}

/// A running proxy.
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where the admin listener is, if there is one.
    pub admin: Option<SocketAddr>,
    /// Stops it, and is done when it has stopped.
    pub stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Why there was no demo.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The sample API has no port.
    #[error("cannot start the sample API: {0}")]
    Sample(#[source] io::Error),
    /// The proxy did not start.
    #[error("cannot start the proxy: {0}")]
    Proxy(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The story broke off.
    #[error("the story broke off: {0}")]
    Story(#[from] ClientError),
    /// Nobody reads what is printed.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

/// The rules of the sample API, as anyone would write them.
const RULES: &str = include_str!("../../../config/projects.yaml");

/// Plays the demo on this terminal.
pub fn run(args: &Args) -> ExitCode {
    log_to_stderr(tracing::Level::WARN);
    let colour = may_colour(&io::stdout());
    let until = async {
        // Without signals there is nothing to wait for but the end of the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let told = block_on(present(args, start_proxy, until, &mut io::stdout(), colour));
    match told {
        Ok(Ok(failures)) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(Ok(_)) => ExitCode::from(FAILED),
        Ok(Err(why)) => {
            complain(&format!("larder: {why}\n"));
            ExitCode::from(FAILED)
        }
        Err(code) => code,
    }
}

async fn start_proxy(origin: SocketAddr) -> Result<Proxy, Box<dyn std::error::Error + Send + Sync>> {
    let loopback = || Some("127.0.0.1:0".to_owned());
    let flags = Flags {
        config: None,
        upstream: vec![format!("http://{origin}")],
        listen: loopback(),
        admin_listen: loopback(),
    };
    let mut config = config::load_str("config/projects.yaml", RULES, &flags, &Env::default())
        .map_err(|report| report.render(false))?;
    config.log.access = Access::Off;
    let running = app::start(config, Clock::system()).await?;
    running.ready().await;
    let (address, admin) = (running.address(), running.admin());
    let stop = Box::pin(running.stop(Duration::ZERO, std::future::pending()));
    Ok(Proxy { address, admin, stop })
}

/// Starts the sample API and, by `start_proxy`, a proxy; plays the story and prints it to `out`. Without `--once` it
/// serves on until `until` is done. Gives the claims that did not hold: none, and the exit code is 0.
///
/// `start_proxy` is given the address of the sample API, which takes the place of the configuration's `upstream`, and
/// gives a proxy that is ready: its start-up warming, if any, is over.
///
/// # Errors
/// If a part does not start, or the story is cut short.
async fn present<Start, Started, E>(
    args: &Args,
    start_proxy: Start,
    until: impl Future<Output = ()>,
    out: &mut impl Write,
    colour: bool,
) -> Result<Vec<String>, Error>
where
    Start: FnOnce(SocketAddr) -> Started,
    Started: Future<Output = Result<Proxy, E>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::Sample)?;
    let sample = serve(listener, args.latency).map_err(Error::Sample)?;
    let proxy = start_proxy(sample.address()).await.map_err(|error| Error::Proxy(error.into()))?;
    let told = tell(args, &sample, &proxy, until, out, colour).await;
    // The proxy is stopped in order also when the telling failed.
    proxy.stop.await;
    told
}

async fn tell(
    args: &Args,
    sample: &Sample,
    proxy: &Proxy,
    until: impl Future<Output = ()>,
    out: &mut impl Write,
    colour: bool,
) -> Result<Vec<String>, Error> {
    writeln!(out, "Larder at http://{}, before a project API that takes its time.\n", proxy.address)?;
    let story = story::play((proxy.address, proxy.admin), Clock::system(), || sample.requests()).await?;
    story.print(out, colour)?;
    if !args.once {
        print_things_to_try(sample, proxy, out)?;
        until.await;
    }
    Ok(story.failures())
}

fn print_things_to_try(sample: &Sample, proxy: &Proxy, out: &mut impl Write) -> io::Result<()> {
    let Proxy { address, admin, .. } = proxy;
    writeln!(
        out,
        "\nBoth go on until Ctrl-C. The API without Larder is at http://{}. Try:",
        sample.address()
    )?;
    writeln!(out, "  curl -i http://{address}/api/projects/7          # twice")?;
    writeln!(out, "  curl -i http://{address}/api/dashboard -H 'Authorization: Bearer linus'")?;
    writeln!(
        out,
        "  curl -i http://{address}/api/projects/7 -X PATCH --json '{{\"name\": \"Renamed\"}}'   # and read it again"
    )?;
    if let Some(admin) = admin {
        writeln!(out, "  larder explain /api/projects/7 --admin http://{admin}")?;
        writeln!(out, "  larder purge project:7 --admin http://{admin}")?;
        writeln!(out, "  curl -s http://{admin}/metrics | grep larder_requests")?;
        writeln!(out, "  curl -i http://{admin}/readyz")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn the_demo_stops_its_proxy_and_tells_what_did_not_hold() {
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        // No proxy at all: the origin itself, so that the claims of a cache cannot hold.
        let start = async |origin| {
            let stop = Box::pin(async move { seen.store(true, Ordering::SeqCst) });
            Ok::<_, io::Error>(Proxy { address: origin, admin: None, stop })
        };
        let mut out = Vec::new();
        let failures =
            present(&Args { once: false, latency: Latency::Off }, start, async {}, &mut out, false)
                .await
                .unwrap();
        assert!(!failures.is_empty());
        assert!(stopped.load(Ordering::SeqCst));
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("FAIL") && text.contains("curl -i http://127.0.0.1:"), "{text}");
    }

    #[tokio::test]
    async fn a_proxy_that_does_not_start_is_an_error() {
        let start = async |_origin| Err::<Proxy, _>(io::Error::from(io::ErrorKind::AddrInUse));
        let error =
            present(&Args { once: true, latency: Latency::Off }, start, async {}, &mut Vec::new(), false)
                .await
                .unwrap_err();
        assert!(error.to_string().starts_with("cannot start the proxy"), "{error}");
    }
}
