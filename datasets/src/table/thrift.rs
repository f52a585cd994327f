//! Thrift's compact protocol, in which a Parquet file says what it holds.
//!
//! The library walks through lists of whatever length they claim to have, those of truths without
//! reading a byte: a file of a kilobyte can keep it for minutes. So this goes through before it.

/// Structures in structures.
const DEEPEST: usize = 16;

type Each<'e> = dyn FnMut(&[i64], i64) -> Option<()> + 'e;

/// Goes through one structure at the beginning of `left`, which is what follows it then, and hands
/// its whole numbers over, each with the numbers of its field and of those around it; those in
/// lists are not handed over. None where the bytes are no structure or end before it does.
pub(super) fn structure(left: &mut &[u8], each: &mut Each<'_>) -> Option<()> {
    fields(left, 0, each, &mut Vec::new())
}

fn fields(left: &mut &[u8], depth: usize, each: &mut Each<'_>, path: &mut Vec<i64>) -> Option<()> {
    let mut id = 0;
    loop {
        let head = byte(left)?;
        if head == 0 {
            return Some(());
        }
        id = match head >> 4 {
            0 => number(left)?,
            delta => id + i64::from(delta),
        };
        path.push(id);
        value(left, head & 15, depth, each, path)?;
        path.pop();
    }
}

fn value(
    left: &mut &[u8],
    kind: u8,
    depth: usize,
    each: &mut Each<'_>,
    path: &mut Vec<i64>,
) -> Option<()> {
    match kind {
        // true and false are their kinds
        1 | 2 => Some(()),
        3 => skip(left, 1),
        4..=6 => {
            let n = number(left)?;
            each(path, n)
        }
        7 => skip(left, 8),
        8 => {
            let length = varint(left)?;
            skip(left, length)
        }
        9 | 10 if depth < DEEPEST => {
            let head = byte(left)?;
            let count = match head >> 4 {
                15 => varint(left)?,
                count => count.into(),
            };
            (0..count).try_for_each(|_| match head & 15 {
                1 | 2 => skip(left, 1),
                kind => value(left, kind, depth + 1, &mut |_, _| Some(()), path),
            })
        }
        12 if depth < DEEPEST => fields(left, depth + 1, each, path),
        // maps, which Parquet has none of
        _ => None,
    }
}

fn byte(left: &mut &[u8]) -> Option<u8> {
    let (first, rest) = left.split_first()?;
    *left = rest;
    Some(*first)
}

fn skip(left: &mut &[u8], count: u64) -> Option<()> {
    *left = left.get(usize::try_from(count).ok()?..)?;
    Some(())
}

/// Seven bits a byte, the lowest first.
fn varint(left: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let b = byte(left)?;
        n |= u64::from(b & 0x7F) << shift;
        if b < 0x80 {
            return Some(n);
        }
    }
    None
}

/// A number with a sign, which is the lowest bit.
fn number(left: &mut &[u8]) -> Option<i64> {
    let n = varint(left)?;
    Some((n >> 1) as i64 ^ -((n & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_truths_takes_as_many_bytes_as_it_has() {
        // 1: list of n truths, end
        let list = |n: u8| vec![0x19, 0xF1, n, 1, 2, 1, 0x00];
        let of = |bytes: &[u8]| {
            let mut left = bytes;
            structure(&mut left, &mut |_, _| Some(()))?;
            Some(left.len())
        };
        assert_eq!(of(&list(3)), Some(0));
        assert_eq!(of(&list(4)), None);
        // as many as the library would count to
        assert_eq!(of(&[0x19, 0xF1, 0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0x00]), None);
    }
}
