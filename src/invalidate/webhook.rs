//! Whether a webhook is what it says: signed by who knows a secret, and now. What it says then. Pure.
//!
//! Invariant: nothing of a message is believed before a signature over it was found right; signatures and tokens are compared
//! in constant time. It refuses to know what was seen before.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, Mac};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use sha2::Sha256;
use thiserror::Error;

use crate::invalidate::event::{self, BadEvent, Event, MAX_NAME, Names};

/// How far a signed time may be from ours, either way.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Largest message of GitHub's, in bytes.
pub const MAX_PAYLOAD: usize = 1024 * 1024;

/// Most signatures of one message that are looked at.
pub const MAX_SIGNATURES: usize = 16;

/// One of `webhooks:`.
#[derive(Clone)]
pub struct Settings {
    /// The path under which it is received.
    pub path: String,
    /// How it is signed.
    pub scheme: Scheme,
    /// Any of these signs it; at least one.
    pub secrets: Vec<String>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("path", &self.path)
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

/// How a webhook is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Standard Webhooks: HMAC-SHA256 over id.timestamp.body.
    Standard,
    /// GitHub: HMAC-SHA256 over the body.
    Github,
    /// Stripe: HMAC-SHA256 over timestamp.body.
    Stripe,
    /// A CloudEvent with a bearer token.
    Cloudevents,
    /// A bearer token.
    Bearer,
}

/// What can be said of a secret before anything is signed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Nothing.
    Fit,
    /// Nobody can sign with it: there is no key behind `whsec_`.
    NoKey,
    /// What stands behind `whsec_` is no base64: the text itself is taken for the key.
    NoBase64,
    /// Nobody can send it: a field's value has no space around it.
    Spaced,
    /// Nobody can send it: it holds what no field's value can.
    NoField,
}

/// A message from whom it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What its fields call it; `None`: its body may.
    pub id: Option<String>,
    /// When (Unix time, seconds) it was signed; `None`: the signature holds for ever.
    pub at: Option<u64>,
}

/// Why a message is not from whom it says, or not now. Told to whoever sent it, so it names no more than the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// Fields of the scheme are missing.
    #[error("the message is not signed: fields of the scheme are missing, empty or there twice")]
    Unsigned,
    /// Fields of the scheme cannot be read.
    #[error("the fields of the signature cannot be read")]
    Unreadable,
    /// No secret makes this signature.
    #[error("the signature does not match the message under any secret")]
    Forged,
    /// Signed longer ago than [`TOLERANCE`].
    #[error("the message was signed more than five minutes ago")]
    Late,
    /// Signed later than [`TOLERANCE`] from now.
    #[error("the message was signed more than five minutes ahead of this clock")]
    Early,
    /// Whether it was taken before is not remembered any more.
    #[error("the message is older than what is remembered: sign it anew")]
    Forgotten,
}

impl Refused {
    /// The reason as metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Unreadable => "unreadable",
            Self::Forged => "forged",
            Self::Late => "late",
            Self::Early => "early",
            Self::Forgotten => "forgotten",
        }
    }
}

impl Scheme {
    /// Most bytes of a message. GitHub lists all commits of a push in one message, up to 25 MB of them, and sends none
    /// twice: one of a thousand commits has to pass.
    pub fn max_body(self) -> usize {
        match self {
            Self::Github => MAX_PAYLOAD,
            Self::Standard | Self::Stripe | Self::Cloudevents | Self::Bearer => event::MAX_BODY,
        }
    }

    /// What is wrong with a secret.
    pub fn judge(self, secret: &str) -> Judged {
        let encoded = secret.strip_prefix(WHSEC).filter(|_| self == Self::Standard);
        let is_token = matches!(self, Self::Cloudevents | Self::Bearer);
        match encoded.map(|encoded| BASE64.decode(encoded)) {
            Some(Ok(key)) if key.is_empty() => Judged::NoKey,
            Some(Err(_)) => Judged::NoBase64,
            _ if is_token && secret.trim_ascii() != secret => Judged::Spaced,
            _ if is_token && HeaderValue::from_bytes(secret.as_bytes()).is_err() => Judged::NoField,
            _ => Judged::Fit,
        }
    }

    /// Whether what a message is known by is signed with it. If not, whoever sees a message could send its body under the
    /// id of another, so that the other one would count as seen.
    pub fn signs_id(self) -> bool {
        matches!(self, Self::Standard | Self::Stripe)
    }
}

/// Checks a message against its webhook. `wall` is the present time.
///
/// # Errors
/// [`Refused`]: it is not to be believed.
pub fn verify(
    settings: &Settings,
    headers: &HeaderMap,
    body: &[u8],
    wall: SystemTime,
) -> Result<Signed, Refused> {
    let signed = match settings.scheme {
        Scheme::Standard => standard(&settings.secrets, headers, body)?,
        Scheme::Github => github(&settings.secrets, headers, body)?,
        Scheme::Stripe => stripe(&settings.secrets, headers, body)?,
        Scheme::Cloudevents | Scheme::Bearer => bearer(&settings.secrets, headers)?,
    };
    let now = seconds(wall);
    match signed.at {
        Some(at) if at.saturating_add(TOLERANCE.as_secs()) < now => Err(Refused::Late),
        Some(at) if now.saturating_add(TOLERANCE.as_secs()) < at => Err(Refused::Early),
        _ => Ok(signed),
    }
}

/// What a message says that was signed under this scheme.
///
/// # Errors
/// What of it is not understood.
pub fn read(scheme: Scheme, headers: &HeaderMap, body: &[u8], names: &Names) -> Result<Event, BadEvent> {
    match scheme {
        Scheme::Standard | Scheme::Stripe => event::read(body, names),
        Scheme::Bearer => event::received(headers, body, names),
        Scheme::Github => {
            let payload = event::json_of(body)?;
            let kind = one(headers, "x-github-event")
                .ok_or_else(|| BadEvent::shape("the field X-GitHub-Event is missing"))?;
            let action = payload.get("action").and_then(Value::as_str);
            let name = action.map_or_else(|| kind.to_owned(), |action| format!("{kind}.{action}"));
            event::named(&name, &payload, one(headers, "x-github-delivery").map(str::to_owned), names)
        }
        Scheme::Cloudevents => {
            let is_binary = headers.contains_key("ce-specversion");
            if !is_binary && event::json(body)?.get("specversion").is_none() {
                return Err(BadEvent::shape(
                    "this is no CloudEvent: it has `specversion`, in the body or as the field ce-specversion",
                ));
            }
            event::received(headers, body, names)
        }
    }
}

/// Unix time.
pub(in crate::invalidate) fn seconds(wall: SystemTime) -> u64 {
    wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What the fields of Standard Webhooks are called: by the standard, and by Svix, from whom it comes and who sends these for most.
const FIELDS: [[&str; 3]; 2] = [
    ["webhook-id", "webhook-timestamp", "webhook-signature"],
    ["svix-id", "svix-timestamp", "svix-signature"],
];

/// Standard Webhooks 1.0.0, "Signature scheme": `v1,` and base64 of the HMAC of `id.timestamp.body`.
fn standard(secrets: &[String], headers: &HeaderMap, body: &[u8]) -> Result<Signed, Refused> {
    let [id, timestamp, signature] =
        FIELDS.into_iter().find(|[id, ..]| headers.contains_key(*id)).ok_or(Refused::Unsigned)?;
    let id = one(headers, id).ok_or(Refused::Unsigned)?;
    let timestamp = one(headers, timestamp).ok_or(Refused::Unsigned)?;
    if !headers.contains_key(signature) {
        return Err(Refused::Unsigned);
    }
    // With a full stop in it, `id.timestamp.body` could be cut elsewhere: the same bytes under another id.
    if id.contains('.') {
        return Err(Refused::Unreadable);
    }
    let at = unix_time(timestamp)?;
    let given = headers.get_all(signature).iter().filter_map(|value| value.to_str().ok());
    let given = given.flat_map(|value| value.split(' ')).filter_map(|word| word.strip_prefix("v1,"));
    let given: Vec<Vec<u8>> =
        given.take(MAX_SIGNATURES).filter_map(|text| BASE64.decode(text).ok()).collect();
    let keys = secrets.iter().flat_map(|secret| standard_keys(secret));
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    matching(keys, &signed, &given)?;
    Ok(Signed { id: Some(id.to_owned()), at: Some(at) })
}

/// Before the base64 of a key.
const WHSEC: &str = "whsec_";

/// `whsec_` and base64; without the prefix either the key itself or its base64, for libraries write both.
fn standard_keys(secret: &str) -> Vec<Vec<u8>> {
    match secret.strip_prefix(WHSEC).map(|encoded| BASE64.decode(encoded)) {
        Some(Ok(key)) => vec![key],
        Some(Err(_)) => vec![secret.as_bytes().to_vec()],
        None => BASE64.decode(secret).ok().into_iter().chain([secret.as_bytes().to_vec()]).collect(),
    }
}

/// GitHub, "Validating webhook deliveries": `sha256=` and the HMAC of the body in hexadecimal. Neither the delivery's id
/// nor the event's name is signed.
fn github(secrets: &[String], headers: &HeaderMap, body: &[u8]) -> Result<Signed, Refused> {
    let id = one(headers, "x-github-delivery").ok_or(Refused::Unsigned)?;
    let given = one(headers, "x-hub-signature-256").ok_or(Refused::Unsigned)?;
    let given = given.strip_prefix("sha256=").and_then(hexadecimal).ok_or(Refused::Unreadable)?;
    matching(secrets.iter().map(String::as_bytes), &[body], &[given])?;
    Ok(Signed { id: Some(id.to_owned()), at: None })
}

/// Stripe, "Verify webhook signatures manually": `t=…,v1=…`, the HMAC of `t.body` in hexadecimal; the secret is the key as
/// it stands, with its `whsec_`.
fn stripe(secrets: &[String], headers: &HeaderMap, body: &[u8]) -> Result<Signed, Refused> {
    let field =
        headers.get("stripe-signature").and_then(|value| value.to_str().ok()).ok_or(Refused::Unsigned)?;
    let pairs = || field.split(',').filter_map(|pair| pair.trim().split_once('='));
    let (_, timestamp) = pairs().find(|(name, _)| *name == "t").ok_or(Refused::Unreadable)?;
    let at = unix_time(timestamp)?;
    let given = pairs().filter(|(name, _)| *name == "v1").take(MAX_SIGNATURES);
    let given: Vec<Vec<u8>> = given.filter_map(|(_, text)| hexadecimal(text)).collect();
    matching(secrets.iter().map(String::as_bytes), &[timestamp.as_bytes(), b".", body], &given)?;
    Ok(Signed { id: None, at: Some(at) })
}

/// RFC 6750 §2.1.
fn bearer(secrets: &[String], headers: &HeaderMap) -> Result<Signed, Refused> {
    let mut fields = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let (Some(field), None) = (fields.next(), fields.next()) else { return Err(Refused::Unsigned) };
    let (scheme, token) = field.split_at_checked(7).ok_or(Refused::Unsigned)?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return Err(Refused::Unsigned);
    }
    // What is compared are digests, of one length and in constant time: nothing of the secret leaks.
    let digest = |text: &[u8]| mac(b"larder webhook token", &[text]);
    let given = digest(token).finalize();
    let is_known = secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .any(|secret| digest(secret.as_bytes()).finalize() == given);
    if is_known { Ok(Signed { id: None, at: None }) } else { Err(Refused::Forged) }
}

/// Whether one of these keys signs the message so; compared in constant time.
fn matching<K: AsRef<[u8]>>(
    keys: impl IntoIterator<Item = K>,
    message: &[&[u8]],
    given: &[Vec<u8>],
) -> Result<(), Refused> {
    let mut keys = keys.into_iter().filter(|key| !key.as_ref().is_empty());
    let is_signed = keys.any(|key| {
        let mac = mac(key.as_ref(), message);
        given.iter().any(|given| mac.clone().verify_slice(given).is_ok())
    });
    if is_signed { Ok(()) } else { Err(Refused::Forged) }
}

fn mac(key: &[u8], message: &[&[u8]]) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    message.iter().fold(mac, |mac, part| mac.chain_update(part))
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The only value of a field, if it is one that can be a name.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok().filter(|value| (1..=MAX_NAME).contains(&value.len()))
}

fn unix_time(text: &str) -> Result<u64, Refused> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain).ok_or(Refused::Unreadable)
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidate::testing::{fields, hook, signed};

    const SECRET: &str = "a plain secret";

    fn wall(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_published_example_of_standard_webhooks_is_accepted() {
        // The example of the reference libraries of standardwebhooks.com ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").
        let example = |signature: &str| {
            fields(&[
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", "1614265330"),
                ("webhook-signature", signature),
            ])
        };
        const RIGHT: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let check = |secret: &str, signature: &str| {
            let settings = hook(Scheme::Standard, &["another", secret]);
            verify(&settings, &example(signature), br#"{"test": 2432232314}"#, wall(1_614_265_330))
        };
        let accepted = Signed { id: Some("msg_p5jXN8AQM9LWM0D4loKWxJek".into()), at: Some(1_614_265_330) };
        for secret in ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert_eq!(check(secret, RIGHT), Ok(accepted.clone()));
            let several = format!("v1,bm9uc2Vuc2U= v1a,xyz v2,g0hM9SsE {RIGHT}");
            assert_eq!(
                check(secret, &several),
                Ok(accepted.clone()),
                "a sender signs with two secrets at a time"
            );
            for wrong in
                [&RIGHT[3..], "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "v1,", "v1,g0hM9SsE", "v1,?"]
            {
                assert_eq!(check(secret, wrong), Err(Refused::Forged), "{wrong}");
            }
        }
        let many = format!("{}{RIGHT}", "v1,bm9uc2Vuc2U= ".repeat(MAX_SIGNATURES));
        assert_eq!(check("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &many), Err(Refused::Forged));
        assert_eq!(check("whsec_AAAA", RIGHT), Err(Refused::Forged));
    }

    #[test]
    fn the_fields_may_have_svix_names_all_of_them_or_none() {
        let settings = hook(Scheme::Standard, &[SECRET]);
        let check = |names: [&'static str; 3]| {
            let values = ["msg_1", "1614265330", "v1,UoUin/S7TUY/Y/dDHOSaECFW3tpdIxsfywWrZQhfGN4="];
            let pairs: Vec<_> = names.into_iter().zip(values).collect();
            verify(&settings, &fields(&pairs), b"project:42", wall(1_614_265_330))
        };
        let [standard, svix] = FIELDS;
        assert!(check(standard).is_ok() && check(svix).is_ok());
        for mixed in 1..7 {
            let names = std::array::from_fn(|at| if mixed >> at & 1 == 0 { standard[at] } else { svix[at] });
            assert_eq!(check(names), Err(Refused::Unsigned), "{names:?}");
        }
    }

    #[test]
    fn a_plain_secret_is_the_key_as_it_stands() {
        // Computed with Python: hmac.new(b"a plain secret", b"msg_1.1614265330.project:42", "sha256").
        let headers = fields(&[
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,UoUin/S7TUY/Y/dDHOSaECFW3tpdIxsfywWrZQhfGN4="),
        ]);
        let settings = hook(Scheme::Standard, &[SECRET]);
        assert!(verify(&settings, &headers, b"project:42", wall(1_614_265_330)).is_ok());
    }

    #[test]
    fn the_example_of_githubs_documentation_is_accepted() {
        // "Validating webhook deliveries", Testing the webhook payload validation.
        let headers = fields(&[
            ("x-github-delivery", "d-1"),
            ("x-github-event", "ping"),
            (
                "x-hub-signature-256",
                "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            ),
        ]);
        let settings = hook(Scheme::Github, &["It's a Secret to Everybody"]);
        let signed = verify(&settings, &headers, b"Hello, World!", wall(0));
        assert_eq!(signed, Ok(Signed { id: Some("d-1".into()), at: None }));
        assert_eq!(verify(&settings, &headers, b"Hello, World?", wall(0)), Err(Refused::Forged));
    }

    #[test]
    fn a_stripe_signature_is_over_time_and_body_with_the_secret_as_it_stands() {
        // Computed with Python as the section "Verify webhook signatures manually" of Stripe's documentation has it.
        let signature = "45464ee4dc230dc35cd9d2fcf72d80d353cd3b968a8c6991b740ad9cc7aeee0f";
        let body =
            br#"{"id":"evt_1","object":"event","type":"customer.updated","data":{"object":{"id":"cus_9"}}}"#;
        let check = |field: &str| {
            let settings = hook(Scheme::Stripe, &["whsec_test_secret"]);
            verify(&settings, &fields(&[("stripe-signature", field)]), body, wall(1_700_000_000))
        };
        let accepted = Ok(Signed { id: None, at: Some(1_700_000_000) });
        assert_eq!(check(&format!("t=1700000000,v1={signature},v0=00")), accepted);
        assert_eq!(check(&format!("t=1700000000, v1=00, v1={}", signature.to_uppercase())), accepted);
        assert_eq!(check(&format!("t=1700000001,v1={signature}")), Err(Refused::Forged));
        assert_eq!(check(&format!("v1={signature}")), Err(Refused::Unreadable));
        assert_eq!(check(&format!("t=1700000000,v0={signature}")), Err(Refused::Forged));
    }

    #[test]
    fn a_signed_time_may_be_five_minutes_off_either_way() {
        for (scheme, body) in [(Scheme::Standard, "a"), (Scheme::Stripe, "{}")] {
            let headers = signed(scheme, SECRET, "m", 10_000, body);
            let at = |now| verify(&hook(scheme, &[SECRET]), &headers, body.as_bytes(), wall(now)).map(drop);
            assert_eq!([at(9_700), at(10_000), at(10_300)], [Ok(()); 3]);
            assert_eq!((at(9_699), at(10_301)), (Err(Refused::Early), Err(Refused::Late)));
        }
    }

    #[test]
    fn what_a_scheme_asks_for_is_there_once_and_can_be_read() {
        for scheme in [Scheme::Standard, Scheme::Github, Scheme::Stripe, Scheme::Cloudevents, Scheme::Bearer]
        {
            let settings = hook(scheme, &["older", SECRET]);
            let right = signed(scheme, SECRET, "m", 10_000, "{}");
            let check = |headers: &HeaderMap| verify(&settings, headers, b"{}", wall(10_000));
            assert!(check(&right).is_ok(), "{scheme:?}");
            assert_eq!(check(&HeaderMap::new()), Err(Refused::Unsigned));
            assert_eq!(check(&signed(scheme, "a plain secreT", "m", 10_000, "{}")), Err(Refused::Forged));
            assert!(
                verify(&hook(scheme, &[]), &right, b"{}", wall(10_000)).is_err(),
                "nobody knows no secret"
            );
            let unsigned = signed(scheme, "", "m", 10_000, "{}");
            assert!(
                verify(&hook(scheme, &[""]), &unsigned, b"{}", wall(10_000)).is_err(),
                "everybody knows that"
            );
        }
        let standard = |change: &dyn Fn(&mut HeaderMap)| {
            let mut headers = signed(Scheme::Standard, SECRET, "m", 10_000, "{}");
            change(&mut headers);
            verify(&hook(Scheme::Standard, &[SECRET]), &headers, b"{}", wall(10_000)).unwrap_err()
        };
        let other = || HeaderValue::from_static("x");
        assert_eq!(
            standard(&|headers| {
                headers.append("webhook-id", other());
            }),
            Refused::Unsigned
        );
        assert_eq!(standard(&|headers| drop(headers.insert("webhook-id", other()))), Refused::Forged);
        for time in ["x", "+10000", "-1", "1e4", "99999999999999999999999"] {
            let set =
                |headers: &mut HeaderMap| drop(headers.insert("webhook-timestamp", time.parse().unwrap()));
            assert_eq!(standard(&set), Refused::Unreadable, "{time}");
        }
    }

    #[test]
    fn no_message_can_be_cut_into_another() {
        // `a.1.2.b` is signed as id `a` at 1 with body `2.b`; it is not the message `a.1` at 2 with body `b`.
        let mut headers = signed(Scheme::Standard, SECRET, "a", 10_000, "10000.b");
        headers.insert("webhook-id", HeaderValue::from_static("a.10000"));
        let cut = verify(&hook(Scheme::Standard, &[SECRET]), &headers, b"b", wall(10_000));
        assert_eq!(cut, Err(Refused::Unreadable));
    }

    #[test]
    fn a_github_event_is_named_by_its_kind_and_action() {
        let headers = fields(&[("x-github-event", "issues"), ("x-github-delivery", "d-1")]);
        let name = |body: &str| match read(Scheme::Github, &headers, body.as_bytes(), &Names::default()) {
            Ok(Event::Unmatched { name, id, .. }) => (name, id),
            other => panic!("{other:?}"),
        };
        assert_eq!(name(r#"{"action": "opened"}"#), ("issues.opened".into(), Some("d-1".into())));
        assert_eq!(name("{}").0, "issues");
        assert!(read(Scheme::Github, &HeaderMap::new(), b"{}", &Names::default()).is_err());
    }

    #[test]
    fn a_cloud_events_webhook_takes_nothing_else() {
        let read =
            |body: &str| read(Scheme::Cloudevents, &HeaderMap::new(), body.as_bytes(), &Names::default());
        assert!(read(r#"{"specversion": "1.0", "type": "t", "source": "s", "id": "i"}"#).is_ok());
        assert!(read(r#"{"tags": ["a"]}"#).is_err() && read("a").is_err());
    }
}
