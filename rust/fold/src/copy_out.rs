//! Reading what `COPY .. TO STDOUT (FORMAT binary)` sends.
//!
//! Source: Postgres documentation, COPY, "Binary Format".

use std::fmt;

use rows::SIGNATURE;

/// The bytes are not what the statement copies out: a bug of ours, never of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyError {
    /// Where, in bytes from the start.
    pub offset: usize,
    /// What should stand there.
    pub expected: &'static str,
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "COPY data at byte {}: expected {}",
            self.offset, self.expected
        )
    }
}

impl std::error::Error for CopyError {}

/// The rows of one stream, field by field.
pub(crate) struct CopyReader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> CopyReader<'a> {
    /// Behind the header.
    pub(crate) fn new(data: &'a [u8]) -> Result<Self, CopyError> {
        let mut reader = Self { data, at: 0 };
        if reader.take(SIGNATURE.len(), "the signature")? != SIGNATURE {
            return Err(CopyError {
                offset: 0,
                expected: "the signature",
            });
        }
        reader.take(4, "flags")?;
        let extension = reader
            .number::<4>("the length of the extension")
            .map(i32::from_be_bytes)?;
        let extension = usize::try_from(extension).map_err(|_| reader.expected("an extension"))?;
        reader.take(extension, "the extension")?;
        Ok(reader)
    }

    /// Whether another row begins; it has so many fields.
    pub(crate) fn row(&mut self, n_fields: i16) -> Result<bool, CopyError> {
        let found = self.number::<2>("a field count").map(i16::from_be_bytes)?;
        if found == -1 {
            return Ok(false);
        }
        if found == n_fields {
            Ok(true)
        } else {
            Err(self.expected("another number of fields"))
        }
    }

    pub(crate) fn int8(&mut self) -> Result<i64, CopyError> {
        self.field().map(i64::from_be_bytes)
    }

    pub(crate) fn int4(&mut self) -> Result<i32, CopyError> {
        self.field().map(i32::from_be_bytes)
    }

    pub(crate) fn int2(&mut self) -> Result<i16, CopyError> {
        self.field().map(i16::from_be_bytes)
    }

    pub(crate) fn float8(&mut self) -> Result<f64, CopyError> {
        self.field().map(f64::from_be_bytes)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, CopyError> {
        self.field().map(|[byte]| byte != 0)
    }

    /// A field that may be null, whole.
    pub(crate) fn bytes(&mut self) -> Result<Option<&'a [u8]>, CopyError> {
        let length = self
            .number::<4>("the length of a field")
            .map(i32::from_be_bytes)?;
        match usize::try_from(length) {
            Ok(length) => self.take(length, "a field").map(Some),
            Err(_) => Ok(None),
        }
    }

    /// An int8 that may be null.
    pub(crate) fn maybe_int8(&mut self) -> Result<Option<i64>, CopyError> {
        let offset = self.at;
        self.bytes()?
            .map(|bytes| match bytes.try_into() {
                Ok(bytes) => Ok(i64::from_be_bytes(bytes)),
                Err(_) => Err(CopyError {
                    offset,
                    expected: "eight bytes",
                }),
            })
            .transpose()
    }

    fn field<const N: usize>(&mut self) -> Result<[u8; N], CopyError> {
        let offset = self.at;
        match self.bytes()?.map(TryInto::try_into) {
            Some(Ok(bytes)) => Ok(bytes),
            _ => Err(CopyError {
                offset,
                expected: "a field of its type's length",
            }),
        }
    }

    fn number<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], CopyError> {
        let offset = self.at;
        self.take(N, expected)?
            .try_into()
            .map_err(|_| CopyError { offset, expected })
    }

    fn take(&mut self, n_bytes: usize, expected: &'static str) -> Result<&'a [u8], CopyError> {
        let end = self.at.saturating_add(n_bytes);
        let taken = self.data.get(self.at..end).ok_or(self.expected(expected))?;
        self.at = end;
        Ok(taken)
    }

    fn expected(&self, expected: &'static str) -> CopyError {
        CopyError {
            offset: self.at,
            expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Vec<u8> {
        [&SIGNATURE[..], &[0; 8]].concat()
    }

    #[test]
    fn rows_are_read_field_by_field_to_the_trailer() {
        let mut data = head();
        data.extend([
            0, 2, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7, 0xFF, 0xFF, 0xFF, 0xFF,
        ]);
        data.extend([0xFF, 0xFF]);
        let mut reader = CopyReader::new(&data).unwrap();
        assert!(reader.row(2).unwrap());
        assert_eq!(reader.int8().unwrap(), 7);
        assert_eq!(reader.maybe_int8().unwrap(), None);
        assert!(!reader.row(2).unwrap());
    }

    #[test]
    fn whatever_is_cut_or_of_another_shape_is_an_error() {
        let mut data = head();
        data.extend([0, 1, 0, 0, 0, 4, 0, 0, 0, 7, 0xFF, 0xFF]);
        for length in 0..data.len() {
            let read = CopyReader::new(&data[..length]).and_then(|mut reader| {
                reader.row(1)?;
                reader.int4()?;
                reader.row(1)
            });
            assert!(read.is_err(), "{length}");
        }
        let mut reader = CopyReader::new(&data).unwrap();
        assert!(reader.row(2).is_err());
        let mut reader = CopyReader::new(&data).unwrap();
        reader.row(1).unwrap();
        assert_eq!(
            reader.int8().unwrap_err().expected,
            "a field of its type's length"
        );
    }
}
