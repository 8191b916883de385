//! Rules from OpenAPI, held against applications whose meaning somebody wrote down: recall and precision of classes, of the
//! mark for who asks, and of which write outdates which read. And whatever a document holds, the file is one that starts.
//!
//! What is measured is the file, as Larder reads it, and not what the generator thought.

#![allow(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]
#![allow(clippy::print_stdout, reason = "what was missed, and precision, are what a run is worth")]

mod labels;
mod meaning;
mod measured;
mod strange;

use larder::config::{Config, Env, Flags, load_str};
use larder::openapi::{Analysis, Document, Wishes, analyse};

/// The applications whose documents lie beside this file.
const APPLICATIONS: [&str; 10] =
    ["answers", "blog", "booking", "crm", "files", "iot", "projects", "school", "shop", "template"];

/// Whatever lies beside this file.
fn beside(name: &str) -> String {
    let path = format!("{}/tests/openapi/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path}: {why}"))
}

fn analysed(text: &str) -> Analysis {
    let document = Document::parse(text).unwrap_or_else(|why| panic!("{why}"));
    analyse(&document, &Wishes { source: "a test".into(), ..Wishes::default() })
        .unwrap_or_else(|why| panic!("{why}"))
}

/// What Larder makes of a file.
fn loaded(yaml: &str) -> Config {
    load_str("larder.yaml", yaml, &Flags::default(), &Env::default())
        .unwrap_or_else(|report| panic!("{}\n{yaml}", report.render(false)))
}
