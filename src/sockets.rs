//! Listening sockets that another process opened: a service manager (`LISTEN_FDS`, as systemd has it), or the process before this one.
//!
//! Invariant: which is which is told by name, or else by order: clients, admin, probes. It refuses to know what is said on them.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Weak;

use listenfd::ListenFd;

/// The names, in the order of those that have none (`FileDescriptorName=` of a systemd socket).
pub const NAMES: [&str; 3] = ["clients", "admin", "probes"];

/// Sockets that are there already.
#[derive(Debug, Default)]
pub struct Sockets {
    /// In place of `listen`.
    pub clients: Option<TcpListener>,
    /// In place of `admin.listen`.
    pub admin: Option<TcpListener>,
    /// In place of `admin.probes`.
    pub probes: Option<TcpListener>,
}

impl Sockets {
    /// Those that were handed to this process. To be called once, before it has a second thread: it clears the variables that tell of
    /// them, so that no child takes them for its own.
    ///
    /// # Errors
    /// One of them is no listening TCP socket.
    pub fn inherited() -> io::Result<Self> {
        let named = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut found = ListenFd::from_env();
        let mut sockets = Self::default();
        for (nth, place) in places(&named, found.len()).into_iter().enumerate() {
            let Some(place) = place else { continue };
            let listener = found.take_tcp_listener(nth)?;
            match place {
                0 => sockets.clients = listener,
                1 => sockets.admin = listener,
                _ => sockets.probes = listener,
            }
        }
        Ok(sockets)
    }
}

/// Which of [`NAMES`] each of `count` sockets is.
fn places(named: &str, count: usize) -> Vec<Option<usize>> {
    let known = |name: &str| NAMES.iter().position(|known| *known == name);
    let by_name: Vec<Option<usize>> = named.split(':').map(known).collect();
    if by_name.iter().any(Option::is_some) {
        return (0..count).map(|nth| by_name.get(nth).copied().flatten()).collect();
    }
    (0..count).map(|nth| (nth < NAMES.len()).then_some(nth)).collect()
}

/// A listener as tokio has it.
///
/// # Errors
/// The system's.
pub fn ready(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// A listener that is still open, for another process. `None`: it is closed.
///
/// # Errors
/// The system's.
pub fn copied(listener: &Weak<tokio::net::TcpListener>) -> io::Result<Option<OwnedFd>> {
    listener.upgrade().map(|listener| listener.as_fd().try_clone_to_owned()).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_by_name_and_else_by_order() {
        assert_eq!(places("", 0), []);
        assert_eq!(places("", 4), [Some(0), Some(1), Some(2), None]);
        assert_eq!(
            places("larder.socket:larder.socket", 2),
            [Some(0), Some(1)],
            "as systemd names them by itself"
        );
        assert_eq!(places("admin:clients", 2), [Some(1), Some(0)]);
        assert_eq!(places("probes:else:clients", 3), [Some(2), None, Some(0)]);
        assert_eq!(places("admin", 2), [Some(1), None]);
    }
}
