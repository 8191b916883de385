//! What stands behind the `?` of a request: names that are known, each once.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use crate::admin::body::nearest;
use crate::admin::problem::{Problem, quoted};

/// Names and values, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = pairs.map_err(|_| Problem::bad_request("The query cannot be read."))?;
        let mut own = BTreeMap::new();
        for (name, value) in pairs {
            let detail = format!("The parameter {} stands there twice.", quoted(&name));
            if own.insert(name, value).is_some() {
                return Err(Problem::bad_request(detail));
            }
        }
        Ok(Self(own))
    }
}

impl Parameters {
    /// The same, if there are no others than `known`.
    ///
    /// # Errors
    /// 400, with the one that was probably meant.
    pub(crate) fn of(self, known: &[&str]) -> Result<Self, Problem> {
        let Some(stranger) = self.0.keys().find(|name| !known.contains(&name.as_str())) else {
            return Ok(self);
        };
        let hint = match nearest(stranger, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are: {}.", known.join(", ")),
        };
        Err(Problem::bad_request(format!("The parameter {} is not known; {hint}", quoted(stranger))))
    }

    /// The value of `name`; an empty one counts as none.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The number under `name`, from 1 to `most`; else `usual`.
    ///
    /// # Errors
    /// 400: it is none.
    pub(crate) fn limit(&self, name: &str, usual: usize, most: usize) -> Result<usize, Problem> {
        let Some(text) = self.text(name) else { return Ok(usual) };
        let number = text.parse().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| Problem::bad_request(format!("`{name}` is a number from 1 to {most}.")))
    }
}
