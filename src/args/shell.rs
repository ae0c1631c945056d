//! The arguments of commands that are about the command line itself.

use clap::Args;
use clap_complete::Shell;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  netc completions bash > ~/.local/share/bash-completion/completions/netc\n  \
                        netc completions zsh > ~/.zfunc/_netc\n  \
                        netc completions fish > ~/.config/fish/completions/netc.fish")]
pub struct CompletionsArgs {
    /// The shell: bash, elvish, fish, powershell or zsh.
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    pub shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  netc man | man -l -\n  netc man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// A folder for the pages of all commands, made where it is missing; without it, the page of netc is printed.
    pub folder: Option<String>,
}
