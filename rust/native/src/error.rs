//! The ways from a failure to a Python exception.

use batch::{Panicked, Reject};
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Classes are looked up at each raise: a class kept would be that of one interpreter.
pub(crate) fn decode_error(py: Python<'_>, reject: &Reject) -> PyErr {
    let arguments = (reject.code().name(), reject.offset(), reject.to_string());
    class(py, "DecodeError").map_or_else(
        |import_error| import_error,
        |class| PyErr::from_type(class, arguments),
    )
}

/// The exception for a panic behind the decoder, which only a bug of ours raises.
pub(crate) fn decoder_bug(py: Python<'_>, Panicked: Panicked) -> PyErr {
    class(py, "DecoderBug").map_or_else(
        |import_error| import_error,
        |class| PyErr::from_type(class, ("the encoder of rows panicked",)),
    )
}

fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyType>> {
    let class = py.import("teltonika_processor.errors")?.getattr(name)?;
    Ok(class.cast_into()?)
}
