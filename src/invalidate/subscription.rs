//! The channels of a Redis on which the backend says what it changed.

/// `redis.subscribe`, `redis.subscribe_url` (else `redis.url`) and `redis.on_gap`.
#[derive(Clone)]
pub struct Settings {
    /// Where: `redis://`, `rediss://`, with user and password.
    pub url: String,
    /// The channels.
    pub channels: Vec<String>,
    /// What becomes of what is kept after the subscription was lost.
    pub on_gap: OnGap,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url: _, channels, on_gap } = self;
        f.debug_struct("Settings").field("channels", channels).field("on_gap", on_gap).finish_non_exhaustive()
    }
}

/// What becomes of what is kept after the subscription was lost, for nobody knows what was said meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// All of it is removed (default).
    #[default]
    Purge,
    /// All of it is stale.
    SoftPurge,
    /// Nothing.
    Ignore,
}
