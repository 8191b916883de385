//! How a process hands its clients over to the next one, without refusing any of them.
//!
//! ```text
//! this process                                       its successor: the same command, maybe another binary
//!   SIGUSR2: starts it, with the listening sockets ──► builds everything; in a fleet, becomes a node of it
//!                                              ◄── ready
//!   serves nothing from memory any more
//!                                              go ──► accepts; alone, it keeps nothing yet
//!   accepts no more; what is open ends
//!   ends, and with it the stream between them ───────► keeps and serves
//! ```
//! Invariant: of two processes that do not hear of one another's writes, one has a cache at a time. If the successor fails, nothing has
//! happened. The stream between them is the successor's standard input.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Tells a successor that it is one.
const SUCCEEDS: &str = "LARDER_SUCCEEDS";
/// How long a successor may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the two say to one another.
const READY: u8 = b'r';
const GO: u8 = b'g';
/// The first descriptor that is handed on (sd_listen_fds(3)).
const FIRST: i32 = 3;

/// The process that comes after this one: it is ready, and waits.
pub(crate) struct Successor {
    child: Child,
    stream: UnixStream,
}

impl Successor {
    /// Starts it, and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, ends, or takes too long; then it is gone.
    pub(crate) async fn start(listeners: Vec<(&'static str, OwnedFd)>) -> io::Result<Self> {
        let (ours, its) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut child = command(listeners, its)?.spawn()?;
        let mut stream = UnixStream::from_std(ours)?;
        let said = timeout(PATIENCE, stream.read_u8()).await;
        let failed = match said {
            Ok(Ok(READY)) => return Ok(Self { child, stream }),
            Ok(_) => io::Error::other("it has ended before it was ready"),
            Err(_elapsed) => io::Error::other(format!("it was not ready within {PATIENCE:?}")),
        };
        // Whatever it has said of itself stands above.
        let _gone = child.kill();
        let _reaped = child.wait();
        Err(failed)
    }

    /// The number by which the system knows it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it accept. To be called when this process serves nothing from memory any more. As long as the stream is open that is given
    /// back, the successor keeps nothing: until this process has no clients left.
    ///
    /// # Errors
    /// It has ended meanwhile.
    pub(crate) async fn go(mut self) -> io::Result<UnixStream> {
        self.stream.write_u8(GO).await?;
        Ok(self.stream)
    }
}

/// This command once more, with these sockets and this end of the stream.
fn command(listeners: Vec<(&'static str, OwnedFd)>, stream: StdStream) -> io::Result<Command> {
    let mut command = Command::new(binary()?);
    let names: Vec<&str> = listeners.iter().map(|(name, _)| *name).collect();
    command
        .args(std::env::args_os().skip(1))
        .stdin(Stdio::from(OwnedFd::from(stream)))
        .env(SUCCEEDS, "1")
        .env("LISTEN_FDS", names.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        .env_remove("LISTEN_PID");
    let mapped = |(nth, (_, parent_fd)): (usize, (_, OwnedFd))| FdMapping {
        child_fd: FIRST + i32::try_from(nth).unwrap_or_default(),
        parent_fd,
    };
    let mappings = listeners.into_iter().enumerate().map(mapped).collect();
    command.fd_mappings(mappings).map_err(io::Error::other)?;
    Ok(command)
}

/// Where this program's file is, or the one that has taken its place.
fn binary() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let replaced = path.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(replaced.unwrap_or(path))
}

/// The process that this one comes after.
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// It, if there is one.
    ///
    /// # Errors
    /// It is said that there is one, and standard input is no stream to it.
    pub(crate) fn find() -> io::Result<Option<Self>> {
        if std::env::var_os(SUCCEEDS).is_none() {
            return Ok(None);
        }
        let stream = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        stream.set_nonblocking(true)?;
        Ok(Some(Self(UnixStream::from_std(stream)?)))
    }

    /// Tells it that this process is ready, and waits until it lets it accept.
    ///
    /// # Errors
    /// It has ended: there is nobody whose clients could be taken over.
    pub(crate) async fn take_turn(&mut self) -> io::Result<()> {
        self.0.write_u8(READY).await?;
        match self.0.read_u8().await? {
            GO => Ok(()),
            _ => Err(io::Error::other("the process before this one said something else than to go")),
        }
    }

    /// Waits until it is gone, whichever way.
    pub(crate) async fn gone(mut self) {
        while self.0.read_u8().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_predecessor_that_dies_lets_nobody_go_and_is_gone() {
        let (ours, its) = StdStream::pair().unwrap();
        its.set_nonblocking(true).unwrap();
        let mut predecessor = Predecessor(UnixStream::from_std(its).unwrap());
        drop(ours);
        assert!(predecessor.take_turn().await.is_err());
        predecessor.gone().await;
    }

    #[test]
    fn sockets_are_handed_on_by_name() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = || listener.as_fd().try_clone_to_owned().unwrap();
        let (_ours, its) = StdStream::pair().unwrap();
        let command = command(vec![("clients", socket()), ("admin", socket())], its).unwrap();
        let set = |name: &str| {
            command
                .get_envs()
                .find(|(known, _)| *known == name)
                .unwrap()
                .1
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(set("LISTEN_FDS").as_deref(), Some("2"));
        assert_eq!(set("LISTEN_FDNAMES").as_deref(), Some("clients:admin"));
        assert_eq!(set("LISTEN_PID"), None);
    }
}
