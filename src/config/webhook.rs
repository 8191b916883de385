//! `webhooks:` as the file has it.
//!
//! Invariant: nobody signs with an empty secret: a webhook that is on has at least one, and none of them is empty.

use serde_json::{Value, json};

use crate::config::problem::{Place, Problem, Source};
use crate::config::reader::{Reader, map_schema};
use crate::config::reload;
use crate::config::secret::NeededSecret;
use crate::config::shape::{At, Entry, REDACTED, Refusal, Scalar, Shape, choice, section};
use crate::config::template::Template;
use crate::config::tree::{Kind, Node};
use crate::invalidate::webhook::{Judged, Scheme, Settings};

choice!(Scheme, "a scheme of signatures", {
    "standard" => Scheme::Standard,
    "github" => Scheme::Github,
    "stripe" => Scheme::Stripe,
    "cloudevents" => Scheme::Cloudevents,
    "bearer" => Scheme::Bearer,
});

section! {
    /// One of `webhooks:`.
    WebhookKeys {
        /// How it is signed: standard (Standard Webhooks), github, stripe, cloudevents or bearer.
        scheme: Scheme = "standard",
        /// Any of these signs it, so that one can follow another; one that a placeholder leaves empty does not count.
        secrets: Secrets,
        /// false: the path is not received, and its secrets may be empty.
        enabled: bool = "true",
    }
}

/// Secrets, of which those that a placeholder left empty are left out.
#[derive(Clone, Debug)]
pub(crate) struct Secrets(Vec<NeededSecret>);

impl Shape for Secrets {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let items = match &node.kind {
            Kind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut secrets = Vec::new();
        for item in items {
            let text = reader.text(item, NeededSecret::WHAT)?;
            if text.outside && text.value.is_empty() {
                continue;
            }
            secrets.push(reader.parse(item.place, &text.value, text.outside)?);
        }
        Some(Self(secrets))
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        let value = self.0.iter().map(|_| REDACTED).collect::<Vec<_>>();
        let cut = reload::cut(self.0.iter().map(Scalar::cut));
        out.push(Entry { cut, ..Entry::new(path, value.into(), source) });
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": ["string", "number"] },
            { "type": "array", "items": { "type": ["string", "number"] }, "minItems": 1 },
        ] })
    }
}

/// `webhooks:` in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Webhooks(pub(crate) Vec<RawWebhook>);

/// One webhook as it is written.
#[derive(Clone, Debug)]
pub(crate) struct RawWebhook {
    /// Its path.
    pub(crate) path: Template,
    /// Where the path stands.
    pub(crate) place: Place,
    /// What stands below it.
    pub(crate) keys: WebhookKeys,
}

impl Shape for Webhooks {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut webhooks = Vec::new();
        for (key, value) in reader.entries(node)? {
            let before = reader.open.len();
            let keys = reader.value::<WebhookKeys>(key, value);
            let is_open = reader.open.len() > before;
            let path = Template::of("the webhook", &key.text).and_then(only_path);
            let (path, keys) = match (path, keys) {
                (Ok(path), Some(keys)) => (path, keys.value),
                (Err(refusal), _) => {
                    reader.problems.push(refusal.problem(Source::File(key.place)));
                    continue;
                }
                (Ok(_), None) => continue,
            };
            let keys = keys.over(WebhookKeys::built_in().unwrap_or_default());
            let has_failed = reader.failed.iter().any(|failed| failed == "secrets");
            if !is_open && !has_failed {
                reader.problems.extend(keys.without_secret(&key.text, key.place));
                reader.problems.extend(keys.unfit_secrets(&key.text));
            }
            webhooks.push(RawWebhook { path, place: key.place, keys });
        }
        Some(Self(webhooks))
    }

    fn show(&self, path: &[String], _: Source, out: &mut Vec<Entry>) {
        for webhook in &self.0 {
            let path = [path, std::slice::from_ref(&webhook.path.text)].concat();
            webhook.keys.show(&path, Source::File(webhook.place), out);
        }
    }

    fn schema() -> Value {
        map_schema("^/", &WebhookKeys::schema())
    }
}

/// Senders are told one path.
fn only_path(path: Template) -> Result<Template, Refusal> {
    if path.shape().names().next().is_none() {
        return Ok(path);
    }
    let message = format!("the webhook `{}` is a template, not a path", path.text);
    Err(Refusal::new(message, "give each webhook a path of its own"))
}

impl WebhookKeys {
    fn is_on(&self) -> bool {
        self.enabled.as_ref().is_none_or(|enabled| enabled.value)
    }

    fn without_secret(&self, path: &str, place: Place) -> Option<Problem> {
        const HINT: &str = "anybody could sign it; set the variable, or write `enabled: false` beside it";
        if !self.is_on() {
            return None;
        }
        match &self.secrets {
            None => Some(
                Problem::at(place, format!("the webhook `{path}` has no `secrets`"))
                    .hint("write secrets: [\"${WEBHOOK_SECRET:?}\"]"),
            ),
            Some(At { value: Secrets(secrets), source }) if secrets.is_empty() => {
                Some(Problem::of(*source, format!("the secret of the webhook `{path}` is empty")).hint(HINT))
            }
            Some(_) => None,
        }
    }
}

impl WebhookKeys {
    /// Secrets by which nothing can be signed, or not what was meant.
    fn unfit_secrets(&self, path: &str) -> Vec<Problem> {
        let (Some(secrets), Some(scheme), true) = (&self.secrets, &self.scheme, self.is_on()) else {
            return Vec::new();
        };
        let judged = secrets.value.0.iter().map(|secret| scheme.value.judge(&secret.0));
        judged.filter_map(|judged| unfit(judged, path, secrets.source)).collect()
    }
}

fn unfit(judged: Judged, path: &str, source: Source) -> Option<Problem> {
    let nobody = |has: &str, hint: &str| {
        Problem::of(source, format!("a secret of the webhook `{path}` has {has}")).hint(hint)
    };
    Some(match judged {
        Judged::Fit => return None,
        Judged::NoKey => nobody("no key behind `whsec_`", "copy the whole of it from the sender"),
        Judged::Spaced => nobody("a space around it, which no field carries", "take the space away"),
        Judged::NoField => nobody("a sign that no field carries", "use letters and digits"),
        Judged::NoBase64 => {
            let message = format!("what stands behind `whsec_` for the webhook `{path}` is no base64");
            let hint = "copy the whole of it from the sender; Stripe's want `scheme: stripe`";
            Problem::of(source, message).hint(hint).warning()
        }
    })
}

impl RawWebhook {
    /// Whether it is received.
    pub(crate) fn is_on(&self) -> bool {
        self.keys.is_on()
    }

    /// What it comes to, if it is on.
    pub(crate) fn settings(&self) -> Option<Settings> {
        let secrets = self.keys.secrets.as_ref()?.value.0.iter().map(|secret| secret.0.clone()).collect();
        let scheme = self.keys.scheme.as_ref()?.value;
        self.keys.is_on().then(|| Settings { path: self.path.text.clone(), scheme, secrets })
    }
}
