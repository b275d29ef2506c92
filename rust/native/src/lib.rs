//! The Python boundary of teltonika-processor: `teltonika_processor._native`.
//!
//! Thin: no rule of the protocol lives here. One call takes a whole batch, results are columns that
//! Python reads through the buffer protocol, and data errors are values in them.

#![deny(unsafe_code)]

mod arguments;
mod batch;
mod buffer;
mod cutter;
mod device_state;
mod encode;
mod entries;
mod entry_packer;
mod error;
mod fold;
mod frame;
mod rows;
mod zones;

use codec8::RejectCode;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Every reject code as (number, code, meaning), in the order of the numbers; 0 is not listed.
#[pyfunction]
fn error_catalogue() -> Vec<(u8, &'static str, &'static str)> {
    RejectCode::ALL
        .iter()
        .map(|code| (code.number(), code.name(), code.meaning()))
        .collect()
}

/// CRC-16/IBM (ARC: reflected 0xA001, initial 0) of `data`.
#[pyfunction]
#[pyo3(signature = (data, /))]
fn crc16(data: &Bound<'_, PyAny>) -> PyResult<u16> {
    match data.cast::<PyBytes>() {
        Ok(bytes) => Ok(codec8::crc16(bytes.as_bytes())),
        Err(_) => Ok(codec8::crc16(
            &PyBuffer::<u8>::get(data)?.to_vec(data.py())?,
        )),
    }
}

/// The native extension: one call per batch, columns instead of objects.
///
/// It asks for the GIL: without it nothing has been tested.
#[pymodule(name = "_native", gil_used = true)]
mod native {
    #[pymodule_export]
    use super::batch::{DecodedBatch, decode_batch, decode_entries};
    #[pymodule_export]
    use super::buffer::CopyData;
    #[pymodule_export]
    use super::cutter::{ChannelPacket, FrameCutter, channel_packets};
    #[pymodule_export]
    use super::device_state::DeviceState;
    #[pymodule_export]
    use super::encode::encode_frame;
    #[pymodule_export]
    use super::entry_packer::EntryPacker;
    #[pymodule_export]
    use super::fold::PyFold;
    #[pymodule_export]
    use super::frame::{AvlPacket, AvlRecord, decode_frame};
    #[pymodule_export]
    use super::rows::Rows;
    #[pymodule_export]
    use super::zones::{PyZone, PyZoneIndex, ZoneRefused};
    #[pymodule_export]
    use super::{crc16, error_catalogue};
    use pyo3::exceptions::PyImportError;
    use pyo3::prelude::*;
    use pyo3::sync::PyOnceLock;
    use pyo3::types::PyTuple;

    #[pymodule_init]
    fn initialise(module: &Bound<'_, PyModule>) -> PyResult<()> {
        refuse_second_interpreter(module.py())?;
        add_constants(module)
    }

    /// Refuses a second interpreter of the process: its objects would have the first one's types.
    fn refuse_second_interpreter(py: Python<'_>) -> PyResult<()> {
        /// Of the first interpreter. Each has one of its own.
        static SYS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
        let sys = py.import("sys")?;
        if SYS.get_or_init(py, || sys.clone().unbind()).is(&sys) {
            Ok(())
        } else {
            let message = "teltonika_processor works in one interpreter of a process";
            Err(PyImportError::new_err(message))
        }
    }

    fn add_constants(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let tuple = |names: &[&str]| PyTuple::new(module.py(), names);
        module.add("STREAM_ENTRY_VERSION", super::entries::STREAM_ENTRY_VERSION)?;
        module.add("ENTRY_FIELDS", tuple(&super::entries::ENTRY_FIELDS)?)?;
        module.add("FRAME_MAX_BYTES", codec8::FRAME_MAX_BYTES)?;
        for (name, kind) in super::cutter::UNITS {
            module.add(name, kind)?;
        }
        module.add("CLOCK_AHEAD_MAX_MS", ::rows::CLOCK_AHEAD_MAX_MS)?;
        module.add("POSITION_COLUMNS", tuple(&::rows::POSITION_COLUMNS)?)?;
        module.add(
            "LAST_POSITION_COLUMNS",
            tuple(&::rows::LAST_POSITION_COLUMNS)?,
        )?;
        module.add("MARK_COLUMNS", tuple(&::rows::MARK_COLUMNS)?)?;
        module.add("REVISION_COLUMNS", tuple(&::fold::REVISION_COLUMNS)?)?;
        module.add(
            "TIMING_RECORD_COLUMNS",
            tuple(&::fold::TIMING_RECORD_COLUMNS)?,
        )?;
        Ok(())
    }
}
