//! One line per request on stdout, written by a thread of its own.
//!
//! Invariant: a request never waits for the log. Lines gather in a bounded buffer; what does not fit is dropped and
//! counted. A line is one line whatever the client sent: JSON leaves as printable ASCII, the readable form escapes
//! control characters.
//! It refuses to know query values, fields and bodies: a [`Line`] has no place for them.

pub mod audience;

use std::fmt::LowerHex;
use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use serde::{Serialize, Serializer};

use crate::access_log::audience::{Audience, Listener};

/// Most bytes that wait for the writer; about 3,000 lines.
const BUFFER_BYTES: usize = 1024 * 1024;
/// How long the writer gathers after the first line, so that it is woken and writes once for many requests.
const GATHER: Duration = Duration::from_millis(20);

/// `log:` of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which requests get a line.
    pub access: Access,
    /// Least severe diagnostic that is printed to stderr.
    pub level: tracing::Level,
}

/// `log.access`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Access {
    /// Every request.
    All,
    /// Only those answered with 5xx.
    Errors,
    /// None.
    Off,
    /// This share of them, 0 to 1.
    Sample(f64),
}

/// What one line tells, under the names of OpenTelemetry's semantic conventions where they have one.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'a> {
    /// When the request came.
    #[serde(rename = "timestamp", serialize_with = "rfc3339")]
    pub at: SystemTime,
    /// Method as sent.
    #[serde(rename = "http.request.method")]
    pub method: &'a str,
    /// Path without the query, as sent.
    #[serde(rename = "url.path")]
    pub path: &'a str,
    /// Template of the route; `None`: no route matched.
    #[serde(rename = "http.route", skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    /// Status of the answer.
    #[serde(rename = "http.response.status_code")]
    pub status: u16,
    /// `1.0`, `1.1` or `2`.
    #[serde(rename = "network.protocol.version")]
    pub protocol: &'a str,
    /// The client, as told by a trusted proxy or else the peer; `None` on a unix socket.
    #[serde(rename = "client.address", skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// Host that was asked for.
    #[serde(rename = "server.address", skip_serializing_if = "Option::is_none")]
    pub server: Option<&'a str>,
    /// Bytes of the request's body.
    #[serde(rename = "http.request.body.size")]
    pub request_bytes: u64,
    /// Bytes of the answer's body that were handed to the connection.
    #[serde(rename = "http.response.body.size")]
    pub response_bytes: u64,
    /// From the request's head to the answer's last byte.
    #[serde(rename = "duration_us", serialize_with = "micros")]
    pub duration: Duration,
    /// From the request to the origin to the head of its answer; `None`: the origin was not asked.
    #[serde(rename = "upstream_us", serialize_with = "some_micros", skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Duration>,
    /// What the cache did, in lower case (`hit`, `miss`, …).
    pub cache: &'a str,
    /// Why the cache did so (`set-cookie`), where there is more to say than `cache` does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    /// Age of what was served, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
    /// `X-Request-Id`.
    pub request_id: &'a str,
    /// By which a trace is found, if one is exported.
    #[serde(serialize_with = "hex", skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<u128>,
    /// The request's own span in it.
    #[serde(serialize_with = "hex", skip_serializing_if = "Option::is_none")]
    pub span_id: Option<u64>,
    /// What went wrong, in a word.
    #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object, for machines.
    Json,
    /// For people.
    Readable {
        /// With ANSI colours.
        colour: bool,
    },
}

impl Format {
    /// JSON, unless stdout is a terminal.
    pub fn for_stdout() -> Self {
        let stdout = std::io::stdout();
        if stdout.is_terminal() { Self::Readable { colour: may_colour(&stdout) } } else { Self::Json }
    }
}

/// Whether `stream` may be coloured: it is a terminal, and `NO_COLOR` is unset or empty (no-color.org).
pub fn may_colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Where requests leave their line. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct AccessLog {
    access: Access,
    format: Format,
    shared: Arc<Shared>,
    audience: Arc<Audience>,
}

impl AccessLog {
    /// Starts the writer on `out`. Lines that could not be written are counted in `dropped`.
    ///
    /// The log lives until [`Flush`] is dropped, which writes what is left; later lines are dropped.
    pub fn start(
        access: Access,
        format: Format,
        out: impl Write + Send + 'static,
        dropped: Counter,
    ) -> (Self, Flush) {
        let shared = Arc::new(Shared { dropped, ..Shared::default() });
        let writing = Arc::clone(&shared);
        let writer = Some(std::thread::spawn(move || writing.write_to(out)));
        let log = Self { access, format, shared: Arc::clone(&shared), audience: Arc::default() };
        (log, Flush { shared, writer })
    }

    /// The same log, for these requests.
    pub fn of(&self, access: Access) -> Self {
        Self { access, ..self.clone() }
    }

    /// A log that writes nothing.
    pub fn off() -> Self {
        let (access, format) = (Access::Off, Format::Json);
        Self { access, format, shared: Arc::default(), audience: Arc::default() }
    }

    /// Whether anybody may want a line.
    pub fn is_on(&self) -> bool {
        self.access != Access::Off || self.audience.is_there()
    }

    /// Hears of every request that is answered from now on, whatever `access` wants.
    pub fn listen(&self) -> Listener {
        Audience::listen(&self.audience)
    }

    /// Leaves the line of one request, if `access` wants it. Never blocks on the output.
    pub fn write(&self, line: &Line<'_>) {
        if self.audience.is_there() {
            self.audience.tell(line);
        }
        let wanted = match self.access {
            Access::All => true,
            Access::Errors => line.status >= 500,
            Access::Off => false,
            Access::Sample(share) => self.shared.sample(share),
        };
        if !wanted {
            return;
        }
        let mut text = Vec::with_capacity(512);
        match self.format {
            Format::Json => line.json(&mut text),
            Format::Readable { colour } => line.readable(&mut text, colour),
        }
        self.shared.push(&text);
    }
}

/// Ends the log when dropped: what was left by then is written first.
#[derive(Debug)]
pub struct Flush {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Flush {
    fn drop(&mut self) {
        self.shared.buffer().closed = true;
        self.shared.filled.notify_one();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to flush, and a drop must not panic in turn.
            let _panicked = writer.join();
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    filled: Condvar,
    dropped: Counter,
    sampled: AtomicU64,
}

#[derive(Debug, Default)]
struct Buffer {
    text: Vec<u8>,
    lines: u64,
    closed: bool,
}

impl Shared {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut buffer = self.buffer();
        if buffer.closed || buffer.text.len() + line.len() > BUFFER_BYTES {
            drop(buffer);
            self.dropped.inc();
            return;
        }
        let before = buffer.text.len();
        buffer.text.extend_from_slice(line);
        buffer.lines += 1;
        let after = buffer.text.len();
        drop(buffer);
        // Waking costs more than the line: once for the first one, once more if the writer should not gather on.
        if before == 0 || (before < BUFFER_BYTES / 2 && after >= BUFFER_BYTES / 2) {
            self.filled.notify_one();
        }
    }

    /// Writes batches until the log is closed and empty.
    fn write_to(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        loop {
            let mut buffer = self
                .filled
                .wait_while(self.buffer(), |b| b.text.is_empty() && !b.closed)
                .unwrap_or_else(PoisonError::into_inner);
            if !buffer.closed {
                let gathers = |b: &mut Buffer| b.text.len() < BUFFER_BYTES / 2 && !b.closed;
                (buffer, _) = self
                    .filled
                    .wait_timeout_while(buffer, GATHER, gathers)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            let (lines, closed) = (std::mem::take(&mut buffer.lines), buffer.closed);
            std::mem::swap(&mut buffer.text, &mut batch);
            drop(buffer);
            if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                self.dropped.inc_by(lines);
            }
            batch.clear();
            if closed {
                return;
            }
        }
    }

    /// True for `share` of all calls, evenly spread: multiples of the golden ratio fill the circle evenly.
    fn sample(&self, share: f64) -> bool {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let point = self.sampled.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN);
        (point as f64) < share * (u64::MAX as f64)
    }
}

impl Line<'_> {
    fn json(&self, text: &mut Vec<u8>) {
        let mut serializer = serde_json::Serializer::with_formatter(&mut *text, Ascii);
        self.serialize(&mut serializer).expect("a line is plain fields, and a Vec takes any bytes");
        text.push(b'\n');
    }

    /// `12:00:00.000Z GET /api/stats 200 HIT 0.052 ms, 1834 bytes, age 12 (reason)`, escaped and perhaps coloured.
    fn readable(&self, text: &mut Vec<u8>, colour: bool) {
        let [dim, by_status, by_cache, reset] =
            if colour { [DIM, status_colour(self.status), cache_colour(self.cache), RESET] } else { [""; 4] };
        let at = humantime::format_rfc3339_millis(self.at).to_string();
        let time = at.split_once('T').map_or(at.as_str(), |(_date, time)| time);
        let mut write = || {
            write!(text, "{dim}{time}{reset} {} {} ", self.method.escape_debug(), self.path.escape_debug())?;
            write!(text, "{by_status}{}{reset} ", self.status)?;
            write!(text, "{by_cache}{}{reset} ", self.cache.to_ascii_uppercase().escape_debug())?;
            write!(text, "{dim}{:.3} ms, {} bytes", self.duration.as_secs_f64() * 1e3, self.response_bytes)?;
            if let Some(age) = self.age {
                write!(text, ", age {age}")?;
            }
            for note in [self.detail, self.error].into_iter().flatten() {
                write!(text, " ({})", note.escape_debug())?;
            }
            writeln!(text, "{reset}")
        };
        write().expect("a Vec takes any bytes");
    }
}

const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

fn status_colour(status: u16) -> &'static str {
    match status {
        500.. => RED,
        400.. => YELLOW,
        _ => GREEN,
    }
}

fn cache_colour(cache: &str) -> &'static str {
    match cache {
        "hit" | "revalidated" => GREEN,
        "stale" => YELLOW,
        _ => DIM,
    }
}

/// JSON in printable ASCII: a terminal may read DEL or C1 characters, which JSON allows, as commands.
struct Ascii;

impl serde_json::ser::Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> std::io::Result<()> {
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return out.write_all(fragment.as_bytes());
        }
        for unit in fragment.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte @ b' '..=b'~') => out.write_all(&[byte])?,
                _ => write!(out, "\\u{unit:04x}")?,
            }
        }
        Ok(())
    }
}

fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_micros(*at))
}

fn micros<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

/// In as many digits as the number can have.
fn hex<T: LowerHex, S: Serializer>(number: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => {
            serializer.collect_str(&format_args!("{number:0width$x}", width = 2 * size_of::<T>()))
        }
        None => serializer.serialize_none(),
    }
}

fn some_micros<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => micros(duration, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink that a test can read after the flush.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A sink whose other end is gone.
    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn line() -> Line<'static> {
        Line {
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_750_000_000_123_456),
            method: "GET",
            path: "/api/projects/42",
            route: Some("/api/projects/{id}"),
            status: 200,
            protocol: "1.1",
            client: Some([127, 0, 0, 1].into()),
            server: Some("localhost"),
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

    fn written(access: Access, format: Format, lines: &[Line<'_>]) -> String {
        let sink = Sink::default();
        let (log, flush) = AccessLog::start(access, format, sink.clone(), Counter::default());
        for line in lines {
            log.write(line);
        }
        drop(flush);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_is_a_json_object_with_opentelemetry_names() {
        let text = written(Access::All, Format::Json, &[line()]);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "timestamp": "2025-06-15T15:06:40.123456Z", "http.request.method": "GET",
            "url.path": "/api/projects/42", "http.route": "/api/projects/{id}",
            "http.response.status_code": 200, "network.protocol.version": "1.1", "client.address": "127.0.0.1",
            "server.address": "localhost", "http.request.body.size": 0, "http.response.body.size": 1834,
            "duration_us": 52, "cache": "hit", "age": 12, "request_id": "abc",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_trace_is_named_by_all_of_its_digits() {
        let line = Line { trace_id: Some(0xab), span_id: Some(0xc), ..line() };
        let json: serde_json::Value =
            serde_json::from_str(&written(Access::All, Format::Json, &[line])).unwrap();
        assert_eq!(json["trace_id"], format!("{:032x}", 0xab));
        assert_eq!(json["span_id"], "000000000000000c");
    }

    #[test]
    fn no_client_can_break_a_line_or_command_the_terminal() {
        let evil = "/a\r\n{\"cache\":\"hit\"}\u{1b}[2J\u{7f}\u{9b}2J\u{2028}é\u{1f600}";
        let line = Line { path: evil, request_id: evil, method: evil, server: Some(evil), ..line() };
        let json = written(Access::All, Format::Json, std::slice::from_ref(&line));
        assert_eq!(json.lines().count(), 1);
        assert!(json.trim_end().bytes().all(|b| (b' '..=b'~').contains(&b)), "{json:?}");
        let back: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back["url.path"], evil);
        for colour in [false, true] {
            let text = written(Access::All, Format::Readable { colour }, std::slice::from_ref(&line));
            assert_eq!(text.lines().count(), 1);
            let plain = [DIM, RED, GREEN, YELLOW, RESET].iter().fold(text, |t, code| t.replace(code, ""));
            assert!(!plain.trim_end().contains(char::is_control), "{plain:?}");
        }
    }

    #[test]
    fn a_readable_line_says_what_a_person_asks() {
        let line = Line { detail: Some("set-cookie"), ..line() };
        let text = written(Access::All, Format::Readable { colour: false }, &[line]);
        let expected =
            "15:06:40.123Z GET /api/projects/42 200 HIT 0.052 ms, 1834 bytes, age 12 (set-cookie)\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn every_mode_writes_what_it_says() {
        let lines: Vec<_> =
            (0..1000).map(|n| Line { status: if n % 10 == 0 { 502 } else { 200 }, ..line() }).collect();
        let count = |access| written(access, Format::Json, &lines).lines().count();
        assert_eq!(count(Access::All), 1000);
        assert_eq!(count(Access::Errors), 100);
        assert_eq!(count(Access::Off), 0);
        assert_eq!(count(Access::Sample(0.0)), 0);
        assert_eq!(count(Access::Sample(1.0)), 1000);
        assert!((95..=105).contains(&count(Access::Sample(0.1))));
    }

    #[test]
    fn what_the_writer_cannot_take_is_dropped_and_counted() {
        let shared = Shared::default();
        let line = [b'x'; 1000];
        for _ in 0..BUFFER_BYTES / line.len() {
            shared.push(&line);
        }
        assert_eq!(shared.dropped.get(), 0);
        shared.push(&line);
        assert_eq!(shared.dropped.get(), 1);
        assert!(shared.buffer().text.len() <= BUFFER_BYTES);
    }

    #[test]
    fn a_closed_stdout_costs_lines_and_nothing_else() {
        let dropped = Counter::default();
        let (log, flush) = AccessLog::start(Access::All, Format::Json, Broken, dropped.clone());
        log.write(&line());
        log.write(&line());
        drop(flush);
        assert_eq!(dropped.get(), 2);
        log.write(&line());
        assert_eq!(dropped.get(), 3);
    }
}
