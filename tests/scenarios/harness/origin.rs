//! An origin that records what it was asked, answers as the test says, and waits at gates.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::harness::Gate;

/// One request as the origin saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
    /// How many requests came before it.
    pub(crate) nth: usize,
}

impl Seen {
    /// Its number, from 1.
    pub(crate) fn number(&self) -> String {
        (self.nth + 1).to_string()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What the origin answers.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    held: Option<Gate>,
    cut: bool,
    body: Vec<Part>,
}

/// A piece of a body.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Bytes(Bytes),
    Gate(Gate),
    /// The connection breaks here.
    Cut,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), held: None, cut: false, body: Vec::new() }
    }

    /// 200 with a JSON body.
    pub(crate) fn json(body: impl Into<String>) -> Self {
        Self::new(200).header("content-type", "application/json").text(body)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn text(self, text: impl Into<String>) -> Self {
        self.part(Part::Bytes(Bytes::from(text.into())))
    }

    pub(crate) fn part(mut self, part: Part) -> Self {
        self.body.push(part);
        self
    }

    /// The connection breaks before any byte of an answer.
    pub(crate) fn cut() -> Self {
        Self { cut: true, ..Self::new(500) }
    }

    /// Nothing is sent before `gate` opens.
    pub(crate) fn held(mut self, gate: &Gate) -> Self {
        self.held = Some(gate.clone());
        self
    }
}

type Say = dyn Fn(&Seen) -> Answer + Send + Sync;

/// A running origin. Dropped, it is gone with all its connections.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Receiver<usize>,
    stop: mpsc::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Origin {
    /// Starts one that answers as `say` says.
    pub(crate) async fn start(say: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (counted, count) = watch::channel(0);
        let (stop, mut stopped) = mpsc::channel(1);
        let desk = Desk { say: Arc::new(say), seen: Arc::clone(&seen), counted: Arc::new(counted) };
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.unwrap();
                        stream.set_nodelay(true).unwrap();
                        let desk = desk.clone();
                        let service = service_fn(move |request| desk.clone().serve(request));
                        connections.spawn(
                            // The proxy's clock is the only one: an origin without a clock sends no Date.
                            hyper::server::conn::http1::Builder::new()
                                .auto_date_header(false)
                                .serve_connection(TokioIo::new(stream), service),
                        );
                    }
                    _ = stopped.recv() => break,
                }
            }
            connections.shutdown().await;
        });
        Self { address, seen, count, stop, task }
    }

    /// Starts one that answers every request with its number, from 1.
    pub(crate) async fn counting() -> Self {
        Self::start(|seen| Answer::json(seen.number())).await
    }

    /// Starts one that answers with what each of `answers` says, in their order; the last one again and again.
    pub(crate) async fn telling(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers: Vec<Answer> = answers.into_iter().collect();
        Self::start(move |seen| answers[seen.nth.min(answers.len() - 1)].clone()).await
    }

    /// How many requests came so far.
    pub(crate) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until `count` requests have come.
    pub(crate) async fn arrived(&self, count: usize) {
        self.count.clone().wait_for(|come| *come >= count).await.unwrap();
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The newest request.
    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().expect("the origin was asked").clone()
    }

    /// Ends it, with all its connections; its port answers nobody any more.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }
}

#[derive(Clone)]
struct Desk {
    say: Arc<Say>,
    seen: Arc<Mutex<Vec<Seen>>>,
    counted: Arc<watch::Sender<usize>>,
}

type Out = StreamBody<futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, io::Error>>>;

impl Desk {
    fn serve(
        self,
        request: http::Request<Incoming>,
    ) -> BoxFuture<'static, Result<http::Response<Out>, io::Error>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let (seen, count) = {
                let mut all = self.seen.lock().unwrap();
                let seen = Seen {
                    method: head.method.to_string(),
                    target: head.uri.to_string(),
                    headers: head.headers,
                    body,
                    nth: all.len(),
                };
                all.push(seen.clone());
                (seen, all.len())
            };
            let answer = (self.say)(&seen);
            self.counted.send_if_modified(|come| {
                *come = (*come).max(count);
                true
            });
            if let Some(gate) = &answer.held {
                gate.passed().await;
            }
            if answer.cut { Err(io::Error::other("cut")) } else { Ok(respond(answer)) }
        })
    }
}

fn respond(answer: Answer) -> http::Response<Out> {
    let mut response = http::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    let whole = answer.body.iter().map(|part| match part {
        Part::Bytes(bytes) => Some(bytes.len()),
        Part::Gate(_) | Part::Cut => None,
    });
    if let Some(length) = whole.sum::<Option<usize>>()
        && !answer.headers.iter().any(|(name, _)| name == "content-length")
        && !matches!(answer.status, 204 | 304)
    {
        response = response.header("content-length", length);
    }
    let parts = futures_util::stream::unfold(answer.body.into_iter(), |mut parts| async move {
        loop {
            match parts.next()? {
                Part::Bytes(bytes) => return Some((Ok(Frame::data(bytes)), parts)),
                Part::Gate(gate) => gate.passed().await,
                Part::Cut => {
                    // hyper writes what it has when nothing more is there; only then the connection breaks.
                    tokio::task::yield_now().await;
                    return Some((Err(io::Error::other("cut")), parts));
                }
            }
        }
    });
    response.body(StreamBody::new(Box::pin(parts) as _)).unwrap()
}
