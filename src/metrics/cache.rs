//! What the cache did for a request: one word in an answer, in the log, and as a label.
//!
//! Invariant: the words are of a fixed list. It refuses to know why.

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// What the cache did for a request: the `X-Cache` field, the access log's `cache` and the metrics' label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cache {
    /// Answered from a fresh entry.
    Hit,
    /// Fetched from the origin, for the cache.
    Miss,
    /// Answered from an entry past its life.
    Stale,
    /// Answered from an entry that the origin has just confirmed with 304.
    Revalidated,
    /// The cache was not asked, or may not keep the answer.
    Bypass,
}

impl Cache {
    /// How many there are.
    pub const COUNT: usize = 5;

    /// All, in the order by which [`Metrics::answered`] counts them.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Hit, Self::Miss, Self::Stale, Self::Revalidated, Self::Bypass];

    /// The value of `X-Cache`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Stale => "STALE",
            Self::Revalidated => "REVALIDATED",
            Self::Bypass => "BYPASS",
        }
    }

    /// The value of the `cache` label and of the access log's `cache`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Bypass => "bypass",
        }
    }
}

impl EncodeLabelValue for Cache {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.label(), encoder)
    }
}
