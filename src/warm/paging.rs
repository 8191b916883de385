//! The page of a list that comes after another: by a counted query parameter, or by the origin's own link.
//!
//! Invariant: pages lie under the authority that was asked, whatever a link says (RFC 8288 §3). It refuses to know what stands
//! on them.

use http::{HeaderMap, Uri, header};

/// How many pages of one list are read at most.
pub const MAX_PAGES: usize = 1_000;

/// Longest path that a link may lead to, in bytes.
const MAX_LENGTH: usize = 8 * 1024;

/// How a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pages {
    /// It does not.
    One,
    /// Where `Link: <…>; rel="next"` leads.
    Link,
    /// Under the same path with this query parameter, counted on from what it is (else from 1).
    Query(String),
}

impl Pages {
    /// The path of the page behind `path`, whose answer has these fields; `None`: there is none, or it lies elsewhere than under
    /// `authority`.
    pub fn next(&self, path: &str, answer: &HeaderMap, authority: &str) -> Option<String> {
        let next = match self {
            Self::One => None,
            Self::Query(name) => counted(path, name),
            Self::Link => linked(path, answer, authority),
        };
        next.filter(|next| next.len() <= MAX_LENGTH && next != path)
    }

    /// What the first page is asked for: with a counted parameter, with that.
    pub fn first(&self, path: &str) -> String {
        match self {
            Self::Query(name) if number(path, name).is_none() => {
                let sign = if path.contains('?') { '&' } else { '?' };
                format!("{path}{sign}{name}=1")
            }
            _ => path.to_owned(),
        }
    }
}

/// The number that a query parameter has in `path`.
fn number(path: &str, name: &str) -> Option<u64> {
    let query = path.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.split_once('=').filter(|(own, _)| *own == name)?.1.parse().ok())
}

fn counted(path: &str, name: &str) -> Option<String> {
    let next = number(path, name)?.checked_add(1)?;
    let (path, query) = path.split_once('?')?;
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((own, _)) if own == name => format!("{name}={next}"),
        _ => pair.to_owned(),
    });
    Some(format!("{path}?{}", pairs.collect::<Vec<_>>().join("&")))
}

fn linked(path: &str, answer: &HeaderMap, authority: &str) -> Option<String> {
    let lines = answer.get_all(header::LINK).iter().filter_map(|line| line.to_str().ok());
    let target = lines.flat_map(links).find(|link| link.is_next)?.target;
    resolved(path, &target, authority)
}

struct Link {
    target: String,
    is_next: bool,
}

/// The links of one field line (RFC 8288 §3), as far as they can be read.
fn links(line: &str) -> Vec<Link> {
    let (mut links, mut rest) = (Vec::new(), line);
    while let Some((target, behind)) = rest.split_once('<').and_then(|(_, inner)| inner.split_once('>')) {
        let end = unquoted(behind, b',').unwrap_or(behind.len());
        links.push(Link { target: target.trim().to_owned(), is_next: is_next(&behind[..end]) });
        rest = &behind[end..];
    }
    links
}

/// Whether `; rel="…"` among these parameters says so.
fn is_next(mut parameters: &str) -> bool {
    while let Some(begin) = unquoted(parameters, b';') {
        parameters = &parameters[begin + 1..];
        let own = &parameters[..unquoted(parameters, b';').unwrap_or(parameters.len())];
        if let Some((name, value)) = own.split_once('=')
            && name.trim().eq_ignore_ascii_case("rel")
        {
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            return relations.any(|relation| relation.eq_ignore_ascii_case("next"));
        }
    }
    false
}

/// Where `sign` first stands outside quotes.
fn unquoted(text: &str, sign: u8) -> Option<usize> {
    let mut is_quoted = false;
    text.bytes().position(|byte| {
        is_quoted ^= byte == b'"';
        byte == sign && !is_quoted
    })
}

/// A reference as seen from `path` (RFC 3986 §5.2), if it leads to the same authority.
fn resolved(path: &str, target: &str, authority: &str) -> Option<String> {
    let bare = path.split('?').next().unwrap_or_default();
    let target = target.split('#').next().unwrap_or_default();
    if target.starts_with('?') {
        return Some(format!("{bare}{target}"));
    }
    if target.starts_with('/') && !target.starts_with("//") {
        return Some(target.to_owned());
    }
    let uri: Uri = target.parse().ok()?;
    let same = uri.authority()?.as_str().eq_ignore_ascii_case(authority);
    (same && matches!(uri.scheme_str(), Some("http" | "https")))
        .then(|| uri.path_and_query().map(ToString::to_string))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(link: &str) -> Option<String> {
        let mut answer = HeaderMap::new();
        answer.insert(header::LINK, link.parse().unwrap());
        Pages::Link.next("/api/list?page=1", &answer, "api.test")
    }

    #[test]
    fn a_counted_parameter_goes_up_by_one() {
        let pages = Pages::Query("page".into());
        assert_eq!(pages.first("/list"), "/list?page=1");
        assert_eq!(pages.first("/list?q=x"), "/list?q=x&page=1");
        assert_eq!(pages.first("/list?page=0&q=x"), "/list?page=0&q=x");
        let none = HeaderMap::new();
        assert_eq!(pages.next("/list?page=9&q=x", &none, "").as_deref(), Some("/list?page=10&q=x"));
        assert_eq!(pages.next("/list?pages=9", &none, ""), None);
        assert_eq!(Pages::One.next("/list?page=1", &none, ""), None);
    }

    #[test]
    fn a_link_is_followed_where_it_stays_under_the_same_authority() {
        for (link, path) in [
            ("</api/list?page=2>; rel=\"next\"", "/api/list?page=2"),
            ("</first>; rel=prev, </api/list?page=2>; rel=next", "/api/list?page=2"),
            ("<?page=2>; title=\"a, b\"; REL=\"last Next\"", "/api/list?page=2"),
            ("<http://API.test/api/list?page=2#x>; rel=next", "/api/list?page=2"),
        ] {
            assert_eq!(next(link).as_deref(), Some(path), "{link}");
        }
        for link in [
            "<http://evil.test/api/list?page=2>; rel=next",
            "<//evil.test/x>; rel=next",
            "<ftp://api.test/x>; rel=next",
            "</api/list?page=2>; rel=prev",
            "</api/list?page=1>; rel=next",
            "</x>; title=\"; rel=next\"",
            "no link at all",
            "<",
        ] {
            assert_eq!(next(link), None, "{link}");
        }
    }
}
