//! Values read out of a component. What a guest can get wrong is checked here: pointers, text, characters, the numbers of cases.

use std::slice::Iter;

use cofferdam_wire::value::{put_bits, put_case};
use wasmtime::component::__internal::wasmtime_environ::component::{StringEncoding, TypeTupleIndex};
use wasmtime::component::__internal::{ComponentTypes, InterfaceType, LiftContext};
use wasmtime::component::Lift as _;
use wasmtime::{Result, ValRaw, bail};

use super::{Cases, Misfit, is_plain, low, mask, number, parts, wide};

/// Reads values out of a component.
pub(in crate::wasm) struct Reading<'c, 'a> {
    cx: &'c mut LiftContext<'a>,
    types: &'a ComponentTypes,
    out: Vec<u8>,
}

impl<'c, 'a> Reading<'c, 'a> {
    pub(in crate::wasm) fn new(cx: &'c mut LiftContext<'a>) -> Self {
        let types: &'a ComponentTypes = cx.types;
        Self { cx, types, out: Vec::new() }
    }

    /// Reads parameters or results that are core values.
    pub(in crate::wasm) fn flat_all(mut self, tuple: TypeTupleIndex, values: &[ValRaw]) -> Result<Vec<u8>> {
        let mut values = values.iter();
        for ty in &self.types[tuple].types {
            self.flat(*ty, &mut values)?;
        }
        Ok(self.out)
    }

    /// Reads parameters or results that lie in memory, at a place that was checked.
    pub(in crate::wasm) fn memory_all(mut self, tuple: TypeTupleIndex, at: usize) -> Result<Vec<u8>> {
        self.memory(InterfaceType::Tuple(tuple), at)?;
        Ok(self.out)
    }

    /// Reads results to which the guest gave a pointer.
    pub(in crate::wasm) fn pointed_all(self, tuple: TypeTupleIndex, pointer: u32) -> Result<Vec<u8>> {
        let abi = &self.types[tuple].abi;
        let at = wide(pointer);
        if !at.is_multiple_of(wide(abi.align32)) {
            bail!("return pointer not aligned");
        }
        if at.checked_add(wide(abi.size32)).is_none_or(|end| end > self.cx.memory().len()) {
            bail!("pointer out of bounds of memory");
        }
        self.memory_all(tuple, at)
    }

    fn flat(&mut self, ty: InterfaceType, values: &mut Iter<'_, ValRaw>) -> Result<()> {
        let mut next = || values.next().map_or(0, ValRaw::get_u64);
        match ty {
            InterfaceType::String => {
                let (pointer, length) = (next(), next());
                self.text(low(pointer), low(length))
            }
            InterfaceType::List(index) => {
                let (pointer, length) = (next(), next());
                self.list(self.types[index].element, low(pointer), low(length))
            }
            InterfaceType::Record(_) | InterfaceType::Tuple(_) => {
                let parts = parts(self.types, ty).into_iter().flatten();
                for part in parts {
                    self.flat(part, values)?;
                }
                Ok(())
            }
            InterfaceType::Variant(_)
            | InterfaceType::Enum(_)
            | InterfaceType::Option(_)
            | InterfaceType::Result(_) => {
                let case = low(next());
                let before = values.len();
                if let Some(payload) = self.case(ty, case)? {
                    self.flat(payload, values)?;
                }
                // The payloads of all cases share their core values; this one may have fewer than another.
                let width = self.types.canonical_abi(&ty).flat_count(usize::MAX).unwrap_or(1) - 1;
                let read = before - values.len();
                for _ in read..width {
                    values.next();
                }
                Ok(())
            }
            _ => {
                let value = next();
                self.scalar(ty, value)
            }
        }
    }

    fn memory(&mut self, ty: InterfaceType, at: usize) -> Result<()> {
        match ty {
            InterfaceType::String => {
                let [pointer, length] = self.pair(at);
                self.text(pointer, length)
            }
            InterfaceType::List(index) => {
                let [pointer, length] = self.pair(at);
                self.list(self.types[index].element, pointer, length)
            }
            InterfaceType::Record(_) | InterfaceType::Tuple(_) => {
                let mut offset = 0;
                for part in parts(self.types, ty).into_iter().flatten() {
                    let place = self.types.canonical_abi(&part).next_field32(&mut offset);
                    self.memory(part, at + wide(place))?;
                }
                Ok(())
            }
            InterfaceType::Variant(_)
            | InterfaceType::Enum(_)
            | InterfaceType::Option(_)
            | InterfaceType::Result(_) => {
                let Some(Cases { info, .. }) = Cases::of(self.types, ty, 0) else { bail!(Misfit) };
                let case = self.number(at, wide(info.size.into()));
                let place = at + wide(info.payload_offset32);
                match self.case(ty, low(case))? {
                    Some(payload) => self.memory(payload, place),
                    None => Ok(()),
                }
            }
            _ => {
                let bytes = wide(self.types.canonical_abi(&ty).size32);
                let value = self.number(at, bytes);
                self.scalar(ty, value)
            }
        }
    }

    /// Up to eight bytes of memory, the place of which was checked with what it is a part of.
    fn number(&self, at: usize, bytes: usize) -> u64 {
        let mut number = [0; 8];
        number[..bytes].copy_from_slice(&self.cx.memory()[at..at + bytes]);
        u64::from_le_bytes(number)
    }

    fn pair(&self, at: usize) -> [u32; 2] {
        [low(self.number(at, 4)), low(self.number(at + 4, 4))]
    }

    /// Writes the number of a case, and gives the type of its payload.
    fn case(&mut self, ty: InterfaceType, case: u32) -> Result<Option<InterfaceType>> {
        let Some(Cases { count, payload, .. }) = Cases::of(self.types, ty, case) else { bail!(Misfit) };
        let Some(payload) = payload else { bail!("discriminant {case} out of range [0..{count})") };
        put_case(case, count, &mut self.out);
        Ok(payload)
    }

    /// A value without parts, out of the low bits of what holds it.
    fn scalar(&mut self, ty: InterfaceType, value: u64) -> Result<()> {
        let bytes = value.to_le_bytes();
        let length = match ty {
            InterfaceType::Bool => {
                // Any integer is one of the two, as the canonical ABI has it. In memory it is a byte.
                self.out.push(u8::from(low(value) != 0));
                return Ok(());
            }
            InterfaceType::Char => {
                let Some(one) = char::from_u32(low(value)) else {
                    bail!("integer {} is not a valid char", low(value))
                };
                self.out.extend_from_slice(&u32::from(one).to_le_bytes());
                return Ok(());
            }
            InterfaceType::Flags(index) => {
                let names = number(self.types[index].names.len());
                // Bits without a name are none.
                put_bits(low(value) & mask(names), names, &mut self.out);
                return Ok(());
            }
            ty if is_plain(ty) => wide(self.types.canonical_abi(&ty).size32),
            _ => bail!("a value that cannot leave its store"),
        };
        self.out.extend_from_slice(&bytes[..length]);
        Ok(())
    }

    fn text(&mut self, pointer: u32, length: u32) -> Result<()> {
        if self.cx.options().string_encoding == StringEncoding::Utf8 {
            let (at, length) = (wide(pointer), wide(length));
            let bytes = at.checked_add(length).and_then(|end| self.cx.memory().get(at..end));
            let Some(bytes) = bytes else { bail!("string pointer/length out of bounds of memory") };
            self.cx.consume_fuel(length)?;
            self.put(std::str::from_utf8(bytes)?);
            return Ok(());
        }
        let pair = [ValRaw::u32(pointer), ValRaw::u32(length)];
        let text = String::linear_lift_from_flat(self.cx, InterfaceType::String, &pair)?;
        self.put(&text);
        Ok(())
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(&number(text.len()).to_le_bytes());
        self.out.extend_from_slice(text.as_bytes());
    }

    fn list(&mut self, element: InterfaceType, pointer: u32, length: u32) -> Result<()> {
        let abi = self.types.canonical_abi(&element);
        let (size, at, count) = (wide(abi.size32), wide(pointer), wide(length));
        let end = count.checked_mul(size).and_then(|bytes| at.checked_add(bytes));
        let memory = self.cx.memory();
        let Some(bytes) = end.and_then(|end| memory.get(at..end)) else {
            bail!("list pointer/length out of bounds of memory")
        };
        if !at.is_multiple_of(wide(abi.align32)) {
            bail!("list pointer is not aligned");
        }
        self.cx.consume_fuel_array(count, size.max(1))?;
        self.out.extend_from_slice(&length.to_le_bytes());
        if is_plain(element) {
            self.out.extend_from_slice(bytes);
        } else if element == InterfaceType::Bool {
            self.out.extend(bytes.iter().map(|byte| u8::from(*byte != 0)));
        } else {
            for index in 0..count {
                self.memory(element, at + index * size)?;
            }
        }
        Ok(())
    }
}
