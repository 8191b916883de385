//! What an application means, as somebody wrote it down beside its document.
//!
//! ```text
//! reads
//!   CLASS auth|open PATH
//! writes
//!   METHOD PATH -> the paths that show another answer after it, or `credential`
//! ```

use crate::beside;

/// The labels of one application.
pub(crate) struct Labels {
    /// Class, whether it asks who somebody is, path.
    pub(crate) reads: Vec<(String, bool, String)>,
    /// Method, path, and what it outdates.
    pub(crate) writes: Vec<(String, String, Vec<String>)>,
}

impl Labels {
    pub(crate) fn of(application: &str) -> Self {
        let mut labels = Self { reads: Vec::new(), writes: Vec::new() };
        let text = beside(&format!("{application}.labels"));
        for line in text.lines().filter(|line| line.starts_with("  ")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [method, path, "->", outdated @ ..] => {
                    let outdated = outdated.iter().map(|word| (*word).to_owned()).collect();
                    labels.writes.push(((*method).to_owned(), (*path).to_owned(), outdated));
                }
                [class, who @ ("auth" | "open"), path] => {
                    labels.reads.push((named(class), *who == "auth", (*path).to_owned()));
                }
                _ => panic!("{application}.labels: {line}"),
            }
        }
        labels
    }
}

/// The preset of a class.
fn named(class: &str) -> String {
    match class {
        "list" | "detail" => format!("crud-{class}"),
        "job" => "job-status".to_owned(),
        "reference" => "reference-data".to_owned(),
        other => other.to_owned(),
    }
}
