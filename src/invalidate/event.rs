//! The wire forms of an invalidation: words, JSON, named events, CloudEvents. Pure.

use crate::route::reach::ItemTemplate;

/// `events:`: which names outdate what.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Patterns of names (`*` for any text) and what they outdate, in the order of the file; all that match count.
    pub rules: Vec<(String, Vec<ItemTemplate>)>,
}
