//! Where things are: listeners, upstreams, hosts, networks.
//!
//! Invariant: an address names a place and nothing else: no path, no query, no user. Nothing is resolved here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::shape::{Refusal, Scalar};
use crate::upstream::Origin;

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listen(pub(crate) SocketAddr);

impl Scalar for Listen {
    const WHAT: &'static str = "an address";

    fn parse(text: &str) -> Result<Self, Refusal> {
        const HINT: &str = "write 127.0.0.1:8080, 0.0.0.0:8080, [::]:8080 or :8080";
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let port = digits(port).map_err(|()| Refusal::new(format!("`{text}` has no valid port"), HINT))?;
        let host = match host {
            "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => {
                let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                let ip = bare
                    .map_or_else(|| host.parse().map(IpAddr::V4).ok(), |v6| v6.parse().map(IpAddr::V6).ok());
                ip.ok_or_else(|| Refusal::new(format!("`{text}` is not an address to listen on"), HINT))?
            }
        };
        Ok(Self(SocketAddr::new(host, port)))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": ["string", "integer"] })
    }
}

impl Scalar for Origin {
    const WHAT: &'static str = "an upstream URL";

    fn parse(text: &str) -> Result<Self, Refusal> {
        const HINT: &str = "write http://host:port, https://host or unix:/path/to.sock";
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') && path.len() > 1 {
                true => Ok(Self::Unix(PathBuf::from(path))),
                false => Err(Refusal::new("needs an absolute socket path", "write unix:/run/app.sock")),
            };
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(Refusal::new(format!("`{text}` has no scheme"), no_scheme(text, HINT)));
        };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(Refusal::new(format!("`{scheme}://` is no scheme of an upstream"), HINT)),
        };
        if rest.contains('@') {
            let hint = "take what stands before the `@` out; credentials come from the client's request";
            return Err(Refusal::new("carries a user or password", hint));
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(at) = authority.find(['/', '?', '#']) {
            let extra = if authority[at..].starts_with('/') { "path" } else { "query" };
            let hint = format!("write {scheme}://{}: requests keep their own path", &authority[..at]);
            return Err(Refusal::new(format!("`{text}` carries a {extra}"), hint));
        }
        let (host, port) =
            host_port(authority).map_err(|what| Refusal::new(format!("`{text}` has {what}"), HINT))?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        if port == 0 {
            return Err(Refusal::new(format!("`{text}` has port 0"), HINT));
        }
        Ok(Self::Tcp { tls, host, port })
    }

    fn show(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix:{}", path.display()),
            Self::Tcp { tls, host, port } => {
                let scheme = if *tls { "https" } else { "http" };
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                format!("{scheme}://{host}:{port}")
            }
        }
    }
}

fn no_scheme(text: &str, otherwise: &str) -> String {
    if text.starts_with('/') {
        return format!("write unix:{text}");
    }
    let probable = format!("http://{text}");
    if <Origin as Scalar>::parse(&probable).is_ok() {
        format!("write {probable}")
    } else {
        otherwise.to_owned()
    }
}

/// One host under which clients know the service, perhaps with a port; lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host(pub(crate) String);

impl Scalar for Host {
    const WHAT: &'static str = "a host";

    fn parse(text: &str) -> Result<Self, Refusal> {
        const HINT: &str = "write api.example.com or api.example.com:8443";
        if text.contains("://") || text.contains('/') {
            return Err(Refusal::new(format!("`{text}` is a URL, not a host"), HINT));
        }
        if text.contains('*') {
            return Err(Refusal::new(
                format!("`{text}` is a pattern"),
                "name every host; without `hosts` any is served",
            ));
        }
        let (host, port) =
            host_port(text).map_err(|what| Refusal::new(format!("`{text}` has {what}"), HINT))?;
        let host =
            if host.contains(':') { format!("[{host}]") } else { host.trim_end_matches('.').to_owned() };
        Ok(Self(port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for IpNet {
    const WHAT: &'static str = "a network";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let net = text.parse::<Self>().or_else(|_| text.parse::<IpAddr>().map(Self::from));
        net.map(|net| net.trunc()).map_err(|_| {
            Refusal::new(format!("`{text}` is not a network"), "write 10.0.0.0/8, 192.168.1.7 or fd00::/8")
        })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Host (lower case, without brackets) and port of an authority; else what is wrong with it.
fn host_port(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("an unclosed bracket")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "no valid IPv6 address in its brackets")?;
            (host, after.strip_prefix(':').or((!after.is_empty()).then_some("")))
        }
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err("an IPv6 address without brackets"),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if host.is_empty() || (!host.contains(':') && !host.chars().all(plain)) {
        return Err("no valid host");
    }
    let port = port.map(digits).transpose().map_err(|()| "no valid port")?;
    Ok((host.to_ascii_lowercase(), port))
}

/// A port in digits only.
fn digits(text: &str) -> Result<u16, ()> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(());
    }
    text.parse().map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        <Origin as Scalar>::parse(text).unwrap()
    }

    fn refusal(text: &str) -> Refusal {
        <Origin as Scalar>::parse(text).expect_err(text)
    }

    fn tcp(tls: bool, host: &str, port: u16) -> Origin {
        Origin::Tcp { tls, host: host.into(), port }
    }

    #[test]
    fn upstreams_are_read() {
        assert_eq!(origin("http://localhost:8000"), tcp(false, "localhost", 8000));
        assert_eq!(origin("http://API/"), tcp(false, "api", 80));
        assert_eq!(origin("https://api.example.com"), tcp(true, "api.example.com", 443));
        assert_eq!(origin("http://[::1]:8000"), tcp(false, "::1", 8000));
        assert_eq!(origin("unix:/run/app.sock"), Origin::Unix("/run/app.sock".into()));
        assert_eq!(origin("unix:///run/app.sock"), Origin::Unix("/run/app.sock".into()));
        for text in ["http://a:1", "https://[::1]:443", "unix:/x"] {
            assert_eq!(origin(text).show(), text);
        }
    }

    #[test]
    fn an_upstream_is_a_place_and_nothing_else() {
        assert!(refusal("http://a/api").message.contains("a path"));
        assert!(refusal("http://a/api").hint.starts_with("write http://a:"));
        assert!(refusal("http://a?x=1").message.contains("a query"));
        assert!(refusal("http://u:hunter2@a").message.contains("user"));
        assert!(!refusal("http://u:hunter2@a").message.contains("hunter2"));
        assert_eq!(refusal("localhost:8000").hint, "write http://localhost:8000");
        assert_eq!(refusal("/run/a.sock").hint, "write unix:/run/a.sock");
        assert!(refusal("unix:run/a.sock").message.contains("absolute"));
        for text in [
            "http://",
            "http://a:0",
            "http://a:99999",
            "http://a:b",
            "http://a b",
            "ftp://a",
            "http://::1:80",
            "http://[::1",
            "http://[x]:1",
            "http://a:+1",
            "",
            "unix:",
            "http://[::1]80",
            "http://a:",
        ] {
            refusal(text);
        }
    }

    #[test]
    fn listeners_are_read() {
        for (text, shown) in [
            ("0.0.0.0:8080", "0.0.0.0:8080"),
            (":8080", "0.0.0.0:8080"),
            ("8080", "0.0.0.0:8080"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::]:80", "[::]:80"),
        ] {
            assert_eq!(Listen::parse(text).unwrap().show(), shown, "{text}");
        }
        for text in [
            "example.com:80",
            "0.0.0.0",
            "0.0.0.0:",
            "0.0.0.0:99999",
            "8080:80",
            "::1:80",
            "0.0.0.0:+1",
            "",
            "1.2.3:80",
        ] {
            assert!(Listen::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_names_perhaps_with_a_port() {
        for (text, host) in
            [("API.example.com", "api.example.com"), ("a:81", "a:81"), ("[::1]:80", "[::1]:80"), ("a.", "a")]
        {
            assert_eq!(Host::parse(text).unwrap().0, host);
        }
        for text in ["http://a", "a/b", "*.example.com", "", "a b", "a:x", "é.com"] {
            assert!(Host::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_are_ranges_or_single_addresses() {
        assert_eq!(<IpNet as Scalar>::parse("10.1.2.3/8").unwrap().show(), "10.0.0.0/8");
        assert_eq!(<IpNet as Scalar>::parse("::1").unwrap().show(), "::1/128");
        assert!(<IpNet as Scalar>::parse("10.0.0.0/33").is_err());
    }
}
