//! Archives of objects (`.a`, `.rlib`), in the form that GNU and LLVM write on ELF platforms: a header of text before each member,
//! long names in a table, and an index of symbols.

/// What every archive begins with.
pub(crate) const MAGIC: &[u8] = b"!<arch>\n";
const HEADER_BYTES: usize = 60;

/// One member.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member<'d> {
    pub(crate) name: String,
    pub(crate) data: &'d [u8],
}

/// The members, in order; and the names of the index, when there is one. `None` when it is no archive that can be read whole.
pub(crate) fn read(bytes: &[u8]) -> Option<(Vec<Member<'_>>, Vec<&[u8]>)> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let (mut members, mut names, mut index) = (Vec::new(), &[][..], Vec::new());
    while !rest.is_empty() {
        let header = rest.get(..HEADER_BYTES)?;
        if header[58..] != *b"`\n" {
            return None;
        }
        let length: usize = std::str::from_utf8(&header[48..58]).ok()?.trim_end().parse().ok()?;
        let data = rest.get(HEADER_BYTES..HEADER_BYTES.checked_add(length)?)?;
        match std::str::from_utf8(&header[..16]).ok()?.trim_end() {
            "/" => index = indexed(data, 4)?,
            "/SYM64/" => index = indexed(data, 8)?,
            "//" => names = data,
            name => members.push(Member { name: full_name(name, names)?, data }),
        }
        // Members begin at even places.
        let next = HEADER_BYTES + length + length % 2;
        rest = rest.get(next..).unwrap_or_default();
    }
    Some((members, index))
}

fn full_name(name: &str, names: &[u8]) -> Option<String> {
    let Some(offset) = name.strip_prefix('/') else {
        return Some(name.strip_suffix('/').unwrap_or(name).to_owned());
    };
    let from = names.get(offset.parse::<usize>().ok()?..)?;
    let end = from.iter().position(|byte| *byte == b'\n').unwrap_or(from.len());
    let name = &from[..end];
    Some(String::from_utf8_lossy(name.strip_suffix(b"/").unwrap_or(name)).into_owned())
}

/// The names of an index: a count and as many places, of `width` bytes each, then the names.
fn indexed(data: &[u8], width: usize) -> Option<Vec<&[u8]>> {
    let count = data.get(..width)?.iter().fold(0_usize, |count, byte| (count << 8) | usize::from(*byte));
    let names = data.get(count.checked_add(1)?.checked_mul(width)?..)?;
    Some(names.split(|byte| *byte == 0).take(count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, data: &[u8]) -> Vec<u8> {
        let mut all =
            format!("{name:16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, data.len()).into_bytes();
        all.extend(data);
        all.extend(vec![b'\n'; data.len() % 2]);
        all
    }

    #[test]
    fn members_names_and_the_index_are_read() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(member("/", &[&[0, 0, 0, 2], &[0; 8][..], b"one\0two\0"].concat()));
        bytes.extend(member("//", b"a-name-that-is-longer-than-sixteen.o/\n"));
        bytes.extend(member("/0", b"abc"));
        bytes.extend(member("short.o/", b"d"));
        let (members, index) = read(&bytes).expect("an archive");
        assert_eq!(index, [&b"one"[..], b"two"]);
        assert_eq!(
            members[0],
            Member { name: "a-name-that-is-longer-than-sixteen.o".to_owned(), data: b"abc" }
        );
        assert_eq!(members[1], Member { name: "short.o".to_owned(), data: b"d" });
    }

    #[test]
    fn what_is_cut_short_or_lies_about_its_length_is_refused() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(member("short.o/", b"abcd"));
        for length in MAGIC.len() + 1..bytes.len() {
            assert_eq!(read(&bytes[..length]), None, "{length}");
        }
        assert_eq!(read(b"\x7fELF"), None);
        let mut index = MAGIC.to_vec();
        index.extend(member("/", &[0xff; 8]));
        assert_eq!(read(&index), None, "an index with more names than bytes");
        let mut name = MAGIC.to_vec();
        name.extend(member("/999", b"x"));
        assert_eq!(read(&name), None, "a name beyond the table");
    }
}
