//! The JSON schema of the file, made of the same declarations that read it; published as
//! `config/larder.schema.json` for editors. It describes shapes: what only holds together or not, `check` says.

use serde_json::{Value, json};

use crate::config::file::{File, Route};
use crate::config::shape::Shape;

/// The schema (JSON Schema 2020-12).
pub fn schema() -> Value {
    let mut schema = File::schema();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Larder configuration".into();
    schema["type"] = "object".into();
    schema["patternProperties"] = json!({ "^x-": true });
    schema["$defs"] = json!({ "route": Route::schema() });
    schema
}
