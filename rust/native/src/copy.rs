//! A binary COPY stream that Python reads in place.

use std::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;
use rows::CopyBytes;

use crate::buffer::fill_bytes;
use crate::pool;

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

#[pymethods]
impl CopyData {
    #[getter]
    fn n_rows(&self) -> usize {
        self.bytes.n_rows()
    }

    fn __len__(&self) -> usize {
        self.bytes.as_slice().len()
    }

    #[expect(
        unsafe_code,
        reason = "Python calls it with a raw pointer, which it hands on"
    )]
    unsafe fn __getbuffer__(
        slf: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        // SAFETY: `view` is Python's; the bytes belong to `slf`, which is frozen.
        unsafe { fill_bytes(slf, slf.get().bytes.as_slice(), view, flags) }
    }
}
