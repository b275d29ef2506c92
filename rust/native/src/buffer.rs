//! Memory of Rust as typed, read-only buffers of Python: the only unsafe code of this crate.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};

use batch::pool;
use pyo3::PyClass;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::PyMemoryView;
use rows::CopyBytes;

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

/// Bytes for `COPY .. FROM STDIN (FORMAT binary)`, read through the buffer protocol.
#[pyclass(frozen, module = "teltonika_processor._native")]
pub(crate) struct CopyData {
    bytes: CopyBytes,
}

impl CopyData {
    pub(crate) fn new(bytes: CopyBytes) -> Self {
        Self { bytes }
    }
}

impl Drop for CopyData {
    fn drop(&mut self) {
        pool::give_back_room(std::mem::take(&mut self.bytes).into_room());
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
        // SAFETY: `view` is Python's, valid for writes; no owner is to be seen in it after an error.
        unsafe { (*view).obj = std::ptr::null_mut() };
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

#[pymethods]
impl CopyData {
    /// Rows in the stream.
    #[getter]
    fn n_rows(&self) -> usize {
        self.bytes.n_rows()
    }

    fn __len__(&self) -> usize {
        self.bytes.as_slice().len()
    }

    unsafe fn __getbuffer__(
        slf: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        const READ_ONLY: c_int = 1;
        if view.is_null() {
            return Err(PyBufferError::new_err("no buffer to fill"));
        }
        let bytes = slf.get().bytes.as_slice();
        let start = bytes.as_ptr().cast_mut().cast::<c_void>();
        // SAFETY: `view` is Python's, valid for writes; no owner is to be seen in it after an error.
        // The bytes belong to `slf`, which is frozen; Python refuses a writable request and counts
        // the reference to `slf` that keeps them.
        let failed = unsafe {
            (*view).obj = std::ptr::null_mut();
            let length = ssize(bytes.len());
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, length, READ_ONLY, flags)
        };
        if failed == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }
}

fn pointer_if<T>(asked: bool, pointer: *const T) -> *mut T {
    if asked {
        pointer.cast_mut()
    } else {
        std::ptr::null_mut()
    }
}
