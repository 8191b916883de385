//! Receives webhooks: what is signed is applied, once, and then answered.
//!
//! ```text
//! path ─ signature, time ─ read ─ claimed by its id ─ allowed ─ applied ─ done
//! ```
//! Invariant: an answer of success leaves after the invalidation is applied, whoever applied it: a copy that comes meanwhile
//! waits for the first. A message counts as seen only when what it came for is done, so a sender who tries again after a
//! failure is heard.
//!
//! | scheme | known again by | a copy after its time |
//! |---|---|---|
//! | standard, stripe | its signed id | is refused: the signed time is over |
//! | github, cloudevents, bearer | its id and the digest of its body | is applied again once it is forgotten |
//!
//! Where the id is not signed, whoever recorded a message can send it again under another id. It is then applied again: it
//! throws out what it once threw out, and nothing else. To take the body alone for the id would lose the second of two
//! messages that say the same, and that would leave something old standing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::clock::Now;
use crate::invalidate::allowance::TooOften;
use crate::invalidate::applied::Ack;
use crate::invalidate::event::{BadEvent, Event};
use crate::invalidate::operation::Operation;
use crate::invalidate::raw::Raw;
use crate::invalidate::seen::{self, Id, Seen, Times};
use crate::invalidate::webhook::{self, Refused, Scheme, Settings, Signed, TOLERANCE};
use crate::invalidate::{Invalidator, Source};
use crate::route::path::Path;
use crate::store::position::Position;

/// For how long a message without a signed time is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(3600);

/// The configured webhooks. Cheap to clone.
#[derive(Clone)]
pub struct Hooks(Arc<Shared>);

struct Shared {
    invalidator: Invalidator,
    hooks: Vec<Hook>,
}

struct Hook {
    /// Decoded, without a slash at its end.
    path: String,
    settings: Settings,
    seen: Arc<Seen>,
}

/// What became of a message that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It was applied.
    Applied {
        /// Where it stands in the order.
        position: Position,
        /// Entries that it reached.
        invalidated: usize,
    },
    /// It is a named event for which there is no rule.
    Unmatched {
        /// Its name.
        name: String,
    },
    /// It was applied before.
    Duplicate,
}

/// Why a message was not accepted, or is to be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No webhook has this path.
    #[error("no webhook is configured under this path")]
    Unknown,
    /// Its body is larger than this, the most that its scheme may have.
    #[error("such a webhook has at most {0} bytes")]
    TooLarge(usize),
    /// It is not from whom it says, or not now.
    #[error(transparent)]
    Unproven(#[from] Refused),
    /// It says nothing that is understood.
    #[error(transparent)]
    Bad(#[from] BadEvent),
    /// It throws out everything, too often.
    #[error(transparent)]
    TooOften(#[from] TooOften),
    /// It holds here, and goes on under this name; nobody knows yet whether it holds on every node. Sent again, it is received
    /// again.
    #[error("nobody knows yet whether it holds on every node")]
    Unconfirmed(Option<Operation>),
}

impl Receipt {
    /// What its sender is told.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Applied { position, invalidated } => {
                json!({ "position": position.to_string(), "invalidated": invalidated, "matched": true })
            }
            Self::Unmatched { name } => json!({ "invalidated": 0, "matched": false, "event": name }),
            Self::Duplicate => json!({ "duplicate": true }),
        }
    }
}

impl Refusal {
    /// The reason as metrics and logs name it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::TooLarge(_) => "too-large",
            Self::Unproven(why) => why.as_str(),
            Self::Bad(why) => why.as_str(),
            Self::TooOften(_) => "too-often",
            Self::Unconfirmed(_) => "unconfirmed",
        }
    }
}

impl Hooks {
    /// The webhooks that `invalidator` is configured with.
    pub fn new(invalidator: Invalidator) -> Self {
        Self::after(invalidator, &[])
    }

    /// Those that it is configured with now; what was received under their paths is still known.
    pub fn renewed(&self) -> Self {
        Self::after(self.0.invalidator.clone(), &self.0.hooks)
    }

    fn after(invalidator: Invalidator, before: &[Hook]) -> Self {
        let settings = invalidator.settings();
        let hooks = settings.webhooks.iter().map(|settings| {
            let path = bare(Path::of(&settings.path).decoded()).to_owned();
            let known = before.iter().find(|hook| hook.path == path);
            let seen = known.map(|hook| Arc::clone(&hook.seen)).unwrap_or_default();
            Hook { path, settings: settings.clone(), seen }
        });
        let hooks = hooks.collect();
        Self(Arc::new(Shared { invalidator, hooks }))
    }

    /// Whether a decoded path is that of a webhook.
    pub fn has(&self, path: &str) -> bool {
        // Every request asks.
        !self.0.hooks.is_empty() && self.find(path).is_some()
    }

    /// Most bytes of what is sent to a decoded path; 0, if it is that of no webhook.
    pub fn max_body(&self, path: &str) -> usize {
        self.find(path).map_or(0, |hook| hook.settings.scheme.max_body())
    }

    /// Receives what was sent to a decoded path, and applies it.
    ///
    /// # Errors
    /// [`Refusal`]: nothing of it was applied, but for [`Refusal::Unconfirmed`].
    pub async fn receive(
        &self,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
        now: Now,
    ) -> Result<Receipt, Refusal> {
        self.accept(path, headers, &body, now).await.map_err(|why| self.refuse(why))
    }

    /// Counts what was refused before it could be received.
    pub fn refuse(&self, why: Refusal) -> Refusal {
        self.0.invalidator.metrics().webhook_refused(why.as_str());
        tracing::debug!(%why, "a webhook was refused");
        why
    }

    async fn accept(
        &self,
        path: &str,
        headers: &HeaderMap,
        body: &Bytes,
        now: Now,
    ) -> Result<Receipt, Refusal> {
        let hook = self.find(path).ok_or(Refusal::Unknown)?;
        let most = hook.settings.scheme.max_body();
        if body.len() > most {
            return Err(Refusal::TooLarge(most));
        }
        let signed = webhook::verify(&hook.settings, headers, body, now.wall)?;
        let invalidator = &self.0.invalidator;
        let event = webhook::read(hook.settings.scheme, headers, body, &invalidator.settings().events)?;
        let claim = match known_by(hook.settings.scheme, &signed, &event, body) {
            Some(id) => match hook.seen.claim(id, times(&signed, now)).await {
                Ok(claim) => Some(claim),
                Err(seen::Refused::Taken) => return Ok(Receipt::Duplicate),
                Err(seen::Refused::Forgotten) => return Err(Refused::Forgotten.into()),
            },
            None => None,
        };
        let (receipt, ack) = match event {
            Event::Unmatched { name, data, .. } => {
                invalidator.metrics().event_unmatched();
                let raw = Raw::Event { name: name.clone(), data };
                let ack = invalidator.pass_on(raw, Source::Webhook, &hook.settings.path).await;
                (Receipt::Unmatched { name }, ack)
            }
            Event::Outdates(outdates) => {
                let mut invalidation = outdates.invalidation(Source::Webhook, hook.settings.path.as_str());
                invalidation.id = signed.id.or(invalidation.id);
                invalidator.allow(&invalidation)?;
                let applied = invalidator.apply(invalidation).await;
                let (position, invalidated) = (applied.position, applied.reached.len());
                (Receipt::Applied { position, invalidated }, applied.ack)
            }
        };
        if let Ack::Unconfirmed(operation) = ack {
            // The claim is given back: whoever tries again is not told that all is done before it is.
            return Err(Refusal::Unconfirmed(operation));
        }
        claim.into_iter().for_each(seen::Claim::done);
        Ok(receipt)
    }

    /// How many messages are remembered.
    #[cfg(test)]
    pub(in crate::invalidate) fn remembered(&self) -> usize {
        self.0.hooks.iter().map(|hook| hook.seen.len()).sum()
    }

    fn find(&self, path: &str) -> Option<&Hook> {
        let path = bare(path);
        self.0.hooks.iter().find(|hook| hook.path == path)
    }
}

/// What a message is known again by; `None`: it is always new.
fn known_by(scheme: Scheme, signed: &Signed, event: &Event, body: &[u8]) -> Option<Id> {
    let in_body = match event {
        Event::Outdates(outdates) => outdates.id.as_deref(),
        Event::Unmatched { id, .. } => id.as_deref(),
    };
    let id = signed.id.as_deref().or(in_body);
    if id.is_none() && signed.at.is_none() {
        return None;
    }
    let mut sha = Sha256::new();
    sha.update(id.unwrap_or_default());
    if id.is_none() || !scheme.signs_id() {
        sha.update([0]);
        sha.update(body);
    }
    let digest: [u8; 32] = sha.finalize().into();
    digest.first_chunk().copied()
}

fn times(signed: &Signed, now: Now) -> Times {
    match signed.at {
        Some(at) => {
            let oldest = webhook::seconds(now.wall).saturating_sub(TOLERANCE.as_secs());
            Times { at, oldest, is_signed: true }
        }
        None => {
            let at = now.mono.as_secs();
            Times { at, oldest: at.saturating_sub(REMEMBERED.as_secs()), is_signed: false }
        }
    }
}

fn bare(path: &str) -> &str {
    path.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidate::event::Names;
    use crate::invalidate::testing::{World, hook, path, signed};
    use crate::invalidate::{Settings, allowance};
    use crate::route::reach::ItemTemplate;
    use crate::route::tag::Tag;
    use futures_util::FutureExt as _;
    use std::pin::pin;

    const SECRET: &str = "a secret";

    fn world(scheme: Scheme, debounce: Duration) -> (World, Hooks) {
        let rules = vec![("project.*".to_owned(), vec![ItemTemplate::parse("project:{id}").unwrap()])];
        let settings = Settings {
            debounce,
            max_batch: 1000,
            events: Names { rules, hosts: None },
            webhooks: vec![hook(scheme, &["the last one", SECRET])],
            ..Settings::default()
        };
        let world = World::new(settings);
        let hooks = Hooks::new(world.invalidator.clone());
        (world, hooks)
    }

    /// A message as it is sent now.
    fn message(world: &World, scheme: Scheme, id: &str, body: &str) -> (HeaderMap, Bytes) {
        let at = webhook::seconds(world.clock.now().wall);
        (signed(scheme, SECRET, id, at, body), Bytes::from(body.to_owned()))
    }

    async fn send(
        world: &World,
        hooks: &Hooks,
        scheme: Scheme,
        (headers, body): &(HeaderMap, Bytes),
    ) -> Result<Receipt, Refusal> {
        hooks.receive(&path(scheme), headers, body.clone(), world.clock.now()).await
    }

    #[tokio::test]
    async fn a_message_of_every_scheme_is_applied_once_and_its_copy_is_a_duplicate() {
        for (scheme, body) in [
            (Scheme::Standard, r#"{"type": "project.updated", "data": {"id": 42}}"#),
            (Scheme::Github, r#"{"action": "updated", "id": 42}"#),
            (Scheme::Stripe, r#"{"type": "project.updated", "id": "evt_1", "data": {"id": 42}}"#),
            (Scheme::Cloudevents, r#"{"id": 42}"#),
            (Scheme::Bearer, r#"{"tags": ["project:42"], "id": "m1"}"#),
        ] {
            let (world, hooks) = world(scheme, Duration::ZERO);
            let entry = world.keep("a", &[Tag::named("project:42")]);
            let message = message(&world, scheme, "m1", body);
            let position = Position { epoch: world.store.applied().epoch, n: 1 };
            let first = send(&world, &hooks, scheme, &message).await;
            assert_eq!(first, Ok(Receipt::Applied { position, invalidated: 1 }), "{scheme:?}");
            assert!(entry.is_dead());
            assert_eq!(send(&world, &hooks, scheme, &message).await, Ok(Receipt::Duplicate), "{scheme:?}");
            assert_eq!(world.store.applied(), position);
            let audited = world.invalidator.audit(&crate::invalidate::audit::Query::default());
            let known = (audited[0].actor.clone(), audited[0].id.as_deref().map(|id| id.contains('1')));
            assert_eq!(known, (path(scheme), Some(true)), "{scheme:?}");
        }
    }

    #[tokio::test]
    async fn an_id_that_nobody_signed_does_not_silence_another_message() {
        for scheme in [Scheme::Github, Scheme::Cloudevents] {
            let (world, hooks) = world(scheme, Duration::ZERO);
            for (n, body) in [(1, r#"{"action": "a", "id": 1}"#), (2, r#"{"action": "a", "id": 2}"#)] {
                let received = send(&world, &hooks, scheme, &message(&world, scheme, "m1", body)).await;
                assert!(
                    matches!(received, Ok(Receipt::Applied { position, .. }) if position.n == n),
                    "{received:?}"
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_comes_meanwhile_waits_until_the_first_is_applied() {
        let (world, hooks) = world(Scheme::Standard, Duration::from_secs(60));
        let message = message(&world, Scheme::Standard, "m1", "a");
        let mut first = pin!(send(&world, &hooks, Scheme::Standard, &message));
        let mut copy = pin!(send(&world, &hooks, Scheme::Standard, &message));
        assert!(first.as_mut().now_or_never().is_none() && copy.as_mut().now_or_never().is_none());
        assert_eq!(world.store.applied().n, 0);
        let (first, copy) = tokio::join!(first, copy);
        assert!(matches!(first, Ok(Receipt::Applied { .. })));
        assert_eq!((copy, world.store.applied().n), (Ok(Receipt::Duplicate), 1));
    }

    #[tokio::test]
    async fn a_message_that_came_to_nothing_may_come_again() {
        let (world, hooks) = world(Scheme::Standard, Duration::ZERO);
        let all = message(&world, Scheme::Standard, "m1", r#"{"all": true}"#);
        for n in 0..allowance::BURST {
            let id = format!("n{n}");
            let message = message(&world, Scheme::Standard, &id, r#"{"all": true}"#);
            send(&world, &hooks, Scheme::Standard, &message).await.unwrap();
        }
        assert!(matches!(send(&world, &hooks, Scheme::Standard, &all).await, Err(Refusal::TooOften(_))));
        world.clock.advance(allowance::EVERY);
        assert!(matches!(send(&world, &hooks, Scheme::Standard, &all).await, Ok(Receipt::Applied { .. })));
        world.assert_metric(r#"larder_webhooks_refused_total{reason="too-often"} 1"#);
    }

    #[tokio::test]
    async fn a_named_event_without_a_rule_is_counted_and_said() {
        let (world, hooks) = world(Scheme::Standard, Duration::ZERO);
        let message = message(&world, Scheme::Standard, "m1", r#"{"type": "user.new"}"#);
        let received = send(&world, &hooks, Scheme::Standard, &message).await.unwrap();
        assert_eq!(received.to_json(), json!({ "invalidated": 0, "matched": false, "event": "user.new" }));
        assert_eq!(world.store.applied().n, 0);
        world.assert_metric("larder_events_unmatched_total 1");
    }

    #[tokio::test]
    async fn what_is_refused_says_why_and_is_counted() {
        let (world, hooks) = world(Scheme::Standard, Duration::ZERO);
        let (mut headers, body) = message(&world, Scheme::Standard, "m1", "{");
        let send = |headers: HeaderMap, body: Bytes, path: &'static str| {
            let hooks = hooks.clone();
            let now = world.clock.now();
            async move { hooks.receive(path, &headers, body, now).await.unwrap_err().as_str() }
        };
        let path = "/hooks/standard";
        assert_eq!(send(headers.clone(), body.clone(), path).await, "not-json");
        assert_eq!(send(headers.clone(), body.clone(), "/hooks").await, "unknown");
        assert_eq!(
            send(headers.clone(), vec![0; Scheme::Standard.max_body() + 1].into(), path).await,
            "too-large"
        );
        assert_eq!(send(headers.clone(), "x".into(), path).await, "forged");
        headers.remove("webhook-id");
        assert_eq!(send(headers, body, path).await, "unsigned");
        for reason in ["not-json", "unknown", "too-large", "forged", "unsigned"] {
            world.assert_metric(&format!(r#"larder_webhooks_refused_total{{reason="{reason}"}} 1"#));
        }
        assert_eq!(hooks.remembered(), 0);
    }

    #[test]
    fn a_hook_has_its_path_with_and_without_a_slash_at_the_end_and_no_other() {
        let (_, hooks) = world(Scheme::Standard, Duration::ZERO);
        assert!(hooks.has("/hooks/standard") && hooks.has("/hooks/standard/"));
        assert!(!hooks.has("/hooks/standard/x") && !hooks.has("/hooks") && !hooks.has("/"));
    }
}
