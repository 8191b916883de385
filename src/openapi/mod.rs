//! Rules from an OpenAPI document: what an application says of itself, read into a first configuration for Larder.
//!
//! ```text
//! text ─ document ─ operations ─ entities ─┬─ reads:  class, scope, tags ─┐
//!        (bounded)  by path       by noun  └─ writes: what they outdate ──┴─ Analysis ─ yaml
//! ```
//! Invariant: an operation that asks who somebody is gets `scope: user` or `bypass`, and a mark for review; a document says
//! what an application takes and gives, not what it means, so the rest of it is a proposal too. It refuses to know where the
//! document came from, and what Larder does with a configuration.

mod class;
mod document;
mod entity;
mod noun;
mod operation;
mod read;
mod schema;
mod shape;
mod words;
mod write;
mod yaml;

use serde_json::{Value, json};

pub use crate::openapi::class::Class;
pub use crate::openapi::document::{Document, Error, MAX_BYTES};
pub use crate::openapi::read::Route;
pub use crate::openapi::write::Rule;

use crate::openapi::entity::Entities;
use crate::openapi::operation::Resource;

/// What whoever asks knows better than the document.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Where the document came from, in words.
    pub source: String,
    /// The upstream; empty: what the document's `servers` say, or port 8000 here.
    pub upstream: String,
    /// What stands before every path; `None`: the path of the document's first server.
    pub prefix: Option<String>,
}

/// What a document came to.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// The application's name and version, on one line.
    pub title: String,
    /// Where the document came from.
    pub source: String,
    /// Where the application is.
    pub upstream: String,
    /// Reads, in the order of the document.
    pub routes: Vec<Route>,
    /// Writes that outdate more than their own path.
    pub rules: Vec<Rule>,
    /// POSTs that look as if they only read: path and summary.
    pub posts: Vec<(String, String)>,
    /// `identity.credentials`; empty: the built-in list has them all.
    pub credentials: Vec<String>,
    /// What has no rule, and why.
    pub skipped: Vec<(String, String)>,
    /// What holds for the file as a whole, and wants a look.
    pub review: Vec<String>,
}

/// Reads the rules out of a document.
///
/// # Errors
/// It has no paths, or more than are read.
pub fn analyse(document: &Document, wishes: &Wishes) -> Result<Analysis, Error> {
    let prefix = wishes.prefix.clone().unwrap_or_else(|| document.prefix());
    let (resources, mut skipped) = operation::resources(document, &prefix)?;
    let entities = Entities::of(&resources, document);
    let routes = read::routes(&resources, &entities, document);
    let written = write::rules(&resources, &entities, &routes, document);
    skipped.extend(written.skipped);
    let credentials = credentials(&resources);
    let mut review = Vec::new();
    if !prefix.is_empty() && wishes.prefix.is_none() {
        review.push(format!(
            "the document's `servers` put every path below {prefix}; if clients ask Larder without it: --prefix ''"
        ));
    }
    if !credentials.is_empty() {
        review.push("`identity.credentials` replaces the built-in list: every field and cookie that tells users apart has to be in it".to_owned());
    }
    let upstream = match wishes.upstream.is_empty() {
        false => wishes.upstream.clone(),
        true => document.server().unwrap_or_else(|| "http://localhost:8000".to_owned()),
    };
    let source = words::plain(&wishes.source, 200);
    let (title, posts) = (document.title(), written.posts);
    let rules = written.rules;
    Ok(Analysis { title, source, upstream, routes, rules, posts, credentials, skipped, review })
}

/// Whether a cookie can be called that (RFC 6265 §4.1.1).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#%&'*+-.^_`|~".contains(c))
}

/// The list that has to stand in the file because the document names a credential that the built-in one does not know.
fn credentials(resources: &[Resource<'_>]) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    let mut cookies: Vec<String> = Vec::new();
    let mut is_known = true;
    for credential in resources.iter().flat_map(Resource::operations).flat_map(|op| &op.credentials) {
        let (list, name) = match credential {
            operation::Credential::Field(name, known) => {
                is_known &= known;
                (&mut fields, name)
            }
            operation::Credential::Cookie(name) if is_token(name) => (&mut cookies, name),
            operation::Credential::Cookie(_) => continue,
            operation::Credential::Query => continue,
        };
        if !list.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            list.push(name.clone());
        }
    }
    if is_known {
        return Vec::new();
    }
    let mut all: Vec<String> = ["Authorization", "X-Api-Key", "X-Auth-Token"].map(str::to_owned).into();
    all.extend(fields.into_iter().filter(|name| {
        !["authorization", "x-api-key", "x-auth-token"].contains(&name.to_ascii_lowercase().as_str())
    }));
    for usual in ["session", "sessionid", "access_token"] {
        if !cookies.iter().any(|name| name == usual) {
            cookies.push(usual.to_owned());
        }
    }
    all.extend(cookies.iter().map(|name| format!("cookie:{name}")));
    all
}

impl Analysis {
    /// The configuration, with comments for whoever reviews it.
    pub fn yaml(&self) -> String {
        yaml::write(self)
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        json!({
            "title": self.title,
            "source": self.source,
            "upstream": self.upstream,
            "routes": self.routes.iter().map(Route::json).collect::<Vec<_>>(),
            "writes": self.rules.iter().map(Rule::json).collect::<Vec<_>>(),
            "posts_that_may_read": self.posts.iter().map(|(path, _)| path).collect::<Vec<_>>(),
            "credentials": self.credentials,
            "skipped": self.skipped.iter().map(|(what, why)| json!({ "what": what, "why": why })).collect::<Vec<_>>(),
            "review": self.reviews(),
        })
    }

    /// Everything that wants a look before the file is relied on, one sentence each.
    pub fn reviews(&self) -> Vec<String> {
        let mut reviews = self.review.clone();
        reviews.extend(
            self.routes.iter().flat_map(|route| {
                route.review.iter().map(move |why| format!("GET {}: {why}", route.template))
            }),
        );
        reviews.extend(self.rules.iter().flat_map(|rule| {
            rule.review.iter().map(move |why| format!("{} {}: {why}", rule.methods.join("|"), rule.template))
        }));
        reviews.extend(self.posts.iter().map(|(path, _)| format!("POST {path}: it may only read")));
        reviews.extend(self.skipped.iter().map(|(what, why)| format!("{what}: {why}")));
        reviews
    }
}
