//! `imgbake completions`: what clap makes of the command line, and names, versions and channels beside it.

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use imgbake_types::record::ListedVersion;

use crate::app::App;
use crate::cli::Cli;
use crate::components;
use crate::failure::Failure;

/// Bash parts words at colons: the whole word is read from the line, and what stands before its last colon
/// is taken off what is offered.
const BASH: &str = r#"
_imgbake_references() {
    local line="${COMP_LINE:0:COMP_POINT}"
    local word="${line##* }"
    case "${COMP_WORDS[1]}" in
    @COMMANDS@)
        if [[ "$word" != -* ]]; then
            COMPREPLY=( $(compgen -W "$(imgbake complete 2>/dev/null)" -- "$word") )
            [[ "$word" != *:* ]] || COMPREPLY=( "${COMPREPLY[@]#"${word%:*}:"}" )
            [[ ${#COMPREPLY[@]} -eq 0 ]] || return 0
        fi ;;
    esac
    _imgbake "$@"
}
complete -F _imgbake_references -o bashdefault -o default imgbake
"#;

const ZSH: &str = r#"
_imgbake_references() {
    case "${words[2]}" in
    @COMMANDS@)
        if [[ "$PREFIX" != -* ]]; then
            local -a references=( ${(f)"$(imgbake complete 2>/dev/null)"} )
            compadd -a references && return 0
        fi ;;
    esac
    _imgbake "$@"
}
compdef _imgbake_references imgbake
"#;

const FISH: &str = "
complete -c imgbake -f -n '__fish_seen_subcommand_from @COMMANDS@' -a '(imgbake complete 2>/dev/null)'
";

/// Prints a completion script.
pub(super) fn run(app: &App, shell: Shell) -> Result<(), Failure> {
    let mut command = Cli::command();
    let commands = with_references(&command);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "imgbake", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    let (more, between) = match shell {
        Shell::Bash => (BASH, " | "),
        Shell::Zsh => (ZSH, "|"),
        Shell::Fish => (FISH, " "),
        _ => ("", ""),
    };
    script.push_str(&more.replace("@COMMANDS@", &commands.join(between)));
    app.print(&script)
}

/// The commands that take a version of the local registry.
fn with_references(command: &Command) -> Vec<String> {
    let takes = |command: &&Command| {
        let mut arguments = command.get_positionals();
        arguments.any(|argument| argument.get_id().as_str().starts_with("reference"))
    };
    command.get_subcommands().filter(takes).map(|command| command.get_name().to_owned()).collect()
}

/// Prints what a reference may be, a line each: every name, its versions and its channels.
pub(super) async fn candidates(app: &App) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for version in components::registry(&app.home)?.versions(None).await? {
        let ListedVersion::Readable(version) = version else { continue };
        lines.push(version.name.clone());
        lines.push(format!("{}:{}", version.name, version.version));
        lines.extend(version.channels.iter().map(|channel| format!("{}:{channel}", version.name)));
    }
    lines.sort();
    lines.dedup();
    lines.push(String::new());
    app.print(&lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_with_references_are_known() {
        let commands = with_references(&Cli::command());
        for name in ["show", "pull", "promote", "rm", "test", "verify"] {
            assert!(commands.contains(&name.to_owned()), "{name}: {commands:?}");
        }
        assert!(!commands.contains(&"build".to_owned()));
    }
}
