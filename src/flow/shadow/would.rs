//! What an answer of the origin's says of the one that is kept, by their heads: pure.
//!
//! Invariant: where the heads do not tell, nothing is claimed. It refuses to know bodies.

use http::header::{CONTENT_ENCODING, ETAG, HeaderMap, LAST_MODIFIED};
use http::{Method, StatusCode};

use crate::metrics::Compared;
use crate::policy::validate::{self, Etag, Proof, valid_etag};

/// How an answer to `method` compares with what is kept, a status and the fields as the origin sent them; `None`: by its body.
pub(crate) fn by_heads(
    method: &Method,
    kept: (StatusCode, &HeaderMap),
    said: (StatusCode, &HeaderMap),
) -> Option<Compared> {
    let (status, fields) = said;
    match status {
        StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT => Some(by_tags(kept.1, fields)),
        _ if tells_nothing(status) => Some(Compared::Unchecked),
        _ if status != kept.0 => Some(Compared::Stale),
        _ if *method == Method::HEAD => Some(by_tags(kept.1, fields)),
        _ => None,
    }
}

/// Whether the origin, asked for what has changed since `kept`, would have said that nothing has, as far as its whole answer shows.
pub(crate) fn would_be_confirmed(kept: &HeaderMap, said: &HeaderMap, proof: Proof) -> bool {
    if !validate::proves(kept, said, proof) {
        return false;
    }
    match (valid_etag(kept), valid_etag(said)) {
        (Some(kept), said) => said.is_some_and(|said| kept.weakly_equals(&said)),
        (None, _) => kept.contains_key(LAST_MODIFIED) && kept.get(LAST_MODIFIED) == said.get(LAST_MODIFIED),
    }
}

/// Statuses that speak of the request or of the origin, and not of what was asked for.
fn tells_nothing(status: StatusCode) -> bool {
    let of_the_request =
        matches!(status.as_u16(), 400 | 405..=408 | 411..=414 | 416 | 417 | 425 | 428 | 429 | 431);
    status.is_server_error() || of_the_request
}

fn by_tags(kept: &HeaderMap, said: &HeaderMap) -> Compared {
    // A tag is of one coding.
    let is_coded_alike = kept.get(CONTENT_ENCODING) == said.get(CONTENT_ENCODING);
    let tags: Option<(Etag<'_>, Etag<'_>)> = valid_etag(kept).zip(valid_etag(said));
    match tags {
        Some((kept, said)) if kept.weakly_equals(&said) => Compared::Same,
        Some(_) if is_coded_alike || said.len() == 1 && said.contains_key(ETAG) => Compared::Stale,
        _ => Compared::Unchecked,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn compared(
        method: Method,
        kept: &[(&'static str, &'static str)],
        status: u16,
        said: &[(&'static str, &'static str)],
    ) -> Option<Compared> {
        let status = StatusCode::from_u16(status).unwrap();
        by_heads(&method, (StatusCode::OK, &fields(kept)), (status, &fields(said)))
    }

    #[test]
    fn a_whole_answer_is_compared_by_its_body() {
        assert_eq!(compared(Method::GET, &[("etag", "\"a\"")], 200, &[("etag", "\"b\"")]), None);
    }

    #[test]
    fn what_is_not_there_any_more_is_stale_and_an_origin_that_fails_says_nothing() {
        for status in [404, 410, 403, 301] {
            assert_eq!(compared(Method::GET, &[], status, &[]), Some(Compared::Stale), "{status}");
        }
        for status in [500, 503, 429, 408, 416] {
            assert_eq!(compared(Method::GET, &[], status, &[]), Some(Compared::Unchecked), "{status}");
        }
    }

    #[test]
    fn what_has_no_body_is_compared_by_entity_tags_that_are_some() {
        let (kept, weak) = ([("etag", "\"a\"")], [("etag", "W/\"a\"")]);
        for (method, status) in [(Method::GET, 304), (Method::GET, 206), (Method::HEAD, 200)] {
            let by = |said| compared(method.clone(), &kept, status, said);
            assert_eq!(by(&kept), Some(Compared::Same));
            assert_eq!(by(&weak), Some(Compared::Same));
            assert_eq!(by(&[("etag", "\"b\"")]), Some(Compared::Stale));
            assert_eq!(by(&[("etag", "W/1851")]), Some(Compared::Unchecked), "it is none");
            assert_eq!(by(&[]), Some(Compared::Unchecked));
            let coded = [("etag", "\"a-gzip\""), ("content-encoding", "gzip")];
            assert_eq!(by(&coded), Some(Compared::Unchecked), "a tag is of one coding");
        }
    }

    #[test]
    fn a_whole_answer_shows_whether_a_condition_would_have_been_met() {
        let would = |kept: &[(&'static str, &'static str)], said: &[(&'static str, &'static str)], proof| {
            would_be_confirmed(&fields(kept), &fields(said), proof)
        };
        let (tag, date) = ([("etag", "\"a\"")], [("last-modified", "Tue, 01 Jul 2025 00:00:00 GMT")]);
        assert!(would(&tag, &tag, Proof::Any) && would(&tag, &tag, Proof::Strong));
        assert!(would(&tag, &[("etag", "W/\"a\"")], Proof::Any));
        assert!(!would(&tag, &[("etag", "W/\"a\"")], Proof::Strong));
        assert!(!would(&tag, &[("etag", "\"b\"")], Proof::Any));
        assert!(would(&date, &date, Proof::Any) && !would(&date, &date, Proof::Strong));
        assert!(!would(&[], &[], Proof::Any), "nothing to ask with");
    }
}
