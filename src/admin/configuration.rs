//! Which configuration is in force, what it takes a restart for, and how whoever can read it again is asked to.
//!
//! Invariant: nothing is read or changed here; secrets were cut out before.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::admin::Sources;
use crate::admin::access::Caller;
use crate::admin::body::Document;
use crate::admin::problem::Problem;
use crate::monitor::rfc3339;

/// Most who wait for a reload; they get one after the other.
const WAITING: usize = 16;

/// Reloads that a listener may be behind; then it misses the oldest.
const BEHIND: usize = 16;

/// A configuration that came into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    /// When.
    pub at: SystemTime,
    /// Its digest.
    pub digest: String,
    /// Keys that say something else than before.
    pub changed: Vec<String>,
}

/// A configuration that is in force.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Stands for all of it.
    pub digest: String,
    /// Where it was read; `None`: there is no file.
    pub file: Option<PathBuf>,
    /// Since when.
    pub loaded_at: SystemTime,
    /// The keys that hold something else since the process began, and not before it is started again.
    pub needs_restart: Vec<String>,
    /// Every value with who said it.
    pub values: Value,
}

/// What came of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// That of the configuration in force.
    pub digest: String,
    /// Keys that say something else than before.
    pub changed: Vec<String>,
    /// Those since the start that a reload does not bring about.
    pub needs_restart: Vec<String>,
    /// Entries that were dropped, as the rules of their routes are others now.
    pub dropped: u64,
}

/// Somebody asks for a reload.
#[derive(Debug)]
pub struct Asked {
    /// Who.
    pub actor: String,
    /// Where he is answered: what came of it, or what is wrong with the file.
    pub answer: oneshot::Sender<Result<Reloaded, String>>,
}

/// A reload that failed.
#[derive(Debug)]
struct Failure {
    at: SystemTime,
    report: String,
}

/// What there is to know of the configuration. Cheap to clone.
#[derive(Clone)]
pub struct Configuration(Arc<Shared>);

struct Shared {
    in_force: ArcSwap<InForce>,
    /// What is wrong with the newest one, if it did not come into force.
    failure: ArcSwapOption<Failure>,
    ask: mpsc::Sender<Asked>,
    /// Whoever looks on. Nobody who reloads waits for them.
    told: broadcast::Sender<Arc<Came>>,
}

impl Configuration {
    /// `in_force` is; requests to read it again come out of the other end.
    pub fn new(in_force: InForce) -> (Self, mpsc::Receiver<Asked>) {
        let (ask, asked) = mpsc::channel(WAITING);
        let shared = Shared {
            in_force: ArcSwap::from_pointee(in_force),
            failure: ArcSwapOption::empty(),
            ask,
            told: broadcast::channel(BEHIND).0,
        };
        (Self(Arc::new(shared)), asked)
    }

    /// What is in force.
    pub fn in_force(&self) -> Arc<InForce> {
        self.0.in_force.load_full()
    }

    /// Another one is in force now, in which `changed` says something else.
    pub fn came(&self, in_force: InForce, changed: Vec<String>) {
        let came = Came { at: in_force.loaded_at, digest: in_force.digest.clone(), changed };
        self.0.in_force.store(Arc::new(in_force));
        self.0.failure.store(None);
        let _nobody_listens = self.0.told.send(Arc::new(came));
    }

    /// Hears of every other one from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Came>> {
        self.0.told.subscribe()
    }

    /// Another one was to be, and it is wrong.
    pub fn failed(&self, report: String, at: SystemTime) {
        self.0.failure.store(Some(Arc::new(Failure { at, report })));
    }

    /// Has it read again.
    ///
    /// # Errors
    /// What is wrong with it, or that nobody here can read it.
    async fn reload(&self, actor: String) -> Result<Reloaded, Problem> {
        let nobody =
            || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Nobody here can read the configuration again.");
        let (answer, answered) = oneshot::channel();
        self.0.ask.send(Asked { actor, answer }).await.map_err(|_| nobody())?;
        answered.await.map_err(|_| nobody())?.map_err(Problem::unprocessable)
    }
}

impl InForce {
    /// In short, for `/v1/status`.
    pub(crate) fn brief(&self) -> Value {
        json!({
            "digest": self.digest,
            "loaded_at": rfc3339(self.loaded_at),
            "needs_restart": self.needs_restart,
        })
    }
}

/// `GET /v1/config`
pub(crate) async fn show(State(sources): State<Sources>) -> Json<Value> {
    let in_force = sources.configuration.in_force();
    let failure = sources.configuration.0.failure.load_full();
    let mut shown = in_force.brief();
    shown["file"] = in_force.file.as_ref().map(|file| file.display().to_string()).into();
    shown["failure"] = failure
        .map(|failure| json!({ "at": rfc3339(failure.at), "report": failure.report }))
        .unwrap_or_default();
    shown["values"] = in_force.values.clone();
    Json(shown)
}

/// `POST /v1/config/reload`
pub(crate) async fn reload(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    document: Document,
) -> Result<Json<Reloaded>, Problem> {
    document.object(&[])?;
    sources.configuration.reload(caller.name).await.map(Json)
}
