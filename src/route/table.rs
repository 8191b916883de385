//! All routes of a configuration, and which of them a path falls under.
//!
//! Templates match with and without one trailing slash; a catch-all matches the empty rest after its slash, but
//! not its bare parent. There is always a route: what none matches falls under the unmatched one. What a route
//! does is not known here.

use std::sync::Arc;

use http::HeaderName;
use smallvec::SmallVec;
use thiserror::Error;

use crate::route::content::ContentSpec;
use crate::route::pattern::{Flaw, Template};
use crate::route::query::QuerySpec;
use crate::route::tag::Tag;
use crate::route::tree::{Node, Values};
use crate::route::{KeySettings, Settings};

/// The label of requests that no route matches.
pub const UNMATCHED: &str = "unmatched";

/// One route, ready for requests.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its number, for metrics and for what is known of it: its template's, for the life of the process.
    pub index: usize,
    /// What the configuration says of it.
    pub settings: Settings,
    /// Which parts of a request tell its answers apart.
    pub key: KeySpec,
    /// What all its entries carry.
    pub tag: Tag,
    /// Names of its parameters, the catch-all last.
    names: Vec<String>,
}

/// `key:` of a route, compiled.
#[derive(Clone, Debug)]
pub struct KeySpec {
    /// Which names of the query count.
    pub query: QuerySpec,
    /// The request fields that count, in the order of the configuration.
    pub headers: Vec<HeaderName>,
    /// What of a body counts.
    pub content: ContentSpec,
    /// Digest of the route's settings.
    pub digest: u64,
}

/// Every route, and the one for what none of them matches.
#[derive(Debug)]
pub struct Table {
    tree: Node,
    /// In the order of the configuration; the last one is the unmatched.
    routes: Vec<Arc<Route>>,
}

/// A route, and what of its path was in braces.
#[derive(Debug)]
pub struct Found<'a> {
    /// The route.
    pub route: &'a Arc<Route>,
    /// Names and decoded values from left to right, the catch-all last.
    pub captures: Captures<'a>,
}

/// Names and decoded values.
pub type Captures<'a> = SmallVec<[(&'a str, &'a str); 4]>;

/// Two templates that cannot stand side by side, or one that is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct Conflict {
    /// The template that is refused, as written.
    pub template: String,
    /// The one it collides with.
    pub other: Option<String>,
    /// In what way.
    pub why: Why,
}

/// In what way a template is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is no template.
    Flaw(Flaw),
    /// Both match exactly the same paths.
    Same,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { template, other, why } = self;
        match (why, other) {
            (Why::Flaw(flaw), _) => write!(f, "`{template}` is not a path template: {flaw}"),
            (Why::Same, Some(other)) => write!(f, "`{template}` matches the same paths as `{other}`"),
            (Why::Same, None) => write!(f, "`{template}` matches the same paths as another route"),
        }
    }
}

impl Table {
    /// Builds the table; `unmatched` is what `defaults.unmatched: origin` gives, `None` is `bypass`.
    ///
    /// # Errors
    /// The first template that is none, or collides with one above it.
    pub fn build(routes: Vec<Settings>, unmatched: Option<Settings>) -> Result<Self, Conflict> {
        let mut next = 0..;
        Self::numbered(routes, unmatched, |_| next.next().expect("numbers do not end"))
    }

    /// The same, with the numbers that `number` gives the templates.
    ///
    /// # Errors
    /// As [`Table::build`].
    pub fn numbered(
        routes: Vec<Settings>,
        unmatched: Option<Settings>,
        mut number: impl FnMut(&str) -> usize,
    ) -> Result<Self, Conflict> {
        let mut tree = Node::default();
        let mut ready = Vec::with_capacity(routes.len() + 1);
        for (place, settings) in routes.into_iter().enumerate() {
            let refused = |other, why| Conflict { template: settings.template.clone(), other, why };
            let template =
                Template::parse(&settings.template).map_err(|flaw| refused(None, Why::Flaw(flaw)))?;
            tree.insert(&template, place).map_err(|owner: usize| {
                let other: &Arc<Route> = &ready[owner];
                refused(Some(other.settings.template.clone()), Why::Same)
            })?;
            ready.push(Route::new(
                number(&settings.template),
                settings,
                template.names().map(str::to_owned).collect(),
            ));
        }
        let last = unmatched.unwrap_or_else(|| Settings::passing(UNMATCHED));
        let last = Settings { template: UNMATCHED.to_owned(), ..last };
        ready.push(Route::new(number(UNMATCHED), last, Vec::new()));
        Ok(Self { tree, routes: ready })
    }

    /// The route for a decoded path ([`crate::route::path::Path::decoded`]); the unmatched one if none fits.
    pub fn find(&self, path: &str) -> &Arc<Route> {
        self.tree.find(path, &mut Values::new()).map_or(self.unmatched(), |place| &self.routes[place])
    }

    /// Like [`Table::find`], with what stood in the braces.
    pub fn find_with<'a>(&'a self, path: &'a str) -> Found<'a> {
        let mut values = Values::new();
        let route = self.tree.find(path, &mut values).map_or(self.unmatched(), |place| &self.routes[place]);
        Found { route, captures: route.names.iter().map(String::as_str).zip(values).collect() }
    }

    /// Every route in the order of the configuration, the unmatched one last.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The route of requests that no template matches.
    pub fn unmatched(&self) -> &Arc<Route> {
        self.routes.last().expect("build always appends the unmatched route")
    }
}

impl Route {
    fn new(index: usize, settings: Settings, names: Vec<String>) -> Arc<Self> {
        let KeySettings { query, ignore_query, headers, body, ignore } = &settings.key;
        let key = KeySpec {
            query: QuerySpec::new(query.as_deref(), ignore_query),
            headers: headers.clone(),
            content: ContentSpec::new(*body, ignore),
            digest: settings.digest,
        };
        let tag = Tag::route(&settings.template);
        Arc::new(Self { index, settings, key, tag, names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(template: &str) -> Settings {
        Settings { bypass: false, ..Settings::passing(template) }
    }

    fn table(templates: &[&str]) -> Result<Table, Conflict> {
        Table::build(templates.iter().map(|template| settings(template)).collect(), Some(settings("")))
    }

    fn found(templates: &[&str], path: &str) -> String {
        table(templates).unwrap().find(path).settings.template.clone()
    }

    fn captured(templates: &[&str], path: &str) -> Vec<(String, String)> {
        let table = table(templates).unwrap();
        table.find_with(path).captures.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn a_template_matches_with_and_without_one_trailing_slash() {
        for template in ["/a/{id}", "/a/{id}/"] {
            assert_eq!(found(&[template], "/a/1"), template);
            assert_eq!(found(&[template], "/a/1/"), template);
            assert_eq!(found(&[template], "/a/1//"), UNMATCHED);
            assert_eq!(found(&[template], "/a/"), UNMATCHED);
            assert_eq!(found(&[template], "/a/1/b"), UNMATCHED);
        }
        assert_eq!(found(&["/"], "/"), "/");
        assert_eq!(found(&["/"], "//"), UNMATCHED);
    }

    #[test]
    fn a_catch_all_matches_the_empty_rest_but_not_its_parent() {
        let routes = &["/static/{path:path}"];
        for path in ["/static/", "/static/a", "/static/a/b.css", "/static/a/"] {
            assert_eq!(found(routes, path), routes[0], "{path}");
        }
        assert_eq!(found(routes, "/static"), UNMATCHED);
        assert_eq!(found(routes, "/statics/a"), UNMATCHED);
        assert_eq!(found(&["/{rest:path}"], "/"), "/{rest:path}");
    }

    #[test]
    fn literals_beat_parameters_beat_catch_alls_from_the_left() {
        let routes =
            &["/api/{rest:path}", "/api/{x}", "/api/{x}/c", "/api/b", "/api/b/d", "/{all:path}", "/{x}/c"];
        for (path, template) in [
            ("/api/b", "/api/b"),
            ("/api/b/", "/api/b"),
            ("/api/z", "/api/{x}"),
            ("/api/b/c", "/api/{x}/c"),
            ("/api/b/d", "/api/b/d"),
            ("/api/z/d", "/api/{rest:path}"),
            ("/api/z/c/e", "/api/{rest:path}"),
            ("/api/", "/api/{rest:path}"),
            ("/api/c", "/api/{x}"),
            ("/api", "/{all:path}"),
            ("/other/c", "/{x}/c"),
            ("/other/d", "/{all:path}"),
            ("/", "/{all:path}"),
        ] {
            assert_eq!(found(routes, path), template, "{path}");
        }
    }

    #[test]
    fn an_exact_sibling_takes_the_empty_rest() {
        assert_eq!(found(&["/a/{*rest}", "/a"], "/a/"), "/a");
        assert_eq!(found(&["/a/{*rest}", "/a"], "/a/b"), "/a/{*rest}");
    }

    #[test]
    fn one_place_may_have_a_name_per_route() {
        let routes = &["/a/{x}", "/a/{y}/b", "/a/{z}/b/{w:int}"];
        assert_eq!(captured(routes, "/a/1"), pairs(&[("x", "1")]));
        assert_eq!(captured(routes, "/a/1/b/"), pairs(&[("y", "1")]));
        assert_eq!(captured(routes, "/a/1/b/2"), pairs(&[("z", "1"), ("w", "2")]));
    }

    #[test]
    fn a_catch_all_captures_everything_after_its_slash() {
        let routes = &["/{v}/{rest:path}", "/{v}/{x}/c"];
        assert_eq!(captured(routes, "/1/a/c"), pairs(&[("v", "1"), ("x", "a")]));
        assert_eq!(captured(routes, "/1/a/b/c/"), pairs(&[("v", "1"), ("rest", "a/b/c/")]));
        assert_eq!(captured(routes, "/1/a"), pairs(&[("v", "1"), ("rest", "a")]));
        assert_eq!(captured(routes, "/1/"), pairs(&[("v", "1"), ("rest", "")]));
    }

    #[test]
    fn text_may_stand_before_or_after_a_parameter() {
        let routes = &["/f/{name}.json", "/f/{name}", "/f/{name}/x", "/v{n}/x", "/{all:path}"];
        assert_eq!(found(routes, "/f/a.json/x"), "/f/{name}/x");
        assert_eq!(found(routes, "/f/a.json/y"), "/{all:path}");
        assert_eq!(captured(routes, "/f/a.json"), pairs(&[("name", "a")]));
        assert_eq!(found(routes, "/f/a.json"), "/f/{name}.json");
        assert_eq!(found(routes, "/f/a.xml"), "/f/{name}");
        assert_eq!(captured(routes, "/v2/x"), pairs(&[("n", "2")]));
    }

    #[test]
    fn literal_braces_and_escapes_match_decoded() {
        assert_eq!(found(&["/%7Bx%7D"], "/{x}"), "/%7Bx%7D");
        assert_eq!(found(&["/%7Bx%7D"], "/y"), UNMATCHED);
        assert_eq!(found(&["/caf%C3%A9"], "/café"), "/caf%C3%A9");
    }

    #[test]
    fn templates_that_match_the_same_paths_are_refused_in_plain_words() {
        for (one, other) in [
            ("/a/{x}", "/a/{y:int}"),
            ("/a", "/a/"),
            ("/a/{x:path}", "/a/{*y}"),
            ("/a/v{x}.json", "/a/v{y}.json"),
        ] {
            let refused = table(&[one, other]).err().unwrap();
            assert_eq!(refused, Conflict { template: other.into(), other: Some(one.into()), why: Why::Same });
            assert_eq!(refused.to_string(), format!("`{other}` matches the same paths as `{one}`"));
        }
    }

    #[test]
    fn what_is_no_template_is_refused_in_plain_words() {
        let refused = table(&["/x/{a:path}/b"]).err().unwrap();
        assert_eq!(
            refused.to_string(),
            "`/x/{a:path}/b` is not a path template: a catch-all must be the whole last segment"
        );
    }

    #[test]
    fn the_unmatched_route_is_last_and_passes_unless_told_otherwise() {
        let table = Table::build(vec![settings("/a")], None).unwrap();
        let unmatched = table.find("/b");
        assert!(unmatched.settings.bypass);
        assert_eq!((unmatched.index, unmatched.settings.template.as_str()), (1, UNMATCHED));
        assert_eq!(table.routes().len(), 2);
    }
}
