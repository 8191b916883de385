//! What another configuration would change: `POST /v1/config/diff`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use crate::admin::body::Document;
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
