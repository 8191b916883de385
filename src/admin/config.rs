//! The configuration as operators see and move it: what holds, what another one would change, and that it be read again.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde_json::Value;

use crate::admin::access::Caller;
use crate::admin::body::Document;
use crate::admin::in_force::Reloaded;
use crate::admin::problem::Problem;
use crate::admin::{Sources, elsewhere};

/// Largest body that brings a configuration, in bytes: the largest file, with each of its bytes escaped.
pub(crate) const MAX_FILE: usize = 8 << 20;

/// Tells what a text, under a name for reports, would change. What is wrong with it is an answer, too.
pub type Compare = Arc<dyn Fn(Option<&str>, &str) -> Value + Send + Sync>;

/// `POST /v1/config/diff`
pub(crate) async fn diff(State(sources): State<Sources>, document: Document) -> Result<Json<Value>, Problem> {
    let object = document.object(&["yaml", "name"])?;
    let text = |key: &str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Problem::unprocessable(format!("`{key}` has to be a text."))),
    };
    let (yaml, name) = (text("yaml")?, text("name")?);
    let yaml = yaml.ok_or_else(|| Problem::unprocessable("`yaml` has to be the text of a configuration."))?;
    elsewhere(move || (sources.compare)(name.as_deref(), &yaml)).await.map(Json)
}

/// `GET /v1/config`
pub(crate) async fn show(State(sources): State<Sources>) -> Json<Value> {
    let (loaded, mut shown) = (sources.config.loaded(), sources.config.brief());
    shown["file"] = loaded.file.as_ref().map(|file| file.display().to_string()).into();
    shown["values"] = loaded.values.clone();
    Json(shown)
}

/// `POST /v1/config/reload`
pub(crate) async fn reload(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    document: Document,
) -> Result<Json<Reloaded>, Problem> {
    document.object(&[])?;
    match sources.config.read_again(caller.name).await {
        Some(done) => done.map(Json).map_err(Problem::unprocessable),
        None => {
            let detail = "Nobody here can read the configuration again.";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
        }
    }
}
