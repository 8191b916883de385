//! Which requests a stored response may answer, of those with its key (RFC 9111 §4.1): a [`Selector`].
//!
//! Invariant: what `Vary` names matched, or was normalised into the same; a request with `Origin` and one without never
//! share, whatever `Vary` says (CORS answers differ, and some origins do not say so). Values are compared as they are
//! read: nothing is copied for it. It refuses to know the key and how many variants there are.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::policy::cache_control::members;
use crate::policy::coding::Coded;
use crate::policy::language::Asked;
use crate::policy::store::NoStore;
use crate::policy::{Rule, Scope};

/// Tells by name whether a cookie is a credential.
pub type IsCredentialCookie<'a> = &'a dyn Fn(&str) -> bool;

/// What a request must look like to be answered by a stored response. Two equal ones select the same requests: the
/// newer response takes the older one's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    coded: Coded,
    /// `None`: no `Origin`, and nothing else compared. Most are like that, and there is one for each entry.
    more: Option<Box<More>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct More {
    origin: Origin,
    others: Vec<Compared>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Absent,
    Any,
    Only(HeaderValue),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Compared {
    /// Any field: its normalised value in the request that fetched the response.
    Field(HeaderName, Option<Box<[u8]>>),
    /// `Cookie`, sorted.
    Cookies(Which, Box<[u8]>),
    /// `Accept-Language`.
    Language(Asked),
}

/// Which cookies tell requests apart: those that the fill carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    All,
    Credentials,
}

impl Selector {
    /// Made when a response is stored: `request` is the one that fetched it, in the form in which later ones will be
    /// given to [`Selector::matches`] (the client's, not with what was added or rewritten for the origin).
    ///
    /// # Errors
    /// [`NoStore::VaryStar`] or [`NoStore::VaryInvalid`]: no request can be known to match.
    pub fn of(
        request: &HeaderMap,
        response: &HeaderMap,
        rule: &Rule,
        is_credential_cookie: IsCredentialCookie<'_>,
    ) -> Result<Self, NoStore> {
        let mut by_coding = false;
        let mut others: Vec<Compared> = Vec::new();
        for name in names(response) {
            let compared = match name? {
                header::ACCEPT_ENCODING => {
                    by_coding = true;
                    continue;
                }
                header::ORIGIN => continue, // told apart with or without it
                header::COOKIE => {
                    let which = if rule.scope == Scope::Origin { Which::All } else { Which::Credentials };
                    let value = spelled(&cookies(request, which, is_credential_cookie)).collect();
                    Compared::Cookies(which, value)
                }
                header::ACCEPT_LANGUAGE => Compared::Language(Asked::of(&rule.languages, request, response)),
                other => {
                    let value = normalised(request, &other).map(Iterator::collect);
                    Compared::Field(other, value)
                }
            };
            if !others.contains(&compared) {
                others.push(compared);
            }
        }
        let origin = Origin::of(request, response);
        let is_plain = origin == Origin::Absent && others.is_empty();
        let more = (!is_plain).then(|| Box::new(More { origin, others }));
        Ok(Self { coded: Coded::of(request, response, by_coding), more })
    }

    /// Whether the response answers a request with these fields.
    pub fn matches(&self, request: &HeaderMap, is_credential_cookie: IsCredentialCookie<'_>) -> bool {
        let others = self.others();
        self.origin().serves(request)
            && self.coded.serves(request)
            && others.iter().all(|compared| compared.serves(request, is_credential_cookie))
    }

    /// Whether the response was chosen by anything but the presence of `Origin`: then others for the same key lie beside it.
    pub fn is_of_a_choice(&self) -> bool {
        let only = matches!(self.origin(), Origin::Only(_));
        only || self.coded.is_chosen() || !self.others().is_empty()
    }

    /// Fields of a request that would fetch the response again; `None`: they are not kept, or are somebody's own.
    pub fn example(&self) -> Option<HeaderMap> {
        let mut fields = HeaderMap::new();
        match self.origin() {
            Origin::Absent => {}
            // All origins are answered alike: this one is nobody's.
            Origin::Any => {
                fields.insert(header::ORIGIN, HeaderValue::from_static("null"));
            }
            Origin::Only(origin) => {
                fields.insert(header::ORIGIN, origin.clone());
            }
        }
        fields.extend(self.coded.asked().map(|value| (header::ACCEPT_ENCODING, value)));
        for compared in self.others() {
            let (name, value) = match compared {
                Compared::Cookies(_, pairs) if pairs.is_empty() => continue,
                Compared::Cookies(..) => return None,
                Compared::Language(asked) => (header::ACCEPT_LANGUAGE, asked.asked().ok()?),
                Compared::Field(name, value) => {
                    let value = value.as_deref().map(HeaderValue::from_bytes);
                    (name.clone(), value.transpose().ok()?)
                }
            };
            fields.extend(value.map(|value| (name, value)));
        }
        Some(fields)
    }

    /// Bytes on the heap, for the store's accounting.
    pub fn size(&self) -> usize {
        let more = if self.more.is_some() { size_of::<More>() } else { 0 };
        let origin = if let Origin::Only(value) = self.origin() { value.len() } else { 0 };
        let others = self.others().iter().map(|compared| {
            size_of::<Compared>()
                + match compared {
                    Compared::Field(name, value) => {
                        name.as_str().len() + value.as_ref().map_or(0, |v| v.len())
                    }
                    Compared::Cookies(_, value) => value.len(),
                    Compared::Language(asked) => asked.size(),
                }
        });
        more + origin + others.sum::<usize>()
    }

    fn origin(&self) -> &Origin {
        self.more.as_ref().map_or(&Origin::Absent, |more| &more.origin)
    }

    fn others(&self) -> &[Compared] {
        self.more.as_ref().map_or(&[], |more| &more.others)
    }
}

impl Origin {
    /// Only what is open to all is shared, whether `Vary` says so or not: Starlette 0.38 refuses an origin by saying
    /// nothing at all, and a stranger's refusal must not be served to those who are allowed.
    fn of(request: &HeaderMap, response: &HeaderMap) -> Self {
        let Some(origin) = request.get(header::ORIGIN) else { return Self::Absent };
        match response.get(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            Some(allowed) if allowed == "*" => Self::Any,
            _ => Self::Only(origin.clone()),
        }
    }

    fn serves(&self, request: &HeaderMap) -> bool {
        match (self, request.get(header::ORIGIN)) {
            (Self::Absent, None) | (Self::Any, Some(_)) => true,
            (Self::Only(wanted), Some(origin)) => wanted == origin,
            _ => false,
        }
    }
}

impl Compared {
    fn serves(&self, request: &HeaderMap, is_credential_cookie: IsCredentialCookie<'_>) -> bool {
        match self {
            Self::Field(name, wanted) => match (normalised(request, name), wanted) {
                (None, None) => true,
                (Some(value), Some(wanted)) => value.eq(wanted.iter().copied()),
                _ => false,
            },
            Self::Cookies(which, wanted) => {
                spelled(&cookies(request, *which, is_credential_cookie)).eq(wanted.iter().copied())
            }
            Self::Language(asked) => asked.serves(request),
        }
    }
}

/// The field names of all `Vary` lines, in lower case; an error for `*` and for what is no field name.
pub(crate) fn names(response: &HeaderMap) -> impl Iterator<Item = Result<HeaderName, NoStore>> {
    let named =
        response.get_all(header::VARY).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    named.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()).map(|name| match name {
        b"*" => Err(NoStore::VaryStar),
        name => HeaderName::from_bytes(name).map_err(|_| NoStore::VaryInvalid),
    })
}

/// Fields that are no lists: a comma is a character of them like any other.
const SINGLE: [HeaderName; 4] =
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::REFERER, header::USER_AGENT];

/// A field's value with its lines joined, blanks around commas and empty members dropped; `None` if it is absent, which
/// is not the same as empty. RFC 9111 §4.1 allows it where the field's syntax does; fields that we do not know are taken
/// for lists, as nearly all that have commas are.
fn normalised(request: &HeaderMap, name: &HeaderName) -> Option<impl Iterator<Item = u8>> {
    let mut lines = request.get_all(name).iter().map(HeaderValue::as_bytes).peekable();
    lines.peek()?;
    let is_single = SINGLE.contains(name);
    let parts = lines.flat_map(move |line| {
        let whole = is_single.then(|| line.trim_ascii());
        whole.into_iter().chain((!is_single).then(|| members(line)).into_iter().flatten())
    });
    Some(joined(parts, b","))
}

/// The cookies of a request, sorted.
fn cookies<'a>(
    request: &'a HeaderMap,
    which: Which,
    is_credential_cookie: IsCredentialCookie<'_>,
) -> SmallVec<[&'a [u8]; 16]> {
    let pairs =
        request.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut kept: SmallVec<[&[u8]; 16]> = pairs
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
        .filter(|pair| {
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
            // what cannot be read may be a credential
            which == Which::All || std::str::from_utf8(name).map_or(true, is_credential_cookie)
        })
        .collect();
    kept.sort_unstable();
    kept
}

fn spelled(cookies: &[&[u8]]) -> impl Iterator<Item = u8> {
    joined(cookies.iter().copied(), b"; ")
}

fn joined<'a>(parts: impl Iterator<Item = &'a [u8]>, between: &'static [u8]) -> impl Iterator<Item = u8> {
    parts.enumerate().flat_map(move |(index, part)| {
        let before = if index == 0 { &[][..] } else { between };
        before.iter().chain(part).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::head;

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn is_credential(name: &str) -> bool {
        name == "session"
    }

    fn selector(request: Fields<'_>, response: Fields<'_>) -> Result<Selector, NoStore> {
        Selector::of(&head(request), &head(response), &Rule::default(), &is_credential)
    }

    fn serves(first: Fields<'_>, response: Fields<'_>, then: Fields<'_>) -> bool {
        selector(first, response).unwrap().matches(&head(then), &is_credential)
    }

    #[test]
    fn a_star_anywhere_matches_nothing_ever() {
        for lines in [&["*"][..], &["*, *"], &["*", "*"], &[", *"], &["", "*"], &["*, Foo"], &["Foo, *"]] {
            let response: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
            assert_eq!(selector(&[], &response), Err(NoStore::VaryStar), "{lines:?}");
        }
        assert_eq!(selector(&[], &[("vary", "a b")]), Err(NoStore::VaryInvalid));
    }

    #[test]
    fn an_example_is_a_request_that_is_selected() {
        let cors = [("vary", "accept-encoding"), ("access-control-allow-origin", "*")];
        let asked: [(Fields<'_>, Fields<'_>); 5] = [
            (&[], &cors),
            (&[("accept-encoding", "br, *;q=0.1"), ("origin", "http://a")], &cors),
            (&[("accept-encoding", "identity;q=0")], &cors),
            (&[("origin", "http://a"), ("x", "1"), ("x", "2")], &[("vary", "x, y")]),
            (&[("accept-language", "de;q=0.5, en")], &[("vary", "accept-language")]),
        ];
        for (request, response) in asked {
            let selector = selector(request, response).unwrap();
            let example = selector.example().unwrap();
            assert!(selector.matches(&example, &is_credential), "{request:?}: {example:?}");
        }
        let own = selector(&[("cookie", "session=1")], &[("vary", "cookie")]).unwrap();
        assert_eq!(own.example(), None);
        let weighed = selector(&[("accept-language", "de, fr;q=0")], &[("vary", "accept-language")]).unwrap();
        assert_eq!(weighed.example(), None);
    }

    #[test]
    fn every_named_field_counts_and_no_other() {
        let response = [("vary", "Foo,, BAR"), ("vary", "foo, baz")];
        let first = [("foo", "1"), ("bar", "abc"), ("other", "2")];
        assert!(serves(&first, &response, &[("bar", "abc"), ("foo", "1"), ("other", "3")]));
        assert!(!serves(&first, &response, &[("foo", "2"), ("bar", "abc")]));
        assert!(!serves(&first, &response, &[("foo", "1")]));
        assert!(!serves(&first, &response, &[("foo", "1"), ("bar", "abc"), ("baz", "")]));
        assert!(!serves(&[], &[("vary", "foo")], &[("foo", "1")]));
    }

    #[test]
    fn vary_is_read_in_every_spelling() {
        for lines in [
            &["foo, bar"][..],
            &["FOO,Bar"],
            &["foo", "bar"],
            &[" foo\t,\t bar "],
            &[",, foo,,bar, ,"],
            &["", "foo", "", "bar"],
            &["foo, bar, Foo", "BAR"],
            &["bar, foo"],
            &["foo, baz, bar"],
        ] {
            let response: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
            let first = [("foo", "1"), ("bar", "2")];
            assert!(serves(&first, &response, &[("bar", "2"), ("other", "3"), ("foo", "1")]), "{lines:?}");
            assert!(!serves(&first, &response, &[("foo", "1"), ("bar", "1")]), "{lines:?}");
            assert!(!serves(&first, &response, &[("foo", "2"), ("bar", "2")]), "{lines:?}");
            assert!(!serves(&first, &response, &[("foo", "1")]), "{lines:?}");
        }
        for nothing in [&[""][..], &[" , ,"], &["", ""], &[]] {
            let response: Vec<_> = nothing.iter().map(|line| ("vary", *line)).collect();
            assert!(serves(&[("foo", "1")], &response, &[("foo", "2")]), "{nothing:?}");
        }
        for invalid in ["a b", "\"*\"", "foo;bar", "foo:", "b\u{e4}r"] {
            assert_eq!(selector(&[], &[("vary", "foo"), ("vary", invalid)]), Err(NoStore::VaryInvalid));
        }
        assert_eq!(selector(&[], &[("vary", "foo\t,\t*")]), Err(NoStore::VaryStar));
    }

    #[test]
    fn absent_is_not_empty() {
        for name in ["foo", "accept", "accept-language", "user-agent"] {
            let vary = [("vary", name)];
            assert!(serves(&[], &vary, &[]), "{name}");
            assert!(serves(&[(name, "")], &vary, &[(name, "")]), "{name}");
            assert!(!serves(&[], &vary, &[(name, "")]), "{name}");
            assert!(!serves(&[(name, "")], &vary, &[]), "{name}");
        }
    }

    #[test]
    fn what_is_no_list_is_compared_as_it_is() {
        for name in ["user-agent", "authorization", "referer", "proxy-authorization"] {
            let vary = [("vary", name)];
            assert!(serves(&[(name, "a, (b,c)")], &vary, &[(name, "a, (b,c)")]), "{name}");
            for other in ["a,(b,c)", "a, (b, c)", "a, (b,c),", "A, (b,c)"] {
                assert!(!serves(&[(name, "a, (b,c)")], &vary, &[(name, other)]), "{name} {other}");
            }
        }
    }

    #[test]
    fn members_keep_their_order_their_case_and_their_repetitions() {
        for other in ["2, 1", "1, 2, 2", "1", "12", "1 2", "1, 2;q=1"] {
            assert!(!serves(&[("foo", "1, 2")], &[("vary", "foo")], &[("foo", other)]), "{other}");
        }
        assert!(!serves(&[("foo", "A")], &[("vary", "foo")], &[("foo", "a")]));
        assert!(serves(&[("foo", "1,, 2,")], &[("vary", "foo")], &[("foo", "1, 2")]));
    }

    #[test]
    fn lines_are_joined_and_blanks_around_commas_dropped() {
        for alike in [&[("foo", "1"), ("foo", "2")][..], &[("foo", " 1 ,2 ")], &[("foo", "1,2")]] {
            assert!(serves(&[("foo", "1, 2")], &[("vary", "foo")], alike), "{alike:?}");
        }
        assert!(!serves(&[("foo", "\"1, 2\"")], &[("vary", "foo")], &[("foo", "\"1,2\"")]));
        assert!(!serves(&[("foo", "1 2")], &[("vary", "foo")], &[("foo", "12")]));
    }

    #[test]
    fn with_and_without_origin_never_share() {
        for response in [&[][..], &[("vary", "Origin")], &[("access-control-allow-origin", "*")]] {
            assert!(!serves(&[], response, &[("origin", "https://a")]), "{response:?}");
            assert!(!serves(&[("origin", "https://a")], response, &[]), "{response:?}");
            assert!(serves(&[], response, &[]), "{response:?}");
        }
    }

    #[test]
    fn origins_share_what_is_open_to_all_and_nothing_else() {
        let share =
            |response: Fields<'_>| serves(&[("origin", "https://a")], response, &[("origin", "https://b")]);
        let open = ("access-control-allow-origin", "*");
        let one = ("access-control-allow-origin", "https://a");
        assert!(!share(&[]), "a refusal may look like this");
        assert!(share(&[open]));
        assert!(share(&[open, ("vary", "Origin, Accept-Encoding")]));
        assert!(!share(&[("vary", "Origin")]));
        assert!(!share(&[one, ("vary", "Origin")]));
        assert!(!share(&[one]));
        assert!(serves(&[("origin", "https://a")], &[one], &[("origin", "https://a")]));
    }

    #[test]
    fn a_warmed_entry_serves_a_browser() {
        let starlette = [("vary", "Origin, Accept-Encoding"), ("content-encoding", "gzip")];
        let warmed = [("accept-encoding", "gzip, deflate, br, zstd")];
        assert!(serves(&warmed, &starlette, &[("accept-encoding", "gzip, deflate, br")]));
    }

    #[test]
    fn of_cookies_only_credentials_count() {
        let vary = [("vary", "Cookie")];
        let first = [("cookie", "_ga=1; session=x")];
        assert!(serves(&first, &vary, &[("cookie", "session=x; theme=dark")]));
        assert!(serves(&first, &vary, &[("cookie", "_ga=2"), ("cookie", "session=x")]));
        assert!(!serves(&first, &vary, &[("cookie", "session=y")]));
        assert!(!serves(&first, &vary, &[]));
        assert!(serves(&[], &vary, &[("cookie", "_ga=1")]));
    }

    #[test]
    fn where_the_origin_alone_decides_every_cookie_counts() {
        let rule = Rule { scope: Scope::Origin, ..Rule::default() };
        let first = head(&[("cookie", "theme=dark; session=x")]);
        let selector = Selector::of(&first, &head(&[("vary", "Cookie")]), &rule, &is_credential).unwrap();
        let serves = |cookies: Fields<'_>| selector.matches(&head(cookies), &is_credential);
        assert!(serves(&[("cookie", "theme=dark; session=x")]));
        assert!(serves(&[("cookie", "session=x"), ("cookie", "theme=dark")]));
        assert!(!serves(&[("cookie", "session=x")]));
        assert!(!serves(&[("cookie", "theme=light; session=x")]));
        assert!(!serves(&[]));
    }

    #[test]
    fn the_language_that_is_preferred_to_all_others_serves() {
        let german = [("vary", "Accept-Language"), ("content-language", "de")];
        let first = [("accept-language", "en, de")];
        assert!(serves(&first, &german, &[("accept-language", "fr;q=0.5, de;q=1.0")]));
        assert!(serves(&first, &german, &[("accept-language", " eN ,   De")]));
        assert!(!serves(&first, &german, &[("accept-language", "fr, de;q=0.5")]));
        assert!(!serves(&first, &german, &[]));
        assert!(!serves(&first, &[("vary", "Accept-Language")], &[("accept-language", "de")]));
    }

    #[test]
    fn equal_selectors_select_alike() {
        let response = [("vary", "foo")];
        assert_eq!(selector(&[("foo", "1, 2")], &response), selector(&[("foo", "1,2")], &response));
        assert_ne!(selector(&[("foo", "1")], &response), selector(&[("foo", "2")], &response));
    }
}
