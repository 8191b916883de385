//! What a flight brings: for the one who asked, and for everyone who waits.
//!
//! ```text
//! judged at the head   share()    own: the body as it comes      board: Arriving, later Entry
//! judged at the end    (held back until then, then one of the two; too late, then the latter)
//! not to be shared     withhold() own: the body as it comes      board: Alone
//! ```
//! Invariant: the one who asked is answered once.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Response, StatusCode};
use tokio::sync::oneshot;

use crate::body::Body;
use crate::flow::coalesce::Departure;
use crate::flow::relay::{Reader, Source};
use crate::policy::Selector;
use crate::route::key::Key;
use crate::store::entry::Entry;
use crate::store::position;
use crate::store::ticket::FillTicket;
use crate::upstream;

/// What a flight lands with.
#[derive(Clone, Debug)]
pub(crate) enum Landing {
    /// An answer that is coming; whoever its selector fits reads along.
    Arriving(Arc<Arrival>),
    /// A stored entry.
    Entry(Arc<Entry>, Whence),
    /// An answer for the one who asked only; everyone else asks for himself.
    Alone(StatusCode),
    /// The origin gave none.
    Failed(Arc<upstream::Error>),
    /// The route is no longer public: everyone asks again, as himself.
    Demoted,
}

/// How a flight came by the entry that it lands with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whence {
    /// The origin confirmed it: with 304, or with 200 to a HEAD.
    Confirmed(StatusCode),
    /// The origin sent it.
    Fetched,
    /// Somebody else had stored it meanwhile.
    Found,
    /// Another node had kept it, and told.
    Told,
}

impl Whence {
    /// Whether it may still be given to who waits: what the flight itself fetched is for those who asked before it was
    /// outdated, and what it found, or was told, is a hit like any. What it was told it asked for under a lease, after nobody could
    /// come aboard any more.
    pub(crate) fn holds(self, entry: &Entry, arrival: position::Arrival) -> bool {
        let is_sound = || !entry.is_dead() && entry.softened().is_none();
        match self {
            Self::Found => arrival.is_leased && is_sound(),
            Self::Told => is_sound(),
            _ => true,
        }
    }
}

/// An answer that is coming.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Fields that are not stored, as a cookie: they are for the one who asked.
    pub(crate) for_one: Vec<HeaderName>,
    pub(crate) selector: Selector,
    pub(crate) source: Source,
}

/// The answer for the one who asked.
pub(crate) struct Own {
    pub(crate) response: Response<Body>,
    /// Whether it may be stored, or why not.
    pub(crate) kept: Result<(), &'static str>,
    /// How long the origin took to answer; `None`: somebody else asked it.
    pub(crate) took: Option<Duration>,
}

impl Own {
    /// An answer that the cache takes no part in.
    pub(crate) fn passed(response: Response<Body>) -> Self {
        Self { response, kept: Err("method"), took: None }
    }
}

/// A flight that has its ticket.
pub(crate) struct Flight<'a> {
    pub(crate) departure: &'a Departure<Landing>,
    pub(crate) ticket: &'a FillTicket,
    /// Where the one who asked waits, until he is answered.
    pub(crate) own: Option<oneshot::Sender<Own>>,
    /// How long the origin took to answer.
    pub(crate) took: Duration,
}

/// A flight whose answer's head is there.
pub(crate) struct Arriving<'a> {
    flight: Flight<'a>,
    arrival: Arc<Arrival>,
    reader: Option<Reader>,
}

impl Flight<'_> {
    /// Lands with an answer that is for the one who asked only.
    pub(crate) fn alone(&mut self, response: Response<Body>, why: &'static str) {
        let status = response.status();
        self.answer(Own { response, kept: Err(why), took: Some(self.took) });
        self.departure.land(Landing::Alone(status));
    }

    fn answer(&mut self, answer: Own) {
        if let Some(own) = self.own.take() {
            // He may have left.
            let _ = own.send(answer);
        }
    }
}

impl Arrival {
    /// The answer over one reader of its body, for the one who asked.
    pub(crate) fn response(&self, reader: Reader) -> Response<Body> {
        let mut response = Response::new(Body::stream(reader));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }

    /// The answer as everyone else may read it.
    pub(crate) fn for_others(&self, reader: Reader) -> Response<Body> {
        let mut response = self.response(reader);
        for name in &self.for_one {
            response.headers_mut().remove(name);
        }
        response
    }
}

impl<'a> Arriving<'a> {
    /// Keeps a reader for the one who asked from the first byte on.
    pub(crate) fn new(flight: Flight<'a>, arrival: Arrival) -> Self {
        let reader = arrival.source.reader();
        Self { flight, arrival: Arc::new(arrival), reader }
    }

    /// Everyone reads along, now that it is likely to be stored. Said twice, it counts once.
    pub(crate) fn share(&mut self) {
        if let Some(reader) = self.reader.take() {
            let response = self.arrival.response(reader);
            let took = Some(self.flight.took);
            self.flight.answer(Own { response, kept: Ok(()), took });
            self.flight.departure.land(Landing::Arriving(Arc::clone(&self.arrival)));
        }
    }

    /// Whether nobody has heard of it yet.
    pub(crate) fn is_held_back(&self) -> bool {
        self.reader.is_some()
    }

    /// It will not be stored, or nobody can wait until that is known: whoever comes from now on asks for himself.
    pub(crate) fn withhold(&mut self, why: &'static str) {
        match self.reader.take() {
            Some(reader) => self.flight.alone(self.arrival.response(reader), why),
            None => self.flight.departure.land(Landing::Alone(self.arrival.status)),
        }
    }

    /// The key that is fetched.
    pub(crate) fn key(&self) -> &Key {
        self.flight.departure.key()
    }

    /// The flight.
    pub(crate) fn flight(&self) -> &Flight<'a> {
        &self.flight
    }
}
