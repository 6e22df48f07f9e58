//! `/bin/sh` of programs and libraries: system(3), popen(3) and the like.
//!
//! Many containers have none, and in others it is the target's. The string is
//! too short to be overwritten by `/.kpexec/bin/sh`, so that one is put where
//! there is room, behind the code in its last page; and the instructions and
//! relocations that hold the address of the old one get the new one's.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem::find_iter;
use object::elf::ProgramHeader64;
use object::{LittleEndian, U64};

use crate::elf::{self, Segment};

/// Its name in `patches.lock`.
pub const NAME: &str = "/bin/sh";

const OLD: &[u8] = b"/bin/sh\0";
const NEW: &[u8] = b"/.kpexec/bin/sh\0";
const PAGE: usize = 4096;

/// Files that have the string and keep it, with the reason.
const KEPT: &[(&str, &str)] = &[
    ("bin/bash", "only the SHELL of a user whom NSS does not know, and ours knows everybody"),
    ("lib/libperl.so.5.36", "a variable for perl scripts; perf is linked to it and has none"),
];

/// Re-aims every reference; gives how many. A file that has the string but no
/// reference that is understood is an error, unless it is listed above.
pub fn reaim(binary: &mut [u8], path: &str) -> Result<usize> {
    let segments = elf::segments(binary)?;
    let strings = addresses_of(binary, &segments);
    if strings.is_empty() || KEPT.iter().any(|(file, _)| *file == path) {
        return Ok(0);
    }
    let instructions = instructions(binary, &segments, &strings);
    let pointers: Vec<_> = elf::relocations(binary)?
        .into_iter()
        .filter(|relocation| strings.contains(&relocation.address))
        .collect();
    let count = instructions.len() + pointers.len();
    ensure!(count > 0, "it has /bin/sh, but how it uses it is not understood");
    let target = place(binary, &segments)?;
    for instruction in &instructions {
        // The address is relative to the next instruction.
        let distance = i64::try_from(target)? - i64::try_from(instruction.next)?;
        let distance = i32::try_from(distance).context("the new string is too far away")?;
        binary[instruction.operand.clone()].copy_from_slice(&distance.to_le_bytes());
    }
    for pointer in &pointers {
        let bytes = binary.get_mut(pointer.addend..pointer.addend + size_of::<u64>());
        bytes.context("a relocation is cut short")?.copy_from_slice(&target.to_le_bytes());
    }
    Ok(count)
}

/// Where the string is in memory, whole or as the end of a longer one.
fn addresses_of(binary: &[u8], segments: &[Segment]) -> Vec<u64> {
    find_iter(binary, OLD).filter_map(|offset| address_of(segments, offset)).collect()
}

fn address_of(segments: &[Segment], offset: usize) -> Option<u64> {
    let holds =
        |segment: &&Segment| (segment.offset..segment.offset + segment.size).contains(&offset);
    let segment = segments.iter().find(holds)?;
    Some(segment.address + (offset - segment.offset) as u64)
}

/// An instruction that takes the address of a string.
struct Instruction {
    /// Where in the file the distance is.
    operand: Range<usize>,
    /// The address of the next instruction, which the distance is from.
    next: u64,
}

/// `lea register, [rip + distance]`: REX.W, 8d, and a ModRM byte that says so.
fn instructions(binary: &[u8], segments: &[Segment], strings: &[u64]) -> Vec<Instruction> {
    const LENGTH: usize = 7;
    let mut instructions = Vec::new();
    for segment in segments.iter().filter(|segment| segment.executable) {
        let code = &binary[segment.offset..segment.offset + segment.size];
        for (at, bytes) in code.windows(LENGTH).enumerate() {
            if bytes[0] & 0xfb != 0x48 || bytes[1] != 0x8d || bytes[2] & 0xc7 != 0x05 {
                continue;
            }
            let distance = i32::from_le_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]);
            let next = segment.address + (at + LENGTH) as u64;
            if strings.contains(&next.wrapping_add_signed(distance.into())) {
                let end = segment.offset + at + LENGTH;
                instructions.push(Instruction { operand: end - 4..end, next });
            }
        }
    }
    instructions
}

/// Puts the new string behind the code and gives its address. A page is mapped
/// as a whole, and what the file has there belongs to nothing.
fn place(binary: &mut [u8], segments: &[Segment]) -> Result<u64> {
    for segment in segments.iter().filter(|segment| segment.executable) {
        let start = segment.offset + segment.size;
        let room = start..start + NEW.len();
        let next = segments.iter().map(|s| s.offset).filter(|offset| *offset >= start).min();
        let fits = room.end <= start.next_multiple_of(PAGE)
            && room.end <= next.unwrap_or(binary.len())
            && binary.get(room.clone()).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
        if fits {
            binary[room].copy_from_slice(NEW);
            grow(binary, segment)?;
            return Ok(segment.address + segment.size as u64);
        }
    }
    bail!("no room for {}", String::from_utf8_lossy(NEW))
}

/// Makes the string part of the segment.
fn grow(binary: &mut [u8], segment: &Segment) -> Result<()> {
    let size = (segment.size + NEW.len()) as u64;
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
        let (_folder, program) = compile(PROGRAM);
        let said = |program| Command::new(program).output().unwrap().stdout;
        assert_eq!(said(&program), b"/bin/sh");
        let mut binary = fs::read(&program).unwrap();
        let length = binary.len();
        assert_eq!(reaim(&mut binary, "bin/x").unwrap(), 1);
        assert_eq!(binary.len(), length);
        fs::write(&program, binary).unwrap();
        assert_eq!(said(&program), b"/.kpexec/bin/sh");
    }

    #[test]
    fn a_pointer_to_the_string_is_changed_too() {
        let pointer = "char *kept = \"/bin/sh\";\nvoid _start";
        let (_folder, program) = compile(&PROGRAM.replace("void _start", pointer));
        let mut binary = fs::read(&program).unwrap();
        assert_eq!(reaim(&mut binary, "bin/x").unwrap(), 2);
        let target = "/.kpexec/bin/sh".as_bytes();
        let place = find_iter(&binary, target).next().unwrap();
        let address = address_of(&elf::segments(&binary).unwrap(), place);
        let relocations = elf::relocations(&binary).unwrap();
        assert!(relocations.iter().any(|relocation| Some(relocation.address) == address));
    }

    #[test]
    fn a_use_that_is_not_understood_is_an_error() {
        let inline = "long word;\n__asm__ volatile(\"movabs $0x68732f6e69622f, %0\" : \"=r\"(word));\n\
            const char *shell = (char *)&word;";
        let source = PROGRAM.replace("const char *shell = \"/bin/sh\";", inline);
        let (_folder, program) = compile(&source);
        let error = reaim(&mut fs::read(&program).unwrap(), "bin/x").unwrap_err();
        assert!(error.to_string().contains("not understood"), "{error}");
    }

    #[test]
    fn without_the_string_nothing_is_done() {
        let (_folder, program) = compile(&PROGRAM.replace("/bin/sh", "/bin/zz"));
        let before = fs::read(&program).unwrap();
        let mut after = before.clone();
        assert_eq!(reaim(&mut after, "bin/x").unwrap(), 0);
        assert!(before == after);
    }

    #[test]
    fn what_keeps_the_string_has_a_reason() {
        assert!(KEPT.iter().all(|(_, reason)| !reason.is_empty()));
    }
}
