//! The dashboard: one page that shows the figures, with the numbers already in it, and a script that keeps them up to date.
//!
//! ```text
//! GET  /dashboard         ┬ nobody needs a token, or it was sent: the page with its numbers
//!                         └ else: the same page, empty, with a form that asks for the token
//! POST /dashboard         the token, from a form without a script: the page with its numbers
//! GET  /dashboard/{file}  scripts and styles; they hold no data
//! ```
//! Invariant: whatever is put into the page is text, by `markup`, and the page may load and run nothing but these files. It
//! keeps no session: a token is read, and forgotten. It refuses to know how figures come about.

mod assets;
mod markup;
mod page;
mod panels;
mod shadow;
mod standing;
mod words;

use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::admin::access::Caller;
use crate::admin::dashboard::page::{Page, Shown};
use crate::admin::problem::Problem;
use crate::admin::{Sources, figures};
use crate::token::Role;

/// What the page may do: load what lies beside it, and ask this listener.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// Longest form, in bytes.
const MAX_FORM: usize = 16 * 1024;

/// Whether one may come to this path without a token: what there is to see is asked for behind it.
pub(super) fn is_open(path: &str) -> bool {
    path == "/dashboard" || path.starts_with("/dashboard/")
}

/// `GET /dashboard`
pub(crate) async fn page(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    if caller.needs(Role::Read).is_err() {
        return Ok(dressed(StatusCode::OK, Page::locked(None)));
    }
    let again = if sources.flow.parts().keys.is_empty() { Shown::Open } else { Shown::ToHolder };
    filled(&sources, again).await
}

/// `POST /dashboard`: the form of who has no script.
pub(crate) async fn login(State(sources): State<Sources>, request: Request) -> Result<Response, Problem> {
    let keys = &sources.flow.parts().keys;
    let token = token(request).await?;
    let shown = HeaderValue::try_from(format!("Bearer {token}")).ok();
    let headers: HeaderMap = shown.into_iter().map(|value| (AUTHORIZATION, value)).collect();
    if keys.is_empty() || keys.holder(&headers).is_some_and(|holder| holder.may >= Role::Read) {
        return filled(&sources, Shown::ToHolder).await;
    }
    let refused = "This token opens nothing here.";
    Ok(dressed(StatusCode::UNAUTHORIZED, Page::locked(Some(refused))))
}

/// `GET /dashboard/{file}`
pub(crate) async fn asset(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    assets::answer(&file, &headers).ok_or_else(|| Problem::not_found("The dashboard has no such file."))
}

async fn filled(sources: &Sources, shown: Shown) -> Result<Response, Problem> {
    let figures = figures::now(sources).await?;
    let page = Page { figures: &figures, sources, shown }.filled();
    Ok(dressed(StatusCode::OK, page))
}

/// What the form says.
async fn token(request: Request) -> Result<String, Problem> {
    let is_form = request.headers().get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        let form = b"application/x-www-form-urlencoded";
        kind.len() >= form.len() && kind[..form.len()].eq_ignore_ascii_case(form)
    });
    if !is_form {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The page has a form for this."));
    }
    let unread = || Problem::bad_request("The form cannot be read.");
    let body = axum::body::to_bytes(request.into_body(), MAX_FORM).await.map_err(|_| unread())?;
    let body = std::str::from_utf8(&body).map_err(|_| unread())?;
    let uri: Uri = format!("/?{body}").parse().map_err(|_| unread())?;
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&uri).map_err(|_| unread())?;
    let token = pairs.into_iter().find(|(name, _)| name == "token").map(|(_, token)| token);
    token.ok_or_else(unread)
}

fn dressed(status: StatusCode, page: String) -> Response {
    let fields = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // Not `no-referrer`: a form would then be sent as if by a page of another origin.
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (OPENER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    (status, fields, page).into_response()
}
