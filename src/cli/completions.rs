//! `larder completions`: what a shell needs to complete `larder`'s command line.

use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use crate::cli::{Said, say};

const EXAMPLES: &str = "\
Examples:
  larder completions bash > /etc/bash_completion.d/larder
  larder completions zsh > \"${fpath[1]}/_larder\"
  larder completions fish > ~/.config/fish/completions/larder.fish";

/// `larder completions`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Whose script is printed
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script for the command line that `all` describes.
pub fn run(args: &Args, all: Command) -> ExitCode {
    say(Said::data(script(args.shell, all)))
}

fn script(shell: Shell, mut all: Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut all, "larder", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
