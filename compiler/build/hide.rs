//! Names of an object file, hidden: all but the runtime's functions become local, and those invisible outside of the
//! library or program that they are linked into.

use object::build::elf::{Builder, SectionData, SectionId};
use object::read::archive::ArchiveFile;
use object::read::elf::{FileHeader, SectionHeader};
use object::{elf, macho};

/// The member of an archive whose name contains `part`.
pub(crate) fn first_object<'a>(archive: &'a [u8], part: &str) -> &'a [u8] {
    let file = ArchiveFile::parse(archive).expect("rustc writes archives");
    let mut members = file.members().map(|member| member.expect("rustc writes archives"));
    let member = members.find(|member| String::from_utf8_lossy(member.name()).contains(part));
    member.and_then(|member| member.data(archive).ok()).unwrap_or_else(|| panic!("no `{part}` in the archive"))
}

/// The object file with only the names `netc_…` left to others.
pub(crate) fn hide(object: &[u8]) -> Vec<u8> {
    match object {
        [0x7f, b'E', b'L', b'F', ..] => hide_elf(object),
        [0xcf, 0xfa, 0xed, 0xfe, ..] => hide_macho(object),
        _ => panic!("rustc wrote neither ELF nor Mach-O"),
    }
}

fn hide_elf(object: &[u8]) -> Vec<u8> {
    let object = without_groups(object);
    let mut file = Builder::read(object.as_slice()).expect("rustc writes ELF");
    for section in &mut file.sections {
        section.delete |= section.name.as_slice() == GROUP || is_for_unwinding_or_debugging(&section.name);
        section.sh_flags &= !u64::from(elf::SHF_GROUP);
    }
    file.delete_orphans();
    // LLVM keeps the names of sections and symbols together, the writer apart.
    let names = file.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let sections: Vec<SectionId> = file.sections.iter().map(|section| section.id()).collect();
    for symbol in &mut file.symbols {
        let is_defined = symbol.section.is_some_and(|section| sections.contains(&section));
        if !is_defined || symbol.st_bind() == elf::STB_LOCAL {
            continue;
        }
        if symbol.name.starts_with(b"netc_") {
            symbol.st_other = elf::STV_HIDDEN;
        } else {
            symbol.set_st_info(elf::STB_LOCAL, symbol.st_type());
            symbol.st_other = elf::STV_DEFAULT;
        }
    }
    let mut bytes = Vec::new();
    file.write(&mut bytes).expect("what was read can be written");
    bytes
}

/// Whether a section is there for who unwinds or debugs: a panic aborts, and nobody has the runtime's sources at hand. The standard
/// library's own are as large as a tenth of all code.
fn is_for_unwinding_or_debugging(name: &[u8]) -> bool {
    let name = name.strip_prefix(b".rela").unwrap_or(name);
    [b".eh_frame".as_slice(), b".gcc_except_table", b".debug_"].iter().any(|part| name.starts_with(part))
}

/// The name of a section that says which others stand or fall together.
const GROUP: &[u8] = b".group";

/// Groups join what several object files have alike. There is nothing to join with, and the names that would tell are
/// gone; a section that says nothing takes the place of each. Relocations say in a flag, as LLVM does for most, that they
/// name their section by its number: it changes.
fn without_groups(object: &[u8]) -> Vec<u8> {
    let mut bytes = object.to_vec();
    let header = elf::FileHeader64::<object::Endianness>::parse(object).expect("rustc writes ELF");
    let endian = header.endian().expect("rustc writes ELF");
    let headers = header.section_headers(endian, object).expect("rustc writes ELF");
    for (at, section) in headers.iter().enumerate() {
        let start = header.e_shoff(endian) as usize + at * size_of_val(section);
        if section.sh_type(endian) == elf::SHT_RELA {
            bytes[start + 8] |= elf::SHF_INFO_LINK as u8;
        }
        if section.sh_type(endian) == elf::SHT_GROUP {
            let kind = start + 4;
            bytes[kind..kind + 4].copy_from_slice(object::bytes_of(&object::U32::new(endian, elf::SHT_PROGBITS)));
        }
    }
    bytes
}

/// Symbols of Mach-O become private in place: the linker keeps them to what it makes.
fn hide_macho(object: &[u8]) -> Vec<u8> {
    let mut bytes = object.to_vec();
    let word = |at: usize| u32::from_le_bytes(object[at..at + 4].try_into().expect("four bytes")) as usize;
    let mut command = size_of::<macho::MachHeader64<object::LittleEndian>>();
    for _ in 0..word(16) {
        if word(command) == macho::LC_SYMTAB as usize {
            let (symbols, count) = (word(command + 8), word(command + 12));
            let size = size_of::<macho::Nlist64<object::LittleEndian>>();
            for kind in (0..count).map(|symbol| symbols + symbol * size + 4) {
                let is_defined = object[kind] & macho::N_TYPE != macho::N_UNDF;
                if is_defined && object[kind] & macho::N_STAB == 0 && object[kind] & macho::N_EXT != 0 {
                    bytes[kind] |= macho::N_PEXT;
                }
            }
        }
        command += word(command + 4);
    }
    bytes
}
