//! What a Redis says to who has subscribed: confirmations, messages, complaints. Pure.

use redis::{ServerError, Value};

/// Most bytes of a channel's name or a message that are shown to people.
const SHOWN: usize = 128;

/// One reply on a connection that has subscribed.
#[derive(Debug, PartialEq)]
pub(in crate::invalidate) enum Said {
    /// A channel or pattern is heard from now on.
    Confirmed,
    /// Somebody published.
    Message {
        /// On which channel.
        channel: Vec<u8>,
        /// What.
        payload: Vec<u8>,
    },
    /// An error.
    Complaint(ServerError),
    /// Anything else, a PONG among it: it is there.
    Other,
}

impl Said {
    /// Reads a reply: `[subscribe|psubscribe, name, count]`, `[message, channel, payload]` or
    /// `[pmessage, pattern, channel, payload]`.
    pub(in crate::invalidate) fn read(reply: Value) -> Self {
        let parts = match reply {
            Value::Array(parts) => parts,
            Value::ServerError(why) => return Self::Complaint(why),
            _ => return Self::Other,
        };
        let mut parts = parts.into_iter().map(|part| match part {
            Value::BulkString(text) => text,
            _ => Vec::new(),
        });
        let kind = parts.next().unwrap_or_default();
        match kind.as_slice() {
            b"subscribe" | b"psubscribe" => Self::Confirmed,
            b"message" | b"pmessage" => {
                let mut parts = parts.skip(usize::from(kind[0] == b'p'));
                match (parts.next(), parts.next()) {
                    (Some(channel), Some(payload)) => Self::Message { channel, payload },
                    _ => Self::Other,
                }
            }
            _ => Self::Other,
        }
    }
}

/// Whether a channel's name stands for many, as Redis reads it.
pub(in crate::invalidate) fn is_pattern(channel: &str) -> bool {
    channel.contains(['*', '?', '['])
}

/// Bytes of unknown origin for a line that people read.
pub(in crate::invalidate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    text.chars().flat_map(char::escape_debug).chain(more.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &str) -> Said {
        Said::read(redis::parse_redis_value(bytes.as_bytes()).unwrap())
    }

    #[test]
    fn a_message_is_the_same_by_name_and_by_pattern() {
        let message = Said::Message { channel: b"c:1".to_vec(), payload: b"p".to_vec() };
        assert_eq!(said("*3\r\n$7\r\nmessage\r\n$3\r\nc:1\r\n$1\r\np\r\n"), message);
        assert_eq!(said("*4\r\n$8\r\npmessage\r\n$3\r\nc:*\r\n$3\r\nc:1\r\n$1\r\np\r\n"), message);
    }

    #[test]
    fn confirmations_complaints_and_all_else_are_told_apart() {
        assert_eq!(said("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"), Said::Confirmed);
        assert_eq!(said("*3\r\n$10\r\npsubscribe\r\n$1\r\nc\r\n:2\r\n"), Said::Confirmed);
        assert!(matches!(said("-NOPERM this user has no permissions\r\n"), Said::Complaint(_)));
        for other in [
            "*2\r\n$4\r\npong\r\n$0\r\n\r\n",
            "+PONG\r\n",
            "$-1\r\n",
            "*0\r\n",
            "*1\r\n$7\r\nmessage\r\n",
            "*3\r\n$8\r\npmessage\r\n$1\r\nc\r\n$1\r\nc\r\n",
            "*1\r\n:1\r\n",
        ] {
            assert_eq!(said(other), Said::Other, "{other}");
        }
    }

    #[test]
    fn what_people_are_shown_is_short_and_cannot_move_their_cursor() {
        assert_eq!(shown(b"a\x1b[2J\r\nb\xff"), "a\\u{1b}[2J\\r\\nb\u{fffd}");
        assert_eq!(shown(&[b'x'; 1000]).chars().count(), SHOWN + 1);
        assert_eq!(shown("é".repeat(SHOWN).as_bytes()).chars().filter(|c| *c == 'é').count(), SHOWN / 2);
    }

    #[test]
    fn patterns_are_what_redis_takes_for_them() {
        for (channel, pattern) in
            [("cache:invalidate", false), ("cache:*", true), ("c?", true), ("c[ab]", true)]
        {
            assert_eq!(is_pattern(channel), pattern, "{channel}");
        }
    }
}
