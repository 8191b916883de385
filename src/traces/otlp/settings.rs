//! What the standard variables say of traces (OpenTelemetry: environment variable specification, OTLP exporter).
//!
//! Invariant: nothing is exported unless a variable asks for it, and what a variable says that cannot be is an error with its name,
//! never a default. Values are shown by nothing here: headers hold credentials.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;

use crate::traces::Wrong;
use crate::upstream::{BadEndpoint, Endpoint};

/// Most spans that may be told to wait.
const MOST_WAITING: usize = 65_536;
/// Longest time that may be told, in milliseconds: ten minutes.
const LONGEST: u64 = 600_000;

/// Where traces go; `None`: nowhere.
#[derive(Clone, Debug, Default)]
pub struct Settings(pub(in crate::traces) Option<Box<Export>>);

/// How they get there.
#[derive(Clone, Debug)]
pub(in crate::traces) struct Export {
    pub(in crate::traces) endpoint: Endpoint,
    pub(in crate::traces) headers: HeaderMap,
    pub(in crate::traces) gzip: bool,
    /// For one try.
    pub(in crate::traces) timeout: Duration,
    pub(in crate::traces) sampler: Sampler,
    /// Who tells, by the names of OpenTelemetry.
    pub(in crate::traces) resource: BTreeMap<String, String>,
    /// Spans that may wait.
    pub(in crate::traces) queue: usize,
    /// Spans that go together.
    pub(in crate::traces) batch: usize,
    /// How long a span waits for company.
    pub(in crate::traces) delay: Duration,
}

impl Settings {
    /// Reads the variables; an empty one is an unset one.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn by<'a>(var: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, Vec<Wrong>> {
        let mut vars = Vars { var, wrong: Vec::new() };
        if vars.text("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Ok(Self(None));
        }
        let is_asked_for =
            vars.choice("OTEL_TRACES_EXPORTER", &[("otlp", Some(true)), ("none", Some(false))]).flatten();
        let endpoint = vars.endpoint(is_asked_for == Some(true));
        let export = match (is_asked_for, endpoint) {
            (Some(false), _) => return Ok(Self(None)),
            (_, Some(endpoint)) => Some(Box::new(vars.export(endpoint))),
            (_, None) => None,
        };
        if vars.wrong.is_empty() { Ok(Self(export)) } else { Err(vars.wrong) }
    }
}

struct Vars<F> {
    var: F,
    wrong: Vec<Wrong>,
}

impl<'a, F: Fn(&'static str) -> Option<&'a str>> Vars<F> {
    fn text(&self, name: &'static str) -> Option<&'a str> {
        (self.var)(name).map(str::trim).filter(|text| !text.is_empty())
    }

    /// What is said for traces, or else for everything.
    fn either(&self, name: &'static str, general: &'static str) -> Option<(&'static str, &'a str)> {
        let of = |name| Some((name, self.text(name)?));
        of(name).or_else(|| of(general))
    }

    fn complain(&mut self, variable: &'static str, why: impl Into<String>) {
        self.wrong.push(Wrong { variable, why: why.into() });
    }

    fn endpoint(&mut self, is_asked_for: bool) -> Option<Endpoint> {
        const OF_ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let said = self.either("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", OF_ALL);
        let (name, text) = said.or(is_asked_for.then_some((OF_ALL, "http://localhost:4318")))?;
        let url = match name {
            OF_ALL if text.contains('?') => {
                Err("has a query, behind which no `/v1/traces` can stand".to_owned())
            }
            OF_ALL => Ok(format!("{}/v1/traces", text.trim_end_matches('/'))),
            _ => Ok(text.to_owned()),
        };
        let endpoint = url.and_then(|url| {
            Endpoint::parse(&url).map_err(|why| match why {
                BadEndpoint::Malformed => "is no http or https URL".to_owned(),
                BadEndpoint::User => {
                    "has a user in it, which is not sent: credentials belong into OTEL_EXPORTER_OTLP_HEADERS"
                        .to_owned()
                }
            })
        });
        endpoint.map_err(|why| self.complain(name, why)).ok()
    }

    fn export(&mut self, endpoint: Endpoint) -> Export {
        let protocol = self.either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
        if let Some((name, _)) = protocol.filter(|(_, text)| *text != "http/protobuf") {
            self.complain(name, "names a protocol that Larder does not speak: it is http/protobuf");
        }
        let compression =
            self.either("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION");
        let gzip = compression.and_then(|(name, _)| self.choice(name, &[("gzip", true), ("none", false)]));
        let timeout = self.either("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT");
        let timeout = timeout.and_then(|(name, _)| self.number(name, 1, LONGEST));
        let queue = self.number("OTEL_BSP_MAX_QUEUE_SIZE", 1, MOST_WAITING).unwrap_or(2048);
        let batch = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1, queue);
        let delay = self.number("OTEL_BSP_SCHEDULE_DELAY", 0, LONGEST);
        Export {
            endpoint,
            headers: self.headers(),
            gzip: gzip.unwrap_or(false),
            timeout: Duration::from_millis(timeout.unwrap_or(10_000)),
            sampler: self.sampler(),
            resource: self.resource(),
            queue,
            batch: batch.unwrap_or(queue.min(512)),
            delay: Duration::from_millis(delay.unwrap_or(5000)),
        }
    }

    fn sampler(&mut self) -> Sampler {
        const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";
        type Make = fn(f64) -> Sampler;
        let parent_based = |root: Sampler| Sampler::ParentBased(Box::new(root));
        let kinds: [(&str, Make); 6] = [
            ("parentbased_always_on", |_| Sampler::ParentBased(Box::new(Sampler::AlwaysOn))),
            ("parentbased_always_off", |_| Sampler::ParentBased(Box::new(Sampler::AlwaysOff))),
            ("parentbased_traceidratio", |ratio| {
                Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)))
            }),
            ("traceidratio", Sampler::TraceIdRatioBased),
            ("always_on", |_| Sampler::AlwaysOn),
            ("always_off", |_| Sampler::AlwaysOff),
        ];
        let name = self.text("OTEL_TRACES_SAMPLER");
        let Some(make) = self.choice("OTEL_TRACES_SAMPLER", &kinds) else {
            return parent_based(Sampler::AlwaysOn);
        };
        let ratio = match self.text(RATIO).filter(|_| name.is_some_and(|name| name.ends_with("ratio"))) {
            Some(text) => text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)),
            None => Some(1.0),
        };
        if ratio.is_none() {
            self.complain(RATIO, "is no share: a number from 0 to 1 is");
        }
        make(ratio.unwrap_or(1.0))
    }

    fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let said = self.either("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS");
        let Some((variable, text)) = said else { return headers };
        let ours = [HOST, CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, TRANSFER_ENCODING, CONNECTION];
        for (name, value) in self.pairs(variable, text) {
            let (name, value) = (HeaderName::from_str(&name), HeaderValue::from_str(&value));
            match (name, value) {
                (Ok(name), Ok(_)) if ours.contains(&name) => {
                    self.complain(variable, format!("names `{name}`, which is not to be chosen"));
                }
                (Ok(name), Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.append(name, value);
                }
                (Err(_), _) => self.complain(variable, "holds a name that no header can have"),
                (Ok(name), Err(_)) => {
                    self.complain(variable, format!("gives `{name}` a value that no header can have"))
                }
            }
        }
        headers
    }

    fn resource(&mut self) -> BTreeMap<String, String> {
        const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let ours = [("service.name", "larder"), ("service.version", env!("CARGO_PKG_VERSION"))];
        let mut resource: BTreeMap<String, String> =
            ours.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        if let Some(text) = self.text(ATTRIBUTES) {
            resource.extend(self.pairs(ATTRIBUTES, text));
        }
        let service = self.text("OTEL_SERVICE_NAME").map(str::to_owned);
        resource.extend(service.map(|name| ("service.name".to_owned(), name)));
        resource
    }

    /// `name=value,name=value`, percent-encoded, as W3C Baggage has it.
    fn pairs(&mut self, variable: &'static str, text: &str) -> Vec<(String, String)> {
        let decoded = |part: &str| Some(percent_decode_str(part.trim()).decode_utf8().ok()?.into_owned());
        let pair = |item: &str| {
            let (name, value) = item.split_once('=')?;
            Some((decoded(name).filter(|name| !name.is_empty())?, decoded(value)?))
        };
        let items = text.split(',').filter(|item| !item.trim().is_empty());
        let pairs: Option<Vec<_>> = items.map(pair).collect();
        if pairs.is_none() {
            self.complain(
                variable,
                "is no list of `name=value,name=value` (in names and values, `,` is %2C and % is %25)",
            );
        }
        pairs.unwrap_or_default()
    }

    fn number<T: FromStr + PartialOrd + std::fmt::Display>(
        &mut self,
        name: &'static str,
        least: T,
        most: T,
    ) -> Option<T> {
        let text = self.text(name)?;
        let number = text.parse().ok().filter(|number| (&least..=&most).contains(&number));
        if number.is_none() {
            self.complain(name, format!("is no whole number from {least} to {most}"));
        }
        number
    }

    fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.complain(name, format!("is none of {}", words.join(", ")));
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    fn read(vars: &[(&'static str, &'static str)]) -> Result<Settings, Vec<Wrong>> {
        let vars = vars.to_vec();
        Settings::by(|name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
    }

    fn export(vars: &[(&'static str, &'static str)]) -> Export {
        *read(&[&[ENDPOINT], vars].concat()).unwrap().0.unwrap()
    }

    fn place(vars: &[(&'static str, &'static str)]) -> Option<(String, String)> {
        let export = read(vars).unwrap().0?;
        Some((export.endpoint.place(), export.endpoint.path().to_owned()))
    }

    #[test]
    fn nothing_is_exported_unless_a_variable_asks_for_it() {
        let at = |place: &str, path: &str| Some((place.to_owned(), path.to_owned()));
        assert_eq!(place(&[]), None);
        assert_eq!(place(&[("OTEL_SERVICE_NAME", "api"), ("OTEL_TRACES_SAMPLER", "nonsense")]), None);
        assert_eq!(place(&[ENDPOINT]), at("http://collector:4318", "/v1/traces"));
        assert_eq!(
            place(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c.example/otlp/")]),
            at("https://c.example:443", "/otlp/v1/traces")
        );
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[::1]:9/spans?x=1");
        assert_eq!(place(&[ENDPOINT, own]), at("http://[::1]:9", "/spans?x=1"));
        assert_eq!(place(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")]), None);
        assert_eq!(place(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), None);
        assert_eq!(place(&[("OTEL_TRACES_EXPORTER", "otlp")]), at("http://localhost:4318", "/v1/traces"));
    }

    #[test]
    fn a_variable_that_says_what_cannot_be_is_named_and_its_value_is_not() {
        for (variable, text) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318/s3cret"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://s3cret:p@collector"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector/?s3cret"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://s3cret"),
            ("OTEL_TRACES_EXPORTER", "s3cret"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "s3cret"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s3cret"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization s3cret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "author ization=s3cret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cret%0Ax"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "host=s3cret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "=s3cret"),
            ("OTEL_RESOURCE_ATTRIBUTES", "s3cret"),
            ("OTEL_TRACES_SAMPLER", "s3cret"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
            ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
        ] {
            let wrong = read(&[(variable, text), ENDPOINT]).unwrap_err();
            assert_eq!(wrong.len(), 1, "{variable}={text}: {wrong:?}");
            assert_eq!(wrong[0].variable, variable);
            assert!(!wrong[0].why.contains("s3cret"), "{wrong:?}");
        }
        for text in ["1.5", "-0.1", "NaN", "half"] {
            let of_ratio =
                [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", text), ENDPOINT];
            assert_eq!(read(&of_ratio).unwrap_err()[0].variable, "OTEL_TRACES_SAMPLER_ARG");
        }
    }

    #[test]
    fn what_they_say_holds_and_that_of_traces_before_that_of_everything() {
        let said = export(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=general"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "Authorization=Bearer%20x%2Cy, x-tenant = t=1 ,"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=a%20b"),
            ("OTEL_SERVICE_NAME", "shop"),
        ]);
        assert_eq!(
            (said.headers["authorization"].as_bytes(), said.headers["x-tenant"].as_bytes()),
            (&b"Bearer x,y"[..], &b"t=1"[..])
        );
        assert!(!said.headers.contains_key("a") && !format!("{said:?}").contains("Bearer"));
        assert_eq!(
            (said.gzip, said.timeout, said.queue, said.batch),
            (true, Duration::from_millis(250), 10, 10)
        );
        assert_eq!(
            (said.resource["service.name"].as_str(), said.resource["deployment.environment.name"].as_str()),
            ("shop", "a b")
        );
    }

    #[test]
    fn the_sampler_is_the_one_that_is_named_and_its_share_is_all_unless_it_is_said() {
        let of = |vars: &[(&'static str, &'static str)]| format!("{:?}", export(vars).sampler);
        let ratio = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
        assert_eq!(of(&[]), "ParentBased(AlwaysOn)");
        assert_eq!(
            of(&[("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_TRACES_SAMPLER_ARG", "x")]),
            "AlwaysOff"
        );
        assert_eq!(of(&[("OTEL_TRACES_SAMPLER", "traceidratio"), ratio]), "TraceIdRatioBased(0.25)");
        assert_eq!(
            of(&[("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ratio]),
            "ParentBased(TraceIdRatioBased(0.25))"
        );
        assert_eq!(of(&[("OTEL_TRACES_SAMPLER", "traceidratio")]), "TraceIdRatioBased(1.0)");
    }
}
