//! Python's pickles, as far as PyTorch's checkpoints use them. Values are built and no code runs.
//!
//! Values lie in one list and name each other by their places, as Python's objects do: what stands
//! in a thousand places takes the room of one, and a value inside of a million others is dropped
//! as any other. So a pickle takes no more room than its length says.

use std::collections::HashMap;

/// Most values of a pickle: some twenty for each tensor.
const MOST_VALUES: usize = 4 << 20;

/// A value's place in the list.
pub(super) type Id = usize;

/// A value.
pub(super) enum Object {
    /// A class or function by its module and name.
    Class(String, String),
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
    /// What no checkpoint is read by: a real number, a truth value, nothing.
    Other,
    /// A tuple or a list.
    List(Vec<Id>),
    /// Keys and values in their order.
    Dict(Vec<(Id, Id)>),
    /// What a function makes of arguments.
    Call(Id, Id),
    /// What lies outside of the pickle.
    Outside(Id),
}

/// What a pickle holds.
pub(super) struct Pickle {
    all: Vec<Object>,
    top: Id,
}

impl Pickle {
    /// Reads a pickle.
    ///
    /// # Errors
    /// It ends early, does what no checkpoint does, or has too many values: in words.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut machine = Machine {
            left: bytes,
            all: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        while !machine.step()? {
            if machine.all.len() > MOST_VALUES {
                return Err(format!("expected a pickle of at most {MOST_VALUES} values"));
            }
        }
        let top = machine.pop()?;
        let all = machine.all;
        Ok(Self { all, top })
    }

    /// The outermost value.
    pub fn top(&self) -> &Object {
        self.at(self.top)
    }

    /// The value at a place.
    pub fn at(&self, id: Id) -> &Object {
        // places are those of the list, which only grows
        &self.all[id]
    }

    /// A text.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.at(id) {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A size or place: a whole number from 0 on.
    pub fn size(&self, id: Id) -> Option<usize> {
        match self.at(id) {
            Object::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        }
    }

    /// The items of a tuple or list.
    pub fn items(&self, id: Id) -> Option<&[Id]> {
        match self.at(id) {
            Object::List(items) => Some(items),
            _ => None,
        }
    }

    /// A class or function by its module and name.
    pub fn class(&self, id: Id) -> Option<(&str, &str)> {
        match self.at(id) {
            Object::Class(module, name) => Some((module, name)),
            _ => None,
        }
    }
}

/// Python's stack machine.
struct Machine<'a> {
    left: &'a [u8],
    all: Vec<Object>,
    stack: Vec<Id>,
    /// Heights of the stack at which a group began.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let short = || "the pickle ends early".to_string();
        let (head, rest) = self.left.split_at_checked(count).ok_or_else(short)?;
        self.left = rest;
        Ok(head)
    }

    /// A whole number of up to eight bytes, little-endian, with its sign.
    fn number(&mut self, count: usize) -> Result<i64, String> {
        let bytes = self.take(count)?;
        let Some(last) = bytes.last().filter(|_| count <= 8) else {
            return match count {
                0 => Ok(0),
                _ => Err(format!("a whole number of {count} bytes")),
            };
        };
        let mut word = [if *last < 0x80 { 0 } else { 0xFF }; 8];
        word[..count].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(word))
    }

    /// The same without a sign.
    fn unsigned(&mut self, count: usize) -> Result<u32, String> {
        let mut word = [0; 4];
        word[..count].copy_from_slice(self.take(count)?);
        Ok(u32::from_le_bytes(word))
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.left.iter().position(|b| *b == b'\n');
        let end = end.ok_or("the pickle ends inside a name")?;
        let line = self.take(end)?;
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn push(&mut self, object: Object) {
        self.stack.push(self.all.len());
        self.all.push(object);
    }

    fn pop(&mut self) -> Result<Id, String> {
        // what stands below a mark belongs to another group
        let floor = self.marks.last().copied().unwrap_or(0);
        let id = (self.stack.len() > floor)
            .then(|| self.stack.pop())
            .flatten();
        id.ok_or_else(|| "a value is missing on the stack".into())
    }

    fn last(&mut self) -> Result<&mut Object, String> {
        let id = self.stack.last().copied();
        let object = id.and_then(|id| self.all.get_mut(id));
        object.ok_or_else(|| "a value is missing on the stack".into())
    }

    /// The values since the last mark.
    fn group(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("a mark is missing on the stack")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    /// A tuple of the last values.
    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let mut items = (0..count)
            .map(|_| self.pop())
            .collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Object::List(items));
        Ok(())
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        match self.last()? {
            Object::List(list) => list.extend(items),
            _ => return Err("expected a list to add to".into()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), String> {
        let (pairs, rest) = items.as_chunks::<2>();
        let pairs = pairs.iter().map(|[key, value]| (*key, *value));
        match self.last()? {
            Object::Dict(dict) if rest.is_empty() => dict.extend(pairs),
            _ => return Err("expected keys and values, and a dictionary to put them in".into()),
        }
        Ok(())
    }

    /// What a function or class makes of arguments; an ordered dictionary starts empty.
    fn call(&mut self) -> Result<(), String> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let dicts = ["OrderedDict", "defaultdict"];
        let is_dict = matches!(
            &self.all[callable],
            Object::Class(module, name)
                if module == "collections" && dicts.contains(&name.as_str())
        );
        self.push(match is_dict {
            true => Object::Dict(Vec::new()),
            false => Object::Call(callable, arguments),
        });
        Ok(())
    }

    fn get(&mut self, key: u32) -> Result<(), String> {
        let id = self.memo.get(&key).copied();
        self.stack
            .push(id.ok_or_else(|| format!("no value has the number {key}"))?);
        Ok(())
    }

    fn put(&mut self, key: u32) -> Result<(), String> {
        self.last()?;
        self.memo.extend(self.stack.last().map(|id| (key, *id)));
        Ok(())
    }

    /// Does one instruction; whether it was the last. The codes are those of Python's
    /// `pickletools`.
    fn step(&mut self) -> Result<bool, String> {
        let code = self.take(1)?[0];
        match code {
            b'.' => return Ok(true),
            0x80 => {
                self.take(1)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Object::Class(module, name));
            }
            b'X' => {
                let length = self.unsigned(4)? as usize;
                let text = std::str::from_utf8(self.take(length)?);
                let text = text.map_err(|_| "a text that is not UTF-8")?.to_owned();
                self.push(Object::Text(text));
            }
            b'K' | b'M' => {
                let n = self.unsigned(if code == b'K' { 1 } else { 2 })?;
                self.push(Object::Int(n.into()));
            }
            b'J' => {
                let n = self.number(4)?;
                self.push(Object::Int(n));
            }
            0x8A => {
                let length = self.unsigned(1)? as usize;
                let n = self.number(length)?;
                self.push(Object::Int(n));
            }
            b'G' => {
                self.take(8)?;
                self.push(Object::Other);
            }
            b'N' | 0x88 | 0x89 => self.push(Object::Other),
            b'h' | b'j' => {
                let key = self.unsigned(if code == b'h' { 1 } else { 4 })?;
                self.get(key)?;
            }
            b'q' | b'r' => {
                let key = self.unsigned(if code == b'q' { 1 } else { 4 })?;
                self.put(key)?;
            }
            _ => self.compose(code)?,
        }
        Ok(false)
    }

    /// Does an instruction that makes a value of those on the stack.
    fn compose(&mut self, code: u8) -> Result<(), String> {
        match code {
            b'(' => self.marks.push(self.stack.len()),
            b')' | b']' => self.push(Object::List(Vec::new())),
            b'}' => self.push(Object::Dict(Vec::new())),
            0x85..=0x87 => self.tuple(usize::from(code) - 0x84)?,
            b't' | b'l' => {
                let items = self.group()?;
                self.push(Object::List(items));
            }
            b'd' => {
                let items = self.group()?;
                self.push(Object::Dict(Vec::new()));
                self.set(&items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.group()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.group()?;
                self.set(&items)?;
            }
            b'R' | 0x81 => self.call()?,
            // attributes, of which no tensor is made
            b'b' => {
                self.pop()?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Object::Outside(id));
            }
            other => {
                return Err(format!(
                    "an instruction that no checkpoint has ({other:#04x})"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(bytes: &[u8]) -> String {
        Pickle::read(bytes).err().unwrap()
    }

    #[test]
    fn values_are_pythons() {
        // pickle.dumps({'a': (1, -2), 'b': [300, 70000, 2**40, 1.5]}, 2)
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01J\xfe\xff\xff\xff\x86q\x02\
            X\x01\x00\x00\x00bq\x03]q\x04(M,\x01Jp\x11\x01\x00\x8a\x06\x00\x00\x00\x00\x00\x01\
            G?\xf8\x00\x00\x00\x00\x00\x00eu.";
        let pickle = Pickle::read(bytes).unwrap();
        let Object::Dict(pairs) = pickle.top() else {
            panic!("no dictionary");
        };
        let keys: Vec<_> = pairs.iter().map(|(k, _)| pickle.text(*k)).collect();
        assert_eq!(keys, [Some("a"), Some("b")]);
        let number = |id: &Id| match pickle.at(*id) {
            Object::Int(n) => Some(*n),
            _ => None,
        };
        let of = |i: usize| pickle.items(pairs[i].1).unwrap().iter().map(number);
        assert_eq!(of(0).collect::<Vec<_>>(), [Some(1), Some(-2)]);
        let list = [Some(300), Some(70_000), Some(1 << 40), None];
        assert_eq!(of(1).collect::<Vec<_>>(), list);
    }

    #[test]
    fn a_list_that_grows_after_it_was_noted_is_one_list() {
        // ] q0, h0, (K1 e) of the noted one, then both as a tuple
        let pickle = Pickle::read(b"]q\x00h\x00(K\x01e\x86.").unwrap();
        let Object::List(two) = pickle.top() else {
            panic!("no tuple");
        };
        assert!(two.iter().all(|id| pickle.items(*id).unwrap().len() == 1));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(wrong(b""), "the pickle ends early");
        // a text of four gigabytes is none of ten bytes
        assert_eq!(wrong(b"X\xff\xff\xff\xffabc"), "the pickle ends early");
        assert!(wrong(b"(R.").contains("a value is missing"));
        assert!(wrong(b"t.").contains("a mark is missing"));
        assert!(wrong(b"h\x07.").contains("the number 7"));
        assert!(wrong(b"i.").contains("0x69"));
        assert!(wrong(b"\x8a\x09123456789.").contains("9 bytes"));
    }

    #[test]
    fn values_in_values_take_the_room_of_one_each_and_are_dropped_without_recursion() {
        let doubled: Vec<u8> = b"K\x01"
            .iter()
            .copied()
            .chain(b"q\x00h\x00\x86".repeat(200))
            .collect();
        assert_eq!(
            Pickle::read(&[&doubled[..], b"."].concat())
                .unwrap()
                .all
                .len(),
            201
        );
        let nested = [&b"N"[..], &[0x85; 1 << 20], b"."].concat();
        assert_eq!(Pickle::read(&nested).unwrap().all.len(), (1 << 20) + 1);
        let many = vec![b'N'; MOST_VALUES + 2];
        assert!(wrong(&many).contains("at most 4194304 values"));
    }
}
