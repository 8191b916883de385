//! The authority a request is for: one canonical text for every spelling of it, or a refusal.
//!
//! What a client writes in `Host` is never a destination: it is compared, and replaced by a name that the
//! configuration or this room's normal form gives (lower case, no default port, no trailing dot). Whoever sent
//! it, and where the origin really is, is not known here.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// The scheme that the client used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// TLS, here or at a trusted proxy.
    Https,
}

impl Scheme {
    /// Lower case, without `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// RFC 9110 §4.2.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A checked, canonical `host[:port]`; only [`Hosts`] makes one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority<'a>(Cow<'a, str>);

impl Authority<'_> {
    /// As it is keyed and sent upstream in `Host`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, bound to no request.
    pub fn into_owned(self) -> Authority<'static> {
        Authority(Cow::Owned(self.0.into_owned()))
    }
}

/// Why a request's authority is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HostError {
    /// Not a `host[:port]`: 400.
    #[error("the host is not valid")]
    Malformed,
    /// `hosts` is configured and does not list it: 421, RFC 9110 §15.5.20.
    #[error("this host is not served here")]
    Stranger,
}

/// `hosts:` of the configuration, or what holds without it.
#[derive(Clone, Debug)]
pub struct Hosts {
    listed: Vec<Listed>,
    canonical: String,
    /// Spellings of the canonical one that need no reading: those that clients send as a rule.
    known: Vec<String>,
}

#[derive(Clone, Debug)]
struct Listed {
    host: String,
    /// `None`: any port.
    port: Option<u16>,
}

impl Hosts {
    /// `hosts`: the configured names, the first of them canonical; empty: every name is served, and loopback
    /// names are one authority, `localhost` with the port that Larder listens on. `scheme`: what it listens for.
    ///
    /// # Errors
    /// The first of `hosts` that is not a `host[:port]`.
    pub fn new(hosts: &[String], scheme: Scheme, listen: u16) -> Result<Self, BadHost> {
        let mut listed = Vec::with_capacity(hosts.len());
        for text in hosts {
            let parts = Parts::of(scheme, text).map_err(|_| BadHost(text.clone()))?;
            listed.push(Listed { host: parts.host.into_owned(), port: parts.port });
        }
        let canonical = match listed.first() {
            Some(first) => join(&first.host, first.port),
            None => join("localhost", Some(listen).filter(|port| *port != scheme.default_port())),
        };
        let known = if listed.is_empty() {
            ["127.0.0.1", "localhost", "[::1]"].map(|name| join(name, Some(listen))).to_vec()
        } else {
            listed.iter().map(|listed| join(&listed.host, listed.port)).collect()
        };
        Ok(Self { listed, canonical, known })
    }

    /// The authority under which warming fills, and which listed and loopback names become.
    pub fn canonical(&self) -> Authority<'_> {
        Authority(Cow::Borrowed(&self.canonical))
    }

    /// The same as text.
    pub fn canonical_name(&self) -> &str {
        &self.canonical
    }

    /// The canonical form of what a client asked for. A name in normal form costs one pass and no allocation.
    ///
    /// # Errors
    /// [`HostError::Malformed`]: userinfo, an empty or impossible name, a bad port. [`HostError::Stranger`]: not
    /// among the configured hosts.
    pub fn resolve<'a>(&'a self, scheme: Scheme, authority: &'a str) -> Result<Authority<'a>, HostError> {
        if self.known.iter().any(|known| known == authority) {
            return Ok(self.canonical());
        }
        let parts = Parts::of(scheme, authority)?;
        if self.listed.is_empty() {
            return Ok(if parts.is_loopback() { self.canonical() } else { Authority(parts.join(authority)) });
        }
        let port = parts.port.unwrap_or(scheme.default_port());
        let served = self
            .listed
            .iter()
            .any(|listed| listed.host == parts.host && listed.port.is_none_or(|own| own == port));
        if served { Ok(self.canonical()) } else { Err(HostError::Stranger) }
    }

    /// Whether `named` is another name of `authority`, which is in canonical form.
    pub fn is_named(&self, scheme: Scheme, named: &str, authority: &str) -> bool {
        self.resolve(scheme, named).is_ok_and(|named| named.as_str() == authority)
    }
}

/// A configured host that is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a host name, optionally with a port")]
pub struct BadHost(pub String);

/// An authority in two halves: the host in normal form, the port unless it is the scheme's own.
struct Parts<'a> {
    host: Cow<'a, str>,
    port: Option<u16>,
}

impl<'a> Parts<'a> {
    fn of(scheme: Scheme, authority: &'a str) -> Result<Self, HostError> {
        let end = match authority.strip_prefix('[') {
            Some(inner) => inner.find(']').ok_or(HostError::Malformed)? + 2,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        let (host, port) = authority.split_at(end);
        let host = if host.starts_with('[') { literal(host)? } else { name(host)? };
        let port = port_number(port)?.filter(|port| *port != scheme.default_port());
        Ok(Self { host, port })
    }

    /// localhost, 127.0.0.0/8 and ::1, mapped ones included.
    fn is_loopback(&self) -> bool {
        match self.host.strip_prefix('[') {
            Some(inner) => inner.trim_end_matches(']').parse::<Ipv6Addr>().is_ok_and(|address| {
                address.is_loopback() || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_loopback())
            }),
            None => {
                self.host == "localhost"
                    || (self.host.starts_with("127.") && self.host.parse::<Ipv4Addr>().is_ok())
            }
        }
    }

    /// The two halves as one text: `authority` itself where it is in normal form already.
    fn join(self, authority: &'a str) -> Cow<'a, str> {
        let Cow::Borrowed(host) = self.host else { return Cow::Owned(join(&self.host, self.port)) };
        match self.port {
            None => Cow::Borrowed(host),
            Some(port) => match authority.strip_prefix(host).and_then(|rest| rest.strip_prefix(':')) {
                Some(digits) if !digits.starts_with('0') => Cow::Borrowed(authority),
                _ => Cow::Owned(join(host, Some(port))),
            },
        }
    }
}

fn join(host: &str, port: Option<u16>) -> String {
    port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A registered name or IPv4 address: letters, digits, `-`, `.` and (container names have it) `_`; no empty label.
fn name(text: &str) -> Result<Cow<'_, str>, HostError> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut upper = false;
    let mut previous = b'.';
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => upper = true,
            b'.' if previous != b'.' => {}
            _ => return Err(HostError::Malformed),
        }
        previous = byte;
    }
    if previous == b'.' || text.len() > MAX_NAME {
        return Err(HostError::Malformed);
    }
    Ok(if upper { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) })
}

/// Longest host name in bytes, RFC 1035 §2.3.4.
const MAX_NAME: usize = 253;

/// An IPv6 address in brackets, in the form of RFC 5952; no zone.
fn literal(text: &str) -> Result<Cow<'_, str>, HostError> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(HostError::Malformed)?;
    let address: Ipv6Addr = inner.parse().map_err(|_| HostError::Malformed)?;
    let mut canonical = String::with_capacity(text.len());
    // Writing to a string cannot fail.
    let _ = write!(canonical, "[{address}]");
    Ok(if canonical == text { Cow::Borrowed(text) } else { Cow::Owned(canonical) })
}

/// `""`, `":"` (RFC 3986 §6.2.3: no port) or `":8080"`.
fn port_number(text: &str) -> Result<Option<u16>, HostError> {
    let digits = text.strip_prefix(':').unwrap_or(text);
    if digits.is_empty() {
        return Ok(None);
    }
    let is_number =
        text.starts_with(':') && digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(port) if is_number && port != 0 => Ok(Some(port)),
        _ => Err(HostError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Hosts {
        Hosts::new(&[], Scheme::Http, 8080).unwrap()
    }

    fn listed(hosts: &[&str]) -> Hosts {
        Hosts::new(&hosts.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>(), Scheme::Http, 8080).unwrap()
    }

    fn resolved(hosts: &Hosts, scheme: Scheme, authority: &str) -> Result<String, HostError> {
        hosts.resolve(scheme, authority).map(|found| found.as_str().to_owned())
    }

    #[test]
    fn spellings_of_one_authority_are_one() {
        for (raw, canonical) in [
            ("api.example.com", "api.example.com"),
            ("API.Example.com", "api.example.com"),
            ("api.example.com:80", "api.example.com"),
            ("api.example.com:", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("Api.example.com.:080", "api.example.com"),
            ("api.example.com:8080", "api.example.com:8080"),
            ("api.example.com.:8080", "api.example.com:8080"),
            ("api.example.com:08080", "api.example.com:8080"),
            ("my_service", "my_service"),
            ("10.0.0.1:9000", "10.0.0.1:9000"),
            ("[2001:DB8:0::1]:80", "[2001:db8::1]"),
            ("[2001:db8::1]:81", "[2001:db8::1]:81"),
        ] {
            assert_eq!(resolved(&open(), Scheme::Http, raw).as_deref(), Ok(canonical), "{raw}");
        }
        assert_eq!(resolved(&open(), Scheme::Https, "a.b:443").as_deref(), Ok("a.b"));
        assert_eq!(resolved(&open(), Scheme::Https, "a.b:80").as_deref(), Ok("a.b:80"));
    }

    #[test]
    fn a_name_in_normal_form_is_borrowed() {
        for raw in ["api.example.com", "api.example.com:8080", "[2001:db8::1]:81", "api.example.com:80"] {
            assert!(
                matches!(
                    open().resolve(Scheme::Http, raw).map(|a| matches!(a.0, Cow::Borrowed(_))),
                    Ok(true)
                ),
                "{raw}"
            );
        }
    }

    #[test]
    fn what_is_no_host_is_malformed() {
        for raw in [
            "",
            ".",
            ":80",
            "user@host",
            "user:pw@host",
            "a b",
            "a/b",
            "a..b",
            ".a",
            "a..",
            "h\u{e9}",
            "%41",
            "a,b",
            "a:b",
            "a:0",
            "a:65536",
            "a:+80",
            "a:80:80",
            "a:000080",
            "[::1",
            "::1",
            "[::1]x",
            "[::1%25eth0]",
            "[v1.x]",
            "[]",
            "a\0",
        ] {
            assert_eq!(resolved(&open(), Scheme::Http, raw), Err(HostError::Malformed), "{raw}");
        }
        assert_eq!(resolved(&open(), Scheme::Http, &"a".repeat(254)), Err(HostError::Malformed));
    }

    #[test]
    fn loopback_names_are_one_authority_with_our_port() {
        for raw in [
            "localhost",
            "LOCALHOST:9",
            "localhost.",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:80",
            "[0:0::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(resolved(&open(), Scheme::Http, raw).as_deref(), Ok("localhost:8080"), "{raw}");
        }
        for raw in ["127.0.0.1.example.com", "127.1", "localhost.example.com", "[::2]"] {
            assert_eq!(resolved(&open(), Scheme::Http, raw).as_deref(), Ok(raw), "{raw}");
        }
        assert_eq!(Hosts::new(&[], Scheme::Http, 80).unwrap().canonical().as_str(), "localhost");
    }

    #[test]
    fn listed_hosts_become_the_first_and_strangers_are_refused() {
        let hosts = listed(&["API.example.com", "admin.example.com:8443"]);
        for raw in ["api.example.com", "Api.example.com:9000", "admin.example.com:8443"] {
            assert_eq!(resolved(&hosts, Scheme::Http, raw).as_deref(), Ok("api.example.com"), "{raw}");
        }
        for raw in ["admin.example.com", "evil.example.com", "localhost", "api.example.com.evil.com"] {
            assert_eq!(resolved(&hosts, Scheme::Http, raw), Err(HostError::Stranger), "{raw}");
        }
        assert_eq!(resolved(&hosts, Scheme::Http, "user@api.example.com"), Err(HostError::Malformed));
        assert_eq!(hosts.canonical().as_str(), "api.example.com");
    }

    #[test]
    fn a_configured_host_that_is_none_is_named() {
        let refused = Hosts::new(&["http://api".into()], Scheme::Http, 80).unwrap_err();
        assert_eq!(refused, BadHost("http://api".into()));
    }
}
