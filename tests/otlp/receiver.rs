//! A receiver of OTLP over HTTP: takes what is posted to it apart, or does not.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use prost::Message;

use crate::harness::until;

/// What it does with what is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Takes,
    /// Takes it, and says that it does not want one of the spans.
    Choosy,
    /// Answers this status.
    Refuses(u16),
    /// Reads, and answers nothing until its mood changes.
    Hangs,
}

/// One post that was understood.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) head: String,
    /// The body, unpacked.
    pub(crate) bytes: Vec<u8>,
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) spans: Vec<Told>,
}

/// A span, as the tests look at it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty: nobody is above it.
    pub(crate) parent: String,
    pub(crate) state: String,
    pub(crate) kind: SpanKind,
    pub(crate) name: String,
    pub(crate) said: BTreeMap<String, String>,
    pub(crate) failed: bool,
    /// The spans that it names as others.
    pub(crate) links: Vec<String>,
    pub(crate) nanos: u64,
}

#[derive(Debug)]
struct Shared {
    mood: Mutex<Mood>,
    changed: Condvar,
    posts: Mutex<Vec<Post>>,
    asked: Mutex<usize>,
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    pub(crate) fn start(mood: Mood) -> Self {
        Self::start_at(0, mood)
    }

    pub(crate) fn start_at(port: u16, mood: Mood) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
        Self::serve(listener, mood, |stream| Box::new(stream))
    }

    /// The same over whatever `open` makes of a connection.
    pub(crate) fn serve<F>(listener: TcpListener, mood: Mood, open: F) -> Self
    where
        F: Fn(TcpStream) -> Box<dyn Wire> + Send + Sync + 'static,
    {
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            mood: Mutex::new(mood),
            changed: Condvar::new(),
            posts: Mutex::default(),
            asked: Mutex::default(),
        });
        let (serving, open) = (Arc::clone(&shared), Arc::new(open));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (serving, open) = (Arc::clone(&serving), Arc::clone(&open));
                thread::spawn(move || {
                    // The other side may leave whenever it likes.
                    let _ = serving.converse(open(stream));
                });
            }
        });
        Self { address, shared }
    }

    /// The URL for OTEL_EXPORTER_OTLP_ENDPOINT.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn become_(&self, mood: Mood) {
        *held(&self.shared.mood) = mood;
        self.shared.changed.notify_all();
    }

    /// How often anything was posted, whatever became of it.
    pub(crate) fn asked(&self) -> usize {
        *held(&self.shared.asked)
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        held(&self.shared.posts).clone()
    }

    pub(crate) fn spans(&self) -> Vec<Told> {
        self.posts().into_iter().flat_map(|post| post.spans).collect()
    }

    /// All spans, once there are as many of requests.
    #[track_caller]
    pub(crate) fn wait_for_requests(&self, count: usize) -> Vec<Told> {
        let of_requests = |span: &&Told| matches!(span.kind, SpanKind::Server | SpanKind::Internal);
        until("the spans of all requests are there", || {
            let spans = self.spans();
            (spans.iter().filter(of_requests).count() >= count).then_some(spans)
        })
    }
}

/// A connection.
pub(crate) trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

impl Shared {
    fn converse(&self, stream: Box<dyn Wire>) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            let field = |name: &str| {
                let mut lines = head.lines().filter_map(|line| line.split_once(": "));
                lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
            };
            let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            stream.read_exact(&mut body)?;
            *held(&self.asked) += 1;
            let hangs = |mood: &mut Mood| *mood == Mood::Hangs;
            let is_awake = *held(&self.mood) != Mood::Hangs;
            let mood = *self.changed.wait_while(held(&self.mood), hangs).expect("nobody panicked");
            if !is_awake {
                // Whoever posted it has long given it up.
                return Ok(());
            }
            let mut said = ExportTraceServiceResponse::default();
            let status = match mood {
                Mood::Refuses(status) => status,
                _ => 200,
            };
            if status == 200 {
                if field("content-encoding").as_deref() == Some("gzip") {
                    let mut plain = Vec::new();
                    GzDecoder::new(&*body).read_to_end(&mut plain)?;
                    body = plain;
                }
                held(&self.posts).push(Post::of(head.to_ascii_lowercase(), body));
            }
            if mood == Mood::Choosy {
                let error_message = "not this one".to_owned();
                said.partial_success = Some(ExportTracePartialSuccess { rejected_spans: 1, error_message });
            }
            let said = said.encode_to_vec();
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", said.len());
            stream.get_mut().write_all(&[head.as_bytes(), &said].concat())?;
            stream.get_mut().flush()?;
        }
    }
}

impl Post {
    fn of(head: String, bytes: Vec<u8>) -> Self {
        let request = ExportTraceServiceRequest::decode(&*bytes).expect("an export is well formed");
        let [of_resource] = &request.resource_spans[..] else { panic!("one resource: {request:?}") };
        let resource = said(&of_resource.resource.as_ref().expect("a resource").attributes);
        for scope in &of_resource.scope_spans {
            assert_eq!(scope.scope.as_ref().map(|scope| scope.name.as_str()), Some("larder"));
        }
        let spans = of_resource.scope_spans.iter().flat_map(|scope| &scope.spans).map(Told::of).collect();
        Self { head, bytes, resource, spans }
    }
}

impl Told {
    fn of(span: &Span) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8), "{span:?}");
        assert!(
            span.start_time_unix_nano > 0 && span.end_time_unix_nano >= span.start_time_unix_nano,
            "{span:?}"
        );
        let all = said(&span.attributes);
        assert_eq!(all.len(), span.attributes.len(), "an attribute is said twice: {span:?}");
        Self {
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            state: span.trace_state.clone(),
            kind: span.kind(),
            name: span.name.clone(),
            said: all,
            failed: span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error),
            links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
            nanos: span.end_time_unix_nano - span.start_time_unix_nano,
        }
    }
}

fn said(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{} is {other:?}", pair.key),
    };
    attributes.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panicked")
}
