//! Traces of the real binary, built with the feature `otlp`, as somebody who receives OTLP over HTTP gets them.

#[allow(dead_code, reason = "it is there for tests/process first")]
#[path = "../process/harness.rs"]
mod harness;
mod origin;
mod outages;
mod parents;
mod receiver;
mod said;
mod secrets;
mod start;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::{Answer, DEADLINE, Proxy, until};
use crate::receiver::{Receiver, Told};

const CONFIG: &str = "
routes:
  /api/projects/{id}: { ttl: 1h, tags: projects }
  /api/fails: 1h
  /api/missing: 1h
  /api/cookie: 1h
  /api/cut: 1h
  /api/soon: { ttl: 1h, stale_while_revalidate: 10m }
  /held: 1h
writes:
  PUT /api/projects/{id}: projects
shutdown: { delay: 0s, timeout: 5s }
";

/// A proxy that tells `receiver` at once.
fn traced(origin: SocketAddr, receiver: &Receiver, more: &[(&str, &str)]) -> Proxy {
    traced_by(CONFIG, origin, receiver, more)
}

fn traced_by(config: &str, origin: SocketAddr, receiver: &Receiver, more: &[(&str, &str)]) -> Proxy {
    let url = receiver.url();
    let ours = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
    Proxy::start_with(origin, config, &[&ours[..], more].concat())
}

/// Sends a request with these fields.
#[track_caller]
fn ask(server: SocketAddr, method: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
    let mut stream = TcpStream::connect(server).expect("somebody listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !fields.iter().any(|(name, _)| *name == "Host") {
        head.push_str("Host: localhost\r\n");
    }
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).expect("it is taken");
    let mut bytes = Vec::new();
    // An answer that is cut is one as well.
    let _cut = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) =
        text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {method} {target}: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// The lines of the access log by the number of their span, once there are as many.
#[track_caller]
fn lines(proxy: &Proxy, count: usize) -> BTreeMap<String, serde_json::Value> {
    let lines: Vec<serde_json::Value> = until("all lines are written", || {
        let text = proxy.stdout();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines: Result<Vec<_>, _> = whole.lines().map(serde_json::from_str).collect();
        lines.ok().filter(|lines: &Vec<_>| lines.len() >= count)
    });
    lines.into_iter().map(|line| (line["span_id"].as_str().unwrap_or("none").to_owned(), line)).collect()
}

/// The span of the request for this path.
#[track_caller]
fn of_path<'a>(spans: &'a [Told], path: &str) -> &'a Told {
    let found = spans.iter().find(|span| span.said.get("url.path").is_some_and(|known| known == path));
    found.unwrap_or_else(|| panic!("no span of {path}: {spans:#?}"))
}

/// The questions to the origin below a span.
fn below<'a>(spans: &'a [Told], above: &Told) -> Vec<&'a Told> {
    spans.iter().filter(|span| span.parent == above.id && span.trace == above.trace).collect()
}

/// A number in /metrics; 0 where the series is not there.
fn metric(proxy: &Proxy, series: &str) -> u64 {
    let text = harness::get(proxy.admin, "/metrics").body;
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap_or(0)
}

/// How often it was said in the log.
fn mentions(proxy: &Proxy, words: &str) -> usize {
    proxy.stderr().matches(words).count()
}
