//! `cargo xtask toolset`: builds the tree that sessions see at `/.kpexec`, and
//! says what came of it.

use std::time::Instant;

use anyhow::Result;
use toolset::{Built, Profile, Toolset};

use crate::cluster::{layout, lock};

/// Which toolset, and what to do with it.
#[derive(clap::Args)]
pub struct Options {
    /// minimal, standard or full
    #[arg(default_value_t = Profile::Standard)]
    profile: Profile,
    /// First take the versions that Debian serves now; implies --record
    #[arg(long)]
    update: bool,
    /// First record how the patches apply: after a look at what differs
    #[arg(long)]
    record: bool,
    /// Build it a second time, and fail if that gives another tree
    #[arg(long)]
    again: bool,
}

/// Builds, and prints what was built.
pub fn perform(options: &Options) -> Result<()> {
    if options.update {
        let _lock = wait()?;
        builder().update()?;
    }
    if options.update || options.record {
        let _lock = wait()?;
        println!("toolset: building every profile to see how the patches apply (about 3 min)");
        builder().record()?;
    }
    let built = if options.again { build_again(options.profile)? } else { build(options.profile)? };
    println!("{}", built.root.display());
    println!("digest    {}", built.digest);
    println!("size      {} MB", built.size.div_ceil(1_000_000));
    println!("packages  {}", built.packages);
    Ok(())
}

/// The toolset of a profile, built if it is not in the cache.
pub fn build(profile: Profile) -> Result<Built> {
    if let Some(built) = builder().find(profile)? {
        return Ok(built);
    }
    let _lock = wait()?;
    let start = Instant::now();
    let built = builder().build(profile)?;
    let seconds = start.elapsed().as_secs();
    if seconds > 1 {
        eprintln!("toolset: {profile} built in {seconds} s");
    }
    Ok(built)
}

/// Builds it anew, and fails if that gives another tree.
pub fn build_again(profile: Profile) -> Result<Built> {
    let _lock = wait()?;
    builder().build_again(profile)
}

fn builder() -> Toolset {
    Toolset::new(&layout::cache())
}

/// One build at a time: tests in several processes ask for the same.
fn wait() -> Result<lock::Lock> {
    lock::wait_silently(&layout::cache().join("toolset.lock"))
}
