//! Values written into a component. The message may be a process guest's: what does not fit is an error, and no memory is asked for
//! that the message does not pay for.

use cofferdam_wire::value::{bits_bytes, case_bytes};
use wasmtime::component::__internal::wasmtime_environ::component::{TypeTupleIndex, VariantInfo};
use wasmtime::component::__internal::{ComponentTypes, InterfaceType, LowerContext};
use wasmtime::component::Lower as _;
use wasmtime::{Result, ValRaw, bail};

use super::{Cases, Misfit, is_plain, low, mask, number, parts, wide};
use crate::wasm::unchecked::lower_text;

/// Core values that are being written.
pub(in crate::wasm) struct Flat<const N: usize> {
    values: [u64; N],
    used: usize,
}

impl<const N: usize> Flat<N> {
    fn new() -> Self {
        Self { values: [0; N], used: 0 }
    }

    /// One value, and zeros.
    pub(in crate::wasm) fn one(value: u64) -> Self {
        let mut flat = Self::new();
        flat.values[0] = value;
        flat
    }

    fn push(&mut self, value: u64) -> Result<()> {
        let Some(place) = self.values.get_mut(self.used) else { bail!(Misfit) };
        *place = value;
        self.used += 1;
        Ok(())
    }

    pub(in crate::wasm) fn raw(&self) -> [ValRaw; N] {
        self.values.map(ValRaw::u64)
    }
}

/// Writes the values of a message into a component.
pub(in crate::wasm) struct Writing<'c, 'm, 'a, T: 'static> {
    cx: &'c mut LowerContext<'a, T>,
    types: &'a ComponentTypes,
    message: &'m [u8],
}

impl<'c, 'm, 'a, T: 'static> Writing<'c, 'm, 'a, T> {
    pub(in crate::wasm) fn new(cx: &'c mut LowerContext<'a, T>, message: &'m [u8]) -> Self {
        let types = cx.types;
        Self { cx, types, message }
    }

    /// Writes parameters or results as core values.
    pub(in crate::wasm) fn flat_all<const N: usize>(mut self, tuple: TypeTupleIndex) -> Result<Flat<N>> {
        let mut flat = Flat::new();
        for ty in &self.types[tuple].types {
            self.flat(*ty, &mut flat)?;
        }
        self.finish()?;
        Ok(flat)
    }

    /// Writes parameters or results to memory, at a place that was checked.
    pub(in crate::wasm) fn memory_all(mut self, tuple: TypeTupleIndex, at: usize) -> Result<()> {
        self.memory(InterfaceType::Tuple(tuple), at)?;
        self.finish()
    }

    /// Writes parameters to memory that the guest allocates for them, and gives their place.
    pub(in crate::wasm) fn pointed_all(self, tuple: TypeTupleIndex) -> Result<usize> {
        let abi = &self.types[tuple].abi;
        let at = self.cx.realloc(0, 0, abi.align32, wide(abi.size32))?;
        self.memory_all(tuple, at)?;
        Ok(at)
    }

    fn finish(&self) -> Result<()> {
        if self.message.is_empty() { Ok(()) } else { bail!(Misfit) }
    }

    fn take(&mut self, count: usize) -> Result<&'m [u8]> {
        let Some((taken, rest)) = self.message.split_at_checked(count) else { bail!(Misfit) };
        self.message = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<u64> {
        let mut number = [0; 8];
        number[..bytes].copy_from_slice(self.take(bytes)?);
        Ok(u64::from_le_bytes(number))
    }

    fn flat<const N: usize>(&mut self, ty: InterfaceType, flat: &mut Flat<N>) -> Result<()> {
        match ty {
            InterfaceType::String => {
                let text = self.text()?;
                let [pointer, length] = lower_text(self.cx, text)?;
                flat.push(pointer)?;
                flat.push(length)
            }
            InterfaceType::List(index) => {
                let (pointer, count) = self.list(self.types[index].element)?;
                flat.push(pointer as u64)?;
                flat.push(u64::from(count))
            }
            InterfaceType::Record(_) | InterfaceType::Tuple(_) => {
                for part in parts(self.types, ty).into_iter().flatten() {
                    self.flat(part, flat)?;
                }
                Ok(())
            }
            InterfaceType::Variant(_)
            | InterfaceType::Enum(_)
            | InterfaceType::Option(_)
            | InterfaceType::Result(_) => {
                let end = flat.used + self.types.canonical_abi(&ty).flat_count(usize::MAX).unwrap_or(1);
                let (case, payload, _) = self.case(ty)?;
                flat.push(u64::from(case))?;
                if let Some(payload) = payload {
                    self.flat(payload, flat)?;
                }
                while flat.used < end {
                    flat.push(0)?;
                }
                Ok(())
            }
            _ => {
                let value = self.scalar(ty)?;
                flat.push(core_value(ty, value))
            }
        }
    }

    fn memory(&mut self, ty: InterfaceType, at: usize) -> Result<()> {
        match ty {
            InterfaceType::String => {
                let text = self.text()?;
                text.linear_lower_to_memory(self.cx, ty, at)
            }
            InterfaceType::List(index) => {
                let (pointer, count) = self.list(self.types[index].element)?;
                self.put(at, pointer as u64, 4)?;
                self.put(at + 4, u64::from(count), 4)
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
                let (case, payload, info) = self.case(ty)?;
                self.put(at, u64::from(case), wide(info.size.into()))?;
                match payload {
                    Some(payload) => self.memory(payload, at + wide(info.payload_offset32)),
                    None => Ok(()),
                }
            }
            _ => {
                let bytes = wide(self.types.canonical_abi(&ty).size32);
                let value = self.scalar(ty)?;
                self.put(at, value, bytes)
            }
        }
    }

    fn put(&mut self, at: usize, value: u64, bytes: usize) -> Result<()> {
        let Some(place) = self.cx.as_slice_mut().get_mut(at..at + bytes) else { bail!(Misfit) };
        place.copy_from_slice(&value.to_le_bytes()[..bytes]);
        Ok(())
    }

    /// The number of a case, the type of its payload, and where that lies.
    fn case(&mut self, ty: InterfaceType) -> Result<(u32, Option<InterfaceType>, &'a VariantInfo)> {
        let Some(Cases { count, .. }) = Cases::of(self.types, ty, 0) else { bail!(Misfit) };
        let case = low(self.number(case_bytes(count))?);
        match Cases::of(self.types, ty, case) {
            Some(Cases { info, payload: Some(payload), .. }) => Ok((case, payload, info)),
            _ => bail!(Misfit),
        }
    }

    /// A value without parts.
    fn scalar(&mut self, ty: InterfaceType) -> Result<u64> {
        match ty {
            InterfaceType::Bool => match self.number(1)? {
                value @ 0..=1 => Ok(value),
                _ => bail!(Misfit),
            },
            InterfaceType::Char => {
                let value = self.number(4)?;
                if char::from_u32(low(value)).is_some() { Ok(value) } else { bail!(Misfit) }
            }
            InterfaceType::Flags(index) => {
                let names = number(self.types[index].names.len());
                Ok(self.number(bits_bytes(names))? & u64::from(mask(names)))
            }
            ty if is_plain(ty) => self.number(wide(self.types.canonical_abi(&ty).size32)),
            _ => bail!("a value that cannot leave its store"),
        }
    }

    fn text(&mut self) -> Result<&'m str> {
        let length = self.number(4)?;
        Ok(std::str::from_utf8(self.take(wide(low(length)))?)?)
    }

    /// Writes a list to memory that the guest allocates for it, and gives its place and count.
    fn list(&mut self, element: InterfaceType) -> Result<(usize, u32)> {
        let length = low(self.number(4)?);
        let abi = self.types.canonical_abi(&element);
        let (size, count) = (wide(abi.size32), wide(length));
        // No element is less than a byte of the message, so that nobody can ask for memory without having sent as much.
        let bytes = count.checked_mul(size).filter(|_| count <= self.message.len());
        let Some(bytes) = bytes else { bail!(Misfit) };
        let at = self.cx.realloc(0, 0, abi.align32, bytes)?;
        if is_plain(element) {
            let taken = self.take(bytes)?;
            self.cx.as_slice_mut()[at..at + bytes].copy_from_slice(taken);
        } else {
            for index in 0..count {
                self.memory(element, at + index * size)?;
            }
        }
        Ok((at, length))
    }
}

/// A value as the core value that stands for it: small signed numbers with their sign.
fn core_value(ty: InterfaceType, value: u64) -> u64 {
    let signed = |bits: u32| {
        let shift = 32 - bits;
        u64::from(((low(value) << shift).cast_signed() >> shift).cast_unsigned())
    };
    match ty {
        InterfaceType::S8 => signed(8),
        InterfaceType::S16 => signed(16),
        _ => value,
    }
}
