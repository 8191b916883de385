//! What a span says: of a request what its line in the access log says, of a question to the origin how it was answered.
//!
//! Invariant: names are made of methods that are known and of route templates, never of what a client wrote; queries, fields
//! and bodies have no place in a span. Names of attributes are OpenTelemetry's (HTTP semantic conventions), where it has them.

use std::borrow::Cow;

use http::uri::Authority;
use http::{Request, StatusCode, header};
use opentelemetry::trace::Status;
use opentelemetry::{KeyValue, Value};

use crate::access_log::Line;
use crate::body::Body;
use crate::metrics::UNMATCHED;
use crate::upstream::{Origin, Priority};

/// Most bytes of an attribute that a client wrote.
const MOST: usize = 1024;
/// The methods that a span is called by.
const KNOWN: [&str; 11] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "CONNECT", "TRACE", "PURGE"];

/// What a span says.
#[derive(Debug)]
pub(in crate::traces) struct Said {
    pub(in crate::traces) name: Cow<'static, str>,
    pub(in crate::traces) attributes: Vec<KeyValue>,
    pub(in crate::traces) status: Status,
}

/// The status of the origin's answer and whether the request was sent twice, or why there is none.
pub(in crate::traces) type Outcome = Result<(StatusCode, bool), &'static str>;

/// What a request's line says.
pub(in crate::traces) fn request(line: &Line<'_>, scheme: &'static str, priority: Priority) -> Said {
    let mut said = Said::of(line.method, line.route, "http.route");
    said.add("url.scheme", scheme);
    said.add("url.path", cut(line.path));
    said.add("http.response.status_code", i64::from(line.status));
    said.add("network.protocol.name", "http");
    said.add("network.protocol.version", cut(line.protocol));
    said.serve(line.server.unwrap_or_default());
    said.add_some("client.address", line.client.map(|client| client.to_string()));
    said.add("http.request.body.size", count(line.request_bytes));
    said.add("http.response.body.size", count(line.response_bytes));
    said.add("larder.cache", cut(line.cache));
    said.add_some("larder.detail", line.detail.map(cut));
    said.add_some("larder.age", line.age.map(count));
    said.add("larder.request_id", cut(line.request_id));
    said.add_some("larder.purpose", purpose(priority));
    let failed = line.status >= 500;
    let kind = line.error.map(str::to_owned).or_else(|| failed.then(|| line.status.to_string()));
    // A refusal is the client's mistake, an answer that was cut is not.
    if failed || (line.error.is_some() && line.status < 400) {
        said.status = Status::error("");
    }
    said.add_some("error.type", kind);
    said
}

/// A question to the origin, as far as its span speaks of it.
#[derive(Debug)]
pub(in crate::traces) struct Asked(Said);

impl Asked {
    /// Of `origin`, `None` means that it is one of several: then the host that is asked for stands for it.
    pub(in crate::traces) fn of(request: &Request<Body>, route: &str, origin: Option<&Origin>) -> Self {
        let mut said = Said::of(request.method().as_str(), Some(route), "url.template");
        match origin {
            Some(Origin::Tcp { host, port, .. }) => {
                said.add("server.address", host.clone());
                said.add("server.port", i64::from(*port));
            }
            Some(Origin::Unix(path)) => {
                said.add("server.address", path.display().to_string());
                said.add("network.transport", "unix");
            }
            None => {
                let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
                said.serve(host.unwrap_or_default());
            }
        }
        Self(said)
    }
}

/// What was asked, and what came of it.
pub(in crate::traces) fn call(Asked(mut said): Asked, outcome: Outcome) -> Said {
    let kind = match outcome {
        Ok((status, again)) => {
            said.add("http.response.status_code", i64::from(status.as_u16()));
            said.add_some("http.request.resend_count", again.then_some(1_i64));
            let failed = status.is_client_error() || status.is_server_error();
            failed.then(|| Cow::Owned(status.as_str().to_owned()))
        }
        Err(why) => Some(Cow::Borrowed(why)),
    };
    if kind.is_some() {
        said.status = Status::error("");
    }
    said.add_some("error.type", kind.map(Cow::into_owned));
    said
}

impl Said {
    fn of(method: &str, route: Option<&str>, of_template: &'static str) -> Self {
        let known = KNOWN.into_iter().find(|known| *known == method);
        let route = route.filter(|route| *route != UNMATCHED);
        let verb = known.unwrap_or("HTTP");
        let name = route.map_or(Cow::Borrowed(verb), |route| Cow::Owned(format!("{verb} {route}")));
        let mut said = Self { name, attributes: Vec::with_capacity(20), status: Status::Unset };
        said.add("http.request.method", known.unwrap_or("_OTHER"));
        said.add_some("http.request.method_original", known.is_none().then(|| cut(method)));
        said.add_some(of_template, route.map(str::to_owned));
        said
    }

    /// A host and perhaps a port; what is none is left out.
    fn serve(&mut self, authority: &str) {
        let Ok(authority) = authority.parse::<Authority>() else { return };
        self.add("server.address", cut(authority.host().trim_start_matches('[').trim_end_matches(']')));
        self.add_some("server.port", authority.port_u16().map(i64::from));
    }

    fn add(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push(KeyValue::new(name, value));
    }

    fn add_some(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        self.attributes.extend(value.map(|value| KeyValue::new(name, value)));
    }
}

fn purpose(priority: Priority) -> Option<&'static str> {
    match priority {
        Priority::Client => None,
        Priority::Revalidation => Some("revalidation"),
        Priority::Warm => Some("warm"),
        Priority::Audit => Some("audit"),
    }
}

fn cut(text: &str) -> String {
    let end = (0..=MOST.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::{Duration, SystemTime};

    fn line() -> Line<'static> {
        Line {
            at: SystemTime::UNIX_EPOCH,
            method: "GET",
            path: "/api/projects/42",
            route: Some("/api/projects/{id}"),
            status: 200,
            protocol: "1.1",
            client: Some([10, 0, 0, 1].into()),
            server: Some("[::1]:8080"),
            request_bytes: 0,
            response_bytes: 1834,
            duration: Duration::from_micros(52),
            upstream: None,
            cache: "hit",
            detail: None,
            age: Some(12),
            request_id: "abc",
            trace_id: None,
            span_id: None,
            error: None,
        }
    }

    fn of(line: &Line<'_>) -> (String, BTreeMap<String, String>, bool) {
        told(request(line, "http", Priority::Client))
    }

    fn told(said: Said) -> (String, BTreeMap<String, String>, bool) {
        let attributes =
            said.attributes.iter().map(|pair| (pair.key.to_string(), pair.value.to_string())).collect();
        (said.name.into_owned(), attributes, said.status == Status::error(""))
    }

    #[test]
    fn a_request_is_called_by_its_method_and_route_and_says_what_its_line_says() {
        let (name, said, failed) = of(&line());
        assert_eq!((name.as_str(), failed), ("GET /api/projects/{id}", false));
        let expected = [
            ("client.address", "10.0.0.1"),
            ("http.request.body.size", "0"),
            ("http.request.method", "GET"),
            ("http.response.body.size", "1834"),
            ("http.response.status_code", "200"),
            ("http.route", "/api/projects/{id}"),
            ("larder.age", "12"),
            ("larder.cache", "hit"),
            ("larder.request_id", "abc"),
            ("network.protocol.name", "http"),
            ("network.protocol.version", "1.1"),
            ("server.address", "::1"),
            ("server.port", "8080"),
            ("url.path", "/api/projects/42"),
            ("url.scheme", "http"),
        ];
        assert_eq!(said, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn nothing_that_a_client_wrote_is_in_a_name_or_without_an_end() {
        let long = format!("/{}", "é".repeat(2000));
        let hostile = Line {
            method: "DROP%0aTABLE",
            path: &long,
            route: Some(UNMATCHED),
            server: Some("a b"),
            ..line()
        };
        let (name, said, _) = of(&hostile);
        assert_eq!((name.as_str(), said["http.request.method"].as_str()), ("HTTP", "_OTHER"));
        assert!(!said.contains_key("http.route") && !said.contains_key("server.address"));
        assert!(said["url.path"].len() <= MOST && long.starts_with(&said["url.path"]));
    }

    #[test]
    fn what_the_server_got_wrong_is_an_error_and_what_the_client_did_is_not() {
        for (status, error, expected) in [
            (200, None, (None, false)),
            (404, None, (None, false)),
            (400, Some("host"), (Some("host"), false)),
            (200, Some("body"), (Some("body"), true)),
            (502, Some("refused"), (Some("refused"), true)),
            (503, None, (Some("503"), true)),
        ] {
            let (_, said, failed) = of(&Line { status, error, ..line() });
            assert_eq!((said.get("error.type").map(String::as_str), failed), expected, "{status} {error:?}");
        }
    }

    #[test]
    fn a_question_says_who_was_asked_and_what_came_of_it() {
        let mut asked = Request::new(Body::Empty);
        asked.headers_mut().insert(header::HOST, "api.example.com:8443".parse().unwrap());
        let tcp = Origin::Tcp { tls: false, host: "10.0.0.7".to_owned(), port: 8000 };
        let of = |origin, outcome| told(call(Asked::of(&asked, "/api/{id}", origin), outcome));
        let (name, said, failed) = of(Some(&tcp), Ok((StatusCode::NOT_FOUND, true)));
        assert_eq!((name.as_str(), failed), ("GET /api/{id}", true));
        let picked = ["server.address", "server.port", "error.type", "http.request.resend_count"];
        assert_eq!(picked.map(|name| said[name].as_str()), ["10.0.0.7", "8000", "404", "1"]);
        let (_, said, failed) = of(None, Err("timeout"));
        assert_eq!(
            ["server.address", "error.type"].map(|name| said[name].as_str()),
            ["api.example.com", "timeout"]
        );
        assert!(failed && !said.contains_key("http.response.status_code"));
        let (_, said, failed) =
            of(Some(&Origin::Unix("/run/app.sock".into())), Ok((StatusCode::NOT_MODIFIED, false)));
        assert_eq!((said["server.address"].as_str(), failed), ("/run/app.sock", false));
    }
}
