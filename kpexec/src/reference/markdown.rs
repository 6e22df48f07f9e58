//! The flags as Markdown, with all there is to say of each: pure.

use clap::builder::StyledStr;
use clap::{Arg, Command};

use crate::cli::{KEYS, variable};

/// A section for each heading of the help, in its order.
pub fn flags(command: &Command) -> String {
    let mut headings: Vec<&str> = Vec::new();
    for arg in shown(command) {
        if !headings.contains(&heading(arg)) {
            headings.push(heading(arg));
        }
    }
    let section = |name: &&str| {
        let items: String = shown(command).filter(|arg| heading(arg) == *name).map(item).collect();
        format!("**{name}**\n\n{items}")
    };
    headings.iter().map(section).collect::<Vec<_>>().join("\n")
}

fn shown(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set())
}

fn heading(arg: &Arg) -> &str {
    arg.get_help_heading().unwrap_or("Options")
}

fn item(arg: &Arg) -> String {
    let mut text = format!("- `{}`: {}\n", spelling(arg), help(arg));
    for value in arg.get_possible_values().iter().filter(|value| !value.is_hide_set()) {
        if !arg.get_action().takes_values() {
            break;
        }
        let about = value.get_help().map(|help| format!(": {}", plain(help))).unwrap_or_default();
        text.push_str(&format!("  - `{}`{about}\n", value.get_name()));
    }
    text
}

/// `-n, --namespace NS`
fn spelling(arg: &Arg) -> String {
    let short = arg.get_short().map(|letter| format!("-{letter}"));
    let long = arg.get_long().map(|name| format!("--{name}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let value = arg.get_value_names().and_then(|names| names.first());
    let value = value.filter(|_| arg.get_action().takes_values());
    let value = value.map(|value| match arg.is_require_equals_set() {
        true => format!("[={value}]"),
        false => format!(" {value}"),
    });
    format!("{}{}", names.join(", "), value.unwrap_or_default())
}

/// What it does, its default, and its variable, in one paragraph.
fn help(arg: &Arg) -> String {
    let short = arg.get_help().map(plain).unwrap_or_default();
    let text = arg.get_long_help().map_or_else(|| short.clone(), plain);
    // Of both clap makes one text, the first line without a full stop.
    let rest = text.strip_prefix(&short).map(str::trim).filter(|rest| !rest.is_empty());
    let mut text = short;
    if let Some(rest) = rest {
        text = format!("{text}. {rest}");
    }
    let defaults = arg.get_default_values();
    let shown = arg.get_action().takes_values() && !arg.is_hide_default_value_set();
    if let (true, Some(value)) = (shown, defaults.first()) {
        text.push_str(&format!(" [default: `{}`]", value.to_string_lossy()));
    }
    if let Some(key) = arg.get_long().filter(|long| KEYS.contains(long)) {
        text.push_str(&format!(" [env: `{}`]", variable(key)));
    }
    text
}

/// One line, in which nothing is taken for HTML.
fn plain(text: &StyledStr) -> String {
    let text = text.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('<', "\\<")
}

#[cfg(test)]
mod tests {
    use clap::builder::PossibleValue;

    use super::*;

    #[test]
    fn a_flag_is_told_of_in_full() {
        let command = Command::new("x")
            .arg(Arg::new("pod"))
            .arg(Arg::new("tty").short('t').action(clap::ArgAction::Count).help("A terminal"))
            .arg(
                Arg::new("writes")
                    .long("writes")
                    .value_name("MODE")
                    .help_heading("Files")
                    .help("What becomes of writes")
                    .long_help("What becomes of writes\n\nOf what is\nmounted nothing.")
                    .default_value("deny")
                    .value_parser([PossibleValue::new("deny").help("Refused")]),
            );
        let expected = "**Options**\n\n- `-t`: A terminal\n\n**Files**\n\n\
                        - `--writes MODE`: What becomes of writes. Of what is mounted nothing. \
                        [default: `deny`] [env: `KPEXEC_WRITES`]\n  - `deny`: Refused\n";
        assert_eq!(flags(&command), expected);
    }
}
