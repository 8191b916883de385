//! The member that Larder adds to `Cache-Status` (RFC 9211): `larder; hit; ttl=1788`.
//!
//! Invariant: the value is a well-formed structured field; `hit` and `fwd` never stand together (§2.1). It refuses to
//! know how the answer came about.

use http::header::{CACHE_STATUS, HeaderMap, HeaderValue};

/// Why a request went on to the origin (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The cache was told not to handle it.
    Bypass,
    /// The method's meaning demands it.
    Method,
    /// Nothing is stored for this target.
    UriMiss,
    /// Something is stored, but no variant that fits.
    VaryMiss,
    /// Whatever is stored may not be used: this node has no lease.
    Miss,
    /// What is stored would do, but the request asked for more.
    Request,
    /// What is stored is stale.
    Stale,
    /// What is stored is only a part.
    Partial,
}

impl Forward {
    /// Its token in the field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// What Larder did with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// Answered from the store.
    Hit {
        /// Seconds of freshness left; negative when stale.
        ttl: i64,
        /// A short stable token, if there is more to say.
        detail: Option<&'static str>,
    },
    /// Answered by the origin.
    Fwd {
        /// Why.
        why: Forward,
        /// The origin's status, where it is not the answer's (a 304 that validated).
        status: Option<u16>,
        /// The answer was stored, or freshened what is stored.
        stored: bool,
        /// The answer came from another request's fetch.
        collapsed: bool,
        /// A short stable token: [`crate::policy::NoStore::as_str`] and the like.
        detail: Option<&'static str>,
    },
}

impl CacheStatus {
    /// The origin answered, and no more is to be said.
    pub fn forward(why: Forward) -> Self {
        Self::Fwd { why, status: None, stored: false, collapsed: false, detail: None }
    }

    /// The member, ready to append.
    pub fn to_value(self) -> HeaderValue {
        let mut member = String::with_capacity(64);
        member.push_str("larder");
        match self {
            Self::Hit { ttl, detail } => {
                member.push_str("; hit; ttl=");
                member.push_str(itoa::Buffer::new().format(clamped(ttl)));
                push_detail(&mut member, detail);
            }
            Self::Fwd { why, status, stored, collapsed, detail } => {
                member.push_str("; fwd=");
                member.push_str(why.as_str());
                if let Some(status) = status {
                    member.push_str("; fwd-status=");
                    member.push_str(itoa::Buffer::new().format(status));
                }
                if stored {
                    member.push_str("; stored");
                }
                if collapsed {
                    member.push_str("; collapsed");
                }
                push_detail(&mut member, detail);
            }
        }
        HeaderValue::try_from(member).expect("tokens and digits are visible ASCII")
    }

    /// Adds the member behind those of the caches nearer to the origin (RFC 9211 §2).
    pub fn append_to(self, headers: &mut HeaderMap) {
        headers.append(CACHE_STATUS, self.to_value());
    }
}

/// A structured Integer has at most fifteen digits (RFC 9651 §3.3.1).
fn clamped(ttl: i64) -> i64 {
    const LARGEST: i64 = 999_999_999_999_999;
    ttl.clamp(-LARGEST, LARGEST)
}

fn push_detail(member: &mut String, detail: Option<&'static str>) {
    let is_token = |text: &str| {
        let mut bytes = text.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if let Some(detail) = detail.filter(|detail| is_token(detail)) {
        member.push_str("; detail=");
        member.push_str(detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_member_reads_as_documented() {
        let fwd = |why, status, stored, collapsed, detail| {
            CacheStatus::Fwd { why, status, stored, collapsed, detail }.to_value()
        };
        assert_eq!(CacheStatus::Hit { ttl: 1788, detail: None }.to_value(), "larder; hit; ttl=1788");
        assert_eq!(
            CacheStatus::Hit { ttl: -3, detail: Some("stale") }.to_value(),
            "larder; hit; ttl=-3; detail=stale"
        );
        assert_eq!(fwd(Forward::UriMiss, None, true, true, None), "larder; fwd=uri-miss; stored; collapsed");
        let bypass = fwd(Forward::Bypass, None, false, false, Some("set-cookie"));
        assert_eq!(bypass, "larder; fwd=bypass; detail=set-cookie");
        assert_eq!(fwd(Forward::Stale, Some(304), false, false, None), "larder; fwd=stale; fwd-status=304");
        assert_eq!(CacheStatus::forward(Forward::Method).to_value(), "larder; fwd=method");
    }

    #[test]
    fn every_member_is_a_structured_field() {
        for status in [
            CacheStatus::Hit { ttl: i64::MIN, detail: Some("x") },
            CacheStatus::Hit { ttl: i64::MAX, detail: Some("not a token") },
            CacheStatus::forward(Forward::VaryMiss),
        ] {
            let value = status.to_value();
            assert_eq!(
                sfv::Parser::new(value.as_bytes()).parse::<sfv::List>().unwrap().len(),
                1,
                "{value:?}"
            );
        }
    }

    #[test]
    fn the_caches_before_us_stay_before_us() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_STATUS, "origin-cdn; hit".parse().unwrap());
        CacheStatus::forward(Forward::Stale).append_to(&mut headers);
        let lines: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
        assert_eq!(lines, ["origin-cdn; hit", "larder; fwd=stale"]);
    }
}
