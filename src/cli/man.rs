//! `larder man`: the command line as a manual page, of everything or of one command.
//!
//! It is made of what `--help` says, so that neither says what the other does not.

use std::io;
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;

use crate::cli::admin_client::Failure;
use crate::cli::{Said, say};

const EXAMPLES: &str = "\
Examples:
  larder man | man -l -
  larder man > /usr/local/share/man/man1/larder.1
  larder man config diff";

/// What the shell finds in `$?`.
const EXITS: &str = r#".SH "EXIT STATUS"
.TP
0
All is well.
.TP
1
Something failed, or what was asked for does not hold.
.TP
2
The command line is wrong.
.TP
78
The configuration is wrong.
"#;

/// What every command hears of.
const ENVIRONMENT: &str = r#".SH ENVIRONMENT
.TP
LARDER_CONFIG
The configuration file.
.TP
LARDER_ADMIN, LARDER_ADMIN_TOKEN
Where a running Larder is asked, and with which token.
.TP
LARDER_UPSTREAM, LARDER_LISTEN, REDIS_URL, CACHE_TTL, CACHE_ENABLED
Stand above the file; \fBlarder config show\fR names the source of every value.
.TP
NO_COLOR
No colours, on a terminal either.
"#;

/// `larder man`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// One command, e.g. `purge` or `config check`; all of them on one page, unless it is named
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// Prints the page for the command line that `all` describes.
pub fn run(args: &Args, all: Command) -> ExitCode {
    say(page(&args.command, all).unwrap_or_else(Said::from))
}

fn page(names: &[String], all: Command) -> Result<Said, Failure> {
    let mut all = all.disable_help_subcommand(true);
    all.build();
    let command = names.iter().try_fold(&all, |command, name| {
        let stranger =
            || Failure::usage(format!("there is no command `{}`; see larder --help", names.join(" ")));
        command.find_subcommand(name).ok_or_else(stranger)
    })?;
    let written = |_| Failure::new("the page cannot be made");
    let mut page = Vec::new();
    let whole = Man::new(command.clone());
    whole.render_name_section(&mut page).and_then(|()| sections(command, &mut page)).map_err(written)?;
    let mut page = title(command) + &String::from_utf8_lossy(&page);
    below(command, &mut page).map_err(written)?;
    // Two breaks and a space between are one space.
    Ok(Said::data(page.replace(".br\n\n.br\n", ".sp\n") + EXITS + ENVIRONMENT))
}

/// The page's head. It has no date: a page that is made again is the same.
fn title(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or("larder").replace(' ', "-").to_uppercase();
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH {name} 1 \"\" \"Larder {version}\" \"Larder\"\n")
}

/// What `--help` of a command says.
fn sections(command: &Command, out: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(command.clone());
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(out)?;
    }
    if command.get_after_help().is_some() {
        man.render_extra_section(out)?;
    }
    Ok(())
}

/// Every command below `command`, each under its full name, with its sections below that.
fn below(command: &Command, page: &mut String) -> io::Result<()> {
    for each in command.get_subcommands() {
        let mut own = Vec::new();
        sections(each, &mut own)?;
        let name = each.get_bin_name().unwrap_or(each.get_name()).to_uppercase();
        page.push_str(&format!(".SH \"{name}\"\n"));
        page.push_str(&String::from_utf8_lossy(&own).replace(".SH ", ".SS "));
        below(each, page)?;
    }
    Ok(())
}
