//! What a running Larder tells as it happens (`GET /v1/stream`), for the commands that look on.
//!
//! Invariant: only the first connection may fail; later ones are tried again, and whoever looks on is told. It refuses to know what
//! the events mean.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use crate::cli::admin_client::{Admin, Failure};

/// Silence after which a connection counts as broken: a Larder is heard of every 15 seconds.
const SILENCE: Duration = Duration::from_secs(40);
/// Longest event, in bytes.
const LONGEST: usize = 8 << 20;
/// Waits between two attempts.
const WAITS: [u64; 5] = [1, 2, 4, 8, 10];

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// Something happened: which event, and its data.
    Event(String, Value),
    /// The connection broke, or another attempt failed: why. It is tried again.
    Broken(String),
    /// It is there again. What happened meanwhile is not known.
    Back,
}

/// An open stream.
pub(crate) struct Stream {
    admin: Admin,
    path: String,
    body: Option<Incoming>,
    frames: Frames,
    failed: usize,
}

impl Stream {
    /// Opens `/v1/stream` with this query.
    ///
    /// # Errors
    /// Nobody is there, or does not let us.
    pub(crate) async fn open(admin: Admin, query: &[(&str, Option<&str>)]) -> Result<Self, Failure> {
        let path = format!("/v1/stream?{}", form_urlencoded(query));
        let body = admin.stream(&path).await?;
        Ok(Self { admin, path, body: Some(body), frames: Frames::default(), failed: 0 })
    }

    /// Waits for what comes next; dropped and asked again, nothing is lost.
    pub(crate) async fn next(&mut self) -> Next {
        loop {
            if let Some((event, data)) = self.frames.next() {
                return Next::Event(event, data);
            }
            match &mut self.body {
                None => {
                    let wait = WAITS[self.failed.min(WAITS.len()).saturating_sub(1)];
                    tokio::time::sleep(Duration::from_secs(wait)).await;
                    match self.admin.stream(&self.path).await {
                        Ok(body) => {
                            (self.body, self.failed) = (Some(body), 0);
                            return Next::Back;
                        }
                        Err(Failure { words, .. }) => return self.broken(&words),
                    }
                }
                Some(body) => match tokio::time::timeout(SILENCE, data(body)).await {
                    Ok(Ok(bytes)) if self.frames.takes(&bytes) => {}
                    Ok(Ok(_)) => return self.broken("an event is too long"),
                    Ok(Err(why)) => return self.broken(&why),
                    Err(_silence) => return self.broken("nothing is heard any more"),
                },
            }
        }
    }

    fn broken(&mut self, why: &str) -> Next {
        (self.body, self.frames) = (None, Frames::default());
        self.failed += 1;
        Next::Broken(why.lines().next().unwrap_or_default().to_owned())
    }
}

/// The next bytes of a body.
async fn data(body: &mut Incoming) -> Result<Bytes, String> {
    match body.frame().await {
        None => Err("the connection was closed".to_owned()),
        Some(Err(why)) => Err(why.to_string()),
        Some(Ok(frame)) => Ok(frame.into_data().unwrap_or_default()),
    }
}

/// Bytes on their way to events.
#[derive(Default)]
struct Frames(Vec<u8>);

impl Frames {
    /// False: it is more than an event may have.
    fn takes(&mut self, bytes: &[u8]) -> bool {
        self.0.extend_from_slice(bytes);
        self.0.len() <= LONGEST
    }

    /// The next whole event that has data; comments are left out.
    fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let end = self.0.windows(2).position(|pair| pair == b"\n\n")?;
            let frame: Vec<u8> = self.0.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&frame);
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
            let data = field("data: ").and_then(|data| serde_json::from_str(data).ok());
            if let Some((event, data)) = field("event: ").zip(data) {
                return Some((event.to_owned(), data));
            }
        }
    }
}

/// Those pairs that have a value, as they stand behind a `?`.
pub(crate) fn form_urlencoded(pairs: &[(&str, Option<&str>)]) -> String {
    let encode = |value: &str| {
        percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let said = pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", encode((*value)?))));
    said.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_whole_however_they_are_cut() {
        let text = ": still here\n\nevent: a\ndata: {\"x\":1}\n\nevent: b\ndata: [2]\n\nevent: c\nda";
        for size in 1..text.len() {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                assert!(frames.takes(piece));
                found.extend(std::iter::from_fn(|| frames.next()));
            }
            assert_eq!(found, [("a".to_owned(), json!({ "x": 1 })), ("b".to_owned(), json!([2]))]);
        }
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let mut frames = Frames::default();
        let piece = vec![b'x'; 1 << 20];
        assert!((0..8).all(|_| frames.takes(&piece)) && !frames.takes(&piece));
    }

    #[test]
    fn a_query_holds_what_was_said() {
        let query =
            form_urlencoded(&[("route", Some("/a/{id}")), ("cache", None), ("events", Some("requests"))]);
        assert_eq!(query, "route=%2Fa%2F%7Bid%7D&events=requests");
    }
}
