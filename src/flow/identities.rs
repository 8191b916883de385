//! Who was here lately, and what they showed: so that what belongs to them can be fetched before they ask again.
//!
//! ```text
//! somebody's own entry is stored for him ─► noted (digest, user, credential) ─► window ─► forgotten
//!                       a hit on an entry that was warmed for him ─► `seen`
//! ```
//! Invariant: at most `limit` of them, and none for longer than `window` after he was last seen; only who the origin has given
//! something of his own; a credential is in memory only, never printed, never shown to another host than it was shown to, of no
//! use once it is forgotten, and overwritten when it is let go. Nothing of this is done for a hit. It refuses to know what is fetched.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use crate::flow::{Flow, Shared, Visit};
use crate::route::identity::{Digest, Identity};
use crate::route::share::Share;
use crate::upstream::Priority;

/// Longest credential that is remembered, in bytes of names and values.
const MAX_CREDENTIAL: usize = 16 * 1024;

/// How many are remembered, and for how long (`warm.users`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For how long after he was last seen somebody counts as active.
    pub window: Duration,
    /// Most that are remembered; who was not seen for longest goes first.
    pub limit: usize,
    /// What is remembered of them.
    pub shown: Shown,
}

/// What is remembered of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// What he showed, to ask with.
    Credential,
    /// Who he says he is: a service asks for him (`warm.as`).
    Name,
}

/// Somebody who was here.
#[derive(Clone)]
pub struct Person {
    digest: Digest,
    user: Option<Arc<str>>,
    credential: Arc<Credential>,
}

impl Person {
    /// Stands for his credentials.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// His id as his requests claim it (`identity.user`); `None`: they claim none.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person").field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// Fields that make the digest, as they came. Requests that show one share its memory, and whoever lets it go last overwrites it.
struct Credential(Vec<(HeaderName, HeaderValue)>);

impl Credential {
    /// What of `headers` is a credential; `None`: nothing, or too much.
    fn of(identity: &Identity, headers: &HeaderMap) -> Option<Self> {
        let with_cookies = !identity.credential_cookies(headers).is_empty();
        let shown = headers
            .iter()
            .filter(|(name, _)| identity.is_credential(name) || (with_cookies && **name == COOKIE));
        let own = |value: &HeaderValue| {
            let bytes = Bytes::from_owner(Zeroizing::new(value.as_bytes().to_vec()));
            let mut own = HeaderValue::from_maybe_shared(bytes).ok()?;
            own.set_sensitive(true);
            Some(own)
        };
        let fields: Vec<_> =
            shown.map(|(name, value)| Some((name.clone(), own(value)?))).collect::<Option<_>>()?;
        let size: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        (!fields.is_empty() && size <= MAX_CREDENTIAL).then_some(Self(fields))
    }

    fn show(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// All who are remembered.
pub(crate) struct Identities {
    settings: Settings,
    known: Mutex<HashMap<Digest, Seen, ahash::RandomState>>,
}

struct Seen {
    at: Duration,
    person: Person,
}

impl Identities {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, known: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Seen, ahash::RandomState>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that somebody was here at `now` (monotonic); `introduce` is asked who he is if he is not known.
    fn note(&self, digest: Digest, now: Duration, introduce: impl FnOnce() -> Option<Person>) {
        let mut known = self.lock();
        if let Some(seen) = known.get_mut(&digest) {
            seen.at = seen.at.max(now);
            return;
        }
        let Some(person) = introduce() else { return };
        if known.len() >= self.settings.limit {
            let window = self.settings.window;
            known.retain(|_, seen| now.saturating_sub(seen.at) <= window);
            let oldest = known.iter().min_by_key(|(_, seen)| seen.at).map(|(digest, _)| *digest);
            if let Some(oldest) = oldest.filter(|_| known.len() >= self.settings.limit) {
                known.remove(&oldest);
            }
        }
        known.insert(digest, Seen { at: now, person });
    }

    /// Forgets who was not seen within the window before `now` (monotonic).
    fn forget_absent(&self, now: Duration) {
        self.lock().retain(|_, seen| now.saturating_sub(seen.at) <= self.settings.window);
    }

    fn knows(&self, digest: Digest, now: Duration) -> bool {
        let known = self.lock();
        known.get(&digest).is_some_and(|seen| now.saturating_sub(seen.at) <= self.settings.window)
    }

    /// Who was seen within the window before `now` (monotonic), the latest first. The others are forgotten.
    fn active(&self, now: Duration) -> Vec<Person> {
        let mut known = self.lock();
        known.retain(|_, seen| now.saturating_sub(seen.at) <= self.settings.window);
        let mut active: Vec<(Duration, &Person)> =
            known.values().map(|seen| (seen.at, &seen.person)).collect();
        active.sort_by_key(|(at, person)| (std::cmp::Reverse(*at), person.digest));
        active.into_iter().map(|(_, person)| person.clone()).collect()
    }

    fn forget(&self, digest: Digest) {
        self.lock().remove(&digest);
    }
}

/// Notes that something of his own is kept for `person`.
pub(in crate::flow) fn note(flow: &Shared, person: &Person) {
    if let Some(identities) = flow.lasting.identities.get() {
        identities.note(person.digest, flow.clock.mono(), || Some(person.clone()));
    }
}

impl Visit<'_> {
    /// Who asks, where the answer will be his own, a client waits for it, and warming would ask the same host for it; `None`
    /// also where nobody is remembered.
    pub(crate) fn person(&self, headers: &HeaderMap, share: Share) -> Option<Person> {
        let Share::Credential(digest) = share else { return None };
        let (identities, rules) = (self.flow.lasting.identities.get()?, &self.flow.rules);
        let is_warmed_here = self.target.authority == rules.hosts.canonical();
        if self.client.priority != Priority::Client || !is_warmed_here {
            return None;
        }
        let credential = match identities.settings.shown {
            Shown::Credential => Credential::of(&rules.identity, headers)?,
            Shown::Name => Credential(Vec::new()),
        };
        let user = rules.identity.user(headers).map(Into::into);
        Some(Person { digest, user, credential: Arc::new(credential) })
    }
}

impl Flow {
    /// From now on, those whose own entries are fetched are remembered. The first call counts.
    pub fn remember_identities(&self, settings: Settings) {
        let shared = self.in_force();
        shared.lasting.identities.get_or_init(|| Identities::new(settings));
    }

    /// Forgets who was not here for the window.
    pub fn forget_absent(&self) {
        let shared = self.in_force();
        if let Some(identities) = shared.lasting.identities.get() {
            identities.forget_absent(shared.clock.mono());
        }
    }

    /// Who was seen lately, the latest first.
    pub fn active(&self) -> Vec<Person> {
        let shared = self.in_force();
        let now = shared.clock.mono();
        shared.lasting.identities.get().map_or_else(Vec::new, |identities| identities.active(now))
    }

    /// Notes that somebody who is remembered has been here, as hits tell.
    pub fn seen(&self, digest: Digest) {
        let shared = self.in_force();
        if let Some(identities) = shared.lasting.identities.get() {
            identities.note(digest, shared.clock.mono(), || None);
        }
    }

    /// Lets somebody's credential go: the origin does not take it any more.
    pub fn forget_identity(&self, digest: Digest) {
        let shared = self.in_force();
        if let Some(identities) = shared.lasting.identities.get() {
            identities.forget(digest);
        }
    }

    /// `headers` as `person` would send them: with his credentials and nobody else's. `None`: he has been forgotten, or they
    /// would not open his entries.
    pub fn in_the_name_of(&self, person: &Person, headers: &HeaderMap) -> Option<HeaderMap> {
        let shared = self.in_force();
        shared.lasting.identities.get().filter(|known| known.knows(person.digest, shared.clock.mono()))?;
        let identity = &shared.rules.identity;
        let mut headers = headers.clone();
        let others: Vec<HeaderName> =
            headers.keys().filter(|name| identity.is_credential(name) || **name == COOKIE).cloned().collect();
        for name in others {
            headers.remove(name);
        }
        person.credential.show(&mut headers);
        (identity.digest(&headers) == Some(person.digest)).then_some(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::identity;

    fn identities(limit: usize) -> Identities {
        Identities::new(Settings { window: Duration::from_secs(30), limit, shown: Shown::Credential })
    }

    fn person(name: &str) -> Person {
        let identity = Identity::new(&identity::Settings::default(), b"secret");
        let mut headers = HeaderMap::new();
        headers.insert("authorization", name.parse().unwrap());
        let digest = identity.digest(&headers).unwrap();
        Person {
            digest,
            user: Some(name.into()),
            credential: Arc::new(Credential::of(&identity, &headers).unwrap()),
        }
    }

    fn note(identities: &Identities, name: &str, at: u64) {
        let person = person(name);
        identities.note(person.digest, Duration::from_secs(at), || Some(person));
    }

    fn active(identities: &Identities, at: u64) -> Vec<String> {
        let active = identities.active(Duration::from_secs(at));
        active.iter().map(|person| person.user().unwrap().to_owned()).collect()
    }

    #[test]
    fn who_was_not_seen_for_the_window_is_forgotten() {
        let identities = identities(10);
        note(&identities, "anna", 100);
        note(&identities, "bob", 110);
        assert_eq!(active(&identities, 130), ["bob", "anna"], "the latest first");
        assert_eq!(active(&identities, 131), ["bob"]);
        note(&identities, "bob", 140);
        assert_eq!(active(&identities, 170), ["bob"]);
        assert!(active(&identities, 171).is_empty());
        assert!(!identities.knows(person("bob").digest, Duration::from_secs(171)));
        identities.note(person("bob").digest, Duration::from_secs(172), || None);
        assert!(active(&identities, 172).is_empty(), "his credential is gone: he has to show it again");
    }

    #[test]
    fn who_is_absent_is_forgotten_though_nobody_asks_for_the_active() {
        let identities = identities(10);
        note(&identities, "anna", 100);
        identities.forget_absent(Duration::from_secs(130));
        assert_eq!(identities.lock().len(), 1);
        identities.forget_absent(Duration::from_secs(131));
        assert!(identities.lock().is_empty());
    }

    #[test]
    fn no_more_than_the_limit_are_remembered_and_the_oldest_goes() {
        let identities = identities(2);
        for (at, name) in [(1, "anna"), (2, "bob"), (3, "anna"), (4, "carl")] {
            note(&identities, name, at);
        }
        assert_eq!(active(&identities, 5), ["carl", "anna"]);
    }

    #[test]
    fn a_credential_is_kept_whole_or_not_at_all_and_never_printed() {
        let identity = Identity::new(&identity::Settings::default(), b"secret");
        let mut headers = HeaderMap::new();
        headers.insert("cookie", "_ga=1; session=hunter2".parse().unwrap());
        headers.append("x-api-key", "hunter3".parse().unwrap());
        headers.insert("accept", "text/html".parse().unwrap());
        let credential = Credential::of(&identity, &headers).unwrap();
        let mut shown = HeaderMap::new();
        credential.show(&mut shown);
        assert_eq!(identity.digest(&shown), identity.digest(&headers));
        assert!(!shown.contains_key("accept") && shown["x-api-key"].is_sensitive());
        let kept = credential.0.iter().find(|(name, _)| name == "x-api-key").unwrap();
        let memory = |value: &HeaderValue| value.as_bytes().as_ptr();
        assert_eq!(memory(&shown["x-api-key"]), memory(&kept.1), "there is no copy that nobody overwrites");
        assert_ne!(memory(&kept.1), memory(&headers["x-api-key"]));
        assert!(!format!("{:?}", person("hunter4")).contains("hunter4"));
        headers.insert("x-auth", "x".repeat(MAX_CREDENTIAL).parse().unwrap());
        assert!(Credential::of(&identity, &headers).is_none());
    }
}
