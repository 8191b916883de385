//! What the commands have in common that ask a running Larder once: whom they ask, and for whom the answer is shown.
//!
//! It refuses to know what is asked, and what an answer means.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::Said;
use crate::cli::admin_client::{Access, Admin, Failure};
use crate::config::Env;

/// The flags for that.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Asking {
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(crate) access: Access,
}

impl Asking {
    /// Who is asked.
    ///
    /// # Errors
    /// As [`Access::find`].
    pub(crate) fn admin(&self, env: &Env) -> Result<Admin, Failure> {
        self.access.find(env)
    }

    /// The answer as it came for programs, or else in the words of `told`.
    pub(crate) fn said(&self, answer: &Value, told: impl FnOnce(&Value) -> String) -> Said {
        Said::data(if self.json { format!("{answer:#}\n") } else { told(answer) })
    }

    /// The same where words are found for what the answer says, once it is read.
    ///
    /// # Errors
    /// It is none that this version understands.
    pub(crate) fn said_of<T: DeserializeOwned>(
        &self,
        answer: Value,
        told: impl FnOnce(&T) -> String,
    ) -> Result<Said, Failure> {
        if self.json {
            return Ok(self.said(&answer, |_| String::new()));
        }
        let read = serde_json::from_value(answer).map_err(|why| {
            Failure::new(format!(
                "the answer is not one that this version understands ({why}); see it with --json"
            ))
        })?;
        Ok(Said::data(told(&read)))
    }

    /// Whether it is for programs.
    pub(crate) fn is_for_programs(&self) -> bool {
        self.json
    }
}
