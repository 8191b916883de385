//! Which fields of a request are credentials, and the keyed digest that stands for them.
//!
//! Whatever may tell one person's answer from another's counts, unless it is known not to: a credential too many
//! costs a hit, one too few shows a stranger's page. It refuses to know what a credential means: only whether
//! two requests carry the same ones. Credentials are read from the request as it came, before `Connection` may
//! strike a field out.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use hmac::{Hmac, Mac};
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use smallvec::SmallVec;

use crate::policy::Scope;
use crate::route::cookie::{self, Pair};
use crate::route::share::{Bypass, Share};
use crate::route::user;

/// `identity:` of the configuration.
#[derive(Clone, Default)]
pub struct Settings {
    /// `identity.credentials`: replaces the built-in list; `None`: the built-in list.
    pub credentials: Option<Vec<Credential>>,
    /// `identity.secret`: keys the digest; `None`: a random one for this process.
    pub secret: Option<Vec<u8>>,
    /// `identity.user`: where the user's id stands, first match.
    pub user: Vec<UserSource>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("credentials", &self.credentials)
            .field("secret", &self.secret.as_ref().map(|_| "(redacted)"))
            .field("user", &self.user)
            .finish()
    }
}

/// One place in a request that may hold a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A request field, by name.
    Header(http::HeaderName),
    /// A cookie, by exact name.
    Cookie(String),
}

/// One place where the id of a user may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserSource {
    /// A claim of the (unverified) bearer JWT.
    Jwt(String),
    /// A request field.
    Header(http::HeaderName),
    /// A cookie.
    Cookie(String),
}

/// `identity:`, ready for requests.
#[derive(Clone)]
pub struct Identity {
    list: List,
    /// Keyed and fed with nothing yet.
    mac: Hmac<Sha256>,
    user: Vec<UserSource>,
}

/// What counts as a credential.
#[derive(Clone, Debug)]
enum List {
    /// The fields of [`is_credential_field`] and every cookie but well-formed analytics ones.
    BuiltIn,
    /// These and no others.
    Named { headers: Vec<HeaderName>, cookies: Vec<String> },
}

/// Stands for all credentials of one request: 128 bits of HMAC-SHA256 under `identity.secret`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest([u8; 16]);

impl Digest {
    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for Digest {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 32 unpredictable bytes (at least 128 bits of the system's entropy) for [`Identity::new`]; drawn once a process.
pub fn random_secret() -> [u8; 32] {
    let mut secret = [0; 32];
    for part in secret.chunks_exact_mut(8) {
        part.copy_from_slice(&RandomState::new().hash_one(()).to_ne_bytes());
    }
    secret
}

impl Identity {
    /// `fallback` keys the digest where no `identity.secret` is configured. The same one has to be given for the
    /// life of the process, or a reload would orphan every entry that belongs to a credential.
    pub fn new(settings: &Settings, fallback: &[u8]) -> Self {
        let secret = settings.secret.as_deref().unwrap_or(fallback);
        let list = settings.credentials.as_ref().map_or(List::BuiltIn, |named| {
            let (mut headers, mut cookies) = (Vec::new(), Vec::new());
            for credential in named {
                match credential {
                    Credential::Header(name) => headers.push(name.clone()),
                    Credential::Cookie(name) => cookies.push(name.clone()),
                }
            }
            List::Named { headers, cookies }
        });
        let mac = Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
        Self { list, mac, user: settings.user.clone() }
    }

    /// Whose entries a request may use. `demoted`: the route is `public`, but a fill without credentials was
    /// refused by the origin. Public routes are not searched for credentials.
    pub fn share(&self, scope: Scope, demoted: bool, headers: &HeaderMap) -> Share {
        match scope {
            Scope::Origin => Share::Shared,
            Scope::Public if !demoted => Share::Shared,
            Scope::Public | Scope::Auto => self.digest(headers).map_or(Share::Shared, Share::Credential),
            Scope::User => {
                self.digest(headers).map_or(Share::Bypass(Bypass::NoCredential), Share::Credential)
            }
        }
    }

    /// The digest of all credentials of a request; `None` without any. The order of fields and cookies does not
    /// count, that of repeated ones does.
    pub fn digest(&self, headers: &HeaderMap) -> Option<Digest> {
        self.digest_of(headers, |name| self.is_credential(name))
    }

    /// The same for whoever writes, as he shows himself when he reads: without what only writes carry. A list of one's own
    /// counts as it is.
    pub fn digest_of_writer(&self, headers: &HeaderMap) -> Option<Digest> {
        let is_his =
            |name: &HeaderName| matches!(self.list, List::Named { .. }) || !is_of_a_write(name.as_str());
        self.digest_of(headers, |name| self.is_credential(name) && is_his(name))
    }

    /// Equal for two processes whose digests of the same request are equal: same secret, same credentials. It tells nothing
    /// of the secret.
    pub fn fingerprint(&self) -> u64 {
        let mut mac = self.mac.clone();
        mac.update(format!("fingerprint {:?}", self.list).as_bytes());
        let digest = mac.finalize().into_bytes();
        digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    fn digest_of(&self, headers: &HeaderMap, counts: impl Fn(&HeaderName) -> bool) -> Option<Digest> {
        let mut fields: SmallVec<[&HeaderName; 4]> = headers.keys().filter(|name| counts(name)).collect();
        let mut cookies = self.credential_cookies(headers);
        if fields.is_empty() && cookies.is_empty() {
            return None;
        }
        fields.sort_unstable_by_key(|name| name.as_str());
        cookies.sort_by_key(|pair| pair.name);
        let mut mac = self.mac.clone();
        let mut feed = |bytes: &[u8]| {
            mac.update(&(bytes.len() as u64).to_le_bytes());
            mac.update(bytes);
        };
        for name in fields {
            for value in headers.get_all(name) {
                feed(name.as_str().as_bytes());
                feed(value.as_bytes());
            }
        }
        // No field name is empty: what follows are cookies.
        feed(b"");
        for Pair { name, value } in cookies {
            feed(name);
            feed(value);
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        Some(Digest(digest))
    }

    /// Whether a request carries any credential.
    pub fn has_credentials(&self, headers: &HeaderMap) -> bool {
        headers.keys().any(|name| self.is_credential(name)) || !self.credential_cookies(headers).is_empty()
    }

    /// The first field that carries a credential, if one does.
    pub fn credential_field<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderName> {
        let cookies = !self.credential_cookies(headers).is_empty();
        headers.keys().find(|name| self.is_credential(name) || (cookies && **name == COOKIE))
    }

    /// The names of all that is a credential in a request: fields, and cookies as `cookie:session`.
    pub fn credential_names(&self, headers: &HeaderMap) -> Vec<String> {
        let fields = headers.keys().filter(|name| self.is_credential(name)).map(ToString::to_string);
        let cookies = self.credential_cookies(headers);
        // In a malformed one, a value may stand where the name belongs.
        let cookies = cookies.iter().map(|pair| match std::str::from_utf8(pair.name) {
            Ok(name) if pair.is_well_formed() => format!("cookie:{name}"),
            _ => "cookie".to_owned(),
        });
        let mut names: Vec<String> = fields.chain(cookies).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether a field other than `Cookie` is a credential as a whole.
    pub fn is_credential(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        // WSGI and CGI cannot tell `X_Api_Key` from `X-Api-Key`.
        if text.contains('_') { self.lists(&text.replace('_', "-")) } else { self.lists(text) }
    }

    fn lists(&self, name: &str) -> bool {
        match &self.list {
            List::BuiltIn => is_credential_field(name),
            List::Named { headers, .. } => headers.iter().any(|listed| listed == name),
        }
    }

    /// Whether a cookie of this name is a credential.
    pub fn is_credential_cookie(&self, name: &str) -> bool {
        match &self.list {
            List::BuiltIn => !cookie::is_analytics(name.as_bytes()),
            List::Named { cookies, .. } => cookies.iter().any(|named| named == name),
        }
    }

    /// The credential cookies of a request in the order they came; under the built-in list malformed ones too,
    /// since another parser may find a session in them.
    pub(crate) fn credential_cookies<'h>(&self, headers: &'h HeaderMap) -> SmallVec<[Pair<'h>; 4]> {
        match &self.list {
            List::BuiltIn => {
                let harmless = |pair: &Pair<'_>| cookie::is_analytics(pair.name) && pair.is_well_formed();
                cookie::pairs(headers).filter(|pair| !harmless(pair)).collect()
            }
            List::Named { cookies, .. } if cookies.is_empty() => SmallVec::new(),
            List::Named { cookies, .. } => cookie::pairs(headers)
                .filter(|pair| cookies.iter().any(|named| named.as_bytes() == pair.name))
                .collect(),
        }
    }

    /// Removes from a fill that all will share what only some of them sent: every credential, and with the
    /// analytics cookies the whole `Cookie` field. Fields of `keyed` stay, since only their like share the entry.
    pub fn strip_for_shared_fill(&self, headers: &mut HeaderMap, keyed: &[HeaderName]) {
        retain(headers, |name| keyed.contains(name) || !(*name == COOKIE || self.is_credential(name)));
    }

    /// `strict: true`: leaves only standard request fields ([`STANDARD`]), those of `keyed`, and credentials, of
    /// cookies the credential ones. Hop-by-hop and forwarding fields are set by whoever sends the request.
    pub fn strict_fields(&self, headers: &mut HeaderMap, keyed: &[HeaderName]) {
        let stays = |name: &HeaderName| {
            keyed.contains(name) || STANDARD.contains(&name.as_str()) || self.is_credential(name)
        };
        let cookies = Pair::join(&self.credential_cookies(headers));
        retain(headers, |name| stays(name) || *name == COOKIE);
        if stays(&COOKIE) {
            return;
        }
        headers.remove(COOKIE);
        if let Some(cookies) = cookies.and_then(|line| HeaderValue::from_bytes(&line).ok()) {
            headers.insert(COOKIE, cookies);
        }
    }

    /// The id of the user by the first of `identity.user` that the request has, at most
    /// [`user::MAX_LENGTH`] bytes. Nobody vouches for it: it tags, and never keys.
    pub fn user(&self, headers: &HeaderMap) -> Option<String> {
        user::find(&self.user, headers)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("list", &self.list).field("user", &self.user).finish_non_exhaustive()
    }
}

/// What `strict: true` lets through besides keyed fields and credentials: the request fields of RFC 9110 that
/// negotiate, condition or describe content, and `Origin`. `User-Agent`, `Referer` and `Cookie` are not among them.
pub const STANDARD: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "range",
];

fn retain(headers: &mut HeaderMap, stays: impl Fn(&HeaderName) -> bool) {
    let leaving: SmallVec<[HeaderName; 8]> = headers.keys().filter(|name| !stays(name)).cloned().collect();
    for name in leaving {
        headers.remove(name);
    }
}

/// The built-in list but for cookies. `name` is in lower case.
fn is_credential_field(name: &str) -> bool {
    match name.strip_prefix("x-") {
        Some(rest) => {
            (0..rest.len()).any(|at| begins_with_a_word(&rest.as_bytes()[at..])) || identifies(rest)
        }
        None => is_named(name),
    }
}

/// One of the words that make an `X-` field a credential.
fn begins_with_a_word(text: &[u8]) -> bool {
    let words: &[&[u8]] = match text.first() {
        Some(b'a') => &[b"auth", b"account"],
        Some(b'k') => &[b"key"],
        Some(b'o') => &[b"org"],
        Some(b's') => &[b"session"],
        Some(b't') => &[b"token", b"tenant"],
        Some(b'u') => &[b"user"],
        _ => &[],
    };
    words.iter().any(|word| text.starts_with(word))
}

/// Fields of the built-in list that say nothing of who writes: tokens against forged requests, and keys against repeated ones.
fn is_of_a_write(name: &str) -> bool {
    ["csrf", "xsrf", "idempotency"].iter().any(|word| name.contains(word))
}

/// Credentials by their full name: the standard ones, and what well-known gateways call a verified caller.
fn is_named(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "proxy-authorization"
            | "api-key"
            | "apikey"
            | "cf-access-jwt-assertion"
            | "private-token"
            | "remote-user"
            | "ssl-client-cert"
            | "ssl-client-s-dn"
            | "tailscale-user-login"
    )
}

/// `X-` fields of well-known gateways that identify a caller without saying so in a word of the list.
fn identifies(rest: &str) -> bool {
    matches!(
        rest,
        "amzn-oidc-data"
            | "amzn-oidc-identity"
            | "client-cert"
            | "email"
            | "forwarded-client-cert"
            | "forwarded-email"
            | "forwarded-groups"
            | "goog-iap-jwt-assertion"
            | "ms-client-principal"
            | "ms-client-principal-id"
            | "ms-client-principal-name"
            | "ssl-client-cert"
            | "ssl-client-s-dn"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn built_in() -> Identity {
        Identity::new(&Settings::default(), b"secret")
    }

    fn named(list: Vec<Credential>) -> Identity {
        Identity::new(&Settings { credentials: Some(list), ..Settings::default() }, b"secret")
    }

    fn digest(lines: &[(&str, &str)]) -> Option<Digest> {
        built_in().digest(&headers(lines))
    }

    #[test]
    fn a_writer_is_known_again_by_what_he_reads_with() {
        let session = ("cookie", "session=1");
        for name in ["x-csrf-token", "x-csrftoken", "x-xsrf-token", "x-idempotency-key", "x_csrf_token"] {
            let written = headers(&[session, (name, "t")]);
            assert_eq!(built_in().digest_of_writer(&written), digest(&[session]), "{name}");
            assert_ne!(built_in().digest(&written), digest(&[session]), "{name}: it keys a read that has it");
            assert_eq!(built_in().digest_of_writer(&headers(&[(name, "t")])), None, "{name}");
        }
        let key = headers(&[session, ("x-api-key", "k")]);
        assert_eq!(built_in().digest_of_writer(&key), built_in().digest(&key));
        let own = named(vec![Credential::Header(HeaderName::from_static("x-csrf-token"))]);
        let listed = headers(&[("x-csrf-token", "t")]);
        assert!(own.digest_of_writer(&listed).is_some(), "whoever lists it means it");
    }

    #[test]
    fn what_may_identify_is_a_credential() {
        for name in [
            "Authorization",
            "Proxy-Authorization",
            "X-Api-Key",
            "X-Auth-Token",
            "X-Forwarded-User",
            "X-Tenant-Id",
            "X-Org",
            "X-Account",
            "X-Session-Id",
            "X-User",
            "X-CSRF-Token",
            "X-Forwarded-Email",
            "X-Amzn-Oidc-Data",
            "Remote-User",
            "X-MyAuth",
            "Api-Key",
        ] {
            assert!(digest(&[(name, "a")]).is_some(), "{name}");
            assert_ne!(digest(&[(name, "a")]), digest(&[(name, "b")]), "{name}");
            assert!(built_in().has_credentials(&headers(&[(name, "a")])), "{name}");
        }
    }

    #[test]
    fn a_credential_in_disguise_is_one() {
        for name in ["X_Api_Key", "X_Tenant-Id", "Remote_User", "X_Forwarded_Email", "Api_Key"] {
            assert!(digest(&[(name, "a")]).is_some(), "{name}");
        }
        let listed = named(vec![Credential::Header(HeaderName::from_static("x-only"))]);
        assert!(listed.has_credentials(&headers(&[("X_Only", "a")])));
        assert!(!listed.has_credentials(&headers(&[("X_Api_Key", "a")])));
    }

    #[test]
    fn what_identifies_nobody_is_not() {
        let plain = [
            ("Host", "a"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "gzip"),
            ("User-Agent", "x"),
            ("Referer", "/"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("X-Forwarded-Host", "a"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Port", "80"),
            ("X-Forwarded-Prefix", "/"),
            ("X-Real-Ip", "1.2.3.4"),
            ("X-Request-Id", "1"),
            ("X-Requested-With", "fetch"),
            ("Traceparent", "00"),
            ("Sec-WebSocket-Key", "k"),
            ("If-None-Match", "\"a\""),
            ("Cookie", "_ga=GA1.1.1; _gid=2; _ga_ABC=3; OptanonConsent=a%20b"),
        ];
        assert_eq!(digest(&plain), None);
        assert!(!built_in().has_credentials(&headers(&plain)));
    }

    #[test]
    fn every_cookie_but_analytics_is_a_credential() {
        for line in
            ["session=1", "theme=dark", "lang=en", "_GA=1", "_gax=1", "_ga=1; session=1", "session", "=x"]
        {
            assert!(digest(&[("cookie", line)]).is_some(), "{line}");
        }
        assert_eq!(digest(&[("cookie", "session=1")]), digest(&[("cookie", "_ga=7; session=1")]));
    }

    #[test]
    fn a_malformed_analytics_cookie_counts_as_a_credential() {
        for line in ["_ga=1 session=2", "_ga=\"1; _gid=2\"", "_ga=1,session=2", "_ga=a\\b", "_ga", "_ga =1 2"]
        {
            assert!(digest(&[("cookie", line)]).is_some(), "{line}");
        }
    }

    #[test]
    fn order_counts_only_among_equals() {
        let one = [("x-api-key", "k"), ("authorization", "a"), ("cookie", "a=1; b=2")];
        let other = [("cookie", "b=2"), ("authorization", "a"), ("cookie", "a=1"), ("x-api-key", "k")];
        assert_eq!(digest(&one), digest(&other));
        assert_ne!(digest(&[("cookie", "a=1; a=2")]), digest(&[("cookie", "a=2; a=1")]));
        assert_ne!(digest(&[("x-user", "1"), ("x-user", "2")]), digest(&[("x-user", "2"), ("x-user", "1")]));
        assert_ne!(digest(&[("x-user", "1"), ("x-user", "2")]), digest(&[("x-user", "1, 2")]));
    }

    #[test]
    fn the_secret_keys_the_digest() {
        let lines = headers(&[("authorization", "a")]);
        let other = Identity::new(&Settings::default(), b"other");
        assert_ne!(built_in().digest(&lines), other.digest(&lines));
        let configured = Settings { secret: Some(b"secret".to_vec()), ..Settings::default() };
        assert_eq!(Identity::new(&configured, b"other").digest(&lines), built_in().digest(&lines));
        assert!(!format!("{configured:?}").contains("115"), "a secret is not printed");
        assert_ne!(random_secret(), random_secret());
    }

    #[test]
    fn a_configured_list_replaces_the_built_in_one() {
        let identity = named(vec![
            Credential::Header(HeaderName::from_static("authorization")),
            Credential::Cookie("session".into()),
        ]);
        for lines in [[("authorization", "a")], [("cookie", "theme=dark; session=1")]] {
            assert!(identity.digest(&headers(&lines)).is_some(), "{lines:?}");
        }
        for lines in [[("x-api-key", "a")], [("cookie", "theme=dark")], [("cookie", "prefs={\"a\": 1}")]] {
            assert_eq!(identity.digest(&headers(&lines)), None, "{lines:?}");
        }
        assert!(identity.is_credential_cookie("session") && !identity.is_credential_cookie("theme"));
    }

    #[test]
    fn a_scope_decides_who_shares() {
        let identity = built_in();
        let (nobody, someone) = (headers(&[]), headers(&[("authorization", "a")]));
        let own = Share::Credential(identity.digest(&someone).unwrap());
        for (scope, demoted, without, with) in [
            (Scope::Auto, false, Share::Shared, own),
            (Scope::User, false, Share::Bypass(Bypass::NoCredential), own),
            (Scope::Public, false, Share::Shared, Share::Shared),
            (Scope::Public, true, Share::Shared, own),
        ] {
            assert_eq!(identity.share(scope, demoted, &nobody), without, "{scope:?} {demoted}");
            assert_eq!(identity.share(scope, demoted, &someone), with, "{scope:?} {demoted}");
        }
    }

    #[test]
    fn a_shared_fill_carries_no_credential_but_a_keyed_one() {
        let mut fill = headers(&[
            ("authorization", "a"),
            ("x-api-key", "k"),
            ("x-tenant-id", "t"),
            ("cookie", "_ga=1; session=2"),
            ("accept", "*/*"),
        ]);
        built_in().strip_for_shared_fill(&mut fill, &[HeaderName::from_static("x-tenant-id")]);
        assert_eq!(fill, headers(&[("x-tenant-id", "t"), ("accept", "*/*")]));
        assert!(digest(&[("x-tenant-id", "t")]).is_some());
    }

    #[test]
    fn strict_sends_only_keyed_and_standard_fields_and_credentials() {
        let mut fill = headers(&[
            ("authorization", "a"),
            ("cookie", "_ga=1; session=2"),
            ("cookie", "b=3"),
            ("accept-language", "de"),
            ("user-agent", "x"),
            ("x-feature", "1"),
            ("x-theme", "dark"),
            ("origin", "https://a"),
        ]);
        built_in().strict_fields(&mut fill, &[HeaderName::from_static("x-theme")]);
        let left = headers(&[
            ("authorization", "a"),
            ("cookie", "session=2; b=3"),
            ("accept-language", "de"),
            ("x-theme", "dark"),
            ("origin", "https://a"),
        ]);
        assert_eq!(fill, left);
        let mut analytics = headers(&[("cookie", "_ga=1")]);
        built_in().strict_fields(&mut analytics, &[]);
        assert!(analytics.is_empty());
    }

    proptest! {
        #[test]
        fn equal_digests_mean_equal_credentials(
            a in prop::collection::btree_map("(x-user|x-key|authorization)", "[ab,;= ]{0,3}", 0..3),
            b in prop::collection::btree_map("(x-user|x-key|authorization)", "[ab,;= ]{0,3}", 0..3),
            cookie_a in "[ab]=[ab]{0,2}(; [ab]=[ab]{0,2}){0,2}",
            cookie_b in "[ab]=[ab]{0,2}(; [ab]=[ab]{0,2}){0,2}",
        ) {
            let request = |fields: &std::collections::BTreeMap<String, String>, cookie: &str| {
                let mut lines: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                lines.push(("cookie", cookie));
                headers(&lines)
            };
            let sorted = |cookie: &str| {
                let mut pairs: Vec<String> = cookie.split("; ").map(str::to_owned).collect();
                pairs.sort_by_key(|pair| pair.as_bytes()[0]);
                pairs
            };
            let same = a == b && sorted(&cookie_a) == sorted(&cookie_b);
            prop_assert_eq!(built_in().digest(&request(&a, &cookie_a)) == built_in().digest(&request(&b, &cookie_b)), same);
        }
    }
}
