//! The `Cookie` field in its pairs, and which of them only measure or remember a consent.
//!
//! Read as browsers write it (RFC 6265 §4.2.1): `;` alone separates, quotes protect nothing. Which cookies are
//! credentials is decided elsewhere.

use http::HeaderMap;
use http::header::COOKIE;

/// One cookie as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair<'h> {
    /// Empty where there was no `=`.
    pub(crate) name: &'h [u8],
    /// Without the whitespace around it.
    pub(crate) value: &'h [u8],
}

/// All cookies of a request, over all its lines, in order.
pub(crate) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = Pair<'_>> {
    let lines = headers.get_all(COOKIE).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).filter_map(|text| {
        let text = text.trim_ascii();
        let (name, value) = match memchr::memchr(b'=', text) {
            Some(at) => (text[..at].trim_ascii_end(), text[at + 1..].trim_ascii_start()),
            None => (&text[..0], text),
        };
        (!text.is_empty()).then_some(Pair { name, value })
    })
}

impl Pair<'_> {
    /// Whether every parser finds this one cookie and no other in it: name and value of RFC 6265 §4.1.1, unquoted.
    pub(crate) fn is_well_formed(&self) -> bool {
        let is_octet = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\');
        !self.name.is_empty() && self.name.iter().chain(self.value).all(is_octet)
    }

    /// The field value that carries these cookies; `None` for no cookies.
    pub(crate) fn join(pairs: &[Pair<'_>]) -> Option<Vec<u8>> {
        let texts = pairs.iter().map(|pair| match pair.name {
            [] => pair.value.to_vec(),
            name => [name, b"=", pair.value].concat(),
        });
        texts.reduce(|line, text| [line.as_slice(), b"; ", &text].concat())
    }
}

/// Whether a cookie of this name belongs to a measuring or consent tool, and to no application.
pub(crate) fn is_analytics(name: &[u8]) -> bool {
    let is_mixpanel = name.starts_with(b"mp_") && name.ends_with(b"_mixpanel");
    ANALYTICS.contains(&name)
        || ANALYTICS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || is_mixpanel
}

/// Google, Meta, Microsoft, HubSpot, LinkedIn, TikTok, Datadog; OneTrust, Cookiebot.
const ANALYTICS: &[&[u8]] = &[
    b"_ga",
    b"_gid",
    b"_gat",
    b"_gaexp",
    b"__gads",
    b"__gpi",
    b"_fbp",
    b"_fbc",
    b"_clck",
    b"_clsk",
    b"_uetsid",
    b"_uetvid",
    b"__hstc",
    b"__hssc",
    b"__hssrc",
    b"hubspotutk",
    b"_ttp",
    b"_tt_enable_cookie",
    b"_scid",
    b"_rdt_uuid",
    b"_mkto_trk",
    b"_dd_s",
    b"OptanonConsent",
    b"OptanonAlertBoxClosed",
    b"CookieConsent",
    b"euconsent-v2",
];

/// Google, Hotjar, Matomo, Segment, Amplitude, Intercom.
const ANALYTICS_PREFIXES: &[&[u8]] = &[
    b"_ga_",
    b"_gat_",
    b"_gac_",
    b"_gcl_",
    b"__utm",
    b"_hj",
    b"_pk_",
    b"ajs_",
    b"amplitude",
    b"AMP_",
    b"intercom-id-",
    b"intercom-device-id-",
];

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(lines: &[&str]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        pairs(&headers).map(|pair| (text(pair.name), text(pair.value))).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn cookies_are_read_over_all_lines() {
        assert_eq!(
            read(&["a=1; b=2;c = 3 ", "d=x=y"]),
            [pair("a", "1"), pair("b", "2"), pair("c", "3"), pair("d", "x=y")]
        );
        assert_eq!(read(&["; ;a", "=b"]), [pair("", "a"), pair("", "b")]);
    }

    #[test]
    fn a_quote_protects_no_separator() {
        assert_eq!(read(&["_ga=\"1; session=2\""]), [pair("_ga", "\"1"), pair("session", "2\"")]);
    }

    #[test]
    fn analytics_names_are_exact_or_have_a_known_prefix() {
        for name in [
            "_ga",
            "_ga_X1",
            "_gat_UA",
            "__utmz",
            "_hjSession_1",
            "_pk_id.1",
            "ajs_user_id",
            "mp_1f_mixpanel",
            "_fbp",
        ] {
            assert!(is_analytics(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "_gax",
            "ga",
            "_GA",
            "session",
            "lang",
            "theme",
            "mp_session",
            "csrftoken",
            "__Host-_ga",
            "intercom-session-a",
        ] {
            assert!(!is_analytics(name.as_bytes()), "{name}");
        }
    }
}
