//! What a node says of itself to the others: which version it is, and the digest of the configuration that is in force there.
//!
//! Pure. Invariant: what another version says is shown as it is, and read only as far as it is understood.

/// Says it.
pub fn of(digest: &str) -> String {
    format!("larder {} {digest}", env!("CARGO_PKG_VERSION"))
}

/// The digest that `about` tells.
pub fn digest(about: &str) -> Option<&str> {
    let (_version, digest) = about.strip_prefix("larder ")?.split_once(' ')?;
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_and_what_others_say_is_not_guessed() {
        assert_eq!(digest(&of("00ff")), Some("00ff"));
        assert_eq!(digest("larder 9.0.0 00ff"), Some("00ff"));
        assert_eq!((digest("I am ann"), digest(""), digest("larder 1")), (None, None, None));
    }
}
