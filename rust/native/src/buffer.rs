//! Memory of Rust as typed, read-only buffers of Python: the only unsafe code of this crate.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};

use pyo3::PyClass;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::PyMemoryView;

/// An item type of the buffer protocol.
pub(crate) trait Item: Copy + 'static {
    /// Its format character in the syntax of Python's `struct`, native sizes.
    const FORMAT: &'static CStr;
}

macro_rules! items {
    ($($item:ty => $format:literal),* $(,)?) => {
        $(impl Item for $item { const FORMAT: &'static CStr = $format; })*
    };
}

items!(u8 => c"B", u16 => c"H", i16 => c"h", u32 => c"I", i32 => c"i", u64 => c"Q", i64 => c"q");

/// One column of a frozen object, exported through the buffer protocol.
///
/// Invariant: `address` points to `shape[0]` items that `owner` holds unchanged while it lives.
#[pyclass(frozen, module = "teltonika_processor._native")]
struct Column {
    #[expect(dead_code, reason = "held, so that the items live")]
    owner: Py<PyAny>,
    address: usize,
    format: &'static CStr,
    shape: [ffi::Py_ssize_t; 1],
    strides: [ffi::Py_ssize_t; 1],
}

/// A read-only memoryview of the items that `of` finds in the frozen object; it keeps the object.
pub(crate) fn view<'py, T, O>(
    owner: &Bound<'py, O>,
    of: impl FnOnce(&O) -> &[T],
) -> PyResult<Bound<'py, PyMemoryView>>
where
    T: Item,
    O: PyClass<Frozen = True> + Sync,
{
    let items = of(owner.get());
    let column = Column {
        owner: owner.clone().into_any().unbind(),
        address: items.as_ptr().expose_provenance(),
        format: T::FORMAT,
        shape: [ssize(items.len())],
        strides: [ssize(size_of::<T>())],
    };
    PyMemoryView::from(Bound::new(owner.py(), column)?.as_any())
}

/// Answers a request for the bytes of a frozen object.
///
/// # Safety
/// `view` is null or valid for writes. `bytes` belong to `owner` and stay as they are while it lives.
pub(crate) unsafe fn fill_bytes<O>(
    owner: &Bound<'_, O>,
    bytes: &[u8],
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> PyResult<()> {
    const READ_ONLY: c_int = 1;
    let start = bytes.as_ptr().cast_mut().cast::<c_void>();
    // SAFETY: as above; Python refuses a null view and a writable request, and counts the
    // reference to `owner` that keeps the bytes.
    let failed = unsafe {
        ffi::PyBuffer_FillInfo(
            view,
            owner.as_ptr(),
            start,
            ssize(bytes.len()),
            READ_ONLY,
            flags,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(PyErr::fetch(owner.py()))
    }
}

/// A length in memory. Invariant: no allocation is longer than `isize::MAX` bytes.
fn ssize(n: usize) -> ffi::Py_ssize_t {
    ffi::Py_ssize_t::try_from(n).unwrap_or(ffi::Py_ssize_t::MAX)
}

#[pymethods]
impl Column {
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no buffer to fill"));
        }
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("columns are read-only"));
        }
        let column = slf.get();
        let asked = |flag: c_int| flags & flag == flag;
        // SAFETY: `view` is Python's, valid for writes. The pointers stay valid while the view
        // holds `slf`: its fields never move (frozen), its items are those of `owner`.
        unsafe {
            (*view).buf = std::ptr::with_exposed_provenance_mut::<c_void>(column.address);
            (*view).len = column.shape[0] * column.strides[0];
            (*view).readonly = 1;
            (*view).itemsize = column.strides[0];
            (*view).format = pointer_if(asked(ffi::PyBUF_FORMAT), column.format.as_ptr());
            (*view).ndim = 1;
            (*view).shape = pointer_if(asked(ffi::PyBUF_ND), column.shape.as_ptr());
            (*view).strides = pointer_if(asked(ffi::PyBUF_STRIDES), column.strides.as_ptr());
            (*view).suboffsets = std::ptr::null_mut();
            (*view).internal = std::ptr::null_mut();
            (*view).obj = slf.into_ptr();
        }
        Ok(())
    }
}

fn pointer_if<T>(asked: bool, pointer: *const T) -> *mut T {
    if asked {
        pointer.cast_mut()
    } else {
        std::ptr::null_mut()
    }
}
