//! Finds the lines of a head that may still be arriving.
//!
//! Invariant: each byte is searched once, however the head is split; a line is judged only when it is complete, or when it can
//! no longer be short enough, so that the verdict does not depend on the split. It refuses to know what a line means.

use crate::guard::violation::Violation;

/// How far into a head the search has come; offsets count from the head's first byte.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lines {
    start: usize,
    searched: usize,
}

impl Lines {
    /// The next whole line of `head`, without its CRLF; `None` if it is still to come. Its LF must lie before the offset `end`,
    /// or it is `too_long`.
    pub(crate) fn next<'a>(
        &mut self,
        head: &'a [u8],
        end: usize,
        too_long: Violation,
    ) -> Result<Option<&'a [u8]>, Violation> {
        let searchable = &head[self.searched..head.len().min(end)];
        let Some(found) = memchr::memchr(b'\n', searchable) else {
            if head.len() >= end {
                return Err(too_long);
            }
            self.searched = head.len();
            return Ok(None);
        };
        let line = &head[self.start..self.searched + found];
        self.searched += found + 1;
        self.start = self.searched;
        line.strip_suffix(b"\r").map(Some).ok_or(Violation::BareLf)
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> usize {
        self.start
    }
}
