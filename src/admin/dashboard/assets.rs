//! The page's scripts and styles, as they lie beside this file; `uplot.js` and `uplot.css` are uPlot 1.6.32 (MIT, `uplot.LICENSE`),
//! the only third-party files that Larder ships.

use std::io::Write as _;
use std::sync::OnceLock;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use xxhash_rust::xxh3::xxh3_64;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Name, type, and what it holds.
const FILES: [(&str, &str, &str); 13] = [
    ("style.css", STYLE, include_str!("style.css")),
    ("app.js", SCRIPT, include_str!("app.js")),
    ("charts.js", SCRIPT, include_str!("charts.js")),
    ("explain.js", SCRIPT, include_str!("explain.js")),
    ("graph.js", SCRIPT, include_str!("graph.js")),
    ("panels.js", SCRIPT, include_str!("panels.js")),
    ("shadow.js", SCRIPT, include_str!("shadow.js")),
    ("standing.js", SCRIPT, include_str!("standing.js")),
    ("stream.js", SCRIPT, include_str!("stream.js")),
    ("words.js", SCRIPT, include_str!("words.js")),
    ("uplot.js", SCRIPT, include_str!("uplot.js")),
    ("uplot.css", STYLE, include_str!("uplot.css")),
    ("uplot.LICENSE", TEXT, include_str!("uplot.LICENSE")),
];

/// A file as it is sent.
struct Packed {
    etag: HeaderValue,
    gzip: Bytes,
}

/// The file of this name, or a 304; `None`: there is none.
pub(super) fn answer(name: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let at = FILES.iter().position(|(known, ..)| *known == name)?;
    let (_, kind, text) = FILES[at];
    let packed = packed(at);
    let mut response = Response::new(Body::empty());
    let fields = response.headers_mut();
    fields.insert(ETAG, packed.etag.clone());
    fields.insert(VARY, HeaderValue::from_static("accept-encoding"));
    // It is asked for each time, and seldom sent: another version of Larder may have answered before.
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if lists(headers, IF_NONE_MATCH.as_str(), packed.etag.to_str().unwrap_or_default()) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Some(response);
    }
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    *response.body_mut() = if lists(headers, ACCEPT_ENCODING.as_str(), "gzip") {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        packed.gzip.clone().into()
    } else {
        text.into()
    };
    Some(response)
}

fn packed(at: usize) -> &'static Packed {
    static PACKED: [OnceLock<Packed>; FILES.len()] = [const { OnceLock::new() }; FILES.len()];
    PACKED[at].get_or_init(|| {
        let text = FILES[at].2.as_bytes();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let gzip = gzip.write_all(text).and_then(|()| gzip.finish());
        let gzip = gzip.expect("a Vec takes any bytes").into();
        let etag = format!("W/\"{:016x}\"", xxh3_64(text));
        Packed { etag: etag.try_into().expect("digits are visible ASCII"), gzip }
    })
}

/// Whether the field `name` lists `word`, without regard to parameters; what is listed as not wanted (`q=0`) is not.
fn lists(headers: &HeaderMap, name: &str, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|member| {
        let (named, parameters) = member.split_once(';').unwrap_or((member, ""));
        let parameters: String = parameters.split_whitespace().collect();
        let is_refused =
            parameters.strip_prefix("q=0").is_some_and(|rest| rest.trim_matches(['.', '0']).is_empty());
        named.trim().eq_ignore_ascii_case(word) && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Most bytes of all files, compressed, with the page; what is promised is 120 KB.
    const MOST: usize = 120_000;

    #[test]
    fn all_files_together_are_small() {
        let files: usize = (0..FILES.len()).map(|at| packed(at).gzip.len()).sum();
        let page = include_str!("page.html").len();
        assert!(files + page < MOST, "{files} bytes, and {page} of the page");
    }

    #[test]
    fn no_file_of_ours_writes_markup_or_asks_elsewhere() {
        for (name, _, text) in FILES.iter().filter(|(name, ..)| !name.starts_with("uplot")) {
            for banned in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "http://",
                "https://",
            ] {
                let text = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!text.contains(banned), "{name} has {banned}");
            }
        }
    }

    #[test]
    fn a_file_is_sent_once_and_confirmed_from_then_on() {
        let headers = |name: &'static str, value: &HeaderValue| {
            HeaderMap::from_iter([(name.parse().unwrap(), value.clone())])
        };
        let plain = answer("style.css", &HeaderMap::new()).unwrap();
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        let gzip =
            answer("style.css", &headers("accept-encoding", &HeaderValue::from_static("br, gzip;q=0.5")))
                .unwrap();
        assert_eq!(gzip.headers()[CONTENT_ENCODING], "gzip");
        let refused =
            answer("style.css", &headers("accept-encoding", &HeaderValue::from_static("gzip;q=0.0")))
                .unwrap();
        assert!(!refused.headers().contains_key(CONTENT_ENCODING));
        let again = answer("style.css", &headers("if-none-match", &plain.headers()[ETAG])).unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert!(answer("../mod.rs", &HeaderMap::new()).is_none());
    }
}
