//! Whether a webhook is what it says: signed by who knows a secret, now, and not seen before. Pure but for what was seen.

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
