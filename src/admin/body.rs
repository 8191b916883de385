//! What a request to the admin API says: JSON, and nothing that an HTML form can send.
//!
//! Invariant: a key that is not known is refused with the one that was probably meant, and so is what stands elsewhere; nothing is
//! passed over.

use std::fmt;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::admin::problem::{Problem, quoted};
use crate::invalidate::event;

/// Longest body, in bytes.
pub(crate) const MAX_BODY: usize = event::MAX_BODY;

/// A JSON body.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// Its fields: an event may be told in them.
    pub(crate) headers: HeaderMap,
    /// As it came.
    pub(crate) bytes: Bytes,
    /// What it holds; `None`: there is no body.
    pub(crate) value: Option<Value>,
}

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        // A `?dry_run=true` that is passed over is a purge.
        if request.uri().query().is_some_and(|query| !query.is_empty()) {
            return Err(Problem::bad_request("Nothing is read behind a `?` here: say it in the body."));
        }
        let headers = request.headers().clone();
        let is_json = media_type(&headers).map(|text| is_json(&text));
        let bytes = Bytes::from_request(request, state).await.map_err(|refused| match refused.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The body is longer than {MAX_BODY} bytes."),
            ),
            _ => Problem::bad_request("The body was cut."),
        })?;
        // A form says what it is; so a request that says nothing and holds nothing is none.
        if is_json != Some(true) && !(is_json.is_none() && bytes.is_empty()) {
            let detail = "Say it in JSON, with `Content-Type: application/json`.";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let value = match bytes.is_empty() {
            true => None,
            false => Some(
                serde_json::from_slice(&bytes)
                    .map_err(|why| Problem::bad_request(format!("The body is not JSON: {why}.")))?,
            ),
        };
        Ok(Self { headers, bytes, value })
    }
}

impl Document {
    /// The object that it is, with no other keys than `known`.
    ///
    /// # Errors
    /// 400: there is none; 422: it is something else, has other keys, or one of them twice.
    pub(crate) fn object(self, known: &[&str]) -> Result<Map<String, Value>, Problem> {
        let object = self.members()?;
        match object.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(object),
            Some(stranger) => {
                let hint = match nearest(stranger, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are: {}.", known.join(", ")),
                };
                Err(Problem::unprocessable(format!("The key {} is not known; {hint}", quoted(stranger))))
            }
        }
    }

    /// The object that it is, whatever its keys.
    ///
    /// # Errors
    /// 400: there is none; 422: it is something else, or has a key twice.
    pub(crate) fn members(self) -> Result<Map<String, Value>, Problem> {
        let object = match self.value {
            Some(Value::Object(_)) => serde_json::from_slice::<Object>(&self.bytes),
            Some(_) => return Err(Problem::unprocessable("The body has to be a JSON object.")),
            None => return Err(Problem::bad_request("There is no body; it has to be a JSON object.")),
        };
        object.map(|Object(object)| object).map_err(|why| Problem::unprocessable(why.to_string()))
    }
}

/// An object in which no key stands twice: of two lists one would be passed over.
struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut each: A) -> Result<Object, A::Error> {
                let mut object = Map::new();
                while let Some((key, value)) = each.next_entry::<String, Value>()? {
                    let twice = format!("The key {} stands there twice", quoted(&key));
                    if object.insert(key, value).is_some() {
                        return Err(de::Error::custom(twice));
                    }
                }
                Ok(Object(object))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The texts under `key`: a list of them, one alone, or none at all.
///
/// # Errors
/// 422: something else stands there.
pub(crate) fn texts(object: &Map<String, Value>, key: &str) -> Result<Vec<String>, Problem> {
    let wrong = || Problem::unprocessable(format!("`{key}` has to be a list of texts."));
    match object.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(list)) => {
            list.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

/// The truth value under `key`, `None` if it is not there.
///
/// # Errors
/// 422: something else stands there.
pub(crate) fn flag(object: &Map<String, Value>, key: &str) -> Result<Option<bool>, Problem> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(Problem::unprocessable(format!("`{key}` has to be true or false."))),
    }
}

/// The one of `words` that was probably meant by `text`.
pub(crate) fn nearest<'w>(text: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let near = words.into_iter().map(|word| (strsim::damerau_levenshtein(text, word), word));
    let (distance, word) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + word.chars().count() / 4).then_some(word)
}

/// The media type, in lower case and without parameters; `None` if none is given.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().unwrap_or_default();
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn is_json(media_type: &str) -> bool {
    media_type == "application/json"
        || media_type.starts_with("application/") && media_type.ends_with("+json")
}
