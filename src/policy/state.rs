//! `store_if`: whether the state that a JSON body names is one that is stored.
//!
//! Invariant: a body that names no state is not stored. It refuses to know how the body came.

use serde_json::Value;

use crate::policy::StoreIf;
use crate::policy::store::NoStore;

impl StoreIf {
    /// Judges a complete, decoded body; `None`: it is not JSON. The first path that finds anything decides, and if it
    /// finds several states, all of them must be among those that are stored.
    ///
    /// # Errors
    /// Why the response is not to be stored.
    pub fn judge(&self, body: Option<&Value>) -> Result<(), NoStore> {
        let body = body.ok_or(NoStore::StateNotJson)?;
        let found = self.paths.iter().map(|path| path.query(body).all()).find(|found| !found.is_empty());
        let states = found.ok_or(NoStore::StateAbsent)?;
        let listed = states.into_iter().all(|state| self.lists(state));
        if listed { Ok(()) } else { Err(NoStore::StateNotListed) }
    }

    fn lists(&self, state: &Value) -> bool {
        let text = match state {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let text = text.trim().to_lowercase();
        self.states.iter().any(|listed| listed.to_lowercase() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(body: &str) -> Result<(), NoStore> {
        let paths = ["$.status", "$.state", "$.jobs[*].state"].map(|path| path.parse().unwrap()).to_vec();
        let rule = StoreIf { paths, states: ["done", "FAILED", "3"].map(String::from).to_vec() };
        rule.judge(serde_json::from_str(body).ok().as_ref())
    }

    #[test]
    fn a_terminal_state_is_stored_in_any_case_and_under_any_path() {
        for body in [r#"{"status":"Done"}"#, r#"{"state":"failed"}"#, r#"{"status":3}"#] {
            assert_eq!(judge(body), Ok(()), "{body}");
        }
    }

    #[test]
    fn the_first_path_that_finds_a_state_decides() {
        assert_eq!(judge(r#"{"status":"done","state":"CA"}"#), Ok(()));
        assert_eq!(judge(r#"{"status":"running","state":"done"}"#), Err(NoStore::StateNotListed));
    }

    #[test]
    fn of_several_states_all_must_be_terminal() {
        assert_eq!(judge(r#"{"jobs":[{"state":"done"},{"state":"failed"}]}"#), Ok(()));
        assert_eq!(judge(r#"{"jobs":[{"state":"done"},{"state":"running"}]}"#), Err(NoStore::StateNotListed));
    }

    #[test]
    fn no_json_and_no_state_are_not_stored() {
        assert_eq!(judge("done"), Err(NoStore::StateNotJson));
        assert_eq!(judge(""), Err(NoStore::StateNotJson));
        assert_eq!(judge("{}"), Err(NoStore::StateAbsent));
        assert_eq!(judge(r#"{"status":null}"#), Err(NoStore::StateNotListed));
    }
}
