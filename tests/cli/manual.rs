//! Manual page and completions: made of the same words as the help, and well formed.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::harness::{folder, larder, run};

/// What a program makes of a text on its stdin.
fn fed(program: &str, arguments: &[&str], text: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("{program} is needed: {why}"));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(line: &[&str]) -> String {
    let ended = run(larder(&folder()).args(line));
    ended.assert(0, &[]);
    ended.stdout
}

#[test]
fn the_manual_is_well_formed_and_has_every_command() {
    for line in [&["man"][..], &["man", "purge"], &["man", "config"], &["man", "config", "diff"]] {
        let page = said(line);
        let lint = fed("mandoc", &["-T", "lint", "-W", "warning"], &page);
        let lint = String::from_utf8_lossy(&lint.stdout).into_owned();
        // A page that is made again is the same: it has no date.
        let others: Vec<&str> = lint.lines().filter(|line| !line.contains("missing date")).collect();
        assert!(others.is_empty(), "{line:?}: {others:#?}");
    }
    let shown = fed("mandoc", &["-T", "utf8", "-O", "width=300"], &said(&["man"]));
    // Bold letters are struck twice.
    let mut text = String::new();
    for c in String::from_utf8_lossy(&shown.stdout).chars() {
        if c == '\u{8}' { text.pop().map(drop).unwrap_or_default() } else { text.push(c) }
    }
    for part in [
        "LARDER CONFIG DIFF",
        "LARDER PURGE",
        "LARDER TOP",
        "larder purge project:42",
        "EXIT STATUS",
        "NO_COLOR",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn a_command_that_is_none_has_no_page() {
    let ended = run(larder(&folder()).args(["man", "nonsense"]));
    ended.assert(2, &["nonsense"]);
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]);
        for word in ["purge", "diff", "--dry-run", "completions"] {
            assert!(script.contains(word.trim_start_matches('-')), "{word} is missing for {shell}");
        }
    }
    let checked = fed("bash", &["-n"], &said(&["completions", "bash"]));
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let asked = format!(
        "{}\nCOMP_WORDS=(larder pur) COMP_CWORD=1; _larder larder pur larder; echo \"${{COMPREPLY[*]}}\"",
        said(&["completions", "bash"])
    );
    let completed = fed("bash", &[], &asked);
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "purge", "{completed:?}");
    run(larder(&folder()).args(["completions", "tcsh"])).assert(2, &["tcsh"]);
}
