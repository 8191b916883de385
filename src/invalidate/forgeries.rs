//! A hundred thousand webhooks that nobody signed so, or that came too late or before, and as many messages that nobody
//! understands: none is accepted, nothing panics, nothing grows.

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue};

use crate::clock::Now;
use crate::invalidate::Settings;
use crate::invalidate::audit::Query;
use crate::invalidate::hooks::{Hooks, Receipt, Refusal};
use crate::invalidate::testing::{World, hook, path, signed};
use crate::invalidate::webhook::Scheme;

const SCHEMES: [Scheme; 5] =
    [Scheme::Standard, Scheme::Github, Scheme::Stripe, Scheme::Cloudevents, Scheme::Bearer];
const SECRET: &str = "a secret";
const TRIES: usize = 100_000;

struct Attack {
    world: World,
    hooks: Hooks,
    /// The state of a xorshift generator: every run is the same.
    dice: u64,
    now: Now,
}

impl Attack {
    fn begin() -> Self {
        let webhooks = SCHEMES.map(|scheme| hook(scheme, &[SECRET])).to_vec();
        let world = World::new(Settings { webhooks, ..Settings::default() });
        let (hooks, now) = (Hooks::new(world.invalidator.clone()), world.clock.now());
        Self { world, hooks, dice: 0x9e37_79b9_7f4a_7c15, now }
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        usize::try_from(self.dice >> 16).unwrap() % sides
    }

    fn send(&self, scheme: Scheme, headers: &HeaderMap, body: &[u8]) -> Result<Receipt, Refusal> {
        let body = Bytes::copy_from_slice(body);
        self.hooks
            .receive(&path(scheme), headers, body, self.now)
            .now_or_never()
            .expect("nobody else is there")
    }

    fn seconds(&self) -> u64 {
        self.now.wall.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }
}

/// What each scheme takes, for an event of this number.
fn body(scheme: Scheme, n: usize) -> String {
    match scheme {
        Scheme::Bearer => format!(r#"{{"tags": ["project:{n}"], "id": "m{n}"}}"#),
        _ => format!(r#"{{"type": "project.updated", "id": "m{n}", "data": {{"id": {n}}}}}"#),
    }
}

/// Changes one byte of what is signed, or of the signature.
fn forge(attack: &mut Attack, scheme: Scheme, headers: &mut HeaderMap, body: &mut [u8]) {
    let signed: &[&'static str] = match scheme {
        Scheme::Standard => &["webhook-id", "webhook-timestamp", "webhook-signature"],
        Scheme::Github => &["x-hub-signature-256"],
        Scheme::Stripe => &["stripe-signature"],
        Scheme::Cloudevents | Scheme::Bearer => &["authorization"],
    };
    let is_body_signed = !matches!(scheme, Scheme::Cloudevents | Scheme::Bearer);
    let nth = attack.roll(signed.len() + usize::from(is_body_signed));
    let Some(name) = signed.get(nth) else {
        let at = attack.roll(body.len());
        body[at] ^= 1 << attack.roll(8);
        return;
    };
    let mut value = headers[*name].as_bytes().to_vec();
    match attack.roll(4) {
        0 => drop(headers.remove(*name)),
        1 => {
            value.truncate(attack.roll(value.len()));
            headers.insert(*name, HeaderValue::from_bytes(&value).unwrap());
        }
        _ => {
            // Another printable character that no decoder takes for the same one.
            let at = attack.roll(value.len());
            value[at] = if value[at] == b'!' { b'#' } else { b'!' };
            headers.insert(*name, HeaderValue::from_bytes(&value).unwrap());
        }
    }
}

#[test]
fn no_forged_stale_or_replayed_webhook_is_accepted() {
    let mut attack = Attack::begin();
    let now = attack.seconds();
    // What was recorded of honest senders.
    let mut recorded = Vec::new();
    for n in 0..50 {
        for scheme in SCHEMES {
            let body = body(scheme, n);
            let headers = signed(scheme, SECRET, &format!("m{n}"), now, &body);
            attack.send(scheme, &headers, body.as_bytes()).unwrap();
            recorded.push((scheme, headers, body));
        }
    }
    let before = (attack.world.store.applied(), attack.hooks.remembered());
    assert_eq!(before.1, recorded.len());
    for _ in 0..TRIES {
        let nth = attack.roll(recorded.len());
        let (scheme, mut headers, body) = recorded[nth].clone();
        let mut body = body.into_bytes();
        let received = match attack.roll(3) {
            0 => {
                forge(&mut attack, scheme, &mut headers, &mut body);
                attack.send(scheme, &headers, &body)
            }
            1 if matches!(scheme, Scheme::Standard | Scheme::Stripe) => {
                let off = 301 + u64::try_from(attack.roll(1_000_000)).unwrap();
                let at = if attack.roll(2) == 0 { now - off } else { now + off };
                let text = String::from_utf8(body.clone()).unwrap();
                attack.send(scheme, &signed(scheme, SECRET, "new", at, &text), &body)
            }
            _ => attack.send(scheme, &headers, &body),
        };
        assert!(
            matches!(received, Err(Refusal::Unproven(_)) | Ok(Receipt::Duplicate)),
            "{scheme:?} {headers:?} {}: {received:?}",
            String::from_utf8_lossy(&body)
        );
    }
    assert_eq!((attack.world.store.applied(), attack.hooks.remembered()), before);
}

/// A message that nobody can take for an event.
fn malformed(attack: &mut Attack) -> Vec<u8> {
    let whole = br#"{"tags": ["a", "b:42"], "prefixes": ["/api"], "soft": true, "id": "m"}"#;
    let n = attack.roll(1_000_000);
    let mut body = whole.to_vec();
    match attack.roll(7) {
        0 => body.truncate(1 + attack.roll(whole.len() - 1)),
        1 => body = format!(r#"{{"tags": ["a"], "key{n}": {n}}}"#).into_bytes(),
        2 => body = format!(r#"{{"tags": [{n}]}}"#).into_bytes(),
        3 => body = format!(r#"{{"tags": {{"a": {n}}}}}"#).into_bytes(),
        4 => body[attack.roll(whole.len())] = 0xff,
        5 => body = "[".repeat(1 + attack.roll(300)).into_bytes(),
        _ => body = format!(r#"{{"type": [{n}], "data": null}}"#).into_bytes(),
    }
    body
}

#[test]
fn no_malformed_message_is_accepted() {
    let mut attack = Attack::begin();
    let before = attack.world.store.applied();
    let headers = signed(Scheme::Bearer, SECRET, "", 0, "");
    for _ in 0..TRIES {
        let body = malformed(&mut attack);
        let received = attack.send(Scheme::Bearer, &headers, &body);
        assert!(matches!(received, Err(Refusal::Bad(_))), "{}: {received:?}", String::from_utf8_lossy(&body));
    }
    assert_eq!((attack.world.store.applied(), attack.hooks.remembered()), (before, 0));
    assert!(attack.world.invalidator.audit(&Query::default()).is_empty());
}
