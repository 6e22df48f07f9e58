//! Strings whose replacement is too long for their place.
//!
//! The new one is put where there is room, behind the code in its last page; and
//! the instructions and relocations that hold the address of the old one get
//! the new one's.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem::find_iter;
use object::elf::ProgramHeader64;
use object::{LittleEndian, U64};

use super::rules::matches;
use crate::elf::{self, Reference, Segment};

/// One such string.
struct Moved {
    /// Paths in the tree, as in [`Rule`](super::rules::Rule).
    files: &'static [&'static str],
    from: &'static str,
    to: &'static str,
}

const MOVED: &[Moved] = &[
    // system(3), popen(3) and the like. Many containers have no shell, and in
    // others it is the target's.
    Moved { files: &["*"], from: "/bin/sh\0", to: "/.kpexec/bin/sh\0" },
    // Names of ports, also in an empty image. `services` alone is used, too.
    Moved { files: &["lib/libc.so.6"], from: "/etc/services\0", to: "/.kpexec/serv\0" },
    // Where both were installed: they put programs of theirs in front of PATH.
    Moved { files: &["bin/git", "bin/perf", "git-core/git-*"], from: "/usr\0", to: "/.kpexec\0" },
    // Files of the target's home folder: code, and passwords for other hosts.
    // With a slash at its end a path is no file's. Their ends are the names of
    // other things, which is why they stay where they are.
    Moved { files: &["lib/libjq.so.1"], from: "/.jq\0", to: "/.jq/\0" },
    Moved { files: &["bin/wget"], from: ".netrc\0", to: ".netrc/\0" },
];

const PAGE: usize = 4096;

/// Files that have the shell and keep it, with the reason.
const KEPT: &[(&str, &str)] = &[
    ("bin/bash", "only the SHELL of a user whom NSS does not know, and ours knows everybody"),
    ("lib/libperl.so.5.36", "a variable for perl scripts; perf is linked to it and has none"),
];

/// Moves what is to be moved; gives how many references to each there were.
pub fn apply_all(binary: &mut [u8], path: &str) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    if KEPT.iter().any(|(file, _)| *file == path) {
        return Ok(counts);
    }
    for moved in MOVED.iter().filter(|moved| matches(moved.files, path)) {
        let count = reaim(binary, moved)?;
        if count > 0 {
            counts.insert(moved.from.trim_end_matches('\0').to_owned(), count);
        }
    }
    Ok(counts)
}

/// A file that has the string but no reference that is understood is an error,
/// unless it is listed above; so is one in the code that no reference leads to,
/// which may be part of an instruction.
fn reaim(binary: &mut [u8], moved: &Moved) -> Result<usize> {
    let segments = elf::segments(binary)?;
    // Whole, or as the end of a longer one.
    let strings: Vec<u64> = find_iter(binary, moved.from)
        .filter_map(|offset| elf::address_of(&segments, offset))
        .collect();
    if strings.is_empty() {
        return Ok(0);
    }
    let mut references = Vec::new();
    let mut led_to = BTreeSet::new();
    elf::references(binary, |address, reference| {
        if strings.contains(&address) {
            references.push(reference);
            led_to.insert(address);
        }
    })?;
    let in_code = |address: &u64| {
        segments.iter().any(|segment| {
            let end = segment.address + segment.size as u64;
            segment.executable && (segment.address..end).contains(address)
        })
    };
    let unclear = strings.iter().any(|string| in_code(string) && !led_to.contains(string));
    ensure!(
        !references.is_empty() && !unclear,
        "it has {}, but how it uses it is not understood",
        moved.from
    );
    let target = place(binary, &segments, moved.to.as_bytes())?;
    for reference in &references {
        aim(binary, *reference, target)?;
    }
    Ok(references.len())
}

fn aim(binary: &mut [u8], reference: Reference, target: u64) -> Result<()> {
    let (at, bytes) = match reference {
        Reference::Instruction { operand, next } => {
            let distance = i64::try_from(target)? - i64::try_from(next)?;
            let distance = i32::try_from(distance).context("the new string is too far away")?;
            (operand, distance.to_le_bytes().to_vec())
        }
        Reference::Relocation { addend } => (addend, target.to_le_bytes().to_vec()),
    };
    let place = binary.get_mut(at..at + bytes.len()).context("a reference is cut short")?;
    place.copy_from_slice(&bytes);
    Ok(())
}

/// Puts the new string behind the code and gives its address. A page is mapped
/// as a whole, and what the file has there belongs to nothing.
fn place(binary: &mut [u8], segments: &[Segment], new: &[u8]) -> Result<u64> {
    for segment in segments.iter().filter(|segment| segment.executable) {
        let start = segment.offset + segment.size;
        let room = start..start + new.len();
        let next = segments.iter().map(|s| s.offset).filter(|offset| *offset >= start).min();
        let fits = room.end <= start.next_multiple_of(PAGE)
            && room.end <= next.unwrap_or(binary.len())
            && binary.get(room.clone()).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
        if fits {
            binary[room].copy_from_slice(new);
            grow(binary, segment, new.len())?;
            return Ok(segment.address + segment.size as u64);
        }
    }
    bail!("no room for {}", String::from_utf8_lossy(new))
}

/// Makes the string part of the segment.
fn grow(binary: &mut [u8], segment: &Segment, by: usize) -> Result<()> {
    let size = (segment.size + by) as u64;
    let header = binary.get_mut(segment.header..).context("the header is outside of the file")?;
    let (header, _) = object::pod::from_bytes_mut::<ProgramHeader64<LittleEndian>>(header)
        .map_err(|()| anyhow::anyhow!("the program header is cut short"))?;
    header.p_filesz = U64::new(LittleEndian, size);
    header.p_memsz = U64::new(LittleEndian, size);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    /// A program without libraries that writes the string to its output.
    const PROGRAM: &str = r#"
        static long call(long n, long a, const char *b, long c) {
            long r;
            __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c)
                             : "rcx", "r11", "memory");
            return r;
        }
        void _start(void) {
            const char *shell = "/bin/sh";
            __asm__ volatile("" : "+r"(shell));
            long length = 0;
            while (shell[length]) length++;
            call(1, 1, shell, length);
            call(60, 0, 0, 0);
        }
    "#;

    fn compile(source: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (code, program) = (folder.path().join("a.c"), folder.path().join("a"));
        fs::write(&code, source).unwrap();
        let mut gcc = Command::new("gcc");
        gcc.args(["-O1", "-fno-builtin", "-fPIE", "-static-pie", "-nostdlib", "-o"]);
        assert!(gcc.arg(&program).arg(&code).status().unwrap().success());
        (folder, program)
    }

    #[test]
    fn a_program_uses_the_new_string() {
        let (folder, program) = compile(PROGRAM);
        let said = |program| Command::new(program).output().unwrap().stdout;
        assert_eq!(said(&program), b"/bin/sh");
        let mut binary = fs::read(&program).unwrap();
        let length = binary.len();
        assert_eq!(reaim(&mut binary, &MOVED[0]).unwrap(), 1);
        assert_eq!(binary.len(), length);
        // Written by another process: a fork of another test would keep it open for
        // writing, and what is open so cannot be executed (ETXTBSY).
        let changed = folder.path().join("changed");
        fs::write(&changed, binary).unwrap();
        let mut install = Command::new("install");
        assert!(install.arg(&changed).arg(&program).status().unwrap().success());
        assert_eq!(said(&program), b"/.kpexec/bin/sh");
    }

    #[test]
    fn a_pointer_to_the_string_is_changed_too() {
        let pointer = "char *kept = \"/bin/sh\";\nvoid _start";
        let (_folder, program) = compile(&PROGRAM.replace("void _start", pointer));
        let mut binary = fs::read(&program).unwrap();
        assert_eq!(reaim(&mut binary, &MOVED[0]).unwrap(), 2);
        let target = "/.kpexec/bin/sh".as_bytes();
        let place = find_iter(&binary, target).next().unwrap();
        let address = elf::address_of(&elf::segments(&binary).unwrap(), place).unwrap();
        let mut found = 0;
        elf::references(&binary, |to, _| found += u32::from(to == address)).unwrap();
        assert_eq!(found, 2);
    }

    #[test]
    fn a_use_that_is_not_understood_is_an_error() {
        let inline = "long word;\n__asm__ volatile(\"movabs $0x68732f6e69622f, %0\" : \"=r\"(word));\n\
            const char *shell = (char *)&word;";
        let source = PROGRAM.replace("const char *shell = \"/bin/sh\";", inline);
        let (_folder, program) = compile(&source);
        let error = reaim(&mut fs::read(&program).unwrap(), &MOVED[0]).unwrap_err();
        assert!(error.to_string().contains("not understood"), "{error}");
        // Nor does another use of it help.
        let pointer = "char *kept = \"/bin/sh\";\nvoid _start";
        let (_folder, program) = compile(&source.replace("void _start", pointer));
        let error = reaim(&mut fs::read(&program).unwrap(), &MOVED[0]).unwrap_err();
        assert!(error.to_string().contains("not understood"), "{error}");
    }

    #[test]
    fn without_the_string_nothing_is_done() {
        let (_folder, program) = compile(&PROGRAM.replace("/bin/sh", "/bin/zz"));
        let before = fs::read(&program).unwrap();
        let mut after = before.clone();
        assert_eq!(reaim(&mut after, &MOVED[0]).unwrap(), 0);
        assert!(before == after);
    }

    #[test]
    fn what_keeps_the_string_has_a_reason() {
        assert!(KEPT.iter().all(|(_, reason)| !reason.is_empty()));
    }
}
