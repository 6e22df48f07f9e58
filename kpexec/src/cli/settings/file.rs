//! The file: `kpexec/config.toml` where the XDG Base Directory Specification puts
//! configuration, or what `KPEXEC_CONFIG` names.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{KEYS, Setting, SettingsError, Source};

/// The variable that names the file; empty, there is none.
const FILE: &str = "KPEXEC_CONFIG";

/// What the file says. Only one that is named has to be there.
pub fn read(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Vec<Setting>, SettingsError> {
    let named = variable(FILE).map(PathBuf::from);
    let must_be_there = named.is_some();
    let usual = || {
        let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = absolute("XDG_CONFIG_HOME");
        let folder = folder.or_else(|| Some(absolute("HOME")?.join(".config")));
        Some(folder?.join("kpexec/config.toml"))
    };
    let path = named.or_else(usual).filter(|path| !path.as_os_str().is_empty());
    let Some(path) = path else { return Ok(Vec::new()) };
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text, &path),
        Err(error)
            if !must_be_there
                && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
        {
            Ok(Vec::new())
        }
        Err(source) => Err(SettingsError::Read { path, source }),
    }
}

fn parse(text: &str, path: &Path) -> Result<Vec<Setting>, SettingsError> {
    let line = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let file = || path.to_owned();
    let table = DeTable::parse(text).map_err(|error| SettingsError::Syntax {
        path: file(),
        line: line(error.span().map_or(0, |span| span.start)),
        message: error.message().lines().collect::<Vec<_>>().join(", "),
    })?;
    let setting = |(key, value): (toml::Spanned<_>, toml::Spanned<DeValue<'_>>)| {
        let line = line(key.span().start);
        let key: std::borrow::Cow<'_, str> = key.into_inner();
        let Some(key) = KEYS.into_iter().find(|known| *known == key) else {
            return Err(SettingsError::UnknownKey { path: file(), line, key: key.into_owned() });
        };
        let value = match value.into_inner() {
            DeValue::String(text) => text.into_owned(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Boolean(yes) => u8::from(yes).to_string(),
            _ => return Err(SettingsError::NotOne { path: file(), line, key }),
        };
        Ok(Setting { key, value, source: Source::File { path: file(), line } })
    };
    table.into_inner().into_iter().map(setting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(&'static str, String, String)>, String> {
        let parsed = super::parse(text, Path::new("/f.toml"));
        let parts = |setting: Setting| {
            let place = setting.place();
            (setting.key, setting.value, place)
        };
        let parsed = parsed.map(|settings| settings.into_iter().map(parts).collect());
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_is_a_text_a_number_or_a_yes() {
        let text = "# mine\nprofile = 'restricted'\n\nhelper-ttl = 600\nshare = true\n";
        let mut parsed = parse(text).unwrap();
        parsed.sort();
        let expected = [
            ("helper-ttl", "600", "/f.toml:4"),
            ("profile", "restricted", "/f.toml:2"),
            ("share", "1", "/f.toml:5"),
        ];
        assert_eq!(parsed, expected.map(|(key, value, place)| (key, value.into(), place.into())));
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line() {
        assert_eq!(parse("\nprofil = 'x'").unwrap_err(), "/f.toml:2: unknown key \"profil\"");
        let error = parse("[helper]\nimage = 'x'").unwrap_err();
        assert_eq!(error, "/f.toml:1: unknown key \"helper\"");
        let not_one = "/f.toml:1: writes is one value: a text, a number, true or false";
        assert_eq!(parse("writes = ['deny']").unwrap_err(), not_one);
        let syntax = parse("share = 1\nwrites = deny\n").unwrap_err();
        assert!(syntax.starts_with("/f.toml:2: ") && !syntax.contains('\n'), "{syntax}");
        let twice = parse("share = 1\nshare = 0\n").unwrap_err();
        assert!(twice.starts_with("/f.toml:2: "), "{twice}");
    }

    #[test]
    fn the_file_is_where_xdg_puts_it_unless_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path.into_os_string()
        };
        write("home/.config/kpexec/config.toml", "linger = 1");
        write("xdg/kpexec/config.toml", "linger = 2");
        let mine = write("mine.toml", "linger = 3");
        let (home, xdg) = (folder.path().join("home"), folder.path().join("xdg"));
        let read = |variables: &[(&str, OsString)]| {
            let get = |wanted: &str| {
                let found = variables.iter().find(|(name, _)| *name == wanted);
                found.map(|(_, value)| value.clone())
            };
            super::read(&get).map(|all| all.first().map(|setting| setting.value.clone()))
        };
        let home = ("HOME", home.into_os_string());
        let xdg = ("XDG_CONFIG_HOME", xdg.into_os_string());
        let value = |text: &str| Some(text.to_owned());
        assert_eq!(read(std::slice::from_ref(&home)).unwrap(), value("1"));
        assert_eq!(read(&[home.clone(), xdg.clone()]).unwrap(), value("2"));
        assert_eq!(read(&[home.clone(), ("XDG_CONFIG_HOME", "rel".into())]).unwrap(), value("1"));
        assert_eq!(read(&[home.clone(), xdg.clone(), (FILE, mine)]).unwrap(), value("3"));
        assert_eq!(read(&[home.clone(), xdg, (FILE, "".into())]).unwrap(), None);
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("HOME", "/nonexistent".into())]).unwrap(), None);
        let error = read(&[home, (FILE, "/nonexistent".into())]).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the configuration /nonexistent");
    }
}
