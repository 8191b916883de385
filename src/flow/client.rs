//! Who asks, and what of it is believed.
//!
//! Invariant: what a peer says of others counts only if the peer is a trusted proxy.

use std::net::{IpAddr, Ipv4Addr};

use http::HeaderMap;
use ipnet::IpNet;

use crate::upstream::Priority;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The peer's address.
    pub address: IpAddr,
    /// Who stands behind the peer, as far as it is believed; else the peer.
    pub origin: IpAddr,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Whether what it says of others is believed.
    pub trusted: bool,
    /// Its place in the queue to the origin.
    pub priority: Priority,
}

impl Client {
    /// The one at the other end of a connection.
    pub(crate) fn at(peer: IpAddr, tls: bool, trusted: &[IpNet]) -> Self {
        let address = peer.to_canonical();
        let trusted = trusted.iter().any(|network| network.contains(&address));
        Self { address, origin: address, tls, trusted, priority: Priority::Client }
    }

    /// The warmer of this process, as a client at a door with or without TLS.
    pub(crate) fn warmer(tls: bool) -> Self {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { address, origin: address, tls, trusted: false, priority: Priority::Warm }
    }

    /// Whoever fetches again what a write has dropped: behind the clients who wait.
    pub(crate) fn refresher(tls: bool) -> Self {
        Self { priority: Priority::Revalidation, ..Self::warmer(tls) }
    }

    /// Whoever holds what is kept against the origin: behind everybody.
    pub(crate) fn auditor(tls: bool) -> Self {
        Self { priority: Priority::Audit, ..Self::warmer(tls) }
    }

    /// The client as a trusted proxy tells it: of `X-Forwarded-For`, the nearest address that is no trusted proxy's.
    pub(crate) fn told_by(self, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        if !self.trusted {
            return self;
        }
        let lines = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
        let hops: Vec<IpAddr> =
            lines.flat_map(|line| line.split(',')).map_while(|hop| hop.trim().parse().ok()).collect();
        let stranger = hops.iter().rev().find(|hop| !trusted.iter().any(|network| network.contains(*hop)));
        Self { origin: stranger.or(hops.first()).copied().unwrap_or(self.address), ..self }
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn told(peer: &str, hops: &str) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_str(hops).unwrap());
        let client = Client::at(peer.parse().unwrap(), false, &trusted);
        client.told_by(&headers, &trusted).origin.to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_about_the_nearest_stranger() {
        assert_eq!(told("9.9.9.9", "1.1.1.1"), "9.9.9.9");
        assert_eq!(told("10.0.0.1", "1.1.1.1"), "1.1.1.1");
        assert_eq!(told("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2"), "1.1.1.1", "the first may be made up");
        assert_eq!(told("10.0.0.1", "unknown"), "10.0.0.1");
        assert_eq!(told("::ffff:10.0.0.1", "1.1.1.1"), "1.1.1.1");
    }
}
