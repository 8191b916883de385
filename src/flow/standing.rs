//! What a soft invalidation has left of an entry, for the one who asks.
//!
//! Invariant: nobody is served what he has softly outdated himself, neither as stale nor in place of an error: he reads his
//! own writes. Who that is, is looked at for softened entries only.
//!
//! | author | entry, fetched at `p` | others | what keeps the promise |
//! |---|---|---|---|
//! | writes; applied as position `f > p` | softened | | author and position noted with the floor (`store/author.rs`) |
//! | is answered | | get it as stale | within the windows of RFC 5861 |
//! | asks | | | softened, and `p` below his `f`: he validates, and waits |
//! | | a flight from before `f` lands | get it | not joined by him, refused by the gate |
//! | | renewed at `f` or later | get that | it is not softened, and `f` is not above its position |

use std::borrow::Cow;

use http::request::Parts as Head;

use crate::flow::Visit;
use crate::policy::Life;
use crate::store::author::Author;
use crate::store::entry::Entry;

impl Visit<'_> {
    /// Who asks, as the author of what he writes: his credentials if he shows any, on public routes too, less what only
    /// writes carry.
    pub(crate) fn author(&self, head: &Head) -> Author {
        let digest = self.flow.rules.identity.digest_of_writer(&head.headers);
        digest.map_or(Author::Address(self.client.origin), Author::Credential)
    }

    /// The life of a stored response as far as it concerns the one who asks.
    pub(crate) fn life<'e>(&self, head: &Head, entry: &'e Entry) -> Cow<'e, Life> {
        let Some(at) = entry.softened() else { return Cow::Borrowed(&entry.life) };
        let overwritten = self.flow.store.is_overwritten(entry, || self.author(head));
        Cow::Owned(if overwritten { entry.life.overwritten(at) } else { entry.life.softened(at) })
    }
}
