//! What callers pass by pointer: texts, arrays, and structs that begin with their size.

use super::failure::{Failure, Outcome};
use std::ffi::{CStr, c_char};

/// As a text's length: the text ends with a NUL.
pub const CORELANE_NUL_TERMINATED: usize = usize::MAX;

/// A struct that the caller allocates. Its first field is its size in bytes, which the caller sets. The caller may have been
/// compiled with an older or a newer header, so its struct may be smaller or larger than ours: the common prefix counts.
///
/// # Safety
/// `repr(C)`; the first field is a `u32`, the size; every field accepts every bit pattern (numbers and raw pointers), and
/// all zeros mean "not set".
pub(super) unsafe trait CStruct: Copy {
    /// The name in the header.
    const NAME: &'static str;
}

/// Copies the part of the caller's struct that both know. The rest is zero.
///
/// # Safety
/// `place` is NULL or points at a struct whose size stands in its first field.
pub(super) unsafe fn read_struct<T: CStruct>(name: &str, place: *const T) -> Result<T, Failure> {
    // SAFETY: the caller upholds the same contract.
    let size = unsafe { size_of_struct(name, place) }?;
    // SAFETY: as above.
    Ok(unsafe { read_prefix(place, size) })
}

/// # Safety
/// `place` points at `size` readable bytes.
unsafe fn read_prefix<T: CStruct>(place: *const T, size: usize) -> T {
    // SAFETY: every field accepts zeros (`CStruct`).
    let mut value: T = unsafe { std::mem::zeroed() };
    // SAFETY: both have at least so many bytes, and `value` is ours alone.
    unsafe {
        std::ptr::copy_nonoverlapping(place.cast::<u8>(), (&raw mut value).cast(), size.min(size_of::<T>()))
    };
    value
}

/// The size that the caller's struct says it has.
///
/// # Safety
/// As [`read_struct`].
unsafe fn size_of_struct<T: CStruct>(name: &str, place: *const T) -> Result<usize, Failure> {
    if place.is_null() || !place.is_aligned() {
        return Err(Failure::null(name));
    }
    // SAFETY: checked above; the caller guarantees that the size is readable.
    let size = unsafe { place.cast::<u32>().read() } as usize;
    // Fields are at most 8 bytes, so that a multiple of 8 never cuts one.
    if size < 8 || !size.is_multiple_of(8) {
        let wrong = format!("{name} has size {size}: set size to sizeof({}), or use its INIT macro", T::NAME);
        return Err(Failure::invalid(wrong));
    }
    Ok(size)
}

/// A caller's struct for output. Its size is checked before the call does anything.
pub(super) struct OutStruct<T> {
    place: *mut T,
    size: usize,
}

impl<T: CStruct> OutStruct<T> {
    /// # Safety
    /// `place` is NULL or points at a struct whose size stands in its first field; all of it is writable until `write`.
    pub(super) unsafe fn new(name: &str, place: *mut T) -> Result<Self, Failure> {
        // SAFETY: the caller upholds the same contract.
        let size = unsafe { size_of_struct(name, place.cast_const()) }?;
        Ok(Self { place, size })
    }

    /// Refuses a struct that is smaller than `least` bytes: what is written to it must not be lost.
    pub(super) fn at_least(self, least: usize) -> Result<Self, Failure> {
        if self.size >= least {
            return Ok(self);
        }
        let wrong =
            format!("a {} has size {}: set size to sizeof({0}), or use its INIT macro", T::NAME, self.size);
        Err(Failure::invalid(wrong))
    }

    /// Writes what fits. The caller's size stays.
    pub(super) fn write(self, value: &T) {
        // SAFETY: `new`'s contract.
        unsafe { write_prefix(self.place, self.size, value) };
    }
}

/// Writes the first `size` bytes of `value`, apart from its size.
///
/// # Safety
/// `place` points at `size` writable bytes.
pub(super) unsafe fn write_prefix<T: CStruct>(place: *mut T, size: usize, value: &T) {
    let after_size = size_of::<u32>();
    let Some(count) = size.min(size_of::<T>()).checked_sub(after_size) else { return };
    // SAFETY: `value` has so many bytes.
    let from = unsafe { std::ptr::from_ref(value).cast::<u8>().add(after_size) };
    // SAFETY: the caller guarantees `size` bytes, and `count + after_size` is at most that.
    let to = unsafe { place.cast::<u8>().add(after_size) };
    // SAFETY: both ranges are inside their structs, and the caller's struct is not ours.
    unsafe { std::ptr::copy_nonoverlapping(from, to, count) };
}

/// A caller's array of structs for input. The size in the first one is the distance between two.
///
/// # Safety
/// `first` is NULL or points at `count` structs of that size, and no thread writes them while they are used.
pub(super) unsafe fn structs<'a, T: CStruct + 'a>(
    name: &str,
    first: *const T,
    count: usize,
) -> Result<impl ExactSizeIterator<Item = T> + Clone + 'a, Failure> {
    let size = if count == 0 {
        0
    } else {
        // SAFETY: the caller upholds the same contract.
        let size = unsafe { size_of_struct(name, first) }?;
        let fits = count.checked_mul(size).is_some_and(|bytes| bytes <= isize::MAX as usize);
        if !fits {
            return Err(Failure::invalid(format!("{name} is longer than memory: check the count")));
        }
        size
    };
    let base = first.cast::<u8>();
    Ok((0..count).map(move |at| {
        // SAFETY: `at` is less than the count, and the caller guarantees so many structs.
        let place = unsafe { base.add(at * size) };
        // SAFETY: as above.
        unsafe { read_prefix(place.cast::<T>(), size) }
    }))
}

/// A caller's array of structs for output. The size in the first one is the distance between two.
pub(super) struct OutStructs<T> {
    first: *mut T,
    size: usize,
    capacity: usize,
}

impl<T: CStruct> OutStructs<T> {
    /// # Safety
    /// `first` is NULL, or points at `capacity` structs of the size in the first one, and nothing else accesses them while
    /// this value exists.
    pub(super) unsafe fn new(name: &str, first: *mut T, capacity: usize) -> Result<Self, Failure> {
        // SAFETY: the caller upholds the same contract.
        let size = unsafe { size_of_struct(name, first.cast_const()) }?;
        if size % align_of::<T>() != 0 {
            return Err(Failure::invalid(format!("{name} has size {size}: set size to sizeof({})", T::NAME)));
        }
        Ok(Self { first, size, capacity })
    }

    /// Writes the struct at index `at`, with its size, if the array has one there.
    #[inline]
    pub(super) fn write(&self, at: usize, value: &T) {
        if at >= self.capacity {
            return;
        }
        // SAFETY: `at` is less than the capacity, so the struct is inside the array.
        let place = unsafe { self.first.byte_add(at * self.size) };
        // SAFETY: as above; the size is the struct's first field.
        unsafe { place.cast::<u32>().write(self.size as u32) };
        // SAFETY: as above.
        unsafe { write_prefix(place, self.size, value) };
    }
}

/// A caller's array for a list. It may be NULL if its capacity is 0: the caller only asks for the length.
pub(super) struct List<T>(Option<OutStructs<T>>);

impl<T: CStruct> List<T> {
    /// # Safety
    /// As [`OutStructs::new`].
    pub(super) unsafe fn new(name: &str, first: *mut T, capacity: usize) -> Result<Self, Failure> {
        if capacity == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the caller upholds the same contract.
        Ok(Self(Some(unsafe { OutStructs::new(name, first, capacity) }?)))
    }

    /// Writes the elements that fit. Returns how many there are.
    pub(super) fn write<F>(&self, all: &[F], written: impl Fn(&F) -> T) -> Outcome {
        if let Some(places) = &self.0 {
            let fitting = all.iter().take(places.capacity).enumerate();
            fitting.for_each(|(at, one)| places.write(at, &written(one)));
        }
        Ok(all.len() as i64)
    }
}

/// Writes the handles that fit into the caller's array. Returns how many there are.
pub(super) fn write_handles<F: Copy, T>(places: &mut [T], all: &[F], handle: impl Fn(F) -> T) -> Outcome {
    for (place, one) in places.iter_mut().zip(all) {
        *place = handle(*one);
    }
    Ok(all.len() as i64)
}

/// A text in an array of fixed size, with a closing NUL. A longer one is cut off between two characters.
pub(super) fn chars<const N: usize>(text: &str) -> [c_char; N] {
    let mut chars = [0; N];
    let end = text.floor_char_boundary(N.saturating_sub(1));
    for (to, from) in chars.iter_mut().zip(text.bytes().take(end)) {
        *to = from as c_char;
    }
    chars
}

/// Borrows the caller's text. NULL is an empty text if the length is 0 or CORELANE_NUL_TERMINATED.
///
/// # Safety
/// `start` is NULL, or points at `length` bytes, or at a text that ends with a NUL if the length says so; no thread writes
/// it while it is used.
#[inline]
pub(super) unsafe fn text<'a>(name: &str, start: *const c_char, length: usize) -> Result<&'a str, Failure> {
    let bytes = if length != CORELANE_NUL_TERMINATED {
        // SAFETY: the caller upholds the same contract.
        unsafe { slice(name, start.cast(), length) }?
    } else if start.is_null() {
        &[]
    } else {
        // SAFETY: not NULL, and the caller guarantees the NUL.
        unsafe { CStr::from_ptr(start) }.to_bytes()
    };
    std::str::from_utf8(bytes).map_err(|error| {
        Failure::invalid(format!("{name} is not UTF-8: byte {} is not valid", error.valid_up_to()))
    })
}

/// Borrows the caller's array of `length` values. NULL is allowed if `length` is 0.
///
/// # Safety
/// `start` is NULL or points at `length` values that no thread writes while they are used.
#[inline]
pub(super) unsafe fn slice<'a, T>(name: &str, start: *const T, length: usize) -> Result<&'a [T], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if start.is_null() || !start.is_aligned() {
        return Err(Failure::null(name));
    }
    if length > isize::MAX as usize / size_of::<T>() {
        return Err(Failure::invalid(format!("{name} is longer than memory: check the length")));
    }
    // SAFETY: the pointer is aligned and not NULL, and the caller guarantees `length` values.
    Ok(unsafe { std::slice::from_raw_parts(start, length) })
}

/// Borrows the caller's array of `length` values for output. NULL is allowed if `length` is 0.
///
/// # Safety
/// `start` is NULL or points at `length` values that nothing else accesses while they are used.
pub(super) unsafe fn slice_mut<'a, T>(
    name: &str,
    start: *mut T,
    length: usize,
) -> Result<&'a mut [T], Failure> {
    if length == 0 {
        return Ok(&mut []);
    }
    // SAFETY: the caller upholds the same contract.
    unsafe { slice(name, start.cast_const(), length) }?;
    // SAFETY: `slice` checked pointer and length, and the caller guarantees exclusive access.
    Ok(unsafe { std::slice::from_raw_parts_mut(start, length) })
}

/// Checks an output pointer.
#[inline]
pub(super) fn out<T>(name: &str, place: *mut T) -> Result<*mut T, Failure> {
    if place.is_null() || !place.is_aligned() { Err(Failure::null(name)) } else { Ok(place) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Pair {
        size: u32,
        first: u32,
        second: u64,
    }

    // SAFETY: integers only, the size first.
    unsafe impl CStruct for Pair {
        const NAME: &'static str = "pair";
    }

    /// A pair in a larger or smaller struct of the caller.
    #[repr(C, align(8))]
    struct Bytes([u8; 32]);

    fn sized(size: u32) -> Bytes {
        let mut bytes = Bytes([7; 32]);
        bytes.0[..4].copy_from_slice(&size.to_ne_bytes());
        bytes
    }

    #[test]
    fn smaller_and_larger_structs_share_their_prefix() {
        let sevens = u64::from_ne_bytes([7; 8]);
        for (size, second) in [(8, 0), (16, sevens), (24, sevens), (32, sevens)] {
            let bytes = sized(size);
            // SAFETY: the array has 32 bytes.
            let pair = unsafe { read_struct::<Pair>("pair", (&raw const bytes).cast()) }.unwrap();
            assert_eq!(pair, Pair { size, first: sevens as u32, second });

            let mut bytes = sized(size);
            // SAFETY: as above.
            let out = unsafe { OutStruct::<Pair>::new("pair", (&raw mut bytes).cast()) }.unwrap();
            out.write(&Pair { size: 99, first: 0, second: 0 });
            let written = (size as usize).min(16);
            assert_eq!(&bytes.0[..4], &size.to_ne_bytes(), "the caller's size stays");
            assert!(bytes.0[4..written].iter().all(|byte| *byte == 0));
            assert!(bytes.0[written..].iter().all(|byte| *byte == 7), "{size}: the rest is untouched");
        }
        for size in [0, 4, 7, 9, 15] {
            let bytes = sized(size);
            // SAFETY: as above.
            let refused = unsafe { read_struct::<Pair>("pair", (&raw const bytes).cast()) };
            assert!(refused.is_err(), "{size}");
        }
    }

    #[test]
    fn arrays_step_by_the_size_of_the_first() {
        let array = [
            [24, 1, 10, 0, 99, 99],
            [0, 2, 20, 0, 99, 99], // Only the first one's size counts.
        ];
        let aligned = array.map(|one: [u32; 6]| {
            let wide = |at: usize| u64::from(one[at]) | u64::from(one[at + 1]) << 32;
            [wide(0), wide(2), wide(4)]
        });
        // SAFETY: the array has two structs of 24 bytes.
        let pairs = unsafe { structs::<Pair>("pairs", aligned.as_ptr().cast(), 2) }.unwrap();
        assert_eq!(pairs.map(|pair| (pair.first, pair.second)).collect::<Vec<_>>(), [(1, 10), (2, 20)]);
        // SAFETY: the count is checked before anything is read but the first size.
        assert!(unsafe { structs::<Pair>("pairs", aligned.as_ptr().cast(), usize::MAX / 8) }.is_err());
        // SAFETY: NULL is allowed for an empty array.
        assert_eq!(unsafe { structs::<Pair>("pairs", std::ptr::null(), 0) }.unwrap().len(), 0);
    }

    #[test]
    fn texts_have_a_length_or_a_nul() {
        let given = c"text";
        // SAFETY: the text has four bytes and a NUL.
        let of = |length| unsafe { text("name", given.as_ptr(), length) }.map(str::to_owned).ok();
        assert_eq!(
            (of(CORELANE_NUL_TERMINATED), of(2), of(0)),
            (Some("text".into()), Some("te".into()), Some("".into()))
        );
        // SAFETY: NULL is always allowed.
        let null = |length| unsafe { text("name", std::ptr::null(), length) }.is_ok();
        assert_eq!((null(0), null(CORELANE_NUL_TERMINATED), null(1)), (true, true, false));
    }

    #[test]
    fn a_name_is_cut_off_between_characters() {
        let text = |name: &[c_char]| -> Vec<u8> { name.iter().map(|one| *one as u8).collect() };
        assert_eq!(text(&chars::<4>("abcd")), b"abc\0");
        assert_eq!(text(&chars::<4>("ab")), b"ab\0\0");
        assert_eq!(text(&chars::<4>("aäö")), "aä\0".as_bytes());
        assert_eq!(text(&chars::<1>("a")), b"\0");
    }
}
