//! Who is asked before a copy of a request leaves.
//!
//! Invariant: nothing of a copy is written before leave is given for it, and it is written at once afterwards. It refuses to
//! know why leave is given or not.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::upstream::Error;

type Asked = dyn Fn() -> BoxFuture<'static, Leave> + Send + Sync;

/// Whether a request may go to the origin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It may.
    Given,
    /// It may not; whoever sends it hears [`Error::Withheld`].
    Withheld,
}

/// Asked with a connection at hand, for each copy of a request: how long that takes is its own to bound.
#[derive(Clone)]
pub struct Permit(Arc<Asked>);

impl Permit {
    /// Calls `asked` before each copy.
    pub fn new(asked: impl Fn() -> BoxFuture<'static, Leave> + Send + Sync + 'static) -> Self {
        Self(Arc::new(asked))
    }

    /// Asks.
    ///
    /// # Errors
    /// [`Error::Withheld`].
    pub(in crate::upstream) async fn ask(&self) -> Result<(), Error> {
        match (self.0)().await {
            Leave::Given => Ok(()),
            Leave::Withheld => Err(Error::Withheld),
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}
