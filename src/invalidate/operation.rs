//! What was brought from outside and could not be confirmed in time, by a name under which it can be asked for again. Pure.
//!
//! Invariant: it is applied when every node has it, and not before; a process remembers only what is still to come, so whatever
//! else it has named is applied. It refuses to know what was brought.

use std::fmt;
use std::str::FromStr;

/// One of a process's invalidations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The process.
    pub(in crate::invalidate) by: u64,
    /// Its own count.
    pub(in crate::invalidate) count: u64,
}

/// How far one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It holds here, and goes on until it holds everywhere.
    Pending,
    /// It holds everywhere.
    Applied,
    /// Nobody here knows: it was brought to another process, which may have ended since.
    Lost,
}

/// It is no name of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no name of an operation")]
pub struct NoOperation;

impl Progress {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Applied => "applied",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.by, self.count)
    }
}

impl FromStr for Operation {
    type Err = NoOperation;

    fn from_str(text: &str) -> Result<Self, NoOperation> {
        let (by, count) = text.split_once('-').filter(|(by, _)| by.len() == 16).ok_or(NoOperation)?;
        let number = |digits: &str| {
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            u64::from_str_radix(digits, 16).ok().filter(|_| is_hex).ok_or(NoOperation)
        };
        Ok(Self { by: number(by)?, count: number(count)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_nothing_else_is_one() {
        let operation = Operation { by: 0xabc, count: 77 };
        assert_eq!(operation.to_string(), "0000000000000abc-4d");
        assert_eq!(operation.to_string().parse(), Ok(operation));
        for wrong in ["", "-", "abc-4d", "0000000000000abc", "0000000000000abc-", "0000000000000abc-+4", "x"]
        {
            assert_eq!(wrong.parse::<Operation>(), Err(NoOperation), "{wrong}");
        }
    }
}
