//! Secrets: read like any text, compared, and shown nowhere.

use crate::config::shape::{REDACTED, Refusal, Scalar};

/// Text that is never shown; left empty by a placeholder it was not said.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

/// A secret that has to be there once it is asked for, whatever the placeholder made of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct NeededSecret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(REDACTED)
    }
}

impl std::fmt::Debug for NeededSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Scalar for Secret {
    const WHAT: &'static str = "a secret";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Refusal> {
        let visible = text.bytes().all(|b| b.is_ascii_graphic());
        match text {
            "" => Err(Refusal::new("is empty", "leave the key out, or write ${VARIABLE:-}")),
            _ if visible => Ok(Self(text.to_owned())),
            _ => Err(Refusal::new(
                "holds a space or a sign that no header can carry",
                "use letters and digits",
            )),
        }
    }

    fn show(&self) -> String {
        REDACTED.to_owned()
    }

    fn cut(&self) -> Option<&str> {
        Some(&self.0)
    }
}

impl Scalar for NeededSecret {
    const WHAT: &'static str = "a secret";
    const SECRET: bool = true;
    const EMPTY_IS_UNSAID: bool = false;

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "" => Err(Refusal::new("is empty", "write ${file:/run/secrets/name}, or leave the key out")),
            _ => Ok(Self(text.to_owned())),
        }
    }

    fn show(&self) -> String {
        REDACTED.to_owned()
    }

    fn cut(&self) -> Option<&str> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_nowhere() {
        let secret = Secret::parse("hunter2").unwrap();
        assert!(!format!("{secret:?} {}", secret.show()).contains("hunter2"));
        assert!(!Secret::parse("hunter 2").unwrap_err().message.contains("hunter"));
    }
}
