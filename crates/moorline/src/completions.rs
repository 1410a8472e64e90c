//! `moorline completions`: what a shell needs, from the table of what may be typed.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::cli::Cli;
use crate::exit::Code;
use crate::output;

/// Prints the script of `shell`.
///
/// # Errors
/// When standard output cannot be written.
pub fn completions(shell: Shell) -> Result<Code> {
    // Put together first: the generator panics when its reader goes away.
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "moorline", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Code::Ok)
}
