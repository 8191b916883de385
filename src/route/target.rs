//! One request as this room sees it: read once, then asked for its route, its key and what goes to the origin.

use std::sync::Arc;

use http::HeaderMap;
use http::uri::{InvalidUri, PathAndQuery, Uri};
use percent_encoding::utf8_percent_encode;
use smallvec::SmallVec;

use crate::policy::outdate;
use crate::route::host::{Authority, HostError, Hosts, Scheme};
use crate::route::identity::Identity;
use crate::route::key::{KeyBuf, Parts};
use crate::route::path::{ILLEGAL, Path};
use crate::route::query::Query;
use crate::route::share::{Bypass, Share};
use crate::route::table::{Captures, Route, Table};
use crate::route::tag::Tag;
use crate::route::write;

/// All that one configuration says of requests.
#[derive(Debug)]
pub struct Rules {
    /// Which route a path falls under.
    pub table: Table,
    /// Which authorities are served, and as what.
    pub hosts: Hosts,
    /// What counts as a credential.
    pub identity: Identity,
    /// What writes outdate beside their target.
    pub writes: Vec<write::Rule>,
}

/// A request's target, canonical.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The rule it falls under.
    pub route: &'a Arc<Route>,
    /// The scheme that the client used.
    pub scheme: Scheme,
    /// For the key and for `Host`.
    pub authority: Authority<'a>,
    /// For the key and for the origin.
    pub path: Path<'a>,
    /// For the key and for the origin on a fill.
    pub query: Query<'a>,
    /// The query as it came.
    raw_query: Option<&'a str>,
}

impl Rules {
    /// Reads a request target. `authority` is the one of the request line, else of `Host`; `query` is what stands
    /// after the first `?`. A typical target costs one pass over each part and no allocation.
    ///
    /// # Errors
    /// The authority is malformed (400) or not served here (421).
    pub fn target<'a>(
        &'a self,
        scheme: Scheme,
        authority: &'a str,
        path: &'a str,
        query: Option<&'a str>,
    ) -> Result<Target<'a>, HostError> {
        let authority = self.hosts.resolve(scheme, authority)?;
        let path = Path::of(path);
        let route = self.table.find(path.decoded());
        let raw_query = query;
        let query = route.key.query.canonical(raw_query);
        Ok(Target { route, scheme, authority, path, query, raw_query })
    }

    /// The paths that the answer to a write names beside its target (RFC 9111 §4.4); `target` is where it went, on `host`.
    pub fn also_outdated(
        &self,
        scheme: Scheme,
        (target, host): (&Uri, &Arc<str>),
        answer: &HeaderMap,
    ) -> Vec<Tag> {
        let is_ours = |named: &str| self.hosts.is_named(scheme, named, host);
        let named = outdate::also_outdated(target, answer, &is_ours);
        named.iter().map(|path| Tag::path(host, Path::of(path.path()).decoded())).collect()
    }
}

impl Target<'_> {
    /// Why the cache is not asked, whoever sends the request.
    pub fn bypass(&self) -> Option<Bypass> {
        if self.route.settings.bypass {
            return Some(Bypass::Route);
        }
        self.path.ambiguity().or(self.query.ambiguity()).map(Bypass::Ambiguous)
    }

    /// The key of the answer. `share` says whose it is; `headers` are the request's; `body` stands for method and
    /// body where they are part of the question ([`crate::route::content::Digest`]), else empty.
    pub fn key(&self, share: Share, headers: &HeaderMap, body: &[u8]) -> KeyBuf {
        KeyBuf::of(&Parts {
            scheme: self.scheme,
            authority: self.authority.as_str(),
            path: self.path.as_str(),
            query: self.query.as_str(),
            credential: share.digest(),
            body,
            headers,
            spec: &self.route.key,
        })
    }

    /// The names of the query that do not count, decoded.
    pub fn dropped(&self) -> Vec<String> {
        self.route.key.query.dropped(self.raw_query)
    }

    /// What a fill asks the origin for: exactly what the key holds.
    ///
    /// # Errors
    /// The path does not begin with `/` or `*`: 400.
    pub fn fill(&self) -> Result<PathAndQuery, InvalidUri> {
        match self.query.as_str() {
            "" => self.path.as_str().parse(),
            query => format!("{}?{query}", self.path.as_str()).parse(),
        }
    }

    /// Where a request that is not cached goes, for what its answer says of other places.
    pub fn forwarded(&self) -> Uri {
        let target = self.pass().unwrap_or_else(|_| PathAndQuery::from_static("/"));
        format!("http://{}{target}", self.authority.as_str()).parse().unwrap_or_default()
    }

    /// What a request that is not cached asks the origin for: the query as it came, but for bytes that no URI may
    /// hold, which are escaped.
    ///
    /// # Errors
    /// As [`Target::fill`].
    pub fn pass(&self) -> Result<PathAndQuery, InvalidUri> {
        match self.raw_query {
            None => self.path.as_str().parse(),
            Some(query) => format!("{}?{}", self.path.as_str(), utf8_percent_encode(query, ILLEGAL)).parse(),
        }
    }

    /// The tags of the path: an entry carries them, and an unsafe request to it outdates them. An ambiguous path
    /// has two, the second as a server reads it that merges slashes and resolves dots.
    pub fn tags(&self) -> SmallVec<[Tag; 2]> {
        let authority = self.authority.as_str();
        let mut tags: SmallVec<[Tag; 2]> = SmallVec::new();
        tags.push(Tag::path(authority, self.path.decoded()));
        if self.path.ambiguity().is_some() {
            tags.push(Tag::path(authority, &self.path.resolved()));
            tags.dedup();
        }
        tags
    }

    /// What stood in the braces of the route's template, decoded.
    pub fn captures<'s>(&'s self, rules: &'s Rules) -> Captures<'s> {
        rules.table.find_with(self.path.decoded()).captures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use crate::policy;
    use crate::route::{KeySettings, Settings, identity};

    fn settings(template: &str, key: KeySettings) -> Settings {
        Settings { bypass: false, key, digest: 7, ..Settings::passing(template) }
    }

    fn rules() -> Rules {
        let key = KeySettings {
            ignore_query: vec!["utm_*".into()],
            headers: vec![HeaderName::from_static("x-theme")],
            ..KeySettings::default()
        };
        let secret = Settings { bypass: true, ..settings("/auth/{rest:path}", KeySettings::default()) };
        let routes = vec![settings("/api/projects/{id}", key), secret];
        Rules {
            table: Table::build(routes, Some(settings("", KeySettings::default()))).unwrap(),
            hosts: Hosts::new(&[], Scheme::Http, 8080).unwrap(),
            identity: Identity::new(&identity::Settings::default(), b"secret"),
            writes: Vec::new(),
        }
    }

    fn read<'a>(rules: &'a Rules, uri: &'a str) -> Target<'a> {
        let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
        rules.target(Scheme::Http, "localhost", path, query).unwrap()
    }

    fn key(uri: &str) -> KeyBuf {
        read(&rules(), uri).key(Share::Shared, &HeaderMap::new(), b"")
    }

    #[test]
    fn spellings_of_one_request_have_one_key() {
        let plain = key("/api/projects/42?page=1&size=20");
        for uri in [
            "/api/projects/42?size=20&page=1",
            "/api/%70rojects/4%32?page=1&size=20&",
            "/api/projects/42?utm_source=x&page=1&size=%320",
        ] {
            assert_eq!(key(uri), plain, "{uri}");
        }
        for uri in ["/api/projects/42?page=2&size=20", "/api/projects/42/?page=1&size=20", "/api/projects/42"]
        {
            assert_ne!(key(uri), plain, "{uri}");
        }
    }

    #[test]
    fn what_is_keyed_is_what_a_fill_sends() {
        let rules = rules();
        let uri = "/api/projects/4%32?utm_source=x&size=20&page=1&q=a+b;c";
        let target = read(&rules, uri);
        assert_eq!(target.fill().unwrap(), "/api/projects/42?page=1&q=a%20b%3Bc&size=20");
        assert_eq!(target.pass().unwrap(), "/api/projects/42?utm_source=x&size=20&page=1&q=a+b;c");
        assert_eq!(read(&rules, "/x?").fill().unwrap(), "/x");
        assert_eq!(read(&rules, "*").pass().unwrap(), "*");
        assert!(read(&rules, "no path").pass().is_err());
    }

    #[test]
    fn a_route_or_an_ambiguity_bypasses() {
        let rules = rules();
        assert_eq!(read(&rules, "/auth/login").bypass(), Some(Bypass::Route));
        assert_eq!(read(&rules, "/api/projects/42?a=1").bypass(), None);
        for uri in ["/api/projects%2f42", "/api//projects/42", "/api/projects/42?q=\u{e9}"] {
            assert!(matches!(read(&rules, uri).bypass(), Some(Bypass::Ambiguous(_))), "{uri}");
        }
    }

    #[test]
    fn an_escaped_path_falls_under_the_rule_of_what_the_origin_reads() {
        let rules = rules();
        assert_eq!(read(&rules, "/%61uth/login").bypass(), Some(Bypass::Route));
        assert_eq!(read(&rules, "/auth%2flogin").bypass(), Some(Bypass::Route));
        let found = read(&rules, "/api/projects/a%20b");
        assert_eq!(found.captures(&rules).as_slice(), [("id", "a b")]);
    }

    #[test]
    fn an_unsafe_request_outdates_every_spelling_of_its_path() {
        let rules = rules();
        let entry = read(&rules, "/api/projects/4:2?page=1").tags();
        assert_eq!(entry.as_slice(), [Tag::path("localhost:8080", "/api/projects/4:2")]);
        for uri in
            ["/api/projects/4%3A2", "/api/projects/4:2/?x", "/api/projects%2f4:2", "/api//projects/./4:2"]
        {
            let tags = read(&rules, uri).tags();
            assert!(entry.iter().any(|tag| tags.contains(tag)), "{uri}: {tags:?}");
        }
    }

    #[test]
    fn credentials_and_declared_headers_part_entries() {
        let rules = rules();
        let target = read(&rules, "/api/projects/42");
        let share = |value: &str| {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static("authorization"),
                HeaderValue::from_str(value).unwrap(),
            )]);
            rules.identity.share(policy::Scope::Auto, false, &headers)
        };
        let none = HeaderMap::new();
        let themed =
            HeaderMap::from_iter([(HeaderName::from_static("x-theme"), HeaderValue::from_static("dark"))]);
        let keys = [
            target.key(Share::Shared, &none, b""),
            target.key(share("a"), &none, b""),
            target.key(share("b"), &none, b""),
            target.key(Share::Shared, &themed, b""),
            target.key(Share::Shared, &none, b"QUERY"),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[..i].iter().all(|b| a != b), "{a:?}");
        }
    }

    proptest! {
        #[test]
        fn a_canonical_request_has_the_key_of_what_it_stands_for(
            path in "/[a-z0-9:%2-7._~-]{0,12}", query in "[a-c=&+%2-7;]{0,16}",
        ) {
            let rules = rules();
            let uri = format!("{path}?{query}");
            let target = read(&rules, &uri);
            let fill = target.fill().unwrap().to_string();
            if target.bypass().is_none() {
                let again = read(&rules, &fill);
                prop_assert_eq!(again.bypass(), None);
                prop_assert_eq!(
                    again.key(Share::Shared, &HeaderMap::new(), b""),
                    target.key(Share::Shared, &HeaderMap::new(), b"")
                );
            }
        }
    }
}
