//! `kpexec config view`: each default, and where it comes from.

use clap::CommandFactory as _;

use crate::cli::{Cli, KEYS, Setting, Settings, flag_id};
use crate::report;
use crate::run::{BUILT_IN_IMAGE, RunError};
use crate::stdout;
use crate::table::table;

/// Prints them all, once they are found to be right.
pub fn view(settings: &Settings) -> Result<u8, RunError> {
    settings.check()?;
    stdout::print(&table(&rows(settings)))?;
    Ok(0)
}

fn rows(settings: &Settings) -> Vec<[String; 3]> {
    let row = |key| match settings.get(key) {
        Some(setting @ Setting { value, .. }) => [key, value, &setting.place()].map(report::escape),
        None => [key, &built_in(key), "default"].map(str::to_owned),
    };
    let head = ["KEY", "VALUE", "SOURCE"].map(str::to_owned);
    std::iter::once(head).chain(KEYS.into_iter().map(row)).collect()
}

/// What a flag is worth without being given, as kubectl writes nothing.
fn built_in(key: &str) -> String {
    let command = Cli::command();
    let flag = command.get_arguments().find(|arg| arg.get_id() == flag_id(key).as_str());
    let value = flag.and_then(|arg| arg.get_default_values().first()?.to_str().map(str::to_owned));
    let image = || BUILT_IN_IMAGE.filter(|_| key == "helper-image").map(str::to_owned);
    value.or_else(image).unwrap_or_else(|| "<none>".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_value_and_its_source() {
        let set = [("profile".to_owned(), "restricted\u{1b}".to_owned())];
        let rows = rows(&Settings::from_client(set));
        assert_eq!(rows.len(), 1 + KEYS.len());
        let of = |key: &str| rows.iter().find(|row| row[0] == key).unwrap()[1..].to_vec();
        assert_eq!(of("profile"), ["restricted\\x1b", "KPEXEC_PROFILE"]);
        assert_eq!(of("writes"), ["through", "default"]);
        assert_eq!(of("helper-ttl"), ["5m", "default"]);
        assert_eq!(of("cri-socket"), ["<none>", "default"]);
        assert_eq!(of("KEY"), ["VALUE", "SOURCE"]);
    }
}
