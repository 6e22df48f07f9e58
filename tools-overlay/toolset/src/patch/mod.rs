//! What is changed in the files of the packages so that they work at
//! `/.kpexec`, and use nothing of the target on the way.

pub mod closed;
mod loader;
mod moved;
pub mod record;
pub mod rules;
mod strings;
pub mod texts;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

use anyhow::{Result, anyhow, ensure};

use crate::stage::in_parallel;
use crate::tree::Tree;
use crate::{elf, scripts};
use record::Counts;
use rules::Rule;
use scripts::Script;

/// Patches every file of the tree. Gives how often each rule applied to each
/// file, for [`record`]; every file of the tree is named.
pub fn all(tree: &Tree) -> Result<Counts> {
    let mut files = Vec::new();
    for path in tree.files()? {
        if fs::symlink_metadata(tree.at(&path))?.is_file() {
            files.push(path);
        }
    }
    let rules = every_rule();
    let found = Mutex::new((Counts::new(), Vec::new()));
    in_parallel(&files, |path| {
        let result = one(tree, path, &rules);
        let mut found = found.lock().map_err(|_| anyhow!("a worker panicked"))?;
        match result {
            // Also where nothing applied: a count that fell to nothing is one.
            Ok(Some(counts)) => drop(found.0.insert(path.clone(), counts)),
            Ok(None) => {}
            Err(error) => found.1.push(format!("{path}: {error:#}")),
        }
        Ok(())
    })?;
    let (counts, mut errors) = found.into_inner().map_err(|_| anyhow!("a worker panicked"))?;
    errors.sort_unstable();
    ensure!(errors.is_empty(), "cannot patch\n  {}", errors.join("\n  "));
    Ok(counts)
}

/// The rules for programs, in the order in which they are applied: those of
/// single files before those of all.
fn every_rule() -> Vec<Rule> {
    [closed::rules(), rules::OF_SOME.to_vec(), rules::OF_ALL.to_vec()].concat()
}

/// Gives nothing for a file that was left out.
fn one(tree: &Tree, path: &str, rules: &[Rule]) -> Result<Option<BTreeMap<String, usize>>> {
    let file = tree.at(path);
    let content = fs::read(&file)?;
    let Some(facts) = elf::facts(&content)? else {
        return text(tree, path, &content);
    };
    let relocated = loader::relocate(&file, &facts)?;
    let mut binary = fs::read(&file)?;
    let mut counts = strings::apply_all(&mut binary, path, rules)?;
    counts.extend(moved::apply_all(&mut binary, path)?);
    if relocated {
        counts.insert(loader::NAME.to_owned(), 1);
    }
    fs::write(&file, binary)?;
    Ok(Some(counts))
}

/// A file that is no program: its first line, and what `texts` says.
fn text(tree: &Tree, path: &str, content: &[u8]) -> Result<Option<BTreeMap<String, usize>>> {
    let mut counts = BTreeMap::new();
    let script = scripts::rewrite(content);
    // What nobody executes may begin in any way.
    let script = if in_program_folder(path) { script? } else { script.unwrap_or(Script::None) };
    let content = match script {
        Script::LeftOut => {
            tree.remove(path)?;
            return Ok(None);
        }
        Script::Rewritten(content) => {
            counts.insert("#!".to_owned(), 1);
            content
        }
        Script::None => content.to_vec(),
    };
    let (content, changed) = texts::apply(content, path)?;
    counts.extend(changed);
    if in_program_folder(path) {
        scripts::check(&content, path)?;
    }
    if !counts.is_empty() {
        fs::write(tree.at(path), content)?;
    }
    Ok(Some(counts))
}

fn in_program_folder(path: &str) -> bool {
    path.starts_with("bin/") || path.starts_with("git-core/")
}

/// Fails unless each rule applied somewhere: one that no longer does is a path
/// that is spelt in another way now. Only the full profile has every file.
pub fn check_all_used(counts: &Counts) -> Result<()> {
    let used = |name: &str| counts.values().any(|rules| rules.contains_key(name));
    let rules = every_rule();
    let names = rules.iter().map(Rule::name).chain(texts::TEXTS.iter().map(texts::Text::name));
    let unused: Vec<String> = names.filter(|name| !used(name)).collect();
    ensure!(unused.is_empty(), "rules that apply to no file: {}", unused.join(", "));
    Ok(())
}
