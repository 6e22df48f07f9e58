//! What a build has to know of an ELF file, read with the `object` crate.

use anyhow::{Context, Result};
use object::Endianness;
use object::elf;
use object::read::elf::{
    ElfFile64, FileHeader as _, ProgramHeader as _, Rela as _, SectionHeader as _,
};

/// A program or library.
#[derive(Debug, PartialEq, Eq)]
pub struct Facts {
    /// The libraries it is linked to (DT_NEEDED).
    pub needed: Vec<String>,
    /// Whether it names a dynamic linker (PT_INTERP).
    pub interpreter: bool,
    /// Whether it has a dynamic section: a static program has none.
    pub dynamic: bool,
}

/// A part of the file that is mapped (PT_LOAD).
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Where its program header is in the file.
    pub header: usize,
    /// Where it begins in the file.
    pub offset: usize,
    /// Bytes of the file that belong to it.
    pub size: usize,
    /// Where it begins in memory.
    pub address: u64,
    /// Whether it holds code.
    pub executable: bool,
}

type File<'a> = ElfFile64<'a, Endianness>;

fn parse(bytes: &[u8]) -> Result<File<'_>> {
    File::parse(bytes).context("it is no 64-bit ELF file")
}

/// What it is; `None` if it is no program and no library.
pub fn facts(bytes: &[u8]) -> Result<Option<Facts>> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return Ok(None);
    }
    let file = parse(bytes)?;
    let kind = file.elf_header().e_type(file.endian());
    if kind != elf::ET_EXEC && kind != elf::ET_DYN {
        return Ok(None);
    }
    let has = |wanted: u32| {
        file.elf_program_headers().iter().any(|header| header.p_type(file.endian()) == wanted)
    };
    let mut facts = Facts {
        needed: Vec::new(),
        interpreter: has(elf::PT_INTERP),
        dynamic: has(elf::PT_DYNAMIC),
    };
    if facts.dynamic {
        let table = file.elf_dynamic_table()?;
        for entry in table.iter() {
            if entry.tag == elf::DT_NEEDED {
                facts.needed.push(String::from_utf8(table.string(entry)?.to_vec())?);
            }
        }
    }
    Ok(Some(facts))
}

/// Its mapped parts, in the order of the file.
pub fn segments(bytes: &[u8]) -> Result<Vec<Segment>> {
    let file = parse(bytes)?;
    let endian = file.endian();
    let first = usize::try_from(file.elf_header().e_phoff(endian))?;
    let each = usize::from(file.elf_header().e_phentsize(endian));
    let mut segments = Vec::new();
    for (number, header) in file.elf_program_headers().iter().enumerate() {
        if header.p_type(endian) == elf::PT_LOAD {
            segments.push(Segment {
                header: first + number * each,
                offset: usize::try_from(header.p_offset(endian))?,
                size: usize::try_from(header.p_filesz(endian))?,
                address: header.p_vaddr(endian),
                executable: header.p_flags(endian) & elf::PF_X != 0,
            });
        }
    }
    segments.sort_by_key(|segment| segment.offset);
    Ok(segments)
}

/// An address that the dynamic linker writes somewhere (R_X86_64_RELATIVE).
#[derive(Clone, Copy, Debug)]
pub struct Relocation {
    /// Where in the file the address is.
    pub addend: usize,
    /// The address, without where the file is loaded.
    pub address: u64,
}

/// Every such address.
pub fn relocations(bytes: &[u8]) -> Result<Vec<Relocation>> {
    /// Of the addend in an entry.
    const OFFSET: usize = 16;
    let file = parse(bytes)?;
    let endian = file.endian();
    let mut relocations = Vec::new();
    for section in file.elf_section_table().iter() {
        let Some((entries, _)) = section.rela(endian, bytes)? else {
            continue;
        };
        let start = usize::try_from(section.sh_offset(endian))?;
        for (number, entry) in entries.iter().enumerate() {
            if entry.r_type(endian, false) == elf::R_X86_64_RELATIVE {
                relocations.push(Relocation {
                    addend: start + number * size_of_val(entry) + OFFSET,
                    address: entry.r_addend(endian).cast_unsigned(),
                });
            }
        }
    }
    Ok(relocations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_machine_is_understood() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let facts = facts(&this).unwrap().unwrap();
        assert!(facts.interpreter && facts.dynamic);
        assert!(facts.needed.contains(&"libc.so.6".to_owned()), "{facts:?}");
        let segments = segments(&this).unwrap();
        assert!(segments.iter().any(|s| s.executable) && segments.iter().any(|s| !s.executable));
    }

    #[test]
    fn what_is_no_program_is_left_alone() {
        assert_eq!(facts(b"#!/bin/sh\n").unwrap(), None);
        assert!(facts(b"\x7fELF and no more").is_err());
    }
}
